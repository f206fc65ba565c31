package reach

import (
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

var rightAuthenticate = secdesc.MustGUID("68b1d179-0d15-4d4f-ab71-46152e79a7bc")

// otherOrganization is in tokens that come over a trust with selective
// authentication, in place of This Organization ([MS-PAC] 4.1.2.2).
var otherOrganization = secdesc.MustSID("S-1-5-1000")

// selectiveTrusts notes the trusts over which principals may authenticate to those
// computers only that let them (TRUST_ATTRIBUTE_CROSS_ORGANIZATION, [MS-ADTS]
// 6.1.6.7.9), here by the domain that is trusted. Whom a domain controller does not
// let in does nothing to the directory.
func (g *Graph) selectiveTrusts() {
	for _, id := range g.s.With(forest.SecurityIdentifier) {
		attrs, _ := g.s.Int(id, forest.TrustAttributes)
		raw, _ := g.s.Str(id, forest.SecurityIdentifier)
		sid, err := secdesc.SIDFromBytes([]byte(raw))
		if err != nil || attrs&trustSelective == 0 || attrs&trustWithinForest != 0 || g.headOf(id) == forest.None {
			continue
		}
		if g.selective == nil {
			g.selective = map[secdesc.SID]selective{}
			g.nobody = g.gate("nobody")
		}
		gate := g.gate("principals of " + sid.String())
		g.link(edge{from: g.identity(sid), to: gate, kind: TrustedDomain, cond: ifAuthenticates, via: id, text: "trustAttributes: selective authentication"})
		g.selective[sid] = selective{dom: g.x.domain[id], gate: gate}
	}
}

// gate adds the node of those of whom it is not known who they are. A view has those
// of its graph, for trusts do not change.
func (g *Graph) gate(text string) node {
	if g.changes != nil {
		of := g.changes.g
		if text == of.nameOf(of.nobody) {
			return of.nobody
		}
		for _, t := range of.selective {
			if text == of.nameOf(t.gate) {
				return t.gate
			}
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.addVirtual(virtual{object: forest.None, text: text})
}

// A selective trust lets principals in by Allowed-To-Authenticate.
type selective struct {
	dom  int16
	gate node // stands for all of them, of whom it is not known
}

// acting returns the node of a SID without an object where it acts on the directory.
func (g *Graph) acting(sid secdesc.SID) node {
	t, ok := g.selective[sid.Domain()]
	if !ok || !sid.IsDomainRelative() {
		return g.identity(sid)
	}
	switch g.authenticates(sid, t.dom) {
	case secdesc.Granted:
		return g.identity(sid)
	case secdesc.Undecided:
		return t.gate
	}
	return g.nobody
}

// authenticates reports whether a domain controller of a domain lets sid in.
func (g *Graph) authenticates(sid secdesc.SID, dom int16) secdesc.Outcome {
	dcs := g.s.BySID(g.s.Domains()[dom].SID.Child(secdesc.RIDDomainControllers))
	if dcs == forest.None || len(g.x.DirectMembers(dcs)) == 0 {
		return secdesc.Undecided
	}
	out := secdesc.Refused
	for _, dc := range g.x.DirectMembers(dcs) {
		d, st := g.s.Descriptor(dc)
		if st != forest.Known {
			out = secdesc.Undecided
			continue
		}
		request := secdesc.Request{Mask: secdesc.ControlAccess, Types: []secdesc.GUID{rightAuthenticate}}
		switch d.Access(func(s secdesc.SID) bool { return g.foreignHolds(sid, s, dom) }, request).Outcome {
		case secdesc.Granted:
			return secdesc.Granted
		case secdesc.Undecided:
			out = secdesc.Undecided
		}
	}
	return out
}

// foreignHolds reports whether the token of a principal of a trusted domain holds s
// in a domain, as far as that is known there.
func (g *Graph) foreignHolds(sid, s secdesc.SID, dom int16) bool {
	if s == sid || s == secdesc.Everyone || s == secdesc.AuthenticatedUsers || s == secdesc.Network || s == otherOrganization {
		return true
	}
	for _, of := range []secdesc.SID{sid, secdesc.Everyone, secdesc.AuthenticatedUsers, otherOrganization} {
		for _, stand := range g.x.foreign[of] {
			for _, group := range g.x.above(stand) {
				if g.s.SID(group) == s && g.x.counts(group, dom) {
					return true
				}
			}
		}
	}
	return false
}
