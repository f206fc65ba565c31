package judge

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A principal is an account, group or identity, in the directory or of a host. There
// is one for each in a world, so that answers can be kept with it.
type principal struct {
	w    *world
	name string // as it was first met
	sid  secdesc.SID
	id   forest.ID // None if the snapshot has no object
	host string    // of a local account or group: DNS name or what precedes the name
	why  ref.Val   // no SID: unknown, and what would tell; nil if it is known not to exist
	gone bool      // known not to exist
	away bool      // named of a domain that is known to be none of the forest

	token map[secdesc.SID]bool
	tier  ref.Val
	aces  *list
}

// ConvertToNative refuses.
func (p *principal) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("a principal has no native form %s", t)
}

// ConvertToType refuses.
func (p *principal) ConvertToType(ref.Type) ref.Val { return types.NewErr("facts cannot be converted") }

// Type is principal.
func (p *principal) Type() ref.Type { return principalType }

// Value returns p itself.
func (p *principal) Value() any { return p }

// Equal compares SIDs where both are known, and else names.
func (p *principal) Equal(o ref.Val) ref.Val {
	q, ok := o.(*principal)
	switch {
	case !ok:
		return types.False
	case p == q:
		return types.True
	case !p.sid.IsZero() && !q.sid.IsZero():
		return types.Bool(p.sid == q.sid && p.host == q.host)
	case strings.EqualFold(p.name, q.name):
		return types.True
	case p.away && q.isOurs() || q.away && p.isOurs():
		return types.False
	case p.host != "" || q.host != "" || p.gone || q.gone:
		return types.Bool(p.host != "" && strings.EqualFold(p.host, q.host) && strings.EqualFold(short(p.name), short(q.name)))
	case p.sid.IsZero():
		return p.why
	}
	return q.why
}

// isOurs reports whether p is an account or group of the forest.
func (p *principal) isOurs() bool { return p.id != forest.None && !p.isForeign() }

// isForeign reports whether the directory has nothing of p but a stand-in for its
// SID: its account is of another forest.
func (p *principal) isForeign() bool {
	return p.id != forest.None && p.sid.IsDomainRelative() && p.w.s.IsA(p.id, "foreignSecurityPrincipal")
}

// readable is nil if the attributes of p's account can be asked for, else what to answer.
func (p *principal) readable() ref.Val {
	if p.isForeign() {
		return p.w.ldap(p.text() + " is of another forest: scan that")
	}
	return p.known()
}

func (p *principal) text() string {
	if p.id != forest.None && p.name == "" {
		return p.w.nameOf(p.sid)
	}
	if p.name != "" {
		return p.name
	}
	return p.w.nameOf(p.sid)
}

// known is nil if p can be asked about in the directory, else what to answer.
func (p *principal) known() ref.Val {
	if p.id != forest.None {
		return nil
	}
	if p.why != nil {
		return p.why
	}
	switch p.host {
	case "":
		return p.w.lack(Missing{Text: p.text() + " does not exist in the directory: see CMX-04"})
	case firmware:
		return p.w.lack(Missing{Text: p.text() + " is an account of firmware, not of Windows"})
	}
	return p.w.lack(Missing{Collector: "host-sam", Class: configmgr.ClassGroups, Scope: p.host, Text: p.text() + " is an account of " + p.host + " itself, which was not read"})
}

// firmware stands for the host of accounts that only firmware knows.
const firmware = "firmware"

// short is a name without its domain.
func short(name string) string {
	if i := strings.LastIndexByte(name, '\\'); i >= 0 {
		return name[i+1:]
	}
	if i := strings.IndexByte(name, '@'); i > 0 {
		return name[:i]
	}
	return name
}

// prefix is the domain of a name: DOMAIN\name, name@domain; "" if it has none.
func prefix(name string) string {
	if i := strings.LastIndexByte(name, '\\'); i >= 0 {
		return name[:i]
	}
	if i := strings.LastIndexByte(name, '@'); i >= 0 {
		return name[i+1:]
	}
	return ""
}

// member is the principal of a list entry, read on a host ("" if on none).
func (w *world) member(m configmgr.Member, on string) *principal {
	return w.principal(m.Name, m.SID, on)
}

func (w *world) members(list []configmgr.Member, on string) []ref.Val {
	out := make([]ref.Val, len(list))
	for i, m := range list {
		out[i] = w.member(m, on)
	}
	return out
}

