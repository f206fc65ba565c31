package secdesc

// A Mask is a set of access rights ([MS-DTYP] 2.4.3), with the names that Active
// Directory gives to the object-specific bits ([MS-ADTS] 5.1.3.2).
type Mask uint32

// Rights of directory objects and the standard and generic rights.
const (
	CreateChild    Mask = 0x1
	DeleteChild    Mask = 0x2
	ListContents   Mask = 0x4
	SelfWrite      Mask = 0x8 // validated write
	ReadProperty   Mask = 0x10
	WriteProperty  Mask = 0x20
	DeleteTree     Mask = 0x40
	ListObject     Mask = 0x80
	ControlAccess  Mask = 0x100 // extended right
	Delete         Mask = 0x10000
	ReadControl    Mask = 0x20000
	WriteDAC       Mask = 0x40000
	WriteOwner     Mask = 0x80000
	Synchronize    Mask = 0x100000
	SystemSecurity Mask = 0x1000000
	MaximumAllowed Mask = 0x2000000
	GenericAll     Mask = 0x10000000
	GenericExecute Mask = 0x20000000
	GenericWrite   Mask = 0x40000000
	GenericRead    Mask = 0x80000000

	// FullControl is what GenericAll maps to on a directory object.
	FullControl Mask = 0xF01FF
)

// MapGeneric replaces the generic bits by the rights that they mean on a
// directory object ([MS-ADTS] 5.1.3.2).
func (m Mask) MapGeneric() Mask {
	out := m &^ (GenericAll | GenericExecute | GenericWrite | GenericRead)
	if m&GenericAll != 0 {
		out |= FullControl
	}
	if m&GenericRead != 0 {
		out |= 0x20094
	}
	if m&GenericWrite != 0 {
		out |= 0x20028
	}
	if m&GenericExecute != 0 {
		out |= 0x20004
	}
	return out
}
