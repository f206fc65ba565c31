package gpo

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

var administrators = secdesc.MustSID("S-1-5-32-544")

// groupSet follows the local groups of a host while extensions change them.
type groupSet struct {
	e    *Engine
	h    host
	list []*LocalGroup
}

// groups computes the local groups of a scope. The preferences extension runs
// before the security extension, because extensions run in the order of their
// GUIDs ([MS-GPOL] 3.2.5.1.10), {17D89FEC-…} before {827D319E-…}, so Restricted
// Groups have the last word. That is the outcome of a refresh in which both run:
// while no policy changes, a client may run one without the other, and preferences
// that it applies again put back whom Restricted Groups take out, until the security
// extension runs, by default after 16 hours at the latest.
func (e *Engine) groups(r *Result, h host) []LocalGroup {
	g := &groupSet{e: e, h: h}
	g.defaults()
	for _, x := range r.entries {
		g.preferences(x)
	}
	for _, s := range r.all(membersSection) {
		g.restrict(s)
	}
	for _, s := range r.all(memberOfSection) {
		g.memberOf(r, s)
	}
	g.unread(r)
	out := make([]LocalGroup, 0, len(g.list))
	for _, x := range g.list {
		slices.SortStableFunc(x.Members, func(a, b Member) int {
			return cmp.Compare(strings.ToLower(a.Raw), strings.ToLower(b.Raw))
		})
		out = append(out, *x)
	}
	return out
}

