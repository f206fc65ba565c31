package forest

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// ErrDN reports text that is not a distinguished name.
var ErrDN = errors.New("not a distinguished name")

// maxComponents bounds the depth of a name; Active Directory's own limit on the
// length of names keeps real ones far below it.
const maxComponents = 512

// An RDN is one component of a distinguished name, unescaped.
type RDN struct {
	Type  string // as written: CN, OU, DC, …
	Value string
}

// ParseDN splits a distinguished name (RFC 4514) into its components, leaf first.
// The empty name has none. Escapes (\, and \2C) are resolved; a component with
// several values (a+b) is kept as one value, as Active Directory has none. The
// quoted and #hexadecimal forms, which no domain controller writes, are read as
// plain text.
func ParseDN(dn string) ([]RDN, error) {
	var out []RDN
	err := eachComponent(dn, func(c string) error {
		r, err := parseRDN(c)
		out = append(out, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// eachComponent calls f for each component of dn, escaped, leaf first.
func eachComponent(dn string, f func(component string) error) error {
	count := 0
	for rest := dn; rest != ""; {
		i := componentEnd(rest)
		if count++; count > maxComponents {
			return fmt.Errorf("%w: %s: more than %d components", ErrDN, clip(dn), maxComponents)
		}
		if err := f(rest[:i]); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrDN, clip(dn), err)
		}
		if i == len(rest) {
			return nil
		}
		if rest = rest[i+1:]; rest == "" {
			return fmt.Errorf("%w: %s: ends with a comma", ErrDN, clip(dn))
		}
	}
	return nil
}

// componentEnd returns the index of the first unescaped comma, or the length.
func componentEnd(s string) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case ',':
			return i
		}
	}
	return len(s)
}

// splitRDN cuts a component into its type and its value, still escaped and with
// trailing spaces.
func splitRDN(s string) (typ, val string, err error) {
	typ, val, ok := strings.Cut(s, "=")
	typ = strings.Trim(typ, " ")
	if !ok || typ == "" {
		return "", "", fmt.Errorf("component %s has no type", clip(s))
	}
	for i := range len(typ) {
		c := typ[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return "", "", fmt.Errorf("component %s: type contains %q", clip(s), c)
		}
	}
	return typ, strings.TrimLeft(val, " "), nil
}

func parseRDN(s string) (RDN, error) {
	typ, val, err := splitRDN(s)
	if err != nil {
		return RDN{}, err
	}
	v, err := unescape(val)
	return RDN{typ, v}, err
}

// unescape resolves \x and \hh. Unescaped trailing spaces are not part of the value.
func unescape(s string) (string, error) {
	if strings.IndexByte(s, '\\') < 0 {
		return strings.TrimRight(s, " "), nil
	}
	b := make([]byte, 0, len(s))
	keep := 0 // length that trailing-space trimming must not go below
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b = append(b, s[i])
			continue
		}
		if i+1 == len(s) {
			return "", errors.New("ends in a backslash")
		}
		if i+2 < len(s) {
			hi, lo := hexDigit(s[i+1]), hexDigit(s[i+2])
			if hi >= 0 && lo >= 0 {
				b = append(b, byte(hi<<4|lo))
				i += 2
				keep = len(b)
				continue
			}
		}
		b = append(b, s[i+1])
		i++
		keep = len(b)
	}
	for len(b) > keep && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	return string(b), nil
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// EscapeRDN returns value as it is written inside a distinguished name (RFC 4514
// 2.4), in the form that domain controllers use.
func EscapeRDN(value string) string {
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		c := value[i]
		edge := c == ' ' && (i == 0 || i == len(value)-1) || c == '#' && i == 0
		switch {
		case c < 0x20 || c == 0x7F:
			fmt.Fprintf(&b, "\\%02X", c)
		case edge || strings.IndexByte(`,+"\<>;=`, c) >= 0:
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// dnKey returns the form under which two spellings of one name are equal: types
// and values in lower case, escapes resolved, root first (so that the keys of a
// subtree share a prefix and sort together). Each component ends with NUL.
func dnKey(dn string) (string, error) {
	b, err := appendDNKey(make([]byte, 0, len(dn)+8), dn)
	return string(b), err
}

// appendDNKey appends the key of dn to b.
func appendDNKey(b []byte, dn string) ([]byte, error) {
	var few [24]string
	parts := few[:0]
	err := eachComponent(dn, func(c string) error {
		parts = append(parts, c)
		return nil
	})
	for i := len(parts) - 1; i >= 0 && err == nil; i-- {
		if b, err = appendRDNKey(b, parts[i]); err != nil {
			err = fmt.Errorf("%w: %s: %w", ErrDN, clip(dn), err)
		}
	}
	return b, err
}

// appendRDNKey appends the key of one component. NUL and SOH inside values are
// written as SOH and a second byte, so that NUL only ends components and two
// names never get one key.
func appendRDNKey(b []byte, component string) ([]byte, error) {
	typ, val, err := splitRDN(component)
	if err != nil {
		return b, err
	}
	for i := range len(typ) {
		b = append(b, lowerASCII(typ[i]))
	}
	b = append(b, '=')
	if val, err = unescape(val); err != nil {
		return b, err
	}
	if !isASCII(val) && utf8.ValidString(val) {
		val = strings.ToLower(val)
	}
	for i := range len(val) {
		switch c := val[i]; c {
		case 0, 1:
			b = append(b, 1, c+1)
		default:
			b = append(b, lowerASCII(c))
		}
	}
	return append(b, 0), nil
}

func lowerASCII(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// clip quotes s for a message, at most its first 120 bytes.
func clip(s string) string {
	if len(s) > 120 {
		return fmt.Sprintf("%q…", s[:120])
	}
	return fmt.Sprintf("%q", s)
}
