package secdesc

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// TestParseVector reads a descriptor that was put together by hand from
// [MS-DTYP] 2.4: owner and group BUILTIN\Administrators, one allow entry for
// Everyone.
func TestParseVector(t *testing.T) {
	in := unhex(t, `
		01 00 04 80  30 00 00 00  40 00 00 00  00 00 00 00  14 00 00 00
		02 00 1c 00  01 00 00 00
		00 02 14 00  ff 01 0f 00  01 01 00 00 00 00 00 01 00 00 00 00
		01 02 00 00 00 00 00 05 20 00 00 00 20 02 00 00
		01 02 00 00 00 00 00 05 20 00 00 00 20 02 00 00`)
	d, err := Parse(in)
	if err != nil {
		t.Fatal(err)
	}
	want := &Descriptor{
		Control: DACLPresent | SelfRelative,
		Owner:   MustSID("S-1-5-32-544"),
		Group:   MustSID("S-1-5-32-544"),
		DACL:    &ACL{Revision: ACLRevision, ACEs: []ACE{{Type: Allow, Flags: ContainerInherit, Mask: FullControl, SID: MustSID("S-1-1-0")}}},
	}
	if !d.Equal(want) {
		t.Errorf("got %+v, want %+v", d, want)
	}
	if d.layout.odd != nil {
		t.Errorf("layout %+v is not odd", d.layout.odd)
	}
	if got := d.Bytes(); !bytes.Equal(got, in) {
		t.Errorf("round trip: %x, want %x", got, in)
	}
	if got := want.Bytes(); !bytes.Equal(got, in) {
		t.Errorf("built by hand: %x, want %x", got, in)
	}
}

// unhex decodes hexadecimal text with white space.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseErrors(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		offset   int
		what     string
	}{
		{"empty", "", 0, "cut short"},
		{"revision", "02 00 04 80" + strings.Repeat(" 00", 16), 0, "revision 2"},
		{"absolute", "01 00 04 00" + strings.Repeat(" 00", 16), 2, "not self-relative"},
		{"offset beyond", "01 00 00 80 15 00 00 00" + strings.Repeat(" 00", 12), 4, "outside"},
		{"offset in header", "01 00 00 80 00 00 00 00 13 00 00 00" + strings.Repeat(" 00", 8), 8, "outside"},
		{"SID missing", "01 00 00 80 14 00 00 00" + strings.Repeat(" 00", 12), 20, "cut short"},
		{"SID cut", "01 00 00 80 14 00 00 00" + strings.Repeat(" 00", 12) + "01 02 00 00 00 00 00 05 20 00 00 00", 20, "12 of 16"},
		{"SID revision", "01 00 00 80 14 00 00 00" + strings.Repeat(" 00", 12) + "02 01 00 00 00 00 00 05 20 00 00 00", 20, "revision 2"},
		{"ACL cut", "01 00 04 80" + strings.Repeat(" 00", 12) + "14 00 00 00 02 00 08", 20, "cut short"},
		{"ACL revision", "01 00 04 80" + strings.Repeat(" 00", 12) + "14 00 00 00 05 00 08 00 00 00 00 00", 20, "revision 5"},
		{"ACL size", "01 00 04 80" + strings.Repeat(" 00", 12) + "14 00 00 00 02 00 09 00 00 00 00 00", 22, "9 bytes with 0 entries"},
		{"ACE count", "01 00 04 80" + strings.Repeat(" 00", 12) + "14 00 00 00 02 00 08 00 01 00 00 00", 22, "8 bytes with 1 entries"},
		{"ACE size", "01 00 04 80" + strings.Repeat(" 00", 12) + "14 00 00 00 02 00 0c 00 01 00 00 00 00 00 08 00", 30, "8 bytes does not fit"},
		{"ACE mask", "01 00 04 80" + strings.Repeat(" 00", 12) + "14 00 00 00 02 00 0c 00 01 00 00 00 00 00 04 00", 32, "mask"},
		{"object type", "01 00 04 80" + strings.Repeat(" 00", 12) + "14 00 00 00 04 00 14 00 01 00 00 00 05 00 0c 00 00 00 00 00 01 00 00 00", 40, "object type cut short"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(unhex(t, tt.in))
			var pe *ParseError
			if !errors.As(err, &pe) {
				t.Fatalf("got %v, want a ParseError", err)
			}
			if pe.Offset != tt.offset || !strings.Contains(pe.What, tt.what) || pe.Text {
				t.Errorf("got %v, want byte %d: …%s…", err, tt.offset, tt.what)
			}
		})
	}
}

