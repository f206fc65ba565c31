package configmgr

import (
	"os"
	"path/filepath"
	"testing"
)

const docsFolder = "../../docs/configmgr"

func TestDocsAreCurrent(t *testing.T) {
	pages := mustLoad(t).Pages()
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
			t.Errorf("%s is not current: run go test ./internal/configmgr -run TestDocsAreCurrent -update", path)
		}
	}
	files, err := os.ReadDir(docsFolder)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if pages[f.Name()] == "" && f.Name() != "corrections.md" && f.Name() != "language.md" { // the latter is that of judge
			t.Errorf("%s is not made from the catalogue", f.Name())
		}
	}
}
