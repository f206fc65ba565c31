package reach_test

import (
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
)

// What a principal gains forwards agrees with who gains a goal backwards, over the
// whole demonstration company.
func TestGainsAgreeWithWhoCan(t *testing.T) {
	s, g := contosoGraph(t)
	goals := g.Resolve(reach.TierZero())
	r := g.WhoCan(goals)
	compared := 0
	for id := range forest.ID(s.Len()) {
		if !s.IsA(id, "user") && !s.IsA(id, "group") || s.SID(id).IsZero() || id%7 != 0 && !r.MayHave(id) {
			continue
		}
		compared++
		for _, possible := range []bool{false, true} {
			want := r.Has(id)
			if possible {
				want = r.MayHave(id)
			}
			if got := hasAny(g.Gains(id, possible), goals); got != want {
				t.Errorf("%s (possible %v): forwards %v, backwards %v", s.DN(id), possible, got, want)
			}
		}
	}
	if compared < 300 {
		t.Errorf("only %d principals were compared", compared)
	}
}

func hasAny(got, goals []forest.ID) bool {
	for _, id := range got {
		for _, goal := range goals {
			if id == goal {
				return true
			}
		}
	}
	return false
}

// A member of a group cannot add others to it: where a denial stops the member,
// another account that it controls does not help.
func TestGainsBehindDenial(t *testing.T) {
	ask(t, `
ous: [{name: Staff}]
users:
  - {name: eve, in: Staff}
  - {name: puppet, in: Staff, permissions: [allow eve full-control]}
  - {name: boss, in: Staff, permissions: [deny eve full-control, allow Helpers full-control]}
groups: [{name: Helpers, in: Staff, members: [eve]}]`,
		question{"eve", "puppet", "certain", "full-control"},
		question{"eve", "boss", "none", ""})
	ask(t, `
ous: [{name: Staff}]
users:
  - {name: eve, in: Staff}
  - {name: puppet, in: Staff, permissions: [allow eve full-control]}
  - {name: boss, in: Staff, permissions: [deny eve full-control, allow Helpers full-control]}
groups: [{name: Helpers, in: Staff, members: [eve], permissions: [allow eve manage-members]}]`,
		question{"eve", "boss", "certain", "full-control"})
}

// A partition inherits nothing from the one above it: the way to the configuration
// leads through an account that has rights there.
func TestPartitionsInheritNothing(t *testing.T) {
	ask(t, `
ous: [{name: Staff}]
users: [{name: eve, in: Staff}]
permissions: [{on: domain, lines: [allow eve write-permissions]}]`,
		question{"eve", fixtureBase, "certain", "write-dac"},
		question{"eve", "CN=Configuration", "certain", "write-dac domain member full-control"})
}
