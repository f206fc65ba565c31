package secdesc

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

var (
	testDomain = MustSID("S-1-5-21-1-2-3")
	testRoot   = MustSID("S-1-5-21-7-8-9")
)

// TestSDDLText: text, what it means, and the text that is written for it.
func TestSDDLText(t *testing.T) {
	const u = "bf967aba-0de6-11d0-a285-00aa003049e2"
	user := MustGUID(u)
	for _, tt := range []struct {
		name, in string
		want     Descriptor
		out      string // "" if as in
	}{
		{"nothing", "", Descriptor{Control: SelfRelative}, ""},
		{
			"owner and group", "O:DAG:S-1-5-21-1-2-3-1104",
			Descriptor{Control: SelfRelative, Owner: testDomain.Child(512), Group: testDomain.Child(1104)},
			"",
		},
		{
			"empty lists", "D:S:",
			Descriptor{
				Control: SelfRelative | DACLPresent | SACLPresent,
				DACL:    &ACL{Revision: 2}, SACL: &ACL{Revision: 2},
			},
			"",
		},
		{
			"NULL lists", "D:PNO_ACCESS_CONTROLS:NO_ACCESS_CONTROL", // of which the latter is not written
			Descriptor{Control: SelfRelative | DACLPresent | SACLPresent | DACLProtected},
			"D:PNO_ACCESS_CONTROL",
		},
		{
			"flags of lists", "D:PARAIS:PARAI",
			Descriptor{
				Control: SelfRelative | DACLPresent | SACLPresent | DACLProtected | SACLProtected | DACLAutoInheritReq |
					SACLAutoInheritReq | DACLAutoInherited | SACLAutoInherited,
				DACL: &ACL{Revision: 2}, SACL: &ACL{Revision: 2},
			},
			"",
		},
		{
			"object type", "D:(OA;CIIO;WP;;" + u + ";PS)",
			Descriptor{
				Control: SelfRelative | DACLPresent,
				DACL: &ACL{Revision: 4, ACEs: []ACE{{
					Type: AllowObject, Flags: ContainerInherit | InheritOnly,
					Mask: WriteProperty, SID: Self, InheritedObjectType: user,
				}}},
			},
			"",
		},
		{
			"order of rights is Samba's", "D:(A;;CCDCLCSWRPWPDTLOCRSDRCWDWO;;;SY)",
			Descriptor{Control: SelfRelative | DACLPresent, DACL: &ACL{Revision: 2, ACEs: []ACE{{Mask: FullControl, SID: System}}}},
			"D:(A;;RPWPCRCCDCLCLORCWOWDSDDTSW;;;SY)",
		},
		{
			"file rights become a number", "D:(A;OICI;FA;;;BA)(A;;FR;;;BA)(A;;FW;;;BA)(A;;FX;;;BA)(A;;KA;;;BA)(A;;KRKWKX;;;BA)",
			Descriptor{Control: SelfRelative | DACLPresent, DACL: &ACL{Revision: 2, ACEs: []ACE{
				{Mask: 0x1F01FF, SID: Administrators, Flags: ObjectInherit | ContainerInherit},
				{Mask: 0x120089, SID: Administrators},
				{Mask: 0x120116, SID: Administrators},
				{Mask: 0x1200A0, SID: Administrators},
				{Mask: 0xF003F, SID: Administrators},
				{Mask: 0x2001F, SID: Administrators},
			}}},
			"D:(A;OICI;0x001f01ff;;;BA)(A;;0x00120089;;;BA)(A;;0x00120116;;;BA)(A;;0x001200a0;;;BA)(A;;RPWPCCDCLCRCWOWDSDSW;;;BA)(A;;RPCCDCLCRCSW;;;BA)",
		},
		{
			"case and spaces", " o:wd\td:pai ( oa ; oi ci ; ga ; " + strings.ToUpper(u) + " ; ; s-1-1-0 ) ",
			Descriptor{
				Control: SelfRelative | DACLPresent | DACLProtected | DACLAutoInherited, Owner: Everyone,
				DACL: &ACL{Revision: 4, ACEs: []ACE{{
					Type: AllowObject, Flags: ObjectInherit | ContainerInherit,
					Mask: GenericAll, SID: Everyone, ObjectType: user,
				}}},
			},
			"O:WDD:PAI(OA;OICI;GA;" + u + ";;WD)",
		},
		{
			"root aliases", "O:EAG:SAD:(A;;GA;;;RO)(A;;GA;;;EK)",
			Descriptor{
				Control: SelfRelative | DACLPresent, Owner: testRoot.Child(519), Group: testRoot.Child(518),
				DACL: &ACL{Revision: 2, ACEs: []ACE{{Mask: GenericAll, SID: testRoot.Child(498)}, {Mask: GenericAll, SID: testRoot.Child(527)}}},
			},
			"O:S-1-5-21-7-8-9-519G:S-1-5-21-7-8-9-518D:(A;;GA;;;S-1-5-21-7-8-9-498)(A;;GA;;;S-1-5-21-7-8-9-527)",
		},
		{
			"hexadecimal authority before D:", "O:S-1-0x123456789ABCD:",
			Descriptor{Control: SelfRelative | DACLPresent, Owner: MustSID("S-1-0x123456789ABC"), DACL: &ACL{Revision: 2}},
			"",
		},
		{
			"all flags", "S:(AU;OICINPIOIDSAFACR;;;;WD)",
			Descriptor{Control: SelfRelative | SACLPresent, SACL: &ACL{Revision: 2, ACEs: []ACE{{Type: Audit, Flags: 0xFF, SID: Everyone}}}},
			"",
		},
		{
			"label", "S:(ML;;NWNRNX;;;HI)(ML;;0x00000008;;;ME)",
			Descriptor{Control: SelfRelative | SACLPresent, SACL: &ACL{Revision: 2, ACEs: []ACE{
				{Type: MandatoryLabel, Mask: 7, SID: MustSID("S-1-16-12288")},
				{Type: MandatoryLabel, Mask: 8, SID: MustSID("S-1-16-8192")},
			}}},
			"",
		},
		{
			"unknown type keeps its body", "D:(0x7E;CI;;;;;0x0102fe)",
			Descriptor{Control: SelfRelative | DACLPresent, DACL: &ACL{Revision: 2, ACEs: []ACE{{
				Type: 0x7E, Flags: ContainerInherit, Data: []byte{1, 2, 0xFE},
			}}}},
			"",
		},
		{
			"type without a name", "D:(0x0C;;GR;" + u + ";;AU;0xdeadbeef)",
			Descriptor{Control: SelfRelative | DACLPresent, DACL: &ACL{Revision: 4, ACEs: []ACE{{
				Type: DenyCallbackObject, Mask: GenericRead, ObjectType: user, SID: AuthenticatedUsers, Data: []byte{0xDE, 0xAD, 0xBE, 0xEF},
			}}}},
			"",
		},
		{
			"policy and trust", "S:(SP;;;;;S-1-17-1)(TL;;0x00020000;;;S-1-19-512-8192)",
			Descriptor{Control: SelfRelative | SACLPresent, SACL: &ACL{Revision: 2, ACEs: []ACE{
				{Type: ScopedPolicyID, SID: MustSID("S-1-17-1")},
				{Type: ProcessTrustLabel, Mask: ReadControl, SID: MustSID("S-1-19-512-8192")},
			}}},
			"S:(SP;;;;;S-1-17-1)(TL;;RC;;;S-1-19-512-8192)",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := ParseSDDL(tt.in, testDomain, testRoot)
			if err != nil {
				t.Fatal(err)
			}
			if !d.Equal(&tt.want) {
				t.Errorf("got %+v\nwant %+v", d, tt.want)
			}
			want := tt.out
			if want == "" {
				want = tt.in
			}
			if got := d.SDDL(testDomain); got != want {
				t.Errorf("text %s\nwant %s", got, want)
			}
			again, err := Parse(d.Bytes())
			if err != nil || !again.Equal(d) {
				t.Errorf("bytes: %v, got %+v, want %+v", err, again, d)
			}
		})
	}
}

