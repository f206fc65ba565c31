package reach

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
)

// A step is how a search came to a node: what can be gained next from there.
type step struct {
	next node
	kind Kind // NoKind: not reached; of a goal: goalKind
	cond cond
	last bool      // control of next, which ends the way; next may be reached as something else
	ace  int32     // index in the DACL of via, or implicit
	via  forest.ID // object whose descriptor or attribute says so
	aux  int32     // index into search.detail; -1 if there is none
}

// goalKind marks the goals of a search.
const goalKind = numKinds

// A detail is what a step needs beside the next node: the way to a right that has
// to be gained first.
type detail struct {
	edge  *edge
	more  []source // further entries that are needed
	first []way    // each must be gone, by one attacker
}

// A source is an entry of a descriptor that has a part in a step.
type source struct {
	via  forest.ID
	ace  int32
	text string // the entry, if it is not one of the object's own descriptor
}

// A way leads from the principal of a step through another search.
type way struct {
	by    *search
	start node
}

// A search finds everything that can gain its goals, over shortest paths. Searches
// of one solver answer each other where a right depends on several gains.
type search struct {
	ending  bool // the steps that are noted now are the last ones of their ways
	sol     *solver
	main    *search // nil for the search that is asked for; others help it
	sparse  map[node]step
	dense   []step // by node, once sparse became large
	queue   []node
	head    int
	seen    facets             // whose grants were followed
	ended   facets             // whose were followed as last steps, where adding oneself does not count
	homes   *idSet             // containers of accounts whose policies were followed
	links   map[forest.ID]bool // containers for whose links somebody was looked for
	scopes  map[gpo.ScopeID]bool
	later   []*joint           // looked at again until nothing more comes of them
	tasks   []task             // of later, in its order
	origins map[source]unitKey // entries, by where they count: where they were set
	every   map[node][]step    // if not nil: all steps that were found, not only the first
	web     *web               // if not nil: steps are noted there and nowhere else
	detail  []detail
	unread  []forest.ID // objects on the way whose descriptor was not read

	closures []*closure // what was found before, and is not looked through again
	attached int        // how often closures became more
}

// facets are sets of facets by index into Graph.shared.
type facets struct {
	few map[uint32]uint16
	all []uint16 // in place of few, once those became many
}

// add adds a facet of one of several indexes and reports whether it was not there
// before.
func (s *facets) add(i uint32, f facet, of int) bool {
	if s.all != nil {
		was := s.all[i]
		s.all[i] |= 1 << f
		return s.all[i] != was
	}
	was := s.few[i]
	if was&(1<<f) != 0 {
		return false
	}
	if s.few == nil {
		s.few = map[uint32]uint16{}
	}
	s.few[i] = was | 1<<f
	if len(s.few) > 256+of/64 {
		s.all = make([]uint16, of)
		for at, have := range s.few {
			s.all[at] = have
		}
		s.few = nil
	}
	return true
}

// A solver runs searches until none of them finds more. It is for one goroutine.
type solver struct {
	g        *Graph
	possible bool // follow edges that hold only if a condition does
	searches map[string]*search
	order    []*search
	prospect *prospect
	both     map[heldKey][]forest.ID // the accounts and groups of the prospect as one list
	ahead    sync.WaitGroup
	done     atomic.Bool      // whoever works ahead can stop
	wanted   chan<- passedKey // what the one who works ahead is asked for; nil: nobody does
	finished bool             // everything is found
	attached int              // how often closures of searches became more

	// short returns who can gain a node, if that is known: the search ends there. If
	// it is not nil, the steps that are found make no whole ways.
	short func(node) *closure

	trace *trace // if not nil: notes what is found how
}

func newSolver(g *Graph, possible bool) *solver {
	return &solver{g: g, possible: possible, searches: map[string]*search{}, prospect: newProspect(g, possible), both: map[heldKey][]forest.ID{}}
}

func (sol *solver) add(goals []node) *search {
	q := &search{sol: sol, sparse: map[node]step{}, homes: newIDSet(int(sol.g.n)), links: map[forest.ID]bool{}, scopes: map[gpo.ScopeID]bool{}}
	if len(sol.order) > 0 {
		q.main = sol.order[0]
	}
	sol.order = append(sol.order, q)
	for _, v := range goals {
		q.visit(v, step{next: noNode, kind: goalKind, aux: -1, via: forest.None})
	}
	return q
}

// run searches until nothing more is found.
func (sol *solver) run() { sol.until(func() bool { return false }) }

