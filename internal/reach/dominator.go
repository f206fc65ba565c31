package reach

import "sync"

// An adjacency lists the edges of a web by one of their ends: those of v are
// list[start[v]:start[v+1]], each the other end<<markBits | mark.
type adjacency struct {
	start []uint32
	list  []uint32
}

func (a *adjacency) of(v uint32) []uint32 { return a.list[a.start[v]:a.start[v+1]] }

// sum adds up counts, so that they are starts.
func (a *adjacency) sum() {
	total := uint32(0)
	for v := range a.start {
		total += a.start[v]
		a.start[v] = total
	}
	a.list = make([]uint32, total)
}

// outward returns the edges by where they begin, and forgets them in the web.
func (w *web) outward() *adjacency {
	pieces := w.edges.pieces()
	w.edges = edgeList{}
	return adjacent(w.size(), pieces, func(e uint64) (here, other uint32) { return uint32(e >> 32), uint32(e) })
}

// inward returns edges by where they lead.
func inward(size int, pieces [][]uint64) *adjacency {
	return adjacent(size, pieces, func(e uint64) (here, other uint32) {
		return uint32(e) >> markBits, uint32(e>>32)<<markBits | uint32(e)&marks
	})
}

func adjacent(size int, pieces [][]uint64, ends func(uint64) (here, other uint32)) *adjacency {
	a := &adjacency{start: make([]uint32, size+2)} // one further than they end up, to count in
	for _, piece := range pieces {
		for _, e := range piece {
			here, _ := ends(e)
			a.start[here+2]++
		}
	}
	a.sum()
	for _, piece := range pieces {
		for _, e := range piece {
			here, other := ends(e)
			a.list[a.start[here+1]] = other
			a.start[here+1]++
		}
	}
	a.start = a.start[:size+1]
	return a
}

// A domTree says what everything that leads from the root to a vertex goes through.
// Vertices are named by their place in the order of a depth-first search, the root
// by 0.
type domTree struct {
	order  []uint32   // the vertices
	place  []uint32   // by vertex
	in     *adjacency // the edges by where they lead, between vertices
	above  []uint32   // immediate dominators
	size   []uint32   // how many are at or below each place of the tree
	enters []uint32   // numbers of a walk down the tree: those at or below p are enters[p] … enters[p]+size[p]-1
}

// dominators finds the dominators of all vertices that edges lead to from the root
// (Georgiadis, Tarjan, Werneck: Finding Dominators in Practice, SEMI-NCA). The web
// forgets its edges.
func (w *web) dominators() *domTree {
	t := &domTree{}
	pieces := w.edges.pieces()
	var beside sync.WaitGroup
	beside.Go(func() { t.in = inward(w.size(), pieces) })
	up := t.search(w.outward())
	beside.Wait()
	t.above = t.semidominators(up)
	for p := 1; p < len(t.order); p++ { // nearest common ancestors
		d := up[p]
		for d > t.above[p] {
			d = t.above[d]
		}
		t.above[p] = d
	}
	t.walk()
	return t
}

const nowhere = ^uint32(0)

// search fills order and place and returns the parents in the tree of the search, by
// place.
func (t *domTree) search(out *adjacency) (up []uint32) {
	n := len(out.start) - 1
	place := make([]uint32, n)
	for v := range place {
		place[v] = nowhere
	}
	next := make([]uint32, n)
	copy(next, out.start)
	t.order = make([]uint32, 1, n)
	t.place = place
	up = make([]uint32, 1, n)
	place[0] = 0
	stack := []uint32{0}
	for len(stack) > 0 {
		v := stack[len(stack)-1]
		if next[v] == out.start[v+1] {
			stack = stack[:len(stack)-1]
			continue
		}
		to := out.list[next[v]] >> markBits
		next[v]++
		if place[to] == nowhere {
			place[to] = uint32(len(t.order))
			t.order, up = append(t.order, to), append(up, place[v])
			stack = append(stack, to)
		}
	}
	return up
}

// semidominators returns those of all places. up are the parents in the tree of the
// search.
func (t *domTree) semidominators(up []uint32) []uint32 {
	semi := make([]uint32, len(t.order))
	best := make([]uint32, len(t.order)) // smallest semidominator on the way up to jump
	jump := make([]uint32, len(t.order))
	copy(jump, up)
	var way []uint32
	for p := uint32(len(t.order)) - 1; p > 0; p-- {
		s := up[p]
		for _, e := range t.in.of(t.order[p]) {
			from := t.place[e>>markBits]
			if from == nowhere {
				continue
			}
			if from > p {
				way = way[:0]
				at := from
				for jump[at] > p {
					way = append(way, at)
					at = jump[at]
				}
				for i := len(way) - 1; i >= 0; i-- { // shorten the way
					w := way[i]
					best[w] = min(best[w], best[jump[w]])
					jump[w] = jump[at]
					at = w
				}
				from = best[from]
			}
			s = min(s, from)
		}
		semi[p], best[p] = s, s
	}
	return semi
}

// walk fills size and enters.
func (t *domTree) walk() {
	n := len(t.order)
	t.size, t.enters = make([]uint32, n), make([]uint32, n)
	for p := n - 1; p > 0; p-- {
		t.size[p]++
		t.size[t.above[p]] += t.size[p]
	}
	t.size[0]++
	next := make([]uint32, n) // for the next one below
	next[0] = 1
	for p := 1; p < n; p++ {
		d := t.above[p]
		t.enters[p] = next[d]
		next[d] += t.size[p]
		next[p] = t.enters[p] + 1
	}
}

// dominates reports whether everything that leads to q goes through p.
func (t *domTree) dominates(p, q uint32) bool { return t.enters[q]-t.enters[p] < t.size[p] }
