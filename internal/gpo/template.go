package gpo

import (
	"fmt"
	"slices"
	"strings"
)

// A Template is a security template, GptTmpl.inf ([MS-GPSB] 2.2), or another
// file of that form such as GPT.INI. It keeps every line as it was read, so that
// a template that is parsed and written has the same bytes, and one that was
// changed differs only in the lines that were changed.
type Template struct {
	Encoding Encoding
	Problems []string // what is odd but not fatal, with line numbers

	lines []templateLine
}

// templateLine is one line with its line break as written.
type templateLine struct {
	text, eol string
	section   string // lower case; of a header line: its own
	header    bool
	key       string // as written; empty if the line is not key = value
	value     string // trimmed
}

// Sections of a security template, in lower case.
const (
	secPrivileges = "privilege rights"
	secGroups     = "group membership"
	secSystem     = "system access"
	secAudit      = "event audit"
	secRegistry   = "registry values"
	secServices   = "service general setting"
	secFiles      = "file security"
	secKeys       = "registry keys"
)

// rawSections have lines of comma-separated fields, not key = value.
func rawSection(name string) bool {
	return name == secServices || name == secFiles || name == secKeys
}

// Limits of a template.
const (
	maxLines = 200_000
	maxLine  = 1 << 20
)

// ParseTemplate reads a security template. Errors name the line.
func ParseTemplate(raw []byte) (*Template, error) {
	text, enc, err := decodeText(raw)
	if err != nil {
		return nil, fmt.Errorf("reading security template: %w", err)
	}
	t := &Template{Encoding: enc}
	if enc == ANSI {
		t.Problems = append(t.Problems, "not Unicode: names outside ASCII were read as Windows-1252 and may be wrong")
	}
	section, n := "", 0
	for len(text) > 0 {
		n++
		line := cutLine(&text)
		if n > maxLines || len(line.text) > maxLine {
			return nil, fmt.Errorf("reading security template: %w: line %d: more than %d lines or %d bytes a line", ErrSyntax, n, maxLines, maxLine)
		}
		if err := line.classify(section); err != nil {
			return nil, fmt.Errorf("reading security template: %w: line %d: %w", ErrSyntax, n, err)
		}
		section = line.section
		t.lines = append(t.lines, line)
	}
	t.findProblems()
	return t, nil
}

// cutLine takes the first line off text. Line breaks are CR LF, LF or CR.
func cutLine(text *string) templateLine {
	s := *text
	i := strings.IndexAny(s, "\r\n")
	if i < 0 {
		*text = ""
		return templateLine{text: s}
	}
	n := 1
	if s[i] == '\r' && i+1 < len(s) && s[i+1] == '\n' {
		n = 2
	}
	*text = s[i+n:]
	return templateLine{text: s[:i], eol: s[i : i+n]}
}

// classify finds out what the line is, given the section it stands in.
func (l *templateLine) classify(section string) error {
	l.section = section
	s := strings.Trim(l.text, " \t\x00\x1a")
	switch {
	case s == "" || s[0] == ';':
		return nil
	case s[0] == '[':
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return fmt.Errorf("section header %q is not closed", clip(s))
		}
		l.header = true
		l.section = strings.ToLower(strings.TrimSpace(s[1:end]))
		return nil
	}
	if rawSection(section) {
		l.value = s
		return nil
	}
	key, value, ok := cutKey(s)
	if !ok {
		return nil // kept, and reported by findProblems
	}
	l.key, l.value = key, value
	return nil
}

