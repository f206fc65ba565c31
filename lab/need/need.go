// Package need decides what becomes of a test that lacks the real thing which it
// compares with: it is skipped and says so, or it fails, where the environment
// says that nothing may be left out (EnvRequire). Every test that needs a
// directory, or Samba's own programs, asks here, so that a skipped test never
// looks like a passed one in the project's own checks.
//
// It imports nothing of this module: tests of the lowest package use it, too.
package need

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// EnvRequire set to 1 makes whatever is missing a failure.
const EnvRequire = "LEASTWISE_REQUIRE_LAB"

// python is Debian's interpreter: only that one has python3-samba.
const python = "/usr/bin/python3"

// errShort is why a test with a directory is left out of quick runs.
var errShort = errors.New("-short leaves out the tests that take long")

// Missing ends the test, because of why: as skipped, or as failed if EnvRequire
// is 1.
func Missing(t testing.TB, why error) {
	t.Helper()
	if os.Getenv(EnvRequire) == "1" {
		t.Fatalf("%s=1, and %v", EnvRequire, why)
	}
	t.Skipf("SKIPPED, not compared with a directory: %v", why)
}

// Long ends the test under -short.
func Long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		Missing(t, errShort)
	}
}

// Python returns a Python interpreter that has the module of Samba's named so, and
// ends the test if the machine has none.
func Python(t testing.TB, module string) string {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), python, "-c", "import "+module).CombinedOutput(); err != nil {
		Missing(t, fmt.Errorf("%s cannot import %s (Debian: python3-samba): %w\n%s", python, module, err, out))
	}
	return python
}
