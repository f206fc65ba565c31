package reach_test

import (
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
)

// What a principal gains forwards agrees with who gains a goal backwards, over the
// whole demonstration company.
func TestGainsAgreeWithWhoCan(t *testing.T) {
	s, g := contosoGraph(t)
	goals := g.Resolve(reach.TierZero())
	r := g.WhoCan(goals)
	compared := 0
	for id := range forest.ID(s.Len()) {
		if !s.IsA(id, "user") && !s.IsA(id, "group") || s.SID(id).IsZero() || id%7 != 0 && !r.MayHave(id) {
			continue
		}
		compared++
		for _, possible := range []bool{false, true} {
			want := r.Has(id)
			if possible {
				want = r.MayHave(id)
			}
			if got := hasAny(g.Gains(id, possible), goals); got != want {
				t.Errorf("%s (possible %v): forwards %v, backwards %v", s.DN(id), possible, got, want)
			}
		}
	}
	if compared < 300 {
		t.Errorf("only %d principals were compared", compared)
	}
}

func hasAny(got, goals []forest.ID) bool {
	for _, id := range got {
		for _, goal := range goals {
			if id == goal {
				return true
			}
		}
	}
	return false
}
