package gpo

import (
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// wellKnown maps lower-case English names to identifiers ([MS-DTYP] 2.4.2.4).
// Other languages have other names; those do not resolve here and are flagged.
var wellKnown = map[string]string{
	"everyone": "S-1-1-0", "creator owner": "S-1-3-0", "creator group": "S-1-3-1", "owner rights": "S-1-3-4",
	"dialup": "S-1-5-1", "network": "S-1-5-2", "batch": "S-1-5-3", "interactive": "S-1-5-4", "service": "S-1-5-6",
	"anonymous logon": "S-1-5-7", "proxy": "S-1-5-8", "enterprise domain controllers": "S-1-5-9", "self": "S-1-5-10",
	"authenticated users": "S-1-5-11", "restricted": "S-1-5-12", "terminal server user": "S-1-5-13",
	"remote interactive logon": "S-1-5-14", "this organization": "S-1-5-15", "iusr": "S-1-5-17", "system": "S-1-5-18",
	"local service": "S-1-5-19", "network service": "S-1-5-20", "write restricted": "S-1-5-33",
	"local account": "S-1-5-113", "local account and member of administrators group": "S-1-5-114",
	"all services": "S-1-5-80-0", "nt virtual machine\\virtual machines": "S-1-5-83-0",
	"administrators": "S-1-5-32-544", "users": "S-1-5-32-545", "guests": "S-1-5-32-546", "power users": "S-1-5-32-547",
	"account operators": "S-1-5-32-548", "server operators": "S-1-5-32-549", "print operators": "S-1-5-32-550",
	"backup operators": "S-1-5-32-551", "replicator": "S-1-5-32-552", "pre-windows 2000 compatible access": "S-1-5-32-554",
	"remote desktop users": "S-1-5-32-555", "network configuration operators": "S-1-5-32-556",
	"incoming forest trust builders": "S-1-5-32-557", "performance monitor users": "S-1-5-32-558",
	"performance log users": "S-1-5-32-559", "windows authorization access group": "S-1-5-32-560",
	"terminal server license servers": "S-1-5-32-561", "distributed com users": "S-1-5-32-562",
	"iis_iusrs": "S-1-5-32-568", "cryptographic operators": "S-1-5-32-569", "event log readers": "S-1-5-32-573",
	"certificate service dcom access": "S-1-5-32-574", "rds remote access servers": "S-1-5-32-575",
	"rds endpoint servers": "S-1-5-32-576", "rds management servers": "S-1-5-32-577", "hyper-v administrators": "S-1-5-32-578",
	"access control assistance operators": "S-1-5-32-579", "remote management users": "S-1-5-32-580",
	"storage replica administrators": "S-1-5-32-582", "device owners": "S-1-5-32-583",
}

// hostAccounts are the accounts that every host has in its own database.
var hostAccounts = map[string]uint32{"administrator": 500, "guest": 501, "defaultaccount": 503, "wdagutilityaccount": 504}

// resolver turns the entries of lists into principals.
type resolver struct {
	s       *forest.Snapshot
	domains map[string]forest.Domain // by lower-case NetBIOS and DNS name
}

func newResolver(s *forest.Snapshot) *resolver {
	r := &resolver{s: s, domains: map[string]forest.Domain{}}
	for _, d := range s.Domains() {
		r.domains[strings.ToLower(d.NetBIOS)] = d
		r.domains[strings.ToLower(d.DNS)] = d
	}
	delete(r.domains, "")
	return r
}

// host is what the meaning of a name depends on.
type host struct {
	domain  forest.Domain
	dc      bool
	renamed map[uint32]rename // by RID of a host account
}

// rename says what policy calls a host account.
type rename struct {
	to    string
	state State
}

// list resolves a comma-separated list.
func (r *resolver) list(value string, h host) []Principal {
	var out []Principal
	for _, raw := range SplitList(value) {
		out = append(out, r.one(raw, h))
	}
	return out
}

// one resolves an entry: *SID, SID, DOMAIN\name, name@domain, or a plain name.
func (r *resolver) one(raw string, h host) Principal {
	p := Principal{Raw: raw, ID: forest.None}
	text := strings.TrimSpace(raw)
	starred := strings.HasPrefix(text, "*")
	text = strings.TrimSpace(strings.TrimPrefix(text, "*"))
	if sid, err := secdesc.ParseSID(text); err == nil {
		return r.bySID(p, sid)
	}
	if starred {
		p.Note = "the SID is malformed"
		return p
	}
	if strings.ContainsRune(text, '%') {
		p.Note = "contains a variable that each host fills in"
		return p
	}
	if domain, name, ok := strings.Cut(text, `\`); ok {
		return r.qualified(p, domain, name, h)
	}
	if name, domain, ok := strings.Cut(text, "@"); ok {
		if _, known := r.domains[strings.ToLower(domain)]; known {
			return r.qualified(p, domain, name, h)
		}
	}
	return r.plain(p, text, h)
}

func (r *resolver) bySID(p Principal, sid secdesc.SID) Principal {
	p.Kind, p.SID = BySID, sid
	p.ID = r.s.BySID(sid)
	if p.ID == forest.None && sid.IsDomainRelative() {
		for _, d := range r.s.Domains() {
			if d.SID == sid.Domain() && !d.SID.IsZero() {
				p.Note = "no account of " + d.DNS + " has this SID"
				return p
			}
		}
		p.Note = "the SID is of a domain that is not part of this snapshot"
	}
	return p
}

// qualified resolves DOMAIN\name.
func (r *resolver) qualified(p Principal, domain, name string, h host) Principal {
	switch d := strings.ToLower(domain); d {
	case "builtin", "nt authority":
		if w, ok := r.wellKnown(p, name); ok {
			return w
		}
		p.Note = "no such built-in name in English"
		return p
	case ".":
		if p = r.hostAccount(p, name, h); p.Kind == UnresolvedName && p.Note == "" {
			p.Note = "a local account that hosts may have"
		}
		return p
	}
	d, ok := r.domains[strings.ToLower(domain)]
	if !ok {
		if w, ok := r.wellKnown(p, domain+`\`+name); ok {
			return w
		}
		p.Note = "domain " + domain + " is not part of this snapshot"
		return p
	}
	return r.inDomain(p, name, d)
}

func (r *resolver) wellKnown(p Principal, name string) (Principal, bool) {
	s, ok := wellKnown[strings.ToLower(name)]
	if !ok {
		return p, false
	}
	p.Kind, p.SID = WellKnown, secdesc.MustSID(s)
	p.ID = r.s.BySID(p.SID)
	return p, true
}

func (r *resolver) inDomain(p Principal, name string, d forest.Domain) Principal {
	for _, id := range r.s.BySAMAccountName(name) {
		if in, ok := r.s.DomainOf(id); ok && in.Head == d.Head {
			p.Kind, p.ID, p.SID = DomainAccount, id, r.s.SID(id)
			return p
		}
	}
	if d.Head == forest.None {
		p.Note = "domain " + d.DNS + " is not part of this snapshot"
		return p
	}
	p.Note = "no account of " + d.DNS + " has this name"
	return p
}

// plain resolves a name without a domain in the order of Windows ([MS-LSAT]
// 3.1.4.5): well-known and built-in names, the accounts of the host, its domain,
// then the other domains of the forest. A domain controller has no accounts of
// its own beside those of its domain.
func (r *resolver) plain(p Principal, name string, h host) Principal {
	if w, ok := r.wellKnown(p, name); ok {
		return w
	}
	if !h.dc {
		if q := r.hostAccount(p, name, h); q.Kind == HostAccount {
			return q
		} else if q.Note != "" {
			p.Note = q.Note
		}
	}
	note := p.Note
	q := r.inDomain(p, name, h.domain)
	if q.Kind == UnresolvedName {
		for _, d := range r.s.Domains() {
			if x := r.inDomain(p, name, d); d.Head != h.domain.Head && x.Kind == DomainAccount {
				q = x
				break
			}
		}
	}
	switch {
	case q.Kind == DomainAccount && note != "":
		q.Note = note + ", and is that of the domain account instead"
	case q.Kind == DomainAccount && !h.dc:
		q.Note = "a plain name: an account of the host with this name would take its place"
	case q.Kind == DomainAccount:
		q.Note = ""
	case note != "":
		q.Note = note
	case h.dc:
		q.Note = "no account of the forest has this name"
	default:
		q.Note = "no account of the forest has this name; hosts may have a local one"
	}
	return q
}

// hostAccount resolves the name of an account that every host has, under the name
// that policy gives it.
func (r *resolver) hostAccount(p Principal, name string, h host) Principal {
	low := strings.ToLower(name)
	for rid, ren := range h.renamed {
		if ren.state == Defined && strings.EqualFold(ren.to, name) {
			p.Kind, p.RID = HostAccount, rid
			return p
		}
	}
	rid, ok := hostAccounts[low]
	if !ok {
		return p
	}
	switch ren := h.renamed[rid]; ren.state {
	case Defined:
		p.Note = "policy renames the local account to " + ren.to + ", so this name no longer means it"
		return p
	case Undecided:
		if ren.to != "" {
			p.Note = "policy may rename the local account to " + ren.to + "; the name then no longer means it"
		}
	}
	p.Kind, p.RID = HostAccount, rid
	return p
}

// same reports whether two principals are the same one.
func (p Principal) same(q Principal) bool {
	switch {
	case !p.SID.IsZero() || !q.SID.IsZero():
		return p.SID == q.SID
	case p.Kind == HostAccount || q.Kind == HostAccount:
		return p.Kind == q.Kind && p.RID == q.RID
	}
	return strings.EqualFold(p.Raw, q.Raw)
}

// sameList reports whether two lists name the same principals.
func sameList(a, b []Principal) bool {
	within := func(a, b []Principal) bool {
		for _, p := range a {
			found := false
			for _, q := range b {
				found = found || p.same(q)
			}
			if !found {
				return false
			}
		}
		return true
	}
	return within(a, b) && within(b, a)
}