// until searches until enough is found, or all there is. It can be called again.
func (sol *solver) until(enough func() bool) {
	if sol.finished {
		return
	}
	defer sol.lookNoMore()
	for progress := true; progress; {
		progress = false
		attached := sol.attached
		for i := 0; i < len(sol.order); i++ {
			progress = sol.order[i].drain(enough) || progress
		}
		if enough() {
			return
		}
		sol.foresee()
		for i := 0; i < len(sol.order); i++ {
			q := sol.order[i]
			for k := 0; k < len(q.later); k++ {
				if k == len(q.tasks) {
					q.tasks = append(q.tasks, task{joint: q.later[k]})
				}
				q.try(&q.tasks[k])
			}
		}
		progress = progress || sol.attached > attached ||
			slices.ContainsFunc(sol.order, func(q *search) bool { return q.head < len(q.queue) })
	}
	sol.finished, sol.prospect = true, newProspect(sol.g, sol.possible)
}

func (q *search) get(v node) step {
	if int(v) < len(q.dense) {
		return q.dense[v]
	}
	return q.sparse[v]
}

func (q *search) set(v node, st step) {
	if int(v) < len(q.dense) {
		q.dense[v] = st
		return
	}
	q.sparse[v] = st
	if n := int(q.sol.g.n); q.dense == nil && len(q.sparse) > 1024+n/32 {
		if q.main == nil {
			q.sol.lookAhead()
		}
		q.dense = make([]step, n)
		for at, have := range q.sparse {
			if int(at) < n {
				q.dense[at] = have
				delete(q.sparse, at)
			}
		}
	}
}

func (q *search) has(v node) bool { return q.closed(v) || q.get(v).kind != NoKind }

// visit notes that v can gain st.next. What the main search has found already, or
// leads there, is of no use to a search that helps it.
func (q *search) visit(v node, st step) {
	if q.web != nil {
		q.web.step(v, st)
		return
	}
	q.sol.trace.note(q, v, st.next)
	if q.main != nil && q.main.has(v) {
		return
	}
	st.last = st.last || q.ending
	if q.every != nil {
		q.every[v] = append(q.every[v], st)
	}
	if q.has(v) {
		return
	}
	if q.sol.short != nil && q.attach(q.sol.short(v)) {
		return
	}
	q.set(v, st)
	q.queue = append(q.queue, v)
}

// drain visits what leads to what was found, until enough is, and reports whether it
// did anything.
func (q *search) drain(enough func() bool) bool {
	began := q.head
	for ; q.head < len(q.queue) && !enough(); q.head++ {
		if v := q.queue[q.head]; !q.closed(v) {
			q.expand(v)
		}
	}
	return q.head > began
}

// expand visits everything that can gain v in one step.
func (q *search) expand(v node) {
	g := q.sol.g
	if q.web == nil {
		for i := range g.joinedAt(v) {
			q.later = append(q.later, &g.joints[v][i])
		}
	}
	if w, ok := g.what(v); ok {
		q.expandVirtual(v, w)
		return
	}
	id := forest.ID(v)
	q.members(id)
	q.controllers(id)
	q.incoming(v)
	if g.isHead[id] && q.sol.possible {
		q.takeovers(id)
	}
}

func (q *search) expandVirtual(v node, w virtual) {
	g := q.sol.g
	switch {
	case isIdentity(w.sid):
		for _, id := range g.accounts() {
			if slices.Contains(g.x.Implied(id), w.sid) {
				q.visit(node(id), step{next: v, kind: WellKnownIdentity, ace: implicit, via: forest.None, aux: -1})
			}
		}
	case w.sid.IsZero() && w.object != forest.None && w.facet != control:
		q.part(v, w)
	}
	q.incoming(v)
}

// part visits those that gain a facet of an object.
func (q *search) part(v node, w virtual) {
	g := q.sol.g
	switch {
	case w.facet == owning:
		q.above(w.object, v)
	default:
		q.visit(g.wholeOf(w.object), step{next: v, kind: Includes, ace: implicit, via: forest.None, aux: -1})
	}
	if w.facet == filing {
		q.fileRights(w.object, v)
	} else {
		q.rights(w.object, w.facet, v)
	}
}

// wholeOf returns the node of full control of id: of an account that is more than
// its identity.
func (g *Graph) wholeOf(id forest.ID) node {
	if g.x.isAccount(id) {
		return g.facetOf(id, owning)
	}
	return node(id)
}

