package reach_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// GUIDs of the small schema of these tests.
const (
	guidUser     = "bf967aba-0de6-11d0-a285-00aa003049e2"
	guidComputer = "bf967a86-0de6-11d0-a285-00aa003049e2"
	guidGroup    = "bf967a9c-0de6-11d0-a285-00aa003049e2"
	guidUnit     = "bf967aa5-0de6-11d0-a285-00aa003049e2"
	guidMember   = "bf9679c0-0de6-11d0-a285-00aa003049e2"
	guidInfo     = "bf96793e-0de6-11d0-a285-00aa003049e2"
	guidSecret   = "612cb747-c0e8-4f92-9221-fdd5f15b550d"
	guidActs     = "3f78c3e5-f79a-46bd-a0b8-9d18116ddc79"
	guidSet      = "bc0ac240-79a9-11d0-9020-00c04fc2d4cf"
	guidReset    = "00299570-246d-11d0-a768-00aa006e0529"
)

// withSchema adds what a schema says of a few classes, attributes and rights.
func (w *world) withSchema() {
	raw := func(text string) string { g := secdesc.MustGUID(text); return string(g[:]) }
	const schema, rights = ",CN=Schema,CN=Configuration,DC=a", ",CN=Extended-Rights,CN=Configuration,DC=a"
	for _, c := range [][]string{
		{"top", "bf967ab7-0de6-11d0-a285-00aa003049e2", "subClassOf=top", "objectClassCategory=2", "systemMayContain=description", "systemMayContain=memberOf", "systemMustContain=objectSid"},
		{"person", "bf967aa7-0de6-11d0-a285-00aa003049e2", "subClassOf=top", "objectClassCategory=0", "possSuperiors=container"},
		{"user", guidUser, "subClassOf=person", "objectClassCategory=1", "systemPossSuperiors=organizationalUnit", "mayContain=unixUserPassword"},
		{"computer", guidComputer, "subClassOf=user", "objectClassCategory=1", "systemMayContain=msDS-AllowedToActOnBehalfOfOtherIdentity"},
		{"group", guidGroup, "subClassOf=top", "objectClassCategory=1", "systemMayContain=member", "systemPossSuperiors=organizationalUnit"},
		{"organizationalUnit", guidUnit, "subClassOf=top", "objectClassCategory=1", "systemPossSuperiors=organizationalUnit", "systemAuxiliaryClass=helper"},
		{"helper", "bf967ab0-0000-0000-0000-000000000001", "subClassOf=top", "objectClassCategory=3", "mayContain=info", "possSuperiors=organizationalUnit"},
		{"secretClass", "bf967ab0-0000-0000-0000-000000000002", "subClassOf=top", "objectClassCategory=1", "systemOnly=TRUE", "possSuperiors=organizationalUnit"},
		{"container", "bf967a8b-0de6-11d0-a285-00aa003049e2", "subClassOf=top", "objectClassCategory=1", "systemPossSuperiors=organizationalUnit"},
	} {
		w.add("CN="+c[0]+schema, "top classSchema", secdesc.SID{}, append([]string{"lDAPDisplayName=" + c[0], "schemaIDGUID=" + raw(c[1])}, c[2:]...)...)
	}
	for _, a := range [][]string{
		{"description", "bf967950-0de6-11d0-a285-00aa003049e2"},
		{"info", guidInfo},
		{"member", guidMember, "linkID=2", "attributeSecurityGUID=" + raw(guidSet)},
		{"memberOf", "bf967991-0de6-11d0-a285-00aa003049e2", "linkID=3", "systemOnly=TRUE"},
		{"objectSid", "bf9679e8-0de6-11d0-a285-00aa003049e2", "systemOnly=TRUE"},
		{"unixUserPassword", guidSecret, "searchFlags=128"},
		{"msDS-AllowedToActOnBehalfOfOtherIdentity", guidActs, "systemOnly=TRUE"},
		{"canonicalName", "9a7ad945-ca53-11d1-bbd0-0080c76670c0", "systemFlags=4"},
	} {
		w.add("CN="+a[0]+schema, "top attributeSchema", secdesc.SID{}, append([]string{"lDAPDisplayName=" + a[0], "schemaIDGUID=" + raw(a[1])}, a[2:]...)...)
	}
	for _, r := range [][]string{
		{"User-Force-Change-Password", guidReset, "validAccesses=256", "appliesTo=" + guidUser},
		{"Self-Membership", guidMember, "validAccesses=8", "appliesTo=" + guidGroup},
	} {
		w.add("CN="+r[0]+rights, "top controlAccessRight", secdesc.SID{}, append([]string{"rightsGuid=" + r[1]}, r[2:]...)...)
	}
	w.b.Collected(forest.SystemMayContain, forest.SystemOnly, forest.PossSuperiors, forest.AppliesTo)
}

