package secdesc

import "slices"

// Defaults are what a new object gets where its creator asks for nothing
// ([MS-ADTS] 6.1.3).
type Defaults struct {
	// Descriptor is the defaultSecurityDescriptor of the object's most specific
	// structural class, read in the object's domain; nil if the class has none.
	Descriptor *Descriptor
	// Administrators owns what administrators create: see
	// [DefaultAdministrators]. Zero if the creator is not one of them.
	Administrators SID
	// User and PrimaryGroup are the creator's own.
	User, PrimaryGroup SID
}

// flags of the DACL, of which those of the SACL are one bit higher, and of what
// concerns the whole descriptor.
const (
	daclFlags = DACLPresent | DACLDefaulted | DACLAutoInheritReq | DACLAutoInherited | DACLProtected | DACLTrusted
	saclFlags = SACLPresent | SACLDefaulted | SACLAutoInheritReq | SACLAutoInherited | SACLProtected | ServerSecurity
)

// Create computes the descriptor of a new directory object ([MS-DTYP] 2.5.3.4,
// with the rules of [MS-ADTS] 6.1.3): the entries that the creator asked for, or
// else those of the class, and behind them what the parent hands down.
//
// parent is nil for the head of a naming context; creator is nil if the request
// to create the object names no descriptor. classes are the schemaIDGUIDs that
// inherited object types are compared with: the most specific structural class
// and the dynamic auxiliary ones, not the superclasses. Nothing of the arguments
// is changed or shared.
//
// Entries keep the order in which they were asked for. A Windows domain
// controller then sorts them unless dSHeuristics forbids it ([MS-ADTS] 6.1.3.1);
// Samba does not, and neither does Create.
func Create(parent, creator *Descriptor, classes []GUID, def Defaults) *Descriptor {
	asked := mergeRequested(creator, def.Descriptor)
	d := &Descriptor{
		Control: SelfRelative | asked.Control,
		Owner:   asked.Owner,
		Group:   asked.Group,
	}
	if d.Owner.IsZero() {
		d.Owner = def.User
		if !def.Administrators.IsZero() {
			d.Owner = def.Administrators
			d.Control |= OwnerDefaulted
		}
	}
	if d.Group.IsZero() {
		d.Group = def.PrimaryGroup
		if !def.Administrators.IsZero() {
			d.Group = def.Administrators
			d.Control |= GroupDefaulted
		}
	}
	d.setLists(parent, asked, classes)
	return d
}

// mergeRequested is what is asked for: the creator's descriptor, with the class's
// lists where it has none.
func mergeRequested(creator, class *Descriptor) Descriptor {
	switch {
	case creator == nil && class == nil:
		return Descriptor{}
	case creator == nil:
		return *class
	}
	asked := *creator
	if class == nil {
		return asked
	}
	if asked.DACL == nil {
		asked.DACL = class.DACL
		asked.Control |= class.Control & daclFlags
	}
	if asked.SACL == nil {
		asked.SACL = class.SACL
		asked.Control |= class.Control & saclFlags
	}
	return asked
}

// Propagate computes the descriptor of an existing object anew when its parent's
// has changed: its explicit entries stay, its inherited ones are replaced by what
// the parent hands down now, unless a list is protected. classes are as for
// [Create]. A DACL that child does not have stays absent: it was not read, or it
// is NULL. parent may be nil for the head of a naming context.
//
// The result is the descriptor that has to be propagated to the object's own
// children. It is Equal to child if nothing changes there.
func Propagate(parent, child *Descriptor, classes []GUID) *Descriptor {
	d := &Descriptor{Control: child.Control, Owner: child.Owner, Group: child.Group, layout: child.layout}
	d.setLists(parent, *child, classes)
	if child.DACL == nil {
		d.DACL = nil
		d.Control = d.Control&^daclFlags | child.Control&daclFlags
	}
	return d
}

// setLists computes both lists of d from what was asked for and from the parent.
func (d *Descriptor) setLists(parent *Descriptor, asked Descriptor, classes []GUID) {
	in := inheritance{owner: d.Owner, group: d.Group, classes: classes}
	var dacl, sacl *ACL
	if parent != nil {
		dacl, sacl = parent.DACL, parent.SACL
	}
	var inherited bool
	d.DACL, inherited = in.list(dacl, asked.DACL, asked.Control.Has(DACLProtected))
	if d.DACL != nil {
		d.Control |= DACLPresent
	}
	if inherited {
		d.Control |= DACLAutoInherited
	}
	d.SACL, inherited = in.list(sacl, asked.SACL, asked.Control.Has(SACLProtected))
	if d.SACL != nil {
		d.Control |= SACLPresent
	}
	if inherited {
		d.Control |= SACLAutoInherited
	}
}