func TestSDDLErrors(t *testing.T) {
	for _, tt := range []struct {
		in   string
		at   int
		what string
	}{
		{"X:", 0, "expected O:, G:, D: or S:"},
		{"O:BAO:BA", 4, "second O:"},
		{"O:", 2, "expected a SID"},
		{"O:QQ", 2, `"QQ" is neither`},
		{"O:S-1-5-", 2, `"S-1-5-" is not a SID`},
		{"D:(A;;GA;;;BA", 13, "expected ')'"},
		{"D:(A;;GA;;BA)", 10, "cannot have an object type"},
		{"D:(OA;;GA;;BA)", 11, `"BA" is not a GUID`},
		{"D:(A;;GA;;;BA)x", 14, "expected O:"},
		{"D:(Q;;GA;;;BA)", 3, `"Q" is not a type`},
		{"D:(A;QQ;GA;;;BA)", 5, `"QQ" is not a flag`},
		{"D:(A;;GAQQ;;;BA)", 8, `"QQ" is not a right`},
		{"D:(A;;0x1FFFFFFFF;;;BA)", 6, "not an access mask"},
		{"D:(A;;GA;bf967aba-0de6-11d0-a285-00aa003049e2;;BA)", 9, "cannot have an object type"},
		{"D:(OA;;GA;bf967aba;;BA)", 10, "not a GUID"},
		{"D:(A;;GA;;;BA;(@User.x))", 14, "neither a condition nor a claim"},
		{"D:(XA;;GA;;;BA;0x1)", 15, "not hexadecimal"},
		{"D:(XA;;GA;;;BA;(x == ))", 21, "name of an attribute"},
		{"D:(XA;;GA;;;BA;(\"x\"))", 16, "name of an attribute"},
		{"D:(XA;;GA;;;BA;(x == 09))", 21, "not a 64-bit integer"},
		{"D:(XA;;GA;;;BA;(Member_of {1}))", 16, "is not SIDs"},
		{"D:(XA;;GA;;;BA;(x == {{1}}))", 22, "a list within a list"},
		{"D:(XA;;GA;;;BA;(x == #123))", 22, "not in pairs"},
		{"D:(XA;;GA;;;BA;(x == \"123))", 21, "without end"},
		{"D:(XA;;GA;;;BA;(@host.x))", 16, "expected @USER."},
		{"D:(XA;;GA;;;BA;(x%12))", 17, "expected %XXXX"},
		{"S:(0x7E;;;;;)", 12, "needs a seventh field"},
		{"S:(RA;;;;;WD;(\"n\",TQ,0))", 18, "type of a claim"},
		{"S:(RA;;;;;WD;(\"n\",TB,0,2))", 23, "0 or 1"},
		{"D:NO_ACCESS_CONTROL(A;;GA;;;BA)", 19, "entry after"},
		{"D:(0x7E;;GA;;;;0x00)", 9, "only flags"},
	} {
		t.Run(tt.in, func(t *testing.T) {
			_, err := ParseSDDL(tt.in, testDomain, testRoot)
			var pe *ParseError
			if !errors.As(err, &pe) {
				t.Fatalf("got %v, want a ParseError", err)
			}
			if !pe.Text || pe.Offset != tt.at || !strings.Contains(pe.What, tt.what) {
				t.Errorf("got %v, want position %d: …%s…", err, tt.at, tt.what)
			}
		})
	}
	if _, err := ParseSDDL("O:DA", SID{}, SID{}); err == nil || !strings.Contains(err.Error(), "not known") {
		t.Errorf("DA without a domain: %v", err)
	}
	if _, err := ParseSDDL("O:EA", testDomain, SID{}); err == nil {
		t.Error("EA without a forest root is accepted")
	}
}

