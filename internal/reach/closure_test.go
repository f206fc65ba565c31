package reach_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/forest/forestgen"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/reach"
)

// The first question to a graph is answered by a search of its own, those after
// with what is known of the heads of domains: the answers are the same, and so are
// the paths, whatever was asked before.
func TestLaterAnswersAreTheSame(t *testing.T) {
	asked, reached, held := 0, 0, 0
	for seed := range number("LEASTWISE_FORESTS", 60) {
		s := newWildForest(uint64(seed + 1)).build(t)
		x := reach.New(s)
		e := gpo.New(s, x)
		later := reach.NewGraph(x, e)
		later.WhoCan(nil)
		for id := range forest.ID(s.Len()) {
			if id%3 != forest.ID(seed%3) {
				continue
			}
			asked++
			r := later.WhoCan([]forest.ID{id})
			reached += len(r.Certain())
			held += sameAnswer(t, s, reach.NewGraph(x, e).WhoCan([]forest.ID{id}), r, 1)
		}
	}
	t.Logf("%d questions, %d principals, %d only possibly", asked, reached, held)
	if reached < 3*asked || held == 0 {
		t.Error("the forests prove too little")
	}
}

// The same where small forests, in which several things have to be gained more often,
// have components: principals that all gain each other.
func TestLaterAnswersWithComponents(t *testing.T) {
	asked, found, held := 0, 0, 0
	for seed := range number("LEASTWISE_FORESTS", 40) {
		s := newWildForest(uint64(seed + 1)).build(t)
		x := reach.New(s)
		e := gpo.New(s, x)
		list := components(s, func() *reach.Graph { return reach.NewGraph(x, e) })
		if len(list) == 0 {
			continue
		}
		for from := range list { // the closures are made in another order
			later := reach.NewGraph(x, e)
			later.WhoCan(nil)
			for i := range list {
				later.KeepComponent(list[(from+i)%len(list)])
			}
			for id := range forest.ID(s.Len()) {
				asked++
				held += sameAnswer(t, s, reach.NewGraph(x, e).WhoCan([]forest.ID{id}), later.WhoCan([]forest.ID{id}), 1)
			}
		}
		found += len(list)
	}
	t.Logf("%d questions, %d components, %d principals only possibly", asked, found, held)
	if found < 10 || held == 0 {
		t.Error("the forests prove too little")
	}
}

// components returns the sets of principals that all gain each other for certain.
func components(s *forest.Snapshot, fresh func() *reach.Graph) [][]forest.ID {
	gains := map[forest.ID][]forest.ID{} // who gains an object
	for id := range forest.ID(s.Len()) {
		gains[id] = fresh().WhoCan([]forest.ID{id}).Certain()
	}
	var out [][]forest.ID
	seen := map[forest.ID]bool{}
	for id := range forest.ID(s.Len()) {
		if seen[id] {
			continue
		}
		core := slices.DeleteFunc(slices.Clone(gains[id]), func(o forest.ID) bool { return !slices.Contains(gains[o], id) })
		if !slices.Contains(core, id) || len(core) < 2 {
			continue
		}
		for _, o := range core {
			seen[o] = true
		}
		out = append(out, core)
	}
	return out
}

// The same in a generated forest, most of which is one large component, and asked by
// several at once.
func TestLaterAnswersOfGeneratedForest(t *testing.T) {
	s, _ := forestgen.Control(2, 6000)
	x := reach.New(s)
	e := gpo.New(s, x)
	later := reach.NewGraph(x, e)
	later.WhoCan(nil)
	var wg sync.WaitGroup
	for k := range forest.ID(4) {
		wg.Go(func() {
			for i := range forest.ID(15) {
				goals := []forest.ID{(k*977 + i*163) % forest.ID(s.Len()), (k*89 + i*211) % forest.ID(s.Len())}
				sameAnswer(t, s, reach.NewGraph(x, e).WhoCan(goals), later.WhoCan(goals), 137)
			}
		})
	}
	wg.Wait()
	if later.Components() == 0 {
		t.Error("no component was found")
	}
}

// What has to be gained first may itself be gained by an account of a component that
// is known: those who come to it in later questions are found as in the first.
func TestComponentGainsWhatIsNeededFirst(t *testing.T) {
	s := offline(t, `
ous: [{name: People}]
users:
  - {name: ann, in: People, permissions: [allow ben reset-password]}
  - {name: ben, in: People, permissions: [allow ann reset-password]}
groups:
  - {name: refused, in: People}
  - {name: k6, in: People, members: [ann]}
  - {name: k5, in: People, permissions: [deny refused manage-members, allow k6 manage-members]}
  - {name: k4, in: People, permissions: [deny refused manage-members, allow k5 manage-members]}
  - {name: k3, in: People, permissions: [deny refused manage-members, allow k4 manage-members]}
  - {name: k2, in: People, permissions: [deny refused manage-members, allow k3 manage-members]}
  - {name: k1, in: People, permissions: [deny refused manage-members, allow k2 manage-members]}
  - {name: goal, in: People, permissions: [deny refused manage-members, allow k1 manage-members]}
`)
	core, goals := []forest.ID{named(t, s, "ann"), named(t, s, "ben")}, []forest.ID{named(t, s, "goal")}
	slices.Sort(core)
	g := graphOf(s)
	first := g.WhoCan(goals)
	if !first.Has(core[0]) || !first.Has(core[1]) {
		t.Fatal("they do not gain the goal at all")
	}
	g.KeepComponent(core)
	sameAnswer(t, s, first, g.WhoCan(goals), 1)
}

// sameAnswer compares two answers, and the paths of one principal in so many. It
// returns how many can only possibly gain the goals.
func sameAnswer(t *testing.T, s *forest.Snapshot, want, got *reach.Reach, every int) int {
	t.Helper()
	goals := got.Goals()
	if a, b := want.Certain(), got.Certain(); !slices.Equal(a, b) {
		t.Errorf("goals %v: %v for sure, later %v", goals, a, b)
	}
	if a, b := want.Possible(), got.Possible(); !slices.Equal(a, b) {
		t.Errorf("goals %v: %v possibly, later %v", goals, a, b)
	}
	sure1, maybe1 := want.Identities()
	sure2, maybe2 := got.Identities()
	if !slices.Equal(sure1, sure2) || !slices.Equal(maybe1, maybe2) {
		t.Errorf("goals %v: identities %v and %v, later %v and %v", goals, sure1, maybe1, sure2, maybe2)
	}
	for i, id := range append(want.Certain(), want.Possible()...) {
		if i%every != 0 {
			continue
		}
		a, b := want.Path(id), got.Path(id)
		if !slices.EqualFunc(a, b, func(x, y reach.Hop) bool { return hopText(x) == hopText(y) }) {
			t.Errorf("goals %v: from %s another path", goals, s.DN(id))
		}
		if !got.MayHave(id) || got.Has(id) != want.Has(id) {
			t.Errorf("goals %v: %s is not in the answer as it should", goals, s.DN(id))
		}
	}
	return len(want.Possible())
}
