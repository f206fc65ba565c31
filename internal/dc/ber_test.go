package dc

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIntegerVectors(t *testing.T) {
	for _, c := range []struct {
		v    int64
		want []byte
	}{
		{0, []byte{0x02, 1, 0}},
		{127, []byte{0x02, 1, 0x7f}},
		{128, []byte{0x02, 2, 0, 0x80}},
		{-1, []byte{0x02, 1, 0xff}},
		{-129, []byte{0x02, 2, 0xff, 0x7f}},
		{1<<31 - 1, []byte{0x02, 4, 0x7f, 0xff, 0xff, 0xff}},
	} {
		got := berInt(0x02, c.v)
		if !bytes.Equal(got, c.want) {
			t.Errorf("%d: % x, want % x", c.v, got, c.want)
		}
		d := berDecoder(got)
		if back, err := d.integer(0x02); err != nil || back != c.v {
			t.Errorf("% x: %d, %v, want %d", got, back, err, c.v)
		}
	}
}

func TestElementLengths(t *testing.T) {
	for _, n := range []int{0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x10000, 1 << 20} {
		b := tlv(0x04, make([]byte, n))
		d := berDecoder(append(b, 0x05, 0x00))
		tag, c, err := d.next()
		if err != nil || tag != 0x04 || len(c) != n || len(d) != 2 {
			t.Errorf("length %d: tag %#x, %d bytes, %d left, %v", n, tag, len(c), len(d), err)
		}
		frame := tlv(0x30, make([]byte, n))
		got, err := readFrame(bufio.NewReader(bytes.NewReader(frame)))
		if err != nil || !bytes.Equal(got, frame) {
			t.Errorf("frame of %d: %d bytes, %v", n, len(got), err)
		}
	}
}

