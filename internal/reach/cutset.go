package reach

import (
	"github.com/leastwise/leastwise/internal/forest"
)

// A CutSet is a smallest set of units without which nobody gains a goal but those
// who stay.
type CutSet struct {
	Units []Unit
	Stay  int // accounts that still gain a goal: members and what runs the domain
}

// SmallestCut is that of the answer to who can gain goals.
func (g *Graph) SmallestCut(goals []forest.ID) CutSet { return g.WhoCan(goals).SmallestCut() }

// SmallestCut returns a smallest set of units to take away so that nobody gains a
// goal for certain but those who stay: the effective members of groups among the
// goals and what runs the domain. Their memberships are not touched. Whoever no
// unit can cut off stays too. As with choke points, of several entries of one object
// that give a principal the same only the first is named: ask again without it.
func (r *Reach) SmallestCut() CutSet {
	w := newWeb(r.sureWays().whole())
	f := newFlow(w)
	f.run()
	out := CutSet{}
	for v := range w.nodes + 1 {
		if w.principal(v) != forest.None && (f.stay[v] || f.uncut[v]) {
			out.Stay++
		}
	}
	out.Units = f.cut()
	return out
}

// standing marks what gains a goal by memberships and the directory's own workings
// only, with the units of those memberships.
func (w *web) standing(out *adjacency) []bool {
	stay := make([]bool, w.size())
	stay[0] = true
	queue := []uint32{0}
	for k := 0; k < len(queue); k++ {
		for _, e := range out.of(queue[k]) {
			to, m := e>>markBits, mark(e&marks)
			switch {
			case stay[to] || m > byPrimary:
				continue
			case w.isUnit(to):
				if kind := w.more[to-w.nodes-1].kind; kind != Membership && kind != PrimaryMembership {
					continue
				}
			case to > w.nodes || queue[k] != 0 && w.principal(to) == forest.None:
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
// Dinic's algorithm). Every vertex has an entry, 2i, and an exit, 2i+1; what is a
// vertex of the web nobody bounds has both in one, so that its exit is not used.
type flow struct {
	w     *web
	stay  []bool
	sink  int32
	arcs  []arc
	first []int32 // by half vertex: 1 + its last arc
	level []int32
	from  []int32 // by half vertex: 1 + the next arc to try
	uncut []bool
}

type arc struct {
	to   int32
	room int32
	next int32 // 1 + another arc from the same half vertex
	mark mark
}

const anyRoom = 1 << 30

// carry changes the room of an arc that has bounds.
func (a *arc) carry(more int32) {
	if a.room < anyRoom {
		a.room += more
	}
}

func newFlow(w *web) *flow {
	out := w.outward()
	f := &flow{w: w, stay: w.standing(out), sink: int32(2 * w.size()), uncut: make([]bool, w.size())}
	f.first = make([]int32, 2*w.size()+1)
	f.arcs = make([]arc, 0, 2*(len(out.list)+w.size()))
	for i := range uint32(w.size()) {
		exit := int32(2 * i)
		if w.isUnit(i) && !f.stay[i] {
			f.add(exit, exit+1, 1, plain)
			exit++
		}
		for _, e := range out.of(i) {
			to, m, room := e>>markBits, mark(e&marks), int32(anyRoom)
			if m > byPrimary || m != plain && !(f.stay[i] && f.stay[to]) {
				room = 1
			}
			f.add(exit, int32(2*to), room, m)
		}
		if !f.stay[i] && w.principal(i) != forest.None {
			f.add(exit, f.sink, anyRoom, plain)
		}
	}
	return f
}

// add adds an arc and the one that takes it back, which has the next number.
func (f *flow) add(from, to, room int32, m mark) {
	f.arcs = append(f.arcs, arc{to, room, f.first[from], m})
	f.first[from] = int32(len(f.arcs))
	f.arcs = append(f.arcs, arc{from, 0, f.first[to], plain})
	f.first[to] = int32(len(f.arcs))
}

func (f *flow) run() {
	f.from = make([]int32, len(f.first))
	for f.rank() {
		copy(f.from, f.first)
		for f.push(0, anyRoom) > 0 {
		}
	}
}

// rank finds how far every half vertex is from the root, and reports whether the
// sink is still reached.
func (f *flow) rank() bool {
	if f.level == nil {
		f.level = make([]int32, len(f.first))
	}
	clear(f.level)
	f.level[0] = 1
	queue := []int32{0}
	for k := 0; k < len(queue); k++ {
		for a := f.first[queue[k]]; a > 0; a = f.arcs[a-1].next {
			if to := f.arcs[a-1].to; f.arcs[a-1].room > 0 && f.level[to] == 0 {
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
	for ; f.from[v] > 0; f.from[v] = f.arcs[f.from[v]-1].next {
		a := f.from[v] - 1
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
			f.arcs[a].carry(-got)
			f.arcs[a^1].carry(got)
		}
		return got
	}
	return 0
}

// cut returns the units that are reached and do not let through.
func (f *flow) cut() []Unit {
	var out []Unit
	for v := range f.first {
		if f.level[v] == 0 {
			continue
		}
		from := uint32(v / 2)
		for a := f.first[v]; a > 0; a = f.arcs[a-1].next {
			switch one := &f.arcs[a-1]; {
			case f.level[one.to] > 0 || a%2 == 0:
			case uint32(one.to/2) == from:
				out = append(out, f.w.unitOf(from))
			case one.mark != plain:
				out = append(out, f.w.unitOfEdge(from, uint32(one.to/2), one.mark))
			}
		}
	}
	return out
}
