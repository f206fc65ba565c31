package forestgen

import (
	"slices"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

func TestControlIsDeterministic(t *testing.T) {
	a, fa := Control(1, 2000)
	b, _ := Control(1, 2000)
	if !forest.Equal(a, b) {
		t.Error("same seed, different forests")
	}
	if c, fc := Control(2, 2000); forest.Equal(a, c) || fa.Staff != fc.Staff {
		t.Error("different seeds give the same forest, or other names")
	}
}

func TestControlShape(t *testing.T) {
	const n = 20_000
	s, facts := Control(7, n)
	links := 0
	for _, id := range s.With(forest.Member) {
		to, _ := s.Links(id, forest.Member)
		links += len(to)
		if out := s.LinksOutside(id, forest.Member); len(out) > 0 {
			t.Fatalf("%s has members that do not exist: %v", s.DN(id), out)
		}
	}
	if links < n*37/10 || links > n*43/10 {
		t.Errorf("%d memberships of %d objects", links, n)
	}
	if d := s.NumDescriptors(); d < n*65/1000 || d > n*85/1000 {
		t.Errorf("%d distinct descriptors of %d objects", d, n)
	}
	denies, byType, byOwner := 0, 0, 0
	for id := range forest.ID(s.Len()) {
		d, st := s.Descriptor(id)
		if st != forest.Known {
			t.Fatalf("%s: no descriptor: %v", s.DN(id), s.DescriptorError(id))
		}
		if !ordered(d.DACL.ACEs) {
			t.Fatalf("%s: entries out of order: %s", s.DN(id), d.SDDL(secdesc.SID{}))
		}
		switch a := d.DACL.ACEs[0]; {
		case a.IsDeny() && a.IsObject():
			byType++
		case a.IsDeny():
			denies++
		}
		if rid, _ := d.Owner.RID(); rid != 512 {
			byOwner++
		}
	}
	if denies < n/1000 || byType < n/1000 || byOwner < n/1000 {
		t.Errorf("%d entries deny, %d by object type, %d objects have another owner", denies, byType, byOwner)
	}
	staff, _ := s.Links(s.Lookup(facts.Staff), forest.Member)
	if len(staff) < n*39/100 || len(staff) > n*41/100 {
		t.Errorf("%d members of the largest group", len(staff))
	}
	names := slices.Concat([]string{facts.Portal, facts.Contractors}, facts.Replicates, facts.HalfOnly)
	for _, c := range facts.Chains {
		names = append(names, c.From)
	}
	for _, dn := range names {
		if s.Lookup(dn) == forest.None {
			t.Errorf("%s does not exist", dn)
		}
	}
}

// ordered reports whether entries stand as the directory writes them: denials
// before grants, inherited ones last.
func ordered(list []secdesc.ACE) bool {
	rank := func(a secdesc.ACE) int {
		switch {
		case a.IsInherited():
			return 2
		case a.IsDeny():
			return 0
		}
		return 1
	}
	return slices.IsSortedFunc(list, func(a, b secdesc.ACE) int { return rank(a) - rank(b) })
}
