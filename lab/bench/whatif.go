package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// changesOf is how many random changes of each kind are tried.
const changesOf = 100

// changeKinds are the kinds of changes that are measured apart.
var changeKinds = []struct {
	name  string
	kinds []reach.ChangeKind
}{
	{"membership", []reach.ChangeKind{reach.MemberAdded, reach.MemberRemoved}},
	{"entry", []reach.ChangeKind{reach.EntryAdded, reach.EntryRemoved}},
	{"flag", []reach.ChangeKind{reach.FlagSet, reach.FlagCleared}},
	{"owner", []reach.ChangeKind{reach.OwnerChanged}},
	{"policy link", []reach.ChangeKind{reach.LinkAdded, reach.LinkRemoved, reach.LinkDisabled}},
	{"policy filter", []reach.ChangeKind{reach.EntryAdded}},
	{"move", []reach.ChangeKind{reach.Moved}},
}

// A changeTime is how long views with one change take, and what comes of it, in
// milliseconds.
type changeTime struct {
	Kind   string  `json:"kind"`
	Median float64 `json:"median"`
	Most   float64 `json:"most"` // within which 99 of 100 are ready
	CPU    float64 `json:"cpu"`  // processor time of each, on average
	Count  int     `json:"count"`

	Outcome     float64 `json:"outcome"`     // the view and what it brings about: the median
	OutcomeNine float64 `json:"outcomeNine"` // 9 of 10
	OutcomeMost float64 `json:"outcomeMost"` // 99 of 100
	OutcomeCPU  float64 `json:"outcomeCPU"`  // processor time of those that took no whole searches, on average
	Whole       int     `json:"whole"`       // how many took whole searches
	Turns       int     `json:"turns"`       // how many changed anybody's standing
	Outcomes    int     `json:"outcomes"`    // how many were tried
}

// outcomesOf is how many outcomes of each kind are measured.
const outcomesOf = 50

// changer proposes random changes.
type changer struct {
	s          *forest.Snapshot
	r          *rand.Rand
	groups     []forest.ID
	accounts   []forest.ID
	containers []forest.ID
	policies   []forest.ID
}

func newChanger(s *forest.Snapshot) *changer {
	c := &changer{s: s, r: rand.New(rand.NewPCG(1, 2))}
	for id := range forest.ID(s.Len()) {
		switch s.Class(id) {
		case "group":
			c.groups = append(c.groups, id)
		case "user", "computer":
			c.accounts = append(c.accounts, id)
		case "organizationalUnit", "domainDNS":
			c.containers = append(c.containers, id)
		case "groupPolicyContainer":
			c.policies = append(c.policies, id)
		}
	}
	return c
}

func (c *changer) of(list []forest.ID) forest.ID { return list[c.r.IntN(len(list))] }

// propose proposes a change; it may not fit.
func (c *changer) propose(name string, kind reach.ChangeKind) reach.Change {
	out := reach.Change{Kind: kind, Object: forest.ID(c.r.IntN(c.s.Len())), Index: c.r.IntN(30)}
	account := c.of(c.accounts)
	switch name {
	case "membership":
		out.Object, out.Other = c.of(c.groups), account
		if c.r.IntN(2) == 0 {
			out.Other = c.of(c.groups)
		}
		if links, _ := c.s.Links(out.Object, forest.Member); kind == reach.MemberRemoved && len(links) > 0 {
			out.Other = c.of(links)
		}
	case "flag":
		flags := reach.AccountFlags()
		out.Object, out.Flag = account, flags[c.r.IntN(len(flags))].Bit
	case "policy link":
		out.Object, out.Other = c.of(c.containers), c.of(c.policies)
	case "policy filter":
		out.Object = c.of(c.policies)
	case "move":
		out.Object, out.Other = account, c.of(c.containers)
		if c.r.IntN(10) == 0 {
			out.Object = c.of(c.containers)
		}
	}
	out.Owner = c.s.SID(account)
	out.Entry = secdesc.ACE{Mask: secdesc.FullControl, SID: c.s.SID(account)}
	if name == "policy filter" {
		out.Entry.Mask, out.Entry.SID = secdesc.ReadProperty|secdesc.ControlAccess, c.s.SID(c.of(c.groups))
	}
	return out
}

