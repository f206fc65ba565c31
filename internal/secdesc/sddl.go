package secdesc

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// noAccessControl stands for a DACL that is NULL ([MS-DTYP] 2.5.1.1).
const noAccessControl = "NO_ACCESS_CONTROL"

// SDDL returns the text form of d ([MS-DTYP] 2.5.1), with aliases of the given
// domain. The control flags that say how a part came about (defaulted, trusted,
// resource manager) have no text form, and a SACL that is NULL has none either: it
// audits nothing, as one that is absent.
//
// The text is the one that Samba writes, wherever Samba can write one: rights are
// listed in its order and unnamed ones as 0x with eight digits. Windows reads it,
// but would itself write the rights in another order. Beyond Samba it has
// Windows' form for callback types, labels, claims and policies, and, for what
// SDDL cannot say, leastwise's own:
//
//   - a type without a name is its number: (0x0C;…)
//   - data behind the SID that is not a readable condition or claim, and the body
//     of an unknown type, is hexadecimal in a seventh field: (0x7E;;;;;;0x0102)
func (d *Descriptor) SDDL(domain SID) string {
	w := sddlWriter{domain: domain}
	if !d.Owner.IsZero() {
		w.WriteString("O:" + d.Owner.SDDL(domain))
	}
	if !d.Group.IsZero() {
		w.WriteString("G:" + d.Group.SDDL(domain))
	}
	w.acl("D:", d.DACL, aclFlagsText(d.Control))
	if d.HasNullDACL() {
		w.WriteString("D:" + aclFlagsText(d.Control) + noAccessControl)
	}
	w.acl("S:", d.SACL, aclFlagsText(d.Control>>1))
	return w.String()
}

// SDDL returns the text form of one entry with its parentheses; see
// [Descriptor.SDDL].
func (a ACE) SDDL(domain SID) string {
	w := sddlWriter{domain: domain}
	w.ace(&a)
	return w.String()
}

// aclFlagsText returns the flags of a DACL. Those of the SACL are one bit higher.
func aclFlagsText(c Control) string {
	s := ""
	if c.Has(DACLProtected) {
		s += "P"
	}
	if c.Has(DACLAutoInheritReq) {
		s += "AR"
	}
	if c.Has(DACLAutoInherited) {
		s += "AI"
	}
	return s
}

type sddlWriter struct {
	strings.Builder
	domain SID
}

func (w *sddlWriter) acl(prefix string, a *ACL, flags string) {
	if a == nil {
		return
	}
	w.WriteString(prefix + flags)
	for i := range a.ACEs {
		w.ace(&a.ACEs[i])
	}
}

func (w *sddlWriter) ace(a *ACE) {
	w.WriteString("(" + a.Type.String() + ";")
	w.codes(uint32(a.Flags), aceFlagCodes)
	w.WriteByte(';')
	if !a.Type.Known() {
		w.WriteString(";;;;" + hexData(a.Data) + ")")
		return
	}
	if a.Type == MandatoryLabel {
		w.codes(uint32(a.Mask), labelCodes)
	} else {
		w.codes(uint32(a.Mask), rightsCodes)
	}
	w.WriteByte(';')
	f := a.objectFlags()
	if a.Type.IsObject() && f&objectTypePresent != 0 {
		w.WriteString(a.ObjectType.String())
	}
	w.WriteByte(';')
	if a.Type.IsObject() && f&inheritedObjectTypePresent != 0 {
		w.WriteString(a.InheritedObjectType.String())
	}
	w.WriteString(";" + a.SID.SDDL(w.domain))
	if t := w.data(a); t != "" {
		w.WriteString(";" + t)
	}
	w.WriteByte(')')
}

// codes writes the names of all bits, or their number if one has no name.
func (w *sddlWriter) codes(bits uint32, table []letterCode) {
	known := uint32(0)
	for _, c := range table {
		known |= c.bits
	}
	if bits&^known != 0 {
		fmt.Fprintf(w, "0x%08x", bits)
		return
	}
	for _, c := range table {
		if bits&c.bits != 0 {
			w.WriteString(c.code)
		}
	}
}

// data returns the seventh field: the condition or claim if it can be told in
// words, the bytes if not, and nothing for nothing or mere padding.
func (w *sddlWriter) data(a *ACE) string {
	if isZero(a.Data) {
		return ""
	}
	switch {
	case a.Type.hasCondition():
		if c, err := DecodeCondition(a.Data); err == nil {
			return c.SDDL(w.domain)
		}
	case a.Type == ResourceAttribute:
		if c, err := DecodeClaim(a.Data); err == nil {
			if s, ok := c.text(w.domain); ok {
				return s
			}
		}
	}
	return hexData(a.Data)
}

// hasCondition reports whether the data of the type is a conditional expression.
func (t ACEType) hasCondition() bool { return t.IsCallback() || t == AccessFilter }

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func hexData(b []byte) string { return "0x" + hex.EncodeToString(b) }

// String returns the name of the type in SDDL, or its number as 0x0C.
func (t ACEType) String() string {
	for _, c := range aceTypeCodes {
		if c.bits == uint32(t) {
			return c.code
		}
	}
	return fmt.Sprintf("0x%02X", uint8(t))
}

// String returns the flags in SDDL, as OICIID.
func (f ACEFlags) String() string {
	var w sddlWriter
	w.codes(uint32(f), aceFlagCodes)
	return w.String()
}

// String returns the rights in SDDL, as RPWP or 0x001f01ff.
func (m Mask) String() string {
	var w sddlWriter
	w.codes(uint32(m), rightsCodes)
	return w.String()
}
