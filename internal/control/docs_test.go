package control

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/controls anew")

const docsFolder = "../../docs/controls"

func TestDocsAreCurrent(t *testing.T) {
	pages := builtinCatalogue(t).Pages()
	for name, want := range pages {
		path := filepath.Join(docsFolder, name)
		if *update {
			if err := os.MkdirAll(docsFolder, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s is not current: run go test ./internal/control -run Docs -update", path)
		}
	}
	files, err := os.ReadDir(docsFolder)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if pages[f.Name()] == "" {
			t.Errorf("%s belongs to no section", f.Name())
		}
	}
}

// yamlBlocks returns the YAML examples of docs/FORMATS.md that begin with key.
func yamlBlocks(t *testing.T, key string) []string {
	t.Helper()
	data, err := os.ReadFile("../../docs/FORMATS.md")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, part := range strings.Split(string(data), "```yaml\n")[1:] {
		if block, _, ok := strings.Cut(part, "```"); ok && strings.HasPrefix(block, key) {
			out = append(out, block)
		}
	}
	if len(out) == 0 {
		t.Fatalf("docs/FORMATS.md has no example that begins with %s", key)
	}
	return out
}

// The examples in the documentation work.
func TestDocumentedExamples(t *testing.T) {
	for _, block := range yamlBlocks(t, "section:") {
		c, err := New(Source{"FORMATS.md", []byte(block)})
		if err != nil {
			t.Fatal(err)
		}
		only := &Catalogue{entries: []*Entry{c.Entry("X-01-admins-are-current")}}
		if a := assess(t, only, Input{Snapshot: changed(t, ""), Options: testOptions()}); a.Summary.Pass != 1 || a.Summary.Fail != 0 {
			t.Errorf("the example gives %+v for the sound forest", a.Summary)
		}
		old := changed(t, "changes: [{object: Domain Admins, add-members: [ordinary]}, {object: ordinary, password-set: 100d}]")
		fs := assess(t, only, Input{Snapshot: old, Options: testOptions()}).Findings
		if len(fs) != 1 || fs[0].Outcome != Fail || fs[0].Detail != "ordinary in Domain Admins should not be as they are." && fs[0].Detail != `CONTOSO\ordinary in Domain Admins should not be as they are.` {
			t.Errorf("the example gives %+v", fs)
		}
	}
	for _, block := range yamlBlocks(t, "exceptions:") {
		if list, err := ParseExceptions("FORMATS.md", []byte(block)); err != nil || len(list) != 1 {
			t.Errorf("the example gives %v, %v", list, err)
		}
	}
}