// above visits those that control id through what holds it: its container, whose
// permissions it inherits, and its domain.
func (q *search) above(id forest.ID, to node) {
	g := q.sol.g
	share := g.traitsAt(g.sharer[id])
	if p := g.s.Parent(id); p != forest.None && share&isProtected == 0 && !g.isPartition(id) {
		if share&handsOn != 0 {
			q.visit(g.wholeOf(p), step{next: to, kind: Contains, ace: implicit, via: forest.None, aux: -1})
		} else {
			q.handedDown(id, p, to)
		}
	}
	if d := g.headOf(id); d != forest.None && g.x.isAccount(id) {
		q.visit(node(d), step{next: to, kind: DomainOf, ace: implicit, via: forest.None, aux: -1})
	}
}

// isPartition reports whether id is the head of a naming context, which inherits
// nothing from the object above it ([MS-ADTS] 3.1.1.1.5).
func (g *Graph) isPartition(id forest.ID) bool {
	return g.x.nc[id]
}

// handedDown visits those that control the container of id: they can let it hand
// full control down, which comes after what the object itself denies to some.
func (q *search) handedDown(id, container forest.ID, to node) {
	g := q.sol.g
	handed := g.grantsOf(id).handed
	for k := range handed {
		if q.web != nil {
			return
		}
		q.later = append(q.later, g.handing(id, container, to, &handed[k], q.ending))
	}
}

// handing is the edge from a container to an object in it that denies something.
func (g *Graph) handing(id, container forest.ID, to node, of *grant, last bool) *joint {
	return &joint{
		to: to, kind: Contains, cond: of.cond, last: last, gains: []node{g.wholeOf(container)},
		legs: []leg{{id: id, dom: max(g.x.domain[id], 0), grants: []grant{*of}}},
	}
}

// incoming follows the edges of structure.
func (q *search) incoming(v node) {
	for _, e := range q.sol.g.leading(v) {
		q.follow(e)
	}
}

// revealed visits those that can have the secrets of an account sent to a
// read-only domain controller that they control.
func (q *search) revealed(id forest.ID) {
	g := q.sol.g
	for _, rodc := range g.rodcs {
		if g.x.domain[rodc] == g.x.domain[id] {
			q.follow(edge{from: g.facetOf(rodc, revealing), to: node(id), kind: RevealsSecrets, cond: ifRevealed, via: forest.None})
		}
		if rodc == id {
			q.visit(g.facetOf(rodc, managing), step{next: node(id), kind: Includes, ace: implicit, via: forest.None, aux: -1})
		}
	}
}

// succeeds reports whether id is, or may hold, delegated managed service accounts.
func (g *Graph) succeeds(id forest.ID) bool {
	if g.s.Schema().Class("msDS-DelegatedManagedServiceAccount") == nil {
		return false
	}
	switch g.classes[g.s.ClassIndex(id)].aspect {
	case containerAspect, domainAspect:
		return true
	case serviceAccountAspect:
		return g.s.IsA(id, "msDS-DelegatedManagedServiceAccount")
	}
	return false
}

// hasLAPS reports whether a computer keeps its local administrator's password in
// the directory.
func (g *Graph) hasLAPS(id forest.ID) bool {
	return g.laps.has(id)
}

func (g *Graph) has(id forest.ID, a forest.Attr) bool {
	_, st := g.s.Int(id, a)
	return st == forest.Known
}

// takeovers visits those that may take any account of the domain over by a
// service account of their own or by a certificate with a name of their choice.
func (q *search) takeovers(head forest.ID) {
	g := q.sol.g
	to := node(head)
	for i := range g.shared {
		if h := g.shared[i]; g.succeeds(h.first) && g.x.domain[h.first] == g.x.domain[head] {
			q.follow(edge{from: g.facetOf(h.first, creating), to: to, kind: Succeeds, cond: ifServer2025, via: forest.None})
		}
	}
	if len(g.unnamed) == 0 {
		return
	}
	seen := map[uint32]bool{}
	for _, t := range g.unnamed {
		for _, one := range g.grantsOf(t).of(enrolling) {
			accounts, _ := q.sol.holding(one.who, g.x.domain[t])
			for _, a := range g.passing(accounts, denials(one.deny, g.x.domain[t])) {
				if i := g.sharer[a]; !seen[i] {
					seen[i] = true
					q.follow(edge{from: g.facetOf(a, naming), to: to, kind: WritesIdentity, cond: ifWeakMapping, via: t, text: "enrolls for " + g.s.Name(t)})
				}
			}
		}
	}
}

