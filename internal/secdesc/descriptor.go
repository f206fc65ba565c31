package secdesc

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
// be shared by many objects.
type Descriptor struct {
	Control Control
	Owner   SID  // zero if absent or not read
	Group   SID  // zero if absent or not read
	DACL    *ACL // nil: absent (Control lacks DACLPresent) or NULL (has it): full control for everyone
	SACL    *ACL // nil: absent, NULL, or not read
}

// An ACL is an access control list ([MS-DTYP] 2.4.5).
type ACL struct {
	Revision uint8
	ACEs     []ACE
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
// know have only Type, Flags and Data (their whole body).
type ACE struct {
	Type                ACEType
	Flags               ACEFlags
	Mask                Mask // as stored; see Mask.MapGeneric
	SID                 SID
	ObjectType          GUID   // zero if absent; object types only
	InheritedObjectType GUID   // zero if absent; object types only
	Data                []byte // what follows the SID: condition, claim, padding
}
