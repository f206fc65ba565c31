package reach

import (
	"cmp"
	"maps"
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// cannotMend says what a lock-out of permissions is.
const cannotMend = "nobody but the operating system, and who may take ownership by privilege, could change its permissions"

// unkept finds the objects that nobody could administer any longer: before, an enabled
// account could change the permissions, by an entry or as owner, all denials counted;
// after, none can. Two kinds of objects may be among them: those whose own permissions
// are others, by the change itself, by what a container hands down or by what
// AdminSDHolder hands on; and those whose permissions stay and name somebody whom the
// changes take an account from, or deny it: by a membership, or because it is disabled.
//
// Objects that share a descriptor are one lock-out, which counts the others.
func unkept(before, after *Graph, b *bend) []LockOut {
	dead := lostCrews(before, after, b)
	leaning := dead.leaning(before)
	fate := map[uint32]LockOut{} // by what objects share with the changes
	for i := range after.shared {
		h := after.shared[i]
		stays := i < len(before.shared)
		if after.sharer[h.first] != uint32(i) || stays && !leaning[uint32(i)] {
			continue // nobody has it any longer, or nothing about it is another
		}
		if was, now := before.keepers(h.first), after.keepers(h.first); was.some && !now.some {
			fate[uint32(i)] = LockOut{Object: h.first, Why: cannotMend, Unsure: now.unsure}
		}
	}
	if len(fate) == 0 {
		return nil
	}
	count := map[uint32]int{}
	for id, i := range after.sharer {
		l, ok := fate[i]
		if !ok {
			continue
		}
		if count[i]++; forest.ID(id) < l.Object {
			l.Object = forest.ID(id)
			fate[i] = l
		}
	}
	var out []LockOut
	for i, l := range fate {
		l.Others = count[i] - 1
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b LockOut) int { return cmp.Compare(a.Object, b.Object) })
	return out
}

// lost is who has other accounts: all SIDs, those of them that others hold, and those
// that had some and have none left.
type lost struct{ all, joined, dead map[secdesc.SID]bool }

// lostCrews finds whom the changes take accounts from, or give some.
func lostCrews(before, after *Graph, b *bend) lost {
	out := lost{all: map[secdesc.SID]bool{}, dead: map[secdesc.SID]bool{}}
	var ids []forest.ID
	for _, p := range b.pairs {
		ids = append(append(ids, before.x.climb(p.group)...), after.x.climb(p.group)...)
	}
	out.noteAll(before, after, ids)
	out.joined, ids = maps.Clone(out.all), nil
	for _, id := range b.flagged {
		ids = append(append(append(ids, id), before.x.GroupsOf(id)...), after.x.GroupsOf(id)...)
		for _, sid := range before.x.Implied(id) {
			out.all[sid] = true
			out.dead[sid] = !slices.ContainsFunc(after.accounts(), func(a forest.ID) bool {
				return after.isEnabled(a) && slices.Contains(after.x.Implied(a), sid)
			})
		}
	}
	out.noteAll(before, after, ids)
	return out
}

// noteAll looks at who is left of objects.
func (l lost) noteAll(before, after *Graph, ids []forest.ID) {
	for _, id := range sortIDs(ids) {
		l.note(before, after, before.s.SID(id))
		for _, sid := range before.x.history(id) {
			l.note(before, after, sid)
		}
	}
}

// note looks at who is left of sid.
func (l lost) note(before, after *Graph, sid secdesc.SID) {
	if sid.IsZero() || l.all[sid] {
		return
	}
	l.all[sid] = true
	for dom := range int16(max(1, len(after.s.Domains()))) {
		one := grant{who: sid}
		if before.crewBy(one, dom).some && !after.crewBy(one, dom).some {
			l.dead[sid] = true
		}
	}
}

// leaning returns the shares of before that name somebody who has other accounts as one
// who may change their permissions, so that who can may be another answer now: somebody
// who lost the last one, or of whom denials may stop those that are left, or who is
// denied it.
func (l lost) leaning(before *Graph) map[uint32]bool {
	out := map[uint32]bool{}
	if len(l.all) == 0 {
		return out
	}
	by := before.keepersBySID()
	for sid := range l.all {
		for _, k := range by[sid] {
			if k.denied && l.joined[sid] || !k.denied && (k.guarded || l.dead[sid]) {
				out[k.share] = true
			}
		}
	}
	return out
}

// A keeper is the right to change the permissions of a share's objects, guarded if it is
// denied to somebody before; or denied itself, to stop others.
type keeper struct {
	share           uint32
	guarded, denied bool
}

// keepersBySID returns whom the descriptors let change them, or own, and whom they deny
// that before it is granted to somebody; it is made when it is first asked for.
func (g *Graph) keepersBySID() map[secdesc.SID][]keeper {
	g.keptOnce.Do(func() {
		out := map[secdesc.SID][]keeper{}
		for i := range g.shared {
			list := g.grantsAt(uint32(i)).list
			for k := range list {
				one := &list[k]
				if one.kind > WriteOwner || neverHeld(one.who) {
					continue
				}
				out[one.who] = append(out[one.who], keeper{share: uint32(i), guarded: len(one.deny) > 0})
				for _, sid := range one.deny {
					out[sid] = append(out[sid], keeper{share: uint32(i), denied: true})
				}
			}
		}
		g.keptBy = out
	})
	return g.keptBy
}
