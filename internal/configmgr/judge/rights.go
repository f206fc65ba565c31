package judge

import (
	"cmp"
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Where policy says that all users of computers have one roaming profile.
const (
	profileKey   = `SOFTWARE\Policies\Microsoft\Windows\System`
	profileValue = "MachineProfilePath"
)

// Where policy says that servers demand signed SMB.
const (
	signingKey   = `SYSTEM\CurrentControlSet\Services\LanManServer\Parameters`
	signingValue = "RequireSecuritySignature"
)

// denyOf is the right that takes a logon right away.
var denyOf = map[string]string{
	"SeInteractiveLogonRight": "SeDenyInteractiveLogonRight", "SeNetworkLogonRight": "SeDenyNetworkLogonRight",
	"SeBatchLogonRight": "SeDenyBatchLogonRight", "SeServiceLogonRight": "SeDenyServiceLogonRight",
	"SeRemoteInteractiveLogonRight": "SeDenyRemoteInteractiveLogonRight",
}

// userRight decides whether p has a right on h: granted and not denied.
func (w *world) userRight(p *principal, h *host, right string) ref.Val {
	grant, deny := w.granted(p, h, right), ref.Val(types.False)
	if d, ok := denyOf[right]; ok {
		deny = w.denyRight(p, h, d)
	}
	return and(grant, not(deny))
}

// granted decides whether a right is given to p, whatever is denied.
func (w *world) granted(p *principal, h *host, right string) ref.Val {
	if list, ok := w.hostRights(h, right); ok {
		return w.covers(p, h, list)
	}
	return w.policyRight(p, h, right)
}

// denyRight decides whether h denies p something by name: in its own security policy
// if that was read, and else by group policy.
func (w *world) denyRight(p *principal, h *host, right string) ref.Val {
	if list, ok := w.hostRights(h, right); ok {
		return w.covers(p, h, list)
	}
	if !h.scoped {
		return h.missingPolicy()
	}
	s := w.resultant(h, right)
	if s.State == gpo.NotDefined {
		return types.False
	}
	return w.covered(p, h, s)
}

// hostRights returns who holds a right on a host whose security policy was read.
func (w *world) hostRights(h *host, right string) ([]configmgr.Member, bool) {
	if h.fact == nil || w.unread(configmgr.ClassUserRights, h.name) != nil {
		return nil, false
	}
	return h.fact.UserRights[right], true
}

func (h *host) missingPolicy() ref.Val {
	return h.w.lack(Missing{Collector: "sysvol", Text: "the policies of " + h.name + " are not known: its computer account is not part of the snapshot"})
}

// A settingKey names a right in a scope.
type settingKey struct {
	scope gpo.ScopeID
	right string
}

// A resultant is what policy makes of a right in a scope. Whom part of its principals
// cover does not depend on the computer; equal parts have one number.
type resultant struct {
	gpo.Setting
	alike  int // 1 + index into world.alike; 0: there are none
	others []gpo.Principal
}

// resultant is what policy makes of a right on h.
func (w *world) resultant(h *host, right string) *resultant {
	k := settingKey{h.scope, right}
	s := w.settings[k]
	if s == nil {
		s = &resultant{Setting: w.gpo.Result(h.scope).Right(right)}
		s.alike, s.others = w.divide(s.Principals)
		w.settings[k] = s
	}
	return s
}

// divide separates the principals whom every computer takes for the same.
func (w *world) divide(list []gpo.Principal) (alike int, others []gpo.Principal) {
	var same []secdesc.SID
	for _, m := range list {
		if m.SID.IsZero() || m.SID.Domain() == builtinDomain || m.SID == localAdminAccount {
			others = append(others, m)
		} else {
			same = append(same, m.SID)
		}
	}
	if len(same) == 0 {
		return 0, others
	}
	i := slices.IndexFunc(w.alike, func(have []secdesc.SID) bool { return slices.Equal(have, same) })
	if i < 0 {
		i = len(w.alike)
		w.alike = append(w.alike, same)
	}
	return i + 1, others
}

// An alikeKey asks whether a principal holds one of the SIDs of world.alike.
type alikeKey struct {
	p     *principal
	alike int
}

// holdsAlike tells whether p holds one of the SIDs that every computer takes for the same.
func (w *world) holdsAlike(p *principal, alike int) ref.Val {
	if alike == 0 {
		return types.False
	}
	k := alikeKey{p, alike}
	v, ok := w.alikeHeld[k]
	if !ok {
		v = types.False
		for _, sid := range w.alike[alike-1] {
			v = or(v, w.coversSID(p, nil, sid))
		}
		w.alikeHeld[k] = v
	}
	return v
}

// policyRight decides by group policy alone; what no policy defines, the host decides.
func (w *world) policyRight(p *principal, h *host, right string) ref.Val {
	if !h.scoped {
		return h.missingPolicy()
	}
	s := w.resultant(h, right)
	if s.State == gpo.NotDefined {
		return w.lack(Missing{
			Collector: "host-lsa", Class: configmgr.ClassUserRights, Scope: h.scopeName(),
			Text: "no policy defines " + right + " on " + h.missingName() + ": the hosts' own security policy decides",
		})
	}
	return w.covered(p, h, s)
}

// covered tells whether a resultant right lists p.
func (w *world) covered(p *principal, h *host, s *resultant) ref.Val {
	if s.State == gpo.Undecided {
		return w.lack(Missing{Collector: "sysvol", Text: s.Name + " on " + h.name + ": " + strings.Join(s.Reasons, "; ")})
	}
	out := w.holdsAlike(p, s.alike)
	if out == types.True {
		return out
	}
	for _, m := range s.others {
		var v ref.Val
		if m.SID.IsZero() {
			v = w.unresolved(p, h, m, s.Name+" of "+h.name)
		} else {
			v = w.coversSID(p, h, m.SID)
		}
		if out = or(out, v); out == types.True {
			return out
		}
	}
	return out
}

// unresolved tells whether a name of a policy that is no account of the directory stands
// for p: one of the accounts that every host has for itself does not. Any other may be
// a local group of the host, or one of another domain, with p among its members.
func (w *world) unresolved(p *principal, h *host, m gpo.Principal, where string) ref.Val {
	switch {
	case m.Kind == gpo.HostAccount:
		return types.Bool(p.host != "" && h.class == nil && w.sameHostName(p.host, h) && strings.EqualFold(short(m.Raw), short(p.name)))
	case h.fact != nil && w.isLocalName(m.Raw, firstLabel(h.name)) && hasGroup(h.fact, short(m.Raw)):
		if in := w.among(p, h, groupOf(h.fact, short(m.Raw))); in == types.True || w.unread(configmgr.ClassGroups, h.name) == nil {
			return in
		}
	case w.hidden == "" && prefix(m.Raw) != "" && w.domainNamed(prefix(m.Raw)) != nil:
		return types.False // the domain has no such account
	}
	return w.lack(Missing{Collector: "sysvol", Text: where + " lists " + m.Raw + ": " + m.Note})
}

// covers tells whether a list of a host has p, or a group that it is in.
func (w *world) covers(p *principal, h *host, list []configmgr.Member) ref.Val {
	out := ref.Val(types.False)
	for _, m := range list {
		q := w.member(m, h.name)
		v := p.Equal(q)
		if v != types.True && !q.sid.IsZero() {
			v = w.coversSID(p, h, q.sid)
		} else if v != types.True && q.host != "" {
			v = w.localMember(p, h, short(q.name))
		}
		if out = or(out, v); out == types.True {
			return out
		}
	}
	return out
}

// localGroupNames are the built-in groups of every host.
var localGroupNames = map[secdesc.SID]string{
	administrators: "Administrators", localUsers: "Users", guests: "Guests",
	secdesc.MustSID("S-1-5-32-547"): "Power Users", secdesc.MustSID("S-1-5-32-551"): "Backup Operators",
	secdesc.MustSID("S-1-5-32-555"): "Remote Desktop Users", secdesc.MustSID("S-1-5-32-562"): "Distributed COM Users",
	secdesc.MustSID("S-1-5-32-580"): "Remote Management Users",
}

// Identities that only accounts of a host's own database hold ([MS-DTYP] 2.4.2.4).
var (
	localAccount      = secdesc.MustSID("S-1-5-113")
	localAdminAccount = secdesc.MustSID("S-1-5-114")
	thisOrganization  = secdesc.MustSID("S-1-5-15")
)

// coversSID tells whether p holds sid when it logs on to h, which counts for built-in
// groups and local administrators only.
func (w *world) coversSID(p *principal, h *host, sid secdesc.SID) ref.Val {
	switch {
	case sid == everyone || sid == authenticated || sid == interactive || sid == network:
		return types.True
	case sid == thisOrganization:
		return types.Bool(p.isOurs())
	case sid == localAccount:
		return types.Bool(p.host != "")
	case sid == localAdminAccount:
		return and(types.Bool(p.host != ""), w.localAdmin(p, h))
	case sid == administrators:
		return w.localAdmin(p, h)
	case sid == localUsers && (h.fact == nil || !hasGroup(h.fact, "Users")):
		return types.True // Authenticated Users and Domain Users are in it by default
	case sid.Domain() == builtinDomain && h.dc:
		return p.in(sid)
	case sid.Domain() == builtinDomain:
		name, ok := localGroupNames[sid]
		if !ok {
			return types.False // groups of operators exist on domain controllers only
		}
		return w.localMember(p, h, name)
	case !sid.IsDomainRelative():
		return types.False // services
	}
	return p.in(sid)
}

// localMember tells whether p is in a local group of h, by what was read of it or else
// by policy.
func (w *world) localMember(p *principal, h *host, name string) ref.Val {
	if h.fact == nil || !hasGroup(h.fact, name) {
		return w.policyMember(p, h, name) // every Windows has its built-in groups: one that is not in the list was not read
	}
	in := w.among(p, h, groupOf(h.fact, name))
	if in == types.True || w.unread(configmgr.ClassGroups, h.name) == nil {
		return in
	}
	return w.policyMember(p, h, name)
}

// groupOf returns the members of a group of a host, whatever the case of its name.
func groupOf(h *configmgr.Host, name string) []configmgr.Member {
	for n, m := range h.Groups {
		if strings.EqualFold(short(n), name) {
			return m
		}
	}
	return nil
}

// among tells whether p is one of a local group's members, or in one.
func (w *world) among(p *principal, h *host, list []configmgr.Member) ref.Val {
	out := ref.Val(types.False)
	for _, m := range list {
		q := w.member(m, h.name)
		v := p.Equal(q)
		if v != types.True && !q.sid.IsZero() && !isLocalGroupSID(q.sid) && q.sid != localAdminAccount {
			v = w.coversSID(p, h, q.sid)
		}
		if out = or(out, v); out == types.True {
			return out
		}
	}
	return out
}

// policyMember tells whether policy puts p into a local group, keeps it out, or leaves
// that to the host.
func (w *world) policyMember(p *principal, h *host, name string) ref.Val {
	unread := func() ref.Val {
		return w.lack(Missing{
			Collector: collectorOf[configmgr.ClassGroups], Class: configmgr.ClassGroups, Scope: h.scopeName(),
			Text: "the local group " + name + " of " + h.missingName() + " was not read",
		})
	}
	sid := localGroupNamed(name)
	if !h.scoped || sid.IsZero() {
		return unread()
	}
	g, ok := w.gpo.Result(h.scope).Group(sid)
	if !ok {
		return unread()
	}
	out := ref.Val(types.False)
	for _, m := range g.Members {
		var v ref.Val
		switch {
		case m.In == gpo.No:
			continue
		case m.SID.IsZero():
			v = w.unresolved(p, h, m.Principal, name+" of "+h.name)
		case isLocalGroupSID(m.SID), m.SID == localAdminAccount:
			continue // no local group is in another
		default:
			v = w.coversSID(p, h, m.SID)
		}
		if v == types.True && m.In == gpo.Unknown {
			v = w.lack(Missing{Collector: "sysvol", Text: name + " of " + h.name + ": " + strings.Join(m.Reasons, "; ")})
		}
		if out = or(out, v); out == types.True {
			return out
		}
	}
	if g.Exact != gpo.Yes || len(g.Problems) > 0 {
		return or(out, unread())
	}
	return out
}

// localGroupNamed returns the SID of a built-in group, zero if name is none.
func localGroupNamed(name string) secdesc.SID {
	if name == localGroupNames[administrators] { // what is asked for most
		return administrators
	}
	for sid, n := range localGroupNames {
		if n == name || strings.EqualFold(n, name) {
			return sid
		}
	}
	return secdesc.SID{}
}

// missingName names a computer whose own settings would have to be read. Of classes the
// same is missing on each: it is told once for all.
func (h *host) missingName() string {
	if h.class != nil {
		return "computers that the document does not describe"
	}
	return h.name
}

// scopeName is the name of a computer, "" of a class.
func (h *host) scopeName() string {
	if h.class != nil {
		return ""
	}
	return h.name
}

// localAdmin tells whether p is an effective administrator of h.
func (w *world) localAdmin(p *principal, h *host) ref.Val {
	h = h.asked(p)
	k := rightKey{p, h, "Administrators"}
	v, ok := w.rights[k]
	if !ok {
		v = w.findLocalAdmin(p, h)
		w.rights[k] = v
	}
	return v
}

func (w *world) findLocalAdmin(p *principal, h *host) ref.Val {
	if h.dc {
		return p.in(administrators)
	}
	if p.host != "" && h.class == nil && !w.sameHostName(p.host, h) {
		return types.False // an account of another host
	}
	return w.localMember(p, h, "Administrators")
}

func (w *world) sameHostName(name string, h *host) bool {
	return firstLabel(name) == firstLabel(h.name)
}

// localAdminHosts lists the computers on which p is an administrator; those of which
// it is not known are elements that may not belong there.
func (w *world) localAdminHosts(p *principal, s *configmgr.Site) ref.Val {
	if p.sid.IsZero() && p.host == "" {
		return p.known()
	}
	return w.remember("localAdminHosts "+s.Code+" "+p.sid.String()+p.host+p.name, func() ref.Val {
		var out []ref.Val
		for _, h := range w.hostsFor(s) {
			switch v := w.localAdmin(p, h).(type) {
			case types.Bool:
				if v {
					out = append(out, h)
				}
			case *types.Unknown:
				out = append(out, h.maybe(v))
			}
		}
		return lst(out, nil)
	})
}

// allHosts are the classes of computers, named ones among them, and those of which the
// document tells.
func (w *world) allHosts() []*host {
	c := w.classes()
	return slices.Concat(c.classes, c.peers, w.factHosts())
}

// factHosts are the computers of which the document tells, by name.
func (w *world) factHosts() []*host {
	var out []*host
	for i := range w.doc.Hosts {
		out = append(out, w.host(w.doc.Hosts[i].Name))
	}
	slices.SortFunc(out, func(a, b *host) int { return cmp.Compare(strings.ToLower(a.name), strings.ToLower(b.name)) })
	return slices.CompactFunc(out, func(a, b *host) bool { return a == b })
}
