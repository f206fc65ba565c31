package secdesc

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// maxSDDL is the largest text that ParseSDDL reads, in bytes: more than the
// largest descriptor needs.
const maxSDDL = 1 << 20

// ParseSDDL reads the text form of a descriptor ([MS-DTYP] 2.5.1), including what
// [Descriptor.SDDL] adds to it. Aliases of a domain (DA, LA, …) are resolved in
// domain, those of a forest (EA, SA, RO, EK) in forestRoot; an alias whose domain
// is not given is an error. It fails with a [*ParseError] that names the position.
//
// Codes may be in lower case and fields may have spaces around them, as on
// Windows. Lists get revision 2, or 4 if an entry has an object type.
func ParseSDDL(s string, domain, forestRoot SID) (*Descriptor, error) {
	if len(s) > maxSDDL {
		return nil, &ParseError{Text: true, Offset: maxSDDL, What: fmt.Sprintf("%d bytes are too many", len(s))}
	}
	p := sddlParser{s: s, domain: domain, root: forestRoot}
	d, err := p.descriptor()
	if err != nil {
		return nil, err
	}
	return d, nil
}

// ParseACE reads the text form of one entry with its parentheses, as
// [ACE.SDDL] writes it. See [ParseSDDL].
func ParseACE(s string, domain, forestRoot SID) (ACE, error) {
	if len(s) > maxSDDL {
		return ACE{}, &ParseError{Text: true, Offset: maxSDDL, What: fmt.Sprintf("%d bytes are too many", len(s))}
	}
	p := sddlParser{s: s, domain: domain, root: forestRoot}
	p.spaces()
	a, err := p.ace()
	if err != nil {
		return ACE{}, err
	}
	p.spaces()
	if p.at < len(p.s) {
		return ACE{}, p.bad("text behind the entry")
	}
	return a, nil
}

// ParseSIDSDDL reads S-1-… or a two-letter alias. See [ParseSDDL].
func ParseSIDSDDL(s string, domain, forestRoot SID) (SID, error) {
	p := sddlParser{s: s, domain: domain, root: forestRoot}
	sid, err := p.sid()
	if err != nil {
		return SID{}, err
	}
	if p.at < len(p.s) {
		return SID{}, p.bad("text behind the SID")
	}
	return sid, nil
}

type sddlParser struct {
	s            string
	at           int
	domain, root SID
}

func (p *sddlParser) bad(format string, args ...any) error {
	return p.badAt(p.at, format, args...)
}

func (p *sddlParser) badAt(at int, format string, args ...any) error {
	return &ParseError{Text: true, Offset: at, What: fmt.Sprintf(format, args...)}
}

// peek returns the byte at the position, or 0 at the end.
func (p *sddlParser) peek() byte {
	if p.at < len(p.s) {
		return p.s[p.at]
	}
	return 0
}

func (p *sddlParser) rest() string { return p.s[p.at:] }

func (p *sddlParser) spaces() {
	for p.at < len(p.s) && strings.IndexByte(" \t\r\n", p.s[p.at]) >= 0 {
		p.at++
	}
}

// next skips spaces and takes c, or fails.
func (p *sddlParser) next(c byte) error {
	p.spaces()
	if p.peek() != c {
		return p.bad("expected %q", c)
	}
	p.at++
	return nil
}

// cut takes text if it comes next, whatever its case.
func (p *sddlParser) cut(text string) bool {
	r := p.rest()
	if len(r) >= len(text) && strings.EqualFold(r[:len(text)], text) {
		p.at += len(text)
		return true
	}
	return false
}

func (p *sddlParser) descriptor() (*Descriptor, error) {
	d := &Descriptor{Control: SelfRelative}
	seen := map[byte]bool{}
	for p.spaces(); p.at < len(p.s); p.spaces() {
		start, r := p.at, p.rest()
		if len(r) < 2 || r[1] != ':' {
			return nil, p.bad("expected O:, G:, D: or S:")
		}
		name := r[0] &^ 0x20
		if seen[name] {
			return nil, p.bad("second %c:", name)
		}
		seen[name] = true
		p.at += 2
		var err error
		switch name {
		case 'O':
			d.Owner, err = p.sid()
		case 'G':
			d.Group, err = p.sid()
		case 'D':
			var c Control
			d.DACL, c, err = p.acl()
			d.Control |= c | DACLPresent
		case 'S':
			var c Control
			d.SACL, c, err = p.acl()
			d.Control |= c<<1 | SACLPresent
		default:
			err = p.badAt(start, "expected O:, G:, D: or S:")
		}
		if err != nil {
			return nil, err
		}
	}
	return d, nil
}

