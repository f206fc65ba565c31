package reach

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A joint is an edge that needs several things at once: that one attacker gains
// all of gains, and uses one account whose token holds a grant of every leg. A
// grant with guards is a joint of one leg.
type joint struct {
	to    node
	kind  Kind
	cond  cond
	last  bool // see step
	asIs  bool // memberships that are given do not count, but one that brings a grant of every leg to everybody
	gains []node
	legs  []leg
}

// joint is the edge to a node by both rights over an object, decided on a domain
// controller of dom.
func (p *pairing) joint(to node, id forest.ID, dom int16) *joint {
	return &joint{
		to: to, kind: p.kind, cond: p.cond, asIs: p.asIs,
		legs: []leg{{id: id, dom: dom, grants: p.left}, {id: id, dom: dom, grants: p.right}},
	}
}

// A leg lists grants of one object, any of which will do.
type leg struct {
	id     forest.ID
	dom    int16
	grants []grant
	where  string              // attribute or file that has the descriptor; "" if it is the object's own
	in     *secdesc.Descriptor // that of where
}

// source says which entry of the leg a grant comes from.
func (g *Graph) source(l *leg, of *grant) source {
	at := source{via: l.id, ace: of.ace}
	if l.where != "" {
		at.text = g.entryText(l.where, l.in, of.ace, l.dom)
	}
	return at
}

// entryText names an entry of a descriptor that is not an object's own.
func (g *Graph) entryText(where string, d *secdesc.Descriptor, ace int32, dom int16) string {
	if ace == implicit {
		return where
	}
	var domain secdesc.SID
	if dom >= 0 {
		domain = g.s.Domains()[dom].SID
	}
	return fmt.Sprintf("%s, entry %d: %s", where, ace, d.DACL.ACEs[ace].SDDL(domain))
}

// A picked grant is one of a leg.
type picked struct {
	leg   *leg
	grant *grant
	self  bool // used before the others: an account adds itself to a group by it
}

// A demand is that the attacker gains one of some nodes: found by a search, or
// fulfilled from the start by those in own, or by everyone whom no denial of
// anyBut stops.
type demand struct {
	own    []forest.ID // in ID order
	anyBut []denial    // if not nil, stands in for own
	by     *search     // nil: only own
}

// A task is a joint that a search looks at again until nothing more comes of it.
type task struct {
	joint    *joint
	begun    bool
	meetings []meeting
}

// A meeting is one way to fulfil a joint: accounts that fulfil all of some demands.
type meeting struct {
	st     step
	chosen []picked
	all    []demand
	held   bool
	known  int // how much the searches had found when it was last held
}

// try visits whoever fulfils the joint of t as far as the searches know by now.
func (q *search) try(t *task) {
	if t.joint.cond != certain && !q.sol.possible {
		return
	}
	if !t.begun {
		t.begun = true
		q.pick(t, nil)
	}
	for i := range t.meetings {
		q.meet(&t.meetings[i])
	}
}

// pick goes through the combinations of one grant from each leg.
func (q *search) pick(t *task, chosen []picked) {
	j := t.joint
	if len(chosen) == len(j.legs) {
		q.combine(t, chosen, chosen, nil)
		return
	}
	l := &j.legs[len(chosen)]
	for i := range l.grants {
		if l.grants[i].cond == certain || q.sol.possible {
			q.pick(t, append(chosen[:len(chosen):len(chosen)], picked{leg: l, grant: &l.grants[i]}))
		}
	}
}