// defaults puts the members there that Windows puts there on joining a domain.
func (g *groupSet) defaults() {
	a := g.group(g.e.names.one("*"+administrators.String(), g.h))
	a.Group.Raw = "Administrators"
	if g.h.dc {
		a.Problems = append(a.Problems, "a domain controller uses the domain's own Administrators group: its members are in the directory")
		return
	}
	admin := Principal{Raw: "Administrator", Kind: HostAccount, ID: forest.None, RID: 500}
	if ren := g.h.renamed[500]; ren.state == Defined {
		admin.Raw = ren.to
	}
	a.Members = append(a.Members, Member{Principal: admin, In: Yes, Default: true})
	if !g.h.domain.SID.IsZero() {
		da := g.e.names.one("*"+g.h.domain.SID.Child(512).String(), g.h)
		if da.ID != forest.None {
			da.Raw = g.h.domain.NetBIOS + `\` + g.e.s.Name(da.ID)
		}
		a.Members = append(a.Members, Member{Principal: da, In: Yes, Default: true})
	}
}

// group finds or adds the group p.
func (g *groupSet) group(p Principal) *LocalGroup {
	for _, x := range g.list {
		if x.Group.same(p) {
			return x
		}
	}
	x := &LocalGroup{Group: p, Exact: No}
	g.list = append(g.list, x)
	return x
}

// edit is one change that an extension makes to a group.
type edit struct {
	source Source
	when   []string // empty: it happens
}

func (d edit) certain() bool { return len(d.when) == 0 }

// put adds p to the group, or removes it.
func (x *LocalGroup) put(p Principal, in bool, d edit) {
	want := No
	if in {
		want = Yes
	}
	for i := range x.Members {
		m := &x.Members[i]
		if !m.same(p) {
			continue
		}
		switch {
		case !in && p.Kind == HostAccount && p.RID == 500 && x.Group.Is(administrators):
			return // Windows refuses
		case d.certain():
			*m = Member{Principal: m.Principal, In: want, Source: d.source}
		case m.In != want:
			m.In, m.Default = Unknown, false
			m.Source, m.Reasons = d.source, dedupe(append(slices.Clone(m.Reasons), d.when...))
		}
		return
	}
	m := Member{Principal: p, In: want, Source: d.source}
	if !d.certain() {
		m.In, m.Reasons = Unknown, slices.Clone(d.when)
	}
	x.Members = append(x.Members, m)
}

// clear removes the members that drop accepts; drop may not know.
func (x *LocalGroup) clear(drop func(Principal) Truth, d edit) {
	for _, m := range slices.Clone(x.Members) {
		switch drop(m.Principal) {
		case Yes:
			x.put(m.Principal, false, d)
		case Unknown:
			x.put(m.Principal, false, edit{d.source, append(slices.Clone(d.when), "whether "+m.Raw+" is a user or a group is known")})
		}
	}
}

// preferences carries out the Groups.xml of a policy.
func (g *groupSet) preferences(x entry) {
	if x.policy == nil || x.policy.data.ignored[groupsFile] != "" {
		return
	}
	for _, it := range x.policy.data.groups {
		if it.Disabled || it.Action == Delete && isBuiltin(it.SID) {
			continue
		}
		d := edit{source: x.source(groupsFile, it.Line), when: slices.Clone(x.when)}
		if it.Filter != "" {
			d.when = append(d.when, fmt.Sprintf("item-level targeting of Groups.xml line %d of policy %s is true (%s)", it.Line, x.policy, it.Filter))
		}
		if it.RunOnce {
			d.when = append(d.when, fmt.Sprintf("Groups.xml line %d of policy %s, which is applied only once, still holds", it.Line, x.policy))
		}
		g.apply(it, d)
	}
}

func isBuiltin(s secdesc.SID) bool { return s.Domain().String() == "S-1-5-32" }

func (g *groupSet) apply(it GroupItem, d edit) {
	group := g.name(it.Name, it.SID)
	x := g.group(group)
	everyone := func(Principal) Truth { return Yes }
	switch {
	case it.Action == Create && isBuiltin(group.SID):
		return // it exists: Create leaves it alone
	case it.Action == Delete:
		x.clear(everyone, d)
		return
	case it.Action == Replace:
		x.clear(everyone, d)
		x.exact(d)
	case it.DeleteAllUsers && it.DeleteAllGroup:
		x.clear(everyone, d)
		x.exact(d)
	case it.DeleteAllUsers:
		x.clear(func(p Principal) Truth { return g.isUser(p) }, d)
	case it.DeleteAllGroup:
		x.clear(func(p Principal) Truth { return not(g.isUser(p)) }, d)
	}
	for _, m := range it.Members {
		md := d
		md.source.Line = m.Line
		x.put(g.name(m.Name, m.SID), !m.Remove, md)
	}
}

// exact notes that the list was emptied before members were added.
func (x *LocalGroup) exact(d edit) {
	if d.certain() {
		x.Exact = Yes
	} else if x.Exact == No {
		x.Exact = Unknown
	}
}

func not(t Truth) Truth {
	switch t {
	case Yes:
		return No
	case No:
		return Yes
	}
	return Unknown
}

// isUser tells users from groups.
func (g *groupSet) isUser(p Principal) Truth {
	switch {
	case p.Kind == HostAccount:
		return Yes
	case p.ID != forest.None && g.e.s.IsA(p.ID, "user"):
		return Yes
	case p.ID != forest.None && g.e.s.IsA(p.ID, "group"), isBuiltin(p.SID), p.Kind == WellKnown:
		return No
	}
	return Unknown
}

// name resolves a name or SID of Groups.xml; the SID counts.
func (g *groupSet) name(name string, sid secdesc.SID) Principal {
	if !sid.IsZero() {
		p := g.e.names.one("*"+sid.String(), g.h)
		if name != "" {
			p.Raw = name
		}
		return p
	}
	p := g.e.names.one(strings.TrimSuffix(name, " (built-in)"), g.h)
	p.Raw = name
	return p
}

// restrict carries out a Members entry of Restricted Groups: the list replaces
// the membership.
func (g *groupSet) restrict(s Setting) {
	x := g.group(g.e.names.one(s.Name, g.h))
	keep := func(list []Principal, p Principal) bool { return slices.ContainsFunc(list, p.same) }
	for _, o := range s.Outcomes {
		if !o.Defined {
			continue
		}
		d := edit{source: o.Source, when: o.When}
		if s.State == Defined {
			d = edit{source: s.Winner}
		} else if len(d.when) == 0 {
			d.when = []string{"the policies above do not apply"}
		}
		if !o.Readable {
			x.Problems = append(x.Problems, s.Reasons...)
			continue
		}
		for _, m := range slices.Clone(x.Members) {
			if !keep(o.Principals, m.Principal) {
				x.put(m.Principal, false, d)
			}
		}
		for _, p := range o.Principals {
			x.put(p, true, d)
		}
		x.exact(d)
		if s.State == Defined {
			break
		}
	}
	if s.State == Undecided {
		g.agree(x, s)
	}
}

// agree restores certainty about members that every possible list contains.
func (g *groupSet) agree(x *LocalGroup, s Setting) {
	for i := range x.Members {
		m := &x.Members[i]
		all := true
		for _, o := range s.Outcomes {
			all = all && o.Readable && o.Defined && slices.ContainsFunc(o.Principals, m.same)
		}
		if all {
			m.In, m.Reasons = Yes, nil
		}
	}
}

// memberOf carries out a Memberof entry of Restricted Groups: the group is added
// to others and their other members stay. Which of Members and Memberof wins
// where both speak of one group is not specified.
func (g *groupSet) memberOf(r *Result, s Setting) {
	p := g.e.names.one(s.Name, g.h)
	for _, o := range s.Outcomes {
		if !o.Defined || !o.Readable {
			continue
		}
		for _, target := range o.Principals {
			d := edit{source: o.Source}
			if s.State != Defined {
				d.when = append(slices.Clone(o.When), s.Reasons...)
			}
			x := g.group(target)
			if x.Exact == Yes && restricted(r, g, target) {
				d.when = append(d.when, "Memberof of "+p.Raw+" outlasts the Members list of "+target.Raw)
			}
			x.put(p, true, d)
		}
		if s.State == Defined {
			break
		}
	}
}

// restricted reports whether a Members list is set for the group.
func restricted(r *Result, g *groupSet, target Principal) bool {
	return slices.ContainsFunc(r.all(membersSection), func(s Setting) bool {
		return s.State == Defined && g.e.names.one(s.Name, g.h).same(target)
	})
}

// unread notes on every group that a policy could not be read.
func (g *groupSet) unread(r *Result) {
	var why []string
	for _, x := range r.entries {
		switch {
		case x.policy == nil:
			why = append(why, x.when...)
		default:
			for _, f := range []policyFile{groupsFile, templateFile} {
				if u := x.policy.data.unread[f]; u != "" {
					why = append(why, u)
				}
			}
		}
	}
	if len(why) == 0 {
		return
	}
	for _, x := range g.list {
		x.Problems = dedupe(append(x.Problems, why...))
		if restricted(r, g, x.Group) {
			continue
		}
		for i := range x.Members {
			m := &x.Members[i]
			m.In, m.Reasons = Unknown, dedupe(append(slices.Clone(m.Reasons), why...))
		}
	}
}
