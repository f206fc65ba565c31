package reach

import (
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/secdesc"
)

var rightInstallReplica = secdesc.MustGUID("9923a32a-3607-11d2-b9be-0000f87a36b2")

// installers adds who can make a computer a domain controller of a domain. Whoever
// sets SERVER_TRUST_ACCOUNT needs DS-Install-Replica on the domain, and the right to
// write the computer's userAccountControl, by one token ([MS-ADTS] 3.1.1.5.3.2). Who
// controls a computer, or creates one, can give that right to any token.
func (g *Graph) installers() {
	for _, d := range g.s.Domains() {
		if d.Head == forest.None {
			continue
		}
		head := leg{id: d.Head, dom: g.x.domain[d.Head]}
		head.grants = g.beyond(d.Head, rule{kind: InstallReplica, mask: secdesc.ControlAccess, types: []secdesc.GUID{rightInstallReplica}})
		if len(head.grants) == 0 {
			continue // whoever has the right has the domain
		}
		p := promotion{g: g, head: head, of: g.facetOf(d.Head, promoting), taken: map[secdesc.SID]bool{}}
		p.install(joint{gains: []node{p.of}})
		p.computers(d)
		g.creators(p.head.dom, p.of)
		for _, h := range g.newJoiners(d) {
			p.install(joint{legs: []leg{h}})
		}
	}
}

// A promotion collects the ways to a computer that can become a domain controller.
type promotion struct {
	g     *Graph
	head  leg                  // DS-Install-Replica
	of    node                 // control of such a computer
	taken map[secdesc.SID]bool // who is known to write userAccountControl of one
}

// install adds that DS-Install-Replica gives the domain with what j needs.
func (p *promotion) install(j joint) {
	to := node(p.head.id)
	j.to, j.kind, j.cond, j.legs = to, InstallReplica, ifReplica, append([]leg{p.head}, j.legs...)
	p.g.join(j)
}

// computers adds control of each computer that is no domain controller, and the
// right to write userAccountControl alone.
func (p *promotion) computers(d forest.Domain) {
	g := p.g
	var controllers []forest.ID
	if dcs := g.s.BySID(d.SID.Child(secdesc.RIDDomainControllers)); dcs != forest.None {
		controllers = g.x.DirectMembers(dcs)
	}
	uac := g.s.Schema().Attr("userAccountControl")
	seen := map[uint32]bool{}
	for id := range g.within(p.head.dom, computerAspect) {
		if slices.Contains(controllers, id) {
			continue
		}
		g.link(edge{from: g.facetOf(id, owning), to: p.of, kind: Includes, via: forest.None})
		if uac == nil || seen[g.sharer[id]] {
			continue
		}
		seen[g.sharer[id]] = true
		list := g.beyond(id, rule{kind: WriteAccountControl, mask: secdesc.WriteProperty, types: typesOf(uac)})
		list = slices.DeleteFunc(list, func(one grant) bool {
			known := p.taken[one.who]
			p.taken[one.who] = known || one.cond == certain && len(one.deny) == 0
			return known
		})
		if len(list) > 0 {
			p.install(joint{legs: []leg{{id: id, dom: p.head.dom, grants: list}}})
		}
	}
}

// creators adds that who can create computers in containers of a domain, and so owns
// them, gains to.
func (g *Graph) creators(dom int16, to node) {
	class := g.s.Schema().Class("computer")
	seen := map[uint32]bool{}
	for _, a := range []aspect{containerAspect, domainAspect} {
		for id := range g.within(dom, a) {
			g.link(edge{from: g.wholeOf(id), to: to, kind: Includes, via: forest.None})
			if class == nil || seen[g.sharer[id]] {
				continue
			}
			seen[g.sharer[id]] = true
			g.grantees(id, g.beyond(id, rule{kind: CreateComputer, mask: secdesc.CreateChild, types: []secdesc.GUID{class.GUID}}), to)
		}
	}
}

