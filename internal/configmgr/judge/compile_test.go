package judge

import (
	"testing"

	"github.com/leastwise/leastwise/internal/configmgr"
)

// builtin compiles the built-in catalogue.
func builtin(t testing.TB) *Rules {
	t.Helper()
	c, err := configmgr.Load()
	if err != nil {
		t.Fatal(err)
	}
	r, err := Compile(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestBuiltinCompiles(t *testing.T) {
	r := builtin(t)
	if got, want := len(r.controls), len(r.catalogue.Controls()); got != want || want < 196 {
		t.Errorf("%d rules of %d controls", got, want)
	}
}
