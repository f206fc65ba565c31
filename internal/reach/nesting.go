package reach

import (
	"slices"
	"sync/atomic"

	"github.com/leastwise/leastwise/internal/forest"
)

// A memo keeps a list for each group or foreign principal, by its number. What was
// not asked for yet is nil. Two that ask at once may both find the same.
type memo []atomic.Pointer[[]forest.ID]

// without returns a copy that has forgotten the lists of some numbers.
func (m memo) without(numbers []uint32) memo {
	out := make(memo, len(m))
	for i := range m {
		out[i].Store(m[i].Load())
	}
	for _, n := range numbers {
		if n > 0 {
			out[n-1].Store(nil)
		}
	}
	return out
}

// get returns the list of a number, which find finds if nobody has asked before.
func (m memo) get(number uint32, find func() []forest.ID) []forest.ID {
	if number == 0 {
		return nil
	}
	at := &m[number-1]
	have := at.Load()
	if have == nil {
		list := find()
		have = &list
		at.Store(have)
	}
	return *have
}

// known returns the list of a number if somebody has asked for it, else nil.
func (m memo) known(number uint32) []forest.ID {
	if number == 0 {
		return nil
	}
	if have := m[number-1].Load(); have != nil {
		return *have
	}
	return nil
}

// above returns a group or foreign principal and every group above it, in ID order;
// nothing for anything else. The caller must not change the list.
func (x *Index) above(id forest.ID) []forest.ID {
	return x.higher.get(x.number[id], func() []forest.ID { return x.climb(id) })
}

// below returns the groups that are effectively members of a group, in ID order.
func (x *Index) below(group forest.ID) []forest.ID {
	if x.group[group] <= distribution {
		return nil
	}
	var out []forest.ID
	for _, id := range x.inside(group) {
		if id != group && x.group[id] > distribution {
			out = append(out, id)
		}
	}
	return out
}

// inside returns a group or foreign principal and those from which one comes to it, in
// ID order; nothing for anything else. The caller must not change the list.
func (x *Index) inside(id forest.ID) []forest.ID {
	return x.lower.get(x.number[id], func() []forest.ID {
		out := x.dig(id)
		slices.Sort(out)
		return out
	})
}

// climb returns id and everything above it, in ID order. What is known of those above
// is taken over.
func (x *Index) climb(id forest.ID) []forest.ID {
	const few = 32
	out := []forest.ID{id}
	var seen map[forest.ID]bool // of many
	whole := []bool{false}      // by out: it came with all that is above it
	add := func(to forest.ID, known bool) {
		switch {
		case seen == nil && slices.Contains(out, to) || seen[to]:
			return
		case seen == nil && len(out) == few:
			seen = make(map[forest.ID]bool, 2*few)
			for _, at := range out {
				seen[at] = true
			}
		}
		if seen != nil {
			seen[to] = true
		}
		out, whole = append(out, to), append(whole, known)
	}
	for i := 0; i < len(out); i++ {
		if whole[i] {
			continue
		}
		x.up(out[i], func(to forest.ID, _ How) bool {
			known := x.higher.known(x.number[to])
			for _, at := range known {
				add(at, true)
			}
			if known == nil {
				add(to, false)
			}
			return true
		})
	}
	slices.Sort(out)
	return out
}

// dig returns id, a group or foreign principal, and the groups and foreign principals
// from which one comes to it.
func (x *Index) dig(id forest.ID) []forest.ID {
	out, seen := []forest.ID{id}, newIDSet(x.s.Len())
	seen.add(id)
	for i := 0; i < len(out); i++ {
		x.down(out[i], func(m forest.ID) {
			if (x.group[m] > distribution || x.isForeign(m)) && seen.add(m) {
				out = append(out, m)
			}
		})
	}
	return out
}

// down is up the other way: it calls yield for what directly holds a group or foreign
// principal. Of the accounts that a foreign principal stands for it is only the one
// that the snapshot finds by SID.
func (x *Index) down(at forest.ID, yield func(m forest.ID)) {
	if x.group[at] > distribution {
		links, _ := x.s.Links(at, forest.Member)
		for _, m := range links {
			yield(m)
		}
		if p, ok := x.pupilOf[at]; ok {
			for _, m := range x.pupils[p] {
				yield(m)
			}
		}
	}
	if !x.isForeign(at) {
		return
	}
	sid := x.s.SID(at)
	for _, g := range x.groups[sid] {
		if x.s.SID(g) == sid {
			yield(g)
		}
	}
	for _, f := range x.foreign[sid] {
		if f != at {
			yield(f)
		}
	}
	if id := x.s.BySID(sid); id != forest.None && id != at {
		yield(id)
	}
}
