package reach

import (
	"cmp"
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A grant is a way in which a descriptor gives power over the objects that carry
// it to whoever holds a SID.
type grant struct {
	who   secdesc.SID
	kind  Kind
	gives facet
	cond  cond
	ace   int32         // index in the DACL; implicit if no entry says so
	deny  []secdesc.SID // who holds one of these is refused by an earlier entry
	to    *trustee      // who; nil if the grant is not one of a share
}

// implicit is the index of no entry: the owner's rights, or a NULL DACL.
const implicit = -1

// A pairing needs two rights of one token: a grant of each side.
type pairing struct {
	kind        Kind
	gives       facet
	cond        cond
	asIs        bool // see joint
	left, right []grant
}

// grants are all of those of a descriptor, for one aspect and profile.
type grants struct {
	list   []grant // by facet, then strongest first
	pairs  []pairing
	second []second
	handed []grant // what full control that a container hands down to everyone would give
	unread bool    // the descriptor, or its list, was not read

	missing   bool // there is no descriptor that could be read
	protected bool // the list takes nothing from the container
}

// A second is the other entry of a grant that takes two rights, which one SID holds.
type second struct {
	kind     Kind
	ace, and int32
}

// secondOf returns the other entry that a grant of a kind by an entry takes.
func (gr *grants) secondOf(k Kind, ace int32) (and int32, ok bool) {
	i := slices.IndexFunc(gr.second, func(s second) bool { return s.kind == k && s.ace == ace })
	if i < 0 {
		return implicit, false
	}
	return gr.second[i].and, true
}

// subject is what a descriptor is looked at for: a class of objects that differ in
// nothing that decides.
type subject struct {
	aspect     aspect
	class      secdesc.GUID
	blockOwner bool  // BlockOwnerImplicitRights counts here
	noLogon    bool  // disabled, or needs a smart card
	owned      facet // what control of the descriptor gives
}

// compiler walks one DACL for all rules of an aspect. It can be used for one after the
// other.
type compiler struct {
	d         *secdesc.Descriptor
	sub       subject
	ownerSet  bool        // entries for OwnerRights say what owners may do
	aces      []candidate // the entries that any rule may be about
	takers    []grant
	isTrusted func(owner secdesc.SID) bool // owner that BlockOwnerImplicitRights excepts
	out       grants

	trustee func(secdesc.SID) *trustee // if not nil: names those of the results

	reader secdesc.Reader // of those who compile one descriptor after the other
	list   []grant        // room for that of out
	order  []int32        // room for strongest
}

// A candidate is an entry that is in effect and allows or denies something.
type candidate struct {
	at     int          // index in the DACL
	mask   secdesc.Mask // without generic rights
	object bool         // it has an object type
}

// compile lists what d gives over objects of sub. Every rule is decided in the
// order of the entries ([MS-DTYP] 2.5.3.2): what denies a right stands as a guard
// before the grants that follow it, because it depends on the whole token whom it
// stops.
func compile(d *secdesc.Descriptor, sub subject, rules []rule, isTrusted func(secdesc.SID) bool) *grants {
	return (&compiler{isTrusted: isTrusted}).compile(d, sub, rules)
}

func (c *compiler) compile(d *secdesc.Descriptor, sub subject, rules []rule) *grants {
	c.d, c.sub, c.out = d, sub, grants{list: c.list[:0]}
	if d.DACL == nil {
		if d.HasNullDACL() {
			c.out.handed = []grant{{who: secdesc.Everyone, kind: Contains, ace: implicit}}
			for f := range numFacets {
				c.out.list = append(c.out.list, grant{who: secdesc.Everyone, kind: NullDACL, gives: f, ace: implicit})
			}
		} else {
			c.out.unread = true
		}
		return c.result()
	}
	c.ownerSet = slices.ContainsFunc(d.DACL.ACEs, func(a secdesc.ACE) bool {
		return a.SID == secdesc.OwnerRights && a.InEffect() && (a.IsAllow() || a.IsDeny())
	})
	c.selectEntries(rules)
	c.takers = c.walk(c.takers[:0], rule{kind: WriteOwner, mask: secdesc.WriteOwner, gives: c.sub.owned}, secdesc.WriteOwner, nil)
	c.owner()
	for _, r := range rules {
		c.apply(r)
	}
	c.handDown(rules)
	return c.result()
}

// result returns what was found, by itself.
func (c *compiler) result() *grants {
	out := c.out
	c.list = c.out.list
	out.list, c.order = strongest(c.list, c.order)
	if c.trustee != nil {
		for i := range out.list {
			out.list[i].to = c.trustee(out.list[i].who)
		}
	}
	return &out
}

// handDown finds what explicit denials leave of full control that is inherited.
// Of rights that nothing denies one is enough.
func (c *compiler) handDown(rules []rule) {
	own := &secdesc.ACL{}
	for _, e := range c.aces {
		if a := &c.d.DACL.ACEs[e.at]; a.IsDeny() && !a.IsInherited() {
			own.ACEs = append(own.ACEs, *a)
		}
	}
	if len(own.ACEs) == 0 {
		c.out.handed = []grant{{who: secdesc.Everyone, kind: Contains, ace: implicit}}
		return
	}
	own.ACEs = append(own.ACEs, secdesc.ACE{Mask: secdesc.FullControl, SID: secdesc.Everyone})
	all := compiler{d: &secdesc.Descriptor{Owner: c.d.Owner, DACL: own}, sub: c.sub}
	all.selectEntries(rules)
	for _, r := range rules {
		if r.still && !c.sub.noLogon || r.kind == AddSelf || r.kind == WriteOwner && (c.ownerSet || c.sub.blockOwner) {
			continue
		}
		if r.kind != WriteDAC && r.kind != WriteOwner && r.gives != control && r.gives != c.sub.owned {
			continue
		}
		if r.logon && c.sub.noLogon {
			r.cond = ifEnabled
		}
		for _, one := range all.both(r) {
			one.ace, one.kind, one.gives = implicit, Contains, control
			if one.cond == certain && len(one.deny) == 0 {
				c.out.handed = []grant{one}
				return
			}
			c.out.handed = append(c.out.handed, one)
		}
	}
	c.out.handed, _ = strongest(c.out.handed, nil)
}

// single lists what d gives by each rule for itself, even where a stronger right to the
// same makes it needless; owners are not among it.
func single(d *secdesc.Descriptor, sub subject, rules []rule) []grant {
	c := &compiler{d: d, sub: sub}
	if d.DACL == nil {
		return nil
	}
	c.selectEntries(rules)
	c.takers = c.walk(nil, rule{kind: WriteOwner, mask: secdesc.WriteOwner}, secdesc.WriteOwner, nil)
	out := slices.Clone(c.takers)
	for _, r := range rules {
		if r.logon && sub.noLogon {
			r.cond = ifEnabled
		}
		if r.kind != WriteOwner && (!r.still || sub.noLogon) {
			out = append(out, c.both(r)...)
		}
	}
	return out
}

// both lists what the entries grant of all that a rule needs, to one SID that all hold.
func (c *compiler) both(r rule) []grant {
	list := c.walk(nil, r, r.mask, r.types)
	if r.and == nil {
		return list
	}
	var out []grant
	for _, l := range list {
		for _, and := range c.walk(nil, r, r.and.mask, r.and.types) {
			one := l
			one.cond, one.deny = max(l.cond, and.cond), append(slices.Clone(l.deny), and.deny...)
			out = append(out, one)
		}
	}
	return out
}

// owner adds the owner's implicit rights, and those of who can become owner
// ([MS-DTYP] 2.5.3.2; dSHeuristics fBlockOwnerImplicitRights, [MS-ADTS] 6.1.1.2.4.1.2).
func (c *compiler) owner() {
	if c.ownerSet || c.d.Owner.IsZero() {
		return
	}
	if !c.sub.blockOwner || c.isTrusted(c.d.Owner) {
		c.out.list = append(c.out.list, grant{who: c.d.Owner, kind: Owner, gives: c.sub.owned, ace: implicit})
	}
	if !c.sub.blockOwner {
		c.out.list = append(c.out.list, c.takers...)
	}
}

func (c *compiler) apply(r rule) {
	if r.kind == WriteOwner {
		return // only what owners may do counts
	}
	if r.kind == WriteDAC {
		r.gives = c.sub.owned
	}
	if r.still && !c.sub.noLogon {
		return
	}
	if r.logon && c.sub.noLogon {
		r.cond = ifEnabled
	}
	if r.and == nil {
		c.out.list = c.walk(c.out.list, r, r.mask, r.types)
		return
	}
	left, right := c.walk(nil, r, r.mask, r.types), c.walk(nil, r, r.and.mask, r.and.types)
	if len(left) == 0 || len(right) == 0 {
		return
	}
	// Whoever holds both by one SID needs no pairing, and adds nothing to one.
	var both []secdesc.SID
	for _, l := range left {
		i := slices.IndexFunc(right, func(x grant) bool { return x.who == l.who })
		if i < 0 {
			continue
		}
		l.cond = max(l.cond, right[i].cond)
		l.deny = append(slices.Clone(l.deny), right[i].deny...)
		c.out.list = append(c.out.list, l)
		if l.ace != right[i].ace {
			c.out.second = append(c.out.second, second{r.kind, l.ace, right[i].ace})
		}
		if l.cond == r.cond && len(l.deny) == 0 {
			both = append(both, l.who)
		}
	}
	holdsBoth := func(one grant) bool { return slices.Contains(both, one.who) }
	left, right = slices.DeleteFunc(left, holdsBoth), slices.DeleteFunc(right, holdsBoth)
	if len(left) == 0 || len(right) == 0 {
		return
	}
	c.out.pairs = append(c.out.pairs, pairing{kind: r.kind, gives: r.gives, cond: r.cond, asIs: r.still, left: left, right: right})
}

// selectEntries lists the entries that rules can be about.
func (c *compiler) selectEntries(rules []rule) {
	all := secdesc.WriteOwner
	for i := range rules {
		all |= rules[i].mask
		if rules[i].and != nil {
			all |= rules[i].and.mask
		}
	}
	c.aces = make([]candidate, 0, len(c.d.DACL.ACEs))
	for i := range c.d.DACL.ACEs {
		a := &c.d.DACL.ACEs[i]
		if mask := a.Mask.MapGeneric(); mask&all != 0 && a.InEffect() && (a.IsAllow() || a.IsDeny()) {
			c.aces = append(c.aces, candidate{i, mask, a.IsObject()})
		}
	}
}

// walk goes through the entries for one right and appends what they grant to out.
func (c *compiler) walk(out []grant, r rule, mask secdesc.Mask, types []secdesc.GUID) []grant {
	var deny, perhaps []secdesc.SID // denied for sure, and if a condition holds
	ownersDenied := false
	for k := range c.aces {
		if c.aces[k].mask&mask == 0 || !c.concerns(&c.aces[k], mask, types) {
			continue
		}
		i := c.aces[k].at
		a := &c.d.DACL.ACEs[i]
		who, owners := a.SID, a.SID == secdesc.OwnerRights
		if owners {
			who = c.d.Owner
		}
		if a.IsDeny() {
			ownersDenied = ownersDenied || owners
			switch {
			case who.IsZero() || neverHeld(who):
			case a.Type.IsCallback():
				perhaps = append(perhaps[:len(perhaps):len(perhaps)], who)
			case who == secdesc.Everyone:
				return out
			default:
				deny = append(deny[:len(deny):len(deny)], who)
			}
			continue
		}
		g := grant{who: who, kind: r.kind, gives: r.gives, cond: r.cond, ace: int32(i), deny: deny}
		if a.Type.IsCallback() {
			g.cond = max(g.cond, ifCondition)
		}
		if r.kind == WriteDAC && a.Mask.MapGeneric()&secdesc.FullControl == secdesc.FullControl && !a.IsObject() {
			g.kind = FullControl
		}
		if !who.IsZero() && !neverHeld(who) && !slices.Contains(deny, who) {
			switch {
			case len(perhaps) > 0:
				out = append(out, unless(g, perhaps)...)
			case !outdone(out, &g):
				out = append(out, g)
			}
		}
		if owners && !ownersDenied && r.kind != WriteOwner {
			for _, u := range unless(g, perhaps) {
				out = append(out, c.become(u)...)
			}
		}
	}
	return out
}

// outdone reports whether one of list is certain, stops nobody and is at least as
// strong as g: what strongest would keep in place of g.
func outdone(list []grant, g *grant) bool {
	for i := range list {
		if e := &list[i]; e.gives == g.gives && e.cond == certain && len(e.deny) == 0 && e.who == g.who &&
			(e.kind != AddSelf || g.kind == AddSelf) && (e.kind <= g.kind || g.cond > certain || len(g.deny) > 0) {
			return true
		}
	}
	return false
}

// unless returns g for those whom no conditional denial is about, and for all if
// its condition turns out so.
func unless(g grant, perhaps []secdesc.SID) []grant {
	if len(perhaps) == 0 {
		return []grant{g}
	}
	free, all := g, g
	free.deny = append(slices.Clone(g.deny), perhaps...)
	all.cond = max(all.cond, ifCondition)
	return []grant{free, all}
}

// concerns reports whether an entry that has one of the rights of mask is about it.
func (c *compiler) concerns(e *candidate, mask secdesc.Mask, types []secdesc.GUID) bool {
	if !e.object {
		return true
	}
	a := &c.d.DACL.ACEs[e.at]
	return slices.Contains(types, a.ObjectType) || a.ObjectType == c.sub.class && mask&byItself == 0
}

// byItself are the rights for which the object's class does not stand in the tree
// of types: extended rights, validated writes and creating children are granted by
// their own GUID or by none ([MS-ADTS] 5.1.3.3.3, 5.1.3.3.4).
const byItself = secdesc.ControlAccess | secdesc.SelfWrite | secdesc.CreateChild

// become turns a grant to owners into grants to who can take ownership.
func (c *compiler) become(g grant) []grant {
	var out []grant
	for _, t := range c.takers {
		if g.kind == AddSelf { // as the owner, and still only oneself
			t.kind = AddSelf
		}
		t.gives, t.cond, t.deny = g.gives, max(t.cond, g.cond), append(slices.Clone(t.deny), g.deny...)
		out = append(out, t)
	}
	return out
}

// neverHeld reports whether no token of another principal holds sid: the object
// itself, placeholders of inheritance, and the operating system of a domain
// controller.
func neverHeld(sid secdesc.SID) bool {
	return sid == secdesc.Self || sid == secdesc.CreatorOwner || sid == secdesc.CreatorGroup || sid == secdesc.System
}

// strongest keeps of grants of one facet to one SID the first that is certain and
// unguarded, or all if there is none; in a list of its own. order is room to sort in,
// which it returns.
func strongest(list []grant, order []int32) ([]grant, []int32) {
	order = slices.Grow(order[:0], len(list))[:len(list)] // grants are large, and most of them stay where they are
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(i, j int32) int {
		a, b := &list[i], &list[j]
		if a.gives != b.gives {
			return cmp.Compare(a.gives, b.gives)
		}
		if a.who != b.who {
			return a.who.Compare(b.who)
		}
		return cmp.Or(cmp.Compare(a.cond, b.cond), cmp.Compare(len(a.deny), len(b.deny)), cmp.Compare(a.kind, b.kind), cmp.Compare(i, j))
	})
	kept := order[:0]
	for _, i := range order {
		if n := len(kept); n > 0 {
			g, last := &list[i], &list[kept[n-1]]
			if last.who == g.who && last.gives == g.gives && last.cond <= g.cond && covers(g.deny, last.deny) &&
				(last.kind != AddSelf || g.kind == AddSelf) { // who adds itself adds nobody else
				continue
			}
		}
		kept = append(kept, i)
	}
	out := make([]grant, len(kept))
	for k, i := range kept {
		out[k] = list[i]
	}
	return out, order
}

// covers reports whether whoever few stops is stopped by many.
func covers(many, few []secdesc.SID) bool {
	for _, s := range few {
		if !slices.Contains(many, s) {
			return false
		}
	}
	return true
}

// subjectOf says how the rights on id are looked at: it is equal for objects that an
// equal descriptor gives equal answers.
func (g *Graph) subjectOf(id forest.ID) subject {
	k := g.classes[g.s.ClassIndex(id)]
	sub := subject{aspect: k.aspect, class: k.guid}
	switch k.aspect {
	case userAspect, computerAspect, serviceAccountAspect:
		sub.owned = owning
	}
	switch k.aspect {
	case userAspect, computerAspect:
		uac, st := g.s.Int(id, forest.UserAccountControl)
		sub.noLogon = uac&uacDisabled != 0 || uac&uacSmartcard != 0 || st == forest.Unreadable
		sub.blockOwner = k.aspect == computerAspect && g.blockOwner
	case serviceAccountAspect:
		sub.blockOwner = g.blockOwner
	case containerAspect:
		if g.isHead[id] {
			sub.aspect = domainAspect
		}
	}
	return sub
}

const (
	uacDisabled  = 0x2
	uacSmartcard = 0x40000
)
