package reach_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/forest/fixture"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// The forests of testdata/edges have one object for each kind of edge and each rule
// of evaluation, positive and negative; the .paths file beside each says by hand
// which way leads from whom to what.
func TestEdges(t *testing.T) {
	lists, err := filepath.Glob("testdata/edges/*.paths")
	if err != nil || len(lists) == 0 {
		t.Fatal("no questions", err)
	}
	kinds := map[string]bool{}
	for _, list := range lists {
		name := strings.TrimSuffix(filepath.Base(list), ".paths")
		t.Run(name, func(t *testing.T) { askAll(t, name, kinds) })
	}
	t.Logf("%d kinds of edges occur", len(kinds))
}

func askAll(t *testing.T, name string, kinds map[string]bool) {
	f, err := fixture.ParseFS(os.DirFS("testdata/edges"), name+".yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Snapshot(start)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open("testdata/edges/" + name + ".paths")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	g := graphOf(s)
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := askPath(s, g, line, kinds); err != nil {
			t.Errorf("%s.paths:%d: %s: %v", name, n, line, err)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

// askPath compares one answer with what the line expects.
func askPath(s *forest.Snapshot, g *reach.Graph, line string, kinds map[string]bool) error {
	var op string
	for _, o := range []string{" -> ", " ?> ", " !> "} {
		if strings.Contains(line, o) {
			op = o
		}
	}
	from, rest, _ := strings.Cut(line, op)
	to, want, _ := strings.Cut(rest, ": ")
	a, b := findByName(s, from), findByName(s, to)
	if op == "" || a == forest.None || b == forest.None {
		return fmt.Errorf("the question names nothing")
	}
	who := g.WhoCan([]forest.ID{b})
	var got []string
	for _, h := range who.Path(a) {
		got = append(got, h.Kind.String())
		kinds[h.Kind.String()] = true
	}
	path := strings.Join(got, " ")
	switch sure, maybe := who.Has(a), who.MayHave(a); {
	case op == " -> " && !sure, op == " ?> " && (sure || !maybe), op == " !> " && maybe:
		return fmt.Errorf("for sure: %v, possibly: %v, by %q", sure, maybe, path)
	case path != want:
		return fmt.Errorf("by %q", path)
	}
	for _, possible := range []bool{false, true} { // the search the other way round agrees
		forwards := slices.Contains(g.Gains(a, possible), b)
		if backwards := who.Has(a) || possible && who.MayHave(a); forwards != backwards {
			return fmt.Errorf("(possible %v) forwards %v, backwards %v", possible, forwards, backwards)
		}
	}
	return nil
}

// What the format of fixtures cannot say: a NULL DACL, a descriptor that was not
// read, and classes that the captured schema lacks.
func TestEdgesOfRareObjects(t *testing.T) {
	w := newWorld(t)
	w.b.Collected(forest.Attrs()...)
	binary := func(text string) string { g := secdesc.MustGUID(text); return string(g[:]) }
	sd := func(text string) string {
		d, err := secdesc.ParseSDDL(text, contoso, contoso)
		if err != nil {
			t.Fatal(err)
		}
		return "nTSecurityDescriptor=" + string(d.Bytes())
	}
	schema := "CN=Schema,CN=Configuration,DC=a"
	w.add("CN=Configuration,DC=a", "top configuration", secdesc.SID{}, "instanceType=13")
	w.add(schema, "top dMD", secdesc.SID{}, "instanceType=13")
	for _, c := range [][2]string{
		{"group", "bf967a9c-0de6-11d0-a285-00aa003049e2"},
		{"organizationalUnit", "bf967aa5-0de6-11d0-a285-00aa003049e2"},
		{"msDS-DelegatedManagedServiceAccount", "0feb936f-47b3-49f2-9386-1dedc2c23765"},
	} {
		w.add("CN="+c[0]+","+schema, "top classSchema", secdesc.SID{}, "lDAPDisplayName="+c[0], "schemaIDGUID="+binary(c[1]))
	}
	w.user("ann", 1101, "sAMAccountName=ann")
	w.user("bob", 1102, "sAMAccountName=bob")
	w.user("old", 1103, "sAMAccountName=old")
	null := &secdesc.Descriptor{Control: secdesc.SelfRelative | secdesc.DACLPresent, Owner: secdesc.Administrators}
	group := fmt.Sprintf("groupType=%d", globalGroup)
	w.add("CN=open,DC=a", "top group", contoso.Child(1201), group, "sAMAccountName=open", "nTSecurityDescriptor="+string(null.Bytes()))
	w.add("CN=unread,DC=a", "top group", contoso.Child(1202), group, "sAMAccountName=unread")
	managed := computerClasses + " msDS-DelegatedManagedServiceAccount"
	w.add("CN=next,DC=a", managed, contoso.Child(1203), "sAMAccountName=next", "msDS-ManagedAccountPrecededByLink=CN=old,DC=a", "msDS-DelegatedMSAState=2", sd("O:BAD:P(A;;WD;;;"+contoso.Child(1101).String()+")"))
	w.add("CN=early,DC=a", managed, contoso.Child(1204), "sAMAccountName=early", "msDS-ManagedAccountPrecededByLink=CN=old,DC=a", "msDS-DelegatedMSAState=1", sd("O:BAD:P(A;;WD;;;"+contoso.Child(1102).String()+")"))
	w.add("OU=units,DC=a", "top organizationalUnit", secdesc.SID{}, sd("O:BAD:P(OA;;CC;0feb936f-47b3-49f2-9386-1dedc2c23765;;"+contoso.Child(1102).String()+")"))
	w.add("CN=host,DC=a", computerClasses, contoso.Child(1205), "sAMAccountName=host$", "msDS-HostServiceAccount=CN=early,DC=a")
	s, _ := w.build()
	g := graphOf(s)
	kinds := map[string]bool{}
	for _, line := range []string{
		"bob -> open: identity null-dacl",
		"ann !> unread",
		"ann -> old: write-dac succeeds",
		"bob -> early: write-dac",
		"host$ -> early: hosts-service-account",
		"ann ?> early: write-dac succeeds domain",
		// Whoever can create such accounts can name any account as its predecessor, on a server that is not updated.
		"bob ?> domain: create-dmsa succeeds",
		// So can whoever controls one.
		"ann ?> domain: write-dac succeeds",
	} {
		if err := askPath(s, g, line, kinds); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	unread := g.WhoCan([]forest.ID{mustAccount(t, s, "unread")}).Unread()
	if len(unread) != 1 || s.DN(unread[0]) != "CN=unread,DC=a" {
		t.Errorf("unread on the way: %v", unread)
	}
}

func mustAccount(t *testing.T, s *forest.Snapshot, name string) forest.ID {
	t.Helper()
	id := findByName(s, name)
	if id == forest.None {
		t.Fatalf("no %s", name)
	}
	return id
}

func findByName(s *forest.Snapshot, name string) forest.ID {
	head := s.Domains()[0].DN
	switch {
	case name == "domain":
		return s.Domains()[0].Head
	case strings.Contains(name, "="):
		return s.Lookup(name + "," + head)
	}
	if ids := s.BySAMAccountName(name); len(ids) == 1 {
		return ids[0]
	}
	return forest.None
}
