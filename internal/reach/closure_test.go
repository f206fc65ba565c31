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
