package reach_test

import (
	"bytes"
	"go/ast"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// takeAway returns s as if attribute name had not been asked for. SYSVOL is lost.
func takeAway(t *testing.T, s *forest.Snapshot, name string) *forest.Snapshot {
	t.Helper()
	var all bytes.Buffer
	if err := s.WriteLDIF(&all); err != nil {
		t.Fatal(err)
	}
	var kept []string
	dropping := false
	for line := range strings.Lines(all.String()) {
		switch {
		case strings.HasPrefix(line, "# requesting:"):
			line = strings.ReplaceAll(line, " "+name+" ", " ")
			line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), " "+name) + "\n"
		case strings.HasPrefix(line, " "):
			if dropping {
				continue
			}
		default:
			if dropping = strings.HasPrefix(line, name+":"); dropping {
				continue
			}
		}
		kept = append(kept, line)
	}
	b := forest.NewBuilder(forest.Info{Started: start})
	if err := forest.ReadLDIF(strings.NewReader(strings.Join(kept, "")), b); err != nil {
		t.Fatal(err)
	}
	out, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func answerOf(s *forest.Snapshot, g *reach.Graph, from forest.ID, goals []forest.ID) string {
	switch who := g.WhoCan(goals); {
	case who.Has(from):
		return "certain"
	case who.MayHave(from):
		return "possible"
	}
	return "none"
}

// What was not read of a certificate template or its authority is no reason to
// believe that nobody can enroll in another's name.
func TestUnreadCertificates(t *testing.T) {
	approved := pki(map[string]string{"%T": clientAuth + named2 + `msPKI-Enrollment-Flag: ["2"], msPKI-RA-Signature: ["0"]`})
	signed := pki(map[string]string{"%T": clientAuth + named2 + `msPKI-Enrollment-Flag: ["0"], msPKI-RA-Signature: ["1"]`})
	server := pki(map[string]string{"%T": serverAuth + named2 + free})
	byName := pki(map[string]string{"%T": clientAuth + byUPN + free})
	for _, c := range []struct{ text, attr, want string }{
		{byName, "description", "none"},
		{approved, "msPKI-Enrollment-Flag", "possible"},
		{signed, "msPKI-RA-Signature", "possible"},
		{server, "pKIExtendedKeyUsage", "possible"},
		{server, "msPKI-Certificate-Application-Policy", "possible"},
		{server, "msPKI-Template-Schema-Version", "possible"},
		{byName, "msPKI-Certificate-Name-Flag", "possible"},
		{byName, "msPKI-Certificate-Policy", "possible"},
		{pki(map[string]string{"%N": "Other"}), "certificateTemplates", "possible"},
		{pki(map[string]string{"%C": "MIIC"}), "cACertificate", "possible"},
		{pki(map[string]string{"%S": ""}), "cACertificate", "none"},
	} {
		s := offline(t, c.text)
		g := graphOf(s)
		if got := answerOf(s, g, named(t, s, "eve"), g.Resolve(reach.TierZero())); got != "none" {
			t.Errorf("%s: read, the answer is %s", c.attr, got)
		}
		s = takeAway(t, s, c.attr)
		g = graphOf(s)
		if got := answerOf(s, g, named(t, s, "eve"), g.Resolve(reach.TierZero())); got != c.want {
			t.Errorf("%s not read: %s, want %s", c.attr, got, c.want)
		}
	}
}

// Where it is not known whether inheritance is blocked, policies from further out
// may apply; enforced ones do.
func TestUnreadOptions(t *testing.T) {
	const links = `
policies: [{name: P, permissions: [allow eve write-permissions]}]
links: [{on: Servers, policies: [{policy: P, enforced: %E}]}]`
	for enforced, want := range map[string]string{"false": "possible", "true": "certain"} {
		s := takeAway(t, offline(t, policyForest+replace(links, "%E", enforced)), "gPOptions")
		g := graphOf(s)
		if got := answerOf(s, g, named(t, s, "eve"), []forest.ID{named(t, s, "SRV2")}); got != want {
			t.Errorf("enforced %s: %s, want %s", enforced, got, want)
		}
		if got := answerOf(s, g, named(t, s, "ann"), []forest.ID{named(t, s, "SRV2")}); got != "none" {
			t.Errorf("enforced %s: ann %s", enforced, got)
		}
	}
}

// Of whom it is not known whether he must never be revealed, it is possible; and a
// trust whose attributes were not read may let everything through.
func TestUnreadTrusts(t *testing.T) {
	s := takeAway(t, offline(t, trustForest), "msDS-NeverRevealGroup")
	g := graphOf(s)
	if got := answerOf(s, g, named(t, s, "RODC1"), []forest.ID{named(t, s, "ann")}); got != "possible" {
		t.Errorf("ann's secrets: %s", got)
	}
	quarantined := offline(t, `
objects:
  - name: partner.test
    in: CN=System
    classes: [top, leaf, trustedDomain]
    attributes: {securityIdentifier: ["base64:AQQAAAAAAAUVAAAACQAAAAgAAAAHAAAA"], trustPartner: [partner.test], flatName: [PARTNER], trustType: ["2"], trustDirection: ["2"], trustAttributes: ["4"]}
`)
	for attr, want := range map[string]string{"description": "none", "trustAttributes": "possible", "trustDirection": "possible"} {
		if got := foreignReach(takeAway(t, quarantined, attr), "S-1-5-21-9-8-7"); got != want {
			t.Errorf("%s not read: %s, want %s", attr, got, want)
		}
	}
}

