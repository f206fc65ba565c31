package reach_test

import (
	"os"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/reach"
)

func TestDraftChokes(t *testing.T) {
	f, err := os.Open("../../examples/contoso.lws")
	if err != nil {
		t.Fatal(err)
	}
	s, err := forest.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	x := reach.New(s)
	g := reach.NewGraph(x, gpo.New(s, x))
	goals := g.Resolve(reach.TierZero())
	name := func(id forest.ID) string {
		if id == forest.None {
			return "-"
		}
		return s.Name(id)
	}
	for _, c := range g.Chokes(goals, 20) {
		t.Logf("%d: %s of %s member %s %s %s", c.Principals, c.Kind, name(c.Object), name(c.Member), c.SDDL, c.Detail)
	}
	cut := g.SmallestCut(goals)
	t.Logf("stay %d", cut.Stay)
	for _, c := range cut.Units {
		t.Logf("cut: %s of %s member %s %s %s", c.Kind, name(c.Object), name(c.Member), c.SDDL, c.Detail)
	}
}
