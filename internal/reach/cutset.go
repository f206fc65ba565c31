package reach

import (
	"github.com/leastwise/leastwise/internal/forest"
)

// SmallestCut returns a smallest set of units to take away so that nobody gains a
// goal for certain but those who stay: the effective members of groups among the
// goals and what runs the domain. Their memberships are not touched. Whoever no
// unit can cut off stays too.
func (g *Graph) SmallestCut(goals []forest.ID) CutSet {
	n := g.newNet(goals)
	stay := n.standing()
	f := newFlow(n, stay)
	f.run()
	out := CutSet{}
	for i := range n.vert {
		if n.principal(int32(i)) != forest.None && (stay[i] || f.uncut[int32(i)]) {
			out.Stay++
		}
	}
	for _, i := range f.cut() {
		out.Units = append(out.Units, g.unit(n.vert[i].unit, n.vert[i].kind))
	}
	return out
}

// standing marks what gains a goal by memberships and the directory's own workings
// only, with the units of those memberships.
func (n *net) standing() []bool {
	stay := make([]bool, len(n.vert))
	stay[0] = true
	queue := []int32{0}
	for k := 0; k < len(queue); k++ {
		for _, to := range n.next[queue[k]] {
			if stay[to] {
				continue
			}
			if v := n.vert[to]; n.isUnit(to) && v.kind != Membership && v.kind != PrimaryMembership {
				continue
			}
			if !n.isUnit(to) && n.principal(to) == forest.None && queue[k] != 0 {
				continue
			}
			stay[to] = true
			queue = append(queue, to)
		}
	}
	return stay
}

// A flow finds disjoint ways from the root to the principals that do not stay. A
// unit, if it is not of those who stay, lets one way through, everything else any
// number: the units that bound the ways are then a smallest cut (Menger; found by
// Dinic's algorithm). Every vertex has an entry, 2i, and an exit, 2i+1.
type flow struct {
	n     *net
	sink  int32
	arcs  []arc
	first [][]int32 // by half vertex: its arcs
	level []int32
	from  []int // by half vertex: the next arc to try
	uncut map[int32]bool
}

type arc struct {
	to   int32
	room int32
}

const anyRoom = 1 << 30

func newFlow(n *net, stay []bool) *flow {
	f := &flow{n: n, sink: int32(2 * len(n.vert)), first: make([][]int32, 2*len(n.vert)+1), uncut: map[int32]bool{}}
	for i := range n.vert {
		v := int32(i)
		room := int32(anyRoom)
		if n.isUnit(v) && !stay[i] {
			room = 1
		}
		f.add(2*v, 2*v+1, room)
		for _, to := range n.next[i] {
			f.add(2*v+1, 2*to, anyRoom)
		}
		if !stay[i] && n.principal(v) != forest.None {
			f.add(2*v+1, f.sink, anyRoom)
		}
	}
	return f
}

// add adds an arc and the one that takes it back, which has the next number.
func (f *flow) add(from, to, room int32) {
	f.first[from] = append(f.first[from], int32(len(f.arcs)))
	f.arcs = append(f.arcs, arc{to, room})
	f.first[to] = append(f.first[to], int32(len(f.arcs)))
	f.arcs = append(f.arcs, arc{from, 0})
}

func (f *flow) run() {
	for f.rank() {
		f.from = make([]int, len(f.first))
		for f.push(1, anyRoom) > 0 {
		}
	}
}

// rank finds how far every half vertex is from the root's exit, and reports whether
// the sink is still reached.
func (f *flow) rank() bool {
	f.level = make([]int32, len(f.first))
	f.level[1] = 1
	queue := []int32{1}
	for k := 0; k < len(queue); k++ {
		for _, a := range f.first[queue[k]] {
			if to := f.arcs[a].to; f.arcs[a].room > 0 && f.level[to] == 0 {
				f.level[to] = f.level[queue[k]] + 1
				queue = append(queue, to)
			}
		}
	}
	return f.level[f.sink] > 0
}

// push sends one way from v to the sink and returns how much it carries; a way that
// nothing bounds is closed at its principal, which cannot be cut off.
func (f *flow) push(v, most int32) int32 {
	if v == f.sink {
		return most
	}
	for ; f.from[v] < len(f.first[v]); f.from[v]++ {
		a := f.first[v][f.from[v]]
		to := f.arcs[a].to
		if f.arcs[a].room == 0 || f.level[to] != f.level[v]+1 {
			continue
		}
		got := f.push(to, min(most, f.arcs[a].room))
		if got == 0 {
			continue
		}
		if got == anyRoom && to == f.sink {
			f.uncut[v/2] = true
			f.arcs[a].room = 0
			return 0
		}
		if got < anyRoom {
			f.arcs[a].room -= got
			f.arcs[a^1].room += got
		}
		return got
	}
	return 0
}

// cut returns the units whose entry is still reached and whose exit is not.
func (f *flow) cut() []int32 {
	var out []int32
	for i := range f.n.vert {
		if f.n.isUnit(int32(i)) && f.level[2*i] > 0 && f.level[2*i+1] == 0 {
			out = append(out, int32(i))
		}
	}
	return out
}
