package adminservice

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/leastwise/leastwise/internal/configmgr"
)

// Limits of one answer. A page of 500 rows is a few hundred kilobytes.
const (
	maxBody    = 64 << 20 // bytes
	maxDepth   = 32       // of lists and objects within each other
	maxText    = 1 << 20  // bytes of a value that is kept
	maxPerPage = 100_000  // rows
)

// A DecodeError says where an answer is not what it should be. It never quotes the
// answer, which may hold secrets.
type DecodeError struct {
	Offset int    // in bytes from the start of the answer
	Why    string //
	Short  bool   // the answer ends there
}

// Error implements error.
func (e *DecodeError) Error() string { return fmt.Sprintf("byte %d: %s", e.Offset, e.Why) }

// A page is one decoded answer.
type page struct {
	rows []configmgr.Row
	ids  [][]byte // of each row, the bytes it was decoded from
	more bool     // the server says that there are further rows
}

// decodePage reads the list "value" of an answer (OData JSON 4.0, 4.5.9 and 12). keep
// says which columns of a row are wanted; the others are stepped over and never become
// values. single takes an answer that is one row itself.
func decodePage(b []byte, keep func(column string) bool, single bool) (page, error) {
	s := &scanner{b: bytes.TrimPrefix(b, []byte("\ufeff"))}
	p, err := s.page(keep)
	if err != nil {
		return page{}, err
	}
	if s.space(); s.i < len(s.b) {
		return page{}, s.fail("something follows the answer")
	}
	if p.rows == nil && !single {
		return page{}, &DecodeError{Why: `the answer has no list "value"`}
	}
	if p.rows == nil {
		one := &scanner{b: s.b}
		row, err := one.object(keep)
		if err != nil {
			return page{}, err
		}
		p.rows, p.ids = []configmgr.Row{row}, [][]byte{s.b}
	}
	return p, nil
}

// A scanner reads JSON (RFC 8259) without making values of what is not wanted.
type scanner struct {
	b      []byte
	i      int
	depth  int
	secret map[string]bool // names of members that were judged, of which there are few
}

// open reports whether a member of an embedded object may become a value.
func (s *scanner) open(name string) bool {
	hide, ok := s.secret[name]
	if !ok {
		hide = configmgr.IsSecret("", name)
		if s.secret == nil || len(s.secret) > 1000 {
			s.secret = map[string]bool{}
		}
		s.secret[name] = hide
	}
	return !hide
}

func (s *scanner) fail(why string) error {
	return &DecodeError{Offset: s.i, Why: why}
}

func (s *scanner) short() error {
	return &DecodeError{Offset: s.i, Why: "the answer ends in the middle", Short: true}
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// peek returns the next byte that is no space, 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.i >= len(s.b) {
		return 0
	}
	return s.b[s.i]
}

// take steps over c.
func (s *scanner) take(c byte) error {
	switch s.peek() {
	case c:
		if s.i < len(s.b) {
			s.i++
			return nil
		}
		return s.short()
	case 0:
		if s.i >= len(s.b) {
			return s.short()
		}
	}
	return s.fail(fmt.Sprintf("'%c' is missing", c))
}

// page reads the outermost object.
func (s *scanner) page(keep func(string) bool) (p page, err error) {
	err = s.members(func(name string) error {
		switch {
		case name == "value" && s.peek() == '[':
			p.rows, p.ids = []configmgr.Row{}, nil
			return s.elements(func() error {
				if len(p.rows) == maxPerPage {
					return s.fail(fmt.Sprintf("more than %d rows", maxPerPage))
				}
				from := s.i
				row, err := s.object(keep)
				p.rows, p.ids = append(p.rows, row), append(p.ids, s.b[from:s.i])
				return err
			})
		case name == "@odata.nextLink":
			p.more = s.peek() == '"'
		}
		return s.skip()
	})
	return p, err
}

// object reads an object and keeps the members that are wanted.
func (s *scanner) object(keep func(string) bool) (map[string]any, error) {
	out := map[string]any{}
	err := s.members(func(name string) error {
		if !keep(name) {
			return s.skip()
		}
		v, err := s.value()
		out[name] = v
		return err
	})
	return out, err
}

