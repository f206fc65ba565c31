package secdesc

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
)

// conditionMagic begins the data of an entry whose condition is an expression
// ([MS-DTYP] 2.4.4.17.1).
const conditionMagic = "artx"

// maxConditionDepth bounds how deeply the parts of an expression may be nested.
// Expressions that people write have a handful of levels.
const maxConditionDepth = 256

// token is the first byte of an element of the postfix form
// ([MS-DTYP] 2.4.4.17.4 to 2.4.4.17.8).
type token byte

const (
	tokenPadding   token = 0x00
	tokenInt8      token = 0x01
	tokenInt16     token = 0x02
	tokenInt32     token = 0x03
	tokenInt64     token = 0x04
	tokenString    token = 0x10
	tokenOctets    token = 0x18
	tokenComposite token = 0x50
	tokenSID       token = 0x51
	tokenExists    token = 0x87
	tokenNotExists token = 0x8d
	tokenAnd       token = 0xa0
	tokenOr        token = 0xa1
	tokenNot       token = 0xa2
	tokenLocal     token = 0xf8
	tokenUser      token = 0xf9
	tokenResource  token = 0xfa
	tokenDevice    token = 0xfb
)

// tokenKind groups tokens by what they may be operands of.
type tokenKind uint8

const (
	noToken   tokenKind = iota
	literal             // integer, string, octets, composite, SID
	attribute           // name of a claim
	relation            // attribute and operand give a truth value
	member              // a SID or several give a truth value
	existence           // attribute gives a truth value
	logic               // truth values give a truth value
)

func (t token) kind() tokenKind {
	switch {
	case t >= tokenInt8 && t <= tokenInt64, t == tokenString, t == tokenOctets, t == tokenComposite, t == tokenSID:
		return literal
	case t >= tokenLocal && t <= tokenDevice:
		return attribute
	case t == tokenExists || t == tokenNotExists:
		return existence
	case t >= tokenAnd && t <= tokenNot:
		return logic
	}
	for _, o := range operators {
		if o.token == t {
			return o.kind
		}
	}
	return noToken
}

// operators are those with a name or sign; never changed. The spelling is that
// of Windows. A sign comes before any that it begins with.
var operators = [...]struct {
	token token
	kind  tokenKind
	text  string
}{
	{0x80, relation, "=="},
	{0x81, relation, "!="},
	{0x83, relation, "<="},
	{0x82, relation, "<"},
	{0x85, relation, ">="},
	{0x84, relation, ">"},
	{0x86, relation, "Contains"},
	{0x88, relation, "Any_of"},
	{0x8e, relation, "Not_Contains"},
	{0x8f, relation, "Not_Any_of"},
	{0x89, member, "Member_of"},
	{0x8a, member, "Device_Member_of"},
	{0x8b, member, "Member_of_Any"},
	{0x8c, member, "Device_Member_of_Any"},
	{0x90, member, "Not_Member_of"},
	{0x91, member, "Not_Device_Member_of"},
	{0x92, member, "Not_Member_of_Any"},
	{0x93, member, "Not_Device_Member_of_Any"},
	{tokenExists, existence, "Exists"},
	{tokenNotExists, existence, "Not_Exists"},
}

func (t token) text() string {
	for _, o := range operators {
		if o.token == t {
			return o.text
		}
	}
	switch t {
	case tokenAnd:
		return "&&"
	case tokenOr:
		return "||"
	}
	return "!"
}

// attributePrefixes are written as Windows does, and read in any case.
var attributePrefixes = [...]struct {
	token token
	text  string
}{
	{tokenUser, "@USER."},
	{tokenResource, "@RESOURCE."},
	{tokenDevice, "@DEVICE."},
}

// A Condition is the conditional expression of a callback entry
// ([MS-DTYP] 2.4.4.17): a tree of claims, literals and operators.
type Condition struct {
	root *node
}

// node is an operator with its operands, an attribute, or a literal.
type node struct {
	token token
	args  []*node // of operators; elements of composites
	depth int

	text       string // of strings; name of attributes
	number     int64
	sign, base uint8 // [MS-DTYP] 2.4.4.17.5
	octets     []byte
	sid        SID
}

