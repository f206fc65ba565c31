package forest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseDN(t *testing.T) {
	for dn, want := range map[string]string{
		`CN=a,DC=x`:                            "a|x",
		`CN=Smith\, J\+K,OU=\"q\" \\ \<\>\;\=`: `Smith, J+K|"q" \ <>;=`,
		`CN=\ lead and trail\ `:                " lead and trail ",
		`CN=  a  `:                             "a",
		`CN=\#1`:                               "#1",
		`CN=a\0Ab`:                             "a\nb",
		`CN=M\C3\BCller`:                       "Müller",
		`CN=\D7\90\d7\91`:                      "\u05D0\u05D1",
		`CN=a=b`:                               "a=b",
		`CN=a\2c`:                              "a,",
		`OID.1.2.3=x,0.9.2342=y`:               "x|y",
		`CN=`:                                  "",
		`CN=\20`:                               " ",
	} {
		parts, err := ParseDN(dn)
		var vals []string
		for _, p := range parts {
			vals = append(vals, p.Value)
		}
		if got := strings.Join(vals, "|"); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", dn, got, err, want)
		}
	}
	for _, dn := range []string{"a", "CN=a,", ",CN=a", "=a", `CN=a\`, "C\x00N=a", "CN=a,,DC=x", strings.Repeat("CN=a,", 600) + "DC=x"} {
		if _, err := ParseDN(dn); !errors.Is(err, ErrDN) {
			t.Errorf("%q: %v", dn, err)
		}
	}
}

func TestEscapeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		val := rapid.OneOf(rapid.String(), rapid.StringOfN(rapid.RuneFrom([]rune(" ,+\"\\<>;=#\n\r\x00a1\u0301\u05D0")), 0, 12, -1)).Draw(t, "value")
		parts, err := ParseDN("CN=" + EscapeRDN(val) + ",DC=x")
		if err != nil || len(parts) != 2 || parts[0].Value != val {
			t.Fatalf("%q became %q, %v", val, parts, err)
		}
	})
}

// Two names have one key only if they are one name.
func TestKeysAreInjective(t *testing.T) {
	list := []string{"CN=a\\00,DC=x", "CN=a\\01\\01,DC=x", "CN=a\\01,DC=x", "CN=a,DC=x", "CN=a\\00DC\\=x", "CN=a\xff,DC=x", "CN=a\xfe,DC=x"}
	seen := map[string]string{}
	for _, dn := range list {
		k, err := dnKey(dn)
		if old, dup := seen[k]; dup || err != nil {
			t.Errorf("%q and %q: %v", dn, old, err)
		}
		seen[k] = dn
	}
}

func FuzzParseDN(f *testing.F) {
	f.Add(`CN=a\, b\0A,OU=\#x ,DC=y`)
	f.Fuzz(func(t *testing.T, dn string) {
		parts, err := ParseDN(dn)
		if err != nil {
			return
		}
		var text []string
		for _, p := range parts {
			text = append(text, p.Type+"="+EscapeRDN(p.Value))
		}
		again, err := ParseDN(strings.Join(text, ","))
		if err != nil || !slices.Equal(parts, again) {
			t.Fatalf("%q → %q, %v", parts, again, err)
		}
	})
}

func TestLookupInEverySpelling(t *testing.T) {
	s := mustBuild(t, sample(t))
	want := mustFind(t, s, `CN=Müller\, Jörg,OU=Staff,`+root)
	for _, dn := range []string{
		`cn=MÜLLER\2c jÖRG,ou=STAFF,dc=Contoso,dc=TEST`, `CN=M\C3\BCller\, Jörg,OU=Staff,` + root,
		`CN = Müller\, Jörg , OU=Staff, DC=contoso ,DC=test`,
	} {
		if got := s.Lookup(dn); got != want {
			t.Errorf("%s: %d, want %d", dn, got, want)
		}
	}
	for _, dn := range []string{"", "x", "CN=nobody," + root, "DC=test", `CN=Müller\,Jörg,OU=Staff,` + root} {
		if got := s.Lookup(dn); got != None {
			t.Errorf("%q: %d", dn, got)
		}
	}
	if got := s.Name(want); got != "Müller, Jörg" {
		t.Errorf("name %q", got)
	}
}