// DefaultAdministrators returns the group that owns what a member of it creates,
// the "default administrators group" of [MS-ADTS] 6.1.3.4: by naming context,
// Domain Admins, Enterprise Admins or Schema Admins. It is "no SID" if the
// creator, whose token reports which SIDs it holds, is in none of them; then the
// creator owns the object.
func DefaultAdministrators(nc NamingContext, domain, forestRoot SID, token func(SID) bool) SID {
	da := domain.Child(RIDDomainAdmins)
	ea := forestRoot.Child(RIDEnterpriseAdmins)
	sa := forestRoot.Child(RIDSchemaAdmins)
	var groups []SID
	switch nc {
	case DomainNC:
		groups = []SID{da, ea}
	case ConfigurationNC:
		groups = []SID{ea, da}
	case SchemaNC:
		groups = []SID{sa, ea, da}
	}
	for _, g := range groups {
		if token(g) {
			return g
		}
	}
	return SID{}
}

// A NamingContext is the kind of the naming context that an object is in.
type NamingContext uint8

// Kinds of naming contexts.
const (
	DomainNC NamingContext = iota
	ConfigurationNC
	SchemaNC
	ApplicationNC // DNS zones and other application partitions
)

// inheritance computes the lists of one object.
type inheritance struct {
	owner, group SID
	classes      []GUID
}

// list puts the entries that were asked for before those that the parent hands
// down. It is nil if there are neither; inherited reports whether there are any
// of the latter.
func (in inheritance) list(parent, asked *ACL, protected bool) (a *ACL, inherited bool) {
	var down []ACE
	if parent != nil && !protected {
		down = in.fromParent(parent.ACEs)
	}
	if asked == nil && len(down) == 0 {
		return nil, false
	}
	a = &ACL{Revision: ACLRevisionDS}
	if asked != nil {
		a.ACEs = in.explicit(asked.ACEs, protected)
	}
	a.ACEs = append(a.ACEs, down...)
	return a, len(down) > 0
}

// needsExpansion reports whether an entry has rights or a trustee that mean
// something only once the object is known: generic rights, CREATOR OWNER,
// CREATOR GROUP.
func needsExpansion(a *ACE) bool {
	return a.Mask&(GenericAll|GenericRead|GenericWrite|GenericExecute) != 0 ||
		a.SID == CreatorOwner || a.SID == CreatorGroup
}

// expand returns the entry as it takes effect on the object, not to be handed
// down any further.
func (in inheritance) expand(a ACE) ACE {
	a.Mask = a.Mask.MapGeneric()
	switch a.SID {
	case CreatorOwner:
		a.SID = in.owner
	case CreatorGroup:
		a.SID = in.group
	}
	a.Flags &= SuccessfulAccess | FailedAccess
	a.Data = slices.Clone(a.Data)
	return a
}

// explicit returns the entries that were asked for, those with generic rights in
// two forms if they are inheritable: one to hand down and one in effect
// ([MS-DTYP] 2.5.3.4.4 and 2.5.3.4.5). Inherited ones are left out, because they
// come from the parent; a protected list keeps them as its own.
func (in inheritance) explicit(asked []ACE, protected bool) []ACE {
	out := make([]ACE, 0, len(asked))
	for _, a := range asked {
		if a.Flags.Has(Inherited) {
			if !protected {
				continue
			}
			a.Flags &^= Inherited
		}
		inheritable := a.Flags&(ContainerInherit|ObjectInherit) != 0
		if a.Flags.Has(InheritOnly) && !inheritable {
			continue // it would never take effect anywhere
		}
		if a.Flags.Has(InheritOnly) || !needsExpansion(&a) {
			a.Data = slices.Clone(a.Data)
			out = append(out, a)
			continue
		}
		if a.Flags.Has(ContainerInherit) {
			handed := a
			handed.Flags |= InheritOnly
			handed.Data = slices.Clone(a.Data)
			out = append(out, handed)
		}
		out = append(out, in.expand(a))
	}
	return out
}

