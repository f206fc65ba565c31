package reach

import (
	"sync"
	"sync/atomic"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// A trustee is a SID that grants are given to, with the nodes that hold it once
// somebody asked: hundreds of thousands of grants are given to few.
type trustee struct {
	nodes []atomic.Pointer[[]node] // by 1 + the domain; -1 for objects of all domains
}

// A trusteeSet makes trustees. It is safe for concurrent use.
type trusteeSet struct {
	domains int
	mu      sync.Mutex
	bySID   map[secdesc.SID]*trustee
}

func (t *trusteeSet) of(sid secdesc.SID) *trustee {
	t.mu.Lock()
	defer t.mu.Unlock()
	one, ok := t.bySID[sid]
	if !ok {
		one = &trustee{nodes: make([]atomic.Pointer[[]node], t.domains+1)}
		t.bySID[sid] = one
	}
	return one
}

// holdersOf returns the nodes to which a grant is given over objects of domain dom (see
// holders). Those of a view may be others than those of its graph, and are not kept.
func (g *Graph) holdersOf(by *grant, dom int16) []node {
	kept := by.to != nil && g.changes == nil
	if kept {
		if list := by.to.nodes[dom+1].Load(); list != nil {
			return *list
		}
	}
	var list []node
	g.holders(by.who, dom, func(v node) { list = append(list, v) })
	if kept {
		by.to.nodes[dom+1].Store(&list)
	}
	return list
}
