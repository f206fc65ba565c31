package reach

import (
	"maps"
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Bounds of what is found again bit by bit; beyond them a whole search is faster.
const (
	mostChanged = 2000
	mostUnsure  = 50000
	mostLooks   = 3000000
)

// A retrace finds what can gain the goals in a view from a trace of its graph: what
// the changes leave as it is stays, and only the rest is looked at again.
type retrace struct {
	g, v    *Graph // before, after
	t       *trace
	q       *search          // of the view; what surely stays is a closure of it
	sure    *closure         // what surely stays
	changed map[node]bool    // nodes to which others may lead now
	unsure  map[node]bool    // found before by a way that may be no more
	order   []node           // the same, in the order in which they became so
	gone    map[[2]node]bool // memberships that are no more
	moved   map[node]bool    // hubs of containers that are elsewhere
	looks   int
}

// retraced returns the search for what can gain the goals of t in v, as far as it
// is not as before, or nil if the changes are such that a whole search is needed.
func (g *Graph) retraced(v *Graph, t *trace) *retrace {
	r := &retrace{
		g: g, v: v, t: t, changed: map[node]bool{}, unsure: map[node]bool{},
		gone: map[[2]node]bool{}, moved: map[node]bool{},
	}
	if v.beneath+g.n < t.count || !r.findChanged() || !r.pairs() || r.touchesHelpers() || !r.doubt() {
		return nil
	}
	r.begin()
	if !r.settle() {
		return nil
	}
	for v := range r.changed {
		if r.q.has(v) && r.q.closed(v) {
			r.again(r.q, v)
		}
	}
	r.join()
	r.q.sol.run()
	for r.fulfil() {
		r.q.sol.finished, r.q.sol.held = false, map[heldKey]held{}
		r.q.sol.run()
	}
	for v := range r.unsure {
		if t.helped[v] && !r.q.has(v) {
			return nil // the helpers did not look further there, as it was found
		}
	}
	return r
}

// change notes that others may lead to an object, and to parts of it.
func (r *retrace) change(id forest.ID) {
	r.changed[node(id)] = true
	for f := control + 1; f < numFacets; f++ {
		if v, ok := r.v.knownFacet(facetKey{id, f}); ok {
			r.changed[v] = true
		}
	}
}

// findChanged finds the nodes to which others may lead than before. It reports
// whether that is certain, and not too much.
func (r *retrace) findChanged() bool {
	g, v, b := r.g, r.v, r.v.changes
	if len(b.policy.Links) > 0 || b.anew || len(b.changed) > mostChanged || len(b.policy.Computers) > mostChanged {
		return false
	}
	ids := append(slices.Clone(b.flagged), slices.Collect(maps.Keys(b.changed))...)
	for _, id := range ids {
		was, now := g.sharer[id], v.sharer[id]
		if r.t.self[was] || slices.ContainsFunc(v.grantsAt(now).list, func(one grant) bool { return one.kind == AddSelf }) || r.t.roots[id] {
			return false
		}
		if r.t.q.sol.possible && r.takesOver(id) {
			return false
		}
		r.change(id)
	}
	for _, id := range b.policy.Moved {
		if v.s.SubtreeEnd(id)-id > mostChanged {
			return false
		}
	}
	for _, id := range b.described {
		if g.s.Parent(id) == v.s.Parent(id) {
			continue
		}
		if r.t.roots[id] {
			return false
		}
		r.change(id)
		v.s.Under(id, func(o forest.ID) {
			r.moved[containerHub(o)] = true
			if g.x.isAccount(o) {
				r.change(o)
			}
		})
	}
	return r.otherScopes() && r.otherEdges() && len(r.changed) < mostChanged
}

// takesOver reports whether an object has a part in how domains may be taken over.
func (r *retrace) takesOver(id forest.ID) bool {
	g := r.g
	return g.succeeds(id) || len(g.unnamed) > 0 && (g.x.isAccount(id) || slices.Contains(g.unnamed, id))
}

// otherScopes finds the computers to which other policies apply.
func (r *retrace) otherScopes() bool {
	g, v := r.g, r.v
	if g.gpo == v.gpo {
		return true
	}
	for _, id := range g.accounts() {
		was, had := g.gpo.ScopeOf(id)
		now, has := v.gpo.ScopeOf(id)
		if was != now || had != has {
			if r.change(id); len(r.changed) > mostChanged {
				return false
			}
		}
	}
	return true
}

// otherEdges finds where edges of structure differ. It reports false if they do at an
// identity.
func (r *retrace) otherEdges() bool {
	g, v := r.g, r.v
	same := func(a, b edge) bool { return a.from == b.from && a.kind == b.kind && a.cond == b.cond }
	for _, pair := range [][2]*Graph{{g, v}, {v, g}} {
		for to, list := range pair[0].extra {
			other := pair[1].extra[to]
			if slices.EqualFunc(list, other, same) {
				continue
			}
			for _, e := range list {
				if !slices.ContainsFunc(other, func(o edge) bool { return same(e, o) }) {
					r.changed[to] = true
				}
			}
		}
		for to, list := range pair[0].joints {
			if !slices.EqualFunc(list, pair[1].joints[to], sameJoint) {
				return false
			}
		}
	}
	for to := range r.changed {
		if w, ok := v.what(to); ok && !w.sid.IsZero() {
			return false
		}
	}
	return maps.EqualFunc(g.local, v.local, func(a, b []forest.ID) bool { return slices.Equal(a, b) }) && maps.Equal(g.past, v.past)
}

func sameJoint(a, b joint) bool {
	return a.to == b.to && a.kind == b.kind && a.cond == b.cond && a.last == b.last && slices.Equal(a.gains, b.gains) &&
		slices.EqualFunc(a.legs, b.legs, func(a, b leg) bool {
			return a.id == b.id && a.dom == b.dom && slices.EqualFunc(a.grants, b.grants, func(a, b grant) bool {
				return a.who == b.who && a.kind == b.kind && a.gives == b.gives && a.cond == b.cond && a.ace == b.ace && slices.Equal(a.deny, b.deny)
			})
		})
}

// pairs notes the memberships that come and go. It reports whether no token changes
// in what joints depend on.
func (r *retrace) pairs() bool {
	for _, p := range r.v.changes.pairs {
		if r.g.x.is(p.member, hasForeign) || r.g.x.unreadKind(p.member) != "" {
			return false
		}
		for _, x := range []*Index{r.g.x, r.v.x} {
			for _, id := range append(x.GroupsOf(p.group), p.group) {
				if r.t.named[x.s.SID(id)] || slices.ContainsFunc(x.history(id), func(sid secdesc.SID) bool { return r.t.named[sid] }) {
					return false
				}
			}
		}
		if r.t.within[node(p.group)] {
			return false
		}
		if !r.stays(p) {
			r.gone[[2]node{node(p.member), node(p.group)}] = true
		}
	}
	return true
}

func (r *retrace) stays(p memberPair) bool {
	links, _ := r.v.s.Links(p.group, forest.Member)
	return slices.Contains(links, p.member) || r.v.x.primary[p.member] == p.group
}

// touchesHelpers reports whether what changed was looked at by searches that help:
// then they would find something else.
func (r *retrace) touchesHelpers() bool {
	for v := range r.changed {
		if r.t.within[v] || r.t.helped[v] && !r.t.has(v) {
			return true
		}
	}
	return false
}

// again looks at what leads to v, but for memberships.
func (r *retrace) again(q *search, v node) {
	w, isVirtual := r.v.what(v)
	if isVirtual {
		for i := range r.v.joints[v] {
			q.later = append(q.later, &r.v.joints[v][i])
		}
		q.expandVirtual(v, w)
		return
	}
	for i := range r.v.joints[v] {
		q.later = append(q.later, &r.v.joints[v][i])
	}
	id := forest.ID(v)
	q.controllers(id)
	q.incoming(v)
	if r.v.isHead[id] && q.sol.possible {
		q.takeovers(id)
	}
}

// doubt finds the nodes whose way leads over something that is no more.
func (r *retrace) doubt() bool {
	for v := range r.changed {
		if !r.t.has(v) {
			continue
		}
		probe := newSolver(r.v, r.t.q.sol.possible).add(nil)
		probe.every = map[node][]step{}
		r.again(probe, v)
		for u := r.child(v); u != noNode; u = r.t.after[u] {
			st := r.t.q.get(u)
			isMember := (u < r.g.n || st.via != forest.None) && (st.kind == Membership || st.kind == PrimaryMembership)
			if !isMember && !slices.ContainsFunc(probe.every[u], func(now step) bool { return now.next == v }) && !r.mistrust(u) {
				return false
			}
		}
	}
	for p := range r.gone {
		if st := r.t.q.get(p[0]); r.t.has(p[0]) && st.next == p[1] && st.kind == Membership && !r.mistrust(p[0]) {
			return false
		}
	}
	return true
}

func (r *retrace) child(v node) node {
	if v >= r.t.count {
		return noNode
	}
	return r.t.first[v]
}

// mistrust notes that the way of v may be no more, and those that lead over it. It
// reports whether these are not too many.
func (r *retrace) mistrust(v node) bool {
	if r.unsure[v] {
		return true
	}
	r.unsure[v] = true
	r.order = append(r.order, v)
	for i := len(r.order) - 1; i < len(r.order); i++ {
		for u := r.child(r.order[i]); u != noNode; u = r.t.after[u] {
			if !r.unsure[u] {
				r.unsure[u] = true
				r.order = append(r.order, u)
			}
		}
		if len(r.order) > mostUnsure {
			return false
		}
	}
	return true
}

// begin prepares the search of the view.
func (r *retrace) begin() {
	r.sure = &closure{head: noNode, objects: slices.Clone(r.t.in)}
	for v := range r.unsure {
		r.sure.objects[v/64] &^= 1 << (v % 64)
	}
	r.q = newSolver(r.v, r.t.q.sol.possible).add(nil)
	r.q.attach(r.sure)
}

// settle finds those of the unsure nodes that lead to something sure by an edge that
// stays as it is.
func (r *retrace) settle() bool {
	for progress := true; progress; {
		progress = false
		for _, v := range r.order {
			if r.sure.has(v) {
				continue
			}
			if r.leadsOn(v, v) || r.belongs(v) {
				r.sure.objects[v/64] |= 1 << (v % 64)
				progress = true
			}
			if r.looks > mostLooks {
				return false
			}
		}
	}
	return true
}

// leadsOn reports whether an edge that stays leads from v, or from a hub that v leads
// to, to something sure.
func (r *retrace) leadsOn(v, at node) (found bool) {
	r.t.leads(at, func(to node) bool {
		r.looks++
		switch {
		case to >= firstHub:
			found = !r.moved[to] && r.leadsOn(v, to)
		case at >= firstHub:
			found = r.sure.has(to) && !r.changed[to]
		default:
			found = r.sure.has(to) && !r.changed[to] && !r.gone[[2]node{v, to}]
		}
		return !found && r.looks <= mostLooks
	})
	return found
}

// belongs reports whether v is a member of a group to which others may lead now, and
// which is sure: edges to such are not looked at otherwise.
func (r *retrace) belongs(v node) bool {
	x := r.v.x
	in := func(m forest.ID) bool {
		return slices.ContainsFunc(x.s.Backlinks(m, forest.Member), func(id forest.ID) bool {
			return r.changed[node(id)] && r.sure.has(node(id)) && x.group[id] > distribution
		})
	}
	w, isVirtual := r.v.what(v)
	if isVirtual && w.sid.IsZero() {
		return false
	}
	sid := w.sid
	if !isVirtual {
		id := forest.ID(v)
		if p := x.primary[id]; p != forest.None && r.changed[node(p)] && r.sure.has(node(p)) && x.group[p] > distribution {
			return true
		}
		if x.group[id] != distribution && in(id) {
			return true
		}
		sid = x.s.SID(id)
	}
	return slices.ContainsFunc(x.foreign[sid], func(f forest.ID) bool { return r.v.behind(f) == v && in(f) })
}

// join visits those who become members.
func (r *retrace) join() {
	x := r.v.x
	for _, p := range r.v.changes.pairs {
		if r.stays(p) && x.group[p.group] > distribution && x.group[p.member] != distribution && r.q.has(node(p.group)) {
			r.q.visit(node(p.member), step{next: node(p.group), kind: Membership, ace: implicit, via: forest.None, aux: -1})
		}
	}
}

// fulfil visits those of the unsure nodes that fulfil a joint by themselves. It
// reports whether there are any.
func (r *retrace) fulfil() bool {
	var left []node
	for _, v := range r.order {
		if !r.q.has(v) && r.q.candidate(v) {
			left = append(left, v)
		}
	}
	if len(left) == 0 {
		return false
	}
	began := len(r.q.queue)
	for i := range r.t.q.tasks {
		t := &r.t.q.tasks[i]
		if r.changed[t.joint.to] || !r.q.has(t.joint.to) {
			continue
		}
		for k := range t.meetings {
			m := &t.meetings[k]
			if len(m.all) != 1 || m.all[0].by != nil {
				continue
			}
			for _, v := range left {
				if !r.q.has(v) && m.all[0].has(r.v, forest.ID(v)) {
					r.q.visit(v, step{next: m.st.next, kind: m.st.kind, cond: m.st.cond, ace: implicit, via: forest.None, aux: -1})
				}
			}
		}
	}
	return len(r.q.queue) > began
}

// has reports whether v can gain the goals in the view.
func (r *retrace) has(v node) bool { return r.q.has(v) }

// touched adds the nodes whose standing may be another.
func (r *retrace) touched(into map[node]bool) {
	for _, v := range r.q.queue {
		into[v] = true
	}
	for _, v := range r.order {
		into[v] = true
	}
}

// retracedTurns returns those whose standing changes, if the changes are such that
// they can be found without whole searches.
func (g *Graph) retracedTurns(v *Graph, goals []forest.ID) (turns []Turn, ok bool) {
	old, kept := g.traced(goals)
	if !kept {
		return nil, false
	}
	var now [2]*retrace
	nodes := map[node]bool{}
	for i, t := range old {
		if now[i] = g.retraced(v, t); now[i] == nil {
			return nil, false
		}
		now[i].touched(nodes)
	}
	for at := range nodes {
		t := Turn{ID: forest.None, Before: standing(old[0].has(at), old[1].has(at)), After: standing(now[0].has(at), now[1].has(at))}
		if t.Before == t.After {
			continue
		}
		w, isVirtual := v.what(at)
		switch {
		case isVirtual && (w.sid.IsZero() || neverHeld(w.sid)):
			continue
		case isVirtual:
			t.SID = w.sid
		case v.x.group[at] <= distribution && !v.x.isAccount(forest.ID(at)):
			continue
		default:
			t.ID = forest.ID(at)
		}
		turns = append(turns, t)
	}
	return turns, true
}

func standing(sure, maybe bool) Standing {
	switch {
	case sure:
		return CanGain
	case maybe:
		return MayGain
	}
	return CannotGain
}
