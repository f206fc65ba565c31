package reach

import (
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A step is how a search came to a node: what can be gained next from there.
type step struct {
	next node
	kind Kind // NoKind: not reached; of a goal: goalKind
	cond cond
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
	first []way // each must be gone, by one account
}

// A way leads from the principal of a step through another search.
type way struct {
	by    *search
	start node
}

// A search finds everything that can gain its goals, over shortest paths. Searches
// of one solver answer each other where a right depends on several gains.
type search struct {
	sol    *solver
	dense  []step        // by node, for searches over everything
	sparse map[node]step // for searches that help another
	queue  []node
	head   int
	seen   map[uint32]uint8   // by index into Graph.shared: facets whose grants were followed
	links  map[forest.ID]bool // containers whose linking facet was reached
	later  []deferred
	detail []detail
	unread []forest.ID // objects on the way whose descriptor was not read
}

// A deferred is a grant that depends on the whole token: it has guards, or needs a
// second right. It is looked at again until nothing more comes of it.
type deferred struct {
	id    forest.ID
	to    node
	grant grant
	pair  *pairing
}

// A solver runs searches until none of them finds more. It is for one goroutine.
type solver struct {
	g        *Graph
	possible bool // follow edges that hold only if a condition does
	searches map[string]*search
	order    []*search
}

func newSolver(g *Graph, possible bool) *solver {
	return &solver{g: g, possible: possible, searches: map[string]*search{}}
}

// everything makes a search over the whole graph.
func (sol *solver) everything(goals []node) *search {
	q := sol.add(goals)
	q.dense = make([]step, sol.g.n)
	for v, st := range q.sparse {
		q.set(v, st)
	}
	return q
}

func (sol *solver) add(goals []node) *search {
	q := &search{sol: sol, sparse: map[node]step{}, seen: map[uint32]uint8{}, links: map[forest.ID]bool{}}
	sol.order = append(sol.order, q)
	for _, v := range goals {
		q.visit(v, step{next: noNode, kind: goalKind, aux: -1, via: forest.None})
	}
	return q
}

// helper returns the search for what can control one of groups without holding it.
func (sol *solver) helper(groups []forest.ID) *search {
	var b strings.Builder
	for _, id := range groups {
		b.Write([]byte{byte(id), byte(id >> 8), byte(id >> 16), byte(id >> 24)})
	}
	key := b.String()
	q, ok := sol.searches[key]
	if !ok {
		q = sol.add(nil)
		sol.searches[key] = q
		for _, id := range groups {
			q.controllers(id)
		}
	}
	return q
}

// run searches until nothing more is found.
func (sol *solver) run() {
	for progress := true; progress; {
		progress = false
		for i := 0; i < len(sol.order); i++ {
			progress = sol.order[i].drain() || progress
		}
		for i := 0; i < len(sol.order); i++ {
			q := sol.order[i]
			for _, d := range slices.Clone(q.later) {
				q.revisit(d)
			}
			progress = progress || q.head < len(q.queue)
		}
		progress = progress || slices.ContainsFunc(sol.order, func(q *search) bool { return q.head < len(q.queue) })
	}
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
}

func (q *search) has(v node) bool { return q.get(v).kind != NoKind }

// visit notes that v can gain st.next.
func (q *search) visit(v node, st step) {
	if !q.has(v) {
		q.set(v, st)
		q.queue = append(q.queue, v)
	}
}

func (q *search) drain() bool {
	began := q.head
	for ; q.head < len(q.queue); q.head++ {
		q.expand(q.queue[q.head])
	}
	return q.head > began
}

// expand visits everything that can gain v in one step.
func (q *search) expand(v node) {
	g := q.sol.g
	if w, ok := g.what(v); ok {
		q.expandVirtual(v, w)
		return
	}
	id := forest.ID(v)
	q.members(id)
	q.controllers(id)
	q.incoming(v)
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
		q.visit(node(w.object), step{next: v, kind: Includes, ace: implicit, via: forest.None, aux: -1})
		q.rights(w.object, w.facet, v)
	}
	q.incoming(v)
}

// incoming follows the edges of structure.
func (q *search) incoming(v node) {
	for i := range q.sol.g.extra[v] {
		e := &q.sol.g.extra[v][i]
		if e.cond != certain && !q.sol.possible {
			continue
		}
		q.detail = append(q.detail, detail{edge: e})
		q.visit(e.from, step{next: v, kind: e.kind, cond: e.cond, ace: implicit, via: e.via, aux: int32(len(q.detail) - 1)})
	}
}

