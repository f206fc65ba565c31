package secdesc

import (
	"fmt"
	"slices"
)

// Limits of what Parse accepts.
const (
	headerSize    = 20 // of a descriptor, [MS-DTYP] 2.4.6
	aclHeaderSize = 8  // [MS-DTYP] 2.4.5
	aceHeaderSize = 4  // [MS-DTYP] 2.4.4.1

	// MaxSize is the largest number of bytes that Parse accepts: two access
	// control lists of the largest size, two SIDs, and room to spare.
	MaxSize = 256 << 10
)

// A ParseError says where bytes or text stopped being a security descriptor, and
// why.
type ParseError struct {
	Text   bool   // the input was SDDL, not bytes
	Offset int    // of the offending byte, counted from 0
	What   string // what is wrong there
}

// Error implements error.
func (e *ParseError) Error() string {
	if e.Text {
		return fmt.Sprintf("not SDDL: position %d: %s", e.Offset, e.What)
	}
	return fmt.Sprintf("not a security descriptor: byte %d: %s", e.Offset, e.What)
}

func badByte(offset int, format string, args ...any) error {
	return &ParseError{Offset: offset, What: fmt.Sprintf(format, args...)}
}

// part is a piece of a self-relative descriptor that the header points to.
type part uint8

// The parts, in the order of their offsets in the header ([MS-DTYP] 2.4.6).
const (
	ownerPart part = iota
	groupPart
	saclPart
	daclPart
	parts // how many
)

// layout says how the bytes of a parsed descriptor were arranged.
type layout struct {
	sbz1  byte // meaningful with ResourceManagerValid
	samba bool // the parts follow the header in the order of its offsets
	odd   *oddLayout
}

// oddLayout is a layout that is not simply one part after the other.
type oddLayout struct {
	offsets [parts]uint32
	lengths [parts]int // 0 for a part that is absent
	size    int
	gaps    []gap
}

// gap is a stretch of bytes that belongs to no part.
type gap struct {
	offset int
	bytes  []byte
}

// Parse reads a self-relative security descriptor ([MS-DTYP] 2.4.6). It fails
// with a [*ParseError]. The result shares no memory with b; its SIDs share one
// string of the size of b.
func Parse(b []byte) (*Descriptor, error) { return ParseString(string(b)) }

// ParseString is [Parse] of the bytes in s. The SIDs of the result are cut from s
// and keep it alive.
func ParseString(s string) (*Descriptor, error) {
	d := &Descriptor{}
	if err := d.parse(s, &parser{s: s}); err != nil {
		return nil, err
	}
	return d, nil
}

// A Reader parses one descriptor after the other into the same memory. The zero
// value is ready. It is for one goroutine.
type Reader struct {
	d     Descriptor
	lists [parts]ACL // those of saclPart and daclPart
}

// Read is [ParseString] for those who are done with a descriptor before they read the
// next: the result, but for its SIDs, is overwritten by the next call.
func (r *Reader) Read(s string) (*Descriptor, error) {
	r.d = Descriptor{}
	if err := r.d.parse(s, &parser{s: s, room: r}); err != nil {
		return nil, err
	}
	return &r.d, nil
}

// parse fills d, which is empty.
func (d *Descriptor) parse(s string, p *parser) error {
	if len(s) < headerSize {
		return badByte(len(s), "cut short: a descriptor has at least %d bytes", headerSize)
	}
	if len(s) > MaxSize {
		return badByte(MaxSize, "%d bytes: larger than any descriptor", len(s))
	}
	if s[0] != 1 {
		return badByte(0, "revision %d is unknown", s[0])
	}
	d.Control = Control(p.uint16(2))
	if !d.Control.Has(SelfRelative) {
		return badByte(2, "control 0x%04x: not self-relative", uint16(d.Control))
	}
	if err := p.parts(d); err != nil {
		return err
	}
	d.layout = p.layout()
	d.layout.sbz1 = s[1]
	return nil
}

type parser struct {
	s       string // SIDs are cut from it
	offsets [parts]uint32
	lengths [parts]int
	room    *Reader // if not nil: has room for the lists
}

func (p *parser) uint16(at int) uint16 { return uint16(p.s[at]) | uint16(p.s[at+1])<<8 }

func (p *parser) uint32(at int) uint32 {
	return uint32(p.s[at]) | uint32(p.s[at+1])<<8 | uint32(p.s[at+2])<<16 | uint32(p.s[at+3])<<24
}

// list returns room for a list of so many entries.
func (p *parser) list(of part, count int) *ACL {
	if p.room == nil {
		a := &ACL{}
		if count > 0 {
			a.ACEs = make([]ACE, count)
		}
		return a
	}
	a := &p.room.lists[of]
	*a = ACL{ACEs: slices.Grow(a.ACEs[:0], count)[:count]}
	clear(a.ACEs)
	return a
}

