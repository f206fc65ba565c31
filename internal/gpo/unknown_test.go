package gpo_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A gappedForest is a domain with one policy on its root, which denies network
// logon to Guests, and whatever a test leaves out of it.
type gappedForest struct {
	t *testing.T
	w *caseForest
	b *forest.Builder
}

const gappedBase = "DC=contoso,DC=test"

// newGappedForest makes the forest; the policy's descriptor is sd, and the
// attributes of without were not asked for.
func newGappedForest(t *testing.T, sd string, without ...forest.Attr) *gappedForest {
	t.Helper()
	c := &policyCase{
		name: "gap", links: []caseLink{{at: "domain", text: "[LDAP://{A};0]"}},
		pols: []*casePolicy{{name: "A", opt: map[string]string{"sd": sd}, template: []string{"R1 = *S-1-5-32-546"}}},
	}
	w := newCaseForest(c, "contoso.test", secdesc.MustSID("S-1-5-21-1-2-3"))
	w.dn["default-site"] = "CN=Default-First-Site-Name,CN=Sites,CN=Configuration," + gappedBase
	w.build()
	g := &gappedForest{t, w, forest.NewBuilder(forest.Info{Source: "case", Domain: w.dns})}
	for a := range forest.Attr(forest.NumAttrs) {
		if a.String() != "" && !slices.Contains(without, a) {
			g.b.Collected(a)
		}
	}
	for _, o := range append(w.scaffold(), w.objects...) {
		w.addTo(t, g.b, o)
	}
	for path, data := range w.files {
		g.b.AddFile(forest.File{Domain: w.dns, Path: path, Data: data, State: forest.Known})
	}
	g.b.Cover(forest.Coverage{Area: forest.AreaFile, Subject: w.dns, State: "complete", Count: len(w.files)})
	return g
}

func (g *gappedForest) add(o caseObject) { g.w.addTo(g.t, g.b, o) }

func (g *gappedForest) computer(dn string) {
	g.add(caseObject{
		dn: dn, class: []string{"top", "person", "organizationalPerson", "user", "computer"}, sid: g.w.domainSID.Child(2000),
		attrs: map[string][]string{"sAMAccountName": {"PC$"}, "userAccountControl": {"4096"}, "primaryGroupID": {"515"}},
	})
}

// right returns what policy does to R1 of the computer.
func (g *gappedForest) right(dn string) gpo.Setting {
	g.t.Helper()
	return g.result(dn).Right("SeDenyNetworkLogonRight")
}

func (g *gappedForest) result(dn string) *gpo.Result {
	g.t.Helper()
	s, err := g.b.Build()
	if err != nil {
		g.t.Fatal(err)
	}
	e := gpo.New(s, reach.New(s))
	scope, ok := e.ScopeOf(s.Lookup(dn))
	if !ok {
		g.t.Fatalf("%s has no scope: it would vanish from every assessment", dn)
	}
	return e.Result(scope)
}

func wantUndecided(t *testing.T, s gpo.Setting, why string) {
	t.Helper()
	if s.State != gpo.Undecided {
		t.Fatalf("the right is %v, want undecided", s.State)
	}
	if all := strings.Join(s.Reasons, "\n"); !strings.Contains(all, why) {
		t.Errorf("reasons are\n%s\nwant one with %q", all, why)
	}
}

// Containers that the reader did not see may be organizational units that carry
// links or block inheritance.
func TestUnseenContainers(t *testing.T) {
	const everyone = "(A;;RP;;;AU)(OA;;CR;edacfd8f-ffb3-11d1-b41d-00a0c968f939;;AU)"
	t.Run("missing above the computer", func(t *testing.T) {
		g := newGappedForest(t, everyone)
		dn := "CN=PC,OU=Hidden," + gappedBase
		g.computer(dn)
		wantUndecided(t, g.right(dn), "containers above the computer")
	})
	t.Run("missing in the middle", func(t *testing.T) {
		g := newGappedForest(t, everyone)
		ou := "OU=Shown,OU=Hidden," + gappedBase
		g.add(caseObject{dn: ou, class: []string{"top", "organizationalUnit"}})
		g.computer("CN=PC," + ou)
		wantUndecided(t, g.right("CN=PC,"+ou), "containers above OU=Shown,OU=Hidden")
	})
	t.Run("class hidden", func(t *testing.T) {
		g := newGappedForest(t, everyone)
		ou := "OU=Blank," + gappedBase
		g.add(caseObject{dn: ou})
		g.computer("CN=PC," + ou)
		wantUndecided(t, g.right("CN=PC,"+ou), "class of OU=Blank")
	})
	t.Run("nothing hidden", func(t *testing.T) {
		g := newGappedForest(t, everyone)
		dn := "CN=PC,CN=Computers," + gappedBase
		g.computer(dn)
		if s := g.right(dn); s.State != gpo.Defined {
			t.Errorf("the right is %v, want defined", s.State)
		}
	})
}

