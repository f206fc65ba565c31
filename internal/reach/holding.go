package reach

import (
	"cmp"
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
)

// A Holding is what one right gives a principal by its own token: how many objects
// of a class, and how many of those are in a zone.
type Holding struct {
	Kind   Kind
	Class  string
	Count  int
	InZone int
	If     string // what must hold besides; "" if the right is certain
}

// Holdings counts the objects that id can take over in one step, by right and class,
// largest first. An object that several rights give counts once, with the strongest.
func (g *Graph) Holdings(id forest.ID, zone []forest.ID) []Holding {
	t := g.byTrustee()
	best := map[uint32]*grant{}
	for _, sid := range g.x.Token(id) {
		for _, r := range t.grants[sid] {
			one := &g.grantsAt(r.share).list[r.index]
			if one.gives != control && one.gives != owning || g.stopped(id, denials(one.deny, g.shared[r.share].dom)) {
				continue
			}
			if have := best[r.share]; have == nil || cmp.Or(cmp.Compare(one.cond, have.cond), cmp.Compare(one.kind, have.kind)) < 0 {
				best[r.share] = one
			}
		}
	}
	inZone := map[forest.ID]bool{}
	for _, z := range zone {
		inZone[z] = true
	}
	type key struct {
		kind  Kind
		class string
		cond  cond
	}
	sums := map[key]*Holding{}
	for share, one := range best {
		for _, o := range t.objects[share] {
			if o == id {
				continue
			}
			k := key{one.kind, g.s.Class(o), one.cond}
			h := sums[k]
			if h == nil {
				h = &Holding{Kind: k.kind, Class: k.class, If: conds[k.cond]}
				sums[k] = h
			}
			h.Count++
			if inZone[o] {
				h.InZone++
			}
		}
	}
	out := make([]Holding, 0, len(sums))
	for _, h := range sums {
		out = append(out, *h)
	}
	slices.SortFunc(out, func(a, b Holding) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Class, b.Class), cmp.Compare(a.If, b.If))
	})
	return out
}
