package reach

import (
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Place is one end of a hop: an object, or an identity or part of an object that
// has no object of its own.
type Place struct {
	ID   forest.ID // None for identities
	SID  secdesc.SID
	Name string // distinguished name, or the name of the identity or part
}

// A Hop is one step of a path, with the evidence of the decision that made it.
type Hop struct {
	From, To Place
	Kind     Kind
	Evidence []Evidence // entries and attributes that make the hop; none for links of From or To
	If       string     // what must hold besides; "" if the hop is certain
	First    []Path     // what must be gained first, by the same attacker
}

// An Evidence is one reason of a hop.
type Evidence struct {
	Over   forest.ID // object whose descriptor or attribute says so; None if it is From or To
	ACE    int       // index in its DACL, -1 if no entry decides
	SDDL   string    // of the entry
	Origin forest.ID // object from which the entry is inherited; None if it is Over's own, or unknown
	Detail string    // attribute, policy or what else says so
}

// A Path leads from a principal to a goal.
type Path []Hop

// Certain reports whether p depends on nothing that the snapshot does not tell.
func (p Path) Certain() bool {
	for _, h := range p {
		if h.If != "" {
			return false
		}
		for _, f := range h.First {
			if !f.Certain() {
				return false
			}
		}
	}
	return true
}

func (q *search) path(v node) Path {
	out := Path{}
	for st := q.get(v); st.kind != goalKind && st.kind != NoKind; st = q.get(v) {
		h := q.hop(v, st)
		if st.kind != Includes {
			out = append(out, q.sol.g.led(v, st, h)...)
		}
		if st.next == noNode || st.last {
			break
		}
		v = st.next
	}
	return out
}

// led puts the memberships before a hop by which the one who takes it holds what
// the deciding entry names: an entry behind denials leads from accounts, which are
// or are not denied, and not from the group. Where something is gained first, another
// account may act, with memberships that it is given.
func (g *Graph) led(v node, st step, h Hop) Path {
	if v >= g.n || st.via == forest.None || st.ace == implicit || len(h.First) > 0 {
		return Path{h}
	}
	d, state := g.s.Descriptor(st.via)
	if state != forest.Known || d.DACL == nil || int(st.ace) >= len(d.DACL.ACEs) {
		return Path{h}
	}
	group := g.s.BySID(d.DACL.ACEs[st.ace].SID)
	if group == forest.None || group == forest.ID(v) || g.x.group[group] == notGroup {
		return Path{h}
	}
	var out Path
	for _, s := range g.x.Chain(forest.ID(v), group) {
		kind := Membership
		if s.How == ByPrimaryGroup {
			kind = PrimaryMembership
		}
		out = append(out, Hop{From: g.place(node(s.From)), To: g.place(node(s.To)), Kind: kind})
	}
	if len(out) > 0 {
		h.From = g.place(node(group))
	}
	return append(out, h)
}

func (q *search) hop(v node, st step) Hop {
	g := q.sol.g
	h := Hop{From: g.place(v), Kind: st.kind, If: conds[st.cond]}
	if st.next != noNode {
		h.To = g.place(st.next)
	}
	first := g.evidence(source{via: st.via, ace: st.ace})
	if st.aux >= 0 {
		d := q.detail[st.aux]
		if d.edge != nil {
			first.Detail = d.edge.text
		}
		for _, m := range d.more {
			h.Evidence = append(h.Evidence, g.evidence(m))
		}
		for _, w := range d.first {
			if p := w.by.path(w.start); len(p) > 0 {
				h.First = append(h.First, p)
			}
		}
	}
	if first.Over != forest.None || first.Detail != "" {
		h.Evidence = slices.Insert(h.Evidence, 0, first)
	}
	if st.via == forest.None || st.ace == implicit || first.Detail != "" {
		return h
	}
	if and, ok := g.grantsOf(st.via).secondOf(st.kind, st.ace); ok {
		if !slices.ContainsFunc(h.Evidence, func(e Evidence) bool { return e.Over == st.via && e.ACE == int(and) }) {
			h.Evidence = slices.Insert(h.Evidence, 1, g.evidence(source{via: st.via, ace: and}))
		}
	}
	return h
}

// place names a node.
func (g *Graph) place(v node) Place {
	w, isVirtual := g.what(v)
	if !isVirtual {
		id := forest.ID(v)
		return Place{ID: id, SID: g.s.SID(id), Name: g.s.DN(id)}
	}
	return Place{ID: w.object, SID: w.sid, Name: g.nameOf(v)}
}

// evidence spells out an entry and where it comes from.
func (g *Graph) evidence(at source) Evidence {
	e := Evidence{Over: at.via, ACE: int(at.ace), Origin: forest.None, Detail: at.text}
	if at.text != "" {
		e.ACE = implicit
		return e
	}
	if at.via == forest.None || at.ace == implicit {
		return e
	}
	d, st := g.s.Descriptor(at.via)
	if st != forest.Known || d.DACL == nil || e.ACE >= len(d.DACL.ACEs) {
		return e
	}
	var domain secdesc.SID
	if in, ok := g.s.DomainOf(at.via); ok {
		domain = in.SID
	}
	e.SDDL = d.DACL.ACEs[e.ACE].SDDL(domain)
	if d.DACL.ACEs[e.ACE].IsInherited() {
		if o, _, ok := g.originOf(at.via, e.ACE); ok {
			e.Origin = o
		}
	}
	return e
}

// originOf finds the object from which an inherited entry comes, and the entry's
// index there.
func (g *Graph) originOf(id forest.ID, index int) (origin forest.ID, entry int, ok bool) {
	var chain []secdesc.Link
	var at []forest.ID
	for o := id; o != forest.None; o = g.s.Parent(o) {
		d, st := g.s.Descriptor(o)
		if st != forest.Known {
			break
		}
		chain = append(chain, secdesc.Link{Descriptor: d, Classes: []secdesc.GUID{g.classes[g.s.ClassIndex(o)].guid}})
		at = append(at, o)
	}
	level, entry, ok := secdesc.Origin(chain, index)
	if !ok {
		return forest.None, 0, false
	}
	return at[level], entry, true
}
