package forest

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"
)

// A plainLine is a logical line and the number of its first physical line.
type plainLine struct {
	text []byte
	n    int
}

// A plainReader joins wrapped lines one by one: what ldifScanner has to give.
type plainReader struct {
	r    *bufio.Reader
	next []byte // the physical line read ahead
	has  bool
	n    int  // physical lines read
	open bool // the last of them has no line break
	err  error
}

// physical reads one line without its end into l.next.
func (l *plainReader) physical() {
	l.next, l.has = nil, false
	for {
		part, err := l.r.ReadSlice('\n')
		l.next = append(l.next, part...)
		if len(l.next) > maxLDIFLine {
			l.err = fmt.Errorf("%w: line of more than %d bytes", ErrLDIF, maxLDIFLine)
			return
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && (len(l.next) == 0 || !errors.Is(err, io.EOF)) {
			l.err = err
			return
		}
		break
	}
	l.n++
	l.has = true
	l.open = !bytes.HasSuffix(l.next, []byte("\n"))
	l.next = bytes.TrimSuffix(l.next, []byte("\n"))
	l.next = bytes.TrimSuffix(l.next, []byte("\r"))
}

// logical returns the next line with its continuations, io.EOF at the end.
func (l *plainReader) logical() (plainLine, error) {
	if !l.has && l.err == nil {
		l.physical()
	}
	if !l.has {
		return plainLine{n: l.n}, l.err
	}
	out := plainLine{l.next, l.n}
	if len(out.text) > 0 && out.text[0] == ' ' {
		return out, fmt.Errorf("%w: continuation of nothing", ErrLDIF)
	}
	l.physical()
	for len(out.text) > 0 && l.has && len(l.next) > 0 && l.next[0] == ' ' {
		out.text = append(out.text, l.next[1:]...)
		if len(out.text) > maxLDIFLine {
			return out, fmt.Errorf("%w: value of more than %d bytes", ErrLDIF, maxLDIFLine)
		}
		l.physical()
	}
	return out, nil
}

// spelt reads a file line by line and spells out what comes: lines with their
// numbers, and how the file ends.
func spelt(r io.Reader) string {
	var b strings.Builder
	lines := plainReader{r: bufio.NewReader(r)}
	for {
		l, err := lines.logical()
		if err != nil {
			fmt.Fprintf(&b, "%d %v %t\n", l.n, err, lines.open && errors.Is(err, io.EOF))
			return b.String()
		}
		name, val, ok := bytes.Cut(l.text, []byte(":"))
		name = []byte(strings.ToLower(string(name)))
		switch {
		case len(l.text) == 0:
			fmt.Fprintf(&b, "%d\n", l.n)
		case l.text[0] == '#':
			fmt.Fprintf(&b, "%d comment %q\n", l.n, l.text)
		case !ok || len(name) == 0:
			fmt.Fprintf(&b, "%d nameless\n", l.n)
		case bytes.HasPrefix(val, []byte(":")):
			raw, err := base64.StdEncoding.DecodeString(strings.Trim(string(val[1:]), " "))
			if err != nil {
				raw = []byte("?")
			}
			fmt.Fprintf(&b, "%d %q %q\n", l.n, name, raw)
		case bytes.HasPrefix(val, []byte("<")) || !utf8.Valid(val):
			fmt.Fprintf(&b, "%d %q \"?\"\n", l.n, name)
		default:
			fmt.Fprintf(&b, "%d %q %q\n", l.n, name, bytes.TrimLeft(val, " "))
		}
	}
}

// scanned is spelt by way of a scanner with parts of a size.
func scanned(r io.Reader, part int) string {
	var b strings.Builder
	s := newLDIFScanner(r, part)
	go s.run()
	for batch := range s.out {
		for _, l := range batch.lines {
			switch {
			case l.kind == emptyLine:
				fmt.Fprintf(&b, "%d\n", l.n)
			case l.kind == commentLine:
				fmt.Fprintf(&b, "%d comment %q\n", l.n, l.val)
			case l.name == nil:
				fmt.Fprintf(&b, "%d nameless\n", l.n)
			case l.err != nil:
				fmt.Fprintf(&b, "%d %q %q\n", l.n, l.name.lower, "?")
			default:
				fmt.Fprintf(&b, "%d %q %q\n", l.n, l.name.lower, l.val)
			}
		}
		if batch.err != nil {
			fmt.Fprintf(&b, "%d %v %t\n", batch.n, batch.err, batch.open && errors.Is(batch.err, io.EOF))
		}
		s.free <- batch
	}
	return b.String()
}

// randomLDIF puts together what lines can consist of.
func randomLDIF(r *rand.Rand) string {
	words := []string{"\n", "\n", "\n", "\n\n", "\r\n", "\r\n\r\n", "\r", "a: b", "cn: ", "# c", " ", "x", ":", "d:: YWJj", "ZA==", "dn: CN=x"}
	var b strings.Builder
	for range r.IntN(60) {
		b.WriteString(words[r.IntN(len(words))])
	}
	return b.String()
}

// However a file is cut into parts, its lines are those that one gets line by line,
// up to the end or to what could not be read.
func TestLDIFScanner(t *testing.T) {
	broken := errors.New("the disk is broken")
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 1))
		text, part := randomLDIF(r), 1+r.IntN(40)
		read := func() io.Reader { return strings.NewReader(text) }
		switch seed % 3 {
		case 1:
			read = func() io.Reader { return iotest.OneByteReader(strings.NewReader(text)) }
		case 2:
			read = func() io.Reader { return io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken)) }
		}
		if got, want := scanned(read(), part), spelt(read()); got != want {
			t.Fatalf("seed %d, parts of %d: %q\n%s\nline by line\n%s", seed, part, text, got, want)
		}
	}
}

