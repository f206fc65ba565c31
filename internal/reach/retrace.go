package reach

import (
	"maps"
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Bounds of what is found again bit by bit; beyond them a whole search is faster.
const (
	mostTouched = 200000 // objects with other permissions, or moved
	mostChanged = 5000
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
	links   []relink
	scopes  map[gpo.ScopeID]map[node]bool // by scope of the view that found computers have now: whom it gives power over them
	hosts   map[node]bool                 // found computers that have another scope
	looks   int
}

// A relink is a link of a policy that comes or goes.
type relink struct{ policy, container forest.ID }

// retraced returns the search for what can gain the goals of t in v, as far as it
// is not as before, or nil if the changes are such that a whole search is needed.
func (g *Graph) retraced(v *Graph, t *trace) *retrace {
	r := &retrace{
		g: g, v: v, t: t, changed: map[node]bool{}, unsure: map[node]bool{},
		gone: map[[2]node]bool{}, moved: map[node]bool{}, scopes: map[gpo.ScopeID]map[node]bool{}, hosts: map[node]bool{},
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
	r.substitute()
	r.join()
	r.link()
	r.rehost()
	r.q.sol.run()
	for r.fulfil() {
		r.q.sol.finished, r.q.sol.prospect = false, newProspect(r.q.sol.g, r.q.sol.possible)
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
	r.alter(node(id))
	for f := control + 1; f < numFacets; f++ {
		if v, ok := r.v.knownFacet(facetKey{id, f}); ok {
			r.alter(v)
		}
	}
}

// alter notes that others may lead to v. Where nothing was found before, it is looked
// at anew in any case.
func (r *retrace) alter(v node) {
	if r.t.has(v) || r.t.within[v] {
		r.changed[v] = true
	}
}

// findChanged finds the nodes to which others may lead than before. It reports
// whether that is certain, and not too much.
func (r *retrace) findChanged() bool {
	g, v, b := r.g, r.v, r.v.changes
	if b.anew || r.opensGates() || len(b.changed) > mostTouched || len(b.policy.Computers) > mostTouched || !r.otherLinks() {
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
		if v.s.SubtreeEnd(id)-id > mostTouched {
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
			r.moved[placeHub(o)], r.moved[linkHub(o)] = true, true
			if g.x.isAccount(o) {
				r.change(o)
			}
		})
	}
	r.otherScopes()
	return r.otherEdges() && len(r.changed) < mostChanged
}

// opensGates reports whether others than before may act over a trust with selective
// authentication.
func (r *retrace) opensGates() bool {
	g, b := r.g, r.v.changes
	if len(g.selective) == 0 {
		return false
	}
	for id := range b.changed {
		if g.classes[g.s.ClassIndex(id)].aspect == computerAspect {
			return true
		}
	}
	return len(b.pairs) > 0
}

// takesOver reports whether an object has a part in how domains may be taken over.
func (r *retrace) takesOver(id forest.ID) bool {
	g := r.g
	return g.succeeds(id) || len(g.unnamed) > 0 && (g.x.isAccount(id) || slices.Contains(g.unnamed, id))
}

// otherLinks finds the links that come and go. It reports false if they are those of a
// site, which reach every container.
func (r *retrace) otherLinks() bool {
	for _, c := range r.v.changes.policy.Links {
		if slices.Contains(r.g.sites, c) {
			return false
		}
		was, _ := r.g.linkedTo(c)
		now, _ := r.v.linkedTo(c)
		for _, l := range slices.Concat(was, now) {
			if l.container == c && slices.Contains(was, l) != slices.Contains(now, l) {
				r.links = append(r.links, relink{l.policy, c})
			}
		}
	}
	return true
}

// otherScopes finds the computers to which other policies apply.
func (r *retrace) otherScopes() {
	g, v := r.g, r.v
	if g.gpo == v.gpo {
		return
	}
	for _, id := range g.accounts() {
		was, had := g.gpo.ScopeOf(id)
		now, has := v.gpo.ScopeOf(id)
		if was == now && had == has && (!has || v.gpo.Shares(g.gpo, now)) {
			continue
		}
		at := node(id)
		switch {
		case r.t.within[at]:
			r.changed[at] = true
		case r.t.has(at):
			r.hosts[at] = true
			if _, known := r.scopes[now]; has && !known {
				r.scopes[now] = r.powers(id)
			}
		}
	}
}

// powers returns whom policy gives power over a computer in the view.
func (r *retrace) powers(id forest.ID) map[node]bool {
	probe := r.probe()
	probe.hosted(id)
	out := map[node]bool{}
	for v := range probe.every {
		out[v] = true
	}
	return out
}

// probe returns a search of the view that notes all it comes to, for a look at single
// nodes.
func (r *retrace) probe() *search {
	probe := newSolver(r.v, r.t.q.sol.possible).add(nil)
	probe.every = map[node][]step{}
	return probe
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
					r.alter(to)
				}
			}
		}
		for to, list := range pair[0].joints {
			if !slices.EqualFunc(list, pair[1].joints[to], sameJoint) {
				r.alter(to)
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
	return a.to == b.to && a.kind == b.kind && a.cond == b.cond && a.last == b.last && a.asIs == b.asIs && slices.Equal(a.gains, b.gains) &&
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
		if r.g.x.isForeign(p.member) || r.g.x.unreadKind(p.member) != "" {
			return false
		}
		for _, x := range []*Index{r.g.x, r.v.x} {
			for _, id := range append(x.GroupsOf(p.group), p.group) {
				if !r.renamed(x.s.SID(id)) || slices.ContainsFunc(x.history(id), func(sid secdesc.SID) bool { return !r.renamed(sid) }) {
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

// renamed notes that others hold a SID: what joints that depend on it lead to may be
// led to by others. It reports false if more than that depends on it.
func (r *retrace) renamed(sid secdesc.SID) bool {
	for _, to := range r.t.named[sid] {
		r.changed[to] = true
	}
	return !r.t.decides[sid] && len(r.changed) < mostChanged
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
		probe := r.probe()
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
	return r.doubtPolicy()
}

// doubtPolicy finds the nodes whose way leads over a link of a policy that is no more,
// or over power that policy gave.
func (r *retrace) doubtPolicy() bool {
	for _, l := range r.links {
		p := node(l.policy)
		if st := r.t.q.get(p); r.t.has(p) && st.kind == PolicyApplies && st.via == l.container && !r.mistrust(p) {
			return false
		}
	}
	for host := range r.hosts {
		var now map[node]bool
		if scope, ok := r.v.gpo.ScopeOf(forest.ID(host)); ok {
			now = r.scopes[scope]
		}
		for u := r.child(host); u != noNode; u = r.t.after[u] {
			st := r.t.q.get(u)
			byPolicy := st.kind == LocalAdministrator || st.kind == UserRight || st.kind == PolicyApplies && st.via == forest.None
			if byPolicy && !now[u] && !r.mistrust(u) {
				return false
			}
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
			found = !r.moved[to] && (at >= firstHub || !r.unlinked(v, to)) && r.leadsOn(v, to)
		case at >= firstScope:
			found = r.sure.has(to) && !r.changed[to] && !r.hosts[to]
		case at >= firstHub:
			found = r.sure.has(to) && !r.changed[to]
		default:
			found = r.sure.has(to) && !r.changed[to] && !r.gone[[2]node{v, to}]
		}
		return !found && r.looks <= mostLooks
	})
	return found
}

// unlinked reports whether v is a policy that may no longer reach the container of a
// hub.
func (r *retrace) unlinked(v, hub node) bool {
	return hub >= firstContainer && hub < firstScope &&
		slices.ContainsFunc(r.links, func(l relink) bool { return node(l.policy) == v }) && !r.reaches(forest.ID(v), forest.ID(hub-firstContainer)/2)
}

// reaches reports whether links of a policy reach those in container c, in the view.
func (r *retrace) reaches(policy, c forest.ID) bool {
	list, _ := r.v.linkedTo(c)
	return slices.ContainsFunc(list, func(l linked) bool {
		return l.policy == policy && (l.cond == certain || r.t.q.sol.possible)
	})
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

// link visits the policies that are linked to where something was found.
func (r *retrace) link() {
	for _, l := range r.links {
		p := node(l.policy)
		if r.q.has(p) {
			continue
		}
		if at := r.below(l.policy, linkHub(l.container)); at != noNode {
			r.q.visit(p, step{next: at, kind: PolicyApplies, ace: implicit, via: l.container, aux: -1})
		}
	}
}

// below returns an account that was found and that a policy reaches, in or below the
// container of a hub; noNode if there is none.
func (r *retrace) below(policy forest.ID, hub node) node {
	out, known, reaches := noNode, false, false
	r.t.leads(hub, func(to node) bool {
		switch {
		case r.moved[hub]:
			return false // what lies there is looked at by itself
		case to >= firstHub:
			out = r.below(policy, to)
		case r.q.has(to):
			if !known {
				known, reaches = true, r.reaches(policy, forest.ID(hub-firstContainer)/2)
			}
			if reaches {
				out = to
			}
		}
		return out == noNode
	})
	return out
}

// rehost visits those to whom policy gives power over computers that have another
// scope.
func (r *retrace) rehost() {
	for host := range r.hosts {
		if r.q.has(host) {
			r.q.hosted(forest.ID(host))
		}
	}
}

// substitute looks at what leads to other objects with the permissions of those that
// can no longer be gained, or are looked at again: of a share, a joint is noted for one
// object only.
func (r *retrace) substitute() {
	for v := range r.changed {
		r.standIn(v)
	}
	for _, v := range r.order {
		if !r.q.has(v) {
			r.standIn(v)
		}
	}
}

// standIn looks at another object in place of v.
func (r *retrace) standIn(v node) {
	w, isVirtual := r.g.what(v)
	id, parts := forest.ID(v), []facet{control, owning}
	if isVirtual {
		if !w.sid.IsZero() || w.object == forest.None || w.facet == filing {
			return
		}
		id, parts = w.object, []facet{w.facet}
	}
	i := r.g.sharer[id]
	for _, f := range parts {
		if !r.g.grantsAt(i).joins(f) {
			continue
		}
		r.t.leads(shareHub(i, f), func(to node) bool {
			if r.changed[to] || !r.q.has(to) {
				return true
			}
			at := forest.ID(to)
			if w, ok := r.g.what(to); ok {
				at = w.object
			}
			r.q.rights(at, f, to)
			return false
		})
	}
}

// joins reports whether a facet is given by several things at once, or not to all.
func (g *grants) joins(f facet) bool {
	return slices.ContainsFunc(g.list, func(one grant) bool { return one.gives == f && len(one.deny) > 0 }) ||
		slices.ContainsFunc(g.pairs, func(p pairing) bool { return p.gives == f })
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
