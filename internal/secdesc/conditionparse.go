package secdesc

import (
	"encoding/hex"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ParseCondition reads the text of a condition with its parentheses
// ([MS-DTYP] 2.5.1.1). See [ParseSDDL] for aliases and errors.
func ParseCondition(s string, domain, forestRoot SID) (*Condition, error) {
	if len(s) > maxSDDL {
		return nil, &ParseError{Text: true, Offset: maxSDDL, What: "too long"}
	}
	p := sddlParser{s: s, domain: domain, root: forestRoot}
	c, err := p.condition()
	if err != nil {
		return nil, err
	}
	p.spaces()
	if p.at < len(p.s) {
		return nil, p.bad("text behind the condition")
	}
	return c, nil
}

// condition reads an expression in parentheses.
func (p *sddlParser) condition() (*Condition, error) {
	p.spaces()
	start := p.at
	if p.peek() != '(' {
		return nil, p.bad("expected a condition in parentheses")
	}
	n, err := p.parenthesised(0)
	if err != nil {
		return nil, err
	}
	if n.token.kind() == literal {
		return nil, p.badAt(start, "a value is not a condition")
	}
	return &Condition{n}, nil
}

func (p *sddlParser) parenthesised(depth int) (*node, error) {
	if depth > maxConditionDepth {
		return nil, p.bad("condition nested more than %d deep", maxConditionDepth)
	}
	if err := p.next('('); err != nil {
		return nil, err
	}
	n, err := p.or(depth + 1)
	if err != nil {
		return nil, err
	}
	return n, p.next(')')
}

// or reads a || b || …; it binds less tightly than &&, and to the left.
func (p *sddlParser) or(depth int) (*node, error) {
	return p.chain(depth, "||", tokenOr, (*sddlParser).and)
}

func (p *sddlParser) and(depth int) (*node, error) {
	return p.chain(depth, "&&", tokenAnd, (*sddlParser).not)
}

func (p *sddlParser) chain(depth int, sign string, t token, side func(*sddlParser, int) (*node, error)) (*node, error) {
	left, err := side(p, depth)
	for err == nil {
		p.spaces()
		at := p.at
		if !p.cut(sign) {
			return left, nil
		}
		var right *node
		if right, err = side(p, depth); err == nil {
			left, err = p.node(at, t, left, right)
		}
	}
	return nil, err
}

// node makes an operator, with the position at in its error.
func (p *sddlParser) node(at int, t token, args ...*node) (*node, error) {
	n, err := newNode(t, args...)
	if err != nil {
		return nil, p.badAt(at, "%v", err)
	}
	return n, nil
}

func (p *sddlParser) not(depth int) (*node, error) {
	p.spaces()
	at := p.at
	if !p.cut("!") {
		return p.term(depth)
	}
	if depth > maxConditionDepth {
		return nil, p.bad("condition nested more than %d deep", maxConditionDepth)
	}
	arg, err := p.not(depth + 1)
	if err != nil {
		return nil, err
	}
	return p.node(at, tokenNot, arg)
}

// term reads an expression in parentheses, an operator before its operand, or an
// attribute with what it is compared with.
func (p *sddlParser) term(depth int) (*node, error) {
	p.spaces()
	if p.peek() == '(' {
		n, err := p.parenthesised(depth)
		if err != nil || n.token.kind() != attribute {
			return n, err
		}
		return p.relation(n)
	}
	at, word := p.at, p.word()
	for _, o := range operators {
		if o.kind != member && o.kind != existence || !strings.EqualFold(word, o.text) {
			continue
		}
		p.at += len(word)
		arg, err := p.operand(0)
		if err != nil {
			return nil, err
		}
		return p.node(at, o.token, arg)
	}
	n, err := p.attribute()
	if err != nil {
		return nil, err
	}
	return p.relation(n)
}

// word returns the run of characters of a local name at the position, escapes
// included: Exists%0020 is a name, not the operator.
func (p *sddlParser) word() string {
	r := p.rest()
	for i, c := range r {
		if !isNameRune(c) && c != '%' && c < utf8.RuneSelf {
			return r[:i]
		}
	}
	return r
}

// relation reads what an attribute is compared with, if anything.
func (p *sddlParser) relation(left *node) (*node, error) {
	p.spaces()
	at, word := p.at, p.word()
	for _, o := range operators {
		if o.kind != relation {
			continue
		}
		if word != "" {
			if !strings.EqualFold(word, o.text) {
				continue
			}
			p.at += len(word)
		} else if !p.cut(o.text) {
			continue
		}
		right, err := p.operand(0)
		if err != nil {
			return nil, err
		}
		return p.node(at, o.token, left, right)
	}
	return left, nil
}

// operand reads a literal or an attribute, perhaps in parentheses.
func (p *sddlParser) operand(depth int) (*node, error) {
	p.spaces()
	start := p.at
	switch c := p.peek(); {
	case c == '(':
		if depth > maxConditionDepth {
			return nil, p.bad("condition nested more than %d deep", maxConditionDepth)
		}
		p.at++
		n, err := p.operand(depth + 1)
		if err != nil {
			return nil, err
		}
		return n, p.next(')')
	case c == '"':
		s, err := p.quoted()
		return &node{token: tokenString, text: s, depth: 1}, err
	case c == '#':
		p.at++
		b, err := p.hexDigits()
		return &node{token: tokenOctets, octets: b, depth: 1}, err
	case c == '{':
		return p.composite()
	case c == '+' || c == '-' || c >= '0' && c <= '9':
		return p.integer()
	}
	if strings.EqualFold(p.word(), "SID") {
		p.at += len("SID")
		if err := p.next('('); err != nil {
			return nil, p.badAt(start, "expected SID(…)")
		}
		sid, err := p.sid()
		if err != nil {
			return nil, err
		}
		return &node{token: tokenSID, sid: sid, depth: 1}, p.next(')')
	}
	return p.attribute()
}

// composite reads {a, b, …}.
func (p *sddlParser) composite() (*node, error) {
	at := p.at
	p.at++
	var args []*node
	for p.spaces(); p.peek() != '}'; p.spaces() {
		if len(args) > 0 {
			if err := p.next(','); err != nil {
				return nil, err
			}
			p.spaces()
		}
		if p.peek() == '{' {
			return nil, p.bad("a list within a list")
		}
		a, err := p.operand(0)
		if err != nil {
			return nil, err
		}
		args = append(args, a)
	}
	p.at++
	n, err := p.node(at, tokenComposite, args...)
	if err == nil {
		n.depth = 2
	}
	return n, err
}

// quoted reads a string in quotation marks, which SDDL has no way to escape.
func (p *sddlParser) quoted() (string, error) {
	start := p.at
	if p.peek() != '"' {
		return "", p.bad(`expected "`)
	}
	r := p.s[start+1:]
	i := strings.IndexByte(r, '"')
	if i < 0 {
		return "", p.badAt(start, "string without end")
	}
	if !utf8.ValidString(r[:i]) || strings.IndexByte(r[:i], 0) >= 0 {
		return "", p.badAt(start, "string that is not text")
	}
	p.at = start + i + 2
	return r[:i], nil
}

func (p *sddlParser) hexDigits() ([]byte, error) {
	start := p.at
	for p.at < len(p.s) && isHexDigit(p.s[p.at]) {
		p.at++
	}
	b, err := hex.DecodeString(p.s[start:p.at])
	if err != nil {
		return nil, p.badAt(start, "hexadecimal digits are not in pairs")
	}
	return b, nil
}

func isHexDigit(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

// integer reads [+|-] and a decimal, octal (0…) or hexadecimal (0x…) number.
// Without a sign the latter two may use all 64 bits.
func (p *sddlParser) integer() (*node, error) {
	start := p.at
	n := &node{token: tokenInt64, sign: signNone, base: baseDecimal, depth: 1}
	switch p.peek() {
	case '+':
		n.sign = signPlus
		p.at++
	case '-':
		n.sign = signMinus
		p.at++
	}
	base := 10
	if p.cut("0x") {
		n.base, base = baseHexadecimal, 16
	} else if p.peek() == '0' {
		// A lone 0 is octal too, as on Windows.
		n.base, base = baseOctal, 8
	}
	digits := p.at
	for p.at < len(p.s) && isHexDigit(p.s[p.at]) {
		p.at++
	}
	v, err := strconv.ParseUint(p.s[digits:p.at], base, 64)
	limit := uint64(math.MaxInt64)
	switch {
	case n.sign == signMinus:
		limit++
	case n.sign == signNone && base != 10:
		limit = math.MaxUint64
	}
	if err != nil || v > limit {
		return nil, p.badAt(start, "%q is not a 64-bit integer", p.s[start:p.at])
	}
	n.number = int64(v)
	if n.sign == signMinus {
		n.number = -n.number
	}
	return n, nil
}

// attribute reads the name of an attribute with its prefix.
func (p *sddlParser) attribute() (*node, error) {
	start := p.at
	t := tokenLocal
	if p.peek() == '@' {
		t = 0
		for _, a := range attributePrefixes {
			if p.cut(a.text) {
				t = a.token
				break
			}
		}
		if t == 0 {
			return nil, p.bad("expected @USER., @DEVICE. or @RESOURCE.")
		}
	}
	var units []uint16
	for p.at < len(p.s) {
		if p.peek() == '%' {
			u, ok := p.escape()
			if !ok {
				return nil, p.bad("expected %%XXXX with hexadecimal digits")
			}
			units = append(units, u)
			continue
		}
		r, size := utf8.DecodeRuneInString(p.rest())
		if r == utf8.RuneError && size == 1 || !isNameRune(r) && r < 0x80 && (t == tokenLocal || !isExtraNameRune(r)) {
			break
		}
		units = utf16.AppendRune(units, r)
		p.at += size
	}
	s, ok := unitsToString(units)
	if !ok || s == "" {
		return nil, p.badAt(start, "expected the name of an attribute")
	}
	return &node{token: t, text: s, depth: 1}, nil
}

// escape takes %XXXX.
func (p *sddlParser) escape() (uint16, bool) {
	r := p.rest()
	if len(r) < 5 || r[0] != '%' {
		return 0, false
	}
	for i := 1; i < 5; i++ {
		if !isHexDigit(r[i]) {
			return 0, false
		}
	}
	v, err := strconv.ParseUint(r[1:5], 16, 16)
	if err != nil {
		return 0, false
	}
	p.at += 5
	return uint16(v), true
}
