package secdesc

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func tokenOf(sids ...SID) func(SID) bool {
	return func(s SID) bool { return slices.Contains(sids, s) }
}

func TestCanRead(t *testing.T) {
	const (
		u   = "bf967aba-0de6-11d0-a285-00aa003049e2"
		g   = "bf967a9c-0de6-11d0-a285-00aa003049e2"
		m   = "bf9679c0-0de6-11d0-a285-00aa003049e2"
		set = "bc0ac240-79a9-11d0-9020-00c04fc2d4cf"
		x   = "5f202010-79a5-11d0-9020-00c04fc2d4cf"
	)
	alice := testDomain.Child(1104)
	for _, tt := range []struct {
		name, sddl string
		secret     bool // confidential attribute
		want       bool
		index      int // of the deciding entry, -1 for none
	}{
		{"empty", "D:", false, false, -1},
		{"NULL", "D:NO_ACCESS_CONTROL", false, true, -1},
		{"not read", "O:DA", false, false, -1},
		{"everyone", "D:(A;;RP;;;WD)", false, true, 0},
		{"generic", "D:(A;;GR;;;AU)", false, true, 0},
		{"somebody else", "D:(A;;RP;;;BA)", false, false, -1},
		{"deny first", "D:(D;;RP;;;AU)(A;;RP;;;WD)", false, false, 0},
		{"allow first", "D:(A;;RP;;;WD)(D;;RP;;;AU)", false, true, 0},
		{"deny of another right", "D:(D;;WP;;;AU)(A;;RP;;;WD)", false, true, 1},
		{"deny of another's", "D:(D;;RP;;;BA)(A;;RP;;;WD)", false, true, 1},
		{"deny that is only inherited by children", "D:(D;CIIO;RP;;;AU)(A;;RP;;;WD)", false, true, 1},
		{"attribute", "D:(OA;;RP;" + m + ";;AU)", false, true, 0},
		{"property set", "D:(OA;;RP;" + set + ";;AU)", false, true, 0},
		{"class", "D:(OA;;RP;" + u + ";;AU)", false, true, 0},
		{"another attribute", "D:(OA;;RP;" + x + ";;AU)", false, false, -1},
		{"deny of another attribute", "D:(OD;;RP;" + x + ";;AU)(A;;RP;;;WD)", false, true, 1},
		{"deny of the property set", "D:(OD;;RP;" + set + ";;AU)(A;;RP;;;WD)", false, false, 0},
		{"object type without a type", "D:(OA;;RP;;;AU)", false, true, 0},
		{"class of heirs does not matter", "D:(OA;CI;RP;;" + g + ";AU)", false, true, 0},
		{"confidential needs two rights", "D:(A;;RP;;;AU)", true, false, -1},
		{"from two entries", "D:(A;;RP;;;AU)(OA;;CR;" + m + ";;WD)", true, true, 1},
		{"confidential in one entry", "D:(A;;GA;;;AU)", true, true, 0},
		{"confidential denied", "D:(OD;;CR;" + m + ";;AU)(A;;GA;;;AU)", true, false, 0},
		{"condition", "D:(XA;;RP;;;AU;(@USER.a == 1))", false, false, 0},
		{"condition that does not matter", "D:(XA;;RP;;;AU;(@USER.a == 1))(A;;RP;;;WD)", false, true, 1},
		{"condition that denies", "D:(XD;;RP;;;AU;(@USER.a == 1))(A;;RP;;;WD)", false, false, 0},
		{"condition for somebody else", "D:(XD;;RP;;;BA;(@USER.a == 1))(A;;RP;;;WD)", false, true, 1},
		{"audit is no access", "D:(AU;SA;RP;;;WD)", false, false, -1},
		{"unknown type is no access", "D:(0x7E;;;;;;0x00)", false, false, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := mustSDDL(t, tt.sddl)
			target := ReadTarget{Classes: []GUID{classUser}, Attribute: attrMember, PropertySet: MustGUID(set), Confidential: tt.secret}
			got, ace := CanRead(d, tokenOf(alice, Everyone, AuthenticatedUsers), target)
			index := -1
			if ace != nil {
				index = slices.IndexFunc(d.DACL.ACEs, func(a ACE) bool { return a.Equal(*ace) })
			}
			if got != tt.want || index != tt.index {
				t.Errorf("got %v by entry %d, want %v by %d", got, index, tt.want, tt.index)
			}
		})
	}
}