// changeTimes measures views with one change each.
func changeTimes(s *forest.Snapshot, g *reach.Graph) ([]changeTime, error) {
	c := newChanger(s)
	goals := g.Resolve(reach.TierZero())
	g.Keep(goals)
	var out []changeTime
	for _, k := range changeKinds {
		var times, outcomes []float64
		var cpu time.Duration
		var outcomeCPU time.Duration
		whole, turns := 0, 0
		for try := 0; len(times) < changesOf && try < 100*changesOf; try++ {
			change := c.propose(k.name, k.kinds[try%len(k.kinds)])
			began, spent := time.Now(), processor()
			after, err := g.With([]reach.Change{change})
			if errors.Is(err, reach.ErrUnfit) {
				continue
			}
			if err != nil {
				return nil, err
			}
			times, cpu = append(times, milliseconds(began)), cpu+processor()-spent
			if len(outcomes) == outcomesOf || whole > outcomesOf/10 {
				continue
			}
			out := reach.Compare(g, after, goals)
			outcomes = append(outcomes, milliseconds(began))
			if out.Quick {
				outcomeCPU += processor() - spent
			} else {
				whole++
			}
			if len(out.Closed)+len(out.Opened) > 0 {
				turns++
			}
		}
		if len(times) == 0 {
			return nil, fmt.Errorf("no change of kind %s fits", k.name)
		}
		slices.Sort(times)
		slices.Sort(outcomes)
		out = append(out, changeTime{
			Kind: k.name, Count: len(times), Median: times[len(times)/2], Most: nearlyAll(times),
			CPU: float64(cpu) / 1e6 / float64(len(times)),

			Outcome: outcomes[len(outcomes)/2], OutcomeNine: outcomes[len(outcomes)*9/10], OutcomeMost: nearlyAll(outcomes),
			OutcomeCPU: float64(outcomeCPU) / 1e6 / float64(max(1, len(outcomes)-whole)), Whole: whole, Turns: turns, Outcomes: len(outcomes),
		})
	}
	return out, nil
}

// whatIf measures views with one change of a loaded forest.
func (b *bench) whatIf(ctx context.Context, name, label string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, self, "whatif", "--json", name).Output()
	if err != nil {
		return fmt.Errorf("changing %s: %w", name, err)
	}
	var list []changeTime
	if err := json.Unmarshal(out, &list); err != nil {
		return fmt.Errorf("changing %s: %w", name, err)
	}
	for _, t := range list {
		b.table.add(row{what: label + "view with one change, " + t.Kind + ", median", value: fmt.Sprintf("%.1f ms", t.Median)})
		b.table.under(label+"view with one change, "+t.Kind+", 99 of 100", "%.1f ms", t.Most, 50)
		b.table.add(row{what: label + "what one change brings about, " + t.Kind + ", median", value: fmt.Sprintf("%.1f ms", t.Outcome)})
		b.table.add(row{what: label + "what one change brings about, " + t.Kind + ", 90 and 99 of 100", value: fmt.Sprintf("%.1f ms, %.1f ms", t.OutcomeNine, t.OutcomeMost)})
		b.table.add(row{what: label + "what one change brings about, " + t.Kind + ", by whole searches", value: fmt.Sprintf("%d of %d", t.Whole, t.Outcomes)})
	}
	return nil
}

// whatIfOf prints how long views with one change take.
func whatIfOf(args []string) error {
	fs := flag.NewFlagSet("bench whatif", flag.ContinueOnError)
	profile := fs.String("profile", "", "file for a profile of the processor time of the views")
	asJSON := fs.Bool("json", false, "print the times as JSON")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return errors.New("whatif takes one snapshot file")
	}
	f, err := os.Open(fs.Arg(0))
	if err != nil {
		return err
	}
	defer f.Close()
	s, err := forest.Read(f)
	if err != nil {
		return err
	}
	g := reach.Of(s)
	g.WhoCan(g.Resolve(reach.TierZero()))
	var list []changeTime
	if err := profiled(*profile, func() error { list, err = changeTimes(s, g); return err }); err != nil {
		return err
	}
	if *asJSON {
		return json.NewEncoder(os.Stdout).Encode(list)
	}
	for _, t := range list {
		fmt.Fprintf(os.Stderr, "%-14s %4d changes: half %7.1f ms, 99 of 100 %7.1f ms; processor time each %7.1f ms; outcomes: half %7.1f ms, 90 of 100 %7.1f ms, 99 of 100 %7.1f ms, processor time %7.1f ms, %d of %d by whole searches, %d with turns\n",
			t.Kind, t.Count, t.Median, t.Most, t.CPU, t.Outcome, t.OutcomeNine, t.OutcomeMost, t.OutcomeCPU, t.Whole, t.Outcomes, t.Turns)
	}
	return nil
}
