package reach_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Nested is GroupsOf the other way round, and Holders is Holds for many, whatever the
// order in which one asks; and so in views.
func TestNestingOfWildForests(t *testing.T) {
	nested, held := 0, 0
	for seed := range uint64(30) {
		s := newWildForest(seed).build(t)
		x := reach.New(s)
		r := rand.New(rand.NewPCG(seed, 3))
		for _, id := range r.Perm(s.Len()) {
			group := forest.ID(id)
			var want []forest.ID
			for m := range forest.ID(s.Len()) {
				if _, ok := slices.BinarySearch(x.GroupsOf(m), group); ok && s.IsA(m, "group") && m != group && isSecurity(s, m) {
					want = append(want, m)
				}
			}
			if got := x.Nested(group); !slices.Equal(got, want) {
				t.Fatalf("seed %d: in %s are %v, not %v", seed, s.DN(group), got, want)
			}
			nested += len(want)
		}
		sids := []secdesc.SID{secdesc.Everyone, secdesc.AuthenticatedUsers, secdesc.Administrators, secdesc.MustSID("S-1-5-9"), secdesc.MustSID("S-1-5-21-1-2-3-4")}
		for id := range forest.ID(s.Len()) {
			if !s.SID(id).IsZero() {
				sids = append(sids, s.SID(id))
			}
		}
		for _, sid := range sids {
			holds := x.Holders(sid)
			for id := range forest.ID(s.Len()) {
				if got, want := holds(id), x.Holds(id, sid); got != want {
					t.Fatalf("seed %d: whether %s holds %s: %t, not %t", seed, s.DN(id), sid, got, want)
				} else if want {
					held++
				}
			}
		}
	}
	if nested < 50 || held < 1000 {
		t.Errorf("%d nestings and %d identities prove too little", nested, held)
	}
}

// isSecurity reports whether a group is security-enabled.
func isSecurity(s *forest.Snapshot, id forest.ID) bool {
	kind, st := s.Int(id, forest.GroupType)
	return st == forest.Known && kind&0x80000000 != 0
}
