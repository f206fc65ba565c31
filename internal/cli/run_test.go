package cli_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/cli"
)

// results are command lines that write a result to standard output.
func results(t *testing.T) map[string][]string {
	t.Helper()
	small, err := filepath.Abs(filepath.Join("..", "..", "examples", "small.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	site := filepath.Join(filepath.Dir(small), "configmgr", "site.yaml")
	return map[string][]string{
		"assess":        {"assess", small},
		"assess csv":    {"assess", small, "--output", "csv"},
		"assess html":   {"assess", small, "--output", "html"},
		"assess json":   {"assess", small, "--output", "json"},
		"assess sarif":  {"assess", small, "--output", "sarif"},
		"rights":        {"rights", "WEB1", "--snapshot", small},
		"rights json":   {"rights", "WEB1", "--snapshot", small, "--output", "json"},
		"diff":          {"diff", small, small},
		"diff json":     {"diff", small, small, "--output", "json"},
		"controls list": {"controls", "list"},
		"controls show": {"controls", "show", "F-01-empty"},
		"config show":   {"config", "show", "--output", "json"},
		"slots":         {"configmgr", "slots", "--document", site},
		"slot assess":   {"configmgr", "assess", "--document", site, "--snapshot", small},
		"slot explain":  {"configmgr", "explain", "network-access"},
		"slot rotate":   {"configmgr", "rotate", "--dry-run", "network-access", "--document", site},
		"who-is":        {"configmgr", "who-is", "svc-cmnaa", "--document", site},
		"export-script": {"configmgr", "export-script"},
		"doctor":        {"doctor", "--server", "127.0.0.2", "--user", "a", "--keytab", small},
		"version":       {"version"},
		"help":          {"help", "assess"},
		"completion":    {"completion", "fish"},
	}
}

// TestRun runs every command in this process, side by side, where the race detector
// sees it; and again with an output that takes nothing, which no command may pass
// over.
func TestRun(t *testing.T) {
	t.Parallel()
	for name, args := range results(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			env := cli.Environment{Version: "test", In: strings.NewReader(""), Out: &out, Err: &errs, Now: time.Now}
			want := []int{0}
			if name == "doctor" { // nothing listens there
				want = []int{3}
			}
			if code := cli.Run(t.Context(), args, env); !slices.Contains(want, code) || out.Len() == 0 {
				t.Fatalf("exit code %d, %d bytes of output, errors: %s", code, out.Len(), errs.String())
			}
			if strings.HasPrefix(name, "assess ") || strings.HasSuffix(name, " json") {
				return // the form makes no difference
			}
			errs.Reset()
			env.Out = full{}
			if code := cli.Run(t.Context(), args, env); code != 3 {
				t.Errorf("output that takes nothing: exit code %d", code)
			}
			if want := "leastwise: writing standard output: no room\n"; !strings.Contains(errs.String(), want) {
				t.Errorf("output that takes nothing: %q, want %q", errs.String(), want)
			}
		})
	}
}

// full is a writer without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no room") }

// A result never goes over a file that the command reads, whatever names that file.
func TestResultOverInput(t *testing.T) {
	t.Parallel()
	small, err := filepath.Abs(filepath.Join("..", "..", "examples", "small.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	input := func(text string) string {
		name := filepath.Join(t.TempDir(), "input")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	const none = "controls: []\n"
	for name, run := range map[string]func(file string) (args, environ []string){
		"collect, keytab": func(file string) ([]string, []string) {
			return []string{"collect", "--server", "127.0.0.2", "--user", "a", "--keytab", file, "--out", file}, nil
		},
		"assess, first of several catalogues": func(file string) ([]string, []string) {
			return []string{"assess", small, "--catalogue", file, "--catalogue", input(none), "--out", file}, nil
		},
		"slots, second document": func(file string) ([]string, []string) {
			return []string{"configmgr", "slots", "--document", small, "--document", file, "--out", file}, nil
		},
		"assess, document of Configuration Manager": func(file string) ([]string, []string) {
			return []string{"assess", small, "--configmgr", file, "--out", file}, nil
		},
		"assess, environment": func(file string) ([]string, []string) {
			return []string{"assess", small, "--out", file}, []string{"LEASTWISE_CATALOGUE=" + file}
		},
		"assess, setting of a file": func(file string) ([]string, []string) {
			return []string{"assess", small, "--config", input("catalogue: " + file + "\n"), "--out", file}, nil
		},
		"assess, configuration": func(file string) ([]string, []string) {
			return []string{"assess", small, "--out", file}, []string{"LEASTWISE_CONFIG=" + file}
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := input(none)
			args, environ := run(file)
			var out, errs bytes.Buffer
			code := cli.Run(t.Context(), args, cli.Environment{Version: "test", In: strings.NewReader(""), Out: &out, Err: &errs, Environ: environ, Now: time.Now})
			if code != 2 || !strings.Contains(errs.String(), "is read and would be overwritten") {
				t.Errorf("exit code %d: %s", code, errs.String())
			}
			if text, err := os.ReadFile(file); string(text) != none {
				t.Errorf("the file now holds %.40q, %v", text, err)
			}
		})
	}
}