// cutKey splits key = value; the key may be quoted.
func cutKey(s string) (key, value string, ok bool) {
	if s[0] == '"' {
		if end := strings.IndexByte(s[1:], '"'); end >= 0 {
			rest := strings.TrimLeft(s[end+2:], " \t")
			if strings.HasPrefix(rest, "=") {
				return s[1 : end+1], strings.TrimSpace(rest[1:]), true
			}
		}
	}
	key, value, ok = strings.Cut(s, "=")
	key = strings.TrimSpace(key)
	return key, strings.TrimSpace(value), ok && key != ""
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

func (t *Template) findProblems() {
	type name struct{ section, key string }
	seen := map[name]int{}
	for i, l := range t.lines {
		s := strings.Trim(l.text, " \t\x00\x1a")
		if l.header || s == "" || s[0] == ';' || rawSection(l.section) {
			continue
		}
		if l.key == "" {
			t.Problems = append(t.Problems, fmt.Sprintf("line %d is neither a section nor key = value and is ignored", i+1))
			continue
		}
		if l.section == "" {
			t.Problems = append(t.Problems, fmt.Sprintf("line %d stands before the first section and is ignored", i+1))
			continue
		}
		k := name{l.section, strings.ToLower(l.key)}
		if first, dup := seen[k]; dup {
			t.Problems = append(t.Problems, fmt.Sprintf("line %d repeats %s of line %d; the later line counts", i+1, l.key, first))
		}
		seen[k] = i + 1
	}
}

// An Item is one key = value line of a template.
type Item struct {
	Section string // lower case
	Key     string // as written, without quotes
	Value   string // as written, without surrounding space
	Line    int    // from 1
}

// Items returns the key = value lines of a section, ignoring case, in file order.
// Of a repeated key only the last line is returned, in the place of the last.
func (t *Template) Items(section string) []Item {
	section = strings.ToLower(section)
	last := map[string]int{}
	for i, l := range t.lines {
		if l.section == section && l.key != "" {
			last[strings.ToLower(l.key)] = i
		}
	}
	out := make([]Item, 0, len(last))
	for i, l := range t.lines {
		if l.section == section && l.key != "" && last[strings.ToLower(l.key)] == i {
			out = append(out, Item{Section: section, Key: l.key, Value: l.value, Line: i + 1})
		}
	}
	return out
}

// Get returns the line of a key, ignoring case.
func (t *Template) Get(section, key string) (Item, bool) {
	for _, x := range t.Items(section) {
		if strings.EqualFold(x.Key, key) {
			return x, true
		}
	}
	return Item{}, false
}

// Raw returns the lines of a section that is not key = value: [Service General
// Setting], [File Security], [Registry Keys].
func (t *Template) Raw(section string) []Item {
	section = strings.ToLower(section)
	var out []Item
	for i, l := range t.lines {
		if l.section == section && !l.header && l.key == "" && l.value != "" {
			out = append(out, Item{Section: section, Value: l.value, Line: i + 1})
		}
	}
	return out
}

// SplitList splits a comma-separated list of a template; quotes protect commas
// and are removed. An empty text is an empty list, and so are its empty elements.
func SplitList(s string) []string {
	var out []string
	var b strings.Builder
	quoted := false
	flush := func() {
		if v := strings.TrimSpace(b.String()); v != "" {
			out = append(out, v)
		}
		b.Reset()
	}
	for _, r := range s {
		switch {
		case r == '"':
			quoted = !quoted
		case r == ',' && !quoted:
			flush()
		default:
			b.WriteRune(r)
		}
	}
	flush()
	return out
}

// NewTemplate returns an empty template with the header that Windows writes.
func NewTemplate() *Template {
	t := &Template{Encoding: UTF16LE}
	t.Set("Unicode", "Unicode", "yes")
	t.appendLine("[Version]", "version")
	t.lines = append(t.lines,
		templateLine{text: `signature="$CHICAGO$"`, eol: "\r\n", section: "version", key: "signature", value: `"$CHICAGO$"`},
		templateLine{text: "Revision=1", eol: "\r\n", section: "version", key: "Revision", value: "1"})
	return t
}

// Set gives key in section the value, in its last line if it has one; earlier
// lines of the same key go. A new key is added at the end of its section, a new
// section at the end of the file.
func (t *Template) Set(section, key, value string) {
	low := strings.ToLower(section)
	last := -1
	for i, l := range t.lines {
		if l.section == low && strings.EqualFold(l.key, key) && l.key != "" {
			last = i
		}
	}
	if last < 0 {
		t.insert(section, t.format(key, value))
		return
	}
	l := &t.lines[last]
	if l.value != value {
		fresh := t.format(l.key, value)
		l.text, l.value = fresh.text, value
	}
	t.remove(low, key, last)
}

// Unset removes key from section.
func (t *Template) Unset(section, key string) {
	t.remove(strings.ToLower(section), key, -1)
}

func (t *Template) remove(section, key string, but int) {
	out := t.lines[:0:0]
	for i, l := range t.lines {
		if i == but || l.section != section || l.key == "" || !strings.EqualFold(l.key, key) {
			out = append(out, l)
		}
	}
	t.lines = out
}

func (t *Template) format(key, value string) templateLine {
	k := key
	if strings.ContainsAny(key, `="[];`) {
		k = `"` + strings.ReplaceAll(key, `"`, "") + `"`
	}
	text := k + " = " + value
	if value == "" {
		text = k + " ="
	}
	return templateLine{text: text, eol: "\r\n", key: key, value: value}
}

func (t *Template) appendLine(text, section string) {
	if n := len(t.lines); n > 0 && t.lines[n-1].eol == "" {
		t.lines[n-1].eol = "\r\n"
	}
	t.lines = append(t.lines, templateLine{text: text, eol: "\r\n", section: section, header: true})
}

// insert adds a line behind the last line of its section that is not blank.
func (t *Template) insert(section string, l templateLine) {
	l.section = strings.ToLower(section)
	at := -1
	for i, x := range t.lines {
		if x.section == l.section && strings.TrimSpace(x.text) != "" {
			at = i
		}
	}
	if at < 0 {
		t.appendLine("["+section+"]", l.section)
		at = len(t.lines) - 1
	}
	if t.lines[at].eol == "" {
		t.lines[at].eol = "\r\n"
	}
	t.lines = slices.Insert(t.lines, at+1, l)
}

// Bytes writes the template in its encoding.
func (t *Template) Bytes() ([]byte, error) {
	var b strings.Builder
	for _, l := range t.lines {
		b.WriteString(l.text)
		b.WriteString(l.eol)
	}
	return encodeText(b.String(), t.Encoding)
}

// A Version is the version of a policy: user half << 16 | computer half.
type Version uint32

// Computer returns the computer half.
func (v Version) Computer() uint16 { return uint16(v) }

// User returns the user half.
func (v Version) User() uint16 { return uint16(v >> 16) }

// ParseGPTINI reads the version from GPT.INI ([MS-GPOL] 2.2.4).
func ParseGPTINI(raw []byte) (Version, error) {
	t, err := ParseTemplate(raw)
	if err != nil {
		return 0, fmt.Errorf("reading GPT.INI: %w", err)
	}
	x, ok := t.Get("general", "version")
	if !ok {
		return 0, fmt.Errorf("reading GPT.INI: %w: no Version in [General]", ErrSyntax)
	}
	v, err := parseUint32(x.Value)
	if err != nil {
		return 0, fmt.Errorf("reading GPT.INI: %w: line %d: version %q", ErrSyntax, x.Line, clip(x.Value))
	}
	return Version(v), nil
}
