package secdesc

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestSIDText(t *testing.T) {
	for _, tt := range []struct{ in, out, hex string }{
		{"S-1-1-0", "", "0101 000000000001 00000000"},
		{"S-1-5", "", "0100 000000000005"},
		{"s-1-5-32-544", "S-1-5-32-544", "0102 000000000005 20000000 20020000"},
		{"S-1-4294967295-1", "", "0101 0000ffffffff 01000000"},
		{"S-1-0x100000000-1", "S-1-0x000100000000-1", "0101 000100000000 01000000"},
		{"S-1-0x5-18", "S-1-5-18", "0101 000000000005 12000000"},
		{"S-1-5-4294967295", "", "0101 000000000005 ffffffff"},
		{"S-1-5" + strings.Repeat("-1", 15), "", "010f 000000000005" + strings.Repeat(" 01000000", 15)},
	} {
		s, err := ParseSID(tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		want := tt.out
		if want == "" {
			want = tt.in
		}
		if got := s.String(); got != want {
			t.Errorf("%s became %s, want %s", tt.in, got, want)
		}
		if !bytes.Equal(s.Bytes(), unhex(t, tt.hex)) {
			t.Errorf("%s is %x, want %s", tt.in, s.Bytes(), tt.hex)
		}
		if back, err := SIDFromBytes(s.Bytes()); err != nil || back != s {
			t.Errorf("%s: from bytes %v, %v", tt.in, back, err)
		}
	}
}

func TestSIDErrors(t *testing.T) {
	for _, s := range []string{
		"", "S", "S-1", "S-2-5", "X-1-5", "S-1-", "S-1-5-", "S-1-5--1", "S-1-5-4294967296", "S-1-281474976710656",
		"S-1-0x1000000000000", "S-1-0x", "S-1-5-1x", "S-1-5-+1", "S-1-5" + strings.Repeat("-1", 16), " S-1-5",
	} {
		if got, err := ParseSID(s); !errors.Is(err, ErrSID) {
			t.Errorf("%q: got %v, %v", s, got, err)
		}
	}
	for _, h := range []string{"", "01", "0101000000000005", "0201000000000005 01000000", "0110000000000005" + strings.Repeat("01000000", 16), "0100000000000005 00"} {
		if got, err := SIDFromBytes(unhex(t, h)); !errors.Is(err, ErrSID) {
			t.Errorf("%s: got %v, %v", h, got, err)
		}
	}
}

func TestSIDParts(t *testing.T) {
	admins := testDomain.Child(RIDDomainAdmins)
	if rid, ok := admins.RID(); !ok || rid != 512 || admins.Domain() != testDomain || !admins.IsDomainRelative() || !testDomain.IsDomainRelative() {
		t.Errorf("%v: %d, %v", admins, rid, admins.Domain())
	}
	if _, ok := MustSID("S-1-5").RID(); ok || !MustSID("S-1-5").Domain().IsZero() || Administrators.IsDomainRelative() {
		t.Error("what has no RID, and what has no domain")
	}
	full := MustSID("S-1-5" + strings.Repeat("-1", 15))
	if !full.Child(1).IsZero() || !(SID{}).Child(1).IsZero() || !(SID{}).Domain().IsZero() || (SID{}).String() != "" {
		t.Error("no SID")
	}
	sorted := []SID{{}, Everyone, MustSID("S-1-5"), MustSID("S-1-5-9"), MustSID("S-1-5-10"), testDomain, admins, Administrators}
	if !slices.IsSortedFunc(sorted, SID.Compare) {
		t.Errorf("order of %v", sorted)
	}
}

func TestGUIDText(t *testing.T) {
	const s = "bf967aba-0de6-11d0-a285-00aa003049e2"
	g := MustGUID("{" + strings.ToUpper(s) + "}")
	if g.String() != s || !bytes.Equal(g[:], unhex(t, "ba7a96bf e60d d011 a285 00aa003049e2")) {
		t.Errorf("got %v, %x", g, g[:])
	}
	if back, err := GUIDFromBytes(g[:]); err != nil || back != g {
		t.Errorf("from bytes: %v, %v", back, err)
	}
	for _, bad := range []string{"", s[1:], s + "0", "{" + s, strings.Replace(s, "-", "0", 1), strings.Replace(s, "b", "x", 1)} {
		if _, err := ParseGUID(bad); !errors.Is(err, ErrGUID) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := GUIDFromBytes(g[:15]); !errors.Is(err, ErrGUID) {
		t.Errorf("15 bytes: %v", err)
	}
}

func TestTextMarshalling(t *testing.T) {
	type both struct {
		S SID
		G GUID
	}
	for _, v := range []both{{}, {Administrators, attrMember}} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var got both
		if err := json.Unmarshal(b, &got); err != nil || got != v {
			t.Errorf("%s: %v, %v", b, got, err)
		}
	}
	var v both
	for _, bad := range []string{`{"S":"x"}`, `{"G":"x"}`} {
		if err := json.Unmarshal([]byte(bad), &v); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

func TestSIDRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		subs := rapid.SliceOfN(rapid.Uint32(), 0, 15).Draw(t, "sub-authorities")
		b := []byte{1, byte(len(subs))}
		for range 6 {
			b = append(b, rapid.Byte().Draw(t, "authority"))
		}
		for _, v := range subs {
			b = append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
		}
		s, err := SIDFromBytes(b)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseSID(s.String())
		if err != nil || back != s || back.Compare(s) != 0 {
			t.Fatalf("%v: %v, %v", s, back, err)
		}
	})
}

func TestMapGeneric(t *testing.T) {
	for _, tt := range []struct{ in, want Mask }{
		{0, 0},
		{GenericAll, FullControl},
		{GenericRead, ReadControl | ReadProperty | ListContents | ListObject},
		{GenericWrite, ReadControl | WriteProperty | SelfWrite},
		{GenericExecute, ReadControl | ListContents},
		{GenericRead | Delete, ReadControl | ReadProperty | ListContents | ListObject | Delete},
		{FullControl, FullControl},
	} {
		if got := tt.in.MapGeneric(); got != tt.want {
			t.Errorf("%v: got %v, want %v", tt.in, got, tt.want)
		}
	}
}

func TestSIDPool(t *testing.T) {
	var p SIDPool
	domain := MustSID("S-1-5-21-1-2-3")
	full := MustSID("S-1-5-1-2-3-4-5-6-7-8-9-10-11-12-13-14-15")
	var got []SID
	for rid := range uint32(10_000) { // more than one piece of memory
		got = append(got, p.Child(domain, rid))
	}
	for rid, sid := range got {
		if sid != domain.Child(uint32(rid)) || !sid.IsIn(domain) || sid.IsIn(sid) || domain.IsIn(sid) || sid.IsIn(SID{}) {
			t.Fatalf("%d: %s", rid, sid)
		}
	}
	if s := p.Child(SID{}, 1); !s.IsZero() {
		t.Errorf("child of no SID is %s", s)
	}
	if s := p.Child(full, 1); !s.IsZero() {
		t.Errorf("child of %s is %s", full, s)
	}
}
