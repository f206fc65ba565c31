package reach

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// passedKey names a grant with guards where it is used on a domain controller of a
// domain.
type passedKey struct {
	grant *grant
	dom   int16
}

// worthwhile is how many joints have to be begun for more than one processor to be
// worth it.
const worthwhile = 4

// foresee finds, on all processors, what the joints that were not begun yet will ask
// for: who holds the SIDs of their grants, and whom of those no denial stops.
func (sol *solver) foresee() {
	var fresh []*joint
	for _, q := range sol.order {
		fresh = append(fresh, q.later[len(q.tasks):]...)
	}
	if len(fresh) < worthwhile || runtime.GOMAXPROCS(0) == 1 {
		return
	}
	legs := guardedLegs(fresh, sol.possible)
	keys := map[heldKey]bool{}
	for _, l := range legs {
		keys[heldKey{l.grants[0].who, l.dom}] = true
	}
	sol.holdAll(keys)
	clear(keys)
	for _, l := range legs {
		if accounts, groups := sol.holding(l.grants[0].who, l.dom); max(len(accounts), len(groups)) >= manyIDs {
			for _, sid := range l.grants[0].deny {
				keys[heldKey{sid, l.dom}] = true
			}
		}
	}
	sol.holdAll(keys)
	passed := make([]held, len(legs))
	beside(len(legs), func(i int) {
		one, dom := &legs[i].grants[0], legs[i].dom
		accounts, groups := sol.holding(one.who, dom) // and those of denials: only read
		deny := denials(one.deny, dom)
		passed[i] = held{sol.passing(accounts, deny), sol.passing(groups, deny)}
	})
	for i, l := range legs {
		sol.passed[passedKey{&l.grants[0], l.dom}] = passed[i]
	}
}

// guardedLegs returns those of joints that need nothing but one grant that is denied
// to some, each once.
func guardedLegs(joints []*joint, possible bool) []*leg {
	var out []*leg
	seen := map[passedKey]bool{}
	for _, j := range joints {
		if len(j.legs) != 1 || len(j.legs[0].grants) != 1 {
			continue
		}
		l := &j.legs[0]
		one := &l.grants[0]
		key := passedKey{one, l.dom}
		if len(one.deny) > 0 && !isIdentity(one.who) && (possible || one.cond == certain && j.cond == certain) && !seen[key] {
			seen[key] = true
			out = append(out, l)
		}
	}
	return out
}

// holdAll is holding for many keys.
func (sol *solver) holdAll(keys map[heldKey]bool) {
	list := make([]heldKey, 0, len(keys))
	for k := range keys {
		if _, ok := sol.held[k]; !ok {
			list = append(list, k)
		}
	}
	found := make([]held, len(list))
	beside(len(list), func(i int) { found[i] = sol.g.whoHolds(list[i].sid, list[i].dom) })
	for i, k := range list {
		sol.held[k] = found[i]
	}
}

// beside calls do for 0 … n-1, on all processors.
func beside(n int, do func(i int)) {
	var next atomic.Int64
	var wait sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wait.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				do(int(i))
			}
		})
	}
	wait.Wait()
}
