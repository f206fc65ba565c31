package report

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/leastwise/leastwise/internal/control"
)

// A jsonWriter appends findings and rows of the matrix to a text, exactly as
// package encoding/json writes them without escaping for HTML, except that empty
// lists are [] and never null. A large forest has some hundred thousand of them,
// and most of their text is the same from one to the next: it is copied.
type jsonWriter struct {
	b    []byte
	same [repeats]copied
	err  error
}

// A copied is a text with the form in which it was last written.
type copied struct {
	text string
	json []byte
}

// Texts that findings of one control, or rows of one host set, repeat.
const (
	title = iota
	reason
	rationale
	fix
	verify
	repeats
)

// elements writes the elements of a slice, with commas and line ends between them.
func (w *jsonWriter) elements(slice any) {
	switch list := slice.(type) {
	case []control.Finding:
		for i := range list {
			w.between(i)
			w.finding(&list[i])
		}
	case []control.MatrixRow:
		for i := range list {
			w.between(i)
			w.row(&list[i])
		}
	default:
		v := reflect.ValueOf(slice)
		for i := range v.Len() {
			w.between(i)
			w.other(v.Index(i).Addr().Interface())
		}
	}
}

func (w *jsonWriter) between(i int) {
	if i > 0 {
		w.raw(",\n    ")
	}
}

func (w *jsonWriter) finding(f *control.Finding) {
	w.key(`{"control":`, f.Control)
	w.repeat(`,"title":`, f.Title, title)
	w.key(`,"section":`, f.Section)
	w.key(`,"severity":`, string(f.Severity))
	w.repeat(`,"severity_reason":`, f.Reason, reason)
	w.key(`,"outcome":`, string(f.Outcome))
	w.raw(`,"subject":`)
	w.subject(&f.Subject)
	w.key(`,"detail":`, f.Detail)
	w.repeat(`,"rationale":`, f.Rationale, rationale)
	w.raw(`,"evidence":[`)
	for i := range f.Evidence {
		if i > 0 {
			w.raw(",")
		}
		w.evidence(&f.Evidence[i])
	}
	w.raw(`],"missing":`)
	w.texts(f.Missing)
	w.repeat(`,"fix":{"text":`, f.Fix.Text, fix)
	w.raw(`,"changes":`)
	w.texts(f.Fix.Changes)
	w.repeat(`},"verify":`, f.Verify, verify)
	if f.Exception != nil {
		w.raw(`,"exception":`)
		w.other(f.Exception)
	}
	w.raw("}")
}

func (w *jsonWriter) row(r *control.MatrixRow) {
	w.raw(`{"hosts":`)
	w.subject(&r.Hosts)
	w.key(`,"role":`, r.Role)
	w.key(`,"principal":`, r.Principal)
	w.raw(`,"cells":{`)
	for i, right := range slices.Sorted(maps.Keys(r.Cells)) {
		if i > 0 {
			w.raw(",")
		}
		w.text(right)
		w.key(":", string(r.Cells[right]))
	}
	w.raw("}}")
}

func (w *jsonWriter) subject(s *control.Subject) {
	w.key(`{"name":`, s.Name)
	w.key(`,"dn":`, s.DN)
	w.unlessEmpty(`,"sid":`, s.SID)
	w.key(`,"kind":`, s.Kind)
	w.key(`,"domain":`, s.Domain)
	w.unlessEmpty(`,"scope":`, s.Scope)
	if len(s.Hosts) > 0 {
		w.raw(`,"hosts":`)
		w.texts(s.Hosts)
	}
	w.raw("}")
}

func (w *jsonWriter) evidence(e *control.Evidence) {
	w.key(`{"kind":`, e.Kind)
	w.key(`,"text":`, e.Text)
	w.unlessEmpty(`,"dn":`, e.DN)
	w.unlessEmpty(`,"attribute":`, e.Attr)
	w.unlessEmpty(`,"value":`, e.Value)
	if a := e.ACE; a != nil {
		w.key(`,"ace":{"sddl":`, a.SDDL)
		w.number(`,"index":`, int64(a.Index))
		w.key(`,"list":`, a.List)
		w.unlessEmpty(`,"inherited_from":`, a.Inherited)
		w.key(`,"trustee":`, a.Trustee)
		w.raw("}")
	}
	w.unlessEmpty(`,"policy":`, e.Policy)
	w.unlessEmpty(`,"file":`, e.File)
	if e.Line != 0 {
		w.number(`,"line":`, int64(e.Line))
	}
	if len(e.Chain) > 0 {
		w.raw(`,"chain":`)
		w.texts(e.Chain)
	}
	w.unlessEmpty(`,"remove":`, e.Remove)
	if c := e.Changed; c != nil {
		w.raw(`,"changed":{"time":`)
		w.time(c.Time)
		w.number(`,"version":`, int64(c.Version))
		w.key(`,"server":`, c.Server)
		w.raw("}")
	}
	w.raw("}")
}

func (w *jsonWriter) raw(s string) { w.b = append(w.b, s...) }

func (w *jsonWriter) key(key, text string) {
	w.raw(key)
	w.text(text)
}

func (w *jsonWriter) unlessEmpty(key, text string) {
	if text != "" {
		w.key(key, text)
	}
}

func (w *jsonWriter) number(key string, n int64) {
	w.raw(key)
	w.b = strconv.AppendInt(w.b, n, 10)
}

// repeat writes a text that is likely to be that of the last time.
func (w *jsonWriter) repeat(key, text string, which int) {
	w.raw(key)
	last := &w.same[which]
	if last.text != text || last.json == nil {
		from := len(w.b)
		w.text(text)
		*last = copied{text, slices.Clone(w.b[from:])}
		return
	}
	w.b = append(w.b, last.json...)
}

func (w *jsonWriter) texts(list []string) {
	w.raw("[")
	for i, s := range list {
		if i > 0 {
			w.raw(",")
		}
		w.text(s)
	}
	w.raw("]")
}

func (w *jsonWriter) time(t time.Time) {
	text, err := t.AppendText(append(w.b, '"'))
	if err != nil {
		w.fail(err)
		return
	}
	w.b = append(text, '"')
}

// other writes what is too rare for a function of its own.
func (w *jsonWriter) other(v any) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	w.fail(enc.Encode(v))
	w.b = append(w.b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}

func (w *jsonWriter) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// unescaped marks the bytes that stand for themselves in a text.
var unescaped = func() (ok [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		ok[c] = c != '"' && c != '\\'
	}
	return ok
}()

const hexDigits = "0123456789abcdef"

// text writes a text in quotes. What is not UTF-8 becomes U+FFFD, and the line
// ends of JavaScript, U+2028 and U+2029, are escaped.
func (w *jsonWriter) text(s string) {
	b := append(w.b, '"')
	done := 0 // s[:done] is written
	for i := 0; i < len(s); {
		c := s[i]
		if unescaped[c] {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			b = appendEscape(append(b, s[done:i]...), c)
			i++
			done = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b = append(append(b, s[done:i]...), `\ufffd`...)
			done = i + n
		case r == '\u2028' || r == '\u2029':
			b = append(append(b, s[done:i]...), `\u202`...)
			b = append(b, hexDigits[r&0xF])
			done = i + n
		}
		i += n
	}
	w.b = append(append(b, s[done:]...), '"')
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\b':
		return append(b, '\\', 'b')
	case '\f':
		return append(b, '\\', 'f')
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xF])
}