// sddl returns an attribute value for add.
func (w *world) sddl(text string) string {
	w.t.Helper()
	d, err := secdesc.ParseSDDL(text, contoso, contoso)
	if err != nil {
		w.t.Fatal(err)
	}
	return "nTSecurityDescriptor=" + string(d.Bytes())
}

const (
	alice = "S-1-5-21-1-2-3-1001" // in Team, which is in Local
	bob   = "S-1-5-21-1-2-3-1002"
	team  = "S-1-5-21-1-2-3-1010"
	local = "S-1-5-21-1-2-3-1011"
)

func TestMay(t *testing.T) {
	for _, tt := range []struct {
		name, class, sddl, who, action string
		want                           secdesc.Outcome
		index                          int // of the deciding entry
	}{
		{"attribute", "group", "D:(OA;;WP;" + guidMember + ";;" + alice + ")", "alice", "write:member", secdesc.Granted, 0},
		{"property set through groups", "group", "D:(OA;;WP;" + guidSet + ";;" + local + ")", "alice", "write:member", secdesc.Granted, 0},
		{"nil", "group", "D:(A;;GW;;;" + team + ")", "alice", "write:member", secdesc.Granted, 0},
		{"another's", "group", "D:(A;;GW;;;" + team + ")", "bob", "write:member", secdesc.Refused, -1},
		{"denied through another group", "group", "D:(OD;;WP;" + guidSet + ";;" + local + ")(A;;WP;;;" + alice + ")", "alice", "write:member", secdesc.Refused, 0},
		{"denied too late", "group", "D:(A;;WP;;;" + alice + ")(OD;;WP;" + guidSet + ";;" + local + ")", "alice", "write:member", secdesc.Granted, 0},
		{"denied for another class of types", "group", "D:(OD;;WP;" + guidUser + ";;" + alice + ")(A;;WP;;;" + alice + ")", "alice", "write:member", secdesc.Granted, 1},
		{"own class", "group", "D:(OA;;WP;" + guidGroup + ";;" + alice + ")", "alice", "write:member", secdesc.Granted, 0},
		{"validated write is no write", "group", "D:(OA;;SW;" + guidMember + ";;" + alice + ")", "alice", "write:member", secdesc.Refused, -1},
		{"validated write", "group", "D:(OA;;SW;" + guidMember + ";;" + alice + ")", "alice", "validated:Self-Membership", secdesc.Granted, 0},
		{"validated write by the class", "group", "D:(OA;;SW;" + guidGroup + ";;" + alice + ")", "alice", "validated:Self-Membership", secdesc.Refused, -1},
		{"back link", "group", "D:(A;;GA;;;" + alice + ")", "alice", "write:memberOf", secdesc.Refused, 0},
		{"system-only", "group", "D:(A;;GA;;;" + alice + ")", "alice", "write:objectSid", secdesc.Refused, 0},
		{"system-only by name only", "computer", "D:(A;;GA;;;" + alice + ")", "alice", "write:msDS-AllowedToActOnBehalfOfOtherIdentity", secdesc.Granted, 0},
		{"reset", "user", "D:(OA;;CR;" + guidReset + ";;" + alice + ")", "alice", "use:User-Force-Change-Password", secdesc.Granted, 0},
		{"all rights", "user", "D:(A;;CR;;;" + alice + ")", "alice", "use:User-Force-Change-Password", secdesc.Granted, 0},
		{"reset by the class", "user", "D:(OA;;CR;" + guidUser + ";;" + alice + ")", "alice", "use:User-Force-Change-Password", secdesc.Refused, -1},
		{"child", "organizationalUnit", "D:(OA;;CC;" + guidUser + ";;" + alice + ")", "alice", "create:user", secdesc.Granted, 0},
		{"child of another class", "organizationalUnit", "D:(OA;;CC;" + guidUser + ";;" + alice + ")", "alice", "create:group", secdesc.Refused, -1},
		{"child by the class of the container", "organizationalUnit", "D:(OA;;CC;" + guidUnit + ";;" + alice + ")", "alice", "create:user", secdesc.Refused, -1},
		{"impossible child", "group", "D:(A;;GA;;;" + alice + ")", "alice", "create:user", secdesc.Refused, 0},
		{"child by possible superiors of the superclass", "container", "D:(A;;CC;;;" + alice + ")", "alice", "create:computer", secdesc.Granted, 0},
		{"confidential", "user", "D:(A;;RP;;;" + alice + ")", "alice", "read:unixUserPassword", secdesc.Refused, -1},
		{"confidential with control access", "user", "D:(A;;RP;;;" + alice + ")(OA;;CR;" + guidSecret + ";;" + team + ")", "alice", "read:unixUserPassword", secdesc.Granted, 1},
		{"owner", "user", "O:" + team + "D:", "alice", "write-dacl", secdesc.Granted, -1},
		{"owner is limited", "user", "O:" + team + "D:(A;;RC;;;OW)", "alice", "write-dacl", secdesc.Refused, -1},
		{"owner rights", "user", "O:" + team + "D:(A;;WO;;;OW)", "alice", "write-owner", secdesc.Granted, 0},
		{"owner of a computer", "computer", "O:" + team + "D:", "alice", "write-dacl", secdesc.Refused, -1}, // dSHeuristics
		{"administrators own a computer", "computer", "O:DAD:", "bob", "write-dacl", secdesc.Granted, -1},
		{"self is not the container", "organizationalUnit", "D:(A;;GA;;;PS)", "alice", "delete", secdesc.Refused, -1},
		{"creator owner is nobody", "user", "O:" + team + "D:(A;;WP;;;CO)", "alice", "write:description", secdesc.Refused, -1},
		{"inherit only", "user", "D:(A;CIIO;WP;;;" + alice + ")", "alice", "write:description", secdesc.Refused, -1},
		{"NULL", "user", "D:NO_ACCESS_CONTROL", "bob", "write-owner", secdesc.Granted, -1},
		{"empty", "user", "D:", "bob", "write-owner", secdesc.Refused, -1},
		{"condition", "user", "D:(XA;;WP;;;AU;(@USER.x == 1))", "bob", "write:description", secdesc.Undecided, 0},
		{"not read", "user", "", "bob", "write:description", secdesc.Undecided, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.withSchema()
			w.user("alice", 1001)
			w.user("bob", 1002)
			w.group("Team", 1010, globalGroup, "alice")
			w.group("Local", 1011, localGroup, "Team")
			w.group("Domain Admins", 512, globalGroup, "bob")
			w.add("CN=Directory Service,CN=Configuration,DC=a", "top nTDSService", secdesc.SID{}, "dSHeuristics="+strings.Repeat("0", 28)+"1")
			classes := map[string]string{"computer": "top person user computer", "user": "top person user"}[tt.class]
			if classes == "" {
				classes = "top " + tt.class
			}
			var attrs []string
			if tt.sddl != "" {
				attrs = append(attrs, w.sddl(tt.sddl))
			}
			w.add("CN=it,DC=a", classes, secdesc.SID{}, attrs...)
			s, x := w.build()
			act, err := reach.ParseAction(s.Schema(), tt.action)
			if err != nil {
				t.Fatal(err)
			}
			e, it, who := reach.NewEffective(x), s.Lookup("CN=it,DC=a"), s.Lookup("CN="+tt.who+",DC=a")
			got := e.Account(who).May(it, act)
			if got.Outcome != tt.want || got.Index != tt.index {
				t.Errorf("%v by entry %d (%s), want %v by %d", got.Outcome, got.Index, got.Bar, tt.want, tt.index)
			}
			if (got.ACE == nil) != (got.Index < 0) {
				t.Errorf("entry %d is %v", got.Index, got.ACE)
			}
			listed := false
			e.WhoMay(it, act, func(id forest.ID, a reach.Answer) bool {
				listed = listed || id == who && a.Outcome == tt.want && a.Index == tt.index
				return true
			})
			if listed != (tt.want != secdesc.Refused) {
				t.Errorf("WhoMay lists it: %v", listed)
			}
		})
	}
}

