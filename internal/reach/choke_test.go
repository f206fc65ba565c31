package reach_test

import (
	"slices"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/forest/forestgen"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
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

// Without the unit of a choke point those that it lets through gain no goal any
// more, but by a way on which several things have to be gained, or by another entry
// of the same object: of those a web has no others than the search took. More may
// lose theirs: whoever needs the unit for one of several gains is not counted.
func TestChokesTakenAway(t *testing.T) {
	taken, more, other := 0, 0, 0
	for seed := range number("LEASTWISE_FORESTS", 100) {
		s := newWildForest(uint64(seed + 1)).build(t)
		g := graphOf(s)
		before := g.WhoCan(g.Resolve(reach.TierZero()))
		for _, c := range before.Chokes(30) {
			after := without(t, g, before, c.Unit)
			if after == nil || s.Name(c.Object) == "AdminSDHolder" { // copies that nobody made stay
				continue
			}
			taken++
			if len(before.Certain())-len(after.Certain()) > c.Principals {
				more++
			}
			for _, id := range c.Sample {
				if !after.Has(id) {
					continue
				}
				same := func(h reach.Hop) bool {
					return slices.ContainsFunc(h.Evidence, func(e reach.Evidence) bool { return e.Over == c.Object })
				}
				if other++; joints(after.Path(id)) == 0 && !slices.ContainsFunc(after.Path(id), same) {
					t.Errorf("seed %d: without %s on %s %s still has a way:", seed+1, c.Unit, s.DN(c.Object), s.DN(id))
					for _, h := range after.Path(id) {
						t.Log("   ", hopText(h))
					}
				}
			}
		}
	}
	t.Logf("%d choke points taken away, %d let more through than they say, %d times there was another way", taken, more, other)
	if taken < 100 || more > taken/5 || other > taken/5 {
		t.Error("choke points are not what they seem")
	}
}

// In a generated forest exactly those lose their way that need the choke point.
func TestChokesOfGeneratedForest(t *testing.T) {
	s, _ := forestgen.Control(uint64(number("LEASTWISE_SEED", 3)), number("LEASTWISE_OBJECTS", 3000))
	g := graphOf(s)
	before := g.WhoCan(g.Resolve(reach.TierZero()))
	for _, c := range before.Chokes(20) {
		after := without(t, g, before, c.Unit)
		if after == nil {
			t.Fatalf("cannot take %s away", c.Unit)
		}
		if lost := len(before.Certain()) - len(after.Certain()); lost != c.Principals {
			t.Errorf("without %s on %s %d lose their way, not %d", c.Unit, s.DN(c.Object), lost, c.Principals)
		}
	}
}

// without returns who can gain the goals if a unit is taken away; nil if that is not
// one change.
func without(t *testing.T, g *reach.Graph, before *reach.Reach, u reach.Unit) *reach.Reach {
	t.Helper()
	change := reach.Change{Object: u.Object, Index: u.ACE, Other: u.Member}
	switch {
	case u.ACE >= 0:
		change.Kind = reach.EntryRemoved
	case u.Kind == reach.Membership && u.Member != forest.None:
		change.Kind = reach.MemberRemoved
	case u.Kind == reach.Owner:
		change.Kind, change.Owner = reach.OwnerChanged, secdesc.System
	default:
		return nil
	}
	view, err := g.With([]reach.Change{change})
	if err != nil {
		t.Errorf("taking %s away: %v", u, err)
		return nil
	}
	return view.WhoCan(before.Goals())
}

// Without what a smallest cut names nobody gains the goals but those who stay.
func TestCutTakenAway(t *testing.T) {
	plain := offline(t, replace(oneKeeper, "%P", "allow eve full-control"))
	generated, _ := forestgen.Control(uint64(number("LEASTWISE_SEED", 3)), number("LEASTWISE_OBJECTS", 3000))
	for name, s := range map[string]*forest.Snapshot{"plain": plain, "generated": generated} {
		g := graphOf(s)
		goals := g.Resolve(reach.TierZero())
		before := g.WhoCan(goals)
		cut := before.SmallestCut()
		view, left := cutOff(t, s, g, cut)
		if got := len(view.WhoCan(goals).Certain()); got != cut.Stay || left > 0 {
			t.Errorf("%s: of %d, %d still gain Tier 0 without %d units, not the %d who stay; %d units cannot be taken away",
				name, len(before.Certain()), got, len(cut.Units), cut.Stay, left)
		}
	}
}

// What some gain without anything that could be taken away hides nobody else from a
// cut.
func TestCutBesideOpenWays(t *testing.T) {
	s := offline(t, replace(oneKeeper, "%P", "allow eve full-control"))
	g := graphOf(s)
	goals, eve := []forest.ID{named(t, s, "goal")}, named(t, s, "eve")
	before := g.WhoCan(goals)
	cut := before.SmallestCut()
	view, _ := cutOff(t, s, g, cut)
	if !before.Has(eve) || view.WhoCan(goals).Has(eve) || cut.Stay < 2 {
		t.Errorf("eve gains the goal: %v; after a cut of %d units: %v; %d stay", before.Has(eve), len(cut.Units), view.WhoCan(goals).Has(eve), cut.Stay)
	}
}

const oneKeeper = `
ous: [{name: People}]
users: [{name: eve, in: People}]
groups: [{name: goal, in: People, permissions: ["%P"]}]
`

// cutOff takes the units of a cut away, and returns how many of them cannot be.
func cutOff(t *testing.T, s *forest.Snapshot, g *reach.Graph, cut reach.CutSet) (view *reach.Graph, left int) {
	t.Helper()
	var changes []reach.Change
	for _, u := range cut.Units {
		c := reach.Change{Object: u.Object, Index: -1, Other: u.Member}
		switch {
		case u.ACE >= 0:
			d, _ := s.Descriptor(u.Object)
			c.Kind, c.Entry = reach.EntryRemoved, d.DACL.ACEs[u.ACE]
		case u.Kind == reach.Membership && u.Member != forest.None:
			c.Kind = reach.MemberRemoved
		case u.Kind == reach.Owner:
			c.Kind, c.Owner = reach.OwnerChanged, secdesc.System
		default:
			t.Log("left:", u)
			left++
			continue
		}
		changes = append(changes, c)
	}
	view, err := g.With(changes)
	if err != nil {
		t.Fatal(err)
	}
	return view, left
}