// principal finds a principal by SID or else by name. A name of a host's own database
// belongs to that host.
func (w *world) principal(name string, sid *secdesc.SID, on string) *principal {
	name = strings.TrimSpace(name)
	key := principalKey{name: strings.ToLower(name)}
	if sid != nil {
		key = principalKey{sid: *sid}
	} else if known, ok := w.named[key.name]; ok {
		key = principalKey{sid: known}
	}
	on = firstLabel(on)
	switch {
	case key.sid.Domain() == builtinDomain:
		key.name = on
	case key.sid.IsZero() && prefix(name) == "" && on != "":
		key.name = on + `\` + key.name
	case !key.sid.IsZero():
		key.name = ""
	}
	if p := w.principals[key]; p != nil {
		return p
	}
	p := &principal{w: w, name: name, sid: key.sid, id: forest.None}
	switch {
	case !p.sid.IsZero():
		w.findSID(p, on)
	case name == "":
		p.why = w.ldap("a principal without name and identifier")
	default:
		w.findName(p, on)
	}
	if !p.sid.IsZero() && key.sid.IsZero() && p.sid.Domain() != builtinDomain {
		if q := w.principals[principalKey{sid: p.sid}]; q != nil {
			w.principals[key] = q
			return q
		}
		w.principals[principalKey{sid: p.sid}] = p
	}
	w.principals[key] = p
	return p
}

// ofObject is the principal of an object of the snapshot.
func (w *world) ofObject(id forest.ID) *principal {
	sid := w.s.SID(id)
	return w.principal(w.nameOf(sid), &sid, "")
}

func (w *world) ofSID(sid secdesc.SID) *principal { return w.principal("", &sid, "") }

// findSID looks for the object of p.sid.
func (w *world) findSID(p *principal, on string) {
	if p.sid.Domain() == builtinDomain {
		p.host = on
		return
	}
	p.id = w.s.BySID(p.sid)
	if p.id != forest.None || !p.sid.IsDomainRelative() {
		if p.id == forest.None {
			p.why = w.ldap(p.text() + " is an identity without an object")
		}
		return
	}
	for _, d := range w.domains {
		if d.SID != p.sid.Domain() {
			continue
		}
		if w.hidden == "" {
			p.gone = true
			return
		}
		p.why = w.ldap(p.text() + " was not found, and " + w.hidden)
		return
	}
	if p.host = w.machines[p.sid.Domain()]; p.host == "" && on != "" && w.isLocalName(p.name, on) {
		p.host = on
	}
	p.why = w.ldap(p.text() + " is of a domain that is not part of the snapshot: scan that domain")
}

// findName resolves a name as Windows writes it.
func (w *world) findName(p *principal, on string) {
	if sid, err := secdesc.ParseSID(p.name); err == nil {
		p.sid = sid
		w.findSID(p, on)
		return
	}
	if on == firmware {
		p.host = on
		return
	}
	dom, account := prefix(p.name), short(p.name)
	if sid, ok := secdesc.WellKnownSIDByName(account); ok && (dom == "" || isAuthority(dom)) {
		p.sid = sid
		w.findSID(p, on)
		return
	}
	d := w.domainNamed(dom)
	if dom != "" && d == nil {
		if ids := w.byUPN(p.name); len(ids) == 1 {
			p.id, p.sid = ids[0], w.s.SID(ids[0])
			return
		}
		if w.isHostName(dom, on) {
			p.host = firstLabel(dom)
			if dom == "." {
				p.host = on
			}
			return
		}
		p.why = w.ldap(p.name + " is of " + dom + ", which is not part of the snapshot: scan that domain")
		p.away = w.namesOthers(p.name, dom)
		return
	}
	var found []forest.ID
	for _, id := range w.s.BySAMAccountName(account) {
		if own, ok := w.s.DomainOf(id); d == nil || ok && own.Head == d.Head {
			found = append(found, id)
		}
	}
	if len(found) == 0 {
		found = w.byUPN(p.name)
	}
	switch {
	case len(found) == 1:
		p.id, p.sid = found[0], w.s.SID(found[0])
	case len(found) > 1:
		p.why = w.ldap(p.name + " is the name of several accounts: write its domain")
	case dom == "" && on != "":
		p.host = on
	case w.hidden != "":
		p.why = w.ldap(p.name + " was not found, and " + w.hidden)
	default:
		p.gone = true
	}
}

// namesOthers reports whether a name with a domain that is none of the forest can be
// of none of its accounts: a user principal name may have any suffix, and a domain
// whose NetBIOS name was not read may have any.
func (w *world) namesOthers(name, dom string) bool {
	if strings.Contains(name, "@") && !strings.Contains(name, `\`) && w.hidden != "" {
		return false
	}
	return strings.Contains(dom, ".") || !slices.ContainsFunc(w.domains, func(d forest.Domain) bool { return d.NetBIOS == "" })
}

// isLocalName reports whether a name that was read on a host is one of the host's own
// database: without a domain, or with the host's name.
func (w *world) isLocalName(name, on string) bool {
	dom := prefix(name)
	return name != "" && (dom == "" || dom == "." || firstLabel(dom) == on)
}

func (w *world) byUPN(name string) []forest.ID {
	if !strings.Contains(name, "@") {
		return nil
	}
	var out []forest.ID
	for _, id := range w.s.With(forest.UserPrincipalName) {
		if v, _ := w.s.Str(id, forest.UserPrincipalName); strings.EqualFold(v, name) {
			out = append(out, id)
		}
	}
	return out
}

// firstLabel is the first label of a host's name, in lower case.
func firstLabel(name string) string {
	name, _, _ = strings.Cut(strings.ToLower(name), ".")
	return name
}

// isAuthority reports whether a prefix names no domain but Windows itself.
func isAuthority(dom string) bool {
	return slices.ContainsFunc([]string{"BUILTIN", "NT AUTHORITY", "NT SERVICE"}, func(s string) bool { return strings.EqualFold(s, dom) })
}

// isHostName reports whether dom names a computer rather than a domain.
func (w *world) isHostName(dom, on string) bool {
	if dom == "." || on != "" && firstLabel(dom) == on {
		return true
	}
	if len(w.s.BySAMAccountName(firstLabel(dom)+"$")) > 0 {
		return true
	}
	_, ok := w.hosts[strings.ToLower(dom)]
	return ok
}

// domainNamed finds a domain of the forest by DNS or NetBIOS name.
func (w *world) domainNamed(name string) *forest.Domain {
	for i := range w.domains {
		if d := &w.domains[i]; strings.EqualFold(d.DNS, name) || strings.EqualFold(d.NetBIOS, name) {
			return d
		}
	}
	return nil
}

// nameOf puts a SID into words.
func (w *world) nameOf(sid secdesc.SID) string {
	if id := w.s.BySID(sid); id != forest.None && !w.s.IsA(id, "foreignSecurityPrincipal") {
		name, st := w.s.Str(id, forest.SAMAccountName)
		if st != forest.Known {
			name = w.s.Name(id)
		}
		if d, ok := w.s.DomainOf(id); ok && d.NetBIOS != "" && d.SID == sid.Domain() {
			return d.NetBIOS + `\` + name
		}
		return name
	}
	if name, ok := secdesc.WellKnownName(sid); ok {
		return name
	}
	return sid.String()
}

// Identities that a token holds without any group of the directory.
var (
	builtinDomain    = secdesc.MustSID("S-1-5-32")
	administrators   = secdesc.MustSID("S-1-5-32-544")
	localUsers       = secdesc.MustSID("S-1-5-32-545")
	everyone         = secdesc.MustSID("S-1-1-0")
	authenticated    = secdesc.MustSID("S-1-5-11")
	interactive      = secdesc.MustSID("S-1-5-4")
	network          = secdesc.MustSID("S-1-5-2")
	systemAccount    = secdesc.MustSID("S-1-5-18")
	selfIdentity     = secdesc.MustSID("S-1-5-10")
	preWindows2000   = secdesc.MustSID("S-1-5-32-554")
	guests           = secdesc.MustSID("S-1-5-32-546")
	accountOperators = secdesc.MustSID("S-1-5-32-548")
	anonymous        = secdesc.MustSID("S-1-5-7")
)

// holds reports whether a principal's token holds a SID on a host of its forest:
// through groups of any scope, and the identities that everybody has.
func (p *principal) holds(sid secdesc.SID) bool {
	if p.token == nil {
		p.token = map[secdesc.SID]bool{}
		if !p.sid.IsZero() {
			p.token[p.sid] = true
		}
		if p.host == "" || !isLocalGroupSID(p.sid) {
			p.token[everyone], p.token[authenticated] = true, true
		}
		if p.id != forest.None {
			for _, s := range p.w.x.Token(p.id) {
				p.token[s] = true
			}
			for _, g := range p.w.x.GroupsOf(p.id) {
				p.token[p.w.s.SID(g)] = true
			}
		}
	}
	return p.token[sid]
}

func isLocalGroupSID(sid secdesc.SID) bool { return sid.Domain() == builtinDomain }

// in tells whether p holds sid, and if not whether that is certain.
func (p *principal) in(sid secdesc.SID) ref.Val {
	if p.holds(sid) {
		return types.True
	}
	if p.id == forest.None {
		if p.host != "" {
			return types.False // a local account is in no group of the directory
		}
		return p.known()
	}
	if why := p.w.x.Unsure(sid); why != "" {
		return p.w.ldap(why)
	}
	return types.False
}

// is tells whether p is q or in it: q may be a group by name.
func (p *principal) within(q *principal) ref.Val {
	if eq := p.Equal(q); eq == types.True || q.sid.IsZero() {
		return eq
	}
	return p.in(q.sid)
}