// combine looks for accounts whose token can hold all chosen grants: each by a
// membership that there is, or by one that the attacker gives it. For every set of
// memberships to be given there is one list of demands. deny are denials that count
// beside those of the grants, and proof are the grants to be shown.
func (q *search) combine(t *task, chosen, proof []picked, deny []denial) {
	j := t.joint
	st := step{next: j.to, kind: j.kind, cond: j.cond, last: j.last, ace: implicit, via: forest.None, aux: -1}
	accounts := make([][]forest.ID, len(chosen))
	groups := make([][]forest.ID, len(chosen))
	for _, p := range chosen {
		st.cond = max(st.cond, p.grant.cond)
		if !p.self {
			deny = append(deny[:len(deny):len(deny)], denials(p.grant.deny, p.leg.dom)...)
		}
	}
	all := deny     // of the account itself, before it is given anything
	sifted := false // nothing of deny stops those in accounts
	for i, p := range chosen {
		if p.grant.who == secdesc.Everyone { // nobody needs to be made a member
			accounts[i] = q.sol.g.accounts()
			if p.self {
				all = append(all[:len(all):len(all)], denials(p.grant.deny, p.leg.dom)...)
			}
			continue
		}
		if seen, ok := q.sol.prospect.passes(passedKey{p.grant, p.leg.dom}); ok && len(chosen) == 1 && len(deny) == len(p.grant.deny) && !p.self {
			accounts[i], groups[i], sifted = seen.accounts, seen.groups, true
			continue
		}
		accounts[i], groups[i] = q.sol.holding(p.grant.who, p.leg.dom)
		if !p.self {
			groups[i] = q.sol.passing(groups[i], deny)
			continue
		}
		own := denials(p.grant.deny, p.leg.dom)
		groups[i] = q.sol.passing(groups[i], own)
		all = append(all[:len(all):len(all)], own...)
	}
	if len(all) == 0 { // each new member of such a group can, too
		for i, p := range chosen {
			if len(groups[i]) > 0 {
				accounts[i] = q.sol.principals(p.grant.who, p.leg.dom)
			}
		}
	}
	if j.asIs {
		clear(groups)
	}
	note := func(given int) {
		if demands := q.sol.demands(j, given, accounts, groups, all, sifted); len(demands) > 0 {
			t.meetings = append(t.meetings, meeting{st: st, chosen: proof, all: demands})
		}
	}
	for given := range 1 << len(chosen) {
		note(given)
	}
	if len(proof) <= len(chosen)+1 {
		for i := range chosen {
			q.selfGiven(t, i, groups[i], chosen, proof, deny)
		}
	}
	more := false
	for i := range chosen {
		self := q.sol.selfers(groups[i], len(all) == 0, map[forest.ID]bool{})
		if len(self) > 0 {
			more = true
			accounts[i] = sortIDs(append(slices.Clone(accounts[i]), self...))
		}
	}
	if more {
		if q.sol.possible {
			st.cond = max(st.cond, ifCondition) // perhaps of an entry by which they add themselves
		}
		sifted = false
		note(0)
	}
}

// selfers returns the accounts that can add themselves to one of groups, if need be
// by way of others that they can add themselves to; if asked for, also the groups
// each new member of which can.
func (sol *solver) selfers(groups []forest.ID, members bool, seen map[forest.ID]bool) []forest.ID {
	g := sol.g
	var out []forest.ID
	for _, id := range groups {
		if seen[id] {
			continue
		}
		seen[id] = true
		for _, one := range g.grantsOf(id).list {
			if one.kind != AddSelf || one.cond != certain && !sol.possible {
				continue
			}
			accounts, by := sol.holding(one.who, g.x.domain[id])
			own := denials(one.deny, g.x.domain[id])
			out = append(out, sol.passing(accounts, own)...)
			out = append(out, sol.passing(sol.selfers(sol.passing(by, own), members && len(own) == 0, seen), own)...)
			if members && len(own) == 0 {
				out = append(out, by...)
			}
		}
	}
	return out
}

// selfGiven goes on with accounts that give themselves the membership of leg i: who
// may add itself to a group may add nobody else, so the same token must hold the
// right to.
func (q *search) selfGiven(t *task, i int, groups []forest.ID, chosen, proof []picked, deny []denial) {
	g := q.sol.g
	for _, id := range groups {
		list := g.grantsOf(id).list
		for k := range list {
			one := &list[k]
			if one.kind != AddSelf || one.cond != certain && !q.sol.possible {
				continue
			}
			used := slices.ContainsFunc(proof, func(p picked) bool { return p.grant == one })
			if used && (chosen[i].self || !slices.ContainsFunc(chosen, func(p picked) bool { return p.grant == one })) {
				continue // but the same membership may serve for two legs
			}
			with := picked{&leg{id: id, dom: g.x.domain[id], grants: list[k : k+1]}, one, true}
			instead := slices.Clone(chosen)
			instead[i] = with
			more := proof
			if !used {
				more = append(proof[:len(proof):len(proof)], with)
			}
			q.combine(t, instead, more, deny)
		}
	}
}

