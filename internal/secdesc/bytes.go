package secdesc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Bytes returns the self-relative form of d ([MS-DTYP] 2.4.6). For a descriptor
// that came from Parse and was not changed these are the bytes that were parsed;
// otherwise the parts are laid out one after the other.
//
// It returns nil for a descriptor that has no such form; [Descriptor.Check] says
// why.
func (d *Descriptor) Bytes() []byte {
	if d.Check() != nil {
		return nil
	}
	body := [parts][]byte{
		ownerPart: []byte(d.Owner.wire),
		groupPart: []byte(d.Group.wire),
		saclPart:  d.SACL.append(nil),
		daclPart:  d.DACL.append(nil),
	}
	if o := d.layout.odd; o != nil {
		if b := d.oddBytes(o, &body); b != nil {
			return b
		}
	}
	size := headerSize
	for _, b := range body {
		size += len(b)
	}
	out := make([]byte, headerSize, size)
	d.putHeader(out)
	for _, i := range partOrder(d.layout.samba) {
		if len(body[i]) == 0 {
			continue
		}
		binary.LittleEndian.PutUint32(out[4+4*int(i):], uint32(len(out)))
		out = append(out, body[i]...)
	}
	return out
}

func (d *Descriptor) putHeader(out []byte) {
	out[0], out[1] = 1, d.layout.sbz1
	binary.LittleEndian.PutUint16(out[2:], uint16(d.control()))
}

// control returns the flags with those that follow from the parts.
func (d *Descriptor) control() Control {
	c := d.Control | SelfRelative
	if d.DACL != nil {
		c |= DACLPresent
	}
	if d.SACL != nil {
		c |= SACLPresent
	}
	return c
}

// oddBytes writes the parts where they were, or returns nil if they changed so
// that this is not possible.
func (d *Descriptor) oddBytes(o *oddLayout, body *[parts][]byte) []byte {
	out := make([]byte, o.size)
	d.putHeader(out)
	for i := range parts {
		if len(body[i]) != o.lengths[i] {
			return nil
		}
		binary.LittleEndian.PutUint32(out[4+4*int(i):], o.offsets[i])
		if len(body[i]) > 0 {
			copy(out[o.offsets[i]:], body[i])
		}
	}
	for _, g := range o.gaps {
		copy(out[g.offset:], g.bytes)
	}
	for i := range parts { // parts may overlap: the last one written must not have changed the others
		if n := len(body[i]); n > 0 && !bytes.Equal(out[o.offsets[i]:int(o.offsets[i])+n], body[i]) {
			return nil
		}
	}
	return out
}

// Check reports why d has no self-relative form: a list or an entry that is too
// large for its 16-bit size, or an entry without a SID. What Parse returns
// always has one.
func (d *Descriptor) Check() error {
	if err := d.DACL.check("DACL"); err != nil {
		return err
	}
	return d.SACL.check("SACL")
}

func (a *ACL) check(name string) error {
	if a == nil {
		return nil
	}
	for i := range a.ACEs {
		e := &a.ACEs[i]
		if e.Type.Known() && e.SID.IsZero() {
			return fmt.Errorf("%s entry %d: no SID", name, i)
		}
		if e.size() > math.MaxUint16 {
			return fmt.Errorf("%s entry %d: %d bytes are too many", name, i, e.size())
		}
	}
	if a.size() > math.MaxUint16 {
		return fmt.Errorf("%s: %d bytes are too many", name, a.size())
	}
	return nil
}

func (a *ACL) size() int {
	size := aclHeaderSize + len(a.slack)
	for i := range a.ACEs {
		size += a.ACEs[i].size()
	}
	return size
}

// append appends the list, which must have passed check, to b.
func (a *ACL) append(b []byte) []byte {
	if a == nil {
		return b
	}
	size := a.size()
	b = slices.Grow(b, size)
	revision := a.Revision
	if revision == 0 {
		revision = ACLRevisionDS
	}
	b = append(b, revision, a.sbz[0])
	b = binary.LittleEndian.AppendUint16(b, uint16(size))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(a.ACEs)))
	b = append(b, a.sbz[1], a.sbz[2])
	for i := range a.ACEs {
		b = a.ACEs[i].append(b)
	}
	return append(b, a.slack...)
}

// objectFlags returns the flags field of an object type.
func (a *ACE) objectFlags() uint32 {
	f := a.object
	if !a.ObjectType.IsZero() {
		f |= objectTypePresent
	}
	if !a.InheritedObjectType.IsZero() {
		f |= inheritedObjectTypePresent
	}
	return f
}

func (a *ACE) size() int {
	n := aceHeaderSize + len(a.Data)
	shape := a.Type.shape()
	if shape == opaqueShape {
		return n
	}
	n += 4 + len(a.SID.wire)
	if shape == objectShape {
		n += 4
		f := a.objectFlags()
		if f&objectTypePresent != 0 {
			n += len(GUID{})
		}
		if f&inheritedObjectTypePresent != 0 {
			n += len(GUID{})
		}
	}
	return n
}

// append appends the entry, whose size must fit into 16 bits.
func (a *ACE) append(b []byte) []byte {
	b = append(b, byte(a.Type), byte(a.Flags))
	b = binary.LittleEndian.AppendUint16(b, uint16(a.size()))
	shape := a.Type.shape()
	if shape == opaqueShape {
		return append(b, a.Data...)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(a.Mask))
	if shape == objectShape {
		f := a.objectFlags()
		b = binary.LittleEndian.AppendUint32(b, f)
		if f&objectTypePresent != 0 {
			b = append(b, a.ObjectType[:]...)
		}
		if f&inheritedObjectTypePresent != 0 {
			b = append(b, a.InheritedObjectType[:]...)
		}
	}
	b = append(b, a.SID.wire...)
	return append(b, a.Data...)
}
