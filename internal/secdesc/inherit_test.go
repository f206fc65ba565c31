package secdesc

import (
	"testing"

	"pgregory.net/rapid"
)

var (
	classUser  = MustGUID("bf967aba-0de6-11d0-a285-00aa003049e2")
	classGroup = MustGUID("bf967a9c-0de6-11d0-a285-00aa003049e2")
	attrMember = MustGUID("bf9679c0-0de6-11d0-a285-00aa003049e2")
)

func mustSDDL(t testing.TB, s string) *Descriptor {
	t.Helper()
	d, err := ParseSDDL(s, testDomain, testDomain)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return d
}

// TestCreate: what a user object under a parent gets. The creator is LA, whose
// primary group is DU, unless the case has administrators.
func TestCreate(t *testing.T) {
	const (
		u = "bf967aba-0de6-11d0-a285-00aa003049e2"
		g = "bf967a9c-0de6-11d0-a285-00aa003049e2"
		m = "bf9679c0-0de6-11d0-a285-00aa003049e2"
	)
	for _, tt := range []struct {
		name, parent, creator, class string
		want                         string
	}{
		{"nothing is handed down", "D:(A;;GA;;;BA)", "", "D:(A;;GR;;;AU)", "O:LAG:DUD:(A;;RPLCLORC;;;AU)"},
		{"plain entry", "D:(A;CI;RP;;;AU)", "", "", "O:LAG:DUD:AI(A;CIID;RP;;;AU)"},
		{"explicit first", "D:(D;CI;RP;;;AU)", "", "D:(A;;WP;;;BA)", "O:LAG:DUD:AI(A;;WP;;;BA)(D;CIID;RP;;;AU)"},
		{"inherit-only becomes effective", "D:(A;CIIO;RP;;;AU)", "", "", "O:LAG:DUD:AI(A;CIID;RP;;;AU)"},
		{"object inherit stays for leaves", "D:(A;OI;RP;;;AU)", "", "", "O:LAG:DUD:AI(A;OIIOID;RP;;;AU)"},
		{"no propagation", "D:(A;CINP;RP;;;AU)(A;OINP;RP;;;BA)", "", "", "O:LAG:DUD:AI(A;ID;RP;;;AU)"},
		{"class that matches", "D:(OA;CIIO;WP;" + m + ";" + u + ";AU)", "", "", "O:LAG:DUD:AI(OA;CIID;WP;" + m + ";" + u + ";AU)"},
		{"class that does not", "D:(OA;CI;WP;" + m + ";" + g + ";AU)", "", "", "O:LAG:DUD:AI(OA;CIIOID;WP;" + m + ";" + g + ";AU)"},
		{"no propagation of another class", "D:(OA;CINP;WP;" + m + ";" + g + ";AU)", "", "D:", "O:LAG:DUD:"},
		{"no propagation of this class", "D:(OA;CINPIO;WP;;" + u + ";AU)(OA;CINP;WP;" + m + ";" + u + ";AU)", "", "", "O:LAG:DUD:AI(A;ID;WP;;;AU)(OA;ID;WP;" + m + ";;AU)"},
		{"creator owner", "D:(A;CIIO;WD;;;CO)(A;CIIO;GR;;;CG)", "", "", "O:LAG:DUD:AI(A;ID;WD;;;LA)(A;CIIOID;WD;;;CO)(A;ID;RPLCLORC;;;DU)(A;CIIOID;GR;;;CG)"},
		{"generic right", "D:(A;CI;GA;;;BA)", "", "", "O:LAG:DUD:AI(A;ID;RPWPCRCCDCLCLORCWOWDSDDTSW;;;BA)(A;CIIOID;GA;;;BA)"},
		{"generic right for a class", "D:(OA;CI;GW;;" + u + ";BA)", "", "", "O:LAG:DUD:AI(A;ID;WPRCSW;;;BA)(OA;CIIOID;GW;;" + u + ";BA)"},
		{"generic right asked for", "D:", "D:(A;;GX;;;BA)(A;CI;GX;;;AU)", "", "O:LAG:DUD:(A;;LCRC;;;BA)(A;CIIO;GX;;;AU)(A;;LCRC;;;AU)"},
		{"creator owner asked for", "D:", "O:DAD:(A;;RP;;;CO)(A;CIIO;RP;;;CO)", "", "O:DAG:DUD:(A;;RP;;;DA)(A;CIIO;RP;;;CO)"},
		{"inherit-only that is not inheritable", "D:", "D:(A;IO;RP;;;BA)", "", "O:LAG:DUD:"},
		{"inherited entries asked for are dropped", "D:(A;CI;RP;;;AU)", "D:AI(A;;WP;;;BA)(A;CIID;GA;;;WD)", "", "O:LAG:DUD:AI(A;;WP;;;BA)(A;CIID;RP;;;AU)"},
		{"protected", "D:(A;CI;RP;;;AU)", "D:P(A;;WP;;;BA)(A;CIID;RC;;;WD)", "", "O:LAG:DUD:P(A;;WP;;;BA)(A;CI;RC;;;WD)"},
		{"creator replaces the class", "D:", "D:(A;;WP;;;BA)", "D:(A;;RP;;;AU)S:(AU;SA;WP;;;WD)", "O:LAG:DUD:(A;;WP;;;BA)S:(AU;SA;WP;;;WD)"},
		{"only an owner asked for", "D:", "O:DA", "D:(A;;RP;;;AU)", "O:DAG:DUD:(A;;RP;;;AU)"},
		{"audit", "D:S:(AU;CISA;GA;;;WD)", "", "", "O:LAG:DUS:AI(AU;IDSA;RPWPCRCCDCLCLORCWOWDSDDTSW;;;WD)(AU;CIIOIDSA;GA;;;WD)"},
		{
			"condition is kept", `D:(XA;CI;GR;;;AU;(@USER.a == 1))`, "", "",
			`O:LAG:DUD:AI(XA;ID;RPLCLORC;;;AU;(@USER.a == 1))(XA;CIIOID;GR;;;AU;(@USER.a == 1))`,
		},
		{"unknown type is handed down", "D:(0x7E;CI;;;;;0x01020304)", "", "", "O:LAG:DUD:AI(0x7E;CIID;;;;;0x01020304)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			def := Defaults{User: testDomain.Child(RIDAdministrator), PrimaryGroup: testDomain.Child(RIDDomainUsers)}
			if tt.class != "" {
				def.Descriptor = mustSDDL(t, tt.class)
			}
			var creator *Descriptor
			if tt.creator != "" {
				creator = mustSDDL(t, tt.creator)
			}
			parent := mustSDDL(t, tt.parent)
			before := parent.Clone()
			d := Create(parent, creator, []GUID{classUser}, def)
			if got := d.SDDL(testDomain); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if !parent.Equal(before) {
				t.Errorf("the parent was changed")
			}
			again, err := Parse(d.Bytes())
			if err != nil || !again.Equal(d) {
				t.Errorf("bytes: %v", err)
			}
			if p := Propagate(parent, d, []GUID{classUser}); !p.Equal(d) {
				t.Errorf("propagating changes it to %s", p.SDDL(testDomain))
			}
		})
	}
}

