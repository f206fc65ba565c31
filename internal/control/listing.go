package control

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
)

// A control that says "no account has …" is only as good as the list of accounts.
// Where a container or partition could not be listed, what was found still counts,
// and the domain gets one more outcome: unknown, with what was not listed.

// A listing says what may be missing from the snapshot without a trace, by domain
// (index into world.domains). An empty list means that nothing is.
type listing struct {
	accounts [][]string // accounts and groups
	policies [][]string // group policy objects
	system   [][]string // what lies directly in CN=System
	roles    [][]string // which computers are domain controllers
	forest   []string   // objects of the configuration partition
}

// A source is where the subjects of a selector are found, and so what can hide
// some of them.
type source uint8

const (
	fromAccounts   source = iota // anywhere in a domain
	fromGroups                   // in certain groups
	fromPolicies                 // in CN=Policies,CN=System and in SYSVOL
	fromSystem                   // in CN=System
	fromDomains                  // the heads of the domains
	fromManagement               // in the permissions of AdminSDHolder
	fromManagers                 // in the permissions of management accounts
	fromForest                   // in the configuration partition
)

// findListing reads coverage for statements about containers and partitions.
func (w *world) findListing() *listing {
	n := len(w.domains)
	l := &listing{accounts: make([][]string, n), policies: make([][]string, n), system: make([][]string, n), roles: w.roleGaps()}
	for d, dom := range w.domains {
		if dom.Head == forest.None {
			l.hide(d, "objects of the domain "+dom.DNS+", which is not part of the snapshot: scan it too and assess both")
		}
	}
	for _, c := range w.s.Coverage() {
		if c.Complete() || c.Area != forest.AreaContainer && c.Area != forest.AreaPartition {
			continue
		}
		why := c.Reason
		if why == "" {
			why = c.State
		}
		if c.Area == forest.AreaContainer {
			why += "; grant the account that scans the right to list it (List Contents) and to read what it holds, and scan again"
		}
		l.add(w, c.Subject, "objects in "+c.Subject+": "+why)
	}
	w.addClassless(l)
	return l
}

// hide notes that anything of domain d may be missing.
func (l *listing) hide(d int, text string) {
	l.accounts[d] = append(l.accounts[d], text)
	l.policies[d] = append(l.policies[d], text)
	l.system[d] = append(l.system[d], text)
}

// add notes what the content of a container or partition can be.
func (l *listing) add(w *world, dn, text string) {
	if _, _, inConfiguration := cutFold(dn, "CN=Configuration,"); inConfiguration {
		l.forest = append(l.forest, text)
		return
	}
	d := w.domainHolding(dn)
	if d < 0 || w.domains[d].Head == forest.None {
		return // an application partition, or of a domain that is noted as a whole
	}
	head := w.domains[d].DN
	policies := "CN=Policies,CN=System," + head
	if within(policies, dn) {
		l.policies[d] = append(l.policies[d], text)
	}
	if within("CN=System,"+head, dn) {
		l.system[d] = append(l.system[d], text)
	}
	if w.mayHoldAccounts(dn) && (!within(dn, policies) || strings.EqualFold(dn, policies)) {
		l.accounts[d] = append(l.accounts[d], text)
	}
}

// HiddenByDefault reports whether id is one of the objects that every domain hides
// from ordinary users, and no account: it stands where the directory itself put it.
// Without this no ordinary user could scan a domain to the end.
func HiddenByDefault(s *forest.Snapshot, id forest.ID) bool {
	d, ok := s.DomainOf(id)
	if !ok {
		return s.Name(id) == "NTDS Quotas" // that of the configuration partition
	}
	name, ok := strings.CutSuffix(s.DN(id), ","+d.DN)
	if !ok {
		return false
	}
	switch name {
	case "CN=NTDS Quotas", "CN=NTDS Quotas,CN=Configuration", "CN=MicrosoftDNS,CN=System", "CN=Password Settings Container,CN=System":
		return true
	}
	rdn, found := strings.CutSuffix(name, ",CN=IP Security,CN=System")
	return found && strings.HasPrefix(rdn, "CN=ipsec")
}

// addClassless notes objects that show that they exist and nothing else: each may
// be an account.
func (w *world) addClassless(l *listing) {
	first, count := make([]forest.ID, len(w.domains)), make([]int, len(w.domains))
	for id, kind := range w.kindOf {
		if kind != "" || len(w.s.Classes(forest.ID(id))) > 0 {
			continue
		}
		if d := w.domainIndex(forest.ID(id)); d >= 0 && !HiddenByDefault(w.s, forest.ID(id)) {
			if count[d]++; count[d] == 1 {
				first[d] = forest.ID(id)
			}
		}
	}
	for d, n := range count {
		if n > 0 {
			l.hide(d, fmt.Sprintf("objectClass of %s: the account that scans may not read it; grant it Read All Properties", counted(n, w.s.DN(first[d]), "objects")))
		}
	}
}

