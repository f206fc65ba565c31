package apply_test

import (
	"path/filepath"
	"testing"

	"github.com/leastwise/leastwise/internal/apply"
	"github.com/leastwise/leastwise/internal/apply/applytest"
)

func TestFileConforms(t *testing.T) {
	folders := map[*testing.T]string{} // one for each test
	applytest.Conform(t, func(t *testing.T, name string) apply.Journal {
		t.Helper()
		dir, ok := folders[t]
		if !ok {
			dir = t.TempDir()
			folders[t] = dir
		}
		j, err := apply.OpenFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = j.Close() })
		return j
	})
}
