package configmgr

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Kinds of principals, beside those of Active Directory's classes.
const (
	KindUser     = "user"
	KindComputer = "computer"
	KindGroup    = "group"
	KindManaged  = "gmsa" // managed service account, of one host or of a group
	KindLocal    = "local"
	KindFirmware = "firmware"
	KindForeign  = "foreign" // of another forest
)

// ResolveNames returns the document with the principals that the snapshot knows:
// every assignment, administrative user and member gets the SID that its name stands
// for, and keeps the name as it is configured. Where there is none, Unsolved of an
// assignment says why: it is an account of a host, of firmware (which is never looked
// for), of another forest, deleted, or not to be told from others of that name.
//
// Names may be DOMAIN\user, dns.domain\user, user@suffix, user, a SID, host\user and
// .\user. A user without domain is looked for in the domain of its site, and in all
// if that is not known. The catalogue tells which slots are of firmware; it may be
// nil, and then only what a document itself calls so is.
func ResolveNames(d *Document, s *forest.Snapshot, c *Catalogue) *Document {
	r := newResolver(d, s)
	out := *d
	out.Assignments = slices.Clone(d.Assignments)
	for i := range out.Assignments {
		a := &out.Assignments[i]
		if e := entryOf(c, a.Entry); a.Kind == KindFirmware || e != nil && e.Kind == FirmwareAccount {
			a.Kind, a.SID = KindFirmware, nil
			a.Unsolved = "an account of the management firmware: it has no SID"
			continue
		}
		r.assignment(a)
	}
	out.Admins = slices.Clone(d.Admins)
	for i := range out.Admins {
		if a := &out.Admins[i]; a.SID == nil {
			a.SID = r.find(a.Name, "").sid
		}
	}
	out.Hosts = slices.Clone(d.Hosts)
	for i := range out.Hosts {
		out.Hosts[i] = r.host(out.Hosts[i])
	}
	out.Databases = slices.Clone(d.Databases)
	for i := range out.Databases {
		b := &out.Databases[i]
		b.ServerRoles, b.Roles, b.Selectable = r.lists(b.ServerRoles), r.lists(b.Roles), r.lists(b.Selectable)
		b.Rights = r.entries(b.Rights)
	}
	out.Packages = slices.Clone(d.Packages)
	for i := range out.Packages {
		out.Packages[i].Entries = r.entries(out.Packages[i].Entries)
	}
	out.Principals = slices.Clone(d.Principals)
	for i := range out.Principals {
		out.Principals[i].Member = r.member(out.Principals[i].Member)
	}
	return &out
}

func entryOf(c *Catalogue, id string) *Entry {
	if c == nil {
		return nil
	}
	return c.Entry(id)
}

// An answer is who a name stands for, or why that is not known.
type answer struct {
	sid  *secdesc.SID
	kind string
	why  string
}

// resolver looks names up. It remembers answers, since a site names one account often.
type resolver struct {
	snap    *forest.Snapshot
	domains map[string]forest.Domain // by NetBIOS and DNS name, lower case
	site    map[string]string        // DNS name of a site's domain, by code
	hosts   map[string]bool          // names of hosts of the document, short and long, lower case
	upns    map[string][]forest.ID
	trusts  map[string]string // NetBIOS and DNS name of trusted domains → DNS name
	known   map[[2]string]answer
}

func newResolver(d *Document, s *forest.Snapshot) *resolver {
	r := &resolver{
		snap: s, domains: map[string]forest.Domain{}, site: map[string]string{}, hosts: map[string]bool{},
		upns: map[string][]forest.ID{}, trusts: map[string]string{}, known: map[[2]string]answer{},
	}
	for _, dom := range s.Domains() {
		r.domains[strings.ToLower(dom.DNS)] = dom
		r.domains[strings.ToLower(dom.NetBIOS)] = dom
	}
	delete(r.domains, "")
	for _, x := range d.Sites {
		r.site[x.Code] = strings.ToLower(x.Domain)
		r.addHost(x.Server)
		for _, sys := range x.Systems {
			r.addHost(sys.Host)
		}
	}
	for _, h := range d.Hosts {
		r.addHost(h.Name)
	}
	for _, id := range s.With(forest.UserPrincipalName) {
		if upn, st := s.Str(id, forest.UserPrincipalName); st == forest.Known {
			r.upns[strings.ToLower(upn)] = append(r.upns[strings.ToLower(upn)], id)
		}
	}
	for _, id := range s.With(forest.TrustPartner) {
		dns, _ := s.Str(id, forest.TrustPartner)
		flat, _ := s.Str(id, forest.FlatName)
		r.trusts[strings.ToLower(dns)], r.trusts[strings.ToLower(flat)] = dns, dns
	}
	delete(r.trusts, "")
	return r
}

func (r *resolver) addHost(name string) {
	name = strings.ToLower(name)
	short, _, _ := strings.Cut(name, ".")
	r.hosts[name], r.hosts[short] = true, true
	delete(r.hosts, "")
}

