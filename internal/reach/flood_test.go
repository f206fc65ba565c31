package reach_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
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

// In wild forests what a principal gains forwards is what it can gain, object by
// object, backwards, surely and possibly; of accounts the reference says the same.
// LEASTWISE_FORESTS and LEASTWISE_SEED as for TestReachOfWildForests.
func TestGainsOfWildForests(t *testing.T) {
	count, seed := number("LEASTWISE_FORESTS", 80), number("LEASTWISE_SEED", 1)
	gained, not, unlisted := 0, 0, 0
	for i := range count {
		f := newWildForest(uint64(seed + i))
		p := comparePairs(f.build(t))
		if p.diff.Len() > 0 {
			f = shrink(t, f, func(s *forest.Snapshot) string { return comparePairs(s).diff.String() })
			t.Fatalf("seed %d: %s\n%s", seed+i, &comparePairs(f.build(t)).diff, f)
		}
		gained, not, unlisted = gained+p.gained, not+p.not, unlisted+p.unlisted
	}
	t.Logf("%d pairs gained, %d not; %d of groups not listed", gained, not, unlisted)
	if gained < 200*count || not < 200*count || unlisted > gained/100 {
		t.Error("the forests prove too little")
	}
}

// pairs are what principals gain of objects.
type pairs struct {
	gained, not int
	unlisted    int             // gained by members of a group, which the other search does not list
	diff        strings.Builder // where the searches, or one of them and the reference, differ
}

func comparePairs(s *forest.Snapshot) *pairs {
	p := &pairs{}
	g := graphOf(s)
	for _, possible := range []bool{false, true} {
		ref := newPairReference(s, possible)
		gains := map[forest.ID][]forest.ID{}
		for a := range forest.ID(s.Len()) {
			if s.IsA(a, "user") || s.IsA(a, "group") {
				gains[a] = g.Gains(a, possible)
			}
		}
		for o := range forest.ID(s.Len()) {
			who := g.WhoCan([]forest.ID{o})
			for a := range forest.ID(s.Len()) {
				if gains[a] == nil {
					continue
				}
				_, forwards := slices.BinarySearch(gains[a], o)
				backwards := who.Has(a) || possible && who.MayHave(a)
				want, known := ref.gains(a, o)
				if forwards && !backwards && s.IsA(a, "group") {
					p.unlisted++ // only by several rights, through accounts that it leads to
					continue
				}
				if forwards != backwards || known && want != forwards {
					fmt.Fprintf(&p.diff, "%s gains %s (possible %v): forwards %v, backwards %v, the reference %v (if it knows: %v)\n",
						s.DN(a), s.DN(o), possible, forwards, backwards, want, known)
				}
				if forwards {
					p.gained++
				} else {
					p.not++
				}
			}
		}
	}
	return p
}

// A pairReference asks the reference about single objects: as many at a time as an
// answer has bits.
type pairReference struct {
	s    *forest.Snapshot
	refs []*reference
	past map[secdesc.SID]bool // SIDs of somebody's history
}

const pairsAtOnce = 50

func newPairReference(s *forest.Snapshot, possible bool) *pairReference {
	p := &pairReference{s: s, past: map[secdesc.SID]bool{}}
	var goals [][]forest.ID
	for o := range forest.ID(s.Len()) {
		goals = append(goals, []forest.ID{o})
		for _, sid := range refHistory(s, o) {
			p.past[sid] = true
		}
	}
	for some := range slices.Chunk(goals, pairsAtOnce) {
		p.refs = append(p.refs, newReference(s, possible, some...))
	}
	return p
}

// gains asks whether account a gains o. The reference does not know of distribution
// groups and of what stands for foreign principals; and to it a SID in a history is
// a membership, while the searches follow what it gives.
func (p *pairReference) gains(a, o forest.ID) (gained, known bool) {
	ref := p.refs[o/pairsAtOnce]
	switch {
	case !ref.logons[a], p.s.IsA(o, "foreignSecurityPrincipal"):
		return false, false
	case p.s.IsA(o, "group") && (!ref.groups[o] || p.past[p.s.SID(o)]):
		return false, false
	}
	return ref.reaches(a)&(1<<(o%pairsAtOnce)) != 0, true
}