// counted says "dn", or "n objects, the first dn".
func counted(n int, dn, what string) string {
	if n == 1 {
		return dn
	}
	return fmt.Sprintf("%d %s, the first %s", n, what, dn)
}

// accountContainers are the classes of containers in which a domain keeps accounts
// and groups; the others, such as that of password settings, hold one kind of
// thing by the schema.
var accountContainers = []string{"organizationalUnit", "container", "builtinDomain", "domainDNS", "lostAndFound"}

func (w *world) mayHoldAccounts(dn string) bool {
	id := w.s.Lookup(dn)
	if id == forest.None || len(w.s.Classes(id)) == 0 {
		return true
	}
	return slices.ContainsFunc(accountContainers, func(c string) bool { return strings.EqualFold(c, w.s.Class(id)) })
}

// domainHolding returns the index of the domain whose naming context holds dn by
// its name, or -1.
func (w *world) domainHolding(dn string) int {
	best := -1
	for d, dom := range w.domains {
		if within(dn, dom.DN) && (best < 0 || len(dom.DN) > len(w.domains[best].DN)) {
			best = d
		}
	}
	if best >= 0 && !strings.EqualFold(dn, w.domains[best].DN) && w.isPartition(dn) {
		return -1
	}
	return best
}

// isPartition reports whether dn is, or lies in, an application partition below a
// domain: its name has a domain component in front of the domain's.
func (w *world) isPartition(dn string) bool {
	for _, c := range w.s.Coverage() {
		if c.Area == forest.AreaPartition && within(dn, c.Subject) && w.domainAt(c.Subject) < 0 {
			return true
		}
	}
	return false
}

func (w *world) domainAt(dn string) int {
	return slices.IndexFunc(w.domains, func(d forest.Domain) bool { return strings.EqualFold(d.DN, dn) })
}

// within reports whether dn is container or lies in it, as the directory writes
// both names.
func within(dn, container string) bool {
	n := len(dn) - len(container)
	return n >= 0 && container != "" && strings.EqualFold(dn[n:], container) && (n == 0 || dn[n-1] == ',')
}

