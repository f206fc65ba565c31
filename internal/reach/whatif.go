package reach

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// ErrUnfit reports a change that does not fit the snapshot: what it takes away is not
// there, what it adds is there already, or the directory would refuse it.
var ErrUnfit = errors.New("the change does not fit")

// ErrUnread reports a change of which it is not known whether it fits, because what
// it changes was not read. It is an ErrUnfit, too.
var ErrUnread = fmt.Errorf("%w", ErrUnfit)

// A ChangeKind says what a [Change] does.
type ChangeKind uint8

// Kinds of changes, with the fields that they use.
const (
	MemberAdded   ChangeKind = iota + 1 // Object: group; Other: member
	MemberRemoved                       // Object: group; Other: member
	EntryAdded                          // Object; Entry
	EntryRemoved                        // Object; Entry, or Index if that is not negative
	LinkAdded                           // Object: container or site; Other: policy; Enforced
	LinkRemoved                         // Object: container or site; Other: policy
	LinkDisabled                        // Object: container or site; Other: policy
	FlagSet                             // Object: account; Flag
	FlagCleared                         // Object: account; Flag
	Moved                               // Object; Other: its new container
	OwnerChanged                        // Object; Owner
)

// A Change is one step of what might be done to a forest.
type Change struct {
	Kind     ChangeKind
	Object   forest.ID
	Other    forest.ID
	Entry    secdesc.ACE
	Index    int // of EntryRemoved: which entry; negative: the one that equals Entry
	Enforced bool
	Flag     int64 // one bit of userAccountControl: see [AccountFlags]
	Owner    secdesc.SID
}

// An AccountFlag is a bit of userAccountControl that a [Change] may set or clear.
type AccountFlag struct {
	Name string
	Bit  int64
}

// AccountFlags returns the flags that can be changed. Those that decide what an
// account is (a domain controller, a trust) cannot ([MS-ADTS] 2.2.16).
func AccountFlags() []AccountFlag {
	return []AccountFlag{
		{"disabled", uacDisabled},
		{"password-not-required", 0x20},
		{"smartcard-required", uacSmartcard},
		{"trusted-for-delegation", uacTrustedForDelegation},
		{"not-delegated", uacNotDelegated},
		{"no-preauth", 0x400000},
		{"trusted-to-auth", uacTrustedToAuth},
	}
}

// With returns the answers as they would be after changes, made one after the
// other. It shares with g everything that they leave as it is; g stays. Containers
// hand permissions down as a domain controller computes it, and what AdminSDHolder
// hands to protected objects is counted at once, not within the hour. Names stay
// those of the snapshot, but for what is moved.
//
// The error says which change does not fit and why; see [ErrUnfit].
func (g *Graph) With(changes []Change) (*Graph, error) {
	e := g.s.Edit()
	b := &bend{
		g: g, e: e, v: e.View(), sharer: g.sharer, shared: slices.Clip(g.shared),
		handed: map[handKey]handed{}, left: map[uint32]bool{}, changed: map[forest.ID]bool{},
	}
	for i, c := range changes {
		if err := b.apply(c); err != nil {
			return nil, fmt.Errorf("change %d: %w", i+1, err)
		}
	}
	return b.graph(), nil
}

func unfit(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnfit}, args...)...)
}

func notRead(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnread}, args...)...)
}

func (b *bend) apply(c Change) error {
	if int(c.Object) >= b.v.Len() {
		return unfit("there is no object %d", c.Object)
	}
	switch c.Kind {
	case MemberAdded, MemberRemoved, LinkAdded, LinkRemoved, LinkDisabled, Moved:
		if int(c.Other) >= b.v.Len() {
			return unfit("there is no object %d", c.Other)
		}
	}
	switch c.Kind {
	case MemberAdded:
		return b.addMember(c.Object, c.Other)
	case MemberRemoved:
		return b.removeMember(c.Object, c.Other)
	case EntryAdded:
		return b.addEntry(c.Object, c.Entry)
	case EntryRemoved:
		return b.removeEntry(c)
	case LinkAdded, LinkRemoved, LinkDisabled:
		return b.relink(c)
	case FlagSet, FlagCleared:
		return b.flag(c.Object, c.Flag, c.Kind == FlagSet)
	case Moved:
		return b.move(c.Object, c.Other)
	case OwnerChanged:
		return b.own(c.Object, c.Owner)
	}
	return unfit("kind %d is not known", c.Kind)
}

