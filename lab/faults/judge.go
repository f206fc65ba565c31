package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/store"
)

// allowed is how long a membership may be there without a grant that wants it, in calm.
const allowed = 5 * time.Second

// figures are what the rounds of one database did.
type figures struct {
	runs, rounds, jumps int
	shapes              [shapes]int
	worst               time.Duration // the longest that a membership was there without a grant, in calm
	looks               int           // at the directory, in calm
	stalls              int           // of the machine, in calm
	active, ended       int
	entries             int64
	inferred            int
	violations          int
	faults              [faults]int
	apart               int           // groups whose members differed between domain controllers when a round was over
	start               time.Duration // the longest from the start of the nodes until all had compared everything, late requests included
	reading             time.Duration // the longest that looking at directory and store took, in calm

	mu     sync.Mutex // guards what follows
	deaths sync.WaitGroup
	steps  map[string]int // deaths by step
	events map[string]int
}

func newFigures() *figures {
	return &figures{steps: map[string]int{}, events: map[string]int{}}
}

// aim chooses the steps at which the next node is to die, whichever comes first: those at which
// fewest did. What was not reached yet is died at when it happens for the first time.
func (f *figures) aim(steps []string, rng *rand.Rand) (labels []string, at int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	least := f.steps[steps[0]]
	for _, l := range steps {
		least = min(least, f.steps[l])
	}
	for _, l := range steps {
		if f.steps[l] == least {
			labels = append(labels, l)
		}
	}
	if at = 1; least > 0 {
		at = int64(1 + rng.IntN(4))
	}
	return labels, at
}

func (f *figures) died(label string, killed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if killed && label != "" {
		f.steps[label]++
	}
}

func (f *figures) event(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events[name]++
}

// watch looks at the directory again and again.
func (r *round) watch(ctx context.Context) {
	var s *store.Store
	defer func() {
		if s != nil {
			_ = s.Close()
		}
	}()
	last := time.Now()
	for ctx.Err() == nil {
		sleep(ctx, 400*time.Millisecond)
		if time.Since(last) > stall {
			r.stalled()
		}
		last = time.Now()
		if s == nil {
			var err error
			if s, err = r.open(ctx); err != nil {
				continue
			}
		}
		began := time.Now()
		members, err := r.w.members(ctx)
		if err != nil {
			continue
		}
		list, err := s.Grants().List(ctx, grant.Page{Limit: 1000})
		if err != nil {
			_ = s.Close()
			s = nil
			continue
		}
		r.took(time.Since(began))
		r.look(members, list)
	}
}

// stall is how long two looks may lie apart. Beyond, this program, or the domain
// controller that it asks, stood still: that counts as an absence.
const stall = 2500 * time.Millisecond

// stalled begins the calm anew.
func (r *round) stalled() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calm.IsZero() {
		return
	}
	r.f.stalls++
	r.calm = time.Now()
	for _, x := range r.runs {
		x.exposed = time.Time{}
	}
}

// took notes how long a look took, and whether the machine was busy with others' work: what a
// violation was made of.
func (r *round) took(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calm.IsZero() {
		r.slowest = 0
		return
	}
	r.slowest = max(r.slowest, d)
	r.f.reading = max(r.f.reading, d)
}

// statuses asks the nodes how they are doing.
func (r *round) statuses() string {
	var out []string
	for i := range r.nodes {
		if n := r.node(i); n != nil {
			began := time.Now()
			rep, err := n.ask(order{Op: "status"}, 2*time.Second)
			if err != nil {
				rep.Status = err.Error()
			}
			out = append(out, fmt.Sprintf("node %d says after %s: %s", i, time.Since(began).Round(time.Millisecond), rep.Status))
		}
	}
	return strings.Join(out, "; ")
}

// machine says how busy the machine is.
func machine() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err.Error()
	}
	return strings.Join(strings.Fields(string(b))[:2], " ")
}

// look compares the directory with what is stored.
func (r *round) look(members map[string]map[string]bool, list []grant.Grant) {
	now := time.Now()
	byID := map[grant.ID]grant.Grant{}
	for _, g := range list {
		byID[g.ID] = g
	}
	r.mu.Lock()
	calm, dc, slowest := r.calm, now.Add(r.dcOff), r.slowest
	r.mu.Unlock()
	if !calm.IsZero() {
		r.f.looks++
	}
	for _, x := range r.runs {
		in := members[lower(x.group)]
		if in == nil {
			continue
		}
		if !in[lower(r.w.idle)] {
			r.fail("%s lost a member that no grant added", x.group.dn)
		}
		there := in[lower(x.holder)]
		if x.shape == standing {
			if !there {
				r.fail("%s: the membership that was there before %v was removed", x.group.dn, x.ids)
			}
			continue
		}
		wanted := slices.ContainsFunc(x.ids, func(id grant.ID) bool {
			g, ok := byID[id]
			return ok && (g.State == grant.Activating || g.State == grant.Active && dc.Before(g.Ends))
		})
		if !there || wanted || calm.IsZero() {
			x.exposed = time.Time{}
			continue
		}
		if x.exposed.IsZero() {
			x.exposed = now
		}
		d := now.Sub(x.exposed)
		r.f.worst = max(r.f.worst, d)
		if d > allowed {
			r.fail("%s: the membership of %s is there %s after nobody wants it any more, %s into the calm (slowest look %s, load %s): %s; %s", x.group.dn, x.holder.dn, d.Round(time.Millisecond),
				now.Sub(calm).Round(time.Millisecond), slowest.Round(time.Millisecond), machine(), states(x, byID), r.statuses())
			x.exposed = now.Add(time.Hour)
		}
	}
}

