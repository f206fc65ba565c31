package grant_test

import (
	"flag"
	"os"
	"testing"

	"pgregory.net/rapid"

	"github.com/leastwise/leastwise/internal/grant/granttest"
)

// setFlag sets a flag of rapid unless the command line did.
func setFlag(t *testing.T, name, value string) {
	t.Helper()
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	if set {
		return
	}
	old := flag.Lookup(name).Value.String()
	if err := flag.Set(name, value); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set(name, old) })
}

// Random histories on a simulated directory: it delays, refuses, cuts before and after
// the effect and doubles writes; two nodes believe that they lead, die at any commit or
// write, stand still, and have wrong clocks; the store or its log is away; others change
// the same memberships. The seed is fixed; LEASTWISE_RUNS and -rapid.seed change it.
func TestRandomHistories(t *testing.T) {
	runs := os.Getenv("LEASTWISE_RUNS")
	if runs == "" {
		runs = "120"
	}
	setFlag(t, "rapid.checks", runs)
	setFlag(t, "rapid.seed", "20261122")
	var f granttest.Figures
	rapid.Check(t, func(t *rapid.T) { granttest.Simulate(t, granttest.NewMemory(), &f) })
	t.Logf("%+v", f)
	if f.Active == 0 || f.Ended == 0 || f.Crashes == 0 || f.Faults == 0 || f.Pauses == 0 || f.Removals == 0 {
		t.Errorf("the histories did not do everything: %+v", f)
	}
}