// members calls each for every member of an object, whose value it must step over.
func (s *scanner) members(each func(name string) error) error {
	if err := s.enter('{'); err != nil {
		return err
	}
	defer func() { s.depth-- }()
	for first := true; s.peek() != '}'; first = false {
		if !first {
			if err := s.take(','); err != nil {
				return err
			}
		}
		if s.peek() != '"' {
			return s.take('"')
		}
		name, err := s.text()
		if err != nil {
			return err
		}
		if err := s.take(':'); err != nil {
			return err
		}
		s.space()
		if err := each(name); err != nil {
			return err
		}
	}
	s.i++
	return nil
}

// elements calls each for every element of a list, which it must step over.
func (s *scanner) elements(each func() error) error {
	if err := s.enter('['); err != nil {
		return err
	}
	defer func() { s.depth-- }()
	for first := true; s.peek() != ']'; first = false {
		if !first {
			if err := s.take(','); err != nil {
				return err
			}
		}
		s.space()
		if err := each(); err != nil {
			return err
		}
	}
	s.i++
	return nil
}

// enter steps over the bracket that opens a list or object.
func (s *scanner) enter(open byte) error {
	if err := s.take(open); err != nil {
		return err
	}
	if s.depth++; s.depth > maxDepth {
		return s.fail(fmt.Sprintf("lists and objects are nested deeper than %d", maxDepth))
	}
	return nil
}

// value reads any value. Members of embedded objects whose names say that they are
// secrets are stepped over.
func (s *scanner) value() (any, error) {
	switch c := s.peek(); c {
	case '{':
		return s.object(s.open)
	case '[':
		out := []any{}
		err := s.elements(func() error {
			v, err := s.value()
			out = append(out, v)
			return err
		})
		return out, err
	case '"':
		return s.text()
	default:
		word, err := s.word()
		if err != nil {
			return nil, err
		}
		switch word {
		case "true":
			return true, nil
		case "false":
			return false, nil
		case "null":
			return nil, nil
		}
		return json.Number(word), nil
	}
}

// skip steps over any value.
func (s *scanner) skip() error {
	switch s.peek() {
	case '{':
		return s.members(func(string) error { return s.skip() })
	case '[':
		return s.elements(s.skip)
	case '"':
		_, err := s.quoted()
		return err
	}
	_, err := s.word()
	return err
}

// word reads a number, true, false or null.
func (s *scanner) word() (string, error) {
	s.space()
	from := s.i
	for s.i < len(s.b) && strings.IndexByte(",:]}[{\" \t\r\n", s.b[s.i]) < 0 {
		s.i++
	}
	if s.i == from {
		if s.i == len(s.b) {
			return "", s.short()
		}
		return "", s.fail("a value is missing")
	}
	if w := s.b[from:s.i]; len(w) <= 64 && json.Valid(w) {
		return string(w), nil
	}
	if s.i == len(s.b) {
		return "", s.short()
	}
	s.i = from
	return "", s.fail("neither a number nor true, false or null")
}

// quoted steps over a text and returns it with its quotation marks.
func (s *scanner) quoted() ([]byte, error) {
	from := s.i
	for i := from + 1; i < len(s.b); i++ {
		switch c := s.b[i]; {
		case c == '\\':
			i++
		case c == '"':
			s.i = i + 1
			return s.b[from:s.i], nil
		case c < ' ':
			s.i = i
			return nil, s.fail("a control character in a text")
		}
	}
	s.i = len(s.b)
	return nil, s.short()
}

// text reads a text. Bytes that are no UTF-8 become the replacement character.
func (s *scanner) text() (string, error) {
	from := s.i
	q, err := s.quoted()
	if err != nil {
		return "", err
	}
	if len(q) > maxText {
		s.i = from
		return "", s.fail(fmt.Sprintf("a text of more than %d bytes", maxText))
	}
	if bytes.IndexByte(q, '\\') < 0 && utf8.Valid(q) {
		return string(q[1 : len(q)-1]), nil
	}
	var out string
	if json.Unmarshal(q, &out) != nil {
		s.i = from
		return "", s.fail("a text with an escape that does not exist")
	}
	return out, nil
}
