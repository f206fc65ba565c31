package reach

import (
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Object identifiers of extended key usages and of agents.
const (
	ekuClientAuth     = "1.3.6.1.5.5.7.3.2"
	ekuPKINIT         = "1.3.6.1.5.2.3.4"
	ekuSmartCardLogon = "1.3.6.1.4.1.311.20.2.2"
	ekuAny            = "2.5.29.37.0"
	ekuRequestAgent   = "1.3.6.1.4.1.311.20.2.1"
)

// Flags of certificate templates ([MS-CRTD] 2.26, 2.27).
const (
	enrolleeSuppliesSubject  = 0x1     // msPKI-Certificate-Name-Flag
	enrolleeSuppliesAltNames = 0x10000 //
	subjectRequiresUPN       = 0x02000000
	subjectRequiresDNS       = 0x08000000
	pendAllRequests          = 0x2     // msPKI-Enrollment-Flag
	noSecurityExtension      = 0x80000 //
)

var rightEnroll = secdesc.MustGUID("0e10c968-78fb-11d2-90d4-00c04f79dc55")

// A template is a certificate template as far as paths depend on it.
type template struct {
	id           forest.ID
	usages       []string
	names        int64 // msPKI-Certificate-Name-Flag
	enrollment   int64 // msPKI-Enrollment-Flag
	signatures   int64 // msPKI-RA-Signature
	schema       int64 // msPKI-Template-Schema-Version
	unread       bool  // an attribute that decides was not read
	cond         cond  // under which it is published by an issuer that counts
	issuers      []forest.ID
	policyGroups []forest.ID // groups that its issuance policies are linked to
}

// authenticates reports whether a certificate of t can be used to log on.
func (t *template) authenticates() bool {
	return len(t.usages) == 0 || slices.ContainsFunc(t.usages, func(u string) bool {
		return u == ekuClientAuth || u == ekuPKINIT || u == ekuSmartCardLogon || u == ekuAny
	})
}

// unguarded reports whether a certificate is issued without anybody's approval.
func (t *template) unguarded() bool { return t.enrollment&pendAllRequests == 0 && t.signatures == 0 }

func (t *template) namesItself() bool {
	return t.names&(enrolleeSuppliesSubject|enrolleeSuppliesAltNames) != 0
}

func (t *template) anyUsage() bool { return len(t.usages) == 0 || slices.Contains(t.usages, ekuAny) }

// certificates adds what certificate services give: the right to enroll for a
// template that lets the holder name himself, and its relatives ESC2, 3, 4, 9, 13
// and 15, and control of what certificates are trusted (ESC5, 7).
func (g *Graph) certificates() {
	issuers, unsure := g.issuers()
	if len(issuers) == 0 {
		return
	}
	templates := g.templates(issuers, unsure)
	for i := range templates {
		g.templateEdges(&templates[i], templates)
	}
	g.authorityEdges(issuers)
	g.weakMappings()
}

// issuers returns the enrollment services of the forest whose certificates count
// for logging on; the second result says of which that is not known.
func (g *Graph) issuers() (list []forest.ID, unsure map[forest.ID]bool) {
	trusted := map[string]bool{}
	unread := !g.s.Collected(forest.CACertificate) // of those that are trusted
	for id := range g.ofAspect(storeAspect, "certificationAuthority") {
		if strings.EqualFold(g.s.Name(id), "NTAuthCertificates") {
			certs, st := g.s.Strs(id, forest.CACertificate)
			unread = unread || st == forest.Unreadable
			for _, c := range certs {
				trusted[c] = true
			}
		}
	}
	unsure = map[forest.ID]bool{}
	for id := range g.ofAspect(authorityAspect, "pKIEnrollmentService") {
		own, st := g.s.Strs(id, forest.CACertificate)
		switch {
		case slices.ContainsFunc(own, func(c string) bool { return trusted[c] }):
			list = append(list, id)
		case unread || st == forest.Unreadable:
			unsure[id] = true
			list = append(list, id)
		}
	}
	return list, unsure
}

// ofAspect calls yield for the objects of a class, which has an aspect.
func (g *Graph) ofAspect(a aspect, class string) func(func(forest.ID) bool) {
	is := classTable(g.s)
	return func(yield func(forest.ID) bool) {
		for id := range forest.ID(g.n) {
			if g.classes[g.s.ClassIndex(id)].aspect == a && is(id, class) && !yield(id) {
				return
			}
		}
	}
}

// templates reads the templates that an issuer publishes.
func (g *Graph) templates(issuers []forest.ID, unsure map[forest.ID]bool) []template {
	published := map[string][]forest.ID{}
	var perhaps []forest.ID // issuers of which it is not known what they publish, or whether they count
	for _, ca := range issuers {
		names, st := g.s.Strs(ca, forest.CertificateTemplates)
		if st == forest.Unreadable {
			perhaps = append(perhaps, ca)
			continue
		}
		for _, n := range names {
			published[strings.ToLower(n)] = append(published[strings.ToLower(n)], ca)
		}
	}
	groups := g.issuancePolicies()
	var out []template
	for id := range forest.ID(g.n) {
		if g.classes[g.s.ClassIndex(id)].aspect != templateAspect {
			continue
		}
		by := published[strings.ToLower(g.s.Name(id))]
		may := slices.Concat(perhaps, slices.DeleteFunc(slices.Clone(by), func(ca forest.ID) bool { return !unsure[ca] }))
		by = slices.DeleteFunc(by, func(ca forest.ID) bool { return unsure[ca] })
		if len(by) > 0 {
			out = append(out, g.template(id, by, groups))
		}
		if len(may) > 0 {
			t := g.template(id, may, groups)
			t.cond = ifPublished
			out = append(out, t)
		}
	}
	return out
}

func (g *Graph) template(id forest.ID, by []forest.ID, groups map[string][]forest.ID) template {
	t := template{id: id, issuers: by}
	num := func(a forest.Attr) int64 {
		v, st := g.s.Int(id, a)
		t.unread = t.unread || st == forest.Unreadable
		return v
	}
	list := func(a forest.Attr) []string {
		v, st := g.s.Strs(id, a)
		t.unread = t.unread || st == forest.Unreadable
		return v
	}
	t.names, t.enrollment = num(forest.MsPKICertificateNameFlag), num(forest.MsPKIEnrollmentFlag)
	t.signatures, t.schema = num(forest.MsPKIRASignature), num(forest.MsPKITemplateSchemaVersion)
	t.usages = list(forest.PKIExtendedKeyUsage)
	if t.schema > 1 {
		if app := list(forest.MsPKICertificateApplicationPolicy); len(app) > 0 {
			t.usages = app
		}
	}
	for _, oid := range list(forest.MsPKICertificatePolicy) {
		t.policyGroups = append(t.policyGroups, groups[oid]...)
	}
	return t
}

// issuancePolicies returns the groups that issuance policies are linked to, by
// object identifier.
func (g *Graph) issuancePolicies() map[string][]forest.ID {
	out := map[string][]forest.ID{}
	for _, id := range g.s.With(forest.MsDSOIDToGroupLink) {
		oid, _ := g.s.Str(id, forest.MsPKICertTemplateOID)
		groups, _ := g.s.Links(id, forest.MsDSOIDToGroupLink)
		out[oid] = append(out[oid], groups...)
	}
	return out
}

// templateEdges adds what enrolling for t gives. Of what was not read of t it is
// possible that it gives the most.
func (g *Graph) templateEdges(t *template, all []template) {
	way, of, gives := t.gives(all)
	for _, head := range g.heads() {
		for _, ca := range t.issuers {
			g.controlled(t, ca, node(head))
			if gives {
				g.enrolls(t, ca, node(head), way, max(of, t.cond))
			}
		}
	}
	if !t.unread && (!t.unguarded() || !t.authenticates()) {
		return
	}
	of = t.cond
	if t.unread {
		of = max(of, ifTemplate)
	}
	for _, ca := range t.issuers {
		for _, group := range t.policyGroups {
			g.enrolls(t, ca, node(group), EnrollsAsGroup, of)
		}
	}
	if t.enrollment&noSecurityExtension != 0 && t.names&(subjectRequiresUPN|subjectRequiresDNS) != 0 {
		g.unnamed = append(g.unnamed, t.id)
	}
}

// gives reports whether enrolling for t lets the holder be whom he wants.
func (t *template) gives(all []template) (kind Kind, of cond, ok bool) {
	switch {
	case t.unread:
		return Enrolls, ifTemplate, true
	case !t.unguarded():
	case t.authenticates() && t.namesItself():
		return Enrolls, certain, true
	case t.namesItself() && t.schema == 1:
		return Enrolls, ifUnpatched, true
	case t.anyUsage() || slices.Contains(t.usages, ekuRequestAgent) && agentCanUse(all):
		return Enrolls, ifAgentAllowed, true
	}
	return NoKind, certain, false
}

// agentCanUse reports whether there is a template for which an enrollment agent
// can enroll in another's name.
func agentCanUse(all []template) bool {
	return slices.ContainsFunc(all, func(t template) bool {
		return t.unread || t.authenticates() && t.enrollment&pendAllRequests == 0 && !t.namesItself() && (t.schema == 1 || t.signatures == 1)
	})
}

// enrolls adds that who may enroll for t at an authority gains to.
func (g *Graph) enrolls(t *template, ca forest.ID, to node, kind Kind, of cond) {
	legs := make([]leg, 0, 2)
	for _, id := range []forest.ID{t.id, ca} {
		list := g.grantsOf(id).of(enrolling)
		if len(list) == 0 {
			return
		}
		legs = append(legs, leg{id: id, dom: g.x.domain[id], grants: list})
	}
	g.join(joint{to: to, kind: kind, cond: of, legs: legs})
}

// controlled adds that who controls a published template, and may enroll at the
// authority, can make it one that lets him name himself.
func (g *Graph) controlled(t *template, ca forest.ID, to node) {
	list := g.grantsOf(ca).of(enrolling)
	if len(list) == 0 {
		return
	}
	g.join(joint{
		to: to, kind: Enrolls, cond: t.cond, gains: []node{node(t.id)}, legs: []leg{{id: ca, dom: g.x.domain[ca], grants: list}},
	})
}

// of returns the grants of a facet.
func (gr *grants) of(f facet) []grant {
	var out []grant
	for _, one := range gr.list {
		if one.gives == f {
			out = append(out, one)
		}
	}
	return out
}

// heads returns the heads of all domains that were read.
func (g *Graph) heads() []forest.ID {
	var out []forest.ID
	for _, d := range g.s.Domains() {
		if d.Head != forest.None {
			out = append(out, d.Head)
		}
	}
	return out
}

// authorityEdges adds that who controls an authority's host holds its key, and
// that who controls what is trusted can add an authority of his own: for certain
// with both a root and NTAuthCertificates (ESC5), with one of them if the other has
// it already.
func (g *Graph) authorityEdges(issuers []forest.ID) {
	for _, head := range g.heads() {
		for _, ca := range issuers {
			g.link(edge{from: node(ca), to: node(head), kind: IssuesCertificates, cond: ifTrustedRoot, via: ca, text: "pKIEnrollmentService"})
			host, _ := g.s.Str(ca, forest.DNSHostName)
			for _, h := range g.byHostName(host) {
				g.link(edge{from: node(h), to: node(head), kind: IssuesCertificates, via: ca, text: "holds the key of " + g.s.Name(ca)})
			}
		}
		g.ownAuthority(node(head))
	}
}

// ownAuthority adds who can have domain controllers trust an authority of his own.
// Every computer takes the roots over from the directory; of the certificates in
// other stores (AIA, cross certificates) none becomes trusted by that.
func (g *Graph) ownAuthority(head node) {
	var logon, roots []forest.ID
	for id := range g.ofAspect(storeAspect, "certificationAuthority") {
		in := g.s.Parent(id)
		switch {
		case strings.EqualFold(g.s.Name(id), "NTAuthCertificates"):
			logon = append(logon, id)
			g.link(edge{from: node(id), to: head, kind: IssuesCertificates, cond: ifTrustedRoot, via: id, text: "cACertificate"})
			continue
		case in != forest.None && strings.EqualFold(g.s.Name(in), "Certification Authorities"):
			roots = append(roots, id)
			if !slices.Contains(roots, in) {
				roots = append(roots, in) // a new one can be put there
			}
			g.link(edge{from: node(id), to: head, kind: IssuesCertificates, cond: ifNTAuth, via: id, text: "cACertificate"})
			continue
		}
		g.link(edge{from: node(id), to: head, kind: IssuesCertificates, cond: ifTrustedRoot, via: id, text: "cACertificate"})
	}
	for _, n := range logon {
		for _, r := range roots {
			g.join(joint{to: head, kind: IssuesCertificates, gains: []node{node(n), node(r)}})
		}
	}
}

// byHostName returns the computers that have a DNS name.
func (g *Graph) byHostName(name string) []forest.ID {
	if name == "" {
		return nil
	}
	var out []forest.ID
	for _, id := range g.s.With(forest.DNSHostName) {
		if v, _ := g.s.Str(id, forest.DNSHostName); strings.EqualFold(v, name) && g.x.isAccount(id) {
			out = append(out, id)
		}
	}
	return out
}

// weakMappings adds the accounts that certificates are mapped to by what an issuer
// may be made to write ([MS-PKCA]; guide: UPN hijacking): names and addresses.
func (g *Graph) weakMappings() {
	for _, id := range g.s.With(forest.AltSecurityIdentities) {
		list, _ := g.s.Strs(id, forest.AltSecurityIdentities)
		for _, m := range list {
			if isWeakMapping(m) {
				g.link(edge{from: g.identity(secdesc.AuthenticatedUsers), to: node(id), kind: WeaklyMapped, cond: ifCertificate, via: id, text: "altSecurityIdentities " + m})
			}
		}
	}
}

// isWeakMapping reports whether a mapping names a certificate by subject or
// address, and neither by serial number, key nor hash.
func isWeakMapping(m string) bool {
	u := strings.ToUpper(m)
	if !strings.HasPrefix(u, "X509:") {
		return false
	}
	return !strings.Contains(u, "<SR>") && !strings.Contains(u, "<SKI>") && !strings.Contains(u, "<SHA1-PUKEY>")
}