func (r *resolver) assignment(a *Assignment) {
	got := r.find(a.Name, a.Site)
	switch {
	case a.SID == nil:
		a.SID, a.Unsolved = got.sid, got.why
		if got.kind != "" {
			a.Kind = got.kind
		}
	case got.sid != nil && *got.sid != *a.SID:
		a.Unsolved = fmt.Sprintf("the name is that of %s in Active Directory, the SID given is %s", got.sid, a.SID)
	default:
		id := r.snap.BySID(*a.SID)
		if id == forest.None {
			a.Unsolved = r.missing(*a.SID)
			break
		}
		a.Kind, a.Unsolved = r.kind(id), ""
	}
}

func (r *resolver) member(m Member) Member {
	if m.SID == nil {
		m.SID = r.find(m.Name, "").sid
	}
	return m
}

func (r *resolver) members(list []Member) []Member {
	out := slices.Clone(list)
	for i := range out {
		out[i] = r.member(out[i])
	}
	return out
}

func (r *resolver) lists(m map[string][]Member) map[string][]Member {
	if m == nil {
		return nil
	}
	out := make(map[string][]Member, len(m))
	for k, list := range m {
		out[k] = r.members(list)
	}
	return out
}

func (r *resolver) entries(list []Access) []Access {
	out := slices.Clone(list)
	for i := range out {
		out[i].Member = r.member(out[i].Member)
	}
	return out
}

func (r *resolver) acls(list []ACL) []ACL {
	out := slices.Clone(list)
	for i := range out {
		out[i].Entries = r.entries(out[i].Entries)
	}
	return out
}

func (r *resolver) host(h Host) Host {
	h.Groups, h.UserRights = r.lists(h.Groups), r.lists(h.UserRights)
	h.Shares, h.Folders, h.WMI = r.acls(h.Shares), r.acls(h.Folders), r.acls(h.WMI)
	h.Activation = r.members(h.Activation)
	return h
}

// find tells who a name stands for.
func (r *resolver) find(name, site string) answer {
	key := [2]string{strings.ToLower(strings.TrimSpace(name)), ""}
	if !strings.ContainsAny(key[0], `\@`) {
		key[1] = r.site[site]
	}
	if a, ok := r.known[key]; ok {
		return a
	}
	a := r.look(strings.TrimSpace(name), key[1])
	r.known[key] = a
	return a
}