// cutFold is strings.Cut without regard to case.
func cutFold(s, sep string) (before, after string, found bool) {
	if i := strings.Index(strings.ToLower(s), strings.ToLower(sep)); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// unlisted says why subjects of the selector may be missing in domain d.
func (w *world) unlisted(name string, d int) []string {
	sel, ok := selectors[name]
	if !ok {
		return w.principalGaps(name, d)
	}
	l := w.listing()
	if sel.hosts {
		return slices.Concat(l.accounts[d], l.roles[d])
	}
	var out []string
	switch sel.from {
	case fromDomains:
		if w.domains[d].Head == forest.None {
			out = l.system[d]
		}
	case fromPolicies:
		out = l.policies[d]
	case fromSystem:
		if w.adminSDHolder(d) == forest.None {
			out = l.system[d]
		}
	case fromForest:
		if d == max(0, w.root) {
			out = slices.Concat(l.forest, w.issuanceGaps())
		}
	case fromManagement:
		out = slices.Concat(w.management().unread[d], l.accounts[d])
	case fromManagers:
		out = slices.Concat(w.management().unread[d], w.management().unreadGroups[d], l.accounts[d])
	case fromGroups:
		out = w.groupGaps(sel.groups(w), d)
	default:
		out = l.accounts[d]
	}
	if sel.attr != 0 {
		out = slices.Concat(out, w.attributeGaps(sel.attr, d))
	}
	return out
}

// groupGaps says why effective members of groups may be missing in domain d.
func (w *world) groupGaps(groups []forest.ID, d int) []string {
	out := slices.Clone(w.privilege().unread[d])
	for _, g := range groups {
		if w.domainIndex(g) == d {
			out = append(out, w.gaps(g)...)
		}
	}
	return append(out, w.listing().accounts[d]...)
}

// principalGaps says why the principal of that name was not found in domain d. A
// domain that was listed as a whole and lacks it is older than the principal.
func (w *world) principalGaps(name string, d int) []string {
	if forestWide[name] && d != w.root || w.principalID(d, name) != forest.None {
		return nil
	}
	var out []string
	for _, text := range w.listing().accounts[d] {
		out = append(out, name+" was not found; it may be among "+text)
	}
	return out
}

// unnamed says which of the principals of an entry of hosts were not found.
func (w *world) unnamed(name string) []string {
	var out []string
	for d := range w.domains {
		switch name {
		case "local-administrator":
		case "management-accounts":
			out = append(out, w.management().unread[d]...)
		case "administrators":
			if len(w.principals(name)) == 0 {
				out = append(out, w.principalGaps(name, d)...)
			}
		default:
			out = append(out, w.principalGaps(name, d)...)
		}
	}
	return out
}

// roleGaps says, by domain, that it is not known which computers are domain
// controllers.
func (w *world) roleGaps() [][]string {
	unread := make([][]forest.ID, len(w.domains))
	for id, kind := range w.kindOf {
		id := forest.ID(id)
		if kind != "computer" || w.isDC(id) || !w.roleUnread(id) {
			continue
		}
		if d := w.domainIndex(id); d >= 0 {
			unread[d] = append(unread[d], id)
		}
	}
	out := make([][]string, len(w.domains))
	for d, ids := range unread {
		if len(ids) > 0 {
			out[d] = []string{"userAccountControl and primaryGroupID of " + counted(len(ids), w.s.DN(ids[0]), "computers") + ": " +
				w.s.Why(ids[0], forest.UserAccountControl)}
		}
	}
	return out
}

// issuanceGaps says which groups of issuance policies could not be read.
func (w *world) issuanceGaps() []string {
	var out []string
	for _, oid := range w.s.Flawed(forest.MsDSOIDToGroupLink) {
		out = append(out, "msDS-OIDToGroupLink of "+w.s.DN(oid)+": "+w.s.Why(oid, forest.MsDSOIDToGroupLink))
	}
	for _, oid := range w.s.With(forest.MsDSOIDToGroupLink) {
		for _, dn := range w.s.LinksOutside(oid, forest.MsDSOIDToGroupLink) {
			out = append(out, dn+", which "+w.s.DN(oid)+" names, is not part of the snapshot")
		}
	}
	return out
}

// attributeGaps says that an attribute by which subjects are found was not asked
// for at all.
func (w *world) attributeGaps(a forest.Attr, d int) []string {
	if w.s.Collected(a) || w.s.OutsideSchema(a) || w.domains[d].Head == forest.None {
		return nil
	}
	return []string{w.s.Why(w.domains[d].Head, a)}
}

// mostGaps is how many containers an outcome names.
const mostGaps = 5

// unlistedOutcomes adds the outcome of what could not be listed, one for each
// domain that it concerns.
func (ev *evaluation) unlistedOutcomes(e *Entry, r *result) {
	for d, dom := range ev.w.domains {
		texts := ev.w.unlisted(e.Select, d)
		if len(texts) == 0 {
			continue
		}
		var lacks []missing
		for i, t := range texts {
			if i == mostGaps {
				t = fmt.Sprintf("… and %d more, which the coverage of the scan names", len(texts)-mostGaps)
			}
			lacks = append(lacks, missing{"listing", t})
			if i == mostGaps {
				break
			}
		}
		ev.reset(nil, nil)
		s := Subject{Name: dom.DNS, DN: dom.DN, SID: dom.SID.String(), Kind: "domain", Domain: dom.DNS, Scope: unlistedScope}
		f := ev.finding(e, Unknown, lacks, s, forest.None)
		f.Detail = "Could not be decided for all of " + dom.DNS + "; not listed: " + f.Missing[0] + "."
		r.tally.count(Unknown)
		r.findings = append(r.findings, &f)
	}
}

// unlistedScope tells the outcome for what was not listed from that of a domain.
const unlistedScope = "not listed"

// holdsDomain reports whether the head of any domain is part of the snapshot.
func (w *world) holdsDomain() bool {
	return slices.ContainsFunc(w.domains, func(d forest.Domain) bool { return d.Head != forest.None })
}

// domainless makes a control undecided for the forest where no domain was read:
// its groups, accounts and policies cannot be found, and what is true of nobody is
// no pass. What was found in single objects stays.
func (ev *evaluation) domainless(e *Entry, r *result) {
	if selectors[e.Select].whole {
		if r.tally.Unknown > 0 {
			return
		}
		*r = result{}
	}
	ev.reset(nil, nil)
	s := ev.w.forestSubject()
	s.Scope = unlistedScope
	const why = "the head of a domain (objectClass domainDNS with objectSid), without which its groups, accounts and policies cannot be found"
	f := ev.finding(e, Unknown, []missing{{"listing", why}}, s, forest.None)
	r.tally.count(Unknown)
	r.findings = append(r.findings, &f)
}
