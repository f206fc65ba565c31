// Package internal_test holds the architecture test: the one place where the
// import rules of this module are written down, and the test that enforces them.
package internal_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/leastwise/leastwise/internal/"

// packages lists every package under internal/, lowest first, with the siblings
// that it may import. A sibling must stand above the package that uses it, so
// the table reads top to bottom and cycles cannot be written. A package missing
// here fails the test: adding one is a reviewed decision.
var packages = []struct {
	name string
	uses []string
	pure bool     // nothing from impure below, and of third-party modules only libs
	libs []string // third-party modules that a pure package may use, by path prefix
}{
	// Engines: values in, values out.
	{name: "secdesc", pure: true},
	{name: "forest", uses: []string{"secdesc"}, pure: true, libs: []string{"github.com/klauspost/compress", "golang.org/x/text"}},
	{name: "forest/fixture", uses: []string{"secdesc", "forest"}, pure: true, libs: []string{"github.com/goccy/go-yaml", "github.com/klauspost/compress", "golang.org/x/text"}},
	{name: "forest/forestgen", uses: []string{"secdesc", "forest"}, pure: true},
	{name: "gpo", uses: []string{"secdesc", "forest"}, pure: true, libs: []string{"gopkg.in/ini.v1", "golang.org/x/text"}},
	{name: "reach", uses: []string{"secdesc", "forest", "gpo"}, pure: true, libs: []string{"github.com/bits-and-blooms/bitset", "github.com/RoaringBitmap/roaring"}},
	{name: "control", uses: []string{"secdesc", "forest", "gpo", "reach"}, pure: true, libs: []string{"cel.dev/cel-go", "github.com/goccy/go-yaml", "google.golang.org/protobuf"}},
	{name: "configmgr", uses: []string{"secdesc", "forest"}, pure: true, libs: []string{"github.com/goccy/go-yaml", "golang.org/x/text"}},
	{name: "configmgr/judge", uses: []string{"secdesc", "forest", "gpo", "reach", "configmgr"}, pure: true, libs: []string{"cel.dev/cel-go", "google.golang.org/protobuf"}},
	{name: "plan", uses: []string{"secdesc", "forest", "reach"}, pure: true},
	{name: "delegation", uses: []string{"secdesc", "forest", "reach", "plan"}, pure: true},
	{name: "bloodhound", uses: []string{"secdesc", "forest", "forest/fixture", "gpo", "reach"}, pure: true},

	// Operations: rules with state; told the time, given their storage.
	{name: "audit", uses: []string{"secdesc"}, pure: true, libs: []string{"golang.org/x/mod/sumdb"}},
	{name: "audit/audittest", uses: []string{"audit"}},
	{name: "grant", uses: []string{"secdesc", "control"}, pure: true, libs: []string{"github.com/goccy/go-yaml"}},
	{name: "grant/granttest", uses: []string{"secdesc", "grant"}},
	{name: "operator", uses: []string{"secdesc", "audit"}, pure: true, libs: []string{"github.com/cedar-policy/cedar-go", "github.com/go-webauthn/webauthn", "github.com/pquerna/otp", "github.com/tink-crypto/tink-go/v2"}},
	{name: "operator/operatortest", uses: []string{"secdesc", "audit", "audit/audittest", "operator"}},

	// Programs for developers.
	{name: "forest/fixture/gen", uses: []string{"secdesc", "forest", "forest/fixture"}},

	// The outside world.
	{name: "dc", uses: []string{"secdesc"}},
	{name: "collect", uses: []string{"secdesc", "forest", "dc"}},
	{name: "apply", uses: []string{"secdesc", "gpo", "plan", "grant", "dc"}},
	{name: "apply/applytest", uses: []string{"secdesc", "plan", "apply"}},
	{name: "notify", uses: []string{"control", "grant"}},
	{name: "notify/notifytest", uses: []string{"grant", "notify"}},
	{name: "store", uses: []string{"secdesc", "forest", "control", "audit", "grant", "apply", "notify", "operator"}},
	{name: "store/storetest", uses: []string{"store"}},
	{name: "adminservice", uses: []string{"configmgr", "dc"}},
	{name: "heap"},

	// The product.
	{name: "api", uses: []string{"secdesc", "audit", "grant"}},
	{name: "server", uses: []string{"secdesc", "audit", "grant", "operator", "store", "api"}},
	{name: "report", uses: []string{"secdesc", "forest", "gpo", "reach", "control", "configmgr", "configmgr/judge"}},
	{name: "app", uses: []string{"operator", "heap", "secdesc", "forest", "forest/fixture", "gpo", "reach", "control", "configmgr", "configmgr/judge", "bloodhound", "plan", "delegation", "grant", "dc", "collect", "apply", "adminservice", "report", "notify", "audit", "store", "api", "server"}},
	{name: "cli", uses: []string{"secdesc", "forest", "gpo", "reach", "control", "configmgr", "configmgr/judge", "bloodhound", "plan", "delegation", "grant", "dc", "collect", "apply", "adminservice", "report", "app", "operator", "api", "notify", "audit", "store"}},
}

