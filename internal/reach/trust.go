package reach

import (
	"fmt"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Attributes of trusts ([MS-ADTS] 6.1.6.7.9, 6.1.6.7.12).
const (
	trustInbound         = 1 // trustDirection: the partner trusts this domain
	trustOutbound        = 2 // this domain trusts the partner
	trustQuarantined     = 0x4
	trustForest          = 0x8
	trustSelective       = 0x10
	trustWithinForest    = 0x20
	trustTreatAsExternal = 0x40
	trustEnableTGT       = 0x800
)

// trusts adds what trusts let through. Domains of one forest trust each other
// wholly: who holds one holds all, because SID history is not filtered between
// them unless a trust is quarantined.
func (g *Graph) trusts() {
	quarantined := map[string]bool{} // by DNS name of the trusting domain and its partner
	for _, id := range g.s.With(forest.TrustPartner) {
		attrs, _ := g.s.Int(id, forest.TrustAttributes)
		partner, _ := g.s.Str(id, forest.TrustPartner)
		if attrs&trustQuarantined != 0 {
			if d, ok := g.s.DomainOf(id); ok {
				quarantined[strings.ToLower(d.DNS)+" "+strings.ToLower(partner)] = true
			}
		}
		g.foreignTrust(id, attrs)
	}
	domains := g.s.Domains()
	for i := range domains {
		for j := range domains {
			a, b := domains[i], domains[j]
			if i == j || a.Head == forest.None || b.Head == forest.None || quarantined[strings.ToLower(b.DNS)+" "+strings.ToLower(a.DNS)] {
				continue
			}
			g.link(edge{from: node(a.Head), to: node(b.Head), kind: TrustedDomain, via: forest.None, text: "both are domains of one forest"})
		}
	}
}

// foreignTrust adds what a domain outside the forest may gain in the domain that
// trusts it. Filtering keeps the SIDs of the forest out unless a forest trust is
// treated as external; then SIDs of groups above RID 1000 pass.
func (g *Graph) foreignTrust(id forest.ID, attrs int64) {
	direction, st := g.s.Int(id, forest.TrustDirection)
	_, of := g.s.Int(id, forest.TrustAttributes)
	head := g.headOf(id)
	raw, _ := g.s.Str(id, forest.SecurityIdentifier)
	sid, err := secdesc.SIDFromBytes([]byte(raw))
	if head == forest.None || err != nil || attrs&trustWithinForest != 0 {
		return
	}
	from := g.identity(sid)
	if st == forest.Unreadable || of == forest.Unreadable && direction != 0 {
		g.link(edge{from: from, to: node(head), kind: TrustedDomain, cond: ifUnfiltered, via: id, text: "trustDirection or trustAttributes was not read"})
		return
	}
	filtered := attrs&trustQuarantined != 0 || attrs&trustForest != 0 && attrs&trustTreatAsExternal == 0
	if direction&trustOutbound != 0 && !filtered {
		g.link(edge{
			from: from, to: node(head), kind: TrustedDomain, cond: ifSpoofed, via: id,
			text: fmt.Sprintf("trustAttributes 0x%x: SIDs above RID 1000 are not filtered", attrs),
		})
	}
	if direction&trustInbound != 0 && attrs&trustEnableTGT != 0 {
		g.link(edge{
			from: from, to: node(head), kind: TrustedDomain, cond: ifConnects, via: id,
			text: fmt.Sprintf("trustAttributes 0x%x: tickets are delegated across the trust", attrs),
		})
	}
}

// readOnlyControllers adds which secrets read-only domain controllers may hold
// ([MS-DRSR] 4.1.10.5.14, revealed secrets), and who administers them.
func (g *Graph) readOnlyControllers() {
	for _, rodc := range g.s.With(forest.MsDSKrbTgtLink) {
		if !g.x.isAccount(rodc) {
			continue
		}
		g.rodcs = append(g.rodcs, rodc)
		accounts, _ := g.s.Links(rodc, forest.MsDSKrbTgtLink)
		for _, a := range accounts {
			g.link(edge{from: node(rodc), to: node(a), kind: RevealsSecrets, via: rodc, text: "msDS-KrbTgtLink"})
		}
		managers, _ := g.s.Links(rodc, forest.ManagedBy)
		for _, m := range managers {
			g.link(edge{from: node(m), to: node(rodc), kind: ManagesRODC, via: rodc, text: "managedBy"})
		}
		never := g.spread(rodc, forest.MsDSNeverRevealGroup)
		of := certain
		if _, st := g.s.Links(rodc, forest.MsDSNeverRevealGroup); st == forest.Unreadable {
			of = ifNotRefused
		}
		for id := range g.spread(rodc, forest.MsDSRevealOnDemandGroup) {
			if !never[id] {
				g.link(edge{from: node(rodc), to: node(id), kind: RevealsSecrets, cond: of, via: rodc, text: "msDS-RevealOnDemandGroup"})
			}
		}
	}
}

// spread returns the accounts that a link attribute names, directly or as members
// of groups.
func (g *Graph) spread(id forest.ID, a forest.Attr) map[forest.ID]bool {
	out := map[forest.ID]bool{}
	targets, _ := g.s.Links(id, a)
	for _, t := range targets {
		if g.x.isAccount(t) {
			out[t] = true
			continue
		}
		for _, m := range g.x.Members(t) {
			out[m] = true
		}
	}
	return out
}

// newComputers adds who may create computer accounts by ms-DS-MachineAccountQuota
// and SeMachineAccountPrivilege on domain controllers ([MS-ADTS] 3.1.1.5.2.2):
// each is a member of Domain Computers.
func (g *Graph) newComputers() {
	if g.gpo == nil {
		return
	}
	for _, d := range g.s.Domains() {
		if d.Head == forest.None {
			continue
		}
		quota, st := g.s.Int(d.Head, forest.MsDSMachineAccountQuota)
		group := g.s.BySID(d.SID.Child(secdesc.RIDDomainComputers))
		dcs := g.s.BySID(d.SID.Child(secdesc.RIDDomainControllers))
		if quota == 0 && st != forest.Unreadable || group == forest.None || dcs == forest.None {
			continue
		}
		of := certain
		if st == forest.Unreadable {
			of = ifQuota
		}
		g.joinRights(d, group, dcs, of)
	}
}

func (g *Graph) joinRights(d forest.Domain, group, dcs forest.ID, of cond) {
	seen := map[secdesc.SID]bool{}
	for _, dc := range g.x.DirectMembers(dcs) {
		scope, ok := g.gpo.ScopeOf(dc)
		if !ok {
			continue
		}
		for _, h := range g.joiners(g.gpo.Result(scope)) {
			if seen[h.sid] {
				continue
			}
			seen[h.sid] = true
			c := of
			if h.cond == ifFilter || h.cond == ifDefault {
				c = h.cond
			}
			g.holders(h.sid, g.x.domain[d.Head], func(v node) {
				g.link(edge{from: v, to: node(group), kind: CreatesComputers, cond: c, via: d.Head, text: "ms-DS-MachineAccountQuota; " + h.text})
			})
		}
	}
}

// joiners lists who holds the right to join computers on the domain controllers of
// a scope: where no policy says, Windows gives it to all authenticated users.
func (g *Graph) joiners(r *gpo.Result) []hostGrant {
	const right = "SeMachineAccountPrivilege"
	if r.Right(right).State == gpo.NotDefined {
		return []hostGrant{{sid: secdesc.AuthenticatedUsers, cond: ifDefault, text: right + " by default"}}
	}
	return g.rightHolders(r, right)
}