func (r *resolver) look(name, domain string) answer {
	if name == "" {
		return answer{why: "it has no name"}
	}
	if strings.HasPrefix(strings.ToUpper(name), "S-1-") {
		return r.lookSID(name)
	}
	if sid, ok := wellKnown(name); ok {
		return r.wellKnown(sid)
	}
	if before, user, ok := strings.Cut(name, `\`); ok {
		return r.lookIn(before, user)
	}
	if strings.Contains(name, "@") {
		return r.lookUPN(name)
	}
	return r.lookPlain(name, domain)
}

func (r *resolver) lookSID(text string) answer {
	sid, err := secdesc.ParseSID(text)
	if err != nil {
		return answer{why: "is written like a SID and is none"}
	}
	if id := r.snap.BySID(sid); id != forest.None {
		return answer{sid: &sid, kind: r.kind(id)}
	}
	return answer{sid: &sid, why: r.missing(sid)}
}

// missing says why the snapshot has no object of a SID.
func (r *resolver) missing(sid secdesc.SID) string {
	for _, d := range r.snap.Domains() {
		if !d.SID.IsZero() && sid.IsIn(d.SID) {
			if why := r.gaps(d); why != "" {
				return "not in the snapshot, which does not hold all of " + d.DNS + ": " + why
			}
			return "deleted: " + d.DNS + " has no object of this SID"
		}
	}
	if _, ok := secdesc.WellKnownName(sid); ok {
		return ""
	}
	return "of a domain that the snapshot does not hold"
}

// gaps says what of a domain was not read, "" if all was.
func (r *resolver) gaps(d forest.Domain) string {
	for _, c := range r.snap.Coverage() {
		if c.Area != forest.AreaPartition && c.Area != forest.AreaContainer || c.Complete() || c.Application() {
			continue
		}
		if strings.EqualFold(c.Subject, d.DN) || strings.HasSuffix(strings.ToLower(c.Subject), ","+strings.ToLower(d.DN)) {
			return strings.TrimSpace(c.Subject + " " + c.State + " " + c.Reason)
		}
	}
	if d.Head == forest.None {
		return "the domain was not read"
	}
	return ""
}

// wellKnown knows the names that Windows itself gives to services and built-in groups.
func wellKnown(name string) (secdesc.SID, bool) {
	low, bare := strings.ToLower(name), true
	for _, prefix := range []string{`nt authority\`, `builtin\`, `nt-autorität\`, `vordefiniert\`} {
		if rest, ok := strings.CutPrefix(low, prefix); ok {
			low, bare = rest, false
			break
		}
	}
	switch low {
	case "localsystem", "system":
		low = "system"
	case "networkservice":
		low = "network service"
	case "localservice":
		low = "local service"
	}
	if bare && !slices.Contains([]string{"system", "network service", "local service", "users", "administrators", "everyone"}, low) {
		return secdesc.SID{}, false // an account may be called service or batch
	}
	for _, sid := range secdesc.WellKnownSIDs() {
		known, ok := secdesc.WellKnownName(sid)
		if !ok {
			continue
		}
		if i := strings.LastIndexByte(known, '\\'); i >= 0 {
			known = known[i+1:]
		}
		if strings.EqualFold(known, low) {
			return sid, true
		}
	}
	return secdesc.SID{}, false
}

func (r *resolver) wellKnown(sid secdesc.SID) answer {
	kind := KindGroup
	if id := r.snap.BySID(sid); id != forest.None && !r.snap.IsA(id, "foreignSecurityPrincipal") {
		kind = r.kind(id)
	}
	return answer{sid: &sid, kind: kind}
}

// lookIn looks for a user of a domain, or of a host.
func (r *resolver) lookIn(domain, user string) answer {
	low := strings.ToLower(strings.TrimSuffix(domain, "."))
	if low == "" {
		return answer{kind: KindLocal, why: "a local account of the host that uses it"}
	}
	if d, ok := r.domains[low]; ok {
		return r.choose(r.inDomain(user, d), user+" in "+d.DNS, r.gaps(d))
	}
	if dns, ok := r.trusts[low]; ok {
		return answer{kind: KindForeign, why: "of the trusted domain " + dns + ", which the snapshot does not hold"}
	}
	if r.isHost(low) {
		return answer{kind: KindLocal, why: "a local account of " + domain}
	}
	return answer{why: domain + " is neither a domain of the snapshot, nor one that it trusts, nor a host of it"}
}

func (r *resolver) isHost(name string) bool {
	if r.hosts[name] {
		return true
	}
	short, _, _ := strings.Cut(name, ".")
	return slices.ContainsFunc(r.snap.BySAMAccountName(short+"$"), func(id forest.ID) bool {
		dns, st := r.snap.Str(id, forest.DNSHostName)
		return short == name || st == forest.Known && strings.EqualFold(dns, name)
	})
}

func (r *resolver) inDomain(user string, d forest.Domain) []forest.ID {
	var out []forest.ID
	for _, id := range r.snap.BySAMAccountName(user) {
		if own, ok := r.snap.DomainOf(id); ok && own.DNS == d.DNS {
			out = append(out, id)
		}
	}
	return out
}

func (r *resolver) lookUPN(name string) answer {
	ids := r.upns[strings.ToLower(name)]
	user, suffix, _ := strings.Cut(name, "@")
	if d, ok := r.domains[strings.ToLower(suffix)]; ok && len(ids) == 0 {
		// Every account also has a name of its own account name and its domain
		// ([MS-ADTS] 5.1.1.1.1).
		return r.choose(r.inDomain(user, d), name, r.gaps(d))
	}
	if dns, ok := r.trusts[strings.ToLower(suffix)]; ok && len(ids) == 0 {
		return answer{kind: KindForeign, why: "of the trusted domain " + dns + ", which the snapshot does not hold"}
	}
	return r.choose(ids, name, r.anyGap())
}

func (r *resolver) lookPlain(user, domain string) answer {
	if d, ok := r.domains[domain]; ok {
		if ids := r.inDomain(user, d); len(ids) > 0 {
			return r.choose(ids, user, "")
		}
	}
	return r.choose(r.snap.BySAMAccountName(user), user, r.anyGap())
}

func (r *resolver) anyGap() string {
	for _, d := range r.snap.Domains() {
		if why := r.gaps(d); why != "" {
			return why
		}
	}
	return ""
}

// choose answers with the one account found.
func (r *resolver) choose(ids []forest.ID, what, gap string) answer {
	switch len(ids) {
	case 0:
		if gap != "" {
			return answer{why: "there is no " + what + " in the snapshot, which is not complete: " + gap}
		}
		return answer{why: "there is no " + what + ": deleted, renamed or misspelt"}
	case 1:
		sid := r.snap.SID(ids[0])
		if deleted, st := r.snap.Bool(ids[0], forest.IsDeleted); st == forest.Known && deleted {
			return answer{sid: &sid, kind: r.kind(ids[0]), why: "deleted"}
		}
		if sid.IsZero() {
			return answer{kind: r.kind(ids[0]), why: "its SID was not read"}
		}
		return answer{sid: &sid, kind: r.kind(ids[0])}
	}
	var names []string
	for _, id := range ids[:min(len(ids), 5)] {
		names = append(names, r.snap.DN(id))
	}
	return answer{why: fmt.Sprintf("ambiguous: %d accounts have this name: %s", len(ids), strings.Join(names, "; "))}
}

func (r *resolver) kind(id forest.ID) string {
	switch {
	case r.snap.IsA(id, "msDS-GroupManagedServiceAccount"), r.snap.IsA(id, "msDS-ManagedServiceAccount"):
		return KindManaged
	case r.snap.IsA(id, "computer"):
		return KindComputer
	case r.snap.IsA(id, "group"):
		return KindGroup
	case r.snap.IsA(id, "foreignSecurityPrincipal"):
		return KindForeign
	case r.snap.IsA(id, "user"), r.snap.IsA(id, "inetOrgPerson"):
		return KindUser
	}
	return ""
}