// Signs and bases of integers ([MS-DTYP] 2.4.4.17.5).
const (
	signPlus, signMinus, signNone = 1, 2, 3
	baseOctal, baseDecimal        = 1, 2
	baseHexadecimal               = 3
)

// newNode makes an operator or composite, or fails if it nests too deeply.
func newNode(t token, args ...*node) (*node, error) {
	n := &node{token: t, args: args, depth: 1}
	for _, a := range args {
		n.depth = max(n.depth, a.depth+1)
	}
	if n.depth > maxConditionDepth {
		return nil, fmt.Errorf("condition nested more than %d deep", maxConditionDepth)
	}
	return n, n.check()
}

// check reports operands that an operator cannot have.
func (n *node) check() error {
	switch n.token.kind() {
	case relation:
		if n.args[0].token.kind() != attribute {
			return fmt.Errorf("the left side of %s is not an attribute", n.token.text())
		}
		if k := n.args[1].token.kind(); k != attribute && k != literal {
			return fmt.Errorf("the right side of %s is neither an attribute nor a value", n.token.text())
		}
	case member:
		if !n.args[0].isSIDs() {
			return fmt.Errorf("what follows %s is not SIDs", n.token.text())
		}
	case existence:
		if n.args[0].token.kind() != attribute {
			return fmt.Errorf("what follows %s is not an attribute", n.token.text())
		}
	case logic:
		for _, a := range n.args {
			if a.token.kind() == literal {
				return fmt.Errorf("a side of %s is a bare value", n.token.text())
			}
		}
	case literal:
		for _, a := range n.args {
			if k := a.token; k.kind() != literal || k == tokenComposite {
				return fmt.Errorf("a list holds something else than values")
			}
		}
	}
	return nil
}

func (n *node) isSIDs() bool {
	if n.token == tokenSID {
		return true
	}
	if n.token != tokenComposite {
		return false
	}
	for _, a := range n.args {
		if a.token != tokenSID {
			return false
		}
	}
	return true
}

// operands returns how many operands an operator takes.
func (t token) operands() int {
	if k := t.kind(); k == relation || k == logic && t != tokenNot {
		return 2
	}
	return 1
}

// Condition returns the condition of a callback entry. ok is false if the entry
// has none; the error says why its data is not a condition.
func (a ACE) Condition() (c *Condition, ok bool, err error) {
	if !a.Type.hasCondition() || len(a.Data) == 0 {
		return nil, false, nil
	}
	c, err = DecodeCondition(a.Data)
	return c, true, err
}

// DecodeCondition reads the data of a callback entry ([MS-DTYP] 2.4.4.17). It
// fails with a [*ParseError] whose offset counts from the start of b, also for
// what has no text form (a string with a quotation mark, say).
func DecodeCondition(b []byte) (*Condition, error) {
	if len(b) < 4 || string(b[:4]) != conditionMagic {
		return nil, badByte(0, "not a conditional expression")
	}
	var stack []*node
	for at := 4; at < len(b); {
		if token(b[at]) == tokenPadding {
			if len(b)-at > 3 || !isZero(b[at:]) {
				return nil, badByte(at, "something follows the padding of a condition")
			}
			break
		}
		start := at
		n, size, err := decodeToken(b[at:], at)
		if err != nil {
			return nil, err
		}
		at += size
		if k := n.token.kind(); k != literal && k != attribute {
			count := n.token.operands()
			if len(stack) < count {
				return nil, badByte(start, "%s lacks an operand", n.token.text())
			}
			args := append([]*node(nil), stack[len(stack)-count:]...)
			if n, err = newNode(n.token, args...); err != nil {
				return nil, badByte(start, "%v", err)
			}
			stack = stack[:len(stack)-count]
		}
		stack = append(stack, n)
	}
	if len(stack) != 1 || stack[0].token.kind() == literal {
		return nil, badByte(len(b), "the condition does not end in one truth value")
	}
	return &Condition{stack[0]}, nil
}