func states(x *run, byID map[grant.ID]grant.Grant) string {
	var out []string
	for _, id := range x.ids {
		g := byID[id]
		out = append(out, fmt.Sprintf("%s is %s (%s, tries %d, removes %d, attempts %d, flying %t, %q, ended %s, why %s)",
			id, g.State, g.Basis, g.Tries, g.Removes, g.Attempts, g.Flying, g.Fault, g.EndedAt.Format("15:04:05.000"), g.EndWhy))
	}
	return strings.Join(out, "; ")
}

// judge looks at everything when the round is over.
func (r *round) judge(ctx context.Context) error {
	members, err := r.w.members(ctx)
	if err != nil {
		return err
	}
	s, err := r.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	return s.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		report, err := audit.Verify(ctx, tx, nil)
		if err != nil {
			return err
		}
		if !report.Sound() {
			r.fail("the log does not verify: %+v", report.Problems)
		}
		r.f.entries += report.Entries
		entries, err := tx.AuditEntries(ctx, store.AuditFilter{Action: "grant"})
		if err != nil {
			return err
		}
		byGrant := map[string][]audit.Entry{}
		for _, e := range entries {
			byGrant[e.Record] = append(byGrant[e.Record], e)
		}
		list, err := s.Grants().List(ctx, grant.Page{Limit: 1000})
		if err != nil {
			return err
		}
		byID := map[grant.ID]grant.Grant{}
		for _, g := range list {
			byID[g.ID] = g
		}
		for _, x := range r.runs {
			r.judgeRun(x, members[lower(x.group)], byID, byGrant)
		}
		return nil
	})
}

// judgeRun looks at one run when it is over.
func (r *round) judgeRun(x *run, in map[string]bool, byID map[grant.ID]grant.Grant, entries map[string][]audit.Entry) {
	want := map[string]bool{lower(r.w.idle): true}
	if x.shape == standing {
		want[lower(x.holder)] = true
	}
	if !maps.Equal(in, want) {
		r.fail("%s has the members %v in the end, not %v: %s", x.group.dn, in, want, states(x, byID))
	}
	for i, id := range x.ids {
		g, ok := byID[id]
		switch {
		case !ok && x.accepted[i]:
			r.fail("%s was accepted and is lost", id)
			continue
		case !ok:
			r.fail("%s was never accepted", id)
			continue
		case !g.State.Finished():
			r.fail("%s is %s in the end", id, g.State)
		case len(g.Owed) > 0:
			r.fail("%s still owes %d entries to the log", id, len(g.Owed))
		}
		if !g.Activated.IsZero() {
			r.f.active++
		}
		if g.State == grant.Ended {
			r.f.ended++
		}
		if why := misjudged(x.shape, &g); why != "" {
			r.fail("%s %s: %s", id, why, states(x, byID))
		}
		if g.Basis == grant.Inferred {
			r.f.inferred++
		}
		if why := chain(entries["grant/"+string(id)], g.State); why != "" {
			r.fail("%s: the log %s", id, why)
		}
	}
}

// misjudged says what is wrong about what a grant made of its membership. Nobody but the runs
// makes memberships during a round, and nobody but the shape taken removes them: a
// membership that counts as somebody else's was a grant's, and one that was lost was taken by
// another grant's removal.
func misjudged(s shape, g *grant.Grant) string {
	rests := g.Basis == grant.Standing || g.Basis == grant.TimeBound
	switch {
	case rests && s != standing:
		return "rests on a membership that a grant had made"
	case g.Basis != grant.NoBasis && !rests && s == standing:
		return "took the membership that was there before for its own"
	case g.EndWhy == string(grant.Lost) && s != taken:
		return "lost its membership to a removal of another grant"
	}
	return ""
}

// chain follows the states that the log tells, from the request to the last.
func chain(entries []audit.Entry, last grant.State) string {
	at := string(grant.None)
	for _, e := range entries {
		from, rest, ok := strings.Cut(e.Reason, " -> ")
		if !ok || strings.ContainsAny(from, " ;:") {
			continue
		}
		to, _, _ := strings.Cut(rest, ";")
		if from != at {
			return fmt.Sprintf("goes from %s to %s by %s from %s (entry %d)", at, to, e.Action, from, e.Index)
		}
		at = to
	}
	if at != string(last) {
		return fmt.Sprintf("ends with %s, and it is %s", at, last)
	}
	return ""
}
