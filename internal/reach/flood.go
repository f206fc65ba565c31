package reach

import (
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A ref is a grant in the list of those with equal grants.
type ref struct {
	share uint32
	index int32
}

// byTrustee returns the grants of every SID, and the pairings of every descriptor;
// it is made when it is first asked for.
func (g *Graph) byTrustee() *trustees {
	g.byWhoOnce.Do(func() {
		t := &trustees{grants: map[secdesc.SID][]ref{}, objects: make([][]forest.ID, len(g.shared))}
		for id := range forest.ID(g.n) {
			t.objects[g.sharer[id]] = append(t.objects[g.sharer[id]], id)
		}
		for i := range g.shared {
			gr := g.grantsAt(uint32(i))
			for k := range gr.list {
				who := gr.list[k].who
				t.grants[who] = append(t.grants[who], ref{uint32(i), int32(k)})
			}
			if len(gr.pairs) > 0 {
				t.paired = append(t.paired, uint32(i))
			}
		}
		t.addPolicies(g)
		g.byWho = t
	})
	return g.byWho
}

type trustees struct {
	grants  map[secdesc.SID][]ref
	paired  []uint32      // shares that have pairings
	objects [][]forest.ID // by share
	hosts   map[secdesc.SID][]hostRef
	files   map[secdesc.SID][]fileRef
	targets map[forest.ID][]target    // by policy
	homes   map[forest.ID][]forest.ID // accounts by container
}

// A hostRef is power over the hosts of a scope.
type hostRef struct {
	scope gpo.ScopeID
	dom   int16
	cond  cond
}

// A fileRef is the right to write files of a policy.
type fileRef struct {
	policy forest.ID
	cond   cond
	guards *joint // nil: nothing is denied before
}

// A target is a container whose accounts a policy is linked to.
type target struct {
	container forest.ID
	cond      cond
}

func (t *trustees) addPolicies(g *Graph) {
	t.hosts, t.files = map[secdesc.SID][]hostRef{}, map[secdesc.SID][]fileRef{}
	t.targets, t.homes = map[forest.ID][]target{}, map[forest.ID][]forest.ID{}
	for _, a := range g.accounts() {
		p := g.s.Parent(a)
		t.homes[p] = append(t.homes[p], a)
	}
	for c := range t.homes {
		if c == forest.None {
			continue
		}
		list, _ := g.linkedTo(c)
		for _, l := range list {
			t.targets[l.policy] = append(t.targets[l.policy], target{c, l.cond})
		}
	}
	for policy, list := range g.files {
		for _, f := range list {
			for i := range f.grants.list {
				one := &f.grants.list[i]
				r := fileRef{policy: policy, cond: one.cond}
				if len(one.deny) > 0 {
					r.guards = &joint{to: g.facetOf(policy, filing), legs: []leg{{id: policy, dom: g.x.domain[policy], grants: f.grants.list[i : i+1], where: f.file, in: f.d}}}
				}
				t.files[one.who] = append(t.files[one.who], r)
			}
		}
	}
	if g.gpo == nil {
		return
	}
	for i := range g.gpo.Scopes() {
		scope := gpo.ScopeID(i)
		r := g.gpo.Result(scope)
		dom := int16(-1) // its containers were not read
		if r.Container != forest.None {
			dom = g.x.domain[r.Container]
		}
		for _, h := range g.hostPower(r) {
			t.hosts[h.sid] = append(t.hosts[h.sid], hostRef{scope, dom, h.cond})
		}
	}
}

// A flood finds everything that one principal can gain.
type flood struct {
	g        *Graph
	t        *trustees
	possible bool
	got      map[node]bool
	static   map[node]bool // groups among them that gained accounts are members of, and that nobody can be added to so far
	queue    []node
	actors   []forest.ID             // gained accounts, any of which may act; a group that is asked about stands for a new member of it
	chosen   map[forest.ID]bool      // groups whose members it chooses: any gained account can be one
	held     map[heldSID]bool        // by some gained account, for sure or by joining
	bringing map[heldKey][]forest.ID // groups whose members hold a SID
	bare     bool                    // new members of a group are looked at without what everyone holds
	pending  []ref                   // guarded grants
	joints   []*joint
}

// Gains returns everything that id can gain, itself included, of a group what each new
// member can: objects in ID order.
// With possible it follows edges that hold only if a condition does.
func (g *Graph) Gains(id forest.ID, possible bool) []forest.ID {
	f := &flood{
		g: g, t: g.byTrustee(), possible: possible, got: map[node]bool{}, static: map[node]bool{}, chosen: map[forest.ID]bool{},
		held: map[heldSID]bool{}, bringing: map[heldKey][]forest.ID{},
	}
	f.addJoints()
	f.begin(id)
	for progress := true; progress; {
		progress = f.drain()
		waiting := len(f.pending)
		f.pending = slices.DeleteFunc(f.pending, f.guarded)
		progress = progress || len(f.pending) < waiting
		for _, j := range f.joints {
			progress = f.joint(j) || progress
		}
	}
	var out []forest.ID
	for v := range f.got {
		if v < g.n {
			out = append(out, forest.ID(v))
		}
	}
	return sortIDs(out)
}

// begin gains id. A foreign security principal stands for the principal behind it,
// which acts with the memberships that the forest gives it.
func (f *flood) begin(id forest.ID) {
	if !f.g.x.isForeign(id) {
		if f.g.x.group[id] > distribution {
			f.actors = append(f.actors, id)
		}
		f.gain(node(id))
		return
	}
	f.got[node(id)] = true
	f.gain(f.g.behind(id))
	if f.g.x.standsFor(id) == forest.None {
		f.account(id)
	}
}

func (f *flood) addJoints() {
	for _, list := range f.g.joints {
		for i := range list {
			f.joints = append(f.joints, &list[i])
		}
	}
	for _, i := range f.t.paired {
		gr, dom := f.g.grantsAt(i), f.g.shared[i].dom
		for k := range gr.pairs {
			p := &gr.pairs[k]
			for _, id := range f.t.objects[i] {
				for _, d := range f.g.answering(dom) {
					f.joints = append(f.joints, p.joint(f.g.facetOf(id, p.gives), id, d))
				}
			}
		}
	}
}

func (f *flood) gain(v node) bool {
	if f.got[v] && !f.static[v] {
		return false
	}
	delete(f.static, v)
	f.got[v] = true
	f.queue = append(f.queue, v)
	return true
}

// choose gains control of v. Of a group that is to choose its members, which is more
// than to be one.
func (f *flood) choose(v node) bool {
	progress := f.gain(v)
	if v < f.g.n && f.g.x.group[v] > distribution && !f.chosen[forest.ID(v)] {
		f.chosen[forest.ID(v)] = true
		return true
	}
	return progress
}

// follow gains what an edge of structure leads to.
func (f *flood) follow(e edge) {
	switch {
	case !f.allows(e.cond):
	case e.kind == ProtectedBy:
		f.choose(e.to)
	default:
		f.gain(e.to)
	}
}

func (f *flood) drain() bool {
	began := len(f.queue)
	for len(f.queue) > 0 {
		v := f.queue[len(f.queue)-1]
		f.queue = f.queue[:len(f.queue)-1]
		f.expand(v)
	}
	return began > 0
}

func (f *flood) allows(c cond) bool { return c == certain || f.possible }

func (f *flood) expand(v node) {
	g := f.g
	for _, e := range g.outward[v] {
		f.follow(e)
	}
	w, isVirtual := g.what(v)
	if isVirtual {
		f.part(w)
		return
	}
	id := forest.ID(v)
	switch {
	case g.x.isAccount(id):
		f.account(id)
	case g.x.group[id] > distribution:
		f.group(id)
	}
	if g.wholeOf(id) == v {
		f.whole(id)
	}
}

// whole adds what full control of an object gives.
func (f *flood) whole(id forest.ID) {
	g := f.g
	f.below(id)
	if g.isHead[id] {
		for a := range forest.ID(g.n) {
			if g.x.domain[a] == g.x.domain[id] && g.x.isAccount(a) {
				f.gain(g.wholeOf(a))
			}
		}
	}
	f.parts(id)
}

// account adds what the token of a gained account holds.
func (f *flood) account(id forest.ID) {
	g := f.g
	f.actors = append(f.actors, id)
	for dom := range int16(max(1, len(g.s.Domains()))) {
		for _, sid := range g.tokenAt(id, dom) {
			f.hold(sid, dom)
		}
	}
	for _, group := range g.x.GroupsOf(id) { // those of other domains, too
		if g.x.group[group] > distribution {
			f.member(node(group))
		}
	}
	for _, sid := range g.x.Implied(id) { // Authenticated Users may be members of groups
		for _, stand := range g.x.foreign[sid] {
			for _, group := range g.x.above(stand) {
				if g.x.group[group] > distribution {
					f.member(node(group))
				}
			}
		}
	}
}

// member notes a membership that a gained account has: unlike one that can be
// given, it brings nothing to other accounts.
func (f *flood) member(group node) {
	if f.got[group] {
		return
	}
	f.got[group], f.static[group] = true, true
	for _, e := range f.g.outward[group] {
		f.follow(e)
	}
}

// group adds what membership of a group that can be joined brings: its SID, those
// of the groups above it, and those of their SID histories.
func (f *flood) group(id forest.ID) {
	g := f.g
	for _, up := range g.x.above(id) {
		if g.x.group[up] > distribution {
			dom := everywhere
			if g.x.group[up] == domainLocal {
				dom = g.x.domain[up]
			}
			f.hold(g.s.SID(up), dom)
			for _, past := range g.x.history(up) {
				f.hold(past, dom)
			}
			f.gain(node(up))
		}
	}
}

// everywhere is the domain of SIDs that are part of a token in any.
const everywhere int16 = -1

// A heldSID is a SID with the domain on whose controllers it is part of a token:
// built-in groups have one SID in all domains.
type heldSID struct {
	sid secdesc.SID
	dom int16
}

// hold follows the grants of a SID that tokens have on the domain controllers of a
// domain, or everywhere.
func (f *flood) hold(sid secdesc.SID, dom int16) {
	g := f.g
	if sid.IsZero() || f.held[heldSID{sid, dom}] || f.held[heldSID{sid, everywhere}] {
		return
	}
	f.held[heldSID{sid, dom}] = true
	here := func(of int16) bool { return dom == everywhere || of < 0 || of == dom }
	if isIdentity(sid) {
		f.gain(g.identity(sid))
	} else if v, ok := g.known(sid); ok {
		f.gain(v)
	}
	for _, h := range f.t.hosts[sid] {
		if f.allows(h.cond) && here(h.dom) {
			f.gainAll(g.gpo.Computers(h.scope))
		}
	}
	for _, h := range f.t.files[sid] {
		switch {
		case !f.allows(h.cond) || !here(g.x.domain[h.policy]):
		case h.guards != nil:
			f.joints = append(f.joints, h.guards)
		default:
			f.gain(g.facetOf(h.policy, filing))
		}
	}
	for _, r := range f.t.grants[sid] {
		one := &g.grantsAt(r.share).list[r.index]
		switch {
		case !f.allows(one.cond) || !here(g.shared[r.share].dom):
		case len(one.deny) > 0:
			f.pending = append(f.pending, r)
		default:
			f.take(r.share, one)
		}
	}
}

// known returns the node of a SID without an object that some edge speaks of.
func (g *Graph) known(sid secdesc.SID) (node, bool) {
	if v, ok := g.inherited(func(of *Graph) (node, bool) { return of.known(sid) }); ok {
		return v, true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	v, ok := g.bySID[sid]
	return v, ok
}

// take gains a facet of all objects of a share by a grant.
func (f *flood) take(share uint32, by *grant) {
	for _, id := range f.t.objects[share] {
		if v := f.g.facetOf(id, by.gives); by.kind == AddSelf {
			f.gain(v)
		} else {
			f.choose(v)
		}
	}
}

// guarded tries a grant that an entry before it denies to some, and reports whether
// somebody passes.
func (f *flood) guarded(r ref) bool {
	one := &f.g.grantsAt(r.share).list[r.index]
	for _, dom := range f.g.answering(f.g.shared[r.share].dom) {
		if slices.ContainsFunc(f.actors, func(a forest.ID) bool { return f.passes(a, []drawn{{one, dom}}) }) {
			f.take(r.share, one)
			return true
		}
	}
	return false
}

// A drawn is a grant that is to be used on a domain controller of a domain.
type drawn struct {
	grant *grant
	dom   int16
}

// passes reports whether the token of actor a holds all grants or can be made to,
// and nothing before one of them stops it, with what it was made a member of.
func (f *flood) passes(a forest.ID, all []drawn) bool {
	var deny []denial
	for _, d := range all {
		deny = append(deny, denials(d.grant.deny, d.dom)...)
	}
	if f.stopped(a, deny) {
		return false
	}
	gets := func(d drawn) bool {
		return f.holds(a, d.grant.who, d.dom) || f.canHold(a, d.grant.who, d.dom, deny, nil)
	}
	if slices.ContainsFunc(all, func(d drawn) bool { return !gets(d) }) {
		return false
	}
	if f.g.x.group[a] == notGroup {
		return true
	}
	f.bare = true // what everyone can is nothing that a membership gives
	defer func() { f.bare = false }()
	return slices.ContainsFunc(all, gets)
}

// stopped reports whether a denial stops actor a: of the members of a group any may.
func (f *flood) stopped(a forest.ID, deny []denial) bool {
	if f.g.x.group[a] != notGroup {
		return len(deny) > 0
	}
	return f.g.stopped(a, deny)
}

// holds reports whether the token of actor a holds a SID as it is.
func (f *flood) holds(a forest.ID, sid secdesc.SID, dom int16) bool {
	if f.g.x.group[a] != notGroup {
		return sid == secdesc.Everyone && !f.bare || slices.Contains(f.bring(sid, dom), a)
	}
	return f.g.holds(a, sid, dom)
}

// bring returns the groups whose members hold a SID.
func (f *flood) bring(sid secdesc.SID, dom int16) []forest.ID {
	key := heldKey{sid, dom}
	groups, ok := f.bringing[key]
	if !ok {
		groups = f.g.whoHolds(sid, dom).groups
		f.bringing[key] = groups
	}
	return groups
}

// canHold reports whether actor a can be made a member of a group that brings a SID
// and that no denial stops.
func (f *flood) canHold(a forest.ID, sid secdesc.SID, dom int16, deny []denial, tried []forest.ID) bool {
	return slices.ContainsFunc(f.bring(sid, dom), func(id forest.ID) bool {
		return (f.chosen[id] || f.joins(a, id, tried)) && !f.g.stopped(id, deny)
	})
}

// joins reports whether actor a can add itself to a group, if need be by way of
// others: tried are those on the way.
func (f *flood) joins(a, group forest.ID, tried []forest.ID) bool {
	g := f.g
	if slices.Contains(tried, group) {
		return false
	}
	tried = append(tried[:len(tried):len(tried)], group)
	list, dom := g.grantsOf(group).list, g.x.domain[group]
	return slices.ContainsFunc(list, func(one grant) bool {
		if one.kind != AddSelf || !f.allows(one.cond) {
			return false
		}
		deny := denials(one.deny, dom)
		return !f.stopped(a, deny) && (f.holds(a, one.who, dom) || f.canHold(a, one.who, dom, deny, tried))
	})
}

func (f *flood) joint(j *joint) bool {
	if f.got[j.to] && !f.static[j.to] && !f.more(j) || !f.allows(j.cond) || slices.ContainsFunc(j.gains, func(v node) bool { return !f.got[v] }) {
		return false
	}
	switch {
	case j.asIs && !f.fulfilled(j.legs):
		return false
	case !j.asIs && len(j.legs) > 0 && !slices.ContainsFunc(f.actors, func(a forest.ID) bool { return f.walks(a, j.legs, f.passes) }):
		return false
	}
	if j.kind == Contains {
		return f.choose(j.to)
	}
	return f.gain(j.to)
}

// more reports whether a joint gives the choice of the members of a group that was
// gained without.
func (f *flood) more(j *joint) bool {
	return j.kind == Contains && j.to < f.g.n && f.g.x.group[j.to] > distribution && !f.chosen[forest.ID(j.to)]
}

// fulfilled reports whether some actor holds a grant of every leg without being given
// a membership, or membership of one group brings them all to everybody.
func (f *flood) fulfilled(legs []leg) bool {
	for i := range legs {
		if !slices.ContainsFunc(legs[i].grants, func(one grant) bool {
			return one.who == secdesc.Everyone || f.held[heldSID{one.who, legs[i].dom}] || f.held[heldSID{one.who, everywhere}]
		}) {
			return false
		}
	}
	for v := range f.got {
		if v >= f.g.n || f.static[v] || !f.g.isPrincipal(v) {
			continue
		}
		if f.walks(forest.ID(v), legs, f.passesAsIs) {
			return true
		}
	}
	return false
}

// passesAsIs is passes for the token that a has.
func (f *flood) passesAsIs(a forest.ID, all []drawn) bool {
	return !slices.ContainsFunc(all, func(d drawn) bool {
		return f.stopped(a, denials(d.grant.deny, d.dom)) || !f.holds(a, d.grant.who, d.dom)
	})
}

// walks reports whether actor a passes with a grant of every leg, beside those that
// were chosen already.
func (f *flood) walks(a forest.ID, legs []leg, passes func(forest.ID, []drawn) bool, chosen ...drawn) bool {
	if len(legs) == 0 {
		return passes(a, chosen)
	}
	l := &legs[0]
	for i := range l.grants {
		if one := &l.grants[i]; f.allows(one.cond) {
			with := append(chosen[:len(chosen):len(chosen)], drawn{one, l.dom})
			if f.walks(a, legs[1:], passes, with...) {
				return true
			}
		}
	}
	return false
}

// below adds the children that inherit permissions from a controlled container.
func (f *flood) below(id forest.ID) {
	for c := range f.g.s.Children(id) {
		if f.g.protected(c) || f.g.isPartition(c) {
			continue
		}
		handed := f.g.grantsOf(c).handed
		if len(handed) == 1 && len(handed[0].deny) == 0 && handed[0].cond == certain {
			f.choose(f.g.wholeOf(c))
			continue
		}
		for k := range handed {
			f.joints = append(f.joints, f.g.handing(c, id, f.g.wholeOf(c), &handed[k], false))
		}
	}
}

// parts adds the facets that full control of an object includes.
func (f *flood) parts(id forest.ID) {
	g := f.g
	for part := control + 1; part < numFacets; part++ {
		if f.hasPart(id, part) {
			f.gain(g.facetOf(id, part))
		}
	}
	for _, t := range f.t.targets[id] {
		if f.allows(t.cond) {
			f.gainAll(f.t.homes[t.container])
		}
	}
}

// part adds what a facet of an object gives.
func (f *flood) part(w virtual) {
	g := f.g
	switch {
	case w.object == forest.None:
	case w.facet == owning:
		f.gain(node(w.object))
		f.whole(w.object)
	case !f.hasPart(w.object, w.facet): // a right that means nothing there
	case w.facet == linking && slices.Contains(g.sites, w.object):
		if len(g.sites) == 1 || f.possible {
			f.gainAll(g.accounts())
		}
	case w.facet == linking:
		f.placed(w.object)
	case w.facet == filtered:
		for _, a := range g.accounts() {
			if g.x.domain[a] == g.x.domain[w.object] && g.hasLAPS(a) {
				f.gain(node(a))
			}
		}
	case w.facet == filing:
		f.applied(w.object)
	case w.facet == managing:
		f.gain(node(w.object))
	case !f.possible:
	case w.facet == creating && g.succeeds(w.object), w.facet == naming && g.canEnrollUnnamed(w.object):
		if d := g.headOf(w.object); d != forest.None {
			f.gain(node(d))
		}
	case w.facet == revealing:
		for _, a := range g.accounts() {
			if g.x.domain[a] == g.x.domain[w.object] {
				f.gain(node(a))
			}
		}
	}
}

// placed adds the accounts to which the links of a container apply: those below it,
// but for other domains and what is below containers that were not read.
func (f *flood) placed(container forest.ID) {
	for c := range f.g.s.Children(container) {
		if f.g.isHead[c] {
			continue
		}
		if f.g.x.isAccount(c) {
			f.gain(node(c))
		}
		f.placed(c)
	}
}

// applied adds the hosts that apply a policy.
func (f *flood) applied(policy forest.ID) {
	g := f.g
	if g.gpo == nil {
		return
	}
	for i := range g.gpo.Scopes() {
		for _, p := range g.gpo.Result(gpo.ScopeID(i)).Policies {
			if p.Policy != nil && p.Policy.ID == policy && (len(p.When) == 0 || f.possible) {
				f.gainAll(g.gpo.Computers(gpo.ScopeID(i)))
			}
		}
	}
}

func (f *flood) gainAll(ids []forest.ID) {
	for _, id := range ids {
		f.gain(node(id))
	}
}

// canEnrollUnnamed reports whether account a may enroll for a template whose
// certificates name nobody for sure.
func (g *Graph) canEnrollUnnamed(a forest.ID) bool {
	return slices.ContainsFunc(g.unnamed, func(t forest.ID) bool {
		return slices.ContainsFunc(g.grantsOf(t).of(enrolling), func(one grant) bool {
			return g.holds(a, one.who, g.x.domain[t]) && !g.stopped(a, denials(one.deny, g.x.domain[t]))
		})
	})
}

// hasPart reports whether a facet of an object gives anything.
func (f *flood) hasPart(id forest.ID, part facet) bool {
	g := f.g
	switch a := g.classes[g.s.ClassIndex(id)].aspect; part {
	case linking:
		return g.takesLinks(id) || slices.Contains(g.sites, id)
	case filing:
		return a == policyAspect
	case enrolling:
		return a == templateAspect || a == authorityAspect
	case revealing, managing:
		return slices.Contains(g.rodcs, id)
	case naming:
		return f.possible && len(g.unnamed) > 0 && g.x.isAccount(id)
	case creating:
		return f.possible && g.succeeds(id)
	case filtered:
		return g.isHead[id]
	}
	return false
}
