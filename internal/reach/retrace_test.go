package reach_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/forest/forestgen"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// What changes open and close is found bit by bit as by whole searches.
func TestOutcomeOfWildForests(t *testing.T) {
	count, seed := number("LEASTWISE_FORESTS", 100), number("LEASTWISE_SEED", 1)
	quick, turned, done := map[reach.ChangeKind]int{}, map[reach.ChangeKind]int{}, map[reach.ChangeKind]int{}
	for i := range count {
		r := rand.New(rand.NewPCG(uint64(seed+i), 11))
		f := newWildForest(uint64(seed + i)).withPolicies(r).withTwins(r)
		s := f.build(t)
		g, plain := graphOf(s), graphOf(s)
		goals := g.Resolve(reach.TierZero())
		g.Keep(goals)
		for range 25 {
			kind := reach.ChangeKind(1 + r.IntN(int(reach.OwnerChanged)))
			var changes []reach.Change
			text := ""
			for range 1 + r.IntN(5)/4 {
				for range 30 {
					c, fits := f.randomChange(r, s, kind)
					if !fits {
						continue
					}
					if _, err := g.With(append(slices.Clip(changes), c.change)); err == nil {
						changes, text = append(changes, c.change), text+c.text+"; "
						break
					}
				}
			}
			if len(changes) == 0 {
				continue
			}
			after := viewOf(t, g, [][]reach.Change{changes})
			out := reach.Compare(g, after, goals)
			want := reach.WholeTurns(plain, viewOf(t, plain, [][]reach.Change{changes}), goals)
			if got := turnsOf(out); !slices.Equal(got, want) {
				t.Fatalf("seed %d, after %s: quick %v\ngot  %v\nwant %v\n%s", seed+i, text, out.Quick, turnNames(s, got), turnNames(s, want), f)
			}
			if done[kind]++; out.Quick {
				if quick[kind]++; len(want) > 0 {
					turned[kind]++
				}
			}
		}
	}
	if n := count; quick[reach.MemberRemoved] < n/2 || quick[reach.EntryRemoved] < n/2 || turned[reach.MemberAdded] < n/10 || turned[reach.EntryRemoved] < n/30 {
		t.Error("the changes prove too little")
	}
	t.Logf("sets of changes %v, quick %v, of these with an effect %v", done, quick, turned)
}

// withTwins lets some objects have the permissions of others, which then share them.
func (f *wildForest) withTwins(r *rand.Rand) *wildForest {
	out := f.copy()
	for range r.IntN(8) {
		a, b := &out.objects[r.IntN(len(out.objects))], &out.objects[r.IntN(len(out.objects))]
		if a.classes == b.classes && a.domain == b.domain {
			b.owner, b.null, b.aces = a.owner, a.null, slices.Clone(a.aces)
			a.protected, b.protected = true, true
		}
	}
	return out
}

func turnsOf(out *reach.Outcome) []reach.Turn {
	all := append(slices.Clone(out.Closed), out.Opened...)
	slices.SortFunc(all, func(a, b reach.Turn) int {
		if a.ID != b.ID {
			return int(a.ID) - int(b.ID)
		}
		return a.SID.Compare(b.SID)
	})
	return all
}

func turnNames(s *forest.Snapshot, list []reach.Turn) string {
	out := ""
	for _, t := range list {
		name := t.SID.String()
		if t.ID != forest.None {
			name = s.DN(t.ID)
		}
		out += fmt.Sprintf(" %s:%s-%s", name, t.Before, t.After)
	}
	return out
}

// In a large forest nearly all of what one change does is found without looking
// through the whole.
func TestOutcomeOfGeneratedForest(t *testing.T) {
	s, _ := forestgen.Control(uint64(number("LEASTWISE_SEED", 5)), number("LEASTWISE_OBJECTS", 10000))
	x := reach.New(s)
	g := reach.NewGraph(x, gpo.New(s, x))
	goals := g.Resolve(reach.TierZero())
	g.Keep(goals)
	r := rand.New(rand.NewPCG(3, 4))
	var groups, users []forest.ID
	for id := range forest.ID(s.Len()) {
		switch s.Class(id) {
		case "group":
			groups = append(groups, id)
		case "user", "computer":
			users = append(users, id)
		}
	}
	some := func(list []forest.ID) forest.ID { return list[r.IntN(len(list))] }
	quick, turned, done := map[reach.ChangeKind]int{}, map[reach.ChangeKind]int{}, map[reach.ChangeKind]int{}
	for i := range 60 {
		c := reach.Change{Kind: []reach.ChangeKind{
			reach.MemberAdded, reach.MemberRemoved, reach.EntryAdded, reach.EntryRemoved, reach.FlagSet, reach.OwnerChanged,
		}[i%6], Object: forest.ID(r.IntN(s.Len())), Other: some(users), Flag: 2, Owner: s.SID(some(users)), Index: r.IntN(12)}
		c.Entry = secdesc.ACE{Mask: secdesc.FullControl, SID: s.SID(some(users))}
		switch c.Kind {
		case reach.MemberAdded, reach.MemberRemoved:
			c.Object = some(groups)
			if links, _ := s.Links(c.Object, forest.Member); c.Kind == reach.MemberRemoved && len(links) > 0 {
				c.Other = some(links)
			}
		case reach.FlagSet:
			c.Object = some(users)
		}
		after, err := g.With([]reach.Change{c})
		if errors.Is(err, reach.ErrUnfit) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		out, want := reach.Compare(g, after, goals), reach.WholeTurns(g, after, goals)
		if got := turnsOf(out); !slices.Equal(got, want) {
			t.Fatalf("after %+v: quick %v\ngot  %v\nwant %v", c, out.Quick, turnNames(s, got), turnNames(s, want))
		}
		if done[c.Kind]++; out.Quick {
			if quick[c.Kind]++; len(want) > 0 {
				turned[c.Kind]++
			}
		}
	}
	t.Logf("changes %v, quick %v, of these with an effect %v", done, quick, turned)
	all, fast := 0, 0
	for k, n := range done {
		all, fast = all+n, fast+quick[k]
	}
	if fast*10 < all*8 {
		t.Errorf("only %d of %d changes are quick", fast, all)
	}
}
