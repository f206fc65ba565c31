package need_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/lab/need"
)

const childVariable = "LEASTWISE_NEED_TEST_CHILD"

// TestChild is what TestMissing runs in a process of its own.
func TestChild(t *testing.T) {
	if os.Getenv(childVariable) == "" {
		return
	}
	need.Missing(t, errors.New("there is no oracle"))
	t.Log("went on")
}

// Without the directory a test is skipped and says so; where a directory is
// required it fails.
func TestMissing(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for require, want := range map[string]string{"": "--- SKIP: TestChild", "1": "--- FAIL: TestChild"} {
		cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestChild$", "-test.v")
		cmd.Env = append(os.Environ(), childVariable+"=1", need.EnvRequire+"="+require)
		out, err := cmd.CombinedOutput()
		if text := string(out); !strings.Contains(text, want) || !strings.Contains(text, "there is no oracle") || strings.Contains(text, "went on") {
			t.Errorf("%s=%q: want %s, got\n%s", need.EnvRequire, require, want, text)
		}
		if failed := err != nil; failed != (require == "1") {
			t.Errorf("%s=%q: %v", need.EnvRequire, require, err)
		}
	}
}

// mayDecide are the only tests that skip by themselves: for reasons that have
// nothing to do with a directory.
var mayDecide = map[string]string{
	"internal/app/write_test.go":           "symbolic links",
	"internal/report/browser_test.go":      "a browser, which LEASTWISE_REQUIRE_BROWSER requires",
	"internal/forest/format_test.go":       "writes a reference file on request",
	"internal/configmgr/trace_test.go":     "makes hashes of a text that the project does not hold, on request",
	"internal/forest/fixture/fuzz_test.go": "bounds the work of the fuzzer",
	"internal/store/open_test.go":          "permission bits",
}

// Every test that needs a directory asks this package, so that none can be left
// out unseen where a directory is required.
func TestNobodyElseSkips(t *testing.T) {
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules") {
			return fs.SkipDir
		}
		rel, _ := filepath.Rel(root, name)
		if !strings.HasSuffix(name, "_test.go") || mayDecide[filepath.ToSlash(rel)] != "" {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && (s.Sel.Name == "Skip" || s.Sel.Name == "Skipf" || s.Sel.Name == "SkipNow") {
				t.Errorf("%s skips by itself: it must call need.Missing", rel)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
