package reach

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// How says what makes one principal hold another.
type How string

// Ways of holding a membership.
const (
	ByMember           How = "member"                     // the group's member attribute
	ByPrimaryGroup     How = "primaryGroupID"             // the account's own attribute
	ByForeignPrincipal How = "foreign security principal" // an object that stands for the same SID
	ByIdentity         How = "well-known identity"        // every token of this kind has it
)

// A Step is one link of the chain that proves a membership.
type Step struct {
	From    forest.ID
	To      forest.ID
	How     How
	SID     secdesc.SID // ByIdentity: the identity that To stands for
	Expires time.Time   // time-bound link: when it ends; else the zero time
}

// Members returns the accounts that effectively are members of group, in ID
// order: users, computers and service accounts through any nesting, and foreign
// principals that the snapshot cannot resolve to an account. Accounts that are
// members only through a well-known identity (all users are Authenticated Users)
// are represented by that identity's foreign principal.
func (x *Index) Members(group forest.ID) []forest.ID {
	return x.descend(group, func(forest.ID, forest.ID) bool { return true })
}

// Standing returns those of Members that stay when all time-bound links end.
func (x *Index) Standing(group forest.ID) []forest.ID {
	return x.descend(group, func(group, member forest.ID) bool {
		_, bound := x.s.LinkExpires(group, forest.Member, member)
		return !bound
	})
}

