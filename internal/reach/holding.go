package reach

import (
	"cmp"
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
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
	best := map[uint32]right{}
	for dom := range int16(max(1, len(g.s.Domains()))) {
		g.rightsIn(id, dom, t, best)
	}
	inZone := map[forest.ID]bool{}
	for _, z := range zone {
		inZone[z] = true
	}
	type key struct {
		right
		class string
	}
	sums := map[key]*Holding{}
	for share, one := range best {
		for _, o := range t.objects[share] {
			if o == id {
				continue
			}
			k := key{one, g.s.Class(o)}
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

// A right is what somebody holds of an object: certain ones are better.
type right struct {
	kind Kind
	cond cond
}

// rightsIn adds to best, by share, the rights that id has over whole objects by the
// token that it holds on the domain controllers of a domain.
func (g *Graph) rightsIn(id forest.ID, dom int16, t *trustees, best map[uint32]right) {
	token := g.tokenAt(id, dom)
	may := func(share uint32, one *grant) bool {
		d := g.shared[share].dom
		return (d < 0 || d == dom) && (one.gives == control || one.gives == owning) && !g.stopped(id, denials(one.deny, dom))
	}
	take := func(share uint32, r right) {
		if have, ok := best[share]; !ok || cmp.Or(cmp.Compare(r.cond, have.cond), cmp.Compare(r.kind, have.kind)) < 0 {
			best[share] = r
		}
	}
	for _, sid := range token {
		for _, r := range t.grants[sid] {
			if one := &g.grantsAt(r.share).list[r.index]; may(r.share, one) {
				take(r.share, right{one.kind, one.cond})
			}
		}
	}
	side := func(share uint32, list []grant) (of cond, ok bool) {
		for i := range list {
			one := &list[i]
			_, held := slices.BinarySearchFunc(token, one.who, secdesc.SID.Compare)
			if held && may(share, one) && (!ok || one.cond < of) {
				of, ok = one.cond, true
			}
		}
		return of, ok
	}
	for _, share := range t.paired {
		for _, p := range g.grantsAt(share).pairs {
			left, isLeft := side(share, p.left)
			other, isRight := side(share, p.right)
			if isLeft && isRight {
				take(share, right{p.kind, max(p.cond, left, other)})
			}
		}
	}
}
