package secdesc

import (
	"bytes"
	"slices"
)

// Control holds the control flags of a descriptor ([MS-DTYP] 2.4.6).
type Control uint16

// Control flags.
const (
	OwnerDefaulted       Control = 0x0001
	GroupDefaulted       Control = 0x0002
	DACLPresent          Control = 0x0004
	DACLDefaulted        Control = 0x0008
	SACLPresent          Control = 0x0010
	SACLDefaulted        Control = 0x0020
	DACLTrusted          Control = 0x0040
	ServerSecurity       Control = 0x0080
	DACLAutoInheritReq   Control = 0x0100
	SACLAutoInheritReq   Control = 0x0200
	DACLAutoInherited    Control = 0x0400
	SACLAutoInherited    Control = 0x0800
	DACLProtected        Control = 0x1000
	SACLProtected        Control = 0x2000
	ResourceManagerValid Control = 0x4000
	SelfRelative         Control = 0x8000
)

// A Descriptor is a security descriptor. Treat a parsed one as read-only: it may
// be shared by many objects. To change one, change a [Descriptor.Clone].
//
// A parsed descriptor also remembers how its bytes were laid out, so that
// [Descriptor.Bytes] gives them back; two descriptors that differ in nothing
// else are [Descriptor.Equal].
type Descriptor struct {
	Control Control
	Owner   SID  // zero if absent or not read
	Group   SID  // zero if absent or not read
	DACL    *ACL // nil: absent (Control lacks DACLPresent) or NULL (has it): full control for everyone
	SACL    *ACL // nil: absent, NULL, or not read

	layout layout
}

// Revisions of access control lists.
const (
	ACLRevision   uint8 = 2 // no object types
	ACLRevisionDS uint8 = 4 // may hold object types; what a directory writes
)

// An ACL is an access control list ([MS-DTYP] 2.4.5).
type ACL struct {
	Revision uint8
	ACEs     []ACE

	sbz   [3]byte // reserved bytes of the header, in the order of the wire
	slack []byte  // what AclSize counts beyond the last entry
}

// An ACEType is the first byte of an access control entry ([MS-DTYP] 2.4.4.1).
type ACEType uint8

// Types of access control entries.
const (
	Allow               ACEType = 0x00
	Deny                ACEType = 0x01
	Audit               ACEType = 0x02
	Alarm               ACEType = 0x03
	AllowCompound       ACEType = 0x04
	AllowObject         ACEType = 0x05
	DenyObject          ACEType = 0x06
	AuditObject         ACEType = 0x07
	AlarmObject         ACEType = 0x08
	AllowCallback       ACEType = 0x09
	DenyCallback        ACEType = 0x0A
	AllowCallbackObject ACEType = 0x0B
	DenyCallbackObject  ACEType = 0x0C
	AuditCallback       ACEType = 0x0D
	AlarmCallback       ACEType = 0x0E
	AuditCallbackObject ACEType = 0x0F
	AlarmCallbackObject ACEType = 0x10
	MandatoryLabel      ACEType = 0x11
	ResourceAttribute   ACEType = 0x12
	ScopedPolicyID      ACEType = 0x13
	ProcessTrustLabel   ACEType = 0x14
	AccessFilter        ACEType = 0x15
)

// ACEFlags are the inheritance and audit flags of an entry ([MS-DTYP] 2.4.4.1).
type ACEFlags uint8

// Flags of access control entries.
const (
	ObjectInherit      ACEFlags = 0x01
	ContainerInherit   ACEFlags = 0x02
	NoPropagateInherit ACEFlags = 0x04
	InheritOnly        ACEFlags = 0x08
	Inherited          ACEFlags = 0x10
	SuccessfulAccess   ACEFlags = 0x40
	FailedAccess       ACEFlags = 0x80
)

// An ACE is an access control entry. Entries of a type that this package does not
// know (see [ACEType.Known]) have only Type, Flags and Data (their whole body).
type ACE struct {
	Type                ACEType
	Flags               ACEFlags
	Mask                Mask // as stored; see Mask.MapGeneric
	SID                 SID
	ObjectType          GUID   // zero if absent; object types only
	InheritedObjectType GUID   // zero if absent; object types only
	Data                []byte // what follows the SID: condition, claim, padding

	// object keeps what the fields above cannot say of the flags of an object
	// type ([MS-DTYP] 2.4.4.3): unknown bits, and "present" for a zero GUID.
	object uint32
}

