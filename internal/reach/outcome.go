package reach

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Standing says whether a principal can gain the goals.
type Standing string

// Standings.
const (
	CannotGain Standing = "no"
	MayGain    Standing = "possible" // if something holds that the snapshot does not tell
	CanGain    Standing = "certain"
)

// A Turn is a principal whose standing changes.
type Turn struct {
	ID            forest.ID   // None for an identity without an object
	SID           secdesc.SID // of an identity
	Before, After Standing
}

// A RightTurn is a right over an object, or a membership in it, that somebody
// named in the changes loses or gains directly.
type RightTurn struct {
	Who    secdesc.SID
	Object forest.ID
	Kind   Kind
	If     string // what must hold besides; "" if nothing
	Lost   bool
}

// A LockOut is an object that nobody could administer any longer: a group without which
// nobody runs a domain and that has no enabled member left, or an object of which no
// enabled account can change the permissions any longer.
type LockOut struct {
	Object forest.ID
	Others int // objects that share its permissions and its fate
	Why    string
	Unsure string // why somebody may be left nevertheless; "" if nobody is
}

// An Outcome is what changes bring about.
type Outcome struct {
	Goals    []forest.ID
	Closed   []Turn // those who could gain the goals, or might have, and now cannot, or only might
	Opened   []Turn // the other way round
	Rights   []RightTurn
	LockOuts []LockOut
	Stamps   []Stamp
	Changed  int  // objects whose permissions are others
	Unread   int  // objects that inherit from these, and whose own permissions were not read
	Quick    bool // Closed and Opened were found without looking through the whole forest
}

// Compare says what changes bring about: after is before with them, made by
// [Graph.With]. It panics if it is not.
func Compare(before, after *Graph, goals []forest.ID) *Outcome {
	if after.changes == nil || after.changes.g != before {
		panic("reach.Compare: the second graph is not a view of the first")
	}
	b := after.changes
	out := &Outcome{Goals: sortIDs(slices.Clone(goals)), Changed: len(b.changed), Unread: b.unread}
	turns, ok := before.retracedTurns(after, out.Goals)
	if !ok {
		turns = wholeTurns(before, after, goals)
	}
	out.Quick = ok
	for _, t := range turns {
		if t.After.rank() < t.Before.rank() {
			out.Closed = append(out.Closed, t)
		} else {
			out.Opened = append(out.Opened, t)
		}
	}
	sortTurns(out.Closed)
	sortTurns(out.Opened)
	out.Rights = rightTurns(before, after, b)
	out.LockOuts = lockOuts(before, after, b)
	out.Stamps = stamps(before, after, b)
	return out
}

// wholeTurns finds those whose standing changes by whole searches.
func wholeTurns(before, after *Graph, goals []forest.ID) []Turn {
	was, now := before.standings(goals), after.standings(goals)
	for t := range was {
		if _, ok := now[t]; !ok {
			now[t] = CannotGain
		}
	}
	var out []Turn
	for who, then := range now {
		if first := cmp.Or(was[who], CannotGain); first != then {
			out = append(out, Turn{ID: who.ID, SID: who.SID, Before: first, After: then})
		}
	}
	return out
}

func (s Standing) rank() int {
	return slices.Index([]Standing{CannotGain, MayGain, CanGain}, s)
}

func sortTurns(list []Turn) {
	slices.SortFunc(list, func(a, b Turn) int { return cmp.Or(cmp.Compare(a.ID, b.ID), a.SID.Compare(b.SID)) })
}