// decodeToken reads the element at the start of b, which is at offset at.
func decodeToken(b []byte, at int) (*node, int, error) {
	n := &node{token: token(b[0]), depth: 1}
	switch t := n.token; {
	case t >= tokenInt8 && t <= tokenInt64:
		if len(b) < 11 {
			return nil, 0, badByte(at, "integer cut short")
		}
		n.number = int64(binary.LittleEndian.Uint64(b[1:]))
		n.sign, n.base = b[9], b[10]
		if _, ok := n.integer(); !ok {
			return nil, 0, badByte(at, "integer %d with sign %d and base %d", n.number, n.sign, n.base)
		}
		return n, 11, nil
	case t.kind() == noToken:
		return nil, 0, badByte(at, "unknown token 0x%02x", b[0])
	case t.kind() != literal && t.kind() != attribute:
		return n, 1, nil
	}
	if len(b) < 5 || uint64(binary.LittleEndian.Uint32(b[1:])) > uint64(len(b)-5) {
		return nil, 0, badByte(at, "token 0x%02x cut short", b[0])
	}
	size := 5 + int(binary.LittleEndian.Uint32(b[1:]))
	return n, size, n.decodeBody(b[5:size], at+5)
}

// decodeBody reads what follows the length of a token.
func (n *node) decodeBody(b []byte, at int) error {
	switch n.token {
	case tokenOctets:
		n.octets = append([]byte(nil), b...)
	case tokenSID:
		sid, err := SIDFromBytes(b)
		if err != nil {
			return badByte(at, "%v", err)
		}
		n.sid = sid
	case tokenComposite:
		var args []*node
		for i := 0; i < len(b); {
			if t := token(b[i]); t.kind() != literal || t == tokenComposite {
				return badByte(at+i, "a list holds token 0x%02x", b[i])
			}
			a, size, err := decodeToken(b[i:], at+i)
			if err != nil {
				return err
			}
			args = append(args, a)
			i += size
		}
		n.args, n.depth = args, 2
	default:
		s, ok := decodeUTF16(b)
		if !ok || n.token == tokenString && strings.Contains(s, `"`) || n.token != tokenString && s == "" {
			return badByte(at, "text that SDDL cannot express")
		}
		n.text = s
	}
	return nil
}