// impure is what a pure package must not import, and why.
var impure = map[string]string{
	"net":          "domain packages take values, not connections",
	"net/http":     "transport belongs to internal/server",
	"database/sql": "persistence belongs to internal/store",
	"log/slog":     "return findings and errors; the caller logs",
	"os":           "take an fs.FS or bytes",
	"os/exec":      "nothing in the domain starts a process",
}

// owners names the packages that may import a dependency, by path prefix.
var owners = map[string][]string{
	"github.com/go-ldap/ldap":        {"dc"},
	"github.com/jcmturner/gokrb5":    {"dc"},
	"github.com/cloudsoda/go-smb2":   {"dc"},
	"github.com/spf13/cobra":         {"cli"},
	"cel.dev/cel-go":                 {"control", "configmgr/judge"},
	"github.com/owenrumney/go-sarif": {"report"},
	"golang.org/x/mod/sumdb":         {"audit", "audit/audittest", "store"},
	"github.com/cedar-policy":        {"operator"},
	"github.com/go-webauthn":         {"operator"},
	"github.com/pquerna/otp":         {"operator"},
	"github.com/tink-crypto":         {"operator"},
	"modernc.org/sqlite":             {"store"},
	"github.com/jackc/pgx":           {"store", "store/storetest"},
	"github.com/uptrace/bun":         {"store"},
	"github.com/pressly/goose":       {"store"},
	"github.com/wneessen/go-mail":    {"notify"},
	"github.com/danielgtaylor/huma":  {"server"},
	"github.com/prometheus":          {"server"},
}

func TestImports(t *testing.T) {
	imports := readImports(t, ".")
	var above []string
	for _, p := range packages {
		got, ok := imports[p.name]
		if !ok {
			t.Errorf("%s is in the table but not in the tree", p.name)
		}
		delete(imports, p.name)
		for _, u := range p.uses {
			if !slices.Contains(above, u) {
				t.Errorf("table: %s uses %s, which does not stand above it", p.name, u)
			}
		}
		above = append(above, p.name)
		for _, imp := range got {
			sibling, isSibling := strings.CutPrefix(imp, module)
			thirdParty := strings.Contains(strings.Split(imp, "/")[0], ".")
			for prefix, only := range owners {
				if strings.HasPrefix(imp, prefix) && !slices.Contains(only, p.name) {
					t.Errorf("%s imports %s, which belongs to %s", p.name, imp, strings.Join(only, ", "))
				}
			}
			switch why := impure[imp]; {
			case isSibling && !slices.Contains(p.uses, sibling):
				t.Errorf("%s imports %s, which the table does not allow", p.name, sibling)
			case p.pure && why != "":
				t.Errorf("%s imports %s: %s", p.name, imp, why)
			case p.pure && thirdParty && !isSibling && !allowed(p.libs, imp):
				t.Errorf("%s imports %s, which is not among its libraries", p.name, imp)
			}
		}
	}
	for name := range imports {
		t.Errorf("%s is not in the table of packages", name)
	}
}

// allowed reports whether imp lies below one of the prefixes.
func allowed(libs []string, imp string) bool {
	return slices.ContainsFunc(libs, func(l string) bool { return imp == l || strings.HasPrefix(imp, l+"/") })
}

// readImports returns the imports of the non-test files of every package under
// root. It reads the files in this process rather than asking the go command,
// because a test's cached result depends on the files the test itself opened.
func readImports(t *testing.T, root string) map[string][]string {
	t.Helper()
	imports := map[string][]string{}
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "testdata":
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		src, err := os.ReadFile(path.Join(root, name))
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir := path.Dir(name)
		if imports[dir] == nil {
			imports[dir] = []string{} // a package that imports nothing still counts
		}
		for _, s := range f.Imports {
			imports[dir] = append(imports[dir], strings.Trim(s.Path.Value, `"`))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return imports
}

// Only package apply writes to directories: nobody else names what makes a dc.Writer,
// not even in a test outside package dc.
func TestOneWriter(t *testing.T) {
	writers := 0
	err := fs.WalkDir(os.DirFS(".."), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || path.Dir(name) == "internal/dc" {
			return err
		}
		src, err := os.ReadFile(path.Join("..", name))
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, src, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok || s.Sel.Name != "Writer" && s.Sel.Name != "OpenWriter" {
				return true
			}
			if p, ok := s.X.(*ast.Ident); ok && p.Name == "dc" {
				writers++
				if path.Dir(name) != "internal/apply" {
					t.Errorf("%s uses dc.%s, which belongs to package apply", name, s.Sel.Name)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if writers == 0 {
		t.Error("nobody uses dc.Writer: the test looks for the wrong thing")
	}
}

// Every package says in exactly one package comment what it does.
func TestPackageComments(t *testing.T) {
	for _, root := range []string{".", "../cmd", "../lab"} {
		comments := map[string]int{}
		err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			f, err := parser.ParseFile(token.NewFileSet(), path.Join(root, name), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				return err
			}
			comments[path.Dir(name)] += 0
			if f.Doc != nil {
				comments[path.Dir(name)]++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for dir, n := range comments {
			if n != 1 {
				t.Errorf("%s/%s has %d package comments, want one", root, dir, n)
			}
		}
	}
}