// name names an object in messages.
func (b *bend) name(id forest.ID) string { return b.v.DN(id) }

func (b *bend) addMember(group, member forest.ID) error {
	links, _ := b.v.Links(group, forest.Member)
	switch {
	case !b.g.x.is(group, hasGroup):
		return unfit("%s is no group", b.name(group))
	case b.v.SID(member).IsZero():
		return unfit("%s has no SID, so it can be a member of no security group", b.name(member))
	case slices.Contains(links, member):
		return unfit("%s is a member of %s already", b.name(member), b.name(group))
	case b.g.x.primary[member] == group:
		return unfit("%s is a member of %s already, by its primary group", b.name(member), b.name(group))
	case group == member:
		return unfit("%s cannot be a member of itself", b.name(group))
	}
	if _, st := b.v.Int(group, forest.GroupType); st != forest.Known {
		return notRead("the scope of %s was not read, so it is not known whether %s may be a member", b.name(group), b.name(member))
	}
	if why := b.outOfScope(group, member); why != "" {
		return unfit("%s cannot be a member of %s: %s", b.name(member), b.name(group), why)
	}
	b.pair(group, member, true)
	return nil
}

// Further bits of groupType ([MS-ADTS] 2.2.12).
const (
	groupGlobal    = 0x2
	groupUniversal = 0x8
)

// outOfScope says why the scope of a group does not allow a member; "" if it does
// ([MS-ADTS] 3.1.1.5.3.1.2, groupType).
func (b *bend) outOfScope(group, member forest.ID) string {
	x := b.g.x
	t, _ := b.v.Int(group, forest.GroupType)
	mt, _ := b.v.Int(member, forest.GroupType)
	apart := x.domain[group] != x.domain[member]
	foreign := x.isForeign(member)
	switch {
	case mt&groupDomainLocal != 0 && (t&groupDomainLocal == 0 || apart):
		return "a domain-local group is only for domain-local groups of its domain"
	case foreign && t&groupDomainLocal == 0:
		return "a foreign or well-known principal is only for domain-local groups"
	case t&groupGlobal != 0 && apart:
		return "a global group has members of its own domain only"
	case t&groupGlobal != 0 && mt&groupUniversal != 0:
		return "a universal group cannot be in a global one"
	}
	return ""
}

func (b *bend) removeMember(group, member forest.ID) error {
	links, st := b.v.Links(group, forest.Member)
	switch {
	case slices.Contains(links, member):
		b.pair(group, member, false)
		return nil
	case b.g.x.primary[member] == group:
		return unfit("%s is a member of %s by its primary group, which has to be changed first", b.name(member), b.name(group))
	case slices.Contains(b.g.x.GroupsOf(member), group):
		return unfit("%s is a member of %s only through another group: take it out of that one", b.name(member), b.name(group))
	case st == forest.Unreadable:
		return notRead("the members of %s were not read, so it is not known whether %s is one", b.name(group), b.name(member))
	}
	return unfit("%s is not a member of %s", b.name(member), b.name(group))
}

func (b *bend) pair(group, member forest.ID, there bool) {
	b.e.SetLink(group, forest.Member, member, there)
	b.pairs = append(b.pairs, memberPair{group, member})
}

// descriptor returns the permissions of an object, if they can be changed.
func (b *bend) descriptor(id forest.ID) (*secdesc.Descriptor, error) {
	d, st := b.v.Descriptor(id)
	switch {
	case st != forest.Known:
		return nil, notRead("the permissions of %s were not read", b.name(id))
	case d.DACL == nil && !d.HasNullDACL():
		return nil, notRead("the DACL of %s was not read", b.name(id))
	}
	return d, nil
}

func (b *bend) addEntry(id forest.ID, a secdesc.ACE) error {
	d, err := b.descriptor(id)
	switch {
	case err != nil:
		return err
	case d.DACL == nil:
		return unfit("%s has a NULL DACL, which grants everybody everything: an entry would take that away", b.name(id))
	case a.IsInherited():
		return unfit("an inherited entry cannot be added: add it to the container that is to hand it down")
	case !a.IsAllow() && !a.IsDeny():
		return unfit("the entry neither allows nor denies anything")
	case slices.ContainsFunc(d.DACL.ACEs, a.Equal):
		return unfit("%s has this entry already", b.name(id))
	}
	next := d.Clone()
	next.DACL.ACEs = slices.Insert(next.DACL.ACEs, placeOf(a, d.DACL.ACEs), a)
	b.redescribe(id, d, next)
	return nil
}