// TestParseOddLayouts: whatever lies between and behind the parts survives.
func TestParseOddLayouts(t *testing.T) {
	const (
		sid = "01 02 00 00 00 00 00 05 20 00 00 00 20 02 00 00"
		hdr = "01 00 00 80 "
	)
	for name, in := range map[string]string{
		"owner and group share a SID":   hdr + "14 00 00 00 14 00 00 00 00 00 00 00 00 00 00 00" + sid,
		"group before owner":            hdr + "24 00 00 00 14 00 00 00 00 00 00 00 00 00 00 00" + sid + sid,
		"gap":                           hdr + "18 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 de ad be ef" + sid,
		"trailing":                      hdr + "14 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00" + sid + "aa bb cc",
		"offset of an absent DACL":      hdr + "00 00 00 00 00 00 00 00 00 00 00 00 ff ff 00 00",
		"resource manager control byte": "01 7f 00 c0 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00",
		"slack in the DACL":             "01 00 04 80" + strings.Repeat(" 00", 12) + "14 00 00 00 02 01 0c 00 00 00 02 03 01 02 03 04",
		"zero object type that is present": "01 00 04 80" + strings.Repeat(" 00", 12) + "14 00 00 00 04 00 34 00 01 00 00 00" +
			"05 00 2c 00 00 01 00 00 f1 00 00 00" + strings.Repeat(" 00", 16) + sid,
		"unknown entry": "01 00 04 80" + strings.Repeat(" 00", 12) + "14 00 00 00 04 00 14 00 01 00 00 00" + "7e 00 0c 00 01 02 03 04 05 06 07 08",
		"empty DACL":    "01 00 04 80" + strings.Repeat(" 00", 12) + "14 00 00 00 02 00 08 00 00 00 00 00",
		"NULL DACL":     "01 00 04 80" + strings.Repeat(" 00", 16),
	} {
		t.Run(name, func(t *testing.T) {
			b := unhex(t, in)
			d, err := Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			if got := d.Bytes(); !bytes.Equal(got, b) {
				t.Errorf("got  %x\nwant %x", got, b)
			}
			if c := d.Clone(); !c.Equal(d) || !bytes.Equal(c.Bytes(), b) {
				t.Errorf("clone differs: %+v", c)
			}
		})
	}
}

// TestBytesAfterChange: a layout that no longer fits is given up, and so is one
// whose parts shared bytes that now differ.
func TestBytesAfterChange(t *testing.T) {
	b := unhex(t, `01 00 00 80 14 00 00 00 14 00 00 00 00 00 00 00 00 00 00 00
		01 02 00 00 00 00 00 05 20 00 00 00 20 02 00 00`)
	d, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, owner := range []string{"S-1-5-32-545", "S-1-1-0", ""} {
		c := d.Clone()
		c.Owner = SID{}
		if owner != "" {
			c.Owner = MustSID(owner)
		}
		again, err := Parse(c.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if !again.Equal(c) {
			t.Errorf("owner %q: got %+v, want %+v", owner, again, c)
		}
	}
}

// TestCheck: what has no wire form is refused, not written wrongly.
func TestCheck(t *testing.T) {
	everyone := MustSID("S-1-1-0")
	for name, tt := range map[string]struct {
		acl  ACL
		want string
	}{
		"no SID":     {ACL{ACEs: []ACE{{Type: Allow}}}, "DACL entry 0: no SID"},
		"huge entry": {ACL{ACEs: []ACE{{}, {Type: 0x7E, Data: make([]byte, 65532)}}}, "DACL entry 0: no SID"},
		"large data": {ACL{ACEs: []ACE{{Type: 0x7E, Data: make([]byte, 65532)}}}, "DACL entry 0: 65536 bytes"},
		"long list":  {ACL{ACEs: repeat(ACE{SID: everyone}, 3500)}, "DACL: 70008 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			d := &Descriptor{DACL: &tt.acl}
			if err := d.Check(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if b := d.Bytes(); b != nil {
				t.Errorf("wrote %d bytes", len(b))
			}
		})
	}
}

func repeat(a ACE, n int) []ACE {
	out := make([]ACE, n)
	for i := range out {
		out[i] = a
	}
	return out
}

func FuzzParse(f *testing.F) {
	f.Add(unhex(f, `01 00 04 80 30 00 00 00 40 00 00 00 00 00 00 00 14 00 00 00 02 00 1c 00 01 00 00 00
		00 02 14 00 ff 01 0f 00 01 01 00 00 00 00 00 01 00 00 00 00
		01 02 00 00 00 00 00 05 20 00 00 00 20 02 00 00 01 02 00 00 00 00 00 05 20 00 00 00 20 02 00 00`))
	_, raw, _ := contoso(f)
	for _, b := range raw {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Parse(b)
		if err != nil {
			return
		}
		if got := d.Bytes(); !bytes.Equal(got, b) {
			t.Fatalf("round trip:\n got %x\nwant %x", got, b)
		}
		text := d.SDDL(testDomain)
		read, err := ParseSDDL(text, testDomain, testDomain)
		if err != nil {
			t.Fatalf("%x became %s: %v", b, text, err)
		}
		if got := read.SDDL(testDomain); got != text {
			t.Fatalf("%x became %s and then %s", b, text, got)
		}
	})
}