// within calls yield for the objects of a domain that have an aspect.
func (g *Graph) within(dom int16, a aspect) func(func(forest.ID) bool) {
	return func(yield func(forest.ID) bool) {
		for id := range forest.ID(g.n) {
			if g.x.domain[id] == dom && g.shared[g.sharer[id]].sub.aspect == a && !yield(id) {
				return
			}
		}
	}
}

// beyond returns whom the descriptor of id gives a right, but for those whom it
// gives full control for certain.
func (g *Graph) beyond(id forest.ID, r rule) []grant {
	d, st := g.s.Descriptor(id)
	if st != forest.Known {
		return nil
	}
	r.gives = promoting
	sub := g.shared[g.sharer[id]].sub
	list := compile(d, sub, []rule{r}, g.isTrustedOwner).of(promoting)
	if len(list) == 0 {
		return nil
	}
	whole := g.grantsOf(id).of(sub.owned)
	return slices.DeleteFunc(list, func(one grant) bool {
		return slices.ContainsFunc(whole, func(w grant) bool { return w.who == one.who && w.cond == certain && covers(one.deny, w.deny) })
	})
}

// grantees adds edges from those whom grants of the descriptor of id are for.
func (g *Graph) grantees(id forest.ID, list []grant, to node) {
	dom := g.x.domain[id]
	d, _ := g.s.Descriptor(id)
	for i := range list {
		one := &list[i]
		if len(one.deny) > 0 {
			g.join(joint{to: to, kind: one.kind, legs: []leg{{id: id, dom: dom, grants: list[i : i+1]}}})
			continue
		}
		g.holders(one.who, dom, func(v node) {
			g.link(edge{from: v, to: to, kind: one.kind, cond: one.cond, via: id, text: g.entryText("nTSecurityDescriptor", d, one.ace, dom)})
		})
	}
}

// newJoiners lists those who may create computers by the quota and so may write
// their userAccountControl: each as a leg.
func (g *Graph) newJoiners(d forest.Domain) []leg {
	quota, st := g.s.Int(d.Head, forest.MsDSMachineAccountQuota)
	if quota == 0 && st != forest.Unreadable {
		return nil
	}
	var out []leg
	for _, h := range g.onControllers(d, g.joiners) {
		of := h.cond
		if st == forest.Unreadable {
			of = max(of, ifQuota)
		}
		out = append(out, g.policyLeg(d, h, CreatesComputers, of, "ms-DS-MachineAccountQuota; "))
	}
	return out
}

// policyLeg is what policy on domain controllers of d gives to one SID.
func (g *Graph) policyLeg(d forest.Domain, h hostGrant, kind Kind, of cond, before string) leg {
	one := grant{who: h.sid, kind: kind, cond: of, ace: implicit}
	return leg{id: d.Head, dom: g.x.domain[d.Head], grants: []grant{one}, where: before + h.text}
}

// onControllers lists who holds a right on domain controllers of d, by what holders
// says of each scope of theirs. Logging on over the network is enough for it.
func (g *Graph) onControllers(d forest.Domain, holders func(*gpo.Result) []hostGrant) []hostGrant {
	dcs := g.s.BySID(d.SID.Child(secdesc.RIDDomainControllers))
	if g.gpo == nil || dcs == forest.None {
		return nil
	}
	var out []hostGrant
	seen := map[gpo.ScopeID]bool{}
	for _, dc := range g.x.DirectMembers(dcs) {
		scope, ok := g.gpo.ScopeOf(dc)
		if !ok || seen[scope] {
			continue
		}
		seen[scope] = true
		for _, h := range holders(g.gpo.Result(scope)) {
			if h.cond == ifOnHost {
				h.cond = certain
			}
			if !slices.ContainsFunc(out, func(o hostGrant) bool { return o.sid == h.sid && o.cond <= h.cond }) {
				out = append(out, h)
			}
		}
	}
	return out
}