// sid reads an alias or S-1-….
func (p *sddlParser) sid() (SID, error) {
	p.spaces()
	start := p.at
	if p.cut("S-") {
		for p.at < len(p.s) && isSIDByte(p.s, start, p.at) {
			p.at++
		}
		sid, err := ParseSID(p.s[start:p.at])
		if err != nil {
			return SID{}, p.badAt(start, "%q is not a SID", p.s[start:p.at])
		}
		return sid, nil
	}
	r := p.rest()
	if len(r) < 2 {
		return SID{}, p.bad("expected a SID")
	}
	a, ok := aliasByCode[strings.ToUpper(r[:2])]
	if !ok {
		return SID{}, p.bad("%q is neither a SID nor an alias of one", r[:2])
	}
	p.at += 2
	if a.sid != "" {
		return MustSID(a.sid), nil
	}
	base := p.domain
	if a.root {
		base = p.root
	}
	if base.IsZero() {
		return SID{}, p.badAt(start, "%s is relative to a domain that is not known here", a.code)
	}
	return base.Child(a.rid), nil
}

// isSIDByte reports whether s[i] goes on with the SID that begins at start. Only
// the authority may be hexadecimal, with twelve digits: more would be taken for
// the "D:" that may follow.
func isSIDByte(s string, start, i int) bool {
	c := s[i]
	if c == '-' || c >= '0' && c <= '9' {
		return true
	}
	auth := s[start:i]
	n := strings.LastIndexByte(auth, '-') + 1
	if strings.Count(auth, "-") != 2 {
		return false
	}
	auth = auth[n:]
	if c|0x20 == 'x' {
		return auth == "0"
	}
	return len(auth) >= 2 && len(auth) < 14 && auth[1]|0x20 == 'x' && c|0x20 >= 'a' && c|0x20 <= 'f'
}

// acl reads the flags and entries of a list. The flags are those of a DACL.
func (p *sddlParser) acl() (*ACL, Control, error) {
	var c Control
	null := false
flags:
	for {
		p.spaces()
		r := p.rest()
		switch {
		case len(r) >= 2 && r[1] == ':': // the next part
			break flags
		case p.cut(noAccessControl):
			null = true
		case p.cut("AR"):
			c |= DACLAutoInheritReq
		case p.cut("AI"):
			c |= DACLAutoInherited
		case p.cut("P"):
			c |= DACLProtected
		default:
			break flags
		}
	}
	if null {
		if p.peek() == '(' {
			return nil, 0, p.bad("entry after %s", noAccessControl)
		}
		return nil, c, nil
	}
	a := &ACL{Revision: ACLRevision}
	for p.spaces(); p.peek() == '('; p.spaces() {
		if len(a.ACEs) == math.MaxUint16 {
			return nil, 0, p.bad("too many entries")
		}
		e, err := p.ace()
		if err != nil {
			return nil, 0, err
		}
		if e.Type.IsObject() {
			a.Revision = ACLRevisionDS
		}
		a.ACEs = append(a.ACEs, e)
	}
	if size := a.size(); size > math.MaxUint16 {
		return nil, 0, p.bad("a list of %d bytes is too large", size)
	}
	return a, c, nil
}

// ace reads one entry with its parentheses.
func (p *sddlParser) ace() (a ACE, err error) {
	if err := p.next('('); err != nil {
		return a, err
	}
	start := p.at
	steps := []func(*ACE) error{p.aceType, p.aceFlags, p.rights, p.objectType, p.inheritedObjectType, p.trustee}
	for i, step := range steps {
		if i > 0 {
			if err := p.next(';'); err != nil {
				return a, err
			}
		}
		p.spaces()
		if err := step(&a); err != nil {
			return a, err
		}
	}
	p.spaces()
	if p.peek() == ';' {
		p.at++
		p.spaces()
		if err := p.data(&a); err != nil {
			return a, err
		}
	} else if !a.Type.Known() {
		return a, p.bad("type %v needs a seventh field", a.Type)
	}
	if err := p.next(')'); err != nil {
		return a, err
	}
	if a.size() > math.MaxUint16 {
		return a, p.badAt(start, "an entry of %d bytes is too large", a.size())
	}
	return a, nil
}

