package reach_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/forest/forestgen"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// In hundreds of small forests the accounts that can gain Tier 0 are those that
// the reference finds, surely and possibly. LEASTWISE_FORESTS sets how many
// forests, LEASTWISE_SEED with which seed to begin.
func TestReachOfWildForests(t *testing.T) {
	count, seed := number("LEASTWISE_FORESTS", 100), number("LEASTWISE_SEED", 1)
	var n struct{ accounts, sure, maybe, joint, denied int }
	for i := range count {
		f := newWildForest(uint64(seed + i))
		s := f.build(t)
		if diff := disagreement(s); diff != "" {
			f = shrink(t, f, disagreement)
			t.Fatalf("seed %d: %s\n%s", seed+i, disagreement(f.build(t)), f)
		}
		g := graphOf(s)
		who := g.WhoCan(g.Resolve(reach.TierZero()))
		plain := graphOf(f.undenied().build(t))
		free := plain.WhoCan(plain.Resolve(reach.TierZero()))
		for _, a := range newReference(s, false).accounts {
			n.accounts++
			switch {
			case who.Has(a):
				n.sure++
			case free.Has(a): // the same objects: the same numbers
				n.denied++
			}
			if who.MayHave(a) {
				n.maybe++
				n.joint += joints(checkPath(t, s, who, a))
			}
		}
	}
	t.Logf("%d forests, %d accounts: %d reach Tier 0 for sure, %d at least possibly; denials keep %d away; %d times something has to be gained first",
		count, n.accounts, n.sure, n.maybe, n.denied, n.joint)
	if n.sure < n.accounts/10 || n.sure > n.accounts*9/10 || n.maybe <= n.sure || n.joint < count/50 || n.denied < count/10 {
		t.Error("the forests prove too little")
	}
}

// In a generated forest the accounts that can gain Tier 0, or one
// of some groups, are those that the reference finds. The test asks about some
// accounts; LEASTWISE_WHOLE=1 about all, LEASTWISE_EVERY about one in so many.
// LEASTWISE_OBJECTS sets the size of the forest, LEASTWISE_GROUPS how many groups
// beside Tier 0 are asked about.
func TestReachOfGeneratedForest(t *testing.T) {
	objects, whole := number("LEASTWISE_OBJECTS", 4000), os.Getenv("LEASTWISE_WHOLE") == "1"
	s, _ := forestgen.Control(uint64(number("LEASTWISE_SEED", 1)), objects)
	denials := 0
	for id := range forest.ID(s.Len()) {
		if d, st := s.Descriptor(id); st == forest.Known && d.DACL != nil && slices.ContainsFunc(d.DACL.ACEs, secdesc.ACE.IsDeny) {
			denials++
		}
	}
	g := graphOf(s)
	targets := [][]forest.ID{g.Resolve(reach.TierZero())}
	for k := range number("LEASTWISE_GROUPS", 6) { // and some other objects, which fewer can gain
		id := forest.ID(s.Len() * (2*k + 1) / 12)
		for !s.IsA(id, "group") {
			id = (id + 1) % forest.ID(s.Len())
		}
		targets = append(targets, []forest.ID{id})
	}
	yes, no := 0, 0
	for _, possible := range []bool{false, true} {
		ref := newReference(s, possible, targets...)
		ref.keep = 50
		var who []*reach.Reach
		for _, goals := range targets {
			who = append(who, g.WhoCan(goals))
		}
		for i, a := range ref.accounts {
			if !whole && i%number("LEASTWISE_EVERY", 97) != 0 {
				continue
			}
			all := ref.reaches(a)
			for k, r := range who {
				got, want := r.Has(a) || possible && r.MayHave(a), all&(1<<k) != 0
				if want {
					yes++
				} else {
					no++
				}
				if got != want {
					t.Errorf("goal %d, %s, possible %v: reach says %v, the reference %v", k, s.DN(a), possible, got, want)
					for _, h := range r.Path(a) {
						t.Log("   ", hopText(h))
					}
				}
			}
		}
	}
	t.Logf("%d objects, of which %d deny something: %d times an account can gain a goal, %d times not", s.Len(), denials, yes, no)
	if yes < 20 || no < 20 || denials == 0 {
		t.Error("the forest proves too little")
	}
}

func graphOf(s *forest.Snapshot) *reach.Graph {
	x := reach.New(s)
	return reach.NewGraph(x, gpo.New(s, x))
}

func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// disagreement says in which accounts Graph and reference differ; "" if in none.
func disagreement(s *forest.Snapshot) string {
	var b strings.Builder
	g := graphOf(s)
	goals := g.Resolve(reach.TierZero())
	who := g.WhoCan(goals)
	for _, possible := range []bool{false, true} {
		ref := newReference(s, possible, goals)
		for _, a := range ref.accounts {
			got, want := who.Has(a), ref.reaches(a) != 0
			if possible {
				got = who.MayHave(a)
			}
			if got == want {
				continue
			}
			fmt.Fprintf(&b, "%s, possible %v: reach says %v, the reference %v\n", s.DN(a), possible, got, want)
			for _, h := range who.Path(a) {
				fmt.Fprintf(&b, "      %s\n", hopText(h))
			}
		}
	}
	return b.String()
}

func hopText(h reach.Hop) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s", h.From.Name, h.Kind, h.To.Name)
	for _, e := range h.Evidence {
		fmt.Fprintf(&b, " [%d %s %s]", e.ACE, e.SDDL, e.Detail)
	}
	if h.If != "" {
		b.WriteString(" if " + h.If)
	}
	for _, p := range h.First {
		b.WriteString(" first (")
		for _, x := range p {
			b.WriteString(hopText(x) + "; ")
		}
		b.WriteString(")")
	}
	return b.String()
}

// shrink takes away from f what can go without the difference going.
func shrink(t testing.TB, f *wildForest, difference func(*forest.Snapshot) string) *wildForest {
	for again := true; again; {
		again = false
		for _, c := range f.without() {
			if difference(c.build(t)) != "" {
				f, again = c, true
				break
			}
		}
	}
	return f
}

// checkPath checks that a path leads from a to a goal without gaps, and is certain
// exactly if the answer is.
func checkPath(t *testing.T, s *forest.Snapshot, who *reach.Reach, a forest.ID) reach.Path {
	t.Helper()
	p := who.Path(a)
	if p == nil {
		t.Fatalf("no path from %s", s.DN(a))
	}
	at := a
	for i, h := range p {
		if h.From.ID != at && h.From.ID != forest.None && at != forest.None {
			t.Errorf("hop %d begins at %s and not at %s", i, h.From.Name, s.DN(at))
		}
		at = h.To.ID
	}
	if p.Certain() != who.Has(a) {
		t.Errorf("%s: the path is certain: %v, the answer: %v", s.DN(a), p.Certain(), who.Has(a))
	}
	return p
}

func joints(p reach.Path) int {
	n := 0
	for _, h := range p {
		n += len(h.First)
	}
	return n
}
