package reach_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/forest/forestgen"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A group of 400,000 members, whose count does not fit into 16 bits, gives each of
// them what it holds, but for those whom an entry denies it.
func TestVastGroup(t *testing.T) {
	const many = 400_000
	w := newWorld(t)
	w.b.Collected(forest.Attrs()...)
	none := "nTSecurityDescriptor=" + string((&secdesc.Descriptor{
		Control: secdesc.SelfRelative | secdesc.DACLPresent | secdesc.DACLProtected, Owner: secdesc.Administrators, DACL: &secdesc.ACL{Revision: secdesc.ACLRevisionDS},
	}).Bytes())
	sd, err := secdesc.ParseSDDL(fmt.Sprintf("O:BAD:P(D;;GA;;;%s)(A;;WD;;;%s)", contoso.Child(500_007), contoso.Child(1100)), contoso, contoso)
	if err != nil {
		t.Fatal(err)
	}
	members := make([][]byte, 0, many)
	for i := range many {
		members = append(members, []byte(fmt.Sprintf("CN=u%d,DC=a", i)))
	}
	vast := forest.Entry{DN: "CN=vast,DC=a", Attrs: []forest.Values{
		{Name: "objectClass", Vals: [][]byte{[]byte("top"), []byte("group")}},
		{Name: "objectSid", Vals: [][]byte{contoso.Child(1100).Bytes()}},
		{Name: "groupType", Vals: [][]byte{[]byte(strconv.Itoa(int(globalGroup)))}},
		{Name: "member", Vals: members},
	}}
	if err := w.b.Add(vast); err != nil {
		t.Fatal(err)
	}
	for i := range many + 1 { // the last one is in no group
		w.add(fmt.Sprintf("CN=u%d,DC=a", i), "top user", contoso.Child(uint32(500_000+i)), none)
	}
	w.add("CN=target,DC=a", "top group", contoso.Child(1101), fmt.Sprintf("groupType=%d", globalGroup), "nTSecurityDescriptor="+string(sd.Bytes()))
	s, _ := w.build()
	who := graphOf(s).WhoCan([]forest.ID{s.Lookup("CN=target,DC=a")})
	yes := 0
	for _, id := range who.Certain() {
		if s.IsA(id, "user") {
			yes++
		}
	}
	if yes != many-1 || who.MayHave(s.Lookup("CN=u7,DC=a")) || who.MayHave(s.Lookup(fmt.Sprintf("CN=u%d,DC=a", many))) {
		t.Errorf("%d accounts reach the target, want %d; the denied one: %v, the one outside: %v",
			yes, many-1, who.MayHave(s.Lookup("CN=u7,DC=a")), who.MayHave(s.Lookup(fmt.Sprintf("CN=u%d,DC=a", many))))
	}
	if p := who.Path(s.Lookup("CN=u399999,DC=a")); len(p) != 2 {
		t.Errorf("a path of %d steps, want 2", len(p))
	}
}

// Ways of 14 to 30 steps are found whole, and none is shorter than it can be.
func TestLongWays(t *testing.T) {
	s, facts := forestgen.Control(1, 2000)
	g := graphOf(s)
	who := g.WhoCan([]forest.ID{s.BySID(s.Domains()[0].SID.Child(secdesc.RIDDomainAdmins))})
	seen := map[int]bool{}
	for _, c := range facts.Chains {
		p := who.Path(s.Lookup(c.From))
		if !who.Has(s.Lookup(c.From)) || len(p) != c.Steps {
			t.Errorf("from %s: certain %v, %d steps, want %d", c.From, who.Has(s.Lookup(c.From)), len(p), c.Steps)
		}
		seen[c.Steps] = true
	}
	if !seen[14] || !seen[16] || !seen[30] {
		t.Errorf("lengths are %v", seen)
	}
	for _, dn := range facts.Replicates {
		if !g.WhoCan([]forest.ID{s.Domains()[0].Head}).Has(s.Lookup(dn)) {
			t.Errorf("%s holds both halves of replication over two groups, and does not reach the domain", dn)
		}
	}
	for _, dn := range facts.HalfOnly {
		if g.WhoCan([]forest.ID{s.Domains()[0].Head}).Has(s.Lookup(dn)) {
			t.Errorf("%s holds one half of replication, and reaches the domain", dn)
		}
	}
}

// Every GUID that the code names is one of the schema of a real directory, or of
// its extended rights: a class, an attribute, a property set or a right.
func TestGUIDsAreOfTheSchema(t *testing.T) {
	s, _ := contosoGraph(t)
	schema := s.Schema()
	n := 0
	for name, file := range sources(t) {
		ast.Inspect(file, func(node ast.Node) bool {
			lit, ok := node.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING || len(lit.Value) != 38 {
				return true
			}
			guid, err := secdesc.ParseGUID(strings.Trim(lit.Value, `"`))
			if err != nil {
				return true
			}
			n++
			if schema.Right(guid) == nil {
				t.Errorf("%s: %s is no right of the schema", name, guid)
			}
			return true
		})
	}
	if n < 7 {
		t.Errorf("only %d GUIDs found", n)
	}
	// Attributes and classes are looked up by name: each name in a rule must be one.
	for _, name := range ruleNames(t) {
		if schema.Attr(name) == nil && schema.Class(name) == nil && !slices.Contains(laterSchema, name) {
			t.Errorf("the rules name %q, which the schema has not", name)
		}
	}
}

// laterSchema are attributes and classes of later versions of Windows, or of
// products, which the schema of the demonstration company lacks.
var laterSchema = []string{
	"ms-Mcs-AdmPwd", "msLAPS-Password", "msLAPS-EncryptedPassword", "msDS-KeyCredentialLink",
	"msDS-DelegatedManagedServiceAccount", "msDS-ManagedAccountPrecededByLink", "msDS-DelegatedMSAState",
}

// ruleNames lists the names that rule.go gives to the schema.
func ruleNames(t *testing.T) []string {
	var out []string
	ast.Inspect(sources(t)["rule.go"], func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if sel, ok := call.Fun.(*ast.SelectorExpr); ok && slices.Contains([]string{"write", "readSecret", "Attr", "Class"}, sel.Sel.Name) {
			for _, a := range call.Args {
				if lit, ok := a.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					out = append(out, strings.Trim(lit.Value, `"`))
				}
			}
		}
		return true
	})
	if len(out) < 15 {
		t.Errorf("only %d names found: %q", len(out), out)
	}
	return out
}

// sources parses the code of package reach, by name of the file.
func sources(t *testing.T) map[string]*ast.File {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*ast.File{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = file
	}
	return out
}
