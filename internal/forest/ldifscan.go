package forest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// An ldifLine is a logical line (RFC 2849, note 2), taken apart.
type ldifLine struct {
	kind lineKind
	n    int       // its first physical line
	name *ldifName // of a value, nil if it has none
	val  []byte    // the value, or the text of a comment
	err  error     // why there is no value
}

type lineKind uint8

const (
	emptyLine lineKind = iota
	commentLine
	valueLine
)

// An ldifName is what stands before a colon, taken apart.
type ldifName struct {
	lower  string // with options
	attr   *ldifAttr
	ranged bool   // there is an option range
	span   string // its value
	isOdd  bool   // there is an option that means nothing here
	odd    string
}

// An ldifAttr is an attribute name without options.
type ldifAttr struct {
	lower string
	slot  slot
	known bool   // there is no other ldifAttr of the name
	entry uint64 // the parser's: number of the entry whose values[at] it is
	at    int
}

// A nameTable makes names once. It holds no more of them than any schema has.
type nameTable struct {
	names map[string]*ldifName
	attrs map[string]*ldifAttr
	last  *ldifName // the values of an attribute follow each other
	raw   []byte    // what last was made of
}

const maxLDIFNames = 1 << 16

func (t *nameTable) get(raw []byte) *ldifName {
	if t.last != nil && bytes.Equal(raw, t.raw) {
		return t.last
	}
	n, ok := t.names[string(raw)]
	if !ok {
		n = t.make(string(raw))
	}
	t.last, t.raw = n, append(t.raw[:0], raw...)
	return n
}

func (t *nameTable) make(raw string) *ldifName {
	n := &ldifName{lower: strings.ToLower(raw)}
	base, options, _ := strings.Cut(raw, ";")
	base = strings.ToLower(base)
	for options != "" && !n.ranged && !n.isOdd {
		var option string
		option, options, _ = strings.Cut(options, ";")
		if n.span, n.ranged = cutPrefixFold(option, "range="); !n.ranged && !strings.EqualFold(option, "binary") {
			n.odd, n.isOdd = option, true
		}
	}
	a, ok := t.attrs[base]
	if !ok {
		a = &ldifAttr{lower: base, slot: slotOf(base), known: len(t.attrs) < maxLDIFNames}
		if a.known {
			t.attrs[base] = a
		}
	}
	n.attr = a
	if len(t.names) < maxLDIFNames {
		t.names[raw] = n
	}
	return n
}

// An ldifBatch is a part of a file: whole records, or comments.
type ldifBatch struct {
	lines []ldifLine
	err   error  // what came after the lines; io.EOF at the end of the file
	n     int    // physical lines so far, or that of err
	open  bool   // the last of them has no line break
	buf   []byte // the part of the file, unwrapped where it stands
	room  []byte // decoded values
}

// Sizes of the parts in which a file is read, in bytes: as a rule, and at most. A
// record must fit into one.
const (
	ldifPart0   = 1 << 20
	maxLDIFPart = maxLDIFEntry + maxLDIFEntry/8
)

// An ldifScanner cuts text into logical lines and decodes their values, ahead of the
// parser that takes them.
type ldifScanner struct {
	r     io.Reader
	part  int    // size of the parts
	rest  []byte // read, but behind the last whole record
	n     int    // physical lines
	names nameTable
	free  chan *ldifBatch // those that the parser is done with
	out   chan *ldifBatch
	stop  chan struct{} // closed when the parser wants no more
}

// ldifAhead is how many parts of a file are in memory at once.
const ldifAhead = 4

func newLDIFScanner(r io.Reader, part int) *ldifScanner {
	s := &ldifScanner{
		r: r, part: part, names: nameTable{names: map[string]*ldifName{}, attrs: map[string]*ldifAttr{}},
		free: make(chan *ldifBatch, ldifAhead), out: make(chan *ldifBatch, ldifAhead), stop: make(chan struct{}),
	}
	for range ldifAhead {
		s.free <- &ldifBatch{}
	}
	return s
}

// run scans to the end or to the first error, both of which the last batch tells.
func (s *ldifScanner) run() {
	defer close(s.out)
	for {
		select {
		case <-s.stop:
			return
		case b := <-s.free: // one or two more after the stop do no harm
			s.next(b)
			s.out <- b // there is room for all that there are
			if b.err != nil {
				return
			}
		}
	}
}

// next fills b.
func (s *ldifScanner) next(b *ldifBatch) {
	if cap(b.buf) > 8*s.part || len(b.lines) > s.part { // an unusual record was in it
		*b = ldifBatch{}
	}
	b.lines, b.room, b.open = b.lines[:0], b.room[:0], false
	end, err := s.fill(b)
	s.rest = append(s.rest[:0], b.buf[end:]...)
	b.err = s.cut(b, b.buf[:end], errors.Is(err, io.EOF))
	if b.err == nil {
		b.err = err
	}
	b.n = s.n
}