// decodeUTF16 decodes little-endian UTF-16 without NUL; ok is false if b is
// something else.
func decodeUTF16(b []byte) (s string, ok bool) {
	if len(b)%2 != 0 {
		return "", false
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return unitsToString(units)
}

// unitsToString is utf16.Decode that refuses NUL and lone surrogates.
func unitsToString(units []uint16) (s string, ok bool) {
	runes := utf16.Decode(units)
	for i, j := 0, 0; i < len(runes); i++ {
		if units[j] == 0 || runes[i] == 0xFFFD && units[j] != 0xFFFD {
			return "", false
		}
		j++
		if runes[i] > 0xFFFF {
			j++
		}
	}
	return string(runes), true
}

func appendUTF16(b []byte, s string) []byte {
	for _, r := range s {
		for _, u := range utf16.AppendRune(nil, r) {
			b = binary.LittleEndian.AppendUint16(b, u)
		}
	}
	return b
}

// Bytes returns the data of a callback entry with this condition, padded to a
// multiple of four bytes.
func (c *Condition) Bytes() []byte {
	b := c.root.append([]byte(conditionMagic))
	for len(b)%4 != 0 {
		b = append(b, byte(tokenPadding))
	}
	return b
}

// append appends the postfix form.
func (n *node) append(b []byte) []byte {
	k := n.token.kind()
	if k != literal && k != attribute {
		for _, a := range n.args {
			b = a.append(b)
		}
		return append(b, byte(n.token))
	}
	b = append(b, byte(n.token))
	if n.token <= tokenInt64 {
		b = binary.LittleEndian.AppendUint64(b, uint64(n.number))
		return append(b, n.sign, n.base)
	}
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	switch n.token {
	case tokenOctets:
		b = append(b, n.octets...)
	case tokenSID:
		b = append(b, n.sid.wire...)
	case tokenComposite:
		for _, a := range n.args {
			b = a.append(b)
		}
	default:
		b = appendUTF16(b, n.text)
	}
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

// SDDL returns the text of the condition with its parentheses, in the form that
// Windows writes.
func (c *Condition) SDDL(domain SID) string {
	var b strings.Builder
	c.root.write(&b, domain, true)
	return b.String()
}

// write writes the expression, in parentheses if asked or if its operator always
// has them.
func (n *node) write(b *strings.Builder, domain SID, parens bool) {
	k := n.token.kind()
	parens = parens || k == relation || k == member || k == logic && n.token != tokenNot
	if parens {
		b.WriteByte('(')
		defer b.WriteByte(')')
	}
	switch k {
	case relation:
		n.args[0].write(b, domain, false)
		b.WriteString(" " + n.token.text() + " ")
		n.args[1].write(b, domain, false)
	case member, existence:
		b.WriteString(n.token.text() + " ")
		n.args[0].write(b, domain, false)
	case logic:
		if n.token == tokenNot {
			b.WriteByte('!')
			n.args[0].write(b, domain, true)
			return
		}
		n.args[0].write(b, domain, true)
		b.WriteString(" " + n.token.text() + " ")
		n.args[1].write(b, domain, true)
	case attribute:
		b.WriteString(n.name())
	default:
		n.writeLiteral(b, domain)
	}
}

func (n *node) writeLiteral(b *strings.Builder, domain SID) {
	switch n.token {
	case tokenString:
		b.WriteString(`"` + n.text + `"`)
	case tokenOctets:
		b.WriteString("#" + hex.EncodeToString(n.octets))
	case tokenSID:
		b.WriteString("SID(" + n.sid.SDDL(domain) + ")")
	case tokenComposite:
		b.WriteByte('{')
		for i, a := range n.args {
			if i > 0 {
				b.WriteString(", ")
			}
			a.writeLiteral(b, domain)
		}
		b.WriteByte('}')
	default:
		s, _ := n.integer()
		b.WriteString(s)
	}
}

// integer returns the text of an integer; ok is false if its value, sign and base
// do not go together.
func (n *node) integer() (s string, ok bool) {
	base, prefix := 10, ""
	switch n.base {
	case baseOctal:
		base, prefix = 8, "0"
	case baseHexadecimal:
		base, prefix = 16, "0x"
	case baseDecimal:
	default:
		return "", false
	}
	magnitude := uint64(n.number)
	if n.number < 0 && (n.sign == signMinus || base == 10) {
		magnitude = -magnitude
	}
	switch {
	case n.sign == signPlus && n.number >= 0:
		prefix = "+" + prefix
	case n.sign == signMinus && n.number <= 0:
		prefix = "-" + prefix
	case n.sign == signNone && (n.number >= 0 || base != 10):
	default:
		return "", false
	}
	return prefix + strconv.FormatUint(magnitude, base), true
}

// name returns the name of an attribute with its prefix.
func (n *node) name() string {
	for _, p := range attributePrefixes {
		if p.token == n.token {
			return p.text + escapeName(n.text, false)
		}
	}
	return escapeName(n.text, true)
}

// escapeName writes what may not stand in a name as %XXXX, one UTF-16 unit each
// ([MS-DTYP] 2.5.1.1). A local name has fewer characters, may not begin like a
// number, and may not be an operator.
func escapeName(s string, local bool) string {
	var b strings.Builder
	for i, r := range s {
		first := i == 0 && local && (!isLetter(r) || isKeyword(s))
		if !first && (isNameRune(r) || !local && isExtraNameRune(r)) {
			b.WriteRune(r)
			continue
		}
		for _, u := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&b, "%%%04x", u)
		}
	}
	return b.String()
}

func isLetter(r rune) bool { return r|0x20 >= 'a' && r|0x20 <= 'z' }

// isNameRune reports whether r may stand in every name.
func isNameRune(r rune) bool {
	return isLetter(r) || r >= '0' && r <= '9' || r == ':' || r == '.' || r == '/' || r == '_'
}

// isExtraNameRune reports whether r may stand in a name with a prefix.
func isExtraNameRune(r rune) bool {
	return r < 0x80 && strings.IndexByte("#$'*+-;?@[\\]^_`{}~", byte(r)) >= 0
}

// isKeyword reports whether a name would be read as an operator or literal.
func isKeyword(s string) bool {
	if strings.EqualFold(s, "SID") {
		return true
	}
	for _, o := range operators {
		if strings.EqualFold(s, o.text) {
			return true
		}
	}
	return false
}
