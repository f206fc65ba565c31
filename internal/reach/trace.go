package reach

import (
	"slices"
	"sync"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A trace is a search that found everything, with what is needed to tell which of it
// a change leaves as it is: every edge that the search came across, not only the first
// of each node, and what its helpers looked at.
type trace struct {
	q      *search
	at     node               // if not 0: the hub at which steps begin
	edges  []uint64           // from<<32 | to, ordered once the search is done; to may be a hub
	in     []uint64           // what was found, by node, one bit each
	count  node               // nodes of the graph then
	first  []node             // by node: the first of those whose step leads there; noNode if there is none
	after  []node             // by node: the next one whose step leads to the same
	helped map[node]bool      // what helpers came to, even if they went no further because it was found already
	within map[node]bool      // where they went further
	roots  map[forest.ID]bool // groups to which helpers looked for ways
	self   map[uint32]bool    // shares of groups to which somebody may add itself

	named   map[secdesc.SID][]node // what joints lead to that depend on who holds a SID
	decides map[secdesc.SID]bool   // SIDs on whose holders more depends
}

// Hubs stand for what several nodes have in common: whoever gains a share's facet
// gains that of each object of the share, and so on. They are numbered after nodes.
const (
	firstHub       node = 1 << 31
	firstContainer node = 3 << 30
	firstScope     node = firstContainer + 1<<29
)

func shareHub(share uint32, f facet) node { return firstHub + node(share)*node(numFacets) + node(f) }

// placeHub stands for what lies in a container: policies lead there whose links reach it.
func placeHub(c forest.ID) node { return firstContainer + 2*node(c) }

// linkHub stands for a container to which policies can be linked: it leads to what lies
// in it and in those below, for no container can block every link.
func linkHub(c forest.ID) node { return placeHub(c) + 1 }

func scopeHub(id gpo.ScopeID) node { return firstScope + node(id) }

// note notes that q came to v from next.
func (t *trace) note(q *search, v, next node) {
	switch {
	case t == nil || q.web != nil:
	case q.main != nil:
		t.helped[v] = true
	case t.at != 0:
		t.edges = append(t.edges, uint64(v)<<32|uint64(t.at))
	case next != noNode:
		t.edges = append(t.edges, uint64(v)<<32|uint64(next))
	}
}

// enter notes that a hub leads to a node, and that what follows leads to the hub.
func (t *trace) enter(q *search, hub, to node) {
	if t != nil && q.main == nil {
		t.edges = append(t.edges, uint64(hub)<<32|uint64(to))
		t.at = hub
	}
}

// from notes that what follows leads to a hub.
func (t *trace) from(q *search, hub node) {
	if t != nil && q.main == nil {
		t.at = hub
	}
}

func (t *trace) leave() {
	if t != nil {
		t.at = 0
	}
}

// chain notes that links of a container, and of those above it, reach what is in it.
func (t *trace) chain(q *search, c forest.ID) {
	if t == nil || q.main != nil {
		return
	}
	g := q.sol.g
	t.edges = append(t.edges, uint64(linkHub(c))<<32|uint64(placeHub(c)))
	for o := c; !g.isHead[o] && g.s.Parent(o) != forest.None; o = g.s.Parent(o) {
		t.edges = append(t.edges, uint64(linkHub(g.s.Parent(o)))<<32|uint64(linkHub(o)))
	}
}

// root notes the groups for which a helper begins.
func (t *trace) root(groups []forest.ID) {
	if t == nil {
		return
	}
	for _, id := range groups {
		t.roots[id] = true
	}
}

// traces are those of a graph for the goals that were asked for last. The zero value
// is ready; it is safe for concurrent use.
type traces struct {
	mu    sync.Mutex
	goals []forest.ID
	of    [2]*trace // certain, possible
}

// Keep finds who can gain goals and keeps all that leads there: [Compare] then answers
// for most single changes, in views that are made afterwards, without looking through
// the whole forest. It takes as long as two questions and a few hundred bytes for every
// object. Only the goals that were given last are kept.
func (g *Graph) Keep(goals []forest.ID) {
	goals = sortIDs(slices.Clone(goals))
	t := &g.traces
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of[0] == nil || !slices.Equal(t.goals, goals) {
		t.goals = goals
		t.of = [2]*trace{g.trace(goals, false), g.trace(goals, true)}
	}
	g.keepersBySID()
}

// traced returns what is kept for goals.
func (g *Graph) traced(goals []forest.ID) (of [2]*trace, ok bool) {
	t := &g.traces
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.of, t.of[0] != nil && slices.Equal(t.goals, goals)
}

func (g *Graph) trace(goals []forest.ID, possible bool) *trace {
	t := &trace{helped: map[node]bool{}, within: map[node]bool{}, roots: map[forest.ID]bool{}, self: map[uint32]bool{}, named: map[secdesc.SID][]node{}, decides: map[secdesc.SID]bool{}}
	t.q = g.prepareNoted(goals, possible, t)
	t.q.sol.run()
	t.count = g.n + g.countVirtual()
	slices.Sort(t.edges)
	t.edges = slices.Clip(slices.Compact(t.edges))
	t.in = make([]uint64, (t.count+63)/64)
	t.first, t.after = make([]node, t.count), make([]node, t.count)
	for v := range t.count {
		t.first[v], t.after[v] = noNode, noNode
	}
	for _, v := range t.q.queue {
		t.in[v/64] |= 1 << (v % 64)
		if to := t.q.get(v).next; to != noNode {
			t.after[v], t.first[to] = t.first[to], v
		}
	}
	t.name(g)
	return t
}

// prepareNoted is prepare with a trace.
func (g *Graph) prepareNoted(goals []forest.ID, possible bool, t *trace) *search {
	sol := newSolver(g, possible)
	sol.trace = t
	q := sol.add(nil)
	for _, id := range goals {
		q.visit(node(id), step{next: noNode, kind: goalKind, aux: -1, via: forest.None})
	}
	return q
}

// name collects the SIDs on which it depends who fulfils a joint, and the groups to
// which somebody may add itself.
func (t *trace) name(g *Graph) {
	take := func(one *grant) {
		t.decides[one.who] = true
		for _, sid := range one.deny {
			t.decides[sid] = true
		}
	}
	for i, by := range t.q.sol.order {
		if i > 0 {
			for _, v := range by.queue {
				t.within[v] = true
			}
		}
		for _, j := range by.later {
			for k := range j.legs {
				for m := range j.legs[k].grants {
					if one := &j.legs[k].grants[m]; i > 0 {
						take(one)
					} else {
						t.depend(j.to, one)
					}
				}
			}
		}
	}
	for i, h := range g.shared {
		if h.sub.aspect != groupAspect {
			continue
		}
		list := g.grantsAt(uint32(i)).list
		for k := range list {
			if list[k].kind == AddSelf {
				t.self[uint32(i)] = true
				take(&list[k])
			}
		}
	}
	for _, id := range g.unnamed {
		list := g.grantsOf(id).list
		for k := range list {
			if list[k].gives == enrolling {
				take(&list[k])
			}
		}
	}
}

// depend notes that a joint to a node depends on who holds the SIDs of a grant.
func (t *trace) depend(to node, one *grant) {
	for _, sid := range append(slices.Clone(one.deny), one.who) {
		if list := t.named[sid]; !slices.Contains(list, to) {
			t.named[sid] = append(list, to)
		}
	}
}

// has reports whether v was found.
func (t *trace) has(v node) bool {
	return int(v/64) < len(t.in) && t.in[v/64]&(1<<(v%64)) != 0
}

// leads calls yield for what the edges from v, a node or hub, lead to, until it
// returns false.
func (t *trace) leads(v node, yield func(to node) bool) {
	i, _ := slices.BinarySearch(t.edges, uint64(v)<<32)
	for ; i < len(t.edges) && node(t.edges[i]>>32) == v; i++ {
		if !yield(node(t.edges[i])) {
			return
		}
	}
}
