package reach

import (
	"cmp"
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
)

// A Choke is a unit with the principals that it alone lets through.
type Choke struct {
	Unit
	Principals int         // accounts and groups that can gain no goal without it
	Sample     []forest.ID // up to ten of them, in ID order
}

// A CutSet is a smallest set of units without which nobody gains a goal but those
// who stay.
type CutSet struct {
	Units []Unit
	Stay  int // accounts that still gain a goal: members and what runs the domain
}

// A net is what a search found, as a graph whose vertices are nodes and units.
// Edges lead away from the goals.
type net struct {
	g     *Graph
	q     *search
	nodes map[node]int32
	keys  map[unitKey]int32
	vert  []vertex // 0 is the root, from which edges lead to the goals
	next  [][]int32
}

type vertex struct {
	at   node // noNode of a unit and the root
	unit unitKey
	kind Kind // of a unit: of the step that it was first found in
}

// newNet spells out everything that leads to goals for certain.
func (g *Graph) newNet(goals []forest.ID) *net {
	n := &net{g: g, q: g.search(goals, false, true), nodes: map[node]int32{}, keys: map[unitKey]int32{}}
	n.vert, n.next = []vertex{{at: noNode}}, [][]int32{nil}
	for _, v := range n.q.queue {
		to := n.node(v)
		for _, st := range n.q.every[v] {
			if st.kind == goalKind {
				n.edge(0, to)
				continue
			}
			from := n.node(st.next)
			for _, k := range n.q.units(v, st) {
				u := n.unit(k, st.kind)
				n.edge(from, u)
				from = u
			}
			n.edge(from, to)
		}
	}
	for i := range n.next {
		slices.Sort(n.next[i])
		n.next[i] = slices.Compact(n.next[i])
	}
	return n
}

func (n *net) node(v node) int32 {
	i, ok := n.nodes[v]
	if !ok {
		i = n.add(vertex{at: v})
		n.nodes[v] = i
	}
	return i
}

func (n *net) unit(k unitKey, kind Kind) int32 {
	i, ok := n.keys[k]
	if !ok {
		i = n.add(vertex{at: noNode, unit: k, kind: kind})
		n.keys[k] = i
	}
	return i
}

func (n *net) add(v vertex) int32 {
	n.vert = append(n.vert, v)
	n.next = append(n.next, nil)
	return int32(len(n.vert) - 1)
}

func (n *net) edge(from, to int32) { n.next[from] = append(n.next[from], to) }

// isUnit reports whether vertex i is a unit.
func (n *net) isUnit(i int32) bool { return i != 0 && n.vert[i].at == noNode }

// principal returns the account or group of vertex i, or None.
func (n *net) principal(i int32) forest.ID {
	if v := n.vert[i].at; v < n.g.n && (n.g.x.group[v] > distribution || n.g.x.isAccount(forest.ID(v))) {
		return forest.ID(v)
	}
	return forest.None
}

// Chokes returns the units that by themselves cut most principals off from goals,
// largest first, up to limit. A unit that only its own holder needs counts one.
// Each is a dominator of the graph of everything that leads to goals for certain;
// steps that need several gains count by their last one.
func (g *Graph) Chokes(goals []forest.ID, limit int) []Choke {
	n := g.newNet(goals)
	idom, order := n.dominators()
	count := make([]int, len(n.vert))
	sample := make([][]forest.ID, len(n.vert))
	for k := len(order) - 1; k > 0; k-- { // children before their dominators
		i := order[k]
		if a := n.principal(i); a != forest.None {
			count[i]++
			sample[i] = append(sample[i], a)
		}
		d := idom[i]
		count[d] += count[i]
		if len(sample[d]) < 64 {
			sample[d] = append(sample[d], sample[i]...)
		}
	}
	var out []Choke
	for i := range n.vert {
		if n.isUnit(int32(i)) && count[i] > 0 {
			s := sortIDs(sample[i])
			out = append(out, Choke{Unit: g.unit(n.vert[i].unit, n.vert[i].kind), Principals: count[i], Sample: s[:min(len(s), 10)]})
		}
	}
	slices.SortStableFunc(out, func(a, b Choke) int {
		return cmp.Or(cmp.Compare(b.Principals, a.Principals), cmp.Compare(a.Object, b.Object), cmp.Compare(a.ACE, b.ACE), cmp.Compare(a.Member, b.Member))
	})
	return out[:min(len(out), limit)]
}

// dominators returns the immediate dominator of every vertex that the root reaches
// (Cooper, Harvey, Kennedy: A Simple, Fast Dominance Algorithm), and the vertices
// in reverse postorder.
func (n *net) dominators() (idom, order []int32) {
	order = n.reversePostorder()
	number := make([]int32, len(n.vert))
	for i := range number {
		number[i] = -1
	}
	for k, i := range order {
		number[i] = int32(k)
	}
	before := make([][]int32, len(n.vert))
	for i, list := range n.next {
		for _, to := range list {
			before[to] = append(before[to], int32(i))
		}
	}
	idom = make([]int32, len(n.vert))
	for i := range idom {
		idom[i] = -1
	}
	idom[0] = 0
	meet := func(a, b int32) int32 {
		for a != b {
			for number[a] > number[b] {
				a = idom[a]
			}
			for number[b] > number[a] {
				b = idom[b]
			}
		}
		return a
	}
	for changed := true; changed; {
		changed = false
		for _, i := range order[1:] {
			d := int32(-1)
			for _, p := range before[i] {
				switch {
				case number[p] < 0 || idom[p] < 0:
				case d < 0:
					d = p
				default:
					d = meet(p, d)
				}
			}
			if d != idom[i] {
				idom[i], changed = d, true
			}
		}
	}
	return idom, order
}

func (n *net) reversePostorder() []int32 {
	type frame struct {
		at   int32
		edge int
	}
	seen := make([]bool, len(n.vert))
	seen[0] = true
	stack := []frame{{}}
	var out []int32
	for len(stack) > 0 {
		f := &stack[len(stack)-1]
		if f.edge < len(n.next[f.at]) {
			to := n.next[f.at][f.edge]
			f.edge++
			if !seen[to] {
				seen[to] = true
				stack = append(stack, frame{at: to})
			}
			continue
		}
		out = append(out, f.at)
		stack = stack[:len(stack)-1]
	}
	slices.Reverse(out)
	return out
}