// placeOf returns where a new entry goes: denials before grants, both before what
// is inherited ([MS-ADTS] 6.1.3.1).
func placeOf(a secdesc.ACE, list []secdesc.ACE) int {
	i := slices.IndexFunc(list, func(b secdesc.ACE) bool { return b.IsInherited() || a.IsDeny() && b.IsAllow() })
	if i < 0 {
		return len(list)
	}
	return i
}

func (b *bend) removeEntry(c Change) error {
	d, err := b.descriptor(c.Object)
	if err != nil {
		return err
	}
	if d.DACL == nil {
		return unfit("%s has a NULL DACL, and so no entries", b.name(c.Object))
	}
	at := c.Index
	if at < 0 {
		at = slices.IndexFunc(d.DACL.ACEs, c.Entry.Equal)
		if at < 0 && slices.ContainsFunc(d.DACL.ACEs, inheritedFrom(c.Entry)) {
			at = slices.IndexFunc(d.DACL.ACEs, inheritedFrom(c.Entry))
		}
	}
	switch {
	case at < 0:
		return unfit("%s has no such entry", b.name(c.Object))
	case at >= len(d.DACL.ACEs):
		return unfit("%s has entries 0 to %d only", b.name(c.Object), len(d.DACL.ACEs)-1)
	case d.DACL.ACEs[at].IsInherited():
		return b.isInherited(c.Object, at)
	}
	next := d.Clone()
	next.DACL.ACEs = slices.Delete(next.DACL.ACEs, at, at+1)
	b.redescribe(c.Object, d, next)
	return nil
}

// inheritedFrom recognizes an entry that was spelt without its being inherited.
func inheritedFrom(a secdesc.ACE) func(secdesc.ACE) bool {
	a.Flags |= secdesc.Inherited
	return a.Equal
}

func (b *bend) isInherited(id forest.ID, at int) error {
	if o, _, ok := b.g.originOf(id, at); ok {
		return unfit("entry %d of %s is inherited: it has to be changed at %s", at, b.name(id), b.name(o))
	}
	return unfit("entry %d of %s is inherited: it has to be changed where it was set", at, b.name(id))
}

// redescribe gives an object another descriptor, and what follows from that.
func (b *bend) redescribe(id forest.ID, was, now *secdesc.Descriptor) {
	b.described = append(b.described, id)
	b.describe(id, now)
	for _, holder := range b.g.stamp {
		if holder == id {
			b.stamp(id, was, now)
			return
		}
	}
}

func (b *bend) own(id forest.ID, owner secdesc.SID) error {
	d, err := b.descriptor(id)
	switch {
	case err != nil:
		return err
	case owner.IsZero():
		return unfit("%s needs an owner", b.name(id))
	case d.Owner == owner:
		return unfit("%s is owned by %s already", b.name(id), owner)
	}
	next := d.Clone()
	next.Owner = owner
	b.described = append(b.described, id)
	b.describe(id, next)
	return nil
}

func (b *bend) relink(c Change) error {
	if !b.g.takesLinks(c.Object) && !slices.Contains(b.g.sites, c.Object) {
		return unfit("policies cannot be linked to %s", b.name(c.Object))
	}
	if b.g.classes[b.v.ClassIndex(c.Other)].aspect != policyAspect {
		return unfit("%s is no group policy", b.name(c.Other))
	}
	text, st := b.v.Str(c.Object, forest.GPLink)
	if st == forest.Unreadable {
		return notRead("the links of %s were not read", b.name(c.Object))
	}
	links, err := gpo.ParseLinks(text)
	if err != nil {
		return unfit("the links of %s: %w", b.name(c.Object), err)
	}
	at := slices.IndexFunc(links, func(l gpo.LinkEntry) bool { return b.v.Lookup(l.DN) == c.Other })
	switch {
	case c.Kind == LinkAdded && at >= 0:
		return unfit("%s is linked to %s already", b.name(c.Other), b.name(c.Object))
	case c.Kind == LinkAdded:
		l := gpo.LinkEntry{DN: b.name(c.Other)}
		if c.Enforced {
			l.Flags = gpo.LinkFlagEnforced
		}
		links = slices.Insert(links, 0, l)
	case at < 0:
		return unfit("%s is not linked to %s", b.name(c.Other), b.name(c.Object))
	case c.Kind == LinkRemoved:
		links = slices.Delete(links, at, at+1)
	case links[at].Flags&gpo.LinkFlagDisabled != 0:
		return unfit("the link of %s to %s is disabled already", b.name(c.Other), b.name(c.Object))
	default:
		links[at].Flags |= gpo.LinkFlagDisabled
	}
	b.e.SetText(c.Object, forest.GPLink, gpo.FormatLinks(links))
	b.policy.Links = append(b.policy.Links, c.Object)
	return nil
}

