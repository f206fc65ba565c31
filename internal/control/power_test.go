package control

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// contosoGains are those who can gain Tier 0 of the demonstration company without
// being members of its groups, by hand from the faults in contoso.yaml: a help desk
// with full control of a legacy account that AdminSDHolder trusts, an entry there of
// a principal that is gone, an account that may delegate to a domain controller, and
// management accounts with the group that enables them.
var contosoGains = []string{
	`CONTOSO\Help Desk`, `CONTOSO\Help Desk Vienna`, `CONTOSO\Tier 0 Enablers`, `CONTOSO\mgmt-1`, `CONTOSO\mgmt-2`,
	`CONTOSO\svc-legacyweb`, `CONTOSO\svc-portal`, "S-1-5-21-2745913204-1390478551-3381905627-9999",
}

func TestControlPaths(t *testing.T) {
	a := assess(t, builtinCatalogue(t), Input{Snapshot: contoso(t), Options: contosoOptions()})
	p := a.Paths
	var got []string
	for _, way := range p.Certain {
		got = append(got, way.Principal.Name)
		if len(way.Steps) == 0 || !slices.ContainsFunc(p.Goals, func(g Place) bool { return g == way.Steps[len(way.Steps)-1].To }) {
			t.Errorf("the way of %s does not end in Tier 0: %+v", way.Principal.Name, way.Steps)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, contosoGains) || p.CertainTotal != len(contosoGains) {
		t.Errorf("certain: %d %q, want %q", p.CertainTotal, got, contosoGains)
	}
	if p.PossibleTotal != 0 || p.UnreadTotal != 0 || len(p.Possible)+len(p.Unread) != 0 {
		t.Errorf("possible %d, unread %q", p.PossibleTotal, p.Unread)
	}
	for _, c := range p.Chokes {
		if c.Principals < len(c.Sample) || c.Principals == 0 || c.Text == "" || c.Object.Name == "" {
			t.Errorf("choke point %+v", c)
		}
	}
	if len(p.Chokes) == 0 || !slices.IsSortedFunc(p.Chokes, func(a, b ChokePoint) int { return b.Principals - a.Principals }) {
		t.Errorf("choke points: %+v", p.Chokes)
	}
	for _, r := range p.Cut.Removals {
		if r.Text == "" || r.Object.DN == "" {
			t.Errorf("removal %+v", r)
		}
	}
	if n := len(p.Cut.Removals); n == 0 || n > len(contosoGains) {
		t.Errorf("%d removals cut off %d principals", n, len(contosoGains))
	}
}

// Population counts who can become a member beside those who are.
func TestPopulationControl(t *testing.T) {
	a := assess(t, builtinCatalogue(t), Input{Snapshot: contoso(t), Options: contosoOptions()})
	for _, p := range a.Population {
		if p.Group != "Domain Admins" {
			continue
		}
		if p.Control.Outside != len(contosoGains) || p.Control.Certain <= p.Control.Outside || p.Control.Possible != 0 || p.Control.Unread != 0 {
			t.Errorf("%s: %+v", p.Group, p.Control)
		}
	}
	sound := assess(t, builtinCatalogue(t), Input{Snapshot: changed(t, ""), Options: testOptions()})
	if n := sound.Paths.CertainTotal; n != 0 {
		t.Errorf("%d gain Tier 0 of the sound forest: %+v", n, sound.Paths.Certain)
	}
	for i, p := range sound.Population {
		if p.Control.Outside != 0 {
			t.Errorf("%s of the sound forest: %+v", p.Group, p.Control)
		}
		more := assess(t, builtinCatalogue(t), Input{
			Snapshot: changed(t, "changes: [{object: Domain Admins, sdprop: false, permissions: ['allow ordinary write member']}]"), Options: testOptions(),
		}).Population[i].Control
		if p.Group == "Domain Admins" && (more.Outside != 1 || more.Certain != p.Control.Certain+1) {
			t.Errorf("with one who may add members: %+v, before %+v", more, p.Control)
		}
	}
}

// Whatever of descriptors was not read is said, with fewer answers and never with
// an empty list of gaps.
func TestControlPathsUnread(t *testing.T) {
	s := contoso(t)
	a := assess(t, builtinCatalogue(t), Input{Snapshot: blank{descriptor: always}.of(t, s), Options: contosoOptions()})
	if a.Paths.UnreadTotal < 10 || !slices.ContainsFunc(a.Paths.Unread, func(u string) bool { return strings.Contains(u, "CN=AdminSDHolder,CN=System") }) {
		t.Errorf("%d unread: %q", a.Paths.UnreadTotal, a.Paths.Unread)
	}
	for _, way := range a.Paths.Certain {
		for _, st := range way.Steps {
			for _, e := range st.Evidence {
				if e.Entry != nil {
					t.Errorf("%s: a step by entry %d of %s, which was not read", way.Principal.Name, *e.Entry, e.Object)
				}
			}
		}
	}
}

// Of every attribute that control is decided by it is said that it was not read, unless
// the forest has none such: no principal passes for lack of it.
func TestControlPathsWithoutAttributes(t *testing.T) {
	s := changed(t, "")
	if gaps := (&world{s: s}).unreadAttrs(); len(gaps) > 0 {
		t.Fatalf("all was read, and yet %q", gaps)
	}
	all := map[forest.Attr]bool{}
	for _, a := range forest.Attrs() {
		all[a] = a < forest.AppliesTo // but not the schema's
	}
	for name, b := range map[string]blank{
		"not asked for": {notAsked: all},
		"unreadable":    {attr: func(_ forest.ID, a forest.Attr) bool { return all[a] }},
	} {
		w, tried := &world{s: b.of(t, s)}, 0
		gaps := w.unreadAttrs()
		for _, b := range reach.Blanks(w.s) {
			if w.s.OutsideSchema(b.Attr) {
				continue
			}
			tried++
			if !slices.ContainsFunc(gaps, func(g string) bool { return strings.HasPrefix(g, b.Attr.String()+" of ") }) {
				t.Errorf("nothing is said of %s, which is %s: %q", b.Attr, name, gaps)
			}
		}
		if tried < 15 {
			t.Errorf("only %d attributes are %s", tried, name)
		}
	}
	without := blank{notAsked: map[forest.Attr]bool{forest.MsDSHostServiceAccount: true}}.of(t, s)
	if gaps := newWorld(Input{Snapshot: without, Options: testOptions(), Now: testNow}).tierZero().gaps; len(gaps) != 1 {
		t.Errorf("what was not read is %q", gaps)
	}
}

// What the smallest cut names, taken away, leaves nobody; the texts say what it is.
func TestRemovalTexts(t *testing.T) {
	s := changed(t, "changes: [{object: Domain Admins, sdprop: false, owner: ordinary}]")
	a := assess(t, builtinCatalogue(t), Input{Snapshot: s, Options: testOptions()})
	if a.Paths.CertainTotal != 1 || len(a.Paths.Cut.Removals) != 1 {
		t.Fatalf("%d ways, removals %+v", a.Paths.CertainTotal, a.Paths.Cut.Removals)
	}
	r := a.Paths.Cut.Removals[0]
	if want := "give CN=Domain Admins,CN=Users,DC=contoso,DC=test an owner of Tier 0"; r.Kind != reach.Owner.String() || r.Text != want {
		t.Errorf("removal %+v, want %q", r, want)
	}
	again := assess(t, builtinCatalogue(t), Input{Snapshot: changed(t, ""), Options: testOptions()})
	if again.Paths.CertainTotal != 0 {
		t.Error(fmt.Sprint("still ", again.Paths.Certain))
	}
}

// Of more ways than are spelled out, those of groups come first, and identities are
// not left out.
func TestManyWays(t *testing.T) {
	s := changed(t, "bulk: [{users: 700, in: [Staff]}]\nchanges: [{object: Domain Admins, sdprop: false, permissions: ['allow \"Domain Users\" write member']}]")
	a := assess(t, &Catalogue{entries: []*Entry{builtinCatalogue(t).Entry("EC-01-no-way-to-tier-0")}}, Input{Snapshot: s, Options: testOptions()})
	p := a.Paths
	if len(p.Certain) != mostWays || p.CertainTotal <= 700 || p.Certain[0].Principal.Name != `CONTOSO\Domain Users` {
		t.Errorf("%d of %d ways, the first of %s", len(p.Certain), p.CertainTotal, p.Certain[0].Principal.Name)
	}
	s = changed(t, "bulk: [{users: 700, in: [Staff]}]\nchanges: [{object: Domain Admins, sdprop: false, permissions: ['allow \"Authenticated Users\" write member']}]")
	open := assess(t, &Catalogue{entries: []*Entry{builtinCatalogue(t).Entry("EC-01-no-way-to-tier-0")}}, Input{Snapshot: s, Options: testOptions()}).Paths.Certain
	if len(open) != mostWays || !slices.ContainsFunc(open, func(w Way) bool { return w.Principal.SID == secdesc.AuthenticatedUsers.String() }) {
		t.Errorf("%d ways, none of authenticated users", len(open))
	}
	if n := a.Controls[0].Fail; n != p.CertainTotal {
		t.Errorf("%d failures, %d ways", n, p.CertainTotal)
	}
	if c := p.Chokes[0]; c.Entry == nil || c.Principals != p.CertainTotal || len(p.Cut.Removals) != 1 {
		t.Errorf("the choke point is %+v, the cut %+v", c, p.Cut)
	}
}