// field returns what comes before the next semicolon or parenthesis, without
// spaces at its end.
func (p *sddlParser) field() string {
	r := p.rest()
	if i := strings.IndexAny(r, ";()"); i >= 0 {
		r = r[:i]
	}
	return strings.TrimRight(r, " \t\r\n")
}

func (p *sddlParser) aceType(a *ACE) error {
	f := p.field()
	for _, c := range aceTypeCodes {
		if strings.EqualFold(f, c.code) {
			a.Type = ACEType(c.bits)
			p.at += len(f)
			return nil
		}
	}
	if n, ok := cutHex(f); ok {
		v, err := strconv.ParseUint(n, 16, 8)
		if err == nil {
			a.Type = ACEType(v)
			p.at += len(f)
			return nil
		}
	}
	return p.bad("%q is not a type of access control entry", f)
}

func cutHex(s string) (string, bool) {
	if len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x' {
		return s[2:], true
	}
	return s, false
}

func (p *sddlParser) aceFlags(a *ACE) error {
	for p.spaces(); p.peek() != ';'; p.spaces() {
		bits, n, ok := cutCode(p.rest(), aceFlagCodes)
		if !ok {
			return p.bad("%q is not a flag", p.field())
		}
		a.Flags |= ACEFlags(bits)
		p.at += n
	}
	return nil
}

func (p *sddlParser) rights(a *ACE) error {
	f := p.field()
	if err := p.onlyIfKnown(a, f); err != nil {
		return err
	}
	if f != "" && f[0] >= '0' && f[0] <= '9' {
		v, err := strconv.ParseUint(f, 0, 32)
		if err != nil {
			return p.bad("%q is not an access mask", f)
		}
		a.Mask = Mask(v)
		p.at += len(f)
		return nil
	}
	tables := [][]letterCode{rightsCodes, compoundRightsCodes}
	if a.Type == MandatoryLabel {
		tables = [][]letterCode{labelCodes}
	}
	for p.spaces(); p.peek() != ';'; p.spaces() {
		bits, n, ok := cutCode(p.rest(), tables...)
		if !ok {
			return p.bad("%q is not a right", p.field())
		}
		a.Mask |= Mask(bits)
		p.at += n
	}
	return nil
}

// onlyIfKnown refuses a field of an entry that has only flags and a body.
func (p *sddlParser) onlyIfKnown(a *ACE, f string) error {
	if f != "" && !a.Type.Known() {
		return p.bad("type %v has only flags and a seventh field", a.Type)
	}
	return nil
}

func (p *sddlParser) objectType(a *ACE) error {
	return p.guid(a, &a.ObjectType, objectTypePresent)
}

func (p *sddlParser) inheritedObjectType(a *ACE) error {
	return p.guid(a, &a.InheritedObjectType, inheritedObjectTypePresent)
}

func (p *sddlParser) guid(a *ACE, to *GUID, bit uint32) error {
	f := p.field()
	if f == "" {
		return nil
	}
	if !a.Type.IsObject() {
		return p.bad("type %v cannot have an object type", a.Type)
	}
	g, err := ParseGUID(f)
	if err != nil {
		return p.bad("%q is not a GUID", f)
	}
	*to = g
	if g.IsZero() {
		a.object |= bit
	}
	p.at += len(f)
	return nil
}

func (p *sddlParser) trustee(a *ACE) (err error) {
	if !a.Type.Known() {
		return p.onlyIfKnown(a, p.field())
	}
	a.SID, err = p.sid()
	return err
}

// data reads the seventh field.
func (p *sddlParser) data(a *ACE) error {
	start := p.at
	if p.peek() != '(' {
		f := p.field()
		n, ok := cutHex(f)
		if !ok && f != "0x" {
			return p.bad("expected a condition, a claim or 0x…")
		}
		if f == "0x" {
			n = ""
		}
		b, err := hex.DecodeString(n)
		if err != nil {
			return p.bad("%q is not hexadecimal", f)
		}
		a.Data = b
		p.at += len(f)
		return nil
	}
	switch {
	case a.Type.hasCondition():
		c, err := p.condition()
		if err != nil {
			return err
		}
		a.Data = c.Bytes()
	case a.Type == ResourceAttribute:
		c, err := p.claim()
		if err != nil {
			return err
		}
		b, ok := c.encode()
		if !ok {
			return p.badAt(start, "a claim that is too large")
		}
		a.Data = b
	default:
		return p.bad("type %v has neither a condition nor a claim", a.Type)
	}
	return nil
}
