package reach_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// In wild forests, with denials and several domains, the users, computers and groups
// that an account holds in one step are those that an access check of every pair
// gives it, and all of them are among what it gains.
func TestBreadthsOfWildForests(t *testing.T) {
	count, seed := number("LEASTWISE_FORESTS", 40), number("LEASTWISE_SEED", 1)
	held, nothing, further := 0, 0, 0
	for i := range count {
		s := newWildForest(uint64(seed + i)).build(t)
		g, r := graphOf(s), newReference(s, false)
		g.Breadths(func(b reach.Breadth) bool {
			if !r.logons[b.ID] {
				return true
			}
			gains, got, want := g.Gains(b.ID, false), map[string]int{}, map[string]int{}
			sum := 0
			for _, k := range b.Held {
				sum += k.Count
				if c := k.Class; k.Kind != reach.LocalAdministrator && (c == "user" || c == "computer" || c == "group") {
					got[c] += k.Count
				}
			}
			for o := range forest.ID(s.Len()) {
				c := s.Class(o)
				if o == b.ID || c != "user" && c != "computer" && c != "group" || !takes(r, b.ID, o) {
					continue
				}
				want[c]++
				if _, ok := slices.BinarySearch(gains, o); !ok {
					t.Errorf("seed %d: %s holds %s and does not gain it", seed+i, s.DN(b.ID), s.DN(o))
				}
			}
			if !maps.Equal(got, want) {
				t.Errorf("seed %d: %s holds %v, access checks say %v (%v)", seed+i, s.DN(b.ID), got, want, b.Held)
			}
			if sum != b.Objects || b.Hosts > b.Objects || len(gains)-1 < b.Objects {
				t.Errorf("seed %d: %s: %d objects by kind, %d in all, %d hosts, %d gained", seed+i, s.DN(b.ID), sum, b.Objects, b.Hosts, len(gains)-1)
			}
			switch {
			case b.Objects == 0:
				nothing++
			case len(gains)-1 > b.Objects:
				further++
				fallthrough
			default:
				held++
			}
			return !t.Failed()
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d accounts hold something, %d nothing; %d of the first gain more in further steps", held, nothing, further)
	if held < count || nothing < count || further < count {
		t.Error("the forests prove too little")
	}
}

// What reach says that one principal holds for certain is what it is ranked by: over
// objects of other domains too, and by pairs of rights.
func TestHoldingsAreBreadths(t *testing.T) {
	held := 0
	for seed := range number("LEASTWISE_FORESTS", 40) {
		s := newWildForest(uint64(seed + 1)).build(t)
		g := reach.NewGraph(reach.New(s), nil)
		g.Breadths(func(b reach.Breadth) bool {
			want, got := map[reach.HeldKind]bool{}, map[reach.HeldKind]bool{}
			for _, k := range b.Held {
				want[k] = true
			}
			for _, h := range g.Holdings(b.ID, nil) {
				if h.If == "" {
					got[reach.HeldKind{Kind: h.Kind, Class: h.Class, Count: h.Count}] = true
				}
			}
			if held += len(want); !maps.Equal(got, want) {
				t.Errorf("seed %d: %s holds %v, ranked by %v", seed+1, s.DN(b.ID), got, want)
			}
			return true
		})
	}
	if held < 100 {
		t.Error("the forests prove too little")
	}
}

// takes asks whether account a can take object o by rights on it, one access check
// for each way to do it.
func takes(r *reference, a, o forest.ID) bool {
	d, st := r.s.Descriptor(o)
	if st != forest.Known {
		return false
	}
	how := secdesc.OwnersDecide
	if r.blocked(o, d.Owner) {
		how = secdesc.OwnersBlocked
	}
	var ways [][]secdesc.Request
	ways = append(ways, []secdesc.Request{r.on(o, secdesc.WriteDAC)})
	if d.DACL != nil && !limitsOwners(d) && !r.blocked(o, secdesc.SID{}) {
		ways = append(ways, []secdesc.Request{r.on(o, secdesc.WriteOwner)})
	}
	ways = append(ways, r.powers(o)...)
	if both := r.revival(o); both != nil {
		ways = append(ways, both)
	}
	if r.s.IsA(o, "group") {
		if w, ok := r.write(o, "member"); ok {
			ways = append(ways, []secdesc.Request{w})
		}
		ways = append(ways, []secdesc.Request{r.on(o, secdesc.SelfWrite, secdesc.MustGUID("bf9679c0-0de6-11d0-a285-00aa003049e2"))})
	}
	for _, dom := range r.tokenDomains(r.domain[o]) {
		token := r.token(a, dom)
		view := d.View(func(sid secdesc.SID) bool {
			// What members may do to their own group (secdesc.Self) takes nothing over.
			return sid != secdesc.Self && slices.Contains(token, r.number(sid))
		}, how)
		for _, way := range ways {
			if !slices.ContainsFunc(way, func(q secdesc.Request) bool { return view.Check(q).Outcome != secdesc.Granted }) {
				return true
			}
		}
	}
	return false
}
