package reach

import (
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// PowersUnder returns what the account could do to object if that had the
// descriptor d.
func (a *Account) PowersUnder(object forest.ID, d *secdesc.Descriptor) Powers {
	return a.powers(object, d)
}

// MayUnder is May if object had the descriptor d.
func (a *Account) MayUnder(object forest.ID, d *secdesc.Descriptor, act Action) Answer {
	return a.may(object, d, act)
}

// Components returns how many components questions have come across.
func (g *Graph) Components() int { return len(g.components.list) }

// DecidedBy lists the attributes that control is decided by, with their classes.
func DecidedBy() map[forest.Attr][]string {
	out := map[forest.Attr][]string{}
	for _, d := range decidedBy {
		out[d.attr] = d.classes
	}
	return out
}

// KeepComponent makes g take core, objects that all gain each other, for a component
// that an earlier question has come across.
func (g *Graph) KeepComponent(core []forest.ID) {
	one := &component{head: node(core[0]), core: make([]uint64, (g.n+63)/64)}
	for _, id := range core {
		one.core[id/64] |= 1 << (id % 64)
	}
	g.components.list = append(g.components.list, one)
}

// FacetsNotedOnce reports whether a search over of shares notes every facet of each
// once, however many those become.
func FacetsNotedOnce(of int) bool {
	var s facets
	for i := range uint32(of) {
		for f := range numFacets {
			if !s.add(i, f, of) || s.add(i, f, of) {
				return false
			}
		}
	}
	return true
}

// ForeignRights are the hints about other tools' words for rights.
var ForeignRights = foreignRights

// WholeTurns returns whose standing changes, found by whole searches.
func WholeTurns(before, after *Graph, goals []forest.ID) []Turn {
	out := wholeTurns(before, after, goals)
	sortTurns(out)
	return out
}

// LockOutsByLook are the lock-outs of permissions, found by a look at every object.
func LockOutsByLook(before, after *Graph) []LockOut {
	first := map[uint32]int{} // by what objects share: place in out
	var out []LockOut
	for id, i := range after.sharer {
		was, now := before.keepers(forest.ID(id)), after.keepers(forest.ID(id))
		if !was.some || now.some {
			continue
		}
		if at, ok := first[i]; ok {
			out[at].Others++
			continue
		}
		first[i] = len(out)
		out = append(out, LockOut{Object: forest.ID(id), Why: cannotMend, Unsure: now.unsure})
	}
	return out
}

// LockOuts returns the lock-outs of permissions that [Compare] tells.
func LockOuts(before, after *Graph) []LockOut { return unkept(before, after, after.changes) }
