package reach

import (
	"slices"
	"sync"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Reach is the answer to who can gain some goals. It is safe for concurrent use.
type Reach struct {
	g         *Graph
	goals     []forest.ID
	sure      *search
	maybe     func() *search
	sureWays  func() *ways // for paths: sure and maybe may have left ways out
	maybeWays func() *ways
}

// WhoCan finds everything that can gain one of goals: an account's identity, a
// group's membership, full control of any other object. The second question to a
// graph and those after take much less time than the first, or than those about the
// head of a domain, but for their paths.
//
// A group stands for whoever is made its member. One is left out that leads to a goal
// only with several rights at once and through an account; its members are not.
func (g *Graph) WhoCan(goals []forest.ID) *Reach {
	r := &Reach{g: g, goals: sortIDs(slices.Clone(goals))}
	if !g.closures.asked.Swap(true) || slices.ContainsFunc(goals, func(id forest.ID) bool { return g.isHead[id] }) {
		r.sure = g.search(goals, false, false)
		r.maybe = sync.OnceValue(func() *search { return g.search(goals, true, false) })
		r.sureWays = sync.OnceValue(func() *ways { return &ways{q: r.sure} })
		r.maybeWays = sync.OnceValue(func() *ways { return &ways{q: r.maybe()} })
		return r
	}
	r.sure = g.shortSearch(goals, false)
	r.maybe = sync.OnceValue(func() *search { return g.shortSearch(goals, true) })
	r.sureWays = sync.OnceValue(func() *ways { return &ways{q: g.prepare(goals, false, false)} })
	r.maybeWays = sync.OnceValue(func() *ways { return &ways{q: g.prepare(goals, true, false)} })
	return r
}

// shortSearch is search, but ends where it comes to what is known: the heads of
// domains, and components.
func (g *Graph) shortSearch(goals []forest.ID, possible bool) *search {
	q := newSolver(g, possible).add(nil)
	q.sol.short = func(v node) *closure { return g.kept(v, possible, true) }
	q.sol.prospect = g.prospect(possible)
	for _, id := range goals {
		q.visit(node(id), step{next: noNode, kind: goalKind, aux: -1, via: forest.None})
	}
	q.sol.run()
	g.learn(q)
	return q
}

// search looks for everything that gains goals, with possible also over edges that
// hold only if a condition does. With every it notes all steps.
func (g *Graph) search(goals []forest.ID, possible, every bool) *search {
	q := g.prepare(goals, possible, every)
	q.sol.run()
	return q
}

// prepare is search that has not begun.
func (g *Graph) prepare(goals []forest.ID, possible, every bool) *search {
	sol := newSolver(g, possible)
	q := sol.add(nil)
	if every {
		q.every = map[node][]step{}
	}
	for _, id := range goals {
		q.visit(node(id), step{next: noNode, kind: goalKind, aux: -1, via: forest.None})
	}
	return q
}

// Goals returns what was asked for, in ID order.
func (r *Reach) Goals() []forest.ID { return r.goals }

// Certain returns the accounts and groups that can gain a goal whatever the
// snapshot does not tell, goals included, in ID order. A group is among them if
// each new member could.
func (r *Reach) Certain() []forest.ID { return r.sure.principals() }

// Possible returns the accounts and groups that are not in Certain and can gain a
// goal if something holds that the snapshot does not tell, in ID order.
func (r *Reach) Possible() []forest.ID {
	return slices.DeleteFunc(r.maybe().principals(), func(id forest.ID) bool { return r.sure.has(node(id)) })
}

func (q *search) principals() []forest.ID {
	g := q.sol.g
	var out []forest.ID
	for _, v := range q.queue {
		if g.isPrincipal(v) {
			out = append(out, forest.ID(v))
		}
	}
	slices.Sort(out)
	for _, c := range q.closures {
		out = merge(out, c.principals)
	}
	return out
}

// Identities returns the SIDs without an object that can gain a goal: principals of
// trusted domains, and well-known identities such as Authenticated Users. Those of
// sure can for certain.
func (r *Reach) Identities() (sure, possible []secdesc.SID) {
	sure = r.sure.identities()
	for _, sid := range r.maybe().identities() {
		if !slices.Contains(sure, sid) {
			possible = append(possible, sid)
		}
	}
	return sure, possible
}

func (q *search) identities() []secdesc.SID {
	var out []secdesc.SID
	for _, v := range q.queue {
		if w, ok := q.sol.g.what(v); ok && !w.sid.IsZero() {
			out = append(out, w.sid)
		}
	}
	for _, c := range q.closures {
		out = append(out, c.identities...)
	}
	return sortSIDs(out)
}

// allUnread returns what was not read of what q, and the searches that help it, came
// across.
func (q *search) allUnread() []forest.ID {
	var out []forest.ID
	for _, by := range q.sol.order {
		out = append(out, by.unread...)
		for _, c := range by.closures {
			out = append(out, c.unread...)
		}
	}
	return sortIDs(out)
}

// PathOf returns a way from an identity to a goal, as Path does.
func (r *Reach) PathOf(sid secdesc.SID) Path {
	v, ok := r.g.known(sid)
	switch {
	case !ok:
		return nil
	case r.sure.has(v):
		return r.sureWays().to(v)
	case r.maybe().has(v):
		return r.maybeWays().to(v)
	}
	return nil
}

// Has reports whether id surely can gain a goal.
func (r *Reach) Has(id forest.ID) bool { return r.sure.has(node(id)) }

// MayHave reports whether id can gain a goal if conditions turn out so.
func (r *Reach) MayHave(id forest.ID) bool { return r.Has(id) || r.maybe().has(node(id)) }

// Unread returns the objects on the way whose descriptor or links were not read:
// more may reach the goals through them. In ID order.
func (r *Reach) Unread() []forest.ID { return r.sure.allUnread() }

// Path returns a shortest certain way from id to a goal, or else a shortest one
// that depends on conditions; nil if there is none, empty for a goal itself. A foreign
// security principal that is no goal stands for the principal behind it.
func (r *Reach) Path(id forest.ID) Path {
	if _, isGoal := slices.BinarySearch(r.goals, id); !isGoal && r.g.x.isForeign(id) {
		if local := r.g.x.standsFor(id); local != forest.None {
			return r.Path(local)
		}
		return r.PathOf(r.g.s.SID(id))
	}
	switch {
	case r.sure.has(node(id)):
		return r.sureWays().to(node(id))
	case r.maybe().has(node(id)):
		return r.maybeWays().to(node(id))
	}
	return nil
}

// Paths returns up to limit ways from id to a goal, shortest first, certain and
// possible ones: of each length those that the search comes across. No way visits
// a place twice.
// A foreign security principal that is no goal stands for the principal behind it.
func (g *Graph) Paths(from forest.ID, goals []forest.ID, limit int) []Path {
	if g.x.isForeign(from) && !slices.Contains(goals, from) {
		return g.paths(g.behind(from), goals, limit)
	}
	return g.paths(node(from), goals, limit)
}

// PathsOf returns ways from an identity to a goal, as Paths does.
func (g *Graph) PathsOf(sid secdesc.SID, goals []forest.ID, limit int) []Path {
	return g.paths(g.identity(sid), goals, limit)
}

func (g *Graph) paths(from node, goals []forest.ID, limit int) []Path {
	q := g.search(goals, true, true)
	if !q.has(from) {
		return nil
	}
	far := q.distances()
	var out []Path
	for length := far[from]; length <= far[from]+maxDetour && len(out) < limit; length++ {
		w := walk{q: q, far: far, length: length, limit: limit, seen: map[node]bool{}}
		w.from(from, &out)
	}
	return out
}

// maxDetour is how many steps longer than the shortest the ways are that Paths
// looks for.
const maxDetour = 4

// distances returns how many steps each node is from a goal.
func (q *search) distances() map[node]int {
	far := make(map[node]int, len(q.queue))
	for _, v := range q.queue { // in order of distance, but for what depends on other searches
		st := q.get(v)
		if st.kind == goalKind {
			far[v] = 0
			continue
		}
		far[v] = far[st.next] + 1
	}
	return far
}

// A walk lists the ways of one length.
type walk struct {
	q      *search
	far    map[node]int
	length int
	limit  int
	seen   map[node]bool
	steps  []walked
}

type walked struct {
	at node
	st step
}

func (w *walk) from(v node, out *[]Path) {
	if len(*out) >= w.limit {
		return
	}
	if w.q.get(v).kind == goalKind {
		if len(w.steps) == w.length {
			*out = append(*out, w.path())
		}
		return
	}
	w.seen[v] = true
	defer delete(w.seen, v)
	for _, st := range w.q.every[v] {
		if st.kind == goalKind || w.seen[st.next] || len(w.steps)+1+w.far[st.next] > w.length {
			continue
		}
		w.steps = append(w.steps, walked{v, st})
		w.from(st.next, out)
		w.steps = w.steps[:len(w.steps)-1]
	}
}

func (w *walk) path() Path {
	out := Path{}
	for _, at := range w.steps {
		if at.st.kind != Includes {
			out = append(out, w.q.sol.g.led(at.at, at.st, w.q.hop(at.at, at.st))...)
		}
	}
	return out
}

// Unread returns the objects whose permissions were not read, in ID order: what
// they give is not in any answer.
func (g *Graph) Unread() []forest.ID {
	var out []forest.ID
	for id := range forest.ID(g.n) {
		if g.grantsOf(id).missing {
			out = append(out, id)
		}
	}
	return out
}
