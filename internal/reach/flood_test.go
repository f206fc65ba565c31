package reach_test

import (
	"os"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/reach"
)

// What a principal gains forwards agrees with who gains a goal backwards, over the
// whole demonstration company.
func TestGainsAgreeWithWhoCan(t *testing.T) {
	f, err := os.Open("../../examples/contoso.lws")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := forest.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	x := reach.New(s)
	g := reach.NewGraph(x, gpo.New(s, x))
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