// A group whose members were not read may hold the computer.
func TestFilterByUnreadGroup(t *testing.T) {
	const dn = "CN=PC,CN=Computers," + gappedBase
	member := "CN=Scope," + gappedBase
	group := func(g *gappedForest, unread ...string) {
		g.add(caseObject{
			dn: member, class: []string{"top", "group"}, sid: g.w.domainSID.Child(3000), unread: unread,
			attrs: map[string][]string{"sAMAccountName": {"Scope"}, "groupType": {"-2147483646"}},
		})
	}
	const applies = "(A;;RP;;;AU)(OA;;CR;edacfd8f-ffb3-11d1-b41d-00a0c968f939;;S-1-5-21-1-2-3-3000)"
	const denied = "(OD;;CR;edacfd8f-ffb3-11d1-b41d-00a0c968f939;;S-1-5-21-1-2-3-3000)(A;;RP;;;AU)(OA;;CR;edacfd8f-ffb3-11d1-b41d-00a0c968f939;;AU)"
	for _, c := range []struct {
		name, sd, unread string
		want             gpo.State
	}{
		{"allowed through it", applies, "member", gpo.Undecided},
		{"denied through it", denied, "member", gpo.Undecided},
		{"of unread kind", applies, "groupType", gpo.Undecided},
		{"allowed by others too", applies + "(OA;;CR;edacfd8f-ffb3-11d1-b41d-00a0c968f939;;AU)", "member", gpo.Defined},
		{"read and empty", applies, "", gpo.NotDefined},
		{"read, empty and denied", denied, "", gpo.Defined},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGappedForest(t, c.sd)
			group(g, strings.Fields(c.unread)...)
			g.computer(dn)
			s := g.right(dn)
			if s.State != c.want {
				t.Fatalf("the right is %v, want %v", s.State, c.want)
			}
			if c.want == gpo.Undecided {
				wantUndecided(t, s, "access denied")
			}
		})
	}
}

// A SID of a domain of the forest that was not read may be a universal group.
func TestFilterByGroupOfUnreadDomain(t *testing.T) {
	const dn = "CN=PC,CN=Computers," + gappedBase
	const sd = "(A;;RP;;;AU)(OA;;CR;edacfd8f-ffb3-11d1-b41d-00a0c968f939;;S-1-5-21-7-7-7-1234)"
	g := newGappedForest(t, sd)
	g.computer(dn)
	if s := g.right(dn); s.State != gpo.NotDefined {
		t.Errorf("the right is %v, want not defined: the SID is of no domain of the forest", s.State)
	}
	g = newGappedForest(t, sd)
	g.add(caseObject{
		dn: "CN=CHILD,CN=Partitions,CN=Configuration," + gappedBase, class: []string{"top", "crossRef"},
		attrs: map[string][]string{"nETBIOSName": {"CHILD"}, "dnsRoot": {"child.contoso.test"}, "nCName": {"DC=child," + gappedBase}},
	})
	g.computer(dn)
	wantUndecided(t, g.right(dn), "child.contoso.test")
}

