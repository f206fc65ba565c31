package reach

import (
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Bits of userAccountControl ([MS-ADTS] 2.2.16).
const (
	uacTrustedForDelegation = 0x80000
	uacNotDelegated         = 0x100000
	uacTrustedToAuth        = 0x1000000
)

// structure adds the edges that attributes and the directory's own workings make.
// What the tree and member links say is followed where it stands.
func (g *Graph) structure() {
	g.selectiveTrusts()
	for i, d := range g.s.Domains() {
		if d.Head != forest.None {
			g.domainEdges(int16(i), d)
		}
	}
	g.historyEdges()
	g.delegationEdges()
	g.serviceAccountEdges()
	g.trusts()
	g.readOnlyControllers()
	g.newComputers()
	g.installers()
	g.enablers()
	if len(g.files) == 0 { // a view has them from its graph
		g.readFiles()
	}
	g.certificates()
}

// domainEdges adds what runs a domain, and what AdminSDHolder covers ([MS-ADTS]
// 3.1.1.6.1.2; guide, app. C).
func (g *Graph) domainEdges(n int16, d forest.Domain) {
	head := node(d.Head)
	if dcs := g.s.BySID(d.SID.Child(secdesc.RIDDomainControllers)); dcs != forest.None {
		for _, c := range g.x.DirectMembers(dcs) {
			if g.x.isAccount(c) {
				g.link(edge{from: node(c), to: head, kind: RunsDomain, via: forest.None})
			}
		}
	}
	if k := g.s.BySID(d.SID.Child(secdesc.RIDKrbtgt)); k != forest.None {
		g.link(edge{from: node(k), to: head, kind: RunsDomain, via: forest.None})
	}
	holder := g.s.Lookup("CN=AdminSDHolder,CN=System," + d.DN)
	if holder == forest.None {
		return
	}
	for _, id := range g.protectedOf(n, d) {
		g.stamp[id] = holder
		g.link(edge{from: node(holder), to: node(id), kind: ProtectedBy, via: forest.None})
	}
}

// protectedRIDs are the groups that AdminSDHolder covers in every domain, and the
// root domain's ([MS-ADTS] 3.1.1.6.1.1).
var (
	protectedRIDs    = []uint32{secdesc.RIDDomainAdmins, secdesc.RIDDomainControllers, secdesc.RIDSchemaAdmins, secdesc.RIDEnterpriseAdmins, secdesc.RIDReadOnlyDomainControllers, secdesc.RIDKeyAdmins, secdesc.RIDEnterpriseKeyAdmins}
	protectedAliases = []secdesc.SID{secdesc.Administrators, secdesc.AccountOperators, secdesc.ServerOperators, secdesc.PrintOperators, secdesc.BackupOperators, secdesc.Replicator}
)

// protectedOf returns the groups of a domain that AdminSDHolder covers with what is
// nested in them, and the accounts that it covers by themselves.
func (g *Graph) protectedOf(n int16, d forest.Domain) []forest.ID {
	var out []forest.ID
	cover := func(group forest.ID) {
		rid, _ := g.s.SID(group).RID()
		out = append(out, group)
		if rid == secdesc.RIDDomainControllers || rid == secdesc.RIDReadOnlyDomainControllers {
			return // the group only
		}
		out = append(out, g.x.Nested(group)...)
		out = append(out, g.x.Members(group)...)
	}
	for _, rid := range protectedRIDs {
		if id := g.s.BySID(d.SID.Child(rid)); id != forest.None {
			cover(id)
		}
	}
	for _, sid := range protectedAliases {
		for _, id := range g.x.groups[sid] {
			if g.x.domain[id] == n {
				cover(id)
			}
		}
	}
	for _, rid := range []uint32{secdesc.RIDAdministrator, secdesc.RIDKrbtgt} {
		if id := g.s.BySID(d.SID.Child(rid)); id != forest.None {
			out = append(out, id)
		}
	}
	out = slices.DeleteFunc(out, func(id forest.ID) bool { return g.x.domain[id] != n || g.s.IsA(id, "foreignSecurityPrincipal") })
	return sortIDs(out)
}

// historyEdges adds that a principal holds the SIDs of its SID history. Such a SID
// is no identity: entries that name it count, and so do the domain-local groups
// that whoever has it is a member of, for the resource domain looks those up by
// SID; what its owner holds otherwise, or may do, does not ([MS-PAC] 4.1.2.2).
func (g *Graph) historyEdges() {
	for _, id := range g.s.With(forest.SIDHistory) {
		if g.x.group[id] == distribution {
			continue
		}
		for _, sid := range g.x.history(id) {
			g.addPast(id, sid)
		}
	}
}

func (g *Graph) addPast(id forest.ID, sid secdesc.SID) {
	var local []forest.ID // groups that list the owner of the SID
	if owner := g.s.BySID(sid); owner != forest.None {
		g.x.up(owner, func(to forest.ID, _ How) bool {
			if g.x.group[to] == domainLocal {
				local = append(local, to)
			}
			return true
		})
	}
	if g.x.group[id] == domainLocal { // it is in tokens of its own domain only: see Graph.holders
		for _, to := range local {
			if g.x.domain[to] == g.x.domain[id] && g.s.IsA(g.s.BySID(sid), "foreignSecurityPrincipal") {
				g.link(edge{from: node(id), to: node(to), kind: SIDHistory, via: id, text: "sIDHistory " + sid.String()})
			}
		}
		return
	}
	v, known := g.past[sid]
	if !known {
		v = g.identity(sid)
		g.past[sid] = v
		for _, to := range local {
			g.link(edge{from: v, to: node(to), kind: Membership, via: forest.None})
		}
	}
	g.link(edge{from: node(id), to: v, kind: SIDHistory, via: id, text: "sIDHistory " + sid.String()})
	if len(local) == 0 {
		return
	}
	with := []forest.ID{id}
	if g.x.group[id] != notGroup {
		with = append(append(with, g.x.Nested(id)...), g.x.Members(id)...)
	}
	for _, m := range with {
		g.local[m] = append(g.local[m], local...)
	}
}

// delegationEdges adds what Kerberos delegation gives ([MS-SFU] 3.2.5).
func (g *Graph) delegationEdges() {
	for _, id := range g.s.With(forest.MsDSAllowedToActOnBehalfOfOtherIdentity) {
		d, st := g.s.Desc(id, forest.MsDSAllowedToActOnBehalfOfOtherIdentity)
		if st == forest.Known {
			g.trustees(d, id, ActsFor, secdesc.ControlAccess)
		}
	}
	for _, id := range g.s.With(forest.MsDSAllowedToDelegateTo) {
		uac, _ := g.s.Int(id, forest.UserAccountControl)
		c := ifConnects
		if uac&uacTrustedToAuth != 0 {
			c = certain // protocol transition: no ticket of the other is needed
		}
		services, _ := g.s.Strs(id, forest.MsDSAllowedToDelegateTo)
		for _, spn := range services {
			for _, host := range g.s.BySPN(spn) {
				g.link(edge{from: node(id), to: node(host), kind: Delegates, cond: c, via: id, text: "msDS-AllowedToDelegateTo " + spn})
			}
		}
	}
	if g.changes == nil {
		g.findDelegators()
	}
	for _, id := range g.delegators {
		uac, _ := g.s.Int(id, forest.UserAccountControl)
		head := g.headOf(id)
		if uac&uacTrustedForDelegation == 0 || uac&uacDisabled != 0 || head == forest.None {
			continue
		}
		g.link(edge{from: node(id), to: node(head), kind: DelegatesAny, cond: ifConnects, via: id, text: "TRUSTED_FOR_DELEGATION"})
	}
}

// findDelegators lists the accounts that are trusted for delegation.
func (g *Graph) findDelegators() {
	for _, id := range g.s.With(forest.UserAccountControl) {
		if uac, _ := g.s.Int(id, forest.UserAccountControl); uac&uacTrustedForDelegation != 0 {
			g.delegators = append(g.delegators, id)
		}
	}
}

// serviceAccountEdges adds who runs or reads managed service accounts.
func (g *Graph) serviceAccountEdges() {
	for _, id := range g.s.With(forest.MsDSGroupMSAMembership) {
		d, st := g.s.Desc(id, forest.MsDSGroupMSAMembership)
		if st == forest.Known {
			g.trustees(d, id, ReadsGMSAPassword, secdesc.ReadProperty)
		}
	}
	for _, host := range g.s.With(forest.MsDSHostServiceAccount) {
		accounts, _ := g.s.Links(host, forest.MsDSHostServiceAccount)
		for _, a := range accounts {
			g.link(edge{from: node(host), to: node(a), kind: HostsServiceAccount, via: host, text: "msDS-HostServiceAccount"})
		}
	}
	for _, id := range g.s.With(forest.MsDSManagedAccountPrecededByLink) {
		state, _ := g.s.Int(id, forest.MsDSDelegatedMSAState)
		before, _ := g.s.Links(id, forest.MsDSManagedAccountPrecededByLink)
		for _, b := range before {
			if state == 2 { // migration completed
				g.link(edge{from: node(id), to: node(b), kind: Succeeds, via: id, text: "msDS-ManagedAccountPrecededByLink"})
			}
		}
	}
}

// trustees adds edges for those whom the descriptor of an attribute grants a right,
// in the order of its entries: control access lets act for others ([MS-SFU]
// 3.2.5.2.3), reading the password needs the right to read ([MS-ADTS]
// 3.1.1.4.5.39).
func (g *Graph) trustees(d *secdesc.Descriptor, id forest.ID, k Kind, need secdesc.Mask) {
	attr := "msDS-GroupMSAMembership"
	if k == ActsFor {
		attr = "msDS-AllowedToActOnBehalfOfOtherIdentity"
	}
	if d.DACL == nil {
		if d.HasNullDACL() {
			g.link(edge{from: g.identity(secdesc.Everyone), to: node(id), kind: k, via: id, text: attr + ", NULL DACL"})
		}
		return
	}
	c := compiler{d: d}
	c.selectEntries([]rule{{mask: need}})
	list := c.walk(nil, rule{kind: k}, need, nil)
	dom := g.x.domain[id]
	for i := range list {
		one := &list[i]
		if len(one.deny) > 0 {
			of := leg{id: id, dom: dom, grants: list[i : i+1], where: attr, in: d}
			g.join(joint{to: node(id), kind: k, legs: []leg{of}})
			continue
		}
		g.holders(one.who, dom, func(v node) {
			g.link(edge{from: v, to: node(id), kind: k, cond: one.cond, via: id, text: g.entryText(attr, d, one.ace, dom)})
		})
	}
}

// A Zone is what others must not reach. It is data: a zone lists objects by SID,
// relative identifier or name.
type Zone struct {
	Name    string
	RIDs    []uint32      // in every domain
	SIDs    []secdesc.SID // in every domain, for built-in groups
	Objects []string      // distinguished names; {domain}, {config} and {schema} stand for those naming contexts
}

// TierZero returns the default zone: the forest's partitions, its protected groups
// and accounts (guide, app. C), and what decides about them.
func TierZero() Zone {
	return Zone{
		Name: "Tier 0",
		RIDs: append(slices.Clone(protectedRIDs), secdesc.RIDAdministrator, secdesc.RIDKrbtgt),
		SIDs: slices.Clone(protectedAliases),
		Objects: []string{
			"{domain}", "CN=AdminSDHolder,CN=System,{domain}", "{config}", "{schema}",
			"CN=NTAuthCertificates,CN=Public Key Services,CN=Services,{config}",
		},
	}
}

// Resolve returns the objects of z that the snapshot has, in ID order.
func (g *Graph) Resolve(z Zone) []forest.ID {
	var out []forest.ID
	take := func(id forest.ID) {
		if id != forest.None {
			out = append(out, id)
		}
	}
	for _, sid := range z.SIDs {
		for _, id := range g.x.groups[sid] {
			take(id)
		}
	}
	for _, d := range g.s.Domains() {
		for _, rid := range z.RIDs {
			if !d.SID.IsZero() {
				take(g.s.BySID(d.SID.Child(rid)))
			}
		}
		for _, name := range z.Objects {
			config := "CN=Configuration," + d.DN
			take(g.s.Lookup(strings.NewReplacer("{domain}", d.DN, "{config}", config, "{schema}", "CN=Schema,"+config).Replace(name)))
		}
	}
	return sortIDs(out)
}