func TestCreateOwnedByAdministrators(t *testing.T) {
	token := func(s SID) bool { return s == testDomain.Child(RIDDomainAdmins) }
	def := Defaults{Administrators: DefaultAdministrators(DomainNC, testDomain, testRoot, token), User: testDomain.Child(1104)}
	d := Create(nil, nil, nil, def)
	if d.Owner != testDomain.Child(RIDDomainAdmins) || d.Group != d.Owner || d.Control != SelfRelative|OwnerDefaulted|GroupDefaulted {
		t.Errorf("got %+v", d)
	}
}

func TestDefaultAdministrators(t *testing.T) {
	da, ea, sa := testDomain.Child(512), testRoot.Child(519), testRoot.Child(518)
	all := []SID{da, ea, sa}
	for _, tt := range []struct {
		nc   NamingContext
		held []SID
		want SID
	}{
		{DomainNC, all, da},
		{DomainNC, []SID{ea, sa}, ea},
		{DomainNC, []SID{sa}, SID{}},
		{ConfigurationNC, all, ea},
		{ConfigurationNC, []SID{da}, da},
		{SchemaNC, all, sa},
		{SchemaNC, []SID{da, ea}, ea},
		{ApplicationNC, all, SID{}},
		{DomainNC, nil, SID{}},
	} {
		token := func(s SID) bool {
			for _, h := range tt.held {
				if h == s {
					return true
				}
			}
			return false
		}
		if got := DefaultAdministrators(tt.nc, testDomain, testRoot, token); got != tt.want {
			t.Errorf("%d with %v: got %v, want %v", tt.nc, tt.held, got, tt.want)
		}
	}
}