func TestAccess(t *testing.T) {
	alice, bob := testDomain.Child(1104), testDomain.Child(1105)
	for _, tt := range []struct {
		name, sddl string
		want       Mask
		outcome    Outcome
		reason     Reason
		index      int
		missing    Mask
	}{
		{"owner", "O:S-1-5-21-1-2-3-1104D:", ReadControl | WriteDAC, Granted, OwnerDecides, -1, 0},
		{"owner and entry", "O:S-1-5-21-1-2-3-1104D:(A;;RP;;;WD)", ReadControl | ReadProperty, Granted, EntryDecides, 0, 0},
		{"owner gets no more", "O:S-1-5-21-1-2-3-1104D:", WriteOwner, Refused, NothingGrants, -1, WriteOwner},
		{"owner before deny", "O:S-1-5-21-1-2-3-1104D:(D;;WD;;;WD)", WriteDAC, Granted, OwnerDecides, -1, 0},
		{"owner rights limit", "O:S-1-5-21-1-2-3-1104D:(A;;RC;;;OW)", WriteDAC, Refused, NothingGrants, -1, WriteDAC},
		{"owner rights grant", "O:S-1-5-21-1-2-3-1104D:(A;;RPRC;;;OW)", ReadProperty, Granted, EntryDecides, 0, 0},
		{"owner rights of heirs", "O:S-1-5-21-1-2-3-1104D:(A;CIIO;RC;;;OW)", WriteDAC, Granted, OwnerDecides, -1, 0},
		{"owner rights of another", "O:BAD:(A;;GA;;;OW)", WriteDAC, Refused, NothingGrants, -1, WriteDAC},
		{"self", "D:(A;;WP;;;PS)", WriteProperty, Refused, NothingGrants, -1, WriteProperty},
		{"generic wanted", "D:(A;;RPLCLORC;;;WD)", GenericRead, Granted, EntryDecides, 0, 0},
		{"partly", "D:(A;;RP;;;WD)", ReadProperty | WriteProperty, Refused, NothingGrants, -1, WriteProperty},
		{"hangs on a condition", "D:(A;;RP;;;WD)(XA;;WP;;;WD;(a))", ReadProperty | WriteProperty, Undecided, ConditionDecides, 1, WriteProperty},
		{"refused whatever the condition", "D:(XA;;WP;;;WD;(a))", WriteProperty | WriteDAC, Refused, NothingGrants, -1, WriteProperty | WriteDAC},
		{"no DACL", "O:BA", WriteDAC, Undecided, DACLNotRead, -1, WriteDAC},
		{"nothing wanted", "D:", 0, Granted, OwnerDecides, -1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := mustSDDL(t, tt.sddl)
			got := d.Access(tokenOf(alice, Everyone), Request{Mask: tt.want})
			if got.Outcome != tt.outcome || got.Reason != tt.reason || got.Index != tt.index || got.Missing != tt.missing {
				t.Errorf("got %+v, want %v, %v, %d, %v", got, tt.outcome, tt.reason, tt.index, tt.missing)
			}
			if (got.ACE != nil) != (tt.index >= 0) {
				t.Errorf("entry %v", got.ACE)
			}
		})
	}
	d := mustSDDL(t, "D:(A;;WP;;;PS)")
	if got := d.Access(tokenOf(bob, Self), Request{Mask: WriteProperty}); got.Outcome != Granted {
		t.Errorf("the object itself: %+v", got)
	}
}

// TestRightsAgreeWithAccess: the two ways through a DACL give the same answer for
// every single right.
func TestRightsAgreeWithAccess(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDescriptor(t)
		held := rapid.SliceOf(rapid.SampledFrom([]SID{Everyone, Self, Administrators, testDomain.Child(512), testDomain.Child(1104), d.Owner})).Draw(t, "token")
		types := []GUID{classUser, attrMember}
		sure, maybe := d.Rights(tokenOf(held...), types)
		if sure&maybe != 0 {
			t.Fatalf("%v is both sure and maybe", sure&maybe)
		}
		for bit := range 21 {
			m := Mask(1) << bit
			if m&(FullControl|Synchronize) == 0 {
				continue
			}
			want := Refused
			if sure&m != 0 {
				want = Granted
			} else if maybe&m != 0 {
				want = Undecided
			}
			if got := d.Access(tokenOf(held...), Request{Mask: m, Types: types}); got.Outcome != want {
				t.Fatalf("%s: %v for %v is %v, but rights are %v and perhaps %v", d.SDDL(testDomain), m, held, got.Outcome, sure, maybe)
			}
		}
	})
}

func TestPredicates(t *testing.T) {
	const m = "bf9679c0-0de6-11d0-a285-00aa003049e2"
	parse := func(s string) ACE {
		a, err := ParseACE(s, testDomain, testRoot)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	allow := parse("(OA;CIIOID;WP;" + m + ";bf967a9c-0de6-11d0-a285-00aa003049e2;AU)")
	if !allow.IsAllow() || allow.IsDeny() || !allow.IsObject() || !allow.IsInherited() || allow.InEffect() || !allow.IsInheritable() {
		t.Errorf("%+v", allow)
	}
	if !allow.AppliesTo([]GUID{classGroup}) || allow.AppliesTo([]GUID{classUser}) || allow.AppliesTo(nil) {
		t.Error("it applies to groups only")
	}
	if !allow.Covers(attrMember) || allow.Covers(classUser) || allow.Grants(WriteProperty, attrMember) {
		t.Error("it covers member, for heirs")
	}
	plain := parse("(A;;GW;;;AU)")
	if plain.IsObject() || !plain.AppliesTo(nil) || !plain.Covers() || !plain.Grants(WriteProperty) || plain.Grants(WriteDAC) {
		t.Errorf("%+v", plain)
	}
	if a := parse("(XA;;GW;;;AU;(a))"); !a.IsAllow() || a.Grants(WriteProperty) {
		t.Error("a condition is not a grant")
	}
	if a := parse("(OD;;WP;;;AU)"); !a.IsDeny() || a.IsObject() || a.IsAllow() {
		t.Error("deny without an object type")
	}
}
