package reach_test

import (
	"slices"
	"testing"

	"github.com/leastwise/leastwise/internal/reach"
)

// In the demonstration company three entries on AdminSDHolder, a delegation, an
// entry on an organizational unit and an owner let others than members into Tier 0;
// without them nobody else gets there.
func TestCutOfContoso(t *testing.T) {
	s, g := contosoGraph(t)
	goals := g.Resolve(reach.TierZero())
	var got []string
	for _, u := range g.SmallestCut(goals).Units {
		got = append(got, u.Kind.String()+" "+s.Name(u.Object))
	}
	slices.Sort(got)
	want := []string{
		"add-member AdminSDHolder", "add-member AdminSDHolder", "delegates svc-portal", "full-control AdminSDHolder",
		"full-control Service Accounts", "owner Lara Brandt (admin)",
	}
	if !slices.Equal(got, want) {
		t.Errorf("cut by %q, want %q", got, want)
	}
	chokes := g.Chokes(goals, 3)
	if len(chokes) != 3 || chokes[0].Principals != 3 || s.Name(chokes[0].Member) != "Server Admins" {
		t.Errorf("choke points %v", chokes)
	}
}