func TestPropagate(t *testing.T) {
	for _, tt := range []struct{ name, parent, child, want string }{
		{"replaced", "D:(A;CI;WP;;;BA)", "O:DAD:AI(A;;RP;;;AU)(A;CIID;GA;;;WD)", "O:DAD:AI(A;;RP;;;AU)(A;CIID;WP;;;BA)"},
		{"withdrawn", "D:(A;;WP;;;BA)", "O:DAD:AI(A;;RP;;;AU)(A;CIID;GA;;;WD)", "O:DAD:AI(A;;RP;;;AU)"},
		{"protected", "D:(A;CI;WP;;;BA)", "O:DAD:PAI(A;;RP;;;AU)", "O:DAD:PAI(A;;RP;;;AU)"},
		{"NULL DACL", "D:(A;CI;WP;;;BA)", "O:DAD:NO_ACCESS_CONTROL", "O:DAD:NO_ACCESS_CONTROL"},
		{"DACL not read", "D:(A;CI;WP;;;BA)", "O:DA", "O:DA"},
		{"new owner", "D:(A;CIIO;WP;;;CO)", "O:DUD:AI(A;ID;WP;;;LA)(A;CIIOID;WP;;;CO)", "O:DUD:AI(A;ID;WP;;;DU)(A;CIIOID;WP;;;CO)"},
		{"audit", "D:S:(AU;CISA;WP;;;WD)", "O:DAD:P", "O:DAD:PS:AI(AU;CIIDSA;WP;;;WD)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Propagate(mustSDDL(t, tt.parent), mustSDDL(t, tt.child), []GUID{classUser})
			if got.SDDL(testDomain) != tt.want {
				t.Errorf("got  %s\nwant %s", got.SDDL(testDomain), tt.want)
			}
		})
	}
}

// drawACE draws an entry of any type; drawDescriptor one with lists of them.
func drawACE(t *rapid.T) ACE {
	sid := rapid.SampledFrom([]SID{Everyone, CreatorOwner, CreatorGroup, Self, Administrators, OwnerRights, testDomain.Child(512), testDomain.Child(1104)})
	guid := rapid.SampledFrom([]GUID{{}, classUser, classGroup, attrMember})
	a := ACE{
		Type:  ACEType(rapid.IntRange(0, 0x16).Draw(t, "type")),
		Flags: ACEFlags(rapid.Uint8().Draw(t, "flags")),
		Data:  rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "data"),
	}
	if a.Type.Known() {
		a.SID = sid.Draw(t, "sid")
		a.Mask = Mask(rapid.Uint32().Draw(t, "mask"))
	}
	if a.Type.IsObject() {
		a.ObjectType, a.InheritedObjectType = guid.Draw(t, "object"), guid.Draw(t, "inherited")
	}
	return a
}

func drawDescriptor(t *rapid.T) *Descriptor {
	d := &Descriptor{Control: SelfRelative | Control(rapid.Uint16().Draw(t, "control"))&^(DACLPresent|SACLPresent)}
	if rapid.Bool().Draw(t, "owner") {
		d.Owner = testDomain.Child(rapid.Uint32().Draw(t, "rid"))
	}
	if rapid.Bool().Draw(t, "group") {
		d.Group = Administrators
	}
	aces := rapid.SliceOfN(rapid.Custom(drawACE), 0, 6)
	if rapid.Bool().Draw(t, "dacl") {
		d.DACL = &ACL{Revision: ACLRevisionDS, ACEs: aces.Draw(t, "dacl entries")}
		d.Control |= DACLPresent
	}
	if rapid.Bool().Draw(t, "sacl") {
		d.SACL = &ACL{Revision: ACLRevisionDS, ACEs: aces.Draw(t, "sacl entries")}
		d.Control |= SACLPresent
	}
	return d
}

// TestRoundTrips: any descriptor survives its bytes, and its text says what it
// said before.
func TestRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDescriptor(t)
		b := d.Bytes()
		back, err := Parse(b)
		if err != nil || !back.Equal(d) {
			t.Fatalf("bytes %x: %v", b, err)
		}
		text := d.SDDL(testDomain)
		read, err := ParseSDDL(text, testDomain, testDomain)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got := read.SDDL(testDomain); got != text {
			t.Fatalf("%s became %s", text, got)
		}
	})
}