// A file whose descriptor makes no sense may be anybody's: its policy is named.
func TestMalformedFileDescriptor(t *testing.T) {
	const policy = "CN={11111111-2222-4333-8444-555555555555},CN=Policies,CN=System,DC=a"
	own, err := secdesc.ParseSDDL("O:BAD:P(A;;RPCRLCLORC;;;WD)", contoso, contoso)
	if err != nil {
		t.Fatal(err)
	}
	build := func(sd []byte) ([]string, string) {
		w := newWorld(t)
		w.b.Collected(forest.Attrs()...)
		w.add("OU=x,DC=a", "top organizationalUnit", secdesc.SID{}, "gPLink=[LDAP://"+policy+";0]")
		w.add("CN=Policies,CN=System,DC=a", "top container", secdesc.SID{})
		w.add(policy, "top container groupPolicyContainer", secdesc.SID{}, `gPCFileSysPath=\\a\SysVol\a\Policies\{11111111-2222-4333-8444-555555555555}`, "flags=0", "versionNumber=1", "gPCFunctionalityVersion=2", "gPCMachineExtensionNames=[{827D319E-6EAC-11D2-A4EA-00C04F79F83A}{803E14A0-B4FB-11D0-A0D0-00A0C90F574B}]", "nTSecurityDescriptor="+string(own.Bytes()))
		w.add("CN=pc,OU=x,DC=a", computerClasses, contoso.Child(1101), "userAccountControl=4096")
		w.b.AddFile(forest.File{Domain: "a", Path: "Policies/{11111111-2222-4333-8444-555555555555}/GPT.INI", Data: []byte("[General]\r\nVersion=1\r\n"), State: forest.Known, SD: sd})
		s, _ := w.build()
		var unread []string
		for _, id := range graphOf(s).WhoCan([]forest.ID{s.Lookup("CN=pc,OU=x,DC=a")}).Unread() {
			unread = append(unread, s.Name(id))
		}
		return unread, s.Name(s.Lookup(policy))
	}
	d, err := secdesc.ParseSDDL("O:BAD:P(A;;FA;;;BA)", contoso, contoso)
	if err != nil {
		t.Fatal(err)
	}
	fine, name := build(d.Bytes())
	bad, _ := build(d.Bytes()[:30])
	count := func(list []string) (n int) {
		for _, x := range list {
			if x == name {
				n++
			}
		}
		return n
	}
	if count(fine) != 0 || count(bad) != 1 {
		t.Errorf("unread with a malformed descriptor: %q, with a fine one: %q", bad, fine)
	}
}

// What is not known of an object on which control depends is named, whether the
// attribute was not asked for at all or could not be read of one.
func TestBlanks(t *testing.T) {
	for attr, classes := range reach.DecidedBy() {
		for _, class := range classes {
			for _, c := range []struct{ asked, read bool }{{false, true}, {true, false}, {true, true}} {
				w := newWorld(t)
				attrs := forest.Attrs()
				if !c.asked {
					attrs = slices.DeleteFunc(attrs, func(a forest.Attr) bool { return a == attr })
				}
				w.b.Collected(attrs...)
				if !c.asked && slices.Contains([]forest.Attr{forest.Member, forest.PrimaryGroupID, forest.GroupType, forest.InstanceType}, attr) {
					continue // every world has them
				}
				w.add("CN=one,DC=a", "top "+class, contoso.Child(1101))
				if !c.read {
					w.b.MarkUnreadable(attr, "hidden")
				}
				s, _ := w.build()
				found := slices.ContainsFunc(reach.Blanks(s), func(b reach.Blank) bool {
					return b.Attr == attr && b.Class == class && b.Objects > 0 && b.Why != ""
				})
				if found == (c.asked && c.read) {
					t.Errorf("%s of a %s (asked %v, read %v): named %v", attr, class, c.asked, c.read, found)
				}
			}
		}
	}
}

// notDeciding are attributes that package reach reads for names, and of the schema
// and its rights, which forest.Schema tells of.
var notDeciding = []string{"DisplayName", "SAMAccountName", "LDAPDisplayName", "AppliesTo", "RightsGUID", "PossSuperiors", "SystemMayContain", "SystemOnly"}

// Every attribute that the code of package reach names is one whose absence is
// told.
func TestBlanksAreComplete(t *testing.T) {
	decided := map[string]bool{}
	for a := range reach.DecidedBy() {
		decided[strings.ToLower(strings.NewReplacer("-", "").Replace(a.String()))] = true
	}
	attrs := map[string]bool{}
	for _, a := range forest.Attrs() {
		attrs[strings.ToLower(strings.NewReplacer("-", "").Replace(a.String()))] = true
	}
	used := map[string]bool{}
	for _, file := range sources(t) {
		ast.Inspect(file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "forest" {
					used[sel.Sel.Name] = true
				}
			}
			return true
		})
	}
	n := 0
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if !attrs[strings.ToLower(name)] || slices.Contains(notDeciding, name) {
			continue
		}
		if n++; !decided[strings.ToLower(name)] {
			t.Errorf("forest.%s is read, and its absence not told", name)
		}
	}
	if n < 30 {
		t.Errorf("only %d attributes found", n)
	}
}