// members visits those that hold group id because they are members.
func (q *search) members(id forest.ID) {
	x := q.sol.g.x
	if x.group[id] <= distribution {
		return
	}
	to := node(id)
	links, _ := x.s.Links(id, forest.Member)
	for _, m := range links {
		switch {
		case x.group[m] == distribution:
		case x.foreign != nil && x.s.IsA(m, "foreignSecurityPrincipal"):
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
	return g.identity(g.s.SID(fsp))
}

// controllers visits those that control id other than as a member.
func (q *search) controllers(id forest.ID) {
	g := q.sol.g
	to := node(id)
	q.rights(id, control, to)
	if p := g.s.Parent(id); p != forest.None && !g.protected(id) {
		q.visit(node(p), step{next: to, kind: Contains, ace: implicit, via: forest.None, aux: -1})
	}
	if !g.x.isAccount(id) {
		return
	}
	if d := g.headOf(id); d != forest.None {
		q.visit(node(d), step{next: to, kind: DomainOf, ace: implicit, via: forest.None, aux: -1})
	}
	for c := g.s.Parent(id); c != forest.None && !q.links[c]; c = g.s.Parent(c) {
		q.links[c] = true
		if g.takesLinks(c) {
			q.visit(g.facetOf(c, linking), step{next: to, kind: LinkReaches, ace: implicit, via: forest.None, aux: -1})
		}
		if g.isHead[c] {
			break
		}
	}
}

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
	i := g.sharer[id]
	if q.seen[i]&(1<<f) != 0 {
		return
	}
	q.seen[i] |= 1 << f
	gr := g.grantsAt(i)
	if gr.unread && f == control {
		q.unread = append(q.unread, id)
	}
	for _, one := range gr.list {
		if one.gives != f || one.cond != certain && !q.sol.possible {
			continue
		}
		if len(one.deny) > 0 {
			q.later = append(q.later, deferred{id: id, to: to, grant: one})
			continue
		}
		g.holders(one.who, g.shared[i].dom, func(v node) {
			q.visit(v, step{next: to, kind: one.kind, cond: one.cond, ace: one.ace, via: id, aux: -1})
		})
	}
	for k := range gr.pairs {
		if p := &gr.pairs[k]; p.gives == f && (p.cond == certain || q.sol.possible) {
			q.later = append(q.later, deferred{id: id, to: to, pair: p})
		}
	}
}

// revisit looks at a deferred grant again.
func (q *search) revisit(d deferred) {
	if d.pair == nil {
		q.guarded(d)
		return
	}
	for _, l := range d.pair.left {
		for _, r := range d.pair.right {
			q.both(d, l, r)
		}
	}
}

// guarded visits the accounts that hold a grant and are not stopped by an entry
// before it, and those that can make an account hold it that is not stopped.
func (q *search) guarded(d deferred) {
	g := q.sol.g
	dom := g.shared[g.sharer[d.id]].dom
	st := step{next: d.to, kind: d.grant.kind, cond: d.grant.cond, ace: d.grant.ace, via: d.id, aux: -1}
	accounts, groups := g.holding(d.grant.who, dom)
	for _, a := range accounts {
		if !q.has(node(a)) && !g.stopped(a, d.grant.deny) {
			q.visit(node(a), st)
		}
	}
	groups = g.passing(groups, d.grant.deny)
	if len(groups) == 0 {
		return
	}
	help := q.sol.helper(groups)
	for _, v := range help.queue {
		if !q.candidate(v) {
			continue
		}
		if w, ok := q.sol.user(v, d.grant.deny); ok {
			q.through(v, st, append(w, way{help, v})...)
		}
	}
}

// candidate reports whether v is an account that q has not reached.
func (q *search) candidate(v node) bool {
	g := q.sol.g
	return v < g.n && !q.has(v) && g.x.isAccount(forest.ID(v))
}

// passing returns those of ids whose token holds none of deny.
func (g *Graph) passing(ids []forest.ID, deny []secdesc.SID) []forest.ID {
	if len(deny) == 0 {
		return ids
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id forest.ID) bool { return g.stopped(id, deny) })
}

// user says how v comes to use an account that none of deny stops: it is one, and
// there is no way to go, or it can become one.
func (sol *solver) user(v node, deny []secdesc.SID) (ways []way, ok bool) {
	g := sol.g
	if !g.stopped(forest.ID(v), deny) {
		return nil, true
	}
	free := sol.reaching(g.passing(g.accounts(), deny))
	return []way{{free, v}}, free.has(v)
}