// demands lists what an attacker needs who gives an account the memberships of the
// legs in the set given; nil if it cannot be. With sifted deny stops nobody in
// accounts.
func (sol *solver) demands(j *joint, given int, accounts, groups [][]forest.ID, deny []denial, sifted bool) []demand {
	var out []demand
	var base []forest.ID
	first := true
	for i := range accounts {
		if given&(1<<i) != 0 {
			if len(groups[i]) == 0 {
				return nil
			}
			out = append(out, demand{by: sol.helper(groups[i])})
			continue
		}
		if sol.isEverybody(accounts[i]) {
			continue // does not narrow the others down
		}
		if base = intersect(base, accounts[i]); first {
			base, first = accounts[i], false
		}
	}
	for _, v := range j.gains {
		out = append(out, demand{by: sol.gaining(v)})
	}
	switch {
	case len(accounts) == 0:
	case first: // whichever account, if it is not denied
		switch {
		case len(deny) > 0:
			out = append(out, demand{anyBut: deny})
		case len(out) == 0:
			out = append(out, demand{own: sol.g.accounts()})
		}
	default:
		if !sifted {
			base = sol.passing(base, deny)
		}
		if len(base) == 0 {
			return nil
		}
		out = append(out, demand{own: base})
	}
	return out
}

// isEverybody reports whether list is that of all accounts.
func (sol *solver) isEverybody(list []forest.ID) bool {
	all := sol.g.accounts()
	return len(list) > 0 && len(list) == len(all) && &list[0] == &all[0]
}

// meet visits the accounts that fulfil all demands, if the searches know more than
// at the last time.
func (q *search) meet(m *meeting) {
	candidates := m.all[0]
	if candidates.by == nil && len(m.all) == 1 { // others come to these by themselves
		if m.held {
			return
		}
		m.held = true
		own := candidates.own
		if candidates.anyBut != nil {
			own = q.sol.passing(q.sol.g.accounts(), candidates.anyBut)
		}
		for _, c := range q.closures { // nearly all of many are there already
			own = c.lacking(own)
		}
		for _, a := range own {
			if !q.has(node(a)) {
				q.through(node(a), m.st, m.chosen, nil)
			}
		}
		return
	}
	if m.held && m.known == m.knowledge() {
		return
	}
	for i := 0; i < len(candidates.by.queue); i++ {
		v := candidates.by.queue[i]
		if !q.candidate(v) {
			continue
		}
		if ways, ok := q.fulfils(v, m.all); ok {
			q.through(v, m.st, m.chosen, ways)
		}
	}
	for _, c := range candidates.by.closures {
		if slices.Contains(q.closures, c) {
			continue
		}
		for _, id := range c.principals {
			if v := node(id); q.candidate(v) {
				if ways, ok := q.fulfils(v, m.all); ok {
					q.through(v, m.st, m.chosen, ways)
				}
			}
		}
	}
	m.held, m.known = true, m.knowledge()
}

// knowledge is how much the searches of m have found. It only grows.
func (m *meeting) knowledge() int {
	sum := 0
	for i := range m.all {
		if by := m.all[i].by; by != nil {
			sum += len(by.queue) + by.attached + 1
		}
	}
	return sum
}

// fulfils reports whether v meets all demands, and by which searches where it does not
// by itself. A group does not count that only leads to an account that does: who is
// made its member is found by that account, and a search for each such set of
// accounts would cost more than all others.
func (q *search) fulfils(v node, all []demand) (ways []way, ok bool) {
	for i := range all {
		d := &all[i]
		if d.has(q.sol.g, forest.ID(v)) {
			continue
		}
		if d.by == nil {
			if !q.sol.g.x.isAccount(forest.ID(v)) {
				return nil, false
			}
			own := d.own
			if d.anyBut != nil {
				own = q.sol.passing(q.sol.g.accounts(), d.anyBut)
			}
			d.by = q.sol.reaching(own)
		}
		if !d.by.has(v) {
			return nil, false
		}
		ways = append(ways, way{d.by, v})
	}
	return ways, true
}

// has reports whether account v fulfils d from the start. A group never does: of its
// members some may be denied.
func (d *demand) has(g *Graph, v forest.ID) bool {
	if d.anyBut != nil {
		return g.x.isAccount(v) && !g.stopped(v, d.anyBut)
	}
	_, own := slices.BinarySearch(d.own, v)
	return own
}

