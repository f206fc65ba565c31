package report

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMarks is how many combining marks may stand on one character before the
// rest are spelled out: real scripts need up to four, vandalism needs hundreds.
const maxMarks = 4

// Visible returns text of a directory so that a terminal shows it and does not obey
// it: see visible.
func Visible(s string) string { return visible(s) }

// visible returns s with every character that a reader could not see, or that
// would change how its neighbours are shown, spelled out: control and format
// characters (bidirectional overrides and zero-width ones among them), line
// separators, spaces other than U+0020, unassigned and private code points as
// <U+202E>, bytes that are not UTF-8 as <0xFF>, and a space at either end as ␠.
func visible(s string) string {
	if isPlain(s) {
		return s
	}
	var b strings.Builder
	marks := 0
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Me, r) {
			marks++
		} else {
			marks = 0
		}
		atEnd := i == 0 || i+n == len(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, "<0x%02X>", s[i])
		case r == ' ' && atEnd:
			b.WriteRune('␠')
		case marks > maxMarks, hidden(r):
			fmt.Fprintf(&b, "<U+%04X>", r)
		default:
			b.WriteRune(r)
		}
		i += n
	}
	return b.String()
}

// visibleLines is visible for texts in which a line feed is meant as one.
func visibleLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = visible(lines[i])
	}
	return strings.Join(lines, "\n")
}

// visibleAll applies visible to each string.
func visibleAll(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = visible(s)
	}
	return out
}

// isPlain reports whether s is printable ASCII without a space at either end.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return s == "" || s[0] != ' ' && s[len(s)-1] != ' '
}

// hidden reports whether r cannot be shown as itself.
func hidden(r rune) bool {
	return !unicode.IsGraphic(r) || unicode.Is(unicode.Zs, r) && r != ' '
}

// clip cuts s to at most n characters and says how many were cut.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	runes := []rune(s)
	if len(runes) <= n {
		return s
	}
	return fmt.Sprintf("%s… (%d more characters)", string(runes[:n]), len(runes)-n)
}
