package reach

import (
	"maps"
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A memberPair is a link of a member attribute that a view has otherwise.
type memberPair struct{ group, member forest.ID }

// with returns the memberships of v, a view of the snapshot of x in which the given
// links differ. What lies above other groups is shared with x.
func (x *Index) with(v *forest.Snapshot, pairs []memberPair) *Index {
	y := *x
	y.s = v
	var nested []forest.ID
	for _, p := range pairs {
		if x.group[p.member] > distribution || x.is(p.member, hasForeign) {
			nested = append(nested, x.lower(p.member)...)
		}
		if x.unreadKind(p.member) != "" {
			y.opaque = maps.Clone(y.opaque)
			y.opaque[p.group] = withID(y.opaque[p.group], p.member, slices.Contains(v.Backlinks(p.member, forest.Member), p.group))
		}
	}
	if len(nested) == 0 {
		return &y
	}
	y.above, y.below = maps.Clone(x.above), maps.Clone(x.below)
	for _, id := range sortIDs(nested) {
		y.above[id] = y.higher(id)
		if x.group[id] <= distribution {
			continue
		}
		for _, g := range x.above[id] {
			y.below[g] = withID(y.below[g], id, false)
		}
		for _, g := range y.above[id] {
			y.below[g] = withID(y.below[g], id, g != id)
		}
	}
	return &y
}

// lower returns id, a group or foreign principal, and those below it.
func (x *Index) lower(id forest.ID) []forest.ID {
	out, seen := []forest.ID{}, map[forest.ID]bool{}
	add := func(at forest.ID) {
		if at != forest.None && !seen[at] && (x.group[at] > distribution || x.is(at, hasForeign)) {
			seen[at] = true
			out = append(out, at)
		}
	}
	add(id)
	for i := 0; i < len(out); i++ {
		links, _ := x.s.Links(out[i], forest.Member)
		for _, m := range links {
			add(m)
		}
		if x.is(out[i], hasForeign) {
			add(x.standsFor(out[i]))
			for _, f := range x.foreign[x.s.SID(out[i])] {
				add(f)
			}
		}
	}
	return out
}

// higher returns id and everything above it, in ID order.
func (x *Index) higher(id forest.ID) []forest.ID {
	out, seen := []forest.ID{id}, map[forest.ID]bool{id: true}
	for i := 0; i < len(out); i++ {
		x.up(out[i], func(to forest.ID, _ How) bool {
			if !seen[to] {
				seen[to] = true
				out = append(out, to)
			}
			return true
		})
	}
	slices.Sort(out)
	return out
}

// withID returns the ordered list with id in it, or without it; the list stays.
func withID(list []forest.ID, id forest.ID, there bool) []forest.ID {
	i, found := slices.BinarySearch(list, id)
	switch {
	case found == there:
		return list
	case there:
		return slices.Insert(slices.Clone(list), i, id)
	}
	return slices.Delete(slices.Clone(list), i, i+1)
}

// A bend prepares a view of a graph.
type bend struct {
	g         *Graph
	e         *forest.Edit
	v         *forest.Snapshot
	sharer    []uint32 // the graph's own until something changes
	shared    []*sharedGrants
	handed    map[handKey]handed
	left      map[uint32]bool // shared grants whose first object has others now
	pairs     []memberPair
	linked    bool               // links of policies changed
	filters   bool               // permissions of policies, or places of hosts
	changed   map[forest.ID]bool // descriptors
	described []forest.ID        // objects whose own descriptor was changed
	unread    int                // objects whose own permissions would change, and were not read
}

// handKey says what an object takes from its container: descriptors of that before
// and after, and what the object shares with others.
type handKey struct{ before, after, share uint32 }

type handed struct {
	desc, share uint32
	same        bool
	unread      bool
}

const noIndex = ^uint32(0)

// describe gives id a descriptor, and what lies below what it hands down now.
func (b *bend) describe(id forest.ID, d *secdesc.Descriptor) {
	before := b.index(id)
	after := b.e.AddDescriptor(d)
	b.put(id, after, b.share(b.sharer[id], after, id))
	b.hand(id, before, after)
}

// share adds what objects with a new descriptor share, which shared old before.
func (b *bend) share(old, desc uint32, first forest.ID) uint32 {
	b.shared = append(b.shared, &sharedGrants{first: first, desc: desc, sub: b.shared[old].sub, dom: b.shared[old].dom})
	return uint32(len(b.shared) - 1)
}

func (b *bend) put(id forest.ID, desc, share uint32) {
	b.e.SetDescriptor(id, desc)
	b.assign(id, share)
	if b.g.classes[b.v.ClassIndex(id)].aspect == policyAspect {
		b.filters = true
	}
	b.changed[id] = true
}

func (b *bend) assign(id forest.ID, share uint32) {
	if &b.sharer[0] == &b.g.sharer[0] {
		b.sharer = slices.Clone(b.sharer)
	}
	if old := b.sharer[id]; b.shared[old].first == id {
		b.left[old] = true
	}
	b.sharer[id] = share
}

// hand gives the children of id what it hands down since its descriptor changed.
func (b *bend) hand(id forest.ID, before, after uint32) {
	for c := range b.v.Children(id) {
		if b.headsPartition(c, id) {
			continue
		}
		was := b.index(c)
		key := handKey{before, after, b.sharer[c]}
		now, known := b.handed[key]
		if !known {
			now = b.inherit(c, key)
			b.handed[key] = now
		}
		if now.unread {
			b.unread++
		}
		if !now.same {
			b.put(c, now.desc, now.share)
			b.hand(c, was, now.desc)
		}
	}
}

// headsPartition reports whether a child is the head of another naming context: such
// inherits nothing ([MS-ADTS] 6.1.3).
func (b *bend) headsPartition(child, id forest.ID) bool {
	if x := b.g.x; x.domain[child] != x.domain[id] || x.domain[child] >= 0 {
		return x.domain[child] != x.domain[id]
	}
	it, _ := b.v.Int(child, forest.InstanceType)
	return it&1 != 0
}

// inherit computes what a child has once its container's descriptor has changed. A
// child that takes nothing else from it than before stays as it is.
func (b *bend) inherit(c forest.ID, key handKey) handed {
	own := b.at(b.shared[key.share].desc)
	if own == nil || own.Control.Has(secdesc.DACLProtected) {
		return handed{same: true, unread: own == nil}
	}
	before := secdesc.Propagate(b.at(key.before), own, b.classOf(c))
	after := secdesc.Propagate(b.at(key.after), own, b.classOf(c))
	if before.DACL.Equal(after.DACL) {
		return handed{same: true}
	}
	i := b.e.AddDescriptor(after)
	return handed{desc: i, share: b.share(key.share, i, c)}
}

func (b *bend) classOf(id forest.ID) []secdesc.GUID {
	return []secdesc.GUID{b.g.classes[b.v.ClassIndex(id)].guid}
}

// at returns the descriptor with an index; nil if it was not read.
func (b *bend) at(index uint32) *secdesc.Descriptor {
	if index == noIndex {
		return nil
	}
	return b.v.DescriptorAt(index)
}

// stamp gives the objects that AdminSDHolder covers what it has now, if they had
// what it had: the directory does it within the hour ([MS-ADTS] 3.1.1.6.1.2).
func (b *bend) stamp(holder forest.ID, was, now *secdesc.Descriptor) {
	for id, by := range b.g.stamp {
		d := b.at(b.index(id))
		if by == holder && d != nil && d.DACL.Equal(was.DACL) {
			next := d.Clone()
			next.DACL = now.DACL
			b.describe(id, next)
		}
	}
}

// judge looks at the state of an account again, which decides how rights on it count.
func (b *bend) judge(id forest.ID) {
	i := b.share(b.sharer[id], b.shared[b.sharer[id]].desc, id)
	uac, _ := b.v.Int(id, forest.UserAccountControl)
	b.shared[i].sub.noLogon = (b.shared[i].sub.aspect == userAspect || b.shared[i].sub.aspect == computerAspect) && uac&(uacDisabled|uacSmartcard) != 0
	b.assign(id, i)
}

// graph makes the view's graph. What depends on links and structure is looked at
// anew; permissions of what did not change are shared.
func (b *bend) graph() *Graph {
	g, v := b.g, b.e.View()
	b.lead()
	b.described = sortIDs(b.described)
	n := &Graph{
		s: v, x: g.x.with(v, b.pairs), n: g.n, rules: g.rules, classes: g.classes,
		changes: b, isHead: g.isHead, blockOwner: g.blockOwner, sharer: b.sharer, shared: b.shared,
		sites: g.sites, files: g.files, everyID: g.accounts(), gpo: g.gpo,
		past:     map[secdesc.SID]node{},
		local:    map[forest.ID][]forest.ID{},
		extra:    map[node][]edge{},
		outward:  map[node][]edge{},
		joints:   map[node][]joint{},
		stamp:    map[forest.ID]forest.ID{},
		linkedAt: map[forest.ID]linkedList{},
		byFacet:  map[facetKey]node{},
		bySID:    map[secdesc.SID]node{},
	}
	if g.gpo != nil && (b.linked || b.filters || b.filtered(n.x)) {
		n.gpo = gpo.New(v, n.x)
	}
	n.structure()
	return n
}

// lead finds another first object for shared grants that lost theirs.
func (b *bend) lead() {
	if len(b.left) == 0 {
		return
	}
	for id, i := range b.sharer {
		if !b.left[i] {
			continue
		}
		old := b.shared[i]
		b.shared[i] = &sharedGrants{first: forest.ID(id), desc: old.desc, sub: old.sub, dom: old.dom}
		if delete(b.left, i); len(b.left) == 0 {
			return
		}
	}
}

// filtered reports whether memberships that changed may decide which policies a
// computer applies.
func (b *bend) filtered(x *Index) bool {
	host := func(id forest.ID) bool {
		return b.g.classes[b.v.ClassIndex(id)].aspect == computerAspect || b.g.x.is(id, hasForeign)
	}
	for _, p := range b.pairs {
		if !host(p.member) && !slices.ContainsFunc(b.g.x.Members(p.member), host) && !slices.ContainsFunc(x.Members(p.member), host) {
			continue
		}
		for _, at := range []*Index{b.g.x, x} {
			for _, group := range append(at.GroupsOf(p.group), p.group) {
				if b.g.gpo.Filters(at.s.SID(group)) {
					return true
				}
			}
		}
	}
	return false
}
