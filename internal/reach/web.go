package reach

import (
	"encoding/binary"
	"slices"
	"sync"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A web is everything that leads to the goals of a search for certain, as a graph
// whose edges lead away from the goals. Its vertices are the root, 0, from which
// edges lead to the goals; the nodes that were found, goals first; and units and
// hubs. A unit that is one edge, such as a membership, is no vertex: its edge is
// marked.
type web struct {
	g      *Graph
	q      *search  // that found everything
	again  *search  // that goes through it once more
	number []uint32 // by node: its vertex; 0 if it was not found
	node   []node   // by vertex, of those that are nodes
	goals  uint32   // how many vertices are goals
	nodes  uint32   // how many are nodes
	more   []extra  // the vertices after those
	edges  edgeList
	at     uint32 // if not 0: the hub from which steps begin
	bare   bool   // see newBareWeb

	shared  map[forest.ID]bool // objects whose entries may be more than one edge
	units   map[unitKey]uint32
	hubs    map[hubKey]uint32
	who     map[heldKey][]uint32
	shares  []shareArcs
	origins map[string]uint32 // units of inherited entries, by entry, container and class
	parsed  map[forest.ID]*secdesc.Descriptor
	key     []byte
}

// An extra vertex is a unit, or a hub: what the accounts of a container, or the
// hosts of a scope, have in common.
type extra struct {
	key  unitKey
	kind Kind   // of a unit: the strongest of its steps; NoKind of a hub
	last uint32 // where the last edge from here leads
}

// hubKey tells hubs apart.
type hubKey struct {
	container forest.ID
	scope     gpo.ScopeID // if container is None
}

// A mark says which unit an edge is by itself.
type mark uint32

const (
	plain mark = iota
	byMember
	byPrimary
	byLAPS  // the filtered attributes of one computer
	byOwner // of the object where the edge begins
	byEntry // this and what follows: an entry of that object, by its index

	markBits = 6
	marks    = 1<<markBits - 1
)

// An edgeList collects edges in pieces, so that it need not move them to grow.
type edgeList struct {
	full [][]uint64
	last []uint64
}

func (l *edgeList) add(from, to uint32, m mark) {
	if len(l.last) == cap(l.last) {
		if l.last != nil {
			l.full = append(l.full, l.last)
		}
		l.last = make([]uint64, 0, min(1<<16, 64+4*cap(l.last)))
	}
	l.last = append(l.last, uint64(from)<<32|uint64(to)<<markBits|uint64(m))
}

// pieces returns all edges: from<<32 | to<<markBits | mark.
func (l *edgeList) pieces() [][]uint64 { return append(slices.Clip(l.full), l.last) }

// shareArcs are the certain grants of a share to others than goals.
type shareArcs struct {
	held   [2][]webArc // by control and owning
	listed [2]bool
	at     [2]uint32 // 2 + the container of the object whose entries units were found for
}

// A webArc leads from a facet of an object to who is granted it.
type webArc struct {
	to   uint32
	unit uint32 // of an inherited entry; 0: see web.own
	ace  int32
	kind Kind
	own  bool // the entry is inherited, and nobody knows where from
	many bool // the entry leads to others, too
}

// newWeb spells out everything that leads to the goals of q, which is finished.
func newWeb(q *search) *web {
	w := emptyWeb(q)
	w.enumerate()
	w.findShared()
	w.fill()
	return w
}

func emptyWeb(q *search) *web {
	g := q.sol.g
	w := &web{
		g: g, q: q, nodes: uint32(len(q.queue)), shared: map[forest.ID]bool{},
		units: map[unitKey]uint32{}, hubs: map[hubKey]uint32{}, who: map[heldKey][]uint32{},
		origins: map[string]uint32{}, parsed: map[forest.ID]*secdesc.Descriptor{},
	}
	w.again = &search{sol: newSolver(g, false), web: w, homes: newIDSet(int(g.n)), links: map[forest.ID]bool{}, scopes: map[gpo.ScopeID]bool{}}
	return w
}

// fill adds all edges but those from the root.
func (w *web) fill() {
	members := w.membersAside()
	for v, i := range w.number {
		if i != 0 {
			w.again.expand(node(v))
		}
	}
	if !w.bare {
		for i := range w.q.tasks {
			w.joint(&w.q.tasks[i])
		}
	}
	members()
	w.shares, w.origins, w.parsed, w.who, w.again = nil, nil, nil, nil, nil
}

// enumerate numbers the nodes, objects by ID, and adds the edges from the root.
func (w *web) enumerate() {
	most := w.g.n
	for _, v := range w.q.queue {
		most = max(most, v+1)
	}
	w.number = make([]uint32, most)
	w.node = make([]node, 1, len(w.q.queue)+1)
	w.node[0] = noNode
	w.shares = make([]shareArcs, len(w.g.shared))
	const found = 1
	for _, v := range w.q.queue {
		w.number[v] = found
		if w.q.get(v).kind == goalKind {
			w.goals++
			w.edges.add(0, w.goals, plain)
			w.number[v] = w.goals + found
			w.node = append(w.node, v)
		}
	}
	for v, is := range w.number {
		switch is {
		case 0:
		case found:
			w.number[v] = uint32(len(w.node))
			w.node = append(w.node, node(v))
		default:
			w.number[v] -= found
		}
	}
}

// findShared finds the objects of which an entry may be more than one edge: their
// facets were found by themselves, or their entries have a part in joints or are
// copied elsewhere. Objects that contain others are not among them; see own.
func (w *web) findShared() {
	for _, v := range w.node[1:] {
		if what, ok := w.g.what(v); ok && what.object != forest.None {
			w.shared[what.object] = true
		}
	}
	for i := range w.q.tasks {
		for k := range w.q.tasks[i].meetings {
			for _, p := range w.q.tasks[i].meetings[k].chosen {
				w.shared[p.leg.id] = true
			}
		}
	}
	for _, holder := range w.g.stamp {
		w.shared[holder] = true
	}
}

// membersAside follows the memberships beside everything else. What it returns
// waits for that and takes the edges over.
func (w *web) membersAside() (wait func()) {
	var found edgeList
	var foreign []memberPair
	var beside sync.WaitGroup
	beside.Go(func() {
		for _, v := range w.q.queue {
			if v < w.g.n && w.g.x.group[v] > distribution {
				foreign = append(foreign, w.members(forest.ID(v), &found)...)
			}
		}
	})
	return func() {
		beside.Wait()
		w.edges.full = append(w.edges.full, found.pieces()...)
		for _, p := range foreign {
			w.step(w.g.behind(p.member), step{next: node(p.group), kind: Membership, ace: implicit, via: p.member, aux: -1})
		}
	}
}

// members adds the edges of the memberships that are a unit each, and returns those
// of foreign security principals.
func (w *web) members(id forest.ID, out *edgeList) (foreign []memberPair) {
	x, from := w.g.x, w.number[id]
	links, _ := x.s.Links(id, forest.Member)
	for _, m := range links {
		switch to := w.number[m]; {
		case x.isForeign(m):
			foreign = append(foreign, memberPair{id, m})
		case to > w.goals && x.group[m] != distribution:
			out.add(from, to, byMember)
		}
	}
	if p, ok := x.pupilOf[id]; ok {
		for _, m := range x.pupils[p] {
			if to := w.number[m]; to > w.goals {
				out.add(from, to, byPrimary)
			}
		}
	}
	return foreign
}

// vertex returns the number of a node, 0 if it was not found.
func (w *web) vertex(v node) uint32 {
	if int(v) < len(w.number) {
		return w.number[v]
	}
	return 0
}

// begins returns the vertex from which a step to next begins.
func (w *web) begins(next node) uint32 {
	if w.at != 0 {
		return w.at
	}
	return w.vertex(next)
}

// step adds what leads from st.next to v.
func (w *web) step(v node, st step) {
	from, to := w.begins(st.next), w.vertex(v)
	if from == 0 || to <= w.goals {
		return
	}
	switch {
	case st.kind == Contains || st.kind == Includes || st.kind == WellKnownIdentity || st.kind == DomainOf:
		w.edges.add(from, to, plain)
		return
	case st.kind == ReadLAPS && st.aux >= 0 && st.next < w.g.n && st.via == forest.ID(st.next):
		w.edges.add(from, to, byLAPS)
		return
	}
	w.chain(from, to, w.again.units(v, st), st.kind)
}

// chain adds the edges from one vertex to another through units.
func (w *web) chain(from, to uint32, keys []unitKey, kind Kind) {
	if !w.bare {
		from = w.pass(from, keys, kind)
	}
	w.link(from, to)
}

// pass adds the edges from a vertex through units and returns the last one.
func (w *web) pass(from uint32, keys []unitKey, kind Kind) uint32 {
	for _, k := range keys {
		u := w.unit(k)
		w.through(from, u, kind)
		from = u
	}
	return from
}

// through adds an edge to a unit of a step.
func (w *web) through(from, unit uint32, kind Kind) {
	if from != unit {
		w.link(from, unit)
	}
	if e := &w.more[unit-w.nodes-1]; e.kind == NoKind || kind < e.kind {
		e.kind = kind
	}
}

// link adds an edge, unless it is the one added last from the same unit or hub.
func (w *web) link(from, to uint32) {
	if from > w.nodes {
		e := &w.more[from-w.nodes-1]
		if e.last == to {
			return
		}
		e.last = to
	}
	w.edges.add(from, to, plain)
}

func (w *web) addVertex(e extra) uint32 {
	w.more = append(w.more, e)
	return w.nodes + uint32(len(w.more))
}

func (w *web) unit(k unitKey) uint32 {
	u, ok := w.units[k]
	if !ok {
		u = w.addVertex(extra{key: k})
		w.units[k] = u
	}
	return u
}

// enter leads the steps that follow through a hub, to which an edge leads from v.
// It reports whether the hub is new: only then its steps are to be added, and then
// leave is to be called.
func (w *web) enter(k hubKey, v node) bool {
	h, ok := w.hubs[k]
	if !ok {
		h = w.addVertex(extra{})
		w.hubs[k] = h
	}
	w.edges.add(w.vertex(v), h, plain)
	if !ok {
		w.at = h
	}
	return !ok
}

func (w *web) leave() { w.at = 0 }

// rights adds what the descriptor of id gives to whom it does for certain.
func (w *web) rights(id forest.ID, f facet, to node) {
	from := w.begins(to)
	for _, a := range w.arcs(id, f) {
		if a.unit == 0 {
			w.own(id, a, from)
			continue
		}
		w.through(from, a.unit, a.kind)
		w.link(a.unit, a.to)
	}
}

// own adds what an entry of the object itself gives, or its owner.
func (w *web) own(id forest.ID, a webArc, from uint32) {
	_, stamped := w.g.stamp[id]
	alone := !a.many && from == w.number[id] && w.g.s.SubtreeEnd(id) == id+1 && !w.shared[id]
	switch {
	case w.bare:
		w.link(from, a.to)
	case a.ace != implicit && stamped && !a.own:
		w.chain(from, a.to, []unitKey{w.again.entryUnit(id, a.ace)}, a.kind)
	case a.ace != implicit && alone && mark(a.ace) <= marks-byEntry:
		w.edges.add(from, a.to, byEntry+mark(a.ace))
	case a.ace != implicit:
		w.chain(from, a.to, []unitKey{{object: id, ace: int(a.ace), member: forest.None}}, a.kind)
	case a.kind == Owner && alone:
		w.edges.add(from, a.to, byOwner)
	case a.kind == Owner || a.kind == NullDACL:
		w.chain(from, a.to, []unitKey{{kind: a.kind, object: id, ace: implicit, member: forest.None}}, a.kind)
	default:
		w.link(from, a.to)
	}
}

// arcs returns the certain grants of a facet of id to others than goals, with the
// units of inherited entries: objects of one share in one container inherit them
// from the same place.
func (w *web) arcs(id forest.ID, f facet) []webArc {
	share := w.g.sharer[id]
	if f != control && f != owning {
		out := w.listed(share, f)
		w.inherited(id, out)
		return out
	}
	slot := 0
	if f == owning {
		slot = 1
	}
	s := &w.shares[share]
	if !s.listed[slot] {
		s.held[slot], s.listed[slot] = w.listed(share, f), true
	}
	if at := uint32(w.g.s.Parent(id)) + 2; len(s.held[slot]) > 0 && s.at[slot] != at {
		s.at[slot] = at
		w.inherited(id, s.held[slot])
	}
	return s.held[slot]
}

// listed returns the certain grants of a facet to others than goals.
func (w *web) listed(share uint32, f facet) []webArc {
	var out []webArc
	list := w.g.grantsAt(share).list
	for k := range list {
		one := &list[k]
		if one.gives != f || one.cond != certain || len(one.deny) > 0 {
			continue
		}
		held := w.holders(one.who, w.g.shared[share].dom)
		for _, to := range held {
			out = append(out, webArc{to: to, ace: one.ace, kind: one.kind, many: len(held) > 1})
		}
	}
	return out
}

// holders returns the vertices, but for goals, that hold a SID.
func (w *web) holders(sid secdesc.SID, dom int16) []uint32 {
	key := heldKey{sid, dom}
	out, ok := w.who[key]
	if !ok {
		w.g.holders(sid, dom, func(v node) {
			if to := w.vertex(v); to > w.goals {
				out = append(out, to)
			}
		})
		w.who[key] = out
	}
	return out
}

// inherited finds the units of those of arcs that come from entries that id
// inherits.
func (w *web) inherited(id forest.ID, arcs []webArc) {
	if w.bare {
		return
	}
	share := w.g.shared[w.g.sharer[id]]
	for i := range arcs {
		a := &arcs[i]
		a.unit, a.own = 0, false
		if a.ace == implicit || share.desc == noIndex {
			continue
		}
		key, flags, ok := secdesc.AppendEntry(w.key[:0], w.g.s.DescriptorBytesAt(share.desc), int(a.ace))
		w.key = key
		if !ok || !flags.Has(secdesc.Inherited) {
			continue
		}
		a.unit = w.origin(id, len(key))
		a.own = a.unit == 0
	}
}

// origin returns the unit of the entry that id inherits, which the first length
// bytes of w.key say; 0 if it is not found.
func (w *web) origin(id forest.ID, length int) uint32 {
	g := w.g
	w.key = binary.LittleEndian.AppendUint32(w.key, uint32(g.s.Parent(id)))
	w.key = binary.LittleEndian.AppendUint32(w.key, uint32(g.s.ClassIndex(id)))
	if u, ok := w.origins[string(w.key)]; ok {
		return u
	}
	d, err := secdesc.Parse(w.key[:length])
	if err != nil {
		return 0
	}
	chain := []secdesc.Link{{Descriptor: d, Classes: []secdesc.GUID{g.classes[g.s.ClassIndex(id)].guid}}}
	var above []forest.ID
	for o := g.s.Parent(id); o != forest.None; o = g.s.Parent(o) {
		d := w.container(o)
		if d == nil {
			break
		}
		chain = append(chain, secdesc.Link{Descriptor: d, Classes: []secdesc.GUID{g.classes[g.s.ClassIndex(o)].guid}})
		above = append(above, o)
	}
	var u uint32
	if level, entry, ok := secdesc.Origin(chain, 0); ok && level > 0 {
		u = w.unit(unitKey{object: above[level-1], ace: entry, member: forest.None})
	}
	w.origins[string(w.key)] = u
	return u
}

// container returns the descriptor of a container, nil if it is not known. Those of
// all at once would take much room.
func (w *web) container(id forest.ID) *secdesc.Descriptor {
	d, ok := w.parsed[id]
	if !ok {
		if i, known := w.g.s.DescriptorIndex(id); known {
			d = w.g.s.ReadDescriptorAt(i, &secdesc.Reader{})
		}
		if len(w.parsed) > 256 {
			clear(w.parsed)
		}
		w.parsed[id] = d
	}
	return d
}

// joint adds the edges to those who fulfil a joint.
func (w *web) joint(t *task) {
	from := w.vertex(t.joint.to)
	if from == 0 || t.joint.cond != certain {
		return
	}
	for i := range t.meetings {
		m := &t.meetings[i]
		last := uint32(0) // of the units on the way, or from
		w.fulfilling(m, func(v node) {
			to := w.vertex(v)
			if to <= w.goals {
				return
			}
			if last == 0 {
				st, more := w.g.shown(m.st, m.chosen)
				w.again.detail = append(w.again.detail[:0], detail{more: more})
				st.aux = 0
				last = w.pass(from, w.again.units(v, st), m.st.kind)
			}
			w.link(last, to)
		})
	}
}

// fulfilling calls yield for the accounts that fulfil all demands of a meeting.
func (w *web) fulfilling(m *meeting, yield func(node)) {
	g, first := w.g, &m.all[0]
	if first.by == nil {
		own := first.own
		if first.anyBut != nil {
			own = w.again.sol.passing(g.accounts(), first.anyBut)
		}
		for _, a := range own {
			yield(node(a))
		}
		return
	}
	for _, v := range first.by.queue {
		if g.isPrincipal(v) && !slices.ContainsFunc(m.all, func(d demand) bool {
			return !d.has(g, forest.ID(v)) && (d.by == nil || !d.by.has(v))
		}) {
			yield(v)
		}
	}
}

// principal returns the account or group of vertex i, or None.
func (w *web) principal(i uint32) forest.ID {
	if i == 0 || i > w.nodes {
		return forest.None
	}
	if v := w.node[i]; v < w.g.n && (w.g.x.group[v] > distribution || w.g.x.isAccount(forest.ID(v))) {
		return forest.ID(v)
	}
	return forest.None
}

// isUnit reports whether vertex i is a unit.
func (w *web) isUnit(i uint32) bool { return i > w.nodes && w.more[i-w.nodes-1].kind != NoKind }

// size is the number of vertices.
func (w *web) size() int { return int(w.nodes) + len(w.more) + 1 }

// unitOf spells out the unit of vertex i.
func (w *web) unitOf(i uint32) Unit {
	e := &w.more[i-w.nodes-1]
	return w.g.unit(e.key, e.kind)
}

// unitOfEdge spells out the unit that a marked edge is.
func (w *web) unitOfEdge(from, to uint32, m mark) Unit {
	a, b := forest.ID(w.node[from]), forest.ID(w.node[to])
	switch m {
	case byMember:
		return Unit{Kind: Membership, Object: a, ACE: implicit, Member: b}
	case byPrimary:
		return Unit{Kind: PrimaryMembership, Object: a, ACE: implicit, Member: b}
	case byLAPS:
		return Unit{Kind: ReadLAPS, Object: a, ACE: implicit, Member: forest.None, Detail: filteredText}
	case byOwner:
		return Unit{Kind: Owner, Object: a, ACE: implicit, Member: forest.None}
	}
	ace := int32(m - byEntry)
	kind := numKinds
	for _, one := range w.g.grantsOf(a).list {
		if one.ace == ace && (one.gives == control || one.gives == owning) && one.cond == certain && len(one.deny) == 0 {
			kind = min(kind, one.kind)
		}
	}
	return w.g.unit(unitKey{object: a, ace: int(ace), member: forest.None}, kind)
}