// fill reads into b.buf, up to the end of the last record in it.
func (s *ldifScanner) fill(b *ldifBatch) (end int, err error) {
	b.buf = append(b.buf[:0], s.rest...)
	for {
		want := min(max(s.part, 2*len(b.buf)), maxLDIFPart+s.part)
		b.buf = slices.Grow(b.buf, want-len(b.buf))
		for idle := 0; len(b.buf) < cap(b.buf); {
			n, err := s.r.Read(b.buf[len(b.buf):cap(b.buf)])
			b.buf = b.buf[:len(b.buf)+n]
			if err != nil {
				return len(b.buf), err
			}
			if idle++; n > 0 {
				idle = 0
			} else if idle > 100 {
				return len(b.buf), io.ErrNoProgress
			}
		}
		if end := recordEnd(b.buf); end > 0 {
			return end, nil
		}
		if len(b.buf) > maxLDIFPart || len(b.buf)-bytes.LastIndexByte(b.buf, '\n') > maxLDIFLine+1 {
			return len(b.buf), fmt.Errorf("%w: record of more than %d bytes", ErrLDIF, maxLDIFEntry)
		}
	}
}

// recordEnd returns where the last empty line of text ends, 0 if there is none
// behind another line.
func recordEnd(text []byte) int {
	for end := len(text); ; {
		i := bytes.LastIndexByte(text[:end], '\n')
		if i <= 0 {
			return 0
		}
		if text[i-1] == '\n' || i > 1 && text[i-1] == '\r' && text[i-2] == '\n' {
			return i + 1
		}
		end = i
	}
}

// cut cuts text into the lines of b. At the end of the file the last may lack its
// line break; before an error such is left out.
func (s *ldifScanner) cut(b *ldifBatch, text []byte, last bool) error {
	size, values := 0, 0 // of the record
	for at := 0; at < len(text); {
		line, next, open := physical(text, at)
		switch {
		case len(line) > maxLDIFLine:
			return fmt.Errorf("%w: line of more than %d bytes", ErrLDIF, maxLDIFLine)
		case open && !last:
			return nil
		}
		s.n++
		n := s.n
		if len(line) > 0 && line[0] == ' ' {
			return fmt.Errorf("%w: continuation of nothing", ErrLDIF)
		}
		for len(line) > 0 && next < len(text) && text[next] == ' ' {
			var more []byte
			more, next, open = physical(text, next)
			if open && !last {
				break
			}
			s.n++
			if line = append(line, more[1:]...); len(line) > maxLDIFLine {
				return fmt.Errorf("%w: value of more than %d bytes", ErrLDIF, maxLDIFLine)
			}
		}
		at, b.open = next, open
		if len(line) == 0 {
			size, values = 0, 0
		} else if line[0] != '#' {
			if size += len(line); size > maxLDIFEntry {
				s.n = n
				return fmt.Errorf("%w: entry of more than %d bytes", ErrLDIF, maxLDIFEntry)
			}
			if values++; values > maxLDIFValues {
				s.n = n
				return fmt.Errorf("%w: entry of more than %d values", ErrLDIF, maxLDIFValues)
			}
		}
		b.lines = append(b.lines, s.take(b, line, n))
	}
	return nil
}

// physical returns the line of text that begins at an index, without its end, and
// where the next one begins; open is set if it has no end.
func physical(text []byte, at int) (line []byte, next int, open bool) {
	i := bytes.IndexByte(text[at:], '\n')
	if i < 0 {
		line, next, open = text[at:], len(text), true
	} else {
		line, next = text[at:at+i], at+i+1
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line, next, open
}

// take takes a logical line apart: at its colon, if it is a value.
func (s *ldifScanner) take(b *ldifBatch, text []byte, n int) ldifLine {
	l := ldifLine{n: n}
	switch {
	case len(text) == 0:
		return l
	case text[0] == '#':
		l.kind, l.val = commentLine, text
		return l
	}
	l.kind = valueLine
	i := bytes.IndexByte(text, ':')
	if i <= 0 {
		l.err = fmt.Errorf("%w: %s has no attribute name", ErrLDIF, clip(string(text)))
		return l
	}
	l.name = s.names.get(text[:i])
	rest := text[i+1:]
	switch {
	case len(rest) > 0 && rest[0] == '<':
		l.err = fmt.Errorf("%w: value of %s is a URL; only values in the file are read", ErrLDIF, clip(string(text[:i])))
	case len(rest) > 0 && rest[0] == ':':
		var err error
		if l.val, err = b.decode(bytes.Trim(rest[1:], " ")); err != nil {
			l.err = fmt.Errorf("%w: value of %s is not base64", ErrLDIF, clip(string(text[:i])))
		}
	case !utf8.Valid(rest): // Latin-1 and the like: names would come out as other names
		l.err = fmt.Errorf("%w: value of %s is not UTF-8; convert the file, or export it again", ErrLDIF, clip(string(text[:i])))
	default:
		l.val = bytes.TrimLeft(rest, " ")
	}
	return l
}

// decode decodes base64 into the room of the batch.
func (b *ldifBatch) decode(text []byte) ([]byte, error) {
	most := base64.StdEncoding.DecodedLen(len(text))
	if cap(b.room)-len(b.room) < most {
		b.room = make([]byte, 0, max(most, ldifPart0)) // what was decoded before stays where it is
	}
	out := b.room[len(b.room) : len(b.room)+most]
	n, err := base64.StdEncoding.Decode(out, text)
	b.room = b.room[:len(b.room)+n]
	return out[:n:n], err
}