// descend collects the accounts below group over the links that follow allows.
func (x *Index) descend(group forest.ID, follow func(group, member forest.ID) bool) []forest.ID {
	if x.group[group] <= distribution {
		return nil
	}
	seen := newIDSet(x.s.Len())
	seen.add(group)
	queue := []forest.ID{group}
	var out []forest.ID
	visit := func(m forest.ID) {
		if !seen.add(m) {
			return
		}
		switch {
		case x.group[m] > distribution:
			queue = append(queue, m)
		case x.isForeign(m):
			if local := x.standsFor(m); local != forest.None {
				if x.group[local] > distribution {
					queue = append(queue, local)
				} else {
					out = append(out, local)
				}
				return
			}
			out = append(out, m)
		case x.group[m] == notGroup:
			out = append(out, m)
		}
	}
	for i := 0; i < len(queue); i++ {
		g := queue[i]
		direct, _ := x.s.Links(g, forest.Member)
		for _, m := range direct {
			if follow(g, m) {
				visit(m)
			}
		}
		if p, ok := x.pupilOf[g]; ok {
			for _, m := range x.pupils[p] {
				visit(m)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// An idSet is a set of objects: a few in a list, more as bits, in pages that are made
// when they are first needed.
type idSet struct {
	objects int
	few     []forest.ID
	pages   []*idPage // nil: few has them all
}

const (
	fewIDs   = 12
	pageBits = 1024
)

type idPage [pageBits / 64]uint64

func newIDSet(objects int) *idSet { return &idSet{objects: objects} }

// add adds id and reports whether it was not there before.
func (s *idSet) add(id forest.ID) bool {
	if s.pages == nil {
		if slices.Contains(s.few, id) {
			return false
		}
		if len(s.few) < fewIDs {
			s.few = append(s.few, id)
			return true
		}
		s.pages = make([]*idPage, s.objects/pageBits+1)
		for _, at := range s.few {
			s.add(at)
		}
	}
	p := s.pages[id/pageBits]
	if p == nil {
		p = new(idPage)
		s.pages[id/pageBits] = p
	}
	word, bit := &p[id%pageBits/64], uint64(1)<<(id%64)
	was := *word
	*word |= bit
	return was&bit == 0
}

// has reports whether id is in the set.
func (s *idSet) has(id forest.ID) bool {
	if s.pages == nil {
		return slices.Contains(s.few, id)
	}
	p := s.pages[id/pageBits]
	return p != nil && p[id%pageBits/64]&(1<<(id%64)) != 0
}

// standsFor returns the principal that a foreign security principal stands for,
// or None if that is not part of the snapshot.
func (x *Index) standsFor(fsp forest.ID) forest.ID {
	id := x.s.BySID(x.s.SID(fsp))
	if id == fsp || id == forest.None || x.isForeign(id) {
		return forest.None
	}
	return id
}

// Nested returns the groups that are effectively members of group, in ID order.
// The caller must not change the list.
func (x *Index) Nested(group forest.ID) []forest.ID { return x.below(group) }

// DirectMembers returns the members that group has itself: those of its member
// attribute and the accounts whose primary group it is, in ID order. Members
// outside the snapshot are in Gaps.
func (x *Index) DirectMembers(group forest.ID) []forest.ID {
	links, _ := x.s.Links(group, forest.Member)
	out := slices.Clone(links)
	if p, ok := x.pupilOf[group]; ok {
		out = append(out, x.pupils[p]...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Chain returns a shortest chain that makes member an effective member of group,
// from member upward; of chains of one length, one without time-bound links if
// there is one. It is nil if there is none.
func (x *Index) Chain(member, group forest.ID) []Step {
	if steps := x.chain(member, group, true); steps != nil {
		return steps
	}
	return x.chain(member, group, false)
}

// chain searches breadth first, over standing links only if standing is set.
func (x *Index) chain(member, group forest.ID, standing bool) []Step {
	from := map[forest.ID]Step{}
	queue := []forest.ID{member}
	push := func(st Step) {
		if _, seen := from[st.To]; !seen && st.To != member {
			from[st.To] = st
			queue = append(queue, st.To)
		}
	}
	for _, sid := range x.Implied(member) {
		for _, f := range x.foreign[sid] {
			push(Step{From: member, To: f, How: ByIdentity, SID: sid})
		}
	}
	for i := 0; i < len(queue); i++ {
		if st, ok := from[group]; ok {
			return unwind(from, st, member)
		}
		at := queue[i]
		x.up(at, func(to forest.ID, how How) bool {
			st := Step{From: at, To: to, How: how}
			if t, bound := x.s.LinkExpires(to, forest.Member, at); how == ByMember && bound {
				if standing {
					return true
				}
				st.Expires = t
			}
			push(st)
			return true
		})
	}
	if st, ok := from[group]; ok {
		return unwind(from, st, member)
	}
	return nil
}

// unwind follows the predecessors of the last step back to member.
func unwind(from map[forest.ID]Step, last Step, member forest.ID) []Step {
	steps := []Step{last}
	for last.From != member {
		last = from[last.From]
		steps = append(steps, last)
	}
	slices.Reverse(steps)
	return steps
}

// A Gap is a reason why the members of a group may be more than are known.
type Gap struct {
	Group forest.ID
	DN    string // the member in question, or "" if it is unknown which ones there are
	Why   string
}

// Gaps returns what the snapshot could not tell about the membership of group and
// of the groups nested in it, in ID order.
func (x *Index) Gaps(group forest.ID) []Gap {
	var out []Gap
	if !x.s.Collected(forest.PrimaryGroupID) {
		out = append(out, Gap{Group: group, Why: x.s.Why(group, forest.PrimaryGroupID)})
	}
	for _, g := range append([]forest.ID{group}, x.Nested(group)...) {
		if why := x.unreadKind(g); why != "" {
			out = append(out, Gap{Group: g, Why: why})
		}
		if n := x.veiled[x.domain[g]]; len(n) > 0 && x.group[g] == global {
			out = append(out, Gap{Group: g, Why: fmt.Sprintf("the primary group of %d accounts could not be read (%s: %s)",
				len(n), x.s.DN(n[0]), x.s.Why(n[0], forest.PrimaryGroupID))})
		}
		if _, st := x.s.Links(g, forest.Member); st == forest.Unreadable {
			out = append(out, Gap{Group: g, Why: x.s.Why(g, forest.Member)})
		}
		for _, m := range x.opaque[g] {
			out = append(out, Gap{Group: g, DN: x.s.DN(m), Why: x.unreadKind(m)})
		}
		for _, dn := range x.s.LinksOutside(g, forest.Member) {
			out = append(out, Gap{Group: g, DN: dn, Why: "the member is not part of the snapshot"})
		}
	}
	return out
}

// oddKind reports whether unreadKind may have something to say.
func (x *Index) oddKind(id forest.ID) bool {
	return x.is(id, unreadClass) || x.group[id] <= distribution && x.is(id, hasGroup)
}

// unreadKind says why it is unknown whether and how id passes membership on; "" if
// that is known.
func (x *Index) unreadKind(id forest.ID) string {
	switch {
	case len(x.s.Classes(id)) == 0:
		return "objectClass of " + x.s.DN(id) + " could not be read"
	case x.group[id] > distribution || !x.s.IsA(id, "group"):
		return ""
	case x.s.SID(id).IsZero():
		return "objectSid of " + x.s.DN(id) + " could not be read"
	}
	if _, st := x.s.Int(id, forest.GroupType); st != forest.Known {
		return cmp.Or(x.s.Why(id, forest.GroupType), "groupType of "+x.s.DN(id)+" could not be read")
	}
	return ""
}

// Unsure says why a principal for which Holds is false may hold sid nevertheless:
// the members of its group were not all read, or it may be a group of a domain
// that is not part of the snapshot. It is "" if Holds is certain.
func (x *Index) Unsure(sid secdesc.SID) string {
	groups := x.groups[sid]
	if id := x.s.BySID(sid); id != forest.None && len(groups) == 0 {
		groups = []forest.ID{id} // a group of unread kind, or no group
	}
	for _, g := range groups {
		if !x.s.IsA(g, "group") && len(x.s.Classes(g)) > 0 {
			continue
		}
		if gaps := x.Gaps(g); len(gaps) > 0 {
			return fmt.Sprintf("members of %s: %s", x.s.DN(gaps[0].Group), gaps[0].Why)
		}
	}
	if len(groups) > 0 || !sid.IsDomainRelative() {
		return ""
	}
	unread := ""
	for _, d := range x.s.Domains() {
		switch {
		case d.SID == sid.Domain():
			return ""
		case d.Head == forest.None:
			unread = d.DNS
		}
	}
	if unread == "" {
		return ""
	}
	return fmt.Sprintf("%s may be a group of %s, which is not part of this snapshot", sid, unread)
}