// members visits those that hold group id because they are members.
func (q *search) members(id forest.ID) {
	x := q.sol.g.x
	if x.group[id] <= distribution || q.web != nil {
		return
	}
	to := node(id)
	links, _ := x.s.Links(id, forest.Member)
	for _, m := range links {
		switch {
		case x.group[m] == distribution:
		case x.isForeign(m):
			q.visit(q.sol.g.behind(m), step{next: to, kind: Membership, ace: implicit, via: m, aux: -1})
		default:
			q.visit(node(m), step{next: to, kind: Membership, ace: implicit, via: forest.None, aux: -1})
		}
	}
	if p, ok := x.pupilOf[id]; ok {
		for _, m := range x.pupils[p] {
			q.visit(node(m), step{next: to, kind: PrimaryMembership, ace: implicit, via: forest.None, aux: -1})
		}
	}
}

// behind returns the node of the principal that a foreign security principal
// stands for.
func (g *Graph) behind(fsp forest.ID) node {
	if local := g.x.standsFor(fsp); local != forest.None {
		return node(local)
	}
	return g.acting(g.s.SID(fsp))
}

// controllers visits those that control id other than as a member.
func (q *search) controllers(id forest.ID) {
	g := q.sol.g
	to := node(id)
	if g.x.isAccount(id) {
		q.rights(id, owning, to)
	}
	q.rights(id, control, to)
	q.above(id, to)
	if !g.x.isAccount(id) {
		return
	}
	if d := g.headOf(id); d != forest.None && g.hasLAPS(id) {
		q.follow(edge{from: g.facetOf(d, filtered), to: to, kind: ReadLAPS, via: id, text: filteredText})
	}
	q.placed(id)
	q.hosted(id)
	q.revealed(id)
}

// filteredText is what a computer's local password is read by that is part of the
// filtered attributes of its domain.
const filteredText = "filtered attributes"

// headOf returns the head of the domain of id.
func (g *Graph) headOf(id forest.ID) forest.ID {
	if d := g.x.domain[id]; d >= 0 {
		return g.s.Domains()[d].Head
	}
	return forest.None
}

// takesLinks reports whether policies can be linked to id.
func (g *Graph) takesLinks(id forest.ID) bool {
	return g.isHead[id] || g.s.IsA(id, "organizationalUnit")
}

// rights visits those to whom the descriptor of id gives a facet of it.
func (q *search) rights(id forest.ID, f facet, to node) {
	g := q.sol.g
	if q.web != nil {
		q.web.rights(id, f, to)
		return
	}
	i := g.sharer[id]
	if (f == control || f == owning) && g.traitsAt(i)&isUnread != 0 {
		q.unread = append(q.unread, id) // each of those that share it
	}
	q.sol.trace.enter(q, shareHub(i, f), to)
	defer q.sol.trace.leave()
	seen := &q.seen
	if q.ending {
		seen = &q.ended
	}
	if !seen.add(i, f, len(g.shared)) && q.every == nil {
		return
	}
	gr, dom := g.grantsAt(i), g.shared[i].dom
	for k := range gr.list {
		one := &gr.list[k]
		if one.gives != f || one.cond != certain && !q.sol.possible || q.ending && one.kind == AddSelf {
			continue
		}
		if len(one.deny) > 0 {
			for _, d := range g.answering(dom) {
				q.sol.want(one, d)
				q.later = append(q.later, &joint{to: to, kind: one.kind, last: q.ending, legs: []leg{{id: id, dom: d, grants: gr.list[k : k+1]}}})
			}
			continue
		}
		for _, v := range g.holdersOf(one, dom) {
			q.visit(v, step{next: to, kind: one.kind, cond: one.cond, ace: one.ace, via: id, aux: -1})
		}
	}
	for k := range gr.pairs {
		p := &gr.pairs[k]
		if p.gives != f {
			continue
		}
		for _, d := range g.answering(dom) {
			j := p.joint(to, id, d)
			j.last = q.ending
			q.later = append(q.later, j)
		}
	}
}

// answering lists the domains whose controllers decide about objects of dom: its
// own, or any for the partitions that all have.
func (g *Graph) answering(dom int16) []int16 {
	if dom >= 0 || len(g.s.Domains()) < 2 {
		return []int16{max(dom, 0)}
	}
	out := make([]int16, len(g.s.Domains()))
	for i := range out {
		out[i] = int16(i)
	}
	return out
}