// LDIF of the domain partition alone tells neither sites nor files: no right can
// be decided, and the reasons say so.
func TestDomainPartitionAlone(t *testing.T) {
	const dn = "CN=PC,CN=Computers," + gappedBase
	full := newGappedForest(t, "(A;;RP;;;AU)(OA;;CR;edacfd8f-ffb3-11d1-b41d-00a0c968f939;;AU)")
	full.computer(dn)
	s, err := full.b.Build()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := s.WriteLDIF(&text); err != nil {
		t.Fatal(err)
	}
	var kept []string
	for _, record := range strings.Split(text.String(), "\n\n") {
		if !strings.HasPrefix(record, "#") && !strings.Contains(strings.ReplaceAll(record, "\n ", ""), "CN=Configuration,"+gappedBase) {
			kept = append(kept, record)
		}
	}
	b := forest.NewBuilder(forest.Info{Source: "ldif", Domain: "contoso.test"})
	if err := forest.ReadLDIF(strings.NewReader(strings.Join(kept, "\n\n")+"\n"), b); err != nil {
		t.Fatal(err)
	}
	got := (&gappedForest{t: t, b: b}).right(dn)
	wantUndecided(t, got, "the sites of the forest are not part of this snapshot")
	wantUndecided(t, got, "not part of this snapshot")
	files := false
	for _, o := range got.Outcomes {
		files = files || !o.Readable
	}
	if !files {
		t.Error("no outcome says that the files of the policy were not read")
	}
}

// An attribute that was not asked for may hold a WMI filter.
func TestFilterNotCollected(t *testing.T) {
	const dn = "CN=PC,CN=Computers," + gappedBase
	g := newGappedForest(t, "(A;;RP;;;AU)(OA;;CR;edacfd8f-ffb3-11d1-b41d-00a0c968f939;;AU)", forest.GPCWQLFilter)
	g.computer(dn)
	wantUndecided(t, g.right(dn), "gPCWQLFilter is not part of this snapshot")
}

// One group under two names is one setting: precedence decides, not spelling.
func TestRestrictedGroupUnderTwoNames(t *testing.T) {
	c := &policyCase{
		name: "names", links: []caseLink{{at: "domain", text: "[LDAP://{Outer};0]"}, {at: "W", text: "[LDAP://{Inner};0]"}},
		ous:   []caseOU{{name: "W", in: "domain"}},
		hosts: []caseHost{{name: "ws", in: "W"}},
		pols: []*casePolicy{
			{name: "Outer", opt: map[string]string{}, template: []string{"[Group Membership] Administrators__Members = *S-1-5-21-1-2-3-512"}},
			{name: "Inner", opt: map[string]string{}, template: []string{"[Group Membership] *S-1-5-32-544__Members = *S-1-5-21-1-2-3-519"}},
		},
	}
	w := newCaseForest(c, "contoso.test", secdesc.MustSID("S-1-5-21-1-2-3"))
	s := w.snapshot(t)
	e := gpo.New(s, reach.New(s))
	scope, _ := e.ScopeOf(s.Lookup(w.dn["ws"]))
	group, ok := e.Result(scope).Group(secdesc.MustSID("S-1-5-32-544"))
	if !ok {
		t.Fatal("no local Administrators")
	}
	for rid, want := range map[uint32]gpo.Truth{512: gpo.No, 519: gpo.Yes} {
		if _, in := group.Contains(func(p gpo.Principal) bool { return p.Is(w.domainSID.Child(rid)) }); in != want {
			t.Errorf("membership of %d is %v, want %v: the inner policy wins", rid, in, want)
		}
	}
}

// An entry that counts on its object counts whatever class its inherited object
// type names ([MS-DTYP] 2.5.3.2): that only says what inherits it.
func TestFilterInheritedObjectType(t *testing.T) {
	const (
		dn      = "CN=PC,CN=Computers," + gappedBase
		user    = "bf967aba-0de6-11d0-a285-00aa003049e2"
		applies = "(A;;RP;;;AU)(OA;;CR;edacfd8f-ffb3-11d1-b41d-00a0c968f939;;AU)"
	)
	for _, c := range []struct {
		name, sd string
		want     gpo.State
	}{
		{"allow", "(A;;RP;;;AU)(OA;;CR;edacfd8f-ffb3-11d1-b41d-00a0c968f939;" + user + ";AU)", gpo.Defined},
		{"deny", "(OD;CI;CR;edacfd8f-ffb3-11d1-b41d-00a0c968f939;" + user + ";AU)" + applies, gpo.NotDefined},
		{"deny of what inherits alone", "(OD;CIIO;CR;edacfd8f-ffb3-11d1-b41d-00a0c968f939;" + user + ";AU)" + applies, gpo.Defined},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGappedForest(t, c.sd)
			g.computer(dn)
			if s := g.right(dn); s.State != c.want {
				t.Errorf("the right is %v, want %v", s.State, c.want)
			}
		})
	}
}
