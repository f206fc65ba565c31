package reach

import (
	"maps"
	"slices"
	"sync/atomic"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A memberPair is a link of a member attribute that a view has otherwise.
type memberPair struct{ group, member forest.ID }

// with returns the memberships of v, a view of the snapshot of x in which the given
// links differ. What is known to lie above and below other groups is shared with x.
func (x *Index) with(v *forest.Snapshot, pairs []memberPair) *Index {
	y := *x
	y.s = v
	var under, over []forest.ID // what lies above, or below, is another
	for _, p := range pairs {
		if x.unreadKind(p.member) != "" {
			y.opaque = maps.Clone(y.opaque)
			y.opaque[p.group] = withID(y.opaque[p.group], p.member, slices.Contains(v.Backlinks(p.member, forest.Member), p.group))
		}
		if x.group[p.member] > distribution || x.isForeign(p.member) {
			under = append(under, x.dig(p.member)...)
			over = append(append(over, x.climb(p.group)...), y.climb(p.group)...)
		}
	}
	if len(under) > 0 {
		y.higher, y.lower = x.higher.without(x.numbers(under)), x.lower.without(x.numbers(over))
	}
	return &y
}

func (x *Index) numbers(ids []forest.ID) []uint32 {
	out := make([]uint32, len(ids))
	for i, id := range ids {
		out[i] = x.number[id]
	}
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
	policy    gpo.Edits          // what policy depends on
	anew      bool               // more of that changed than policy.Edits can say
	changed   map[forest.ID]bool // descriptors
	flagged   []forest.ID        // accounts with other flags
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
		b.policy.Filters = append(b.policy.Filters, id)
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
		changes: b, beneath: g.countVirtual(), isHead: g.isHead, blockOwner: g.blockOwner, sharer: b.sharer, shared: b.shared,
		traits: make([]atomic.Uint32, len(b.shared)), marked: make([]uint64, len(g.marked)), laps: g.laps,
		sites: g.sites, delegators: g.delegators, files: g.files, everyID: g.accounts(), gpo: g.gpo,
		past:     map[secdesc.SID]node{},
		local:    map[forest.ID][]forest.ID{},
		extra:    map[node][]edge{},
		outward:  map[node][]edge{},
		joints:   map[node][]joint{},
		stamp:    map[forest.ID]forest.ID{},
		linkedAt: map[forest.ID]linkedList{},
		policies: map[string]forest.ID{},
		byFacet:  map[facetKey]node{},
		bySID:    map[secdesc.SID]node{},
	}
	for _, id := range b.flagged {
		n.delegators = withID(n.delegators, id, true)
	}
	if g.gpo != nil {
		n.gpo = b.policies(n.x)
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

// policies returns the engine of the view, whose memberships are x.
func (b *bend) policies(x *Index) *gpo.Engine {
	edits := b.policy
	for _, p := range b.pairs {
		edits.Computers = append(edits.Computers, b.filtered(x, p)...)
	}
	edits.Computers = sortIDs(edits.Computers)
	switch {
	case b.anew:
		return gpo.New(b.v, x)
	case len(edits.Links)+len(edits.Filters)+len(edits.Computers)+len(edits.Moved) == 0:
		return b.g.gpo
	}
	return b.g.gpo.With(b.v, x, edits)
}

// filtered returns the computers for which a membership that changed may decide which
// policies they apply. It sets b.anew if it may decide so for others, too.
func (b *bend) filtered(x *Index, p memberPair) []forest.ID {
	isNamed := func(at *Index) bool {
		return slices.ContainsFunc(append(at.GroupsOf(p.group), p.group), func(group forest.ID) bool {
			return slices.ContainsFunc(append(at.history(group), at.s.SID(group)), b.g.gpo.Filters)
		})
	}
	before := b.g.x
	if !isNamed(before) && !isNamed(x) {
		return nil
	}
	var out []forest.ID
	for _, at := range []*Index{before, x} {
		list := append(at.Members(p.member), p.member)
		b.anew = b.anew || at.unreadKind(p.member) != "" || at.group[p.member] > distribution && len(at.Gaps(p.member)) > 0
		for _, m := range list {
			b.anew = b.anew || at.isForeign(m) // stands for everybody, or for whom nobody knows
			if b.g.classes[b.v.ClassIndex(m)].aspect == computerAspect {
				out = append(out, m)
			}
		}
	}
	return out
}
