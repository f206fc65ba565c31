package reach_test

import (
	"sync"
	"testing"

	"github.com/leastwise/leastwise/internal/reach"
)

// One graph answers several at once; the race detector watches.
func TestConcurrentAnswers(t *testing.T) {
	_, g := contosoGraph(t)
	goals := g.Resolve(reach.TierZero())
	want := len(g.WhoCan(goals).Certain())
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			r := g.WhoCan(goals)
			if got := len(r.Certain()); got != want {
				t.Errorf("%d principals, want %d", got, want)
			}
			from := r.Certain()[i]
			r.Possible()
			g.Paths(from, goals, 3)
			g.Gains(from, true)
			g.Holdings(from, goals)
			g.Chokes(goals, 5)
			g.SmallestCut(goals)
		})
	}
	wg.Wait()
}
