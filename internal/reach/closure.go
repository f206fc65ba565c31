package reach

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A closure is everything that can gain the head of a domain, or of a component.
// Nearly every account leads there, so nearly every answer contains one: it is found
// once and kept.
type closure struct {
	head       node
	objects    []uint64 // by ID, one bit each
	virtual    map[node]bool
	principals []forest.ID // in ID order
	identities []secdesc.SID
	unread     []forest.ID
}

func (c *closure) has(v node) bool {
	if int(v/64) < len(c.objects) {
		return c.objects[v/64]&(1<<(v%64)) != 0
	}
	return c.virtual[v]
}

// lacking returns those of ids that c does not have.
func (c *closure) lacking(ids []forest.ID) []forest.ID {
	var out []forest.ID
	for _, id := range ids {
		if c.objects[id/64]&(1<<(id%64)) == 0 {
			out = append(out, id)
		}
	}
	return out
}

// closures are those of a graph, made when they are first asked for. The zero value
// is ready; it is safe for concurrent use.
type closures struct {
	asked atomic.Bool // a question was answered without
	mu    sync.Mutex  // of what follows
	of    map[closureKey]*closureSlot
}

type closureKey struct {
	head     node
	possible bool
}

type closureSlot struct {
	mu   sync.Mutex // held while it is made
	done atomic.Pointer[closure]
}

func (g *Graph) closureSlot(head node, possible bool) *closureSlot {
	c := &g.closures
	c.mu.Lock()
	defer c.mu.Unlock()
	key := closureKey{head, possible}
	slot, ok := c.of[key]
	if !ok {
		if c.of == nil {
			c.of = map[closureKey]*closureSlot{}
		}
		slot = &closureSlot{}
		c.of[key] = slot
	}
	return slot
}

// kept returns the closure that v leads to; nil if there is none, or, unless it may
// be made, it was not made yet.
func (g *Graph) kept(v node, possible, makeIt bool) *closure {
	head := v
	if v >= g.n || !g.isHead[forest.ID(v)] {
		var ok bool
		if head, ok = g.components.headOf(v); !ok {
			return nil
		}
	}
	if makeIt {
		return g.closureOf(head, possible)
	}
	return g.closureSlot(head, possible).done.Load()
}

// closureOf returns who can gain a head.
func (g *Graph) closureOf(head node, possible bool) *closure {
	slot := g.closureSlot(head, possible)
	slot.mu.Lock()
	defer slot.mu.Unlock()
	if c := slot.done.Load(); c != nil {
		return c
	}
	sol := newSolver(g, possible)
	sol.short = func(v node) *closure { return g.kept(v, possible, false) } // never waits: they may lead to each other
	q := sol.add([]node{head})
	sol.run()
	c := q.closure(head)
	slot.done.Store(c)
	return c
}

// closure returns what q has found, to be kept.
func (q *search) closure(head node) *closure {
	n := q.sol.g.n
	c := &closure{head: head, objects: make([]uint64, (n+63)/64), virtual: map[node]bool{}}
	take := func(v node) {
		if v < n {
			c.objects[v/64] |= 1 << (v % 64)
		} else {
			c.virtual[v] = true
		}
	}
	for _, v := range q.queue {
		take(v)
	}
	for _, o := range q.closures {
		for i, bits := range o.objects {
			c.objects[i] |= bits
		}
		for v := range o.virtual {
			take(v)
		}
	}
	c.principals, c.identities, c.unread = q.principals(), q.identities(), q.allUnread()
	return c
}

// attach makes a closure part of what q has found, in place of a search for what
// leads to its head; nil: there is none.
func (q *search) attach(c *closure) bool {
	if c == nil {
		return false
	}
	q.closures = slices.DeleteFunc(q.closures, func(o *closure) bool { return c.has(o.head) })
	q.closures = append(q.closures, c)
	q.attached++
	q.sol.attached++
	return true
}

// closed reports whether v is part of an attached closure.
func (q *search) closed(v node) bool {
	for _, c := range q.closures {
		if c.has(v) {
			return true
		}
	}
	return false
}

// merge returns what is in one of two lists in ID order, in a list of its own.
func merge(a, b []forest.ID) []forest.ID {
	if len(a) > len(b) {
		a, b = b, a
	}
	out := make([]forest.ID, 0, len(a)+len(b))
	for _, id := range a {
		i, found := slices.BinarySearch(b, id)
		out = append(out, b[:i]...)
		if b = b[i:]; !found {
			out = append(out, id)
		}
	}
	return append(out, b...)
}

// ways is a search for shortest ways, which goes on when one is asked for that it
// has not found yet. It is safe for concurrent use.
type ways struct {
	mu sync.Mutex
	q  *search
}

// to returns a shortest way from a node to a goal; nil if there is none.
func (w *ways) to(v node) Path {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.q.sol.until(func() bool { return w.q.has(v) })
	if !w.q.has(v) {
		return nil
	}
	return w.q.path(v)
}

// whole returns the search when it has found everything.
func (w *ways) whole() *search {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.q.sol.run()
	return w.q
}