// SELF in the descriptor of a group is whoever holds the group: its members.
func TestSelf(t *testing.T) {
	w := newWorld(t)
	w.withSchema()
	own := w.sddl("D:(OA;;WP;" + guidMember + ";;PS)(A;;WP;;;PS)")
	w.user("alice", 1001, own)
	w.user("bob", 1002)
	w.add("CN=Team,DC=a", "top group", contoso.Child(1010), "groupType=-2147483646", "member=CN=alice,DC=a", own)
	s, x := w.build()
	e := reach.NewEffective(x)
	for _, tt := range []struct {
		who, on, action string
		want            secdesc.Outcome
	}{
		{"alice", "Team", "write:member", secdesc.Granted},
		{"bob", "Team", "write:member", secdesc.Refused},
		{"alice", "alice", "write:description", secdesc.Granted},
		{"bob", "alice", "write:description", secdesc.Refused},
	} {
		act, err := reach.ParseAction(s.Schema(), tt.action)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Account(s.Lookup("CN="+tt.who+",DC=a")).May(s.Lookup("CN="+tt.on+",DC=a"), act); got.Outcome != tt.want {
			t.Errorf("%s %s on %s: %v", tt.who, tt.action, tt.on, got.Outcome)
		}
	}
}

// Domain-local groups count where the object is kept; what every domain keeps is
// written where it is allowed.
func TestMayInOtherDomain(t *testing.T) {
	w := newWorld(t)
	w.withSchema()
	other := secdesc.MustSID("S-1-5-21-4-5-6")
	w.domain("DC=b", other)
	w.user("alice", 1001)
	w.groupAt("CN=Here,DC=a", contoso.Child(1020), localGroup, "alice")
	w.groupAt("CN=There,DC=b", other.Child(1020), localGroup, "CN=alice,DC=a")
	sd := w.sddl("D:(A;;WD;;;" + other.Child(1020).String() + ")(A;;WO;;;" + contoso.Child(1020).String() + ")")
	for _, dn := range []string{"CN=x,DC=a", "CN=x,DC=b", "CN=x,CN=Configuration,DC=z"} {
		w.add(dn, "top person user", secdesc.SID{}, sd)
	}
	s, x := w.build()
	a := reach.NewEffective(x).Account(s.Lookup("CN=alice,DC=a"))
	got := map[string]string{}
	for _, dn := range []string{"CN=x,DC=a", "CN=x,DC=b", "CN=x,CN=Configuration,DC=z"} {
		for _, v := range []reach.Verb{reach.ChangeDACL, reach.ChangeOwner} {
			if a.May(s.Lookup(dn), reach.Action{Verb: v}).Outcome == secdesc.Granted {
				got[dn] += v.String() + " "
			}
		}
	}
	want := map[string]string{"CN=x,DC=a": "write-owner ", "CN=x,DC=b": "write-dacl ", "CN=x,CN=Configuration,DC=z": "write-dacl write-owner "}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestPowers(t *testing.T) {
	w := newWorld(t)
	w.withSchema()
	w.user("alice", 1001)
	w.add("OU=unit,DC=a", "top organizationalUnit", secdesc.SID{}, w.sddl("D:(OA;;WP;"+guidInfo+";;"+alice+")(A;;CCSD;;;"+alice+")"))
	w.add("CN=team,DC=a", "top group", secdesc.SID{}, w.sddl("D:(OD;;WP;"+guidSet+";;"+alice+")(A;;GW;;;"+alice+")"))
	w.add("CN=them,DC=a", "top person user", secdesc.SID{}, w.sddl("D:(A;;CR;;;"+alice+")"))
	w.add("CN=veiled,DC=a", "top group", secdesc.SID{})
	s, x := w.build()
	a := reach.NewEffective(x).Account(s.Lookup("CN=alice,DC=a"))
	for dn, want := range map[string]string{
		// The auxiliary class gives info; the back link and objectSid nobody writes; abstract,
		// auxiliary and system-only classes nobody creates.
		"OU=unit,DC=a": "create:computer create:container create:group create:organizationalUnit create:user delete write:info",
		"CN=team,DC=a": "validated:Self-Membership write:description",
		"CN=them,DC=a": "use:User-Force-Change-Password",
	} {
		p := a.Powers(s.Lookup(dn))
		if p.Unread != "" || len(p.Gaps) > 0 {
			t.Errorf("%s: %q, %q", dn, p.Unread, p.Gaps)
		}
		var got []string
		for _, l := range [][]reach.Answer{p.Attributes, p.Validated, p.Children, p.Rights, p.Standard} {
			for _, ans := range l {
				text := ans.Action.Verb.String()
				if ans.Name != "" {
					text += ":" + ans.Name
				}
				got = append(got, text)
			}
		}
		slices.Sort(got)
		if d := cmp.Diff(want, strings.Join(got, " ")); d != "" {
			t.Errorf("%s: %s", dn, d)
		}
	}
	if p := a.Powers(s.Lookup("CN=veiled,DC=a")); p.Unread == "" || len(p.Attributes) > 0 {
		t.Errorf("a descriptor that was not read: %+v", p)
	}
}

// Where the schema was read without what classes contain, the list says so.
func TestPowersWithoutSchema(t *testing.T) {
	w := newWorld(t)
	w.user("alice", 1001)
	w.add("CN=team,DC=a", "top group", secdesc.SID{}, w.sddl("D:(A;;GA;;;"+alice+")"))
	s, x := w.build()
	p := reach.NewEffective(x).Account(s.Lookup("CN=alice,DC=a")).Powers(s.Lookup("CN=team,DC=a"))
	if len(p.Gaps) == 0 || len(p.Standard) != 4 {
		t.Errorf("%+v", p)
	}
}

func TestParseAction(t *testing.T) {
	w := newWorld(t)
	w.withSchema()
	s, _ := w.build()
	for text, want := range map[string]reach.Action{
		"write:MEMBER":                   {Verb: reach.WriteAttribute, Type: secdesc.MustGUID(guidMember)},
		"Write-DACL":                     {Verb: reach.ChangeDACL},
		"create:user":                    {Verb: reach.CreateChildOf, Type: secdesc.MustGUID(guidUser)},
		"use:user-force-change-password": {Verb: reach.UseRight, Type: secdesc.MustGUID(guidReset)},
		"read:" + guidSecret:             {Verb: reach.ReadAttribute, Type: secdesc.MustGUID(guidSecret)},
	} {
		if got, err := reach.ParseAction(s.Schema(), text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "write", "write:", "write:user", "create:member", "use:nothing", "write-dacl:member", "own:it", ":"} {
		if got, err := reach.ParseAction(s.Schema(), text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}
