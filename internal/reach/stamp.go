package reach

import (
	"cmp"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A StampKind says what AdminSDHolder does about a change within the hour.
type StampKind string

// Kinds of stamps ([MS-ADTS] 3.1.1.6.1.2).
const (
	PutBack  StampKind = "put back"  // the object's own permissions were changed, and become AdminSDHolder's again
	HandedOn StampKind = "handed on" // AdminSDHolder was changed, and the object gets the same; counted already
	Covered  StampKind = "covered"   // the object is protected from now on, and loses its own permissions
)

// A Stamp is an object whose permissions AdminSDHolder replaces after a change.
type Stamp struct {
	Object forest.ID
	Holder forest.ID // AdminSDHolder of its domain
	Kind   StampKind
	Unsure string // why it may not happen; "" if it does
}

// stamps finds what AdminSDHolder does about changes. What it puts back, and what it
// does to who is covered from now on, is not part of the view: other answers count
// these objects with the permissions that they have until then.
func stamps(before, after *Graph, b *bend) []Stamp {
	var out []Stamp
	add := func(id forest.ID, kind StampKind) {
		out = append(out, Stamp{Object: id, Holder: after.stamp[id], Kind: kind, Unsure: after.mayBeExcluded(id)})
	}
	held := map[forest.ID]bool{}
	for _, id := range b.described {
		held[id] = true
	}
	for id, holder := range after.stamp {
		_, was := before.stamp[id]
		differs := after.differs(id, holder)
		switch {
		case held[id] && differs:
			add(id, PutBack)
		case !was && differs:
			add(id, Covered)
		case was && held[holder] && b.changed[id] && !differs:
			add(id, HandedOn)
		}
	}
	slices.SortFunc(out, func(a, b Stamp) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Object, b.Object)) })
	return out
}

// differs reports whether the DACL of id is not AdminSDHolder's, which it becomes; the
// owner stays. False if either was not read.
func (g *Graph) differs(id, holder forest.ID) bool {
	d, st := g.s.Descriptor(id)
	h, sth := g.s.Descriptor(holder)
	return st == forest.Known && sth == forest.Known && !d.DACL.Equal(h.DACL)
}

// excludable are the groups that dSHeuristics takes out of the protection, with their
// bits of dwAdminSDExMask ([MS-ADTS] 3.1.1.6.1.4).
var excludable = map[secdesc.SID]int{
	secdesc.AccountOperators: 1, secdesc.ServerOperators: 2, secdesc.PrintOperators: 4, secdesc.BackupOperators: 8,
}

// mayBeExcluded says that id is covered by a group only that dSHeuristics takes, or may
// take, out of the protection; "" if it is covered anyway.
func (g *Graph) mayBeExcluded(id forest.ID) string {
	mask, known := g.excluded()
	if known && mask == 0 {
		return ""
	}
	for _, group := range append(g.x.GroupsOf(id), id) {
		if _, covered := g.stamp[group]; covered && g.x.group[group] != notGroup {
			if bit := excludable[g.s.SID(group)]; bit == 0 || known && mask&bit == 0 {
				return ""
			}
		}
	}
	if rid, _ := g.s.SID(id).RID(); rid == secdesc.RIDAdministrator || rid == secdesc.RIDKrbtgt {
		return ""
	}
	if !known {
		return "dSHeuristics was not read, which may take the operators' groups out of the protection"
	}
	return "dSHeuristics takes operators' groups out of the protection"
}

// excluded returns dwAdminSDExMask, and whether it is known.
func (g *Graph) excluded() (mask int, known bool) {
	with := g.s.With(forest.DSHeuristics)
	if len(with) == 0 {
		return 0, len(g.s.Flawed(forest.DSHeuristics)) == 0 && g.s.Collected(forest.DSHeuristics)
	}
	v, st := g.s.Str(with[0], forest.DSHeuristics)
	if st == forest.Known && len(v) >= 16 {
		mask = max(0, strings.IndexByte("0123456789abcdef", v[15]|0x20))
	}
	return mask, st == forest.Known
}
