package control

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

func graphOf(s *forest.Snapshot) *reach.Graph {
	x := reach.New(s)
	return reach.NewGraph(x, gpo.New(s, x))
}

// simulate returns what changes turn, and the view with them.
func simulate(t *testing.T, g *reach.Graph, in Input, changes ...reach.Change) (*Simulation, *reach.Graph) {
	t.Helper()
	after, err := g.With(changes)
	if err != nil {
		t.Fatal(err)
	}
	in.Snapshot, in.Graph, in.Now = g.Snapshot(), g, testNow
	s, err := builtinCatalogue(t).Simulate(in, Input{Snapshot: after.Snapshot(), Graph: after}, Watch{})
	if err != nil {
		t.Fatal(err)
	}
	return s, after
}

// turnTexts lists turns of objects and of the forest in short form. Turns of hosts are
// by computer: assessments may cut the sets otherwise.
func turnTexts(list []Turn) []string {
	var out []string
	for _, t := range list {
		after := t.After
		if after == NotConcerned {
			after = Pass // an assessment does not tell them apart
		}
		if len(t.Subject.Hosts) == 0 {
			out = append(out, fmt.Sprintf("%s %s%s %s", t.Control, t.Subject.DN, t.Subject.Scope, after))
		} else if t.Before != t.After {
			for _, h := range t.Subject.Hosts {
				out = append(out, fmt.Sprintf("%s %s %s", t.Control, h, after))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// assessedTurns finds the same by two assessments.
func assessedTurns(was, now *Assessment) (failing, passing, unknown []string) {
	outcomes := func(a *Assessment) map[string]*Finding {
		out := map[string]*Finding{}
		for i := range a.Findings {
			f := &a.Findings[i]
			out[f.Control+" "+f.Subject.DN+f.Subject.Scope] = f
			if f.Subject.Kind == "hosts" {
				delete(out, f.Control+" "+f.Subject.DN+f.Subject.Scope)
				for _, h := range f.Subject.Hosts {
					out[f.Control+" "+h] = f
				}
			}
		}
		return out
	}
	before, after := outcomes(was), outcomes(now)
	for key, f := range after {
		old := before[key]
		switch {
		case f.Outcome == Fail && (old == nil || old.Outcome != Fail):
			failing = append(failing, key+" fail")
		case f.Outcome == Fail && f.Subject.Kind != "hosts" && (FindingChange{*old, *f}).Grown():
			failing = append(failing, key+" fail")
		case f.Outcome == Unknown && (old == nil || old.Outcome != Unknown):
			unknown = append(unknown, key+" unknown")
		}
	}
	for key := range before {
		if after[key] == nil {
			passing = append(passing, key+" pass")
		}
	}
	for _, list := range [][]string{failing, passing, unknown} {
		slices.Sort(list)
	}
	return failing, passing, unknown
}

// agree holds a simulation to the assessments of the forest before and with the changes.
func agree(t *testing.T, name string, got *Simulation, was, now *Assessment) {
	t.Helper()
	failing, passing, unknown := assessedTurns(was, now)
	for _, c := range []struct {
		kind      string
		got, want []string
	}{{"failing", turnTexts(got.Failing), failing}, {"passing", turnTexts(got.Passing), passing}, {"unknown", turnTexts(got.Unknown), unknown}} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s: %s\n%s\nwant\n%s", name, c.kind, strings.Join(c.got, "\n"), strings.Join(c.want, "\n"))
		}
	}
	for _, c := range []struct {
		when string
		got  Tally
		want Summary
	}{{"before", got.Before, was.Summary}, {"after", got.After, now.Summary}} {
		if want := (Tally{c.want.Pass, c.want.Fail + c.want.Excepted, c.want.Unknown}); c.got != want {
			t.Errorf("%s: %s %v, want %v", name, c.when, c.got, want)
		}
	}
}

// A simulation says what assessments of the forest that was built with the change say.
func TestSimulateAsAssessed(t *testing.T) {
	c := builtinCatalogue(t)
	sound := changed(t, "")
	was := assess(t, c, Input{Snapshot: sound, Options: testOptions()})
	g := graphOf(sound)
	at := func(name string) forest.ID {
		if id := sound.Lookup(name); id != forest.None {
			return id
		}
		return sound.BySAMAccountName(name)[0]
	}
	sid := func(name string) secdesc.SID { return sound.SID(at(name)) }
	member := secdesc.ACE{Type: secdesc.AllowObject, Mask: secdesc.WriteProperty, ObjectType: secdesc.MustGUID("bf9679c0-0de6-11d0-a285-00aa003049e2"), SID: sid("ordinary")}
	for _, x := range []struct {
		name, fixture string // the forest with the change; "" if it cannot be written
		change        reach.Change
		fails         string // a control that has to fail newly
	}{
		{"who adds members", "changes: [{object: Domain Admins, sdprop: false, permissions: ['allow ordinary write member']}]", reach.Change{Kind: reach.EntryAdded, Object: at("Domain Admins"), Entry: member}, "EC-01-no-way-to-tier-0"},
		{"the entry of AdminSDHolder", "changes: [{object: 'CN=AdminSDHolder,CN=System', permissions: ['allow ordinary write member']}]", reach.Change{Kind: reach.EntryAdded, Object: at("CN=AdminSDHolder,CN=System,DC=contoso,DC=test"), Entry: member}, "I-03-idle-disabled"},
		{"an owner", "", reach.Change{Kind: reach.OwnerChanged, Object: at("Administrator"), Owner: sid("ordinary")}, "EC-01-no-way-to-tier-0"},
		{"a flag", "", reach.Change{Kind: reach.FlagSet, Object: at("ordinary"), Flag: 0x400000}, "T-08-no-preauth"},
	} {
		got, _ := simulate(t, g, Input{Options: testOptions()}, x.change)
		if x.fixture != "" {
			agree(t, x.name, got, was, assess(t, c, Input{Snapshot: changed(t, x.fixture), Options: testOptions()}))
		}
		if !slices.ContainsFunc(got.Failing, func(f Turn) bool { return f.Control == x.fails && f.Detail != "" }) {
			t.Errorf("%s: fails %v", x.name, turnTexts(got.Failing))
		}
		if !slices.ContainsFunc(got.Controls, func(f ControlTurn) bool { return f.ID == x.fails && f.Before != Fail && f.After == Fail }) {
			t.Errorf("%s: controls that turn: %v", x.name, got.Controls)
		}
	}
	none, _ := simulate(t, g, Input{Options: testOptions()})
	agree(t, "no change", none, was, was)
}

// Simulations of random changes say what assessments of the forest and of the view say,
// for which memberships, policies and graph are made anew.
func TestSimulateAtRandom(t *testing.T) {
	c, s := builtinCatalogue(t), contoso(t)
	was := assess(t, c, Input{Snapshot: s, Options: contosoOptions()})
	g := graphOf(s)
	r := rand.New(rand.NewPCG(3, 3))
	var accounts, groups, containers, policies []forest.ID
	for id := range forest.ID(s.Len()) {
		switch {
		case s.IsA(id, "user"):
			accounts = append(accounts, id)
		case s.IsA(id, "group"):
			groups = append(groups, id)
		case s.IsA(id, "organizationalUnit"), s.IsA(id, "domainDNS"):
			containers = append(containers, id)
		case s.IsA(id, "groupPolicyContainer"):
			policies = append(policies, id)
		}
	}
	pick := func(list []forest.ID) forest.ID { return list[r.IntN(len(list))] }
	powerful := slices.DeleteFunc(slices.Clone(groups), func(id forest.ID) bool { rid, _ := s.SID(id).RID(); return rid >= 1000 })
	done := map[reach.ChangeKind]int{}
	for n := 0; n < 16 && len(done) < 4; {
		x := reach.Change{Kind: reach.ChangeKind(1 + r.IntN(int(reach.OwnerChanged))), Index: r.IntN(20)}
		switch x.Kind {
		case reach.MemberAdded:
			x.Object, x.Other = pick(powerful), pick(accounts)
		case reach.MemberRemoved:
			x.Object = pick(powerful)
			links, _ := s.Links(x.Object, forest.Member)
			if len(links) == 0 {
				continue
			}
			x.Other = pick(links)
		case reach.LinkAdded, reach.LinkRemoved, reach.LinkDisabled:
			x.Object, x.Other = pick(containers), pick(policies)
		case reach.FlagSet, reach.FlagCleared:
			x.Object, x.Flag = pick(accounts), reach.AccountFlags()[r.IntN(7)].Bit
		case reach.Moved:
			x.Object, x.Other = pick(accounts), pick(containers)
		case reach.OwnerChanged, reach.EntryAdded, reach.EntryRemoved:
			x.Object, x.Owner = pick(slices.Concat(powerful, containers)), s.SID(pick(accounts))
			x.Entry = secdesc.ACE{Type: secdesc.Allow, Mask: secdesc.WriteDAC, SID: x.Owner}
		}
		if done[x.Kind] > 0 {
			continue
		}
		if _, err := g.With([]reach.Change{x}); errors.Is(err, reach.ErrUnfit) {
			continue
		}
		got, after := simulate(t, g, Input{Options: contosoOptions()}, x)
		agree(t, fmt.Sprintf("%+v", x), got, was, assess(t, c, Input{Snapshot: after.Snapshot(), Options: contosoOptions()}))
		if len(got.Failing)+len(got.Passing) > 0 {
			done[x.Kind]++
		}
		n++
	}
	t.Logf("changes that turn an outcome: %v", done)
	if len(done) < 4 {
		t.Errorf("only changes of kinds %v turn anything", slices.Collect(maps.Keys(done)))
	}
}

// A failure that an exception accepts carries it; one that has expired does not, nor one
// for another container than that into which an account is moved.
func TestSimulateExceptions(t *testing.T) {
	s := changed(t, "")
	g := graphOf(s)
	who := s.BySAMAccountName("ordinary")[0]
	admins := s.BySAMAccountName("Domain Admins")[0]
	into := s.Lookup("OU=Admins,DC=contoso,DC=test")
	changes := []reach.Change{{Kind: reach.MemberAdded, Object: admins, Other: who}, {Kind: reach.Moved, Object: who, Other: into}}
	plain, _ := simulate(t, g, Input{Options: testOptions()}, changes...)
	at := slices.IndexFunc(plain.Failing, func(f Turn) bool { return f.Subject.Name == "ordinary" })
	if at < 0 || plain.Failing[at].Exception != nil {
		t.Fatalf("failing: %v", turnTexts(plain.Failing))
	}
	id := plain.Failing[at].Control
	for subject, want := range map[string]bool{"ordinary": true, "*,OU=Admins,DC=contoso,DC=test": true, "*,OU=Staff,DC=contoso,DC=test": false, "Guest": false} {
		for days, valid := range map[int]bool{1: true, -1: false} {
			x := Exception{Control: id, Subject: subject, Owner: "o", Reason: "r", Expires: testNow.AddDate(0, 0, days)}
			got, _ := simulate(t, g, Input{Options: testOptions(), Exceptions: []Exception{x}}, changes...)
			if accepted := got.Failing[at].Exception != nil; accepted != (want && valid) {
				t.Errorf("exception for %s, %d days left: accepted %t", subject, days, accepted)
			}
		}
	}
}

// A simulation says how far it is, and ends when it is told to.
func TestSimulateWatched(t *testing.T) {
	s := changed(t, "")
	g := graphOf(s)
	after, err := g.With([]reach.Change{{Kind: reach.MemberAdded, Object: s.BySAMAccountName("Domain Admins")[0], Other: s.BySAMAccountName("ordinary")[0]}})
	if err != nil {
		t.Fatal(err)
	}
	was, now := Input{Snapshot: s, Graph: g, Options: testOptions()}, Input{Snapshot: after.Snapshot(), Graph: after}
	parts := map[string]int{}
	_, err = builtinCatalogue(t).Simulate(was, now, Watch{Progress: func(phase string, done, all int) {
		if parts[phase]++; done != parts[phase] || done > all {
			t.Errorf("%s: part %d of %d after %d", phase, done, all, parts[phase]-1)
		}
	}})
	if err != nil || len(parts) != 2 {
		t.Errorf("%v, %v", parts, err)
	}
	stop := errors.New("stopped")
	for _, asked := range []int64{1, 2, 40, 200} {
		var n atomic.Int64
		_, err := builtinCatalogue(t).Simulate(was, now, Watch{Stopped: func() error {
			if n.Add(1) >= asked {
				return stop
			}
			return nil
		}})
		if !errors.Is(err, stop) {
			t.Errorf("stopped at question %d: %v", asked, err)
		}
	}
}