// Bits of the Flags field of object types ([MS-DTYP] 2.4.4.3).
const (
	objectTypePresent          uint32 = 1
	inheritedObjectTypePresent uint32 = 2
)

// aceShape is how the body of an entry is laid out.
type aceShape uint8

const (
	opaqueShape aceShape = iota // not known: the body is kept
	plainShape                  // mask, SID, data
	objectShape                 // mask, flags, up to two GUIDs, SID, data
)

func (t ACEType) shape() aceShape {
	switch t {
	case Allow, Deny, Audit, Alarm,
		AllowCallback, DenyCallback, AuditCallback, AlarmCallback,
		MandatoryLabel, ResourceAttribute, ScopedPolicyID, ProcessTrustLabel, AccessFilter:
		return plainShape
	case AllowObject, DenyObject, AuditObject, AlarmObject,
		AllowCallbackObject, DenyCallbackObject, AuditCallbackObject, AlarmCallbackObject:
		return objectShape
	default: // AllowCompound has two SIDs and was never used
		return opaqueShape
	}
}

// Known reports whether the body of entries of this type is understood. Of
// others an [ACE] has only Type, Flags and Data.
func (t ACEType) Known() bool { return t.shape() != opaqueShape }

// IsObject reports whether entries of this type can name an object type.
func (t ACEType) IsObject() bool { return t.shape() == objectShape }

// IsCallback reports whether entries of this type carry a condition (or other
// data for an application) behind the SID.
func (t ACEType) IsCallback() bool { return t >= AllowCallback && t <= AlarmCallbackObject }

// IsAllow reports whether entries of this type grant access, perhaps under a
// condition.
func (t ACEType) IsAllow() bool {
	return t == Allow || t == AllowObject || t == AllowCallback || t == AllowCallbackObject
}

// IsDeny reports whether entries of this type deny access, perhaps under a
// condition.
func (t ACEType) IsDeny() bool {
	return t == Deny || t == DenyObject || t == DenyCallback || t == DenyCallbackObject
}

// IsAudit reports whether entries of this type cause audit events.
func (t ACEType) IsAudit() bool {
	return t == Audit || t == AuditObject || t == AuditCallback || t == AuditCallbackObject
}

// Has reports whether every flag of f is set.
func (c Control) Has(f Control) bool { return c&f == f }

// Has reports whether every flag of g is set.
func (f ACEFlags) Has(g ACEFlags) bool { return f&g == g }

// HasNullDACL reports whether d has a DACL that is NULL: everyone has full
// control. An absent DACL ([DACLPresent] missing) means the same to an access
// check, but may also be one that was not read.
func (d *Descriptor) HasNullDACL() bool { return d.DACL == nil && d.Control.Has(DACLPresent) }

// Equal reports whether d and e say the same: the layout of their bytes does not
// count, but data of unknown meaning does.
func (d *Descriptor) Equal(e *Descriptor) bool {
	if d == nil || e == nil {
		return d == e
	}
	return d.Control == e.Control && d.Owner == e.Owner && d.Group == e.Group &&
		d.layout.sbz1 == e.layout.sbz1 && d.DACL.Equal(e.DACL) && d.SACL.Equal(e.SACL)
}

// Equal reports whether a and b hold the same entries in the same order.
func (a *ACL) Equal(b *ACL) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Revision == b.Revision && slices.EqualFunc(a.ACEs, b.ACEs, ACE.Equal)
}

// Equal reports whether a and b are the same entry.
func (a ACE) Equal(b ACE) bool {
	return a.Type == b.Type && a.Flags == b.Flags && a.Mask == b.Mask && a.SID == b.SID &&
		a.ObjectType == b.ObjectType && a.InheritedObjectType == b.InheritedObjectType &&
		a.object == b.object && bytes.Equal(a.Data, b.Data)
}

// Clone returns a copy of d that shares nothing changeable with it.
func (d *Descriptor) Clone() *Descriptor {
	if d == nil {
		return nil
	}
	c := *d
	c.DACL, c.SACL = d.DACL.Clone(), d.SACL.Clone()
	return &c
}

// Clone returns a copy of a that shares nothing changeable with it.
func (a *ACL) Clone() *ACL {
	if a == nil {
		return nil
	}
	c := *a
	c.ACEs = slices.Clone(a.ACEs)
	for i := range c.ACEs {
		c.ACEs[i].Data = slices.Clone(c.ACEs[i].Data)
	}
	return &c
}
