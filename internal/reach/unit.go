package reach

import (
	"fmt"
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Unit is one thing that an administrator can take away to close a step: an
// entry where it was set, an owner, a membership, a link.
type Unit struct {
	Kind   Kind
	Object forest.ID // whose descriptor or attribute is changed
	ACE    int       // index of the entry in the DACL of Object; -1 if it is no entry
	SDDL   string    // of the entry
	Member forest.ID // of a membership: who loses it; else None
	Detail string    // attribute or policy
}

// A unitKey tells units apart.
type unitKey struct {
	kind   Kind // of memberships, owners and links
	object forest.ID
	ace    int
	member forest.ID
	detail string
}

// units returns what can be taken away to close the step st that begins at v; none
// if the step is how the directory works.
func (q *search) units(v node, st step) []unitKey {
	g := q.sol.g
	member := forest.None
	if v < g.n {
		member = forest.ID(v)
	}
	switch st.kind {
	case Membership:
		if st.via != forest.None { // through a foreign security principal
			member = st.via
		}
		return []unitKey{{kind: Membership, object: forest.ID(st.next), ace: implicit, member: member}}
	case PrimaryMembership:
		return []unitKey{{kind: PrimaryMembership, object: forest.ID(st.next), ace: implicit, member: member}}
	case Contains, Includes, WellKnownIdentity, DomainOf, ProtectedBy, LinkReaches, RunsDomain, TrustedDomain:
		return nil
	}
	if st.via == forest.None && st.aux < 0 {
		return nil
	}
	var out []unitKey
	if st.via != forest.None && st.ace != implicit {
		out = append(out, q.entryUnit(st.via, st.ace))
	} else if st.kind == Owner || st.kind == NullDACL {
		out = append(out, unitKey{kind: st.kind, object: st.via, ace: implicit, member: forest.None})
	}
	if st.aux >= 0 {
		d := q.detail[st.aux]
		if d.edge != nil {
			out = append(out, unitKey{kind: st.kind, object: st.via, ace: implicit, member: forest.None, detail: d.edge.text})
		}
		for _, m := range d.more {
			switch {
			case m.text != "":
				out = append(out, unitKey{kind: st.kind, object: m.via, ace: implicit, member: forest.None, detail: m.text})
			case m.via != forest.None && m.ace != implicit:
				out = append(out, q.entryUnit(m.via, m.ace))
			}
		}
	}
	return out
}

// entryUnit returns the unit of an entry: that of the place where it was set.
func (q *search) entryUnit(via forest.ID, ace int32) unitKey {
	g := q.sol.g
	key := source{via: via, ace: ace}
	if u, ok := q.origins[key]; ok {
		return u
	}
	u := unitKey{object: via, ace: int(ace), member: forest.None}
	d, _ := g.s.Descriptor(via)
	switch {
	case d == nil || d.DACL == nil:
	case d.DACL.ACEs[ace].IsInherited():
		if o, at, ok := g.originOf(via, int(ace)); ok {
			u.object, u.ace = o, at
		}
	default:
		if at, ok := g.stamped(via, d.DACL.ACEs[ace]); ok {
			u.object, u.ace = g.stamp[via], at
		}
	}
	if q.origins == nil {
		q.origins = map[source]unitKey{}
	}
	q.origins[key] = u
	return u
}

// stamped finds the entry of AdminSDHolder that an entry of a protected object is
// the copy of: taken away from the object alone it comes back within the hour.
func (g *Graph) stamped(id forest.ID, a secdesc.ACE) (index int, ok bool) {
	holder, ok := g.stamp[id]
	if !ok {
		return 0, false
	}
	d, _ := g.s.Descriptor(holder)
	if d == nil || d.DACL == nil {
		return 0, false
	}
	index = slices.IndexFunc(d.DACL.ACEs, a.Equal)
	return index, index >= 0
}

// unit spells out a key.
func (g *Graph) unit(k unitKey, kind Kind) Unit {
	u := Unit{Kind: kind, Object: k.object, ACE: k.ace, Member: k.member, Detail: k.detail}
	if k.ace >= 0 {
		u.SDDL = g.evidence(source{via: k.object, ace: int32(k.ace)}).SDDL
	}
	return u
}

// String names the unit by IDs, for tests and messages.
func (u Unit) String() string {
	return fmt.Sprintf("%s of object %d, entry %d, member %d %s", u.Kind, u.Object, u.ACE, u.Member, u.Detail)
}
