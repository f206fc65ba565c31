package control

import (
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/forest/fixture"
)

// testNow is the time of all assessments in tests.
var testNow = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// snapshotOf builds the snapshot of a fixture.
func snapshotOf(t testing.TB, text string) *forest.Snapshot {
	t.Helper()
	f, err := fixture.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Snapshot(testNow)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// builtinCatalogue compiles the built-in catalogue.
func builtinCatalogue(t testing.TB) *Catalogue {
	t.Helper()
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func assess(t testing.TB, c *Catalogue, in Input) *Assessment {
	t.Helper()
	in.Now = testNow
	a, err := c.Assess(in)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
