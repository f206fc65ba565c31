package forest

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// decodeText removes a byte order mark and turns UTF-16 into UTF-8.
func decodeText(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 1<<16)
	mark, err := b.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(mark, []byte{0xEF, 0xBB, 0xBF}):
		_, err = b.Discard(3)
		return b, err
	case bytes.HasPrefix(mark, []byte{0xFF, 0xFE}):
		_, err = b.Discard(2)
		return &utf16Reader{r: b, order: binary.LittleEndian}, err
	case bytes.HasPrefix(mark, []byte{0xFE, 0xFF}):
		_, err = b.Discard(2)
		return &utf16Reader{r: b, order: binary.BigEndian}, err
	}
	return b, nil
}

// utf16Reader turns UTF-16 into UTF-8; half a character at the end is an error.
type utf16Reader struct {
	r     *bufio.Reader
	order binary.ByteOrder
	out   []byte
	high  rune // first half of a pair, 0 if none
}

// Read implements io.Reader.
func (u *utf16Reader) Read(p []byte) (int, error) {
	for len(u.out) == 0 {
		if err := u.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, u.out)
	u.out = u.out[:copy(u.out, u.out[n:])]
	return n, nil
}

func (u *utf16Reader) next() error {
	var b [2]byte
	for len(u.out) < 4096 {
		if _, err := io.ReadFull(u.r, b[:]); err != nil {
			switch {
			case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) && u.high != 0:
				return fmt.Errorf("%w: UTF-16 ends within a character", ErrTruncated)
			case errors.Is(err, io.EOF) && len(u.out) > 0:
				return nil
			}
			return err
		}
		c := rune(u.order.Uint16(b[:]))
		switch {
		case u.high != 0:
			c, u.high = utf16.DecodeRune(u.high, c), 0
		case c >= 0xD800 && c < 0xDC00:
			u.high = c
			continue
		}
		u.out = utf8.AppendRune(u.out, c)
	}
	return nil
}

// WriteLDIF writes the objects of s as LDIF in the form of ldapsearch, with the
// header that names the collected attributes and the trailer that proves that
// nothing is missing. SYSVOL files, coverage, replication metadata and
// unreadability have no place in it; ReadLDIF restores the rest.
func (s *Snapshot) WriteLDIF(w io.Writer) error {
	l := &ldifWriter{s: s, w: bufio.NewWriter(w)}
	l.raw("# extended LDIF\n#\n# LDAPv3\n# requesting:")
	for _, a := range byName() {
		if s.collected[a] {
			l.raw(" " + a.String())
		}
	}
	l.raw("\n#\n\n")
	for id := range ID(s.Len()) {
		l.object(id)
	}
	l.raw("# search result\nsearch: 2\nresult: 0 Success\n\n# numEntries: " + strconv.Itoa(s.Len()) + "\n")
	if err := l.w.Flush(); err != nil {
		return fmt.Errorf("writing LDIF: %w", err)
	}
	return nil
}

type ldifWriter struct {
	s *Snapshot
	w *bufio.Writer
}

// raw writes text; errors stick in the writer and come out of Flush.
func (l *ldifWriter) raw(text string) { _, _ = l.w.WriteString(text) }

func (l *ldifWriter) object(id ID) {
	s := l.s
	l.line("dn", s.DN(id))
	for _, c := range s.Classes(id) {
		l.line("objectClass", c)
	}
	if g := s.GUID(id); !g.IsZero() {
		l.line("objectGUID", string(g[:]))
	}
	if sid := s.SID(id); !sid.IsZero() {
		l.line("objectSid", string(sid.Bytes()))
	}
	if i, ok := s.DescriptorIndex(id); ok {
		l.line("nTSecurityDescriptor", s.descAt(i).bytes())
	}
	for _, a := range byName() {
		if a.Syntax() == Link {
			l.links(id, a)
		} else {
			l.values(id, a)
		}
	}
	l.raw("\n")
}

func (l *ldifWriter) values(id ID, a Attr) {
	c := l.s.col(a)
	lo, hi, ok := c.span(id)
	if !ok {
		return
	}
	for i := lo; i < hi; i++ {
		switch a.Syntax() {
		case Text, Octets:
			l.line(a.String(), c.text.at(i))
		case Descriptor:
			l.line(a.String(), l.s.descs[c.ints[i]].raw)
		case Boolean:
			l.line(a.String(), strings.ToUpper(strconv.FormatBool(c.ints[i] != 0)))
		case Time:
			l.line(a.String(), unpackTime(c.ints[i]).Format("20060102150405.0Z"))
		default:
			l.line(a.String(), strconv.FormatInt(c.ints[i], 10))
		}
	}
}

func (l *ldifWriter) links(id ID, a Attr) {
	ttl := func(at int64) string {
		return "<TTL=" + strconv.FormatInt(at-l.s.info.Started.Unix(), 10) + ">,"
	}
	to, _ := l.s.Links(id, a)
	for _, t := range to {
		prefix := ""
		if at, ok := l.s.LinkExpires(id, a, t); ok {
			prefix = ttl(at.Unix())
		}
		l.line(a.String(), prefix+l.s.DN(t))
	}
	for _, dn := range l.s.LinksOutside(id, a) {
		prefix := ""
		if at, ok := l.s.OutsideLinkExpires(id, a, dn); ok {
			prefix = ttl(at.Unix())
		}
		l.line(a.String(), prefix+dn)
	}
}

// line writes one value, wrapped, as base64 if it is not a SAFE-STRING.
func (l *ldifWriter) line(name, val string) {
	text := name + ": " + val
	if !safeString(val) {
		text = name + ":: " + base64.StdEncoding.EncodeToString([]byte(val))
	}
	for width := 76; len(text) > width; width = 75 {
		l.raw(text[:width] + "\n ")
		text = text[width:]
	}
	l.raw(text + "\n")
}

func safeString(s string) bool {
	for i := range len(s) {
		if c := s[i]; c == 0 || c == '\n' || c == '\r' || c >= utf8.RuneSelf {
			return false
		}
	}
	return s == "" || s[0] != ' ' && s[0] != ':' && s[0] != '<' && s[len(s)-1] != ' '
}
