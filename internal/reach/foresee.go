package reach

import (
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A prospect knows what joints ask for: who holds a SID, and whom of those who hold
// that of a grant no denial stops. It is safe for concurrent use: several goroutines
// look ahead while the search goes on. What two of them find is the same.
type prospect struct {
	g        *Graph
	possible bool // grants count, too, that hold only if a condition does

	mu     sync.Mutex
	held   map[heldKey]held
	passed map[passedKey]held
	room   int // how many more IDs are kept
}

// passedKey names a grant with guards where it is used on a domain controller of a
// domain.
type passedKey struct {
	grant *grant
	dom   int16
}

func newProspect(g *Graph, possible bool) *prospect {
	return &prospect{g: g, possible: possible, held: map[heldKey]held{}, passed: map[passedKey]held{}, room: math.MaxInt}
}

// keptIDs is how many IDs a graph keeps of what questions asked for.
const keptIDs = 4 << 20

// prospect returns the one that all short questions share: they meet the same grants to
// the same large groups.
func (g *Graph) prospect(possible bool) *prospect {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := &g.prospects[0]
	if possible {
		p = &g.prospects[1]
	}
	if *p == nil {
		*p = newProspect(g, possible)
		(*p).room = keptIDs
	}
	return *p
}

// take reports whether there is room for h. p.mu is held.
func (p *prospect) take(h held) bool {
	n := len(h.accounts) + len(h.groups)
	if n > p.room {
		return false
	}
	p.room -= n + 8
	return true
}

// holding returns the accounts that hold sid against objects of domain dom, and the
// groups whose members do, both in ID order.
func (p *prospect) holding(sid secdesc.SID, dom int16) held {
	key := heldKey{sid, dom}
	p.mu.Lock()
	h, ok := p.held[key]
	p.mu.Unlock()
	if ok {
		return h
	}
	h = p.g.whoHolds(sid, dom)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.take(h) {
		p.held[key] = h
	}
	return h
}

// knows reports whether holding was asked for a key.
func (p *prospect) knows(key heldKey) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.held[key]
	return ok
}

// manyIDs is from how many on it is faster to look at who is denied.
const manyIDs = 64

// passing returns those of ids, in ID order, that no denial stops.
func (p *prospect) passing(ids []forest.ID, deny []denial) []forest.ID {
	if len(ids) < manyIDs {
		return p.g.sifted(ids, deny)
	}
	for _, d := range deny {
		h := p.holding(d.sid, d.dom)
		if slices.ContainsFunc(h.accounts, func(id forest.ID) bool { return p.g.x.isForeign(id) }) {
			return p.g.passing(ids, deny) // that may stand for everybody
		}
		ids = without(without(ids, h.accounts), h.groups)
	}
	return ids
}

// guarded reports whether a grant is worth being looked at ahead: it is denied to some.
func (p *prospect) guarded(one *grant) bool {
	return len(one.deny) > 0 && !isIdentity(one.who) && (p.possible || one.cond == certain)
}

// pass finds whom no denial stops of those who hold the SID of a grant.
func (p *prospect) pass(key passedKey) {
	if _, ok := p.passes(key); ok {
		return
	}
	h, deny := p.holding(key.grant.who, key.dom), denials(key.grant.deny, key.dom)
	h = held{p.passing(h.accounts, deny), p.passing(h.groups, deny)}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.take(h) {
		p.passed[key] = h
	}
}

// passes returns what pass found.
func (p *prospect) passes(key passedKey) (held, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h, ok := p.passed[key]
	return h, ok
}

// ahead makes the grants that a wide search will ask for until that is enough, and finds
// who passes those with guards that are wanted.
func (p *prospect) ahead(enough *atomic.Bool, wanted <-chan passedKey) {
	p.g.compileAhead(enough)
	for key := range wanted {
		if enough.Load() {
			return
		}
		p.pass(key)
	}
}

// lookAhead begins to look ahead of a search that has become wide, on another processor.
func (sol *solver) lookAhead() {
	if runtime.GOMAXPROCS(0) == 1 || sol.wanted != nil {
		return
	}
	wanted, p := make(chan passedKey, 1<<16), sol.prospect
	sol.wanted = wanted
	sol.ahead.Go(func() { p.ahead(&sol.done, wanted) })
}

// want says that a joint will ask for whom no denial of a grant stops. What there is no
// room for is not looked for ahead.
func (sol *solver) want(one *grant, dom int16) {
	if sol.wanted != nil && sol.prospect.guarded(one) {
		select {
		case sol.wanted <- passedKey{one, dom}:
		default:
		}
	}
}

// lookNoMore ends what lookAhead began.
func (sol *solver) lookNoMore() {
	sol.done.Store(true)
	if sol.wanted != nil {
		close(sol.wanted)
		sol.wanted = nil
	}
	sol.ahead.Wait()
}

// worthwhile is how many joints have to be begun for more than one processor to be
// worth it.
const worthwhile = 4

// foresee finds, on all processors, what the joints that were not begun yet will ask
// for.
func (sol *solver) foresee() {
	var fresh []*joint
	for _, q := range sol.order {
		fresh = append(fresh, q.later[len(q.tasks):]...)
	}
	if len(fresh) < worthwhile || runtime.GOMAXPROCS(0) == 1 {
		return
	}
	p := sol.prospect
	var keys []passedKey
	var sids []heldKey // each once, and before those who need them ask
	seen, asked := map[passedKey]bool{}, map[heldKey]bool{}
	for _, j := range fresh {
		if len(j.legs) != 1 || len(j.legs[0].grants) != 1 || j.cond != certain && !sol.possible {
			continue
		}
		l := &j.legs[0]
		key, sid := passedKey{&l.grants[0], l.dom}, heldKey{l.grants[0].who, l.dom}
		if _, known := p.passes(key); known || seen[key] || !p.guarded(key.grant) {
			continue
		}
		seen[key] = true
		keys = append(keys, key)
		if !asked[sid] && !p.knows(sid) {
			asked[sid] = true
			sids = append(sids, sid)
		}
	}
	beside(len(sids), func(i int) { p.holding(sids[i].sid, sids[i].dom) })
	beside(len(keys), func(i int) { p.pass(keys[i]) })
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