// fromParent returns what a directory object, which is always a container,
// inherits from the parent's entries ([MS-DTYP] 2.5.3.4.3).
func (in inheritance) fromParent(parent []ACE) []ACE {
	var out []ACE
	for i := range parent {
		a := &parent[i]
		if a.Flags&(ContainerInherit|ObjectInherit) == 0 {
			continue
		}
		effective := a.Flags.Has(ContainerInherit) && a.AppliesTo(in.classes)
		if a.Flags.Has(NoPropagateInherit) {
			if effective {
				out = append(out, in.specific(*a))
			}
			continue
		}
		expanded := effective && needsExpansion(a)
		if expanded {
			out = append(out, in.specific(*a))
		}
		b := *a
		b.Data = slices.Clone(a.Data)
		b.Flags |= Inherited
		if effective && !expanded {
			b.Flags &^= InheritOnly
		} else {
			b.Flags |= InheritOnly
		}
		out = append(out, b)
	}
	return out
}

// specific returns an inherited entry that ends at this object: expanded, and
// without the class that it was meant for, because that has been found.
func (in inheritance) specific(a ACE) ACE {
	a = in.expand(a)
	a.Flags |= Inherited
	if a.Type.IsObject() {
		a.InheritedObjectType = GUID{}
		a.object &^= inheritedObjectTypePresent
		if a.objectFlags()&objectTypePresent == 0 {
			a.Type = a.Type.plain()
			a.object = 0
		}
	}
	return a
}

// plain returns the type without object types that does the same.
func (t ACEType) plain() ACEType {
	switch t {
	case AllowObject:
		return Allow
	case DenyObject:
		return Deny
	case AuditObject:
		return Audit
	case AlarmObject:
		return Alarm
	case AllowCallbackObject:
		return AllowCallback
	case DenyCallbackObject:
		return DenyCallback
	case AuditCallbackObject:
		return AuditCallback
	case AlarmCallbackObject:
		return AlarmCallback
	default:
		return t
	}
}

// AppliesTo reports whether an object of these classes that inherits the entry
// gets it as one in effect: the entry has no inherited object type, or that of
// one of the classes. Whether the entry is inheritable, or is in effect on the
// object that has it, is a matter of its flags alone.
func (a ACE) AppliesTo(classes []GUID) bool {
	return a.InheritedObjectType.IsZero() || slices.Contains(classes, a.InheritedObjectType)
}

// A Link is an object on the way from an object to the head of its naming
// context.
type Link struct {
	Descriptor *Descriptor
	Classes    []GUID // as for Create
}

// Origin finds where an inherited entry was set: chain is the object, its parent,
// and so on; index is that of the entry in the object's DACL. It returns the
// position in chain of the nearest ancestor that has the entry as its own, and
// the entry's index there. An entry that is not inherited is its own origin.
//
// ok is false if no such entry is found: the chain is too short, an ancestor's
// DACL was not read, or inheritance has not been propagated yet.
func Origin(chain []Link, index int) (level, at int, ok bool) {
	at = index
	for ; level < len(chain); level++ {
		d := chain[level].Descriptor
		if d == nil || d.DACL == nil || at < 0 || at >= len(d.DACL.ACEs) {
			return 0, 0, false
		}
		a := d.DACL.ACEs[at]
		if !a.IsInherited() {
			return level, at, true
		}
		if level+1 == len(chain) {
			break
		}
		in := inheritance{owner: d.Owner, group: d.Group, classes: chain[level].Classes}
		at = in.source(chain[level+1].Descriptor, a)
	}
	return 0, 0, false
}

// source returns the index of the parent's entry that hands a down, or -1. An
// explicit one is preferred, because it is nearer.
func (in inheritance) source(parent *Descriptor, a ACE) int {
	found := -1
	if parent == nil || parent.DACL == nil {
		return found
	}
	for i := range parent.DACL.ACEs {
		p := &parent.DACL.ACEs[i]
		if p.SID != a.SID && p.SID != CreatorOwner && p.SID != CreatorGroup {
			continue // whoever it is for stays the same: see expand
		}
		if !slices.ContainsFunc(in.fromParent(parent.DACL.ACEs[i:i+1]), a.Equal) {
			continue
		}
		if !p.IsInherited() {
			return i
		}
		if found < 0 {
			found = i
		}
	}
	return found
}