// candidate reports whether v is an account or a group that q has not reached.
func (q *search) candidate(v node) bool {
	return q.sol.g.isPrincipal(v) && !q.has(v)
}

// isPrincipal reports whether v is an account or a group that counts.
func (g *Graph) isPrincipal(v node) bool {
	return v < g.n && (g.x.group[v] > distribution || g.x.isAccount(forest.ID(v)))
}

// passing returns those of ids that no denial stops.
func (g *Graph) passing(ids []forest.ID, deny []denial) []forest.ID {
	if len(deny) == 0 {
		return ids
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id forest.ID) bool { return g.stopped(id, deny) })
}

// passing is that of the prospect.
func (sol *solver) passing(ids []forest.ID, deny []denial) []forest.ID {
	return sol.prospect.passing(ids, deny)
}

// sifted is passing for those who ask about many lists: it looks at what is in the
// groups that are denied, of which there are fewer than groups that somebody is in.
func (g *Graph) sifted(ids []forest.ID, deny []denial) []forest.ID {
	if len(deny) == 0 {
		return ids
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id forest.ID) bool {
		return slices.ContainsFunc(deny, func(d denial) bool {
			return g.holdsBy(id, d.sid, d.dom, func(to, group forest.ID) bool {
				_, ok := slices.BinarySearch(g.x.inside(group), to)
				return ok
			})
		})
	})
}

// without returns what is in list and not in drop, both in ID order.
func without(list, drop []forest.ID) []forest.ID {
	if len(drop) == 0 {
		return list
	}
	out := make([]forest.ID, 0, len(list))
	for _, id := range list {
		for len(drop) > 0 && drop[0] < id {
			drop = drop[1:]
		}
		if len(drop) == 0 || drop[0] != id {
			out = append(out, id)
		}
	}
	return out
}

// A denial stops whoever's token, on a domain controller of a domain, holds a SID.
type denial struct {
	sid secdesc.SID
	dom int16
}

func denials(sids []secdesc.SID, dom int16) []denial {
	out := make([]denial, len(sids))
	for i, sid := range sids {
		out[i] = denial{sid, dom}
	}
	return out
}

// stopped reports whether a denial stops id.
func (g *Graph) stopped(id forest.ID, deny []denial) bool {
	return slices.ContainsFunc(deny, func(d denial) bool { return g.holds(id, d.sid, d.dom) })
}

// holds reports whether the token that id has on a domain controller of domain dom
// holds sid; on that of any, if dom is -1.
func (g *Graph) holds(id forest.ID, sid secdesc.SID, dom int16) bool {
	return g.holdsBy(id, sid, dom, func(to, group forest.ID) bool {
		_, ok := slices.BinarySearch(g.x.above(to), group)
		return ok
	})
}

// holdsBy is holds; leads reports whether a group or foreign principal is a group or
// leads to it.
func (g *Graph) holdsBy(id forest.ID, sid secdesc.SID, dom int16, leads func(to, group forest.ID) bool) bool {
	x := g.x
	if x.s.SID(id) == sid || slices.Contains(x.history(id), sid) {
		return true
	}
	implied := x.Implied(id)
	if slices.Contains(implied, sid) {
		return true
	}
	for _, group := range x.groups[sid] {
		if dom >= 0 && !x.counts(group, dom) {
			continue
		}
		if x.comesTo(id, implied, func(to forest.ID) bool { return leads(to, group) }) {
			return true
		}
		for _, p := range g.local[id] {
			if leads(p, group) && (dom < 0 || x.counts(p, dom)) {
				return true
			}
		}
	}
	return false
}

// through notes how v fulfilled a joint, and visits it.
func (q *search) through(v node, st step, chosen []picked, ways []way) {
	st, more := q.sol.g.shown(st, chosen)
	if len(more) > 0 || len(ways) > 0 {
		q.detail = append(q.detail, detail{more: more, first: ways})
		st.aux = int32(len(q.detail) - 1)
	}
	q.visit(v, st)
}

// shown returns the step by which a joint is fulfilled, and the entries that it
// needs beside that of the step.
func (g *Graph) shown(st step, chosen []picked) (with step, more []source) {
	for i, p := range chosen {
		at := g.source(p.leg, p.grant)
		if i == 0 && at.text == "" {
			st.via, st.ace = at.via, at.ace
			continue
		}
		more = append(more, at)
	}
	return st, more
}

