package reach

import (
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// enableDelegation is the user right on domain controllers that setting
// msDS-AllowedToDelegateTo, TRUSTED_FOR_DELEGATION and
// TRUSTED_TO_AUTHENTICATE_FOR_DELEGATION takes beside the right to write the
// attribute ([MS-ADTS] 3.1.1.5.3.2).
const enableDelegation = "SeEnableDelegationPrivilege"

// enablers adds who can enable an account of his own for delegation to domain
// controllers: with the user right, which Windows gives to Administrators only
// where no policy sets it, and who have the domain already.
func (g *Graph) enablers() {
	for _, d := range g.s.Domains() {
		if d.Head == forest.None || g.gpo == nil {
			continue
		}
		whole := g.grantsOf(d.Head).of(control)
		var legs []leg
		for _, h := range g.onControllers(d, func(r *gpo.Result) []hostGrant { return g.rightHolders(r, enableDelegation) }) {
			if !slices.ContainsFunc(whole, func(w grant) bool { return w.who == h.sid && w.cond == certain && len(w.deny) == 0 }) {
				legs = append(legs, g.policyLeg(d, h, EnableDelegation, h.cond, ""))
			}
		}
		if len(legs) == 0 {
			continue
		}
		own := g.facetOf(d.Head, delegating)
		g.creators(g.x.domain[d.Head], own)
		for _, l := range legs {
			g.enable(d.Head, joint{cond: certain, gains: []node{own}, legs: []leg{l}})
		}
		for _, a := range []aspect{userAspect, computerAspect, serviceAccountAspect} {
			for id := range g.within(g.x.domain[d.Head], a) {
				g.link(edge{from: g.facetOf(id, owning), to: own, kind: Includes, via: forest.None})
				g.writers(d.Head, id, legs)
			}
		}
	}
}

func (g *Graph) enable(head forest.ID, j joint) {
	j.to, j.kind = node(head), EnableDelegation
	g.join(j)
}

// writers adds those who write one of the attributes of an account that they gain.
// Without protocol transition it takes a ticket of the other.
func (g *Graph) writers(head, id forest.ID, legs []leg) {
	to, flags := g.attributeLeg(id, "msDS-AllowedToDelegateTo"), g.attributeLeg(id, "userAccountControl")
	uac, _ := g.s.Int(id, forest.UserAccountControl)
	names, _ := g.s.Strs(id, forest.ServicePrincipalName)
	for _, l := range legs {
		add := func(of cond, more ...leg) {
			for _, m := range more {
				if len(m.grants) == 0 {
					return
				}
			}
			g.enable(head, joint{cond: of, gains: []node{node(id)}, legs: append(more, l)})
		}
		switch {
		case len(names) == 0:
			add(ifConnects, to)
		case uac&uacTrustedToAuth != 0:
			add(certain, to)
		default:
			add(ifConnects, to)
			add(certain, to, flags)
		}
		add(ifConnects, flags)
	}
}

// attributeLeg lists who may write an attribute of id without controlling it.
func (g *Graph) attributeLeg(id forest.ID, attr string) leg {
	l := leg{id: id, dom: g.x.domain[id]}
	if def := g.s.Schema().Attr(attr); def != nil {
		l.grants = g.beyond(id, rule{kind: EnableDelegation, mask: secdesc.WriteProperty, types: typesOf(def)})
	}
	return l
}