func TestMalformedElements(t *testing.T) {
	for name, c := range map[string]struct {
		b    string
		want error
	}{
		"empty":           {"", errBERShort},
		"tag only":        {"\x04", errBERShort},
		"long tag":        {"\x1f\x01\x00", errBERTag},
		"indefinite":      {"\x30\x80\x00\x00", errBERLength},
		"five bytes":      {"\x04\x85\x00\x00\x00\x00\x01x", errBERLength},
		"length cut":      {"\x04\x82\x01", errBERShort},
		"content cut":     {"\x04\x05abc", errBERShort},
		"huge":            {"\x04\x84\xff\xff\xff\xffx", errBERLength},
		"more than there": {"\x04\x84\x00\x00\x00\x10x", errBERShort},
	} {
		d := berDecoder(c.b)
		if _, _, err := d.next(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestFramesCutShort(t *testing.T) {
	whole := string(tlv(0x30, bytes.Repeat([]byte("x"), 300)))
	for n := range whole {
		_, err := readFrame(bufio.NewReader(strings.NewReader(whole[:n])))
		want := io.ErrUnexpectedEOF
		if n == 0 {
			want = io.EOF
		}
		if !errors.Is(err, want) {
			t.Fatalf("%d of %d bytes: %v, want %v", n, len(whole), err, want)
		}
	}
	for _, bad := range []string{"\x31\x00", "HTTP/1.1 400", "\x30\x80\x00\x00"} {
		if _, err := readFrame(bufio.NewReader(strings.NewReader(bad))); !errors.Is(err, ErrProtocol) {
			t.Errorf("%q: %v, want %v", bad, err, ErrProtocol)
		}
	}
	if _, err := readFrame(bufio.NewReader(strings.NewReader("\x30\x84\x7f\xff\xff\xff"))); !errors.Is(err, ErrLimit) {
		t.Errorf("2 GiB message: %v, want %v", err, ErrLimit)
	}
}

// encodeEntry is the inverse of parseEntry.
func encodeEntry(e Entry) []byte {
	var attrs []byte
	for _, a := range e.Attributes {
		var set []byte
		for _, v := range a.Values {
			set = appendTLV(set, 0x04, v)
		}
		attrs = appendTLV(attrs, 0x30, berString(0x04, a.Name), tlv(0x31, set))
	}
	return tlv(opSearchEntry, berString(0x04, e.DN), tlv(0x30, attrs))
}

func TestEntryRoundTrip(t *testing.T) {
	want := Entry{DN: "CN=Ünï\\, ø,DC=x", Attributes: []Attribute{
		{Name: "objectClass", Values: [][]byte{[]byte("top"), []byte("user")}},
		{Name: "member", Values: [][]byte{}},
		{Name: "nTSecurityDescriptor", Values: [][]byte{bytes.Repeat([]byte{0, 255}, 40000)}},
		{Name: "empty", Values: [][]byte{{}}},
	}}
	m, err := parseMessage(encodeMessage(70000, encodeEntry(want), encodePaging(7, []byte("c"))))
	if err != nil || m.id != 70000 || m.op != opSearchEntry {
		t.Fatalf("message %d, tag %#x, %v", m.id, m.op, err)
	}
	got, err := parseEntry(m.body, names{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	value, ok, err := m.control(oidPaging)
	if err != nil || !ok {
		t.Fatalf("control: %v, %v", ok, err)
	}
	if cookie, err := parsePaging(value); err != nil || string(cookie) != "c" {
		t.Errorf("cookie %q, %v", cookie, err)
	}
	if _, ok, _ := m.control(oidSDFlags); ok {
		t.Error("a control that is not there was found")
	}
}

// Appending to one attribute's values must not reach into the next one's.
func TestEntryValuesDoNotOverlap(t *testing.T) {
	body := encodeEntry(Entry{DN: "x", Attributes: []Attribute{
		{Name: "a", Values: [][]byte{[]byte("1")}}, {Name: "b", Values: [][]byte{[]byte("2")}},
	}})
	d := berDecoder(body)
	_, c, _ := d.next()
	e, err := parseEntry(c, names{})
	if err != nil {
		t.Fatal(err)
	}
	e.Attributes[0].Values = append(e.Attributes[0].Values, []byte("3"))
	if got := string(e.Values("B")[0]); got != "2" {
		t.Errorf("b is %q after appending to a", got)
	}
}

func TestRangeOption(t *testing.T) {
	for in, want := range map[string]struct {
		base        string
		first, last int
		ok          bool
	}{
		"member":              {"member", 0, 0, false},
		"member;range=0-1499": {"member", 0, 1499, true},
		"Member;Range=1500-*": {"Member", 1500, -1, true},
		"member;range=5-4":    {"member;range=5-4", 0, 0, false},
		"member;range=x-y":    {"member;range=x-y", 0, 0, false},
		"cert;binary":         {"cert;binary", 0, 0, false},
	} {
		base, first, last, ok := rangeOption(in)
		if base != want.base || first != want.first || last != want.last || ok != want.ok {
			t.Errorf("%s: %q %d %d %v, want %+v", in, base, first, last, ok, want)
		}
	}
}

func FuzzMessage(f *testing.F) {
	f.Add(encodeMessage(1, encodeEntry(Entry{DN: "DC=x", Attributes: []Attribute{{Name: "cn", Values: [][]byte{[]byte("x")}}}}), nil))
	f.Add(encodeMessage(2, tlv(opSearchDone, berInt(0x0a, 10), berString(0x04, ""), berString(0x04, "text"), tlv(0xa3, berString(0x04, "ldap://x"))), encodePaging(5, []byte("cookie"))))
	f.Add(encodeMessage(3, tlv(opSearchReference, berString(0x04, "ldap://x/DC=y")), nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if frame, err := readFrame(bufio.NewReader(bytes.NewReader(b))); err == nil && !bytes.HasPrefix(b, frame) {
			t.Fatal("the frame is not the beginning of the input")
		}
		m, err := parseMessage(b)
		if err != nil {
			return
		}
		if v, ok, err := m.control(oidPaging); err == nil && ok {
			_, _ = parsePaging(v)
		}
		_, _ = parseResult(m.body)
		_, _ = parseURIs(m.body)
		e, err := parseEntry(m.body, names{})
		if err != nil {
			return
		}
		// What was accepted must survive encoding and decoding again.
		d := berDecoder(encodeEntry(e))
		_, c, err := d.next()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseEntry(c, names{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, again); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzKDCError(f *testing.F) {
	status := []byte{0x34, 0x02, 0, 0xc0, 0, 0, 0, 0, 1, 0, 0, 0}
	item := append(tlv(0xa1, berInt(0x02, 3)), tlv(0xa2, tlv(0x04, status))...)
	f.Add(tlv(0x30, item))
	f.Add(tlv(0x30, tlv(0x30, item)))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_ = ntStatus(b)
		_ = parseKRBError(b)
	})
}

func TestNTStatusForms(t *testing.T) {
	status := []byte{0x34, 0x02, 0, 0xc0, 0, 0, 0, 0, 1, 0, 0, 0}
	item := append(tlv(0xa1, berInt(0x02, 3)), tlv(0xa2, tlv(0x04, status))...)
	for name, b := range map[string][]byte{"KERB-ERROR-DATA": tlv(0x30, item), "PA-DATA": tlv(0x30, tlv(0x30, item))} {
		if got := revokedKind(ntStatus(b)); got != ErrLockedOut {
			t.Errorf("%s: %v, want %v", name, got, ErrLockedOut)
		}
	}
	if got := revokedKind(ntStatus([]byte("nonsense"))); got != ErrRevoked {
		t.Errorf("nonsense: %v, want %v", got, ErrRevoked)
	}
}