// standings returns those who can or may gain the goals.
func (g *Graph) standings(goals []forest.ID) map[Turn]Standing {
	var r *Reach
	if kept, ok := g.traced(sortIDs(slices.Clone(goals))); ok {
		r = &Reach{g: g, goals: goals, sure: kept[0].q, maybe: func() *search { return kept[1].q }}
	} else {
		r = g.WhoCan(goals)
	}
	out := map[Turn]Standing{}
	for _, id := range r.Possible() {
		out[Turn{ID: id}] = MayGain
	}
	for _, id := range r.Certain() {
		out[Turn{ID: id}] = CanGain
	}
	sure, possible := r.Identities()
	for _, sid := range possible {
		out[Turn{ID: forest.None, SID: sid}] = MayGain
	}
	for _, sid := range sure {
		out[Turn{ID: forest.None, SID: sid}] = CanGain
	}
	maps.DeleteFunc(out, func(t Turn, _ Standing) bool { return neverHeld(t.SID) }) // the operating system itself
	return out
}

// A heldRight is what somebody may do to an object by an entry, or as its owner.
type heldRight struct {
	who  secdesc.SID
	kind Kind
	cond cond
}

// heldRights returns the rights over id: those that count, and, besides, those that
// are needless beside a stronger one.
func (g *Graph) heldRights(id forest.ID) (count, all map[heldRight]bool) {
	count = map[heldRight]bool{}
	for _, one := range g.grantsOf(id).list {
		count[heldRight{one.who, one.kind, one.cond}] = true
	}
	all = maps.Clone(count)
	if d, st := g.s.Descriptor(id); st == forest.Known {
		sub := g.shared[g.sharer[id]].sub
		for _, one := range single(d, sub, g.rules[sub.aspect]) {
			all[heldRight{one.who, one.kind, one.cond}] = true
			if one.kind == FullControl {
				all[heldRight{one.who, WriteDAC, one.cond}] = true
			}
		}
	}
	return count, all
}

// rightTurns compares the rights on the objects that were changed themselves, and
// the groups of the members. A right is not lost that becomes needless beside a
// stronger one.
func rightTurns(before, after *Graph, b *bend) []RightTurn {
	var out []RightTurn
	for _, id := range b.described {
		was, everWas := before.heldRights(id)
		now, everNow := after.heldRights(id)
		for r := range was {
			if !everNow[r] {
				out = append(out, RightTurn{r.who, id, r.kind, conds[r.cond], true})
			}
		}
		for r := range now {
			if !everWas[r] {
				out = append(out, RightTurn{r.who, id, r.kind, conds[r.cond], false})
			}
		}
	}
	for _, p := range b.pairs {
		was, now := before.x.GroupsOf(p.member), after.x.GroupsOf(p.member)
		turn := func(from, to []forest.ID, lost bool) {
			for _, g := range from {
				if _, ok := slices.BinarySearch(to, g); !ok {
					out = append(out, RightTurn{Who: after.s.SID(p.member), Object: g, Kind: Membership, Lost: lost})
				}
			}
		}
		turn(was, now, true)
		turn(now, was, false)
	}
	slices.SortFunc(out, func(a, b RightTurn) int {
		lost := map[bool]int{true: 0, false: 1}
		return cmp.Or(cmp.Compare(lost[a.Lost], lost[b.Lost]), cmp.Compare(a.Object, b.Object), a.Who.Compare(b.Who), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.If, b.If))
	})
	return slices.Compact(out)
}

// A crew is who can act for somebody: how many accounts that are enabled, and why
// there may be more.
type crew struct {
	some   bool
	unsure string
}

// lockOuts finds what nobody could administer any longer: a domain, or an object; see
// unkept.
func lockOuts(before, after *Graph, b *bend) []LockOut {
	var out []LockOut
	note := func(id forest.ID, why string, was, now crew) {
		if was.some && !now.some {
			out = append(out, LockOut{Object: id, Why: why, Unsure: now.unsure})
		}
	}
	for i, d := range after.s.Domains() {
		groups := []forest.ID{after.s.BySID(d.SID.Child(secdesc.RIDDomainAdmins))}
		for _, id := range after.x.groups[secdesc.Administrators] {
			if after.x.domain[id] == int16(i) {
				groups = append(groups, id)
			}
		}
		for _, id := range groups {
			if id != forest.None {
				note(id, "no enabled account is a member any longer", before.crewOf(id), after.crewOf(id))
			}
		}
	}
	return append(out, unkept(before, after, b)...)
}

