package cli_test

import (
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/leastwise/leastwise/internal/plan"
)

// TestMain builds what the scripts run, once, and puts it first in PATH.
func TestMain(m *testing.M) {
	code, err := withProgram(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func withProgram(run func() int) (int, error) {
	dir, err := os.MkdirTemp("", "leastwise-cli")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if err := build(filepath.Join(dir, "leastwise"), "./testdata/program"); err != nil {
		return 0, err
	}
	if err := os.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH")); err != nil {
		return 0, err
	}
	return run(), nil
}

// build makes a program of a folder.
func build(name, folder string) error {
	if out, err := exec.Command("go", "build", "-o", name, folder).CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", folder, err, out)
	}
	return nil
}

// TestScript runs the scripts that need no directory.
func TestScript(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                filepath.Join("testdata", "script"),
		Setup:              setup,
		Cmds:               commands(),
		Condition:          condition,
		RequireUniqueNames: true,
	})
}

// condition knows [root].
func condition(cond string) (bool, error) {
	if cond == "root" {
		return os.Geteuid() == 0, nil
	}
	return false, fmt.Errorf("unknown condition %q", cond)
}

// setup gives scripts the path of the project's examples and an environment
// without a credential cache of whoever runs the tests.
func setup(e *testscript.Env) error {
	examples, err := filepath.Abs(filepath.Join("..", "..", "examples"))
	if err != nil {
		return err
	}
	e.Setenv("EXAMPLES", examples)
	e.Setenv("KRB5CCNAME", filepath.Join(e.WorkDir, "no-ccache"))
	return nil
}

type scriptCommand = func(ts *testscript.TestScript, neg bool, args []string)

// commands are what scripts know beside testscript's own.
func commands() map[string]scriptCommand {
	return map[string]scriptCommand{
		"exits":  cmdExits,
		"folder": cmdFolder,
		"patch":  cmdPatch,
		"cut":    cmdCut,
		"sql":    cmdSQL,
		"digest": cmdDigest,
	}
}

// cmdExits runs a program that must end with an exit code: exits CODE PROGRAM ARG…
// No output may hold a secret (see secrets).
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG…")
	}
	got := exitCode(ts, ts.Exec(args[1], args[2:]...))
	guard(ts, "standard output", ts.ReadFile("stdout"))
	guard(ts, "standard error", ts.ReadFile("stderr"))
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

func exitCode(ts *testscript.TestScript, err error) int {
	var e *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.ExitCode()
	}
	ts.Fatalf("%v", err)
	return -1
}

// secretsKey is the key of the passwords that no output may show, a []string.
type secretsKey struct{}

func guard(ts *testscript.TestScript, where, text string) {
	secrets, _ := ts.Value(secretsKey{}).([]string)
	for _, s := range append(secrets, "Wr0ng-Passw0rd") {
		if strings.Contains(text, s) {
			ts.Fatalf("%s shows a password", where)
		}
	}
}

// cmdFolder compares the names in a folder, hidden ones too: folder DIR NAME…
func cmdFolder(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: folder DIR NAME…")
	}
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	got := make([]string, 0, len(entries))
	for _, e := range entries {
		got = append(got, e.Name())
	}
	want := slices.Sorted(slices.Values(args[1:]))
	if !slices.Equal(got, want) {
		ts.Fatalf("%s holds %q, want %q", args[0], got, want)
	}
}

// cmdPatch overwrites bytes of a file: patch FILE OFFSET HEX
func cmdPatch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: patch FILE OFFSET HEX")
	}
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	with, err := hex.DecodeString(args[2])
	ts.Check(err)
	data := []byte(ts.ReadFile(args[0]))
	if at < 0 {
		at += len(data)
	}
	if at < 0 || at+len(with) > len(data) {
		ts.Fatalf("%s has %d bytes", args[0], len(data))
	}
	copy(data[at:], with)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o600))
}

// cmdDigest puts the digest of a plan file into DIGEST: digest FILE
func cmdDigest(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: digest FILE")
	}
	p, err := plan.Parse([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	ts.Setenv("DIGEST", p.Digest())
}

// cmdSQL changes an SQLite database behind the program's back: sql FILE STATEMENT
func cmdSQL(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sql FILE STATEMENT")
	}
	db, err := sql.Open("sqlite", ts.MkAbs(args[0])) // the driver comes with package store
	ts.Check(err)
	defer db.Close()
	result, err := db.Exec(args[1])
	ts.Check(err)
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		ts.Fatalf("%s changed nothing (%v)", args[1], err)
	}
}

// cmdCut keeps the first part of a file: cut FILE PERCENT
func cmdCut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cut FILE PERCENT")
	}
	percent, err := strconv.Atoi(args[1])
	ts.Check(err)
	data := []byte(ts.ReadFile(args[0]))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data[:len(data)*percent/100], 0o600))
	fmt.Fprintf(ts.Stdout(), "%d of %d bytes\n", len(data)*percent/100, len(data))
}