// parts reads owner, group and both lists. An offset whose "present" flag is
// missing is remembered, but what it points to is not read.
func (p *parser) parts(d *Descriptor) (err error) {
	for i := range parts {
		at := 4 + 4*int(i)
		p.offsets[i] = p.uint32(at)
		off := p.offsets[i]
		if off == 0 || i == saclPart && !d.Control.Has(SACLPresent) || i == daclPart && !d.Control.Has(DACLPresent) {
			continue
		}
		if off < headerSize || uint64(off) > uint64(len(p.s)) {
			return badByte(at, "offset %d is outside of %d bytes", off, len(p.s))
		}
		switch i {
		case ownerPart:
			d.Owner, p.lengths[i], err = p.sid(int(off), len(p.s))
		case groupPart:
			d.Group, p.lengths[i], err = p.sid(int(off), len(p.s))
		case saclPart:
			d.SACL, p.lengths[i], err = p.acl(i, int(off))
		case daclPart:
			d.DACL, p.lengths[i], err = p.acl(i, int(off))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sid reads the SID at off, which must end before end.
func (p *parser) sid(off, end int) (SID, int, error) {
	if end-off < 8 {
		return SID{}, 0, badByte(off, "SID cut short at %d bytes", end-off)
	}
	count := int(p.s[off+1])
	if p.s[off] != 1 || count > maxSubAuthorities {
		return SID{}, 0, badByte(off, "not a SID: revision %d, %d sub-authorities", p.s[off], count)
	}
	n := 8 + 4*count
	if end-off < n {
		return SID{}, 0, badByte(off, "SID cut short at %d of %d bytes", end-off, n)
	}
	return SID{p.s[off : off+n]}, n, nil
}

// acl reads the list at off and returns its size in bytes.
func (p *parser) acl(of part, off int) (*ACL, int, error) {
	if len(p.s)-off < aclHeaderSize {
		return nil, 0, badByte(off, "access control list cut short at %d bytes", len(p.s)-off)
	}
	h := p.s[off : off+aclHeaderSize]
	size, count := int(p.uint16(off+2)), int(p.uint16(off+4))
	if h[0] < 2 || h[0] > 4 {
		return nil, 0, badByte(off, "access control list of unknown revision %d", h[0])
	}
	if size < aclHeaderSize+aceHeaderSize*count || size > len(p.s)-off {
		return nil, 0, badByte(off+2, "access control list of %d bytes with %d entries does not fit into %d bytes", size, count, len(p.s)-off)
	}
	a := p.list(of, count)
	a.Revision, a.sbz = h[0], [3]byte{h[1], h[6], h[7]}
	at, end := off+aclHeaderSize, off+size
	for i := range a.ACEs {
		n, err := p.ace(&a.ACEs[i], at, end)
		if err != nil {
			return nil, 0, err
		}
		at += n
	}
	if at < end {
		a.slack = []byte(p.s[at:end])
	}
	return a, size, nil
}

// ace reads the entry at off, which must end before end, and returns its size.
func (p *parser) ace(e *ACE, off, end int) (int, error) {
	if end-off < aceHeaderSize {
		return 0, badByte(off, "access control entry cut short at %d bytes", end-off)
	}
	e.Type, e.Flags = ACEType(p.s[off]), ACEFlags(p.s[off+1])
	size := int(p.uint16(off + 2))
	if size < aceHeaderSize || size > end-off {
		return 0, badByte(off+2, "access control entry of %d bytes does not fit into %d bytes", size, end-off)
	}
	at, end := off+aceHeaderSize, off+size
	shape := e.Type.shape()
	if shape != opaqueShape {
		if end-at < 4 {
			return 0, badByte(at, "access mask cut short")
		}
		e.Mask = Mask(p.uint32(at))
		at += 4
		if shape == objectShape {
			n, err := p.objectTypes(e, at, end)
			if err != nil {
				return 0, err
			}
			at += n
		}
		sid, n, err := p.sid(at, end)
		if err != nil {
			return 0, err
		}
		e.SID = sid
		at += n
	}
	if at < end {
		e.Data = []byte(p.s[at:end])
	}
	return size, nil
}

// objectTypes reads the flags and GUIDs of an object type ([MS-DTYP] 2.4.4.3).
func (p *parser) objectTypes(e *ACE, off, end int) (int, error) {
	if end-off < 4 {
		return 0, badByte(off, "object flags cut short")
	}
	flags := p.uint32(off)
	at := off + 4
	e.object = flags &^ (objectTypePresent | inheritedObjectTypePresent)
	for _, g := range []struct {
		bit uint32
		to  *GUID
	}{{objectTypePresent, &e.ObjectType}, {inheritedObjectTypePresent, &e.InheritedObjectType}} {
		if flags&g.bit == 0 {
			continue
		}
		if end-at < len(GUID{}) {
			return 0, badByte(at, "object type cut short")
		}
		copy(g.to[:], p.s[at:])
		at += len(GUID{})
		if g.to.IsZero() {
			e.object |= g.bit
		}
	}
	return at - off, nil
}

// layout tells how the parts were arranged.
func (p *parser) layout() layout {
	for _, samba := range []bool{false, true} {
		if p.contiguous(samba) {
			return layout{samba: samba}
		}
	}
	odd := &oddLayout{offsets: p.offsets, lengths: p.lengths, size: len(p.s)}
	covered := make([]bool, len(p.s))
	cover := func(off, n int) {
		for i := off; i < off+n; i++ {
			covered[i] = true
		}
	}
	cover(0, headerSize)
	for i := range parts {
		cover(int(p.offsets[i]), p.lengths[i])
	}
	for i := 0; i < len(covered); i++ {
		start := i
		for i < len(covered) && !covered[i] {
			i++
		}
		if i > start {
			odd.gaps = append(odd.gaps, gap{start, []byte(p.s[start:i])})
		}
	}
	return layout{odd: odd}
}

// contiguous reports whether the parts follow each other in the given order,
// from the header to the end.
func (p *parser) contiguous(samba bool) bool {
	at := headerSize
	for _, i := range partOrder(samba) {
		if p.lengths[i] == 0 {
			if p.offsets[i] != 0 {
				return false
			}
			continue
		}
		if int(p.offsets[i]) != at {
			return false
		}
		at += p.lengths[i]
	}
	return at == len(p.s)
}

// partOrder is the order in which the parts are written: Windows puts the lists
// before the SIDs, Samba keeps the order of the header.
func partOrder(samba bool) [parts]part {
	if samba {
		return [parts]part{ownerPart, groupPart, saclPart, daclPart}
	}
	return [parts]part{saclPart, daclPart, ownerPart, groupPart}
}
