package control

import (
	"flag"
	"os"
	"path/filepath"
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