// TestEveryAlias walks the table of aliases both ways.
func TestEveryAlias(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range sidAliases {
		if len(a.code) != 2 || seen[a.code] || strings.ToUpper(a.code) != a.code {
			t.Errorf("%q is not a new alias of two letters", a.code)
		}
		seen[a.code] = true
		if (a.sid == "") == (a.rid == 0) || a.root && a.rid == 0 {
			t.Errorf("%s: needs either a SID or a RID", a.code)
		}
		s, err := ParseSIDSDDL(a.code, testDomain, testDomain)
		if err != nil {
			t.Errorf("%s: %v", a.code, err)
			continue
		}
		if got := s.SDDL(testDomain); got != a.code {
			t.Errorf("%s: became %s", a.code, got)
		}
		if _, ok := WellKnownName(s); !ok {
			t.Errorf("%s (%v) has no name", a.code, s)
		}
		other, err := ParseSIDSDDL(a.code, testRoot, testRoot)
		if err != nil || (other == s) != (a.sid != "") {
			t.Errorf("%s in another domain is %v (%v)", a.code, other, err)
		}
	}
}

// TestEveryCode walks the tables of types, flags and rights.
func TestEveryCode(t *testing.T) {
	for _, table := range [][]letterCode{aceTypeCodes[:], aceFlagCodes, rightsCodes, compoundRightsCodes, labelCodes, claimTypeCodes} {
		seen := map[string]bool{}
		for _, c := range table {
			if seen[c.code] || strings.ToUpper(c.code) != c.code {
				t.Errorf("%q is not a new code", c.code)
			}
			seen[c.code] = true
		}
	}
	for i := range 256 {
		typ := ACEType(i)
		a := ACE{Type: typ, SID: Everyone}
		if !typ.Known() {
			a = ACE{Type: typ, Data: []byte{1, 2, 3, 4}}
		}
		if typ == ResourceAttribute {
			a.Data = []byte{1, 2, 3, 4}
		}
		got, err := ParseACE(a.SDDL(testDomain), testDomain, testRoot)
		if err != nil || !got.Equal(a) {
			t.Errorf("type %d: %s: got %+v, %v", i, a.SDDL(testDomain), got, err)
		}
		if n := btoi(typ.IsAllow()) + btoi(typ.IsDeny()) + btoi(typ.IsAudit()); n > 1 {
			t.Errorf("type %v is %d things at once", typ, n)
		}
	}
	for bit := range 32 {
		m := Mask(1) << bit
		a, err := ParseACE("(A;;"+m.String()+";;;WD)", testDomain, testRoot)
		if err != nil || a.Mask != m {
			t.Errorf("right %v: got %v, %v", m, a.Mask, err)
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestWellKnownNames walks the table of names, both ways.
func TestWellKnownNames(t *testing.T) {
	if len(wellKnownNames) != len(wellKnownTable) {
		t.Errorf("%d names for %d SIDs: one is there twice", len(wellKnownTable), len(wellKnownNames))
	}
	for _, s := range WellKnownSIDs() {
		name, ok := WellKnownName(s)
		if got, ok2 := WellKnownSIDByName(strings.ToUpper(name)); !ok || !ok2 || got != s {
			t.Errorf("%v is %q, which is %v", s, name, got)
		}
	}
	for rid, want := range domainNames {
		name, ok := WellKnownName(testDomain.Child(rid))
		if got, ok2 := DomainRIDByName(name); !ok || !ok2 || name != want || got != rid {
			t.Errorf("RID %d: %q, which is %d", rid, name, got)
		}
	}
	for _, s := range []string{"S-1-5-21-1-2-3", "S-1-5-21-1-2-3-1104", "S-1-5-21-1-2-3-4-512", "S-1-5-32-999", "S-1-9-1"} {
		if name, ok := WellKnownName(MustSID(s)); ok {
			t.Errorf("%s has the name %q", s, name)
		}
	}
	if _, ok := WellKnownName(SID{}); ok {
		t.Error("no SID has a name")
	}
	if got, ok := WellKnownSIDByName("administrators"); !ok || got != Administrators {
		t.Errorf("administrators: %v", got)
	}
	if name, ok := WellKnownName(MustSID("S-1-5-5-0-1234")); !ok || name != `NT AUTHORITY\LogonSessionId` {
		t.Errorf("logon session: %q", name)
	}
}

func FuzzParseSDDL(f *testing.F) {
	for _, s := range []string{
		"O:DAG:DAD:PAI(A;CIID;GA;;;EA)(OA;CIIO;WP;;bf967aba-0de6-11d0-a285-00aa003049e2;PS)S:AI(AU;SAFA;WDWO;;;WD)",
		`D:(XA;;FX;;;WD;((@USER.Project Any_of @RESOURCE.Project) && (Member_of {SID(BA), SID(S-1-5-18)})))S:(RA;;;;;WD;("n%0020",TS,0x0,"a","b"))`,
		`D:(XD;;FX;;;WD;(!(a == -0x10) || (Exists b) && (c Contains {1, "x", #00ff})))(0x7E;;;;;;0x01)`,
		`S:(ML;;NWNR;;;HI)(RA;;;;;WD;("n",TI,0x10,-1,2))(RA;;;;;WD;("n",TD,0,SID(BA)))(RA;;;;;WD;("n",TX,0,00ff))(RA;;;;;WD;("n",TB,0,1,0))`,
		"D:NO_ACCESS_CONTROLS:P",
	} {
		f.Add(s)
	}
	_, _, texts := contoso(f)
	for _, s := range texts {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseSDDL(s, testDomain, testDomain)
		if err != nil {
			return
		}
		text := d.SDDL(testDomain)
		again, err := ParseSDDL(text, testDomain, testDomain)
		if err != nil {
			t.Fatalf("%q became %q: %v", s, text, err)
		}
		if got := again.SDDL(testDomain); got != text {
			t.Fatalf("%q became %q and then %q", s, text, got)
		}
		b := d.Bytes()
		if b == nil {
			t.Fatalf("%q has no bytes: %v", s, d.Check())
		}
		back, err := Parse(b)
		if err != nil || !bytes.Equal(back.Bytes(), b) || back.SDDL(testDomain) != text {
			t.Fatalf("%q: bytes %x: %v", s, b, err)
		}
	})
}