// TestInheritanceSettles: what was inherited once does not change when it is
// propagated again, and nothing inherited survives a parent without entries.
func TestInheritanceSettles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parent, creator := drawDescriptor(t), drawDescriptor(t)
		d := Create(parent, creator, []GUID{classUser}, Defaults{User: testDomain.Child(1), PrimaryGroup: testDomain.Child(2)})
		if p := Propagate(parent, d, []GUID{classUser}); !p.Equal(d) {
			t.Fatalf("propagation changed\n%s to\n%s", d.SDDL(testDomain), p.SDDL(testDomain))
		}
		bare := Propagate(&Descriptor{Control: SelfRelative}, d, []GUID{classUser})
		if bare.DACL == nil {
			return
		}
		for _, a := range bare.DACL.ACEs {
			if a.IsInherited() {
				t.Fatalf("inherited from nobody: %s", a.SDDL(testDomain))
			}
		}
	})
}

func TestOrigin(t *testing.T) {
	ou := []GUID{MustGUID("bf967aa5-0de6-11d0-a285-00aa003049e2")}
	def := Defaults{User: testDomain.Child(1104), PrimaryGroup: testDomain.Child(513)}
	top := mustSDDL(t, "O:DAG:DAD:(A;CI;GA;;;BA)(A;CIIO;RP;;;CO)(A;;WP;;;AU)")
	middle := Create(top, mustSDDL(t, "O:DAD:(A;CI;WD;;;AO)"), ou, def)
	leaf := Create(middle, mustSDDL(t, "O:LAD:(A;;RP;;;PS)"), []GUID{classUser}, def)
	chain := []Link{{leaf, []GUID{classUser}}, {middle, ou}, {top, nil}}
	for _, tt := range []struct {
		entry     string
		level, at int
	}{
		{"(A;;RP;;;PS)", 0, 0},
		{"(A;CIID;WD;;;AO)", 1, 0},
		{"(A;ID;RPWPCRCCDCLCLORCWOWDSDDTSW;;;BA)", 2, 0},
		{"(A;CIIOID;GA;;;BA)", 2, 0},
		{"(A;ID;RP;;;LA)", 2, 1},
		{"(A;CIIOID;RP;;;CO)", 2, 1},
	} {
		found := false
		for i, a := range leaf.DACL.ACEs {
			if a.SDDL(testDomain) != tt.entry {
				continue
			}
			found = true
			if level, at, ok := Origin(chain, i); !ok || level != tt.level || at != tt.at {
				t.Errorf("%s: got %d of %d, %v; want %d of %d", tt.entry, at, level, ok, tt.at, tt.level)
			}
			if level, at, ok := Origin(chain[:1], i); ok != (tt.level == 0) {
				t.Errorf("%s without ancestors: got %d of %d", tt.entry, at, level)
			}
		}
		if !found {
			t.Errorf("no %s in %s", tt.entry, leaf.SDDL(testDomain))
		}
	}
	stale := mustSDDL(t, "D:AI(A;CIID;GA;;;WD)")
	for name, c := range map[string][]Link{
		"not propagated": {{stale, ou}, {top, nil}},
		"not read":       {{stale, ou}, {&Descriptor{}, nil}},
		"missing":        {{stale, ou}, {}},
		"empty":          nil,
	} {
		if level, at, ok := Origin(c, 0); ok {
			t.Errorf("%s: got %d of %d", name, at, level)
		}
	}
	if _, _, ok := Origin(chain, 99); ok {
		t.Error("an entry that does not exist has an origin")
	}
}

// TestOriginAlwaysFound: whatever is handed down can be traced.
func TestOriginAlwaysFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		top, ask := drawDescriptor(t), drawDescriptor(t)
		if top.DACL == nil {
			return
		}
		for i := range top.DACL.ACEs {
			top.DACL.ACEs[i].Flags &^= Inherited
		}
		def := Defaults{User: testDomain.Child(1), PrimaryGroup: testDomain.Child(2)}
		middle := Create(top, ask, []GUID{classGroup}, def)
		leaf := Create(middle, nil, []GUID{classUser}, def)
		if leaf.DACL == nil {
			return
		}
		chain := []Link{{leaf, []GUID{classUser}}, {middle, []GUID{classGroup}}, {top, nil}}
		for i, a := range leaf.DACL.ACEs {
			level, at, ok := Origin(chain, i)
			if !ok || chain[level].Descriptor.DACL.ACEs[at].IsInherited() {
				t.Fatalf("%s: %d of %d, %v", a.SDDL(testDomain), at, level, ok)
			}
		}
	})
}
