package forest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// ErrDN reports text that is not a distinguished name.
var ErrDN = errors.New("not a distinguished name")

// An RDN is one component of a distinguished name, unescaped.
type RDN struct {
	Type  string // as written: CN, OU, DC, …
	Value string
}

// ParseDN splits a distinguished name (RFC 4514) into its components, leaf first.
// The empty name has none. Escapes (\, and \2C) are resolved; a component with
// several values (a+b) is kept as one value, as Active Directory has none.
func ParseDN(dn string) ([]RDN, error) {
	var out []RDN
	for rest := dn; rest != ""; {
		i := componentEnd(rest)
		r, err := parseRDN(rest[:i])
		if err != nil {
			return nil, fmt.Errorf("%w: %q: %w", ErrDN, dn, err)
		}
		out = append(out, r)
		if i == len(rest) {
			return out, nil
		}
		if rest = rest[i+1:]; rest == "" {
			return nil, fmt.Errorf("%w: %q: ends with a comma", ErrDN, dn)
		}
	}
	return out, nil
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

func parseRDN(s string) (RDN, error) {
	typ, val, ok := strings.Cut(s, "=")
	typ = strings.TrimSpace(typ)
	if !ok || typ == "" {
		return RDN{}, fmt.Errorf("component %q has no type", s)
	}
	v, err := unescape(strings.TrimLeft(val, " "))
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
			if h, err := hex.DecodeString(s[i+1 : i+3]); err == nil {
				b = append(b, h[0])
				i += 2
				keep = len(b)
				continue
			}
		}
		b = append(b, s[i+1])
		i++
		keep = len(b)
	}
	t := strings.TrimRight(string(b), " ")
	if len(t) < keep {
		t = string(b[:keep])
	}
	return t, nil
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
// subtree share a prefix and sort together). Components are separated by NUL.
func dnKey(dn string) (string, error) {
	parts, err := ParseDN(dn)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.Grow(len(dn) + 4)
	for i := len(parts) - 1; i >= 0; i-- {
		b.WriteString(rdnKey(parts[i]))
		b.WriteByte(0)
	}
	return b.String(), nil
}

func rdnKey(r RDN) string {
	v := strings.ToLower(r.Value)
	if strings.IndexByte(v, 0) >= 0 {
		v = strings.ReplaceAll(v, "\x00", "\x01\x01")
	}
	return strings.ToLower(r.Type) + "=" + v
}
