package reach_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/forest/fixture"
	"github.com/leastwise/leastwise/internal/reach"
)

// A question asks of a fixture whether from can gain to, and how.
type question struct {
	from, to string // account names, distinguished names without the domain's, or tier0
	want     string // certain, possible or none
	kinds    string // of the steps, in order; not compared if empty
}

const (
	fixtureHead = "fixture: 1\ndomain: contoso.test\ndefaults: windows\nsettings: {machine-account-quota: 0}\n"
	fixtureBase = "DC=contoso,DC=test"
)

// ask builds the forest of a fixture, whose first lines are added, and asks.
func ask(t *testing.T, text string, questions ...question) {
	t.Helper()
	s := offline(t, text)
	g := graphOf(s)
	for _, q := range questions {
		from := named(t, s, q.from)
		goals := g.Resolve(reach.TierZero())
		if q.to != "tier0" {
			goals = []forest.ID{named(t, s, q.to)}
		}
		r := g.WhoCan(goals)
		got := "none"
		switch {
		case r.Has(from):
			got = "certain"
		case r.MayHave(from):
			got = "possible"
		}
		var kinds []string
		for _, h := range r.Path(from) {
			kinds = append(kinds, h.Kind.String())
		}
		if got != q.want || q.kinds != "" && strings.Join(kinds, " ") != q.kinds {
			t.Errorf("%s to %s: %s by %s; want %s by %s", q.from, q.to, got, strings.Join(kinds, " "), q.want, q.kinds)
		}
		for _, possible := range []bool{false, true} { // the search the other way round agrees
			forwards := slices.ContainsFunc(g.Gains(from, possible), func(id forest.ID) bool { return slices.Contains(goals, id) })
			if backwards := r.Has(from) || possible && r.MayHave(from); forwards != backwards {
				t.Errorf("%s to %s (possible %v): forwards %v, backwards %v", q.from, q.to, possible, forwards, backwards)
			}
		}
	}
}

func offline(t *testing.T, text string) *forest.Snapshot {
	t.Helper()
	if !strings.HasPrefix(text, "fixture:") {
		text = fixtureHead + text
	}
	f, err := fixture.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Snapshot(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// named finds an object by account name or by distinguished name.
func named(t *testing.T, s *forest.Snapshot, name string) forest.ID {
	t.Helper()
	for _, dn := range []string{name, name + "," + fixtureBase} {
		if id := s.Lookup(dn); id != forest.None {
			return id
		}
	}
	for _, sam := range []string{name, name + "$"} {
		if found := s.BySAMAccountName(sam); len(found) == 1 {
			return found[0]
		}
	}
	t.Fatalf("the fixture has no object %q", name)
	return forest.None
}

func replace(text, old, by string) string { return strings.ReplaceAll(text, old, by) }

// contosoGraph reads the demonstration company.
func contosoGraph(t *testing.T) (*forest.Snapshot, *reach.Graph) {
	t.Helper()
	f, err := os.Open("../../examples/contoso.lws")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := forest.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return s, graphOf(s)
}
