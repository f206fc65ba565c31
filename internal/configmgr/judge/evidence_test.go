package judge

import (
	"slices"
	"strings"
	"testing"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// testWorld is a world of the directory of the cases with changes.
func testWorld(t *testing.T, changes string, d *configmgr.Document) *world {
	t.Helper()
	return newWorld(sharedRules(), Input{Snapshot: caseSnapshot(t, testCase{Changes: changes}), Document: d, Now: testNow})
}

func read(class configmgr.Class, scope string) configmgr.Reading {
	return configmgr.Reading{Source: configmgr.Collected, Class: class, Scope: scope}
}

// want demands an answer: true, false or "unknown: TEXT", of what is missing.
func (w *world) want(t *testing.T, what string, got ref.Val, want string) {
	t.Helper()
	text := textOf(got)
	if u, ok := got.(*types.Unknown); ok {
		for _, m := range w.lacks(u) {
			text += ": " + m.Text
		}
	}
	if text != want && !(strings.HasPrefix(want, "unknown: ") && strings.HasPrefix(text, "unknown: ") && strings.Contains(text, want[len("unknown: "):])) {
		t.Errorf("%s is %s, want %s", what, text, want)
	}
}

func member(name string) configmgr.Member { return configmgr.Member{Name: name} }

func memberSID(name, sid string) configmgr.Member {
	s := secdesc.MustSID(sid)
	return configmgr.Member{Name: name, SID: &s}
}

// A name without domain is of whoever wrote it down: the SID that one list gives it is
// not that of another list.
func TestNamesOfSeveralAccounts(t *testing.T) {
	w := testWorld(t, "", &configmgr.Document{Principals: []configmgr.Principal{
		{Member: memberSID("Administrator", "S-1-5-21-7-7-7-500")},
		{Member: memberSID(`OLD\svc`, "S-1-5-21-8-8-8-1101")},
		{Member: memberSID(`OLD\svc`, "S-1-5-21-8-8-8-1102")},
		{Member: memberSID(`OLD\one`, "S-1-5-21-8-8-8-1103")},
	}})
	if p := w.principal("Administrator", nil, "gs1.contoso.test"); !p.sid.IsZero() && p.sid == secdesc.MustSID("S-1-5-21-7-7-7-500") {
		t.Errorf("the Administrator of GS1 is that of another host: %s", p.sid)
	}
	if p := w.principal(`OLD\svc`, nil, ""); !p.sid.IsZero() {
		t.Errorf("a name that stood for two accounts is one of them: %s", p.sid)
	}
	if p := w.principal(`old\ONE`, nil, ""); p.sid.IsZero() {
		t.Error("a name with its domain and one SID has none")
	}
}

// An account of a domain that was not scanned is no local account because a host lists
// it, in whatever order it is met.
func TestForeignAccountOnHost(t *testing.T) {
	d := &configmgr.Document{Hosts: []configmgr.Host{{Name: "gs1.contoso.test", Groups: map[string][]configmgr.Member{
		"Administrators": {memberSID(`OTHER\svc`, "S-1-5-21-8-8-8-1101"), memberSID(`GS1\Administrator`, "S-1-5-21-7-7-7-500"), memberSID("", "S-1-5-21-7-7-7-1000")},
	}}}}
	for range 2 {
		w := testWorld(t, "", d)
		for _, m := range d.Hosts[0].Groups["Administrators"] {
			p := w.member(m, "gs1.contoso.test")
			switch m.Name {
			case `OTHER\svc`:
				w.want(t, "Tier 0 of a foreign account", w.inTierZero(p), "unknown: not part of the snapshot")
				w.want(t, "whether it resolves", resolved(p), "unknown: not part of the snapshot")
			default:
				w.want(t, "Tier 0 of a local account", w.inTierZero(p), "false")
			}
		}
		slices.Reverse(d.Hosts[0].Groups["Administrators"])
	}
}

// The stand-in of a foreign account is an object of this domain, and the account is not.
func TestForeignSecurityPrincipal(t *testing.T) {
	changes := `
groups:
  - {name: Foreigners, in: Accounts, members: [S-1-5-21-8-8-8-1101]}
`
	w := testWorld(t, changes, &configmgr.Document{Sites: []configmgr.Site{{Code: "P01", Domain: "contoso.test"}}})
	sid := secdesc.MustSID("S-1-5-21-8-8-8-1101")
	ev := &evaluation{w: w, site: &w.doc.Sites[0]}
	p := w.principal(`OTHER\svc`, &sid, "")
	if !p.isForeign() {
		t.Fatalf("%+v is no stand-in", p)
	}
	a := &assignment{name: `OTHER\svc`, p: p}
	w.want(t, "domain", ev.domainOf(a), "unknown: is of another forest")
	w.want(t, "password", w.passwordSet(p), "unknown: is of another forest")
}

// A user principal name may end in any suffix.
func TestUserPrincipalName(t *testing.T) {
	w := testWorld(t, "users:\n  - {name: upn, in: Accounts, upn: svc@contoso.example}\n", &configmgr.Document{})
	if p := w.principal("SVC@contoso.example", nil, ""); p.sid.IsZero() || w.nameOf(p.sid) != `CONTOSO\upn` {
		t.Errorf("svc@contoso.example is %s", p.text())
	}
	w.want(t, "a suffix that nobody has", resolved(w.principal("svc@else.example", nil, "")), "unknown: not part of the snapshot")
}

// What a list of groups does not have was not read: every Windows has Administrators,
// under a name of its language.
func TestAdministratorsUnderAnotherName(t *testing.T) {
	d := &configmgr.Document{
		Readings: []configmgr.Reading{read(configmgr.ClassGroups, "")},
		Hosts: []configmgr.Host{
			{Name: "x1.other.test", Groups: map[string][]configmgr.Member{"Administratoren": {member(`CONTOSO\g-push`)}}},
			{Name: "x2.other.test", Groups: map[string][]configmgr.Member{"Administrators": {memberSID(`NT AUTHORITY\INTERACTIVE`, "S-1-5-4")}}},
			{Name: "x3.other.test", Groups: map[string][]configmgr.Member{"Administrators": {memberSID("", "S-1-5-114")}}},
		},
	}
	w := testWorld(t, "", d)
	p := w.principal(`CONTOSO\g-push`, nil, "")
	w.want(t, "administrator of a German host", w.localAdmin(p, w.host("x1.other.test")), "unknown: the local group Administrators of x1.other.test was not read")
	w.want(t, "administrator where INTERACTIVE is", w.localAdmin(p, w.host("x2.other.test")), "true")
	w.want(t, "administrator where local administrators are", w.localAdmin(p, w.host("x3.other.test")), "false")
}

const policyChanges = `
ous:
  - {name: Alike 1}
  - {name: Alike 2}
  - {name: Names}
computers:
  - {name: A1, in: Alike 1, role: workstation}
  - {name: A2, in: Alike 2, role: workstation}
  - {name: N1, in: Names, role: workstation}
policies:
  - name: Remote 1
    restricted: {"Remote Desktop Users": {members: [g-push]}}
  - name: Remote 2
    restricted: {"Remote Desktop Users": {members: [g-naa]}}
  - name: Names
    rights: {SeInteractiveLogonRight: [plain Local Operators, 'plain CONTOSO\nobody at all']}
    restricted: {Administrators: {members: ['plain OTHER\Helpers']}}
links:
  - {on: Alike 1, policies: [Remote 1]}
  - {on: Alike 2, policies: [Remote 2]}
  - {on: Names, policies: [Names]}
`

// Computers whose policies differ in anything that conditions ask are not one class.
func TestClassesDifferInLocalGroups(t *testing.T) {
	w := testWorld(t, policyChanges, &configmgr.Document{})
	for _, h := range w.classes().classes {
		if names := w.classNames(h); slices.Contains(names, "A1") && slices.Contains(names, "A2") {
			t.Errorf("one class has %v", names)
		}
	}
}

func (w *world) classNames(h *host) []string {
	var out []string
	for _, id := range h.class {
		out = append(out, w.s.Name(id))
	}
	return out
}

// A name of a policy that is none of the directory may be a group with anybody in it.
func TestUnresolvedNamesOfPolicies(t *testing.T) {
	w := testWorld(t, policyChanges, &configmgr.Document{})
	p, h := w.principal(`CONTOSO\g-push`, nil, ""), w.host("n1.contoso.test")
	w.want(t, "logon through a local group", w.userRight(p, h, "SeInteractiveLogonRight"), "unknown: lists Local Operators")
	w.want(t, "administrator through a foreign group", w.localAdmin(p, h), `unknown: lists OTHER\Helpers`)
}

// Computers that the document names are told from others with the same policies.
func TestSiteSystemsAreNoClass(t *testing.T) {
	d := &configmgr.Document{Sites: []configmgr.Site{{Code: "P01", Server: "gs1.contoso.test", Systems: []configmgr.SiteSystem{{Host: "gmp1.contoso.test", Roles: []string{roleManagement}}}}}}
	w := testWorld(t, "", d)
	for _, name := range []string{"gs1.contoso.test", "gmp1.contoso.test"} {
		if h := w.host(name); !slices.Contains(w.hostsFor(&w.doc.Sites[0]), h) {
			t.Errorf("%s is not among the hosts", name)
		}
	}
	for _, h := range w.classes().classes {
		if slices.Contains(w.classNames(h), "GS1") || slices.Contains(w.classNames(h), "GMP1") {
			t.Errorf("a class has %v", w.classNames(h))
		}
	}
}

// What is denied is not had, and what may be denied is not certain.
func TestDenialsOfAccessLists(t *testing.T) {
	w := testWorld(t, "", &configmgr.Document{})
	p, h := w.principal(`CONTOSO\g-push`, nil, ""), w.host("gs1.contoso.test")
	allow := func(rights ...string) configmgr.Access {
		return configmgr.Access{Member: member(`CONTOSO\g-push`), Rights: rights}
	}
	deny := func(name string, rights ...string) configmgr.Access {
		return configmgr.Access{Member: member(name), Rights: rights, Deny: true}
	}
	for _, c := range []struct {
		entries     []configmgr.Access
		read, write string
	}{
		{[]configmgr.Access{allow("full-control")}, "true", "true"},
		{[]configmgr.Access{allow("full-control"), deny(`CONTOSO\g-push`, "write")}, "true", "false"},
		{[]configmgr.Access{allow("read-execute"), deny("Everyone", "read")}, "false", "false"},
		{[]configmgr.Access{allow("change"), deny("Everyone", "full-control")}, "false", "false"},
		{[]configmgr.Access{allow("change"), deny(`CONTOSO\CM Admins`, "write")}, "true", "true"},
		{[]configmgr.Access{allow("change"), deny(`BUILTIN\Backup Operators`, "write")}, "true", "unknown: Backup Operators"},
	} {
		l := w.rightsOn(p, h, configmgr.ACL{Entries: c.entries})
		w.want(t, "read", l.grants("read"), c.read)
		w.want(t, "write", l.grants("write"), c.write)
	}
}

// A group of the same name in a domain is not the host's.
func TestNamesOnHosts(t *testing.T) {
	d := &configmgr.Document{
		Readings: []configmgr.Reading{read(configmgr.ClassWMI, "")},
		Sites:    []configmgr.Site{{Code: "P01"}},
		Hosts: []configmgr.Host{
			{Name: "gs1.contoso.test", WMI: []configmgr.ACL{{Path: `root\sms`, Entries: []configmgr.Access{
				{Member: member(`GS1\SMS Admins`), Rights: []string{"enable-account"}}, {Member: member("SMS Admins"), Rights: []string{"remote-enable"}},
			}}}},
			{Name: "gmp1.contoso.test", WMI: []configmgr.ACL{{Path: `root\sms`, Entries: []configmgr.Access{
				{Member: member(`CONTOSO\SMS Admins`), Rights: []string{"enable-account", "remote-enable"}},
			}}}},
			{Name: "gdp1.contoso.test", WMI: []configmgr.ACL{{Path: `root\sms`, Entries: []configmgr.Access{
				{Member: member("SMS Admins"), Rights: []string{"enable-account", "remote-enable"}}, {Member: member("SMS Admins"), Rights: []string{"remote-enable"}, Deny: true},
			}}}},
		},
	}
	w := testWorld(t, "", d)
	ev := &evaluation{w: w, site: &w.doc.Sites[0]}
	for name, want := range map[string]string{"gs1.contoso.test": "true", "gmp1.contoso.test": "false", "gdp1.contoso.test": "false"} {
		w.want(t, "the default on "+name, ev.wmiDefault(w.host(name), `root\sms`), want)
	}
	for name, want := range map[string]string{`BUILTIN\Administrators`: "Administrators", `CONTOSO\Administrators`: `CONTOSO\Administrators`, `GS1\SMS Admins`: "SMS Admins", `OTHER\SYSTEM`: `OTHER\SYSTEM`} {
		if got := w.plainName(member(name), w.host("gs1.contoso.test")); got != want {
			t.Errorf("%s on GS1 is %s, want %s", name, got, want)
		}
	}
}
