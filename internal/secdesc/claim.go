package secdesc

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
)

// A ClaimType says what the values of a claim are ([MS-DTYP] 2.4.10.1).
type ClaimType uint16

// Types of claims.
const (
	ClaimInt64   ClaimType = 1
	ClaimUint64  ClaimType = 2
	ClaimString  ClaimType = 3
	ClaimSID     ClaimType = 5
	ClaimBoolean ClaimType = 6
	ClaimOctets  ClaimType = 0x10
)

// claimTypeCodes are their names in SDDL ([MS-DTYP] 2.5.1.1); never changed.
var claimTypeCodes = []letterCode{
	{"TI", uint32(ClaimInt64)},
	{"TU", uint32(ClaimUint64)},
	{"TS", uint32(ClaimString)},
	{"TD", uint32(ClaimSID)},
	{"TB", uint32(ClaimBoolean)},
	{"TX", uint32(ClaimOctets)},
}

// code returns the name of the type in SDDL, or "" if it has none.
func (t ClaimType) code() string {
	for _, c := range claimTypeCodes {
		if c.bits == uint32(t) {
			return c.code
		}
	}
	return ""
}

// A Claim is the resource attribute of an entry of type [ResourceAttribute]
// (CLAIM_SECURITY_ATTRIBUTE_RELATIVE_V1, [MS-DTYP] 2.4.10.1).
type Claim struct {
	Name   string
	Type   ClaimType
	Flags  uint32
	Values []ClaimValue
}

// A ClaimValue is one value of a claim; which field counts depends on the type.
type ClaimValue struct {
	Number uint64 // integers in two's complement; 0 or 1 for booleans
	Text   string
	SID    SID
	Octets []byte
}

// claimHeaderSize is the size of what comes before the offsets of the values.
const claimHeaderSize = 16

// DecodeClaim reads the data of a resource attribute entry. It fails with a
// [*ParseError] whose offset counts from the start of b, also for what has no
// text form.
func DecodeClaim(b []byte) (*Claim, error) {
	if len(b) < claimHeaderSize {
		return nil, badByte(len(b), "claim cut short")
	}
	c := &Claim{
		Type:  ClaimType(binary.LittleEndian.Uint16(b[4:])),
		Flags: binary.LittleEndian.Uint32(b[8:]),
	}
	if c.Type.code() == "" {
		return nil, badByte(4, "claim of unknown type %d", c.Type)
	}
	count := binary.LittleEndian.Uint32(b[12:])
	if uint64(count) > uint64(len(b)-claimHeaderSize)/4 {
		return nil, badByte(12, "%d values do not fit into %d bytes", count, len(b))
	}
	r := claimReader{b: b}
	var ok bool
	if c.Name, ok = r.text(binary.LittleEndian.Uint32(b)); !ok || c.Name == "" {
		return nil, badByte(0, "a claim without a readable name")
	}
	c.Values = make([]ClaimValue, count)
	for i := range c.Values {
		at := claimHeaderSize + 4*i
		if !r.value(&c.Values[i], c.Type, binary.LittleEndian.Uint32(b[at:])) {
			return nil, badByte(at, "a value of a claim of type %d that is not readable", c.Type)
		}
	}
	return c, nil
}

// claimReader reads values at offsets. Values may share bytes, but all together
// must not be larger than the claim: otherwise a few bytes could ask for a lot
// of memory.
type claimReader struct {
	b    []byte
	used int
}

// at returns the n bytes at off.
func (r *claimReader) at(off uint32, n int) ([]byte, bool) {
	r.used += n
	if n < 0 || uint64(off)+uint64(n) > uint64(len(r.b)) || r.used > len(r.b) {
		return nil, false
	}
	return r.b[off : int(off)+n], true
}

// text reads a string that ends with NUL.
func (r *claimReader) text(off uint32) (string, bool) {
	if uint64(off) > uint64(len(r.b)) {
		return "", false
	}
	n := 0
	for tail := r.b[off:]; ; n += 2 {
		if n+2 > len(tail) {
			return "", false
		}
		if tail[n] == 0 && tail[n+1] == 0 {
			break
		}
	}
	b, ok := r.at(off, n)
	if !ok {
		return "", false
	}
	r.used += 2
	return decodeUTF16(b)
}

func (r *claimReader) value(v *ClaimValue, t ClaimType, off uint32) (ok bool) {
	switch t {
	case ClaimInt64, ClaimUint64, ClaimBoolean:
		b, ok := r.at(off, 8)
		if ok {
			v.Number = binary.LittleEndian.Uint64(b)
		}
		return ok && (t != ClaimBoolean || v.Number <= 1)
	case ClaimString:
		v.Text, ok = r.text(off)
		return ok
	case ClaimSID, ClaimOctets:
		b, ok := r.at(off, 4)
		if !ok {
			return false
		}
		n := binary.LittleEndian.Uint32(b)
		if n > math.MaxUint16 {
			return false
		}
		b, ok = r.at(off+4, int(n))
		if !ok {
			return false
		}
		if t == ClaimOctets {
			v.Octets = append([]byte(nil), b...)
			return true
		}
		v.SID, _ = SIDFromBytes(b)
		return !v.SID.IsZero()
	default:
		return false
	}
}