// both visits the accounts whose token can hold two grants at once.
func (q *search) both(d deferred, l, r grant) {
	if (l.cond != certain || r.cond != certain) && !q.sol.possible {
		return
	}
	g := q.sol.g
	dom := g.shared[g.sharer[d.id]].dom
	st := step{next: d.to, kind: d.pair.kind, cond: max(d.pair.cond, l.cond, r.cond), ace: l.ace, via: d.id, aux: -1}
	deny := append(slices.Clone(l.deny), r.deny...)
	la, lg := g.holding(l.who, dom)
	ra, rg := g.holding(r.who, dom)
	for _, a := range intersect(la, ra) {
		if !g.stopped(a, deny) {
			q.visit(node(a), st)
		}
	}
	lg, rg = g.passing(lg, deny), g.passing(rg, deny)
	q.join(st, lg, g.passing(ra, deny))
	q.join(st, rg, g.passing(la, deny))
	q.joinBoth(st, deny, lg, rg)
}

// join visits who can add members to one of groups and become one of accounts.
func (q *search) join(st step, groups, accounts []forest.ID) {
	if len(groups) == 0 || len(accounts) == 0 {
		return
	}
	gain, hold := q.sol.helper(groups), q.sol.reaching(accounts)
	for _, v := range gain.queue {
		if q.candidate(v) && hold.has(v) {
			q.through(v, st, way{gain, v}, way{hold, v})
		}
	}
}

// joinBoth visits who can add members to one of left and to one of right, and use
// an account that none of deny stops.
func (q *search) joinBoth(st step, deny []secdesc.SID, left, right []forest.ID) {
	if len(left) == 0 || len(right) == 0 {
		return
	}
	a, b := q.sol.helper(left), q.sol.helper(right)
	for _, v := range a.queue {
		if !q.candidate(v) || !b.has(v) {
			continue
		}
		if w, ok := q.sol.user(v, deny); ok {
			q.through(v, st, append(w, way{a, v}, way{b, v})...)
		}
	}
}

// reaching returns the search for what can become one of accounts.
func (sol *solver) reaching(accounts []forest.ID) *search {
	var b strings.Builder
	b.WriteByte('=')
	for _, id := range accounts {
		b.Write([]byte{byte(id), byte(id >> 8), byte(id >> 16), byte(id >> 24)})
	}
	q, ok := sol.searches[b.String()]
	if !ok {
		goals := make([]node, len(accounts))
		for i, id := range accounts {
			goals[i] = node(id)
		}
		q = sol.add(goals)
		sol.searches[b.String()] = q
	}
	return q
}

// through visits v over ways that have to be gone first.
func (q *search) through(v node, st step, ways ...way) {
	q.detail = append(q.detail, detail{first: ways})
	st.aux = int32(len(q.detail) - 1)
	q.visit(v, st)
}

// holding returns the accounts that hold sid, and the groups whose members do, both
// in ID order.
func (g *Graph) holding(sid secdesc.SID, dom int16) (accounts, groups []forest.ID) {
	g.holders(sid, dom, func(v node) {
		w, isVirtual := g.what(v)
		switch {
		case isVirtual && isIdentity(w.sid):
			for _, id := range g.accounts() {
				if slices.Contains(g.x.Implied(id), w.sid) {
					accounts = append(accounts, id)
				}
			}
		case isVirtual:
		case g.x.group[v] == notGroup:
			accounts = append(accounts, forest.ID(v))
		default:
			groups = append(append(groups, forest.ID(v)), g.x.Nested(forest.ID(v))...)
			accounts = append(accounts, g.x.Members(forest.ID(v))...)
		}
	})
	return sortIDs(accounts), sortIDs(groups)
}

// stopped reports whether the token of id holds one of deny.
func (g *Graph) stopped(id forest.ID, deny []secdesc.SID) bool {
	return slices.ContainsFunc(deny, func(sid secdesc.SID) bool { return g.x.Holds(id, sid) })
}

func sortIDs(ids []forest.ID) []forest.ID {
	slices.Sort(ids)
	return slices.Compact(ids)
}

func intersect(a, b []forest.ID) []forest.ID {
	var out []forest.ID
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] < b[j]:
			i++
		case a[i] > b[j]:
			j++
		default:
			out = append(out, a[i])
			i++
			j++
		}
	}
	return out
}
