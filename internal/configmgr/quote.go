package configmgr

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrParameter reports a parameter of a plan that is not accepted.
var ErrParameter = errors.New("parameter is not accepted")

var (
	accountPattern  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,18}[A-Za-z0-9_-]$`)
	hostPattern     = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*$`)
	netbiosPattern  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{0,14}$`)
	databasePattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{0,127}$`)
	instancePattern = regexp.MustCompile(`^[^\\]+(\\[A-Za-z0-9_$]{1,16})?$`)
	rdnType         = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*$`)
)

// parameter makes an error about a parameter; the value is quoted, so that it cannot
// forge lines.
func parameter(name, value, why string) error {
	return fmt.Errorf("%w: %s %q: %s", ErrParameter, name, value, why)
}

// checkValue refuses what no name of a plan has: control characters, direction marks,
// quotation marks, text that is not UTF-8, and more than 1024 bytes.
func checkValue(name, value string) error {
	switch {
	case value == "":
		return parameter(name, value, "is empty")
	case len(value) > 1024:
		return parameter(name, value[:40]+"…", "is longer than 1024 bytes")
	case !utf8.ValidString(value):
		return parameter(name, value, "is not UTF-8")
	case strings.ContainsFunc(value, func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029'
	}):
		return parameter(name, value, "has control or formatting characters")
	case strings.Contains(value, `"`):
		return parameter(name, value, "has a quotation mark")
	}
	return nil
}

// checkPattern checks a value of a plan against the form that it must have.
func checkPattern(name, value string, form *regexp.Regexp, want string) error {
	if err := checkValue(name, value); err != nil {
		return err
	}
	if !form.MatchString(value) {
		return parameter(name, value, "is not "+want)
	}
	return nil
}

// checkDN checks the form of a distinguished name (RFC 4514) that ends in the DC parts of
// a domain. Escaped characters are taken, hexadecimal values (#…) are not.
func checkDN(name, value string) error {
	if err := checkValue(name, value); err != nil {
		return err
	}
	parts, ok := splitDN(value)
	if !ok {
		return parameter(name, value, "ends within an escape")
	}
	for _, p := range parts {
		typ, v, found := strings.Cut(p, "=")
		if !found || !rdnType.MatchString(strings.TrimSpace(typ)) || strings.TrimSpace(v) == "" {
			return parameter(name, value, fmt.Sprintf("%q is not of the form type=value", p))
		}
		if bad := badInValue(v); bad != "" {
			return parameter(name, value, bad)
		}
	}
	if typ, _, _ := strings.Cut(parts[len(parts)-1], "="); !strings.EqualFold(strings.TrimSpace(typ), "DC") {
		return parameter(name, value, "does not end in the name of a domain (DC=…)")
	}
	return nil
}

// splitDN splits at commas that are not escaped; false if the last escape is cut off.
func splitDN(dn string) (parts []string, ok bool) {
	start := 0
	for i := 0; i < len(dn); i++ {
		switch dn[i] {
		case '\\':
			if i+1 >= len(dn) {
				return nil, false
			}
			i++
		case ',':
			parts = append(parts, dn[start:i])
			start = i + 1
		}
	}
	return append(parts, dn[start:]), true
}

// badInValue says what a value of a DN must not have unescaped; "" if it is fine.
func badInValue(v string) string {
	v = strings.TrimLeft(v, " ")
	if strings.HasPrefix(v, "#") {
		return "hexadecimal values are not taken"
	}
	for i := 0; i < len(v); i++ {
		switch v[i] {
		case '\\':
			i++ // whatever it is, it is escaped
			if i < len(v) && !strings.ContainsRune(`,+"\<>;=# `, rune(v[i])) && !(isHex(v[i]) && i+1 < len(v) && isHex(v[i+1])) {
				return fmt.Sprintf("\\%c is no escape", v[i])
			}
			if i+1 < len(v) && isHex(v[i]) && isHex(v[i+1]) && v[i] < '2' {
				return "an escape stands for a control character"
			}
		case ';', '<', '>', '+', '=':
			return fmt.Sprintf("%c stands unescaped in a value", v[i])
		}
	}
	return ""
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// checkUNC checks a path of the form \\host\share\folder.
func checkUNC(name, value string) error {
	if err := checkValue(name, value); err != nil {
		return err
	}
	rest, ok := strings.CutPrefix(value, `\\`)
	parts := strings.Split(rest, `\`)
	if !ok || len(parts) < 2 || !hostPattern.MatchString(parts[0]) {
		return parameter(name, value, `is not of the form \\host\share\folder`)
	}
	for _, p := range parts[1:] {
		if p == "" || p == "." || p == ".." || strings.ContainsAny(p, `/:*?<>|`) {
			return parameter(name, value, fmt.Sprintf("%q is no name of a share or folder", p))
		}
	}
	return nil
}

// psLiteral is a verbatim string of PowerShell. All the characters that PowerShell takes
// for a single quote are doubled (about_Quoting_Rules): ' and U+2018 to U+201B.
func psLiteral(s string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for _, r := range s {
		if r == '\'' || r >= '\u2018' && r <= '\u201b' {
			b.WriteRune(r)
		}
		b.WriteRune(r)
	}
	b.WriteByte('\'')
	return b.String()
}

// sqlName is a delimited identifier of Transact-SQL.
func sqlName(s string) string { return "[" + strings.ReplaceAll(s, "]", "]]") + "]" }

// ldifLine is one line of LDIF, in base 64 where RFC 2849 asks for it (SAFE-STRING).
func ldifLine(attr, value string) string {
	safe := value == "" || !strings.ContainsAny(value[:1], " :<") && !strings.HasSuffix(value, " ")
	for i := 0; safe && i < len(value); i++ {
		safe = value[i] >= ' ' && value[i] < 0x7f
	}
	if safe {
		return attr + ": " + value + "\n"
	}
	return attr + ":: " + base64.StdEncoding.EncodeToString([]byte(value)) + "\n"
}

// escapeRDN escapes a value of a DN (RFC 4514, 2.4).
func escapeRDN(v string) string {
	var b strings.Builder
	for i, r := range v {
		if strings.ContainsRune(`,+"\<>;=`, r) || i == 0 && (r == '#' || r == ' ') || i == len(v)-1 && r == ' ' {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