// encode returns the data of an entry with this claim, laid out as Windows does:
// name, then values, without alignment, padded to a multiple of four bytes.
func (c *Claim) encode() (b []byte, ok bool) {
	b = binary.LittleEndian.AppendUint32(b, uint32(claimHeaderSize+4*len(c.Values)))
	b = binary.LittleEndian.AppendUint16(b, uint16(c.Type))
	b = binary.LittleEndian.AppendUint16(b, 0)
	b = binary.LittleEndian.AppendUint32(b, c.Flags)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(c.Values)))
	b = append(b, make([]byte, 4*len(c.Values))...)
	b = append(appendUTF16(b, c.Name), 0, 0)
	for i, v := range c.Values {
		binary.LittleEndian.PutUint32(b[claimHeaderSize+4*i:], uint32(len(b)))
		switch c.Type {
		case ClaimString:
			b = append(appendUTF16(b, v.Text), 0, 0)
		case ClaimSID:
			b = binary.LittleEndian.AppendUint32(b, uint32(len(v.SID.wire)))
			b = append(b, v.SID.wire...)
		case ClaimOctets:
			b = binary.LittleEndian.AppendUint32(b, uint32(len(v.Octets)))
			b = append(b, v.Octets...)
		default:
			b = binary.LittleEndian.AppendUint64(b, v.Number)
		}
	}
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b, len(b) <= math.MaxUint16
}

// text returns the claim in SDDL; ok is false for a string that it cannot
// express.
func (c *Claim) text(domain SID) (s string, ok bool) {
	var b strings.Builder
	fmt.Fprintf(&b, `("%s",%s,0x%x`, escapeName(c.Name, false), c.Type.code(), c.Flags)
	for _, v := range c.Values {
		b.WriteByte(',')
		switch c.Type {
		case ClaimInt64:
			b.WriteString(strconv.FormatInt(int64(v.Number), 10))
		case ClaimString:
			if strings.Contains(v.Text, `"`) {
				return "", false
			}
			b.WriteString(`"` + v.Text + `"`)
		case ClaimSID:
			b.WriteString("SID(" + v.SID.SDDL(domain) + ")")
		case ClaimOctets:
			b.WriteString("#" + hex.EncodeToString(v.Octets))
		default:
			b.WriteString(strconv.FormatUint(v.Number, 10))
		}
	}
	b.WriteByte(')')
	return b.String(), true
}

// claim reads ("name",TYPE,flags,value,…).
func (p *sddlParser) claim() (*Claim, error) {
	if err := p.next('('); err != nil {
		return nil, err
	}
	c := &Claim{}
	var err error
	if c.Name, err = p.claimName(); err != nil {
		return nil, err
	}
	if err := p.next(','); err != nil {
		return nil, err
	}
	p.spaces()
	bits, n, ok := cutCode(p.rest(), claimTypeCodes)
	if !ok {
		return nil, p.bad("expected the type of a claim: TI, TU, TS, TD, TB or TX")
	}
	c.Type = ClaimType(bits)
	p.at += n
	if err := p.next(','); err != nil {
		return nil, err
	}
	p.spaces()
	start := p.at
	flags, err := p.integer()
	if err != nil {
		return nil, err
	}
	if flags.number < 0 || flags.number > math.MaxUint32 {
		return nil, p.badAt(start, "flags of a claim have 32 bits")
	}
	c.Flags = uint32(flags.number)
	for p.spaces(); p.peek() == ','; p.spaces() {
		p.at++
		p.spaces()
		v, err := p.claimValue(c.Type)
		if err != nil {
			return nil, err
		}
		c.Values = append(c.Values, v)
	}
	return c, p.next(')')
}

// claimName reads a name in quotation marks with %XXXX in it.
func (p *sddlParser) claimName() (string, error) {
	p.spaces()
	start := p.at
	s, err := p.quoted()
	if err != nil {
		return "", err
	}
	q := sddlParser{s: s}
	var units []uint16
	for q.at < len(s) {
		if q.peek() == '%' {
			u, ok := q.escape()
			if !ok {
				return "", p.badAt(start+1+q.at, "expected %%XXXX with hexadecimal digits")
			}
			units = append(units, u)
			continue
		}
		i := strings.IndexByte(s[q.at:], '%')
		if i < 0 {
			i = len(s) - q.at
		}
		units = append(units, utf16.Encode([]rune(s[q.at:q.at+i]))...)
		q.at += i
	}
	name, ok := unitsToString(units)
	if !ok || name == "" {
		return "", p.badAt(start, "expected the name of a claim")
	}
	return name, nil
}

func (p *sddlParser) claimValue(t ClaimType) (v ClaimValue, err error) {
	start := p.at
	switch t {
	case ClaimString:
		v.Text, err = p.quoted()
	case ClaimSID:
		parens := p.cut("SID")
		if parens {
			err = p.next('(')
		}
		if err == nil {
			v.SID, err = p.sid()
		}
		if err == nil && parens {
			err = p.next(')')
		}
	case ClaimOctets:
		p.cut("#")
		v.Octets, err = p.hexDigits()
	case ClaimUint64:
		end := strings.IndexAny(p.rest(), ",) ")
		if end < 0 {
			return v, p.bad("expected , or )")
		}
		f := p.rest()[:end]
		if v.Number, err = strconv.ParseUint(f, 0, 64); err != nil {
			return v, p.bad("%q is not an unsigned 64-bit integer", f)
		}
		p.at += end
	default:
		var n *node
		if n, err = p.integer(); err != nil {
			return v, err
		}
		v.Number = uint64(n.number)
		if t == ClaimBoolean && v.Number > 1 {
			return v, p.badAt(start, "a boolean is 0 or 1")
		}
	}
	return v, err
}