// crewOf returns who can act as id: itself, or the members of a group.
func (g *Graph) crewOf(id forest.ID) crew {
	if g.x.group[id] == notGroup {
		return g.crewAmong([]forest.ID{id})
	}
	c := g.crewAmong(g.x.Members(id))
	if gaps := g.x.Gaps(id); !c.some && len(gaps) > 0 {
		c.unsure = cmp.Or(c.unsure, gaps[0].Why)
	}
	return c
}

func (g *Graph) crewAmong(accounts []forest.ID) crew {
	var c crew
	for _, id := range accounts {
		uac, st := g.s.Int(id, forest.UserAccountControl)
		switch {
		case !g.x.isAccount(id):
			c.unsure = fmt.Sprintf("%s may stand for an account", g.s.DN(id))
		case st != forest.Known:
			c.unsure = fmt.Sprintf("it is not known whether %s is enabled", g.s.DN(id))
		case uac&uacDisabled == 0:
			return crew{some: true}
		}
	}
	return c
}

// hasEnabledMember reports whether an account that is enabled is a member of group by
// itself: that spares listing all that are by other groups.
func (g *Graph) hasEnabledMember(group forest.ID) bool {
	if g.x.group[group] <= distribution {
		return false
	}
	links, _ := g.s.Links(group, forest.Member)
	if slices.ContainsFunc(links, g.isEnabled) {
		return true
	}
	p, ok := g.x.pupilOf[group]
	return ok && slices.ContainsFunc(g.x.pupils[p], g.isEnabled)
}

// isEnabled reports whether id is an account that is surely enabled.
func (g *Graph) isEnabled(id forest.ID) bool {
	uac, st := g.s.Int(id, forest.UserAccountControl)
	return st == forest.Known && uac&uacDisabled == 0 && g.x.isAccount(id)
}

// keepers returns who can change the permissions of id: by an entry, or as owner.
func (g *Graph) keepers(id forest.ID) crew {
	d, st := g.s.Descriptor(id)
	if st != forest.Known {
		return crew{unsure: "its permissions were not read"}
	}
	h := g.shared[g.sharer[id]]
	list := compile(d, h.sub, []rule{{kind: WriteDAC, mask: secdesc.WriteDAC}}, g.isTrustedOwner).list
	var out crew
	for _, one := range list {
		if one.gives != h.sub.owned || neverHeld(one.who) {
			continue
		}
		c := g.crewBy(one, h.dom)
		if c.some && one.cond == certain {
			return c
		}
		if c.some {
			c.unsure = "it depends on whether " + conds[one.cond]
		}
		out.unsure = cmp.Or(out.unsure, c.unsure)
	}
	return out
}

// crewBy returns who can use a grant.
func (g *Graph) crewBy(one grant, dom int16) crew {
	var out crew
	deny := denials(one.deny, dom)
	g.holders(one.who, dom, func(v node) {
		var c crew
		switch w, virtual := g.what(v); {
		case virtual && isIdentity(w.sid):
			var all held
			all.everyone(g, w.sid)
			c = g.crewAmong(g.passing(all.accounts, deny))
		case virtual:
			c.unsure = fmt.Sprintf("%s may be somebody", g.nameOf(v))
		case g.x.group[v] == notGroup:
			c = g.crewAmong(g.passing([]forest.ID{forest.ID(v)}, deny))
		case len(deny) == 0 && g.hasEnabledMember(forest.ID(v)):
			c.some = true
		default:
			c = g.crewAmong(g.passing(g.x.Members(forest.ID(v)), deny))
		}
		out.some = out.some || c.some
		out.unsure = cmp.Or(out.unsure, c.unsure)
	})
	return out
}