func (b *bend) flag(id forest.ID, bit int64, set bool) error {
	i := slices.IndexFunc(AccountFlags(), func(f AccountFlag) bool { return f.Bit == bit })
	if i < 0 {
		return unfit("the flag 0x%x of userAccountControl cannot be changed here", bit)
	}
	name := AccountFlags()[i].Name
	uac, st := b.v.Int(id, forest.UserAccountControl)
	switch {
	case !b.g.x.isAccount(id):
		return unfit("%s is no account", b.name(id))
	case st != forest.Known:
		return notRead("userAccountControl of %s was not read", b.name(id))
	case set && uac&bit != 0:
		return unfit("%s is %s already", b.name(id), name)
	case !set && uac&bit == 0:
		return unfit("%s is not %s", b.name(id), name)
	}
	b.e.SetInt(id, forest.UserAccountControl, uac^bit)
	b.flagged = append(b.flagged, id)
	b.judge(id)
	return nil
}

func (b *bend) move(id, to forest.ID) error {
	from := b.v.Parent(id)
	x := b.g.x
	switch {
	case from == forest.None || x.domain[id] < 0 || b.g.isHead[id]:
		return unfit("%s cannot be moved", b.name(id))
	case x.domain[to] != x.domain[id]:
		return unfit("%s is not in the domain of %s", b.name(to), b.name(id))
	case b.g.classes[b.v.ClassIndex(to)].aspect != containerAspect:
		return unfit("%s is neither an organizational unit nor a container", b.name(to))
	case from == to:
		return unfit("%s is in %s already", b.name(id), b.name(to))
	}
	for o := to; o != forest.None; o = b.v.Parent(o) {
		if o == id {
			return unfit("%s lies below %s", b.name(to), b.name(id))
		}
	}
	rdn := strings.TrimSuffix(b.name(id), ","+b.name(from))
	for c := range b.v.Children(to) {
		if strings.EqualFold(b.name(c), rdn+","+b.name(to)) {
			return unfit("%s is there already", b.name(c))
		}
	}
	if _, err := b.descriptor(to); err != nil {
		return err // nobody knows what it would hand down
	}
	before, after := b.index(from), b.index(to)
	b.described = append(b.described, id)
	b.e.Move(id, to)
	b.displace(id)
	was := b.index(id)
	now := b.inherit(id, handKey{before, after, b.sharer[id]})
	if now.unread {
		b.unread++
	}
	if !now.same {
		b.put(id, now.desc, now.share)
		b.hand(id, was, now.desc)
	}
	return nil
}

// displace notes what policy depends on of the place of id and what is below it.
func (b *bend) displace(id forest.ID) {
	hosts := len(b.policy.Computers)
	b.v.Under(id, func(o forest.ID) {
		switch b.g.classes[b.v.ClassIndex(o)].aspect {
		case computerAspect:
			b.policy.Computers = append(b.policy.Computers, o)
		case policyAspect:
			b.anew = true
		}
	})
	if x := b.g.x; len(b.policy.Computers) > hosts || !x.isAccount(id) && x.group[id] == notGroup { // a computer may come into it later
		b.policy.Moved = append(b.policy.Moved, id)
	}
}

// index returns the index of the descriptor of id, or noIndex.
func (b *bend) index(id forest.ID) uint32 {
	if i, ok := b.v.DescriptorIndex(id); ok {
		return i
	}
	return noIndex
}
