package reach

import "sync"

// A component is a set of nodes that can all gain each other: who can gain one can
// gain all. Forests in which much is delegated have one of those who help others and
// whom others help, and nearly everybody leads to it.
type component struct {
	head node     // one of them
	core []uint64 // objects among them, by ID, one bit each
}

func (c *component) has(v node) bool {
	return int(v/64) < len(c.core) && c.core[v/64]&(1<<(v%64)) != 0
}

// components are those of a graph that questions have come across.
type components struct {
	learning sync.Mutex // held while one is looked for
	tries    int        // how often that was
	mu       sync.RWMutex
	list     []*component
}

// maxComponents bounds how often one is looked for.
const maxComponents = 6

// headOf returns the head of the component that v is in.
func (c *components) headOf(v node) (head node, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, one := range c.list {
		if one.has(v) {
			return one.head, true
		}
	}
	return 0, false
}

// leastComponent is how many nodes are worth being kept.
const leastComponent = 8

// learn looks for a large component in what a question had to look through, so that
// those that follow need not.
func (g *Graph) learn(q *search) {
	least := 1024 + int(g.n)/256
	c := &g.components
	if len(q.queue) < least || !c.learning.TryLock() {
		return // another question learns the same
	}
	defer c.learning.Unlock()
	if _, known := c.headOf(q.queue[len(q.queue)/2]); known || c.tries == maxComponents {
		return
	}
	c.tries++
	w := newBareWeb(q)
	in := largestComponent(w.outward())
	if len(in) < leastComponent {
		return
	}
	one := &component{core: make([]uint64, (g.n+63)/64), head: noNode}
	for _, i := range in {
		if i == 0 || i > w.nodes || w.node[i] >= g.n {
			continue
		}
		v := w.node[i]
		one.core[v/64] |= 1 << (v % 64)
		if one.head == noNode || g.x.group[v] > distribution {
			one.head = v
		}
	}
	if one.head == noNode {
		return
	}
	g.closureOf(one.head, q.sol.possible) // it will be asked for
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, one)
}

// newBareWeb is newWeb without the steps that need several things and without the
// units of single steps, but with what leads to goals: whatever leads from one node
// to another along it does so indeed.
func newBareWeb(q *search) *web {
	w := emptyWeb(q)
	w.bare = true
	w.enumerate()
	w.goals = 0
	w.fill()
	return w
}

// largestComponent returns the vertices of the largest strongly connected component
// (Tarjan: Depth-first search and linear graph algorithms).
func largestComponent(out *adjacency) []uint32 {
	n := uint32(len(out.start) - 1)
	var largest, open, stack []uint32
	number := make([]uint32, n) // 1 + in the order of the search; 0: not seen
	low := make([]uint32, n)    // smallest number that is reached from below; 0: closed
	next := make([]uint32, n)
	copy(next, out.start)
	seen := uint32(0)
	enter := func(v uint32) {
		seen++
		number[v], low[v] = seen, seen
		open, stack = append(open, v), append(stack, v)
	}
	for root := range n {
		if number[root] != 0 {
			continue
		}
		for enter(root); len(stack) > 0; {
			v := stack[len(stack)-1]
			if next[v] < out.start[v+1] {
				to := out.list[next[v]] >> markBits
				next[v]++
				if number[to] == 0 {
					enter(to)
				} else if low[to] != 0 {
					low[v] = min(low[v], number[to])
				}
				continue
			}
			stack = stack[:len(stack)-1]
			if len(stack) > 0 {
				up := stack[len(stack)-1]
				low[up] = min(low[up], low[v])
			}
			if low[v] != number[v] {
				continue
			}
			begin := len(open) - 1
			for open[begin] != v {
				begin--
			}
			if len(open)-begin > len(largest) {
				largest = append(largest[:0], open[begin:]...)
			}
			for _, u := range open[begin:] {
				low[u] = 0
			}
			open = open[:begin]
		}
	}
	return largest
}
