package reach_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leastwise/leastwise/internal/reach"
)

// Lock-outs of permissions are those that a look at every object finds.
func TestLockOutsOfWildForests(t *testing.T) {
	count, seed := number("LEASTWISE_FORESTS", 60), number("LEASTWISE_SEED", 1)
	kinds := []reach.ChangeKind{reach.MemberAdded, reach.MemberRemoved, reach.EntryRemoved, reach.FlagSet, reach.Moved, reach.OwnerChanged}
	found := map[reach.ChangeKind]int{}
	for i := range count {
		r := rand.New(rand.NewPCG(uint64(seed+i), 17))
		f := newWildForest(uint64(seed + i)).withTwins(r)
		s := f.build(t)
		g := graphOf(s)
		for range 25 {
			kind := kinds[r.IntN(len(kinds))]
			var changes []reach.Change
			text := ""
			for range 60 {
				c, fits := f.randomChange(r, s, kind)
				if !fits || kind == reach.FlagSet && c.change.Flag != 2 {
					continue
				}
				if _, err := g.With(append(slices.Clip(changes), c.change)); err != nil {
					continue
				}
				changes, text = append(changes, c.change), text+c.text+"; "
				if len(changes) == 1+r.IntN(4) {
					break
				}
			}
			after := viewOf(t, g, [][]reach.Change{changes})
			got, want := reach.LockOuts(g, after), reach.LockOutsByLook(g, after)
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d, after %s\ngot  %+v\nwant %+v\n%s", seed+i, text, got, want, f)
			}
			found[kind] += len(want)
		}
	}
	t.Logf("lock-outs %v", found)
	for _, kind := range kinds {
		if found[kind] == 0 && kind != reach.MemberAdded { // it takes a denial: TestLockOutsByDenialAndIdentity
			t.Errorf("no change of kind %d locks anything out: this proves too little", kind)
		}
	}
}