func TestHardNames(t *testing.T) {
	var entries []Entry
	names := []string{",", "+", `"`, `\`, "<", ">", ";", "#a", "=", " a ", "a\nb", "e\u0301", "\u05D0\u05D1", "a b", "a", "a\x00b", strings.Repeat("ü", 64)}
	for _, n := range names {
		entries = append(entries, entry("CN="+EscapeRDN(n)+","+root, "description", n))
	}
	s := build(t, append(entries, entry(root))...)
	got, err := Read(bytes.NewReader(fileOf(t, s)))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		id := mustFind(t, got, "cn="+EscapeRDN(n)+","+root)
		if d, _ := got.Str(id, Description); d != n || got.Name(id) != n || got.Parent(id) != 0 {
			t.Errorf("%q came back as %q, %q", n, d, got.Name(id))
		}
	}
}

func TestTree(t *testing.T) {
	s := build(t, entry("CN=z,"+root), entry("CN=x,OU=hidden,OU=a,"+root), entry("OU=a b,"+root), entry("CN=k,OU=a,"+root), entry(root), entry("OU=a,"+root), entry("CN=far,DC=other"))
	var order []string
	for id := range ID(s.Len()) {
		order = append(order, strings.TrimSuffix(s.DN(id), ","+root))
	}
	want := "CN=far,DC=other | DC=contoso,DC=test | CN=z | OU=a | CN=k,OU=a | CN=x,OU=hidden,OU=a | OU=a b"
	if got := strings.Join(order, " | "); got != want {
		t.Errorf("order %s", got)
	}
	var children []string
	for c := range s.Children(s.Lookup(root)) {
		children = append(children, s.Name(c))
	}
	if got := strings.Join(children, " "); got != "z a a b" {
		t.Errorf("children %s", got)
	}
	for c := range s.Children(s.Lookup("OU=a," + root)) {
		if s.Name(c) != "k" {
			t.Errorf("child %s", s.DN(c))
		}
	}
	orphan, a := s.Lookup("CN=x,OU=hidden,OU=a,"+root), s.Lookup("OU=a,"+root)
	if s.Parent(orphan) != None || s.Ancestor(orphan) != a || orphan >= s.SubtreeEnd(a) || s.SubtreeEnd(s.Lookup(root)) != ID(s.Len()) {
		t.Errorf("orphan %d: parent %d, ancestor %d, end %d", orphan, s.Parent(orphan), s.Ancestor(orphan), s.SubtreeEnd(a))
	}
}

func TestStates(t *testing.T) {
	s := mustBuild(t, sample(t))
	u, temp := mustFind(t, s, `CN=Müller\, Jörg,OU=Staff,`+root), mustFind(t, s, "CN=Temp,OU=Staff,"+root)
	check := func(what string, got, want State) {
		t.Helper()
		if got != want {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	_, st := s.Int(u, UserAccountControl)
	check("value", st, Known)
	_, st = s.Int(temp, UserAccountControl)
	check("asked for, none", st, Absent)
	_, st = s.Str(u, Description)
	check("not granted", st, Unreadable)
	_, st = s.Int(temp, AdminCount)
	check("malformed", st, Unreadable)
	_, st = s.Str(u, Mail)
	check("not asked for", st, Unreadable)
	_, st = s.Links(u, Member)
	check("no links", st, Absent)
	_, st = s.Links(u, ManagedBy)
	check("links not asked for", st, Unreadable)
	if why := s.Why(u, Description); why != "no right to read it" {
		t.Errorf("why %q", why)
	}
	if why := s.Why(temp, AdminCount); !strings.Contains(why, `"x"`) {
		t.Errorf("why %q", why)
	}
	if at, st := s.Time(u, PwdLastSet); st != Known || at.Year() != 2024 {
		t.Errorf("pwdLastSet %v %v", at, st)
	}
	if at, _ := s.Time(u, WhenCreated); !at.Equal(time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Errorf("whenCreated %v", at)
	}
	if v, st := s.Bool(u, IsCriticalSystemObject); !v || st != Known {
		t.Errorf("isCriticalSystemObject %v %v", v, st)
	}
	if spn, _ := s.Strs(u, ServicePrincipalName); strings.Join(spn, " ") != "HTTP/a http/b" || s.BySPN("http/A")[0] != u {
		t.Errorf("SPN %v", spn)
	}
	if d, st := s.Desc(u, MsDSAllowedToActOnBehalfOfOtherIdentity); st != Known || len(d.DACL.ACEs) != 1 {
		t.Errorf("descriptor value %v", st)
	}
	if c, ok := s.LastChange(u, UserAccountControl); !ok || c.Server != "DC1" || c.Version != 3 {
		t.Errorf("metadata %+v", c)
	}
}

// A list of which some values are malformed or unread never looks complete.
func TestPartialLinksAreUnreadable(t *testing.T) {
	b := newTestBuilder()
	mustAdd(t, b, entry(root), entry("CN=g,"+root, "member", root, "member", "nonsense"))
	s := mustBuild(t, b)
	to, st := s.Links(s.Lookup("CN=g,"+root), Member)
	if len(to) != 1 || st != Unreadable {
		t.Errorf("%v %v", to, st)
	}
}

func TestLinks(t *testing.T) {
	s := mustBuild(t, sample(t))
	g, u, temp := mustFind(t, s, "CN=Admins,OU=Staff,"+root), mustFind(t, s, `CN=Müller\, Jörg,OU=Staff,`+root), mustFind(t, s, "CN=Temp,OU=Staff,"+root)
	to, _ := s.Links(g, Member)
	if !slices.Equal(to, []ID{u, temp}) && !slices.Equal(to, []ID{temp, u}) || !slices.IsSorted(to) {
		t.Errorf("members %v", to)
	}
	if out := s.LinksOutside(g, Member); strings.Join(out, " ") != "CN=Elsewhere,DC=other,DC=test CN=Gone,"+root {
		t.Errorf("outside %v", out)
	}
	if at, ok := s.LinkExpires(g, Member, temp); !ok || !at.Equal(when.Add(time.Minute)) {
		t.Errorf("end %v", at)
	}
	if _, ok := s.LinkExpires(g, Member, u); ok {
		t.Error("standing link ends")
	}
	if at, ok := s.OutsideLinkExpires(g, Member, "CN=Elsewhere,DC=other,DC=test"); !ok || !at.Equal(when.Add(90*time.Second)) {
		t.Errorf("end outside %v", at)
	}
	if back := s.Backlinks(u, Member); !slices.Equal(back, []ID{g}) {
		t.Errorf("back %v", back)
	}
	if c, ok := s.LastLinkChange(g, Member, temp); !ok || !c.Created.Equal(when.Add(-time.Minute)) || !c.Deleted.IsZero() {
		t.Errorf("metadata %+v", c)
	}
	if !slices.Equal(s.With(Member), []ID{g}) {
		t.Errorf("with member %v", s.With(Member))
	}
}

func TestBySIDPrefersPrincipals(t *testing.T) {
	sid := domSID + "-1104"
	s := build(t, entry(root), entry("CN=a,"+root, "objectClass", "foreignSecurityPrincipal", "objectSid", sidBytes(sid)),
		entry("CN=b,"+root, "objectClass", "user", "objectSid", sidBytes(sid)), entry("CN=c,"+root, "objectClass", "foreignSecurityPrincipal", "objectSid", sidBytes(sid)))
	if id := s.BySID(s.SID(1)); s.Name(id) != "b" {
		t.Errorf("%s", s.DN(id))
	}
}

func TestBuilderRefusals(t *testing.T) {
	b := newTestBuilder()
	mustAdd(t, b, entry("CN=a,"+root), entry("cn=A,"+root))
	if _, err := b.Build(); !errors.Is(err, ErrDuplicate) {
		t.Errorf("duplicate: %v", err)
	}
	b = newTestBuilder()
	b.MarkUnreadable(Member, "before any entry")
	for _, dn := range []string{"", "x", "CN=a,"} {
		if err := b.Add(entry(dn)); !errors.Is(err, ErrDN) {
			t.Errorf("%q: %v", dn, err)
		}
	}
	var err error
	for i := 0; i <= maxClassLists && err == nil; i++ {
		err = b.Add(entry(fmt.Sprintf("CN=%d,%s", i, root), "objectClass", fmt.Sprint(i)))
	}
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("class lists: %v", err)
	}
}

func TestHugeValue(t *testing.T) {
	big := strings.Repeat("x", 20<<20)
	s := build(t, entry(root, "description", big, "adminCount", big))
	if v, _ := s.Str(0, Description); v != big {
		t.Error("value differs")
	}
	if why := s.Why(0, AdminCount); len(why) > 300 {
		t.Errorf("reason of %d bytes", len(why))
	}
}

func TestDomains(t *testing.T) {
	parts := "CN=Partitions," + config
	s := build(t, entry(root, "objectClass", "domainDNS", "objectSid", sidBytes(domSID), "instanceType", "5"),
		entry("DC=emea,"+root, "objectClass", "domainDNS", "objectSid", sidBytes("S-1-5-21-7-7-7")), entry("CN=e,DC=emea,"+root),
		entry("CN=u,CN=hidden,"+root), entry(config, "objectClass", "configuration"), entry(parts),
		entry("DC=DomainDnsZones,"+root, "objectClass", "domainDNS"), entry("CN=z,DC=DomainDnsZones,"+root),
		entry("CN=A,"+parts, "objectClass", "crossRef", "nCName", root, "dnsRoot", "contoso.test", "nETBIOSName", "CONTOSO"),
		entry("CN=B,"+parts, "objectClass", "crossRef", "nCName", "DC=emea,"+root, "dnsRoot", "emea.contoso.test", "nETBIOSName", "EMEA", "trustParent", "CN=A,"+parts),
		entry("CN=C,"+parts, "objectClass", "crossRef", "nCName", "DC=aaa,DC=test", "dnsRoot", "aaa.test", "nETBIOSName", "AAA"))
	var got []string
	for _, d := range s.Domains() {
		got = append(got, fmt.Sprintf("%s %s %v %v", d.DNS, d.NetBIOS, d.Root, d.Head != None))
	}
	if want := "contoso.test CONTOSO true true|aaa.test AAA false false|emea.contoso.test EMEA false true"; strings.Join(got, "|") != want {
		t.Errorf("%v", got)
	}
	for dn, want := range map[string]string{
		"CN=e,DC=emea," + root: "emea.contoso.test", "CN=u,CN=hidden," + root: "contoso.test", root: "contoso.test",
		parts: "", "CN=z,DC=DomainDnsZones," + root: "",
	} {
		if d, ok := s.DomainOf(mustFind(t, s, dn)); d.DNS != want || ok != (want != "") {
			t.Errorf("%s is in %q", dn, d.DNS)
		}
	}
}

// TestDomainsWithoutNCName: heads and cross-references meet by their DNS names.
func TestDomainsWithoutNCName(t *testing.T) {
	parts := "CN=Partitions," + config
	b := newTestBuilder()
	mustAdd(t, b, entry(root, "objectClass", "domainDNS", "objectSid", sidBytes(domSID)),
		entry("DC=emea,"+root, "objectClass", "domainDNS", "objectSid", sidBytes("S-1-5-21-7-7-7")), entry("CN=e,DC=emea,"+root),
		entry(config, "objectClass", "configuration"), entry(parts))
	for name, dns := range map[string]string{"A": "contoso.test", "B": "EMEA.contoso.test", "C": "aaa.test", "D": ""} {
		e := entry("CN="+name+","+parts, "objectClass", "crossRef", "nETBIOSName", name)
		if dns != "" {
			e.Attrs = append(e.Attrs, Values{"dnsRoot", [][]byte{[]byte(dns)}})
		}
		mustAdd(t, b, e)
		b.MarkUnreadable(NCName, "no right to read it")
	}
	s := mustBuild(t, b)
	var got []string
	for _, d := range s.Domains() {
		got = append(got, fmt.Sprintf("%s %s %s %v %v %v", d.DNS, d.NetBIOS, d.DN, d.SID, d.Root, d.Head == s.Lookup(d.DN)))
	}
	want := []string{
		"contoso.test A DC=contoso,DC=test S-1-5-21-1-2-3 true true",
		" D   false true", // nothing is known but that it is there
		"EMEA.contoso.test B DC=emea,DC=contoso,DC=test S-1-5-21-7-7-7 false true",
		"aaa.test C DC=aaa,DC=test  false true",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q", got)
	}
	if d, _ := s.DomainOf(mustFind(t, s, "CN=e,DC=emea,"+root)); d.NetBIOS != "B" {
		t.Errorf("the child is in %+v", d)
	}
}

func TestFileStates(t *testing.T) {
	s := mustBuild(t, sample(t))
	for path, want := range map[string]State{
		"policies/{x}/gpt.ini": Known, "Policies/{X}/none": Absent, "Policies/{Y}/GPT.INI": Unreadable, "Policies/{YZ}/GPT.INI": Absent,
	} {
		if f := s.File("CONTOSO.test", path); f.State != want {
			t.Errorf("%s is %v (%s)", path, f.State, f.Reason)
		}
	}
	if f := s.File("other.test", "x"); f.State != Unreadable || f.Reason == "" {
		t.Errorf("other domain: %+v", f)
	}
}

func TestSchema(t *testing.T) {
	g := guidBytes("bf967aba-0de6-11d0-a285-00aa003049e2")
	s := build(t, entry("CN=u,"+root, "objectClass", "classSchema", "lDAPDisplayName", "user", "schemaIDGUID", g),
		entry("CN=old,"+root, "objectClass", "attributeSchema", "lDAPDisplayName", "user2", "schemaIDGUID", g, "isDefunct", "TRUE"),
		entry("CN=a,"+root, "objectClass", "attributeSchema", "lDAPDisplayName", "noGuid", "searchFlags", "128"),
		entry("CN=R,"+root, "objectClass", "controlAccessRight", "rightsGuid", "00299570-246d-11d0-a768-00aa006e0529"))
	sch := s.Schema()
	if c := sch.Class("USER"); c == nil || sch.NameOf(c.GUID) != "user" {
		t.Errorf("class %+v", c)
	}
	if a := sch.Attr("noguid"); a == nil || !a.Confidential() || sch.NameOf(a.GUID) != "" {
		t.Errorf("attribute %+v", a)
	}
	if sch.Attr("user2") != nil {
		t.Error("a defunct attribute is defined")
	}
}

func TestAttrTable(t *testing.T) {
	for _, a := range Attrs() {
		if got, ok := AttrByName(strings.ToUpper(a.String())); !ok || got != a || a.Syntax() == 0 {
			t.Errorf("attribute %d %q", a, a)
		}
	}
}