func FuzzLDIFScanner(f *testing.F) {
	for seed := range uint64(20) {
		f.Add([]byte(randomLDIF(rand.New(rand.NewPCG(seed, 2)))), uint8(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte, part uint8) {
		if got, want := scanned(bytes.NewReader(in), 1+int(part)), spelt(bytes.NewReader(in)); got != want {
			t.Fatalf("parts of %d\n%s\nline by line\n%s", 1+int(part), got, want)
		}
	})
}

// The same in the large: parts give the snapshot that one part gives.
func TestLDIFParts(t *testing.T) {
	var whole strings.Builder
	if err := mustBuild(t, sample(t)).WriteLDIF(&whole); err != nil {
		t.Fatal(err)
	}
	want := mustReadLDIF(t, whole.String())
	for _, part := range []int{1, 64, 1000, 1 << 14} {
		b := NewBuilder(want.Info())
		b.ldif = &ldifTally{refs: map[string]bool{}}
		b.beginPart()
		if err := parseLDIF(newLDIFScanner(strings.NewReader(whole.String()), part), b); err != nil {
			t.Fatal(err)
		}
		b.endPart()
		got := mustBuild(t, b)
		if !Equal(got, want) {
			t.Errorf("parts of %d give another snapshot", part)
		}
	}
}

// An error ends the scanner, also one that never comes to its end.
func TestLDIFErrorEndsReading(t *testing.T) {
	endless := io.MultiReader(strings.NewReader("nonsense\n\n"), endlessReader{})
	done := make(chan error, 1)
	go func() { done <- ReadLDIF(endless, NewBuilder(Info{})) }()
	select {
	case err := <-done:
		if !errors.Is(err, ErrLDIF) {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("still reading")
	}
}

type endlessReader struct{}

func (endlessReader) Read(p []byte) (int, error) {
	return copy(p, "dn: CN=x\n\n"), nil
}

// Names beyond what the table of names holds still gather their values.
func TestLDIFManyNames(t *testing.T) {
	var b strings.Builder
	b.WriteString("dn: CN=a,DC=x\n")
	for i := range maxLDIFNames + 10 {
		fmt.Fprintf(&b, "x-%d: 1\n", i)
	}
	b.WriteString("objectClass: top\nobjectclass: person\nOBJECTCLASS;binary: user\ndescription: b\nDESCRIPTION: a\n\n")
	s := mustReadLDIF(t, b.String())
	if got := s.Class(0); got != "user" || len(s.Classes(0)) != 3 {
		t.Errorf("classes %v", s.Classes(0))
	}
	if got, _ := s.Strs(0, Description); len(got) != 2 {
		t.Errorf("description %q", got)
	}
}

// Times are read as time.Parse reads them.
func TestParseTime(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	digits := func(n int) string { return fmt.Sprintf("%02d", r.IntN(n)) }
	for range 20_000 {
		text := fmt.Sprintf("%04d", r.IntN(3000)) + digits(14) + digits(33) + digits(25) + digits(61) + digits(61) + []string{".0Z", ".0Z", ".0Z", "Z", ".1Z", ".0"}[r.IntN(6)]
		got, err := parseNumber(Time, []byte(text))
		var want time.Time
		bad := error(nil)
		for _, layout := range []string{"20060102150405.0Z", "20060102150405Z", "20060102150405.999999Z"} {
			if want, bad = time.Parse(layout, text); bad == nil {
				break
			}
		}
		if (err == nil) != (bad == nil) || err == nil && got != want.Unix() {
			t.Fatalf("%s: %d %v, not %d %v", text, got, err, want.Unix(), bad)
		}
	}
}