// helper returns the search for what can add members to one of groups.
func (sol *solver) helper(groups []forest.ID) *search {
	key := "+" + keyOf(groups)
	q, ok := sol.searches[key]
	if !ok {
		q = sol.add(nil)
		sol.searches[key] = q
		sol.trace.root(groups)
		q.ending = true
		for _, id := range groups {
			q.controllers(id)
		}
		q.ending = false
	}
	return q
}

// reaching returns the search for what can become one of accounts.
func (sol *solver) reaching(accounts []forest.ID) *search {
	key := "=" + keyOf(accounts)
	q, ok := sol.searches[key]
	if !ok {
		goals := make([]node, len(accounts))
		for i, id := range accounts {
			goals[i] = node(id)
		}
		q = sol.add(goals)
		sol.searches[key] = q
	}
	return q
}

// gaining returns the search for what can gain v.
func (sol *solver) gaining(v node) *search {
	key := "!" + keyOf([]forest.ID{forest.ID(v)})
	q, ok := sol.searches[key]
	if !ok {
		q = sol.add([]node{v})
		sol.searches[key] = q
	}
	return q
}

func keyOf(ids []forest.ID) string {
	var b strings.Builder
	b.Grow(4 * len(ids))
	for _, id := range ids {
		b.Write([]byte{byte(id), byte(id >> 8), byte(id >> 16), byte(id >> 24)})
	}
	return b.String()
}

// A held is the answer of holding, kept.
type held struct{ accounts, groups []forest.ID }

type heldKey struct {
	sid secdesc.SID
	dom int16
}

// holding is that of the prospect.
func (sol *solver) holding(sid secdesc.SID, dom int16) (accounts, groups []forest.ID) {
	h := sol.prospect.holding(sid, dom)
	return h.accounts, h.groups
}

// principals returns both of what holding does as one list, which is kept.
func (sol *solver) principals(sid secdesc.SID, dom int16) []forest.ID {
	key := heldKey{sid, dom}
	list, ok := sol.both[key]
	if !ok {
		accounts, groups := sol.holding(sid, dom)
		list = sortIDs(slices.Concat(accounts, groups))
		sol.both[key] = list
	}
	return list
}

func (g *Graph) whoHolds(sid secdesc.SID, dom int16) held {
	var h held
	g.holders(sid, dom, func(v node) {
		w, isVirtual := g.what(v)
		switch {
		case isVirtual && isIdentity(w.sid):
			h.everyone(g, w.sid)
		case isVirtual:
			for _, e := range g.extra[v] {
				if e.kind != SIDHistory {
					continue
				}
				if id := forest.ID(e.from); g.x.group[id] == notGroup {
					h.accounts = append(h.accounts, id)
				} else {
					h.group(g, id)
				}
			}
		case g.x.group[v] == notGroup:
			h.accounts = append(h.accounts, forest.ID(v))
		default:
			h.group(g, forest.ID(v))
		}
	})
	return held{sortIDs(h.accounts), sortIDs(h.groups)}
}

// everyone adds the accounts that hold a well-known identity.
func (h *held) everyone(g *Graph, identity secdesc.SID) {
	for _, id := range g.accounts() {
		if slices.Contains(g.x.Implied(id), identity) {
			h.accounts = append(h.accounts, id)
		}
	}
}

// group adds what is in group id.
func (h *held) group(g *Graph, id forest.ID) {
	h.groups = append(append(h.groups, id), g.x.Nested(id)...)
	for _, m := range g.x.Members(id) {
		switch {
		case !g.s.IsA(m, "foreignSecurityPrincipal"):
			h.accounts = append(h.accounts, m)
		case isIdentity(g.s.SID(m)):
			h.everyone(g, g.s.SID(m))
		}
	}
	for a, in := range g.local {
		if slices.ContainsFunc(in, func(p forest.ID) bool { _, ok := slices.BinarySearch(g.x.above(p), id); return ok }) {
			if g.x.group[a] == notGroup {
				h.accounts = append(h.accounts, a)
			} else {
				h.groups = append(h.groups, a)
			}
		}
	}
}

func sortIDs(ids []forest.ID) []forest.ID {
	slices.Sort(ids)
	return slices.Compact(ids)
}

// intersect returns what is in both of two lists in ID order.
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
