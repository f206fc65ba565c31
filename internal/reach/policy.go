package reach

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A linked policy is one whose links reach a container. Whom its security filter
// lets through does not matter to who controls the policy: he can change the
// filter, switch halves on, and write files at a place of his own.
type linked struct {
	policy    forest.ID
	container forest.ID // that has the link
	cond      cond
}

// linkedTo returns the policies linked to a container or further out, as far as
// inheritance is not blocked ([MS-GPOL] 3.2.5.1.5), and the containers whose links
// could not be read. Sites come last.
func (g *Graph) linkedTo(c forest.ID) ([]linked, []forest.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if have, ok := g.linkedAt[c]; ok {
		return have.list, have.unread
	}
	var out linkedList
	blocked, of := false, certain
	for o := c; o != forest.None; o = g.s.Parent(o) {
		if !g.takesLinks(o) {
			continue
		}
		g.addLinks(&out, o, blocked, of)
		options, st := g.s.Int(o, forest.GPOptions)
		blocked = blocked || options&1 != 0
		if st == forest.Unreadable {
			of = ifFilter // it may block what comes from further out
		}
		if g.isHead[o] {
			break
		}
	}
	if len(g.sites) > 1 {
		of = max(of, ifInSite)
	}
	for _, site := range g.sites {
		g.addLinks(&out, site, blocked, of)
	}
	g.linkedAt[c] = out
	return out.list, out.unread
}

type linkedList struct {
	list   []linked
	unread []forest.ID
}

func (g *Graph) addLinks(out *linkedList, container forest.ID, blocked bool, of cond) {
	text, st := g.s.Str(container, forest.GPLink)
	if st == forest.Absent {
		return
	}
	entries, err := gpo.ParseLinks(text)
	if st == forest.Unreadable || err != nil {
		out.unread = append(out.unread, container)
		return
	}
	for _, l := range entries {
		if l.Flags&gpo.LinkFlagDisabled != 0 || blocked && l.Flags&gpo.LinkFlagEnforced == 0 {
			continue
		}
		if id := g.policyNamed(l.DN); id != forest.None {
			on := of
			if on == ifFilter && l.Flags&gpo.LinkFlagEnforced != 0 {
				on = certain // blocking does not stop it
			}
			out.list = append(out.list, linked{id, container, on})
		}
	}
}

// policyNamed is Lookup of a policy: thousands of containers link the same few. g.mu
// is held.
func (g *Graph) policyNamed(dn string) forest.ID {
	id, ok := g.policies[dn]
	if !ok {
		id = g.s.Lookup(dn)
		g.policies[dn] = id
	}
	return id
}

// placed visits what decides about account id by where it is: policies, and those
// that can link policies.
func (q *search) placed(id forest.ID) {
	g := q.sol.g
	c := g.s.Parent(id)
	to := node(id)
	q.sol.trace.enter(q, placeHub(c), to)
	defer q.sol.trace.leave()
	switch {
	case c == forest.None || q.homes.has(c):
		return
	case q.web != nil:
		if !q.web.enter(hubKey{container: c}, to) {
			return
		}
		defer q.web.leave()
	}
	list, unread := g.linkedTo(c)
	q.unread = append(q.unread, unread...)
	for _, l := range list {
		q.follow(edge{
			from: node(l.policy), to: to, kind: PolicyApplies, cond: l.cond, via: l.container,
			text: "gPLink of " + g.s.DN(l.container),
		})
	}
	if q.web == nil { // a web needs those of every container
		q.homes.add(c)
	}
	q.sol.trace.chain(q, c)
	for o := c; o != forest.None && !q.links[o]; o = g.s.Parent(o) {
		q.links[o] = q.web == nil
		q.sol.trace.from(q, linkHub(o))
		if g.takesLinks(o) {
			q.visit(g.facetOf(o, linking), step{next: to, kind: LinkReaches, ace: implicit, via: forest.None, aux: -1})
		}
		if g.isHead[o] {
			break
		}
	}
	q.sol.trace.from(q, placeHub(c))
	of := certain
	if len(g.sites) > 1 {
		of = ifInSite
	}
	for _, site := range g.sites {
		q.follow(edge{from: g.facetOf(site, linking), to: to, kind: LinkReaches, cond: of, via: forest.None})
	}
}

// hosted visits those whom policy gives power over a computer, and those who can
// write the files of a policy that it applies.
func (q *search) hosted(id forest.ID) {
	g := q.sol.g
	if g.gpo == nil {
		return
	}
	scope, ok := g.gpo.ScopeOf(id)
	if ok {
		q.sol.trace.enter(q, scopeHub(scope), node(id))
		defer q.sol.trace.leave()
	}
	switch {
	case !ok || q.scopes[scope]:
		return
	case q.web != nil:
		if !q.web.enter(hubKey{container: forest.None, scope: scope}, node(id)) {
			return
		}
		defer q.web.leave()
	}
	q.scopes[scope] = q.web == nil
	r := g.gpo.Result(scope)
	to := node(id)
	for _, p := range r.Policies {
		if p.Policy == nil || p.Policy.ID == forest.None {
			continue
		}
		c := certain
		if len(p.When) > 0 {
			c = ifFilter
		}
		q.follow(edge{from: g.facetOf(p.Policy.ID, filing), to: to, kind: PolicyApplies, cond: c, via: forest.None, text: p.Policy.String()})
	}
	for _, h := range g.hostPower(r) {
		if _, ok := g.selective[h.sid.Domain()]; ok { // whether the host lets it in is not looked at
			q.follow(edge{from: g.identity(h.sid), to: to, kind: h.kind, cond: max(h.cond, ifAuthenticates), via: forest.None, text: h.text})
			continue
		}
		g.holders(h.sid, g.x.domain[id], func(v node) {
			q.follow(edge{from: v, to: to, kind: h.kind, cond: h.cond, via: forest.None, text: h.text})
		})
	}
}

// follow visits the beginning of an edge.
func (q *search) follow(e edge) {
	if e.cond != certain && !q.sol.possible {
		return
	}
	if q.every == nil && q.has(e.from) {
		q.sol.trace.note(q, e.from, e.to)
		return
	}
	if q.web != nil {
		q.detail = q.detail[:0]
	}
	kept := e
	q.detail = append(q.detail, detail{edge: &kept})
	q.visit(e.from, step{next: e.to, kind: e.kind, cond: e.cond, ace: implicit, via: e.via, aux: int32(len(q.detail) - 1)})
}

// A hostGrant is power over the hosts of a scope that policy gives.
type hostGrant struct {
	sid  secdesc.SID
	kind Kind
	cond cond
	text string
}

// strongRights are user rights that give their holder the whole host.
var strongRights = []string{
	"SeTcbPrivilege", "SeCreateTokenPrivilege", "SeDebugPrivilege", "SeAssignPrimaryTokenPrivilege", "SeLoadDriverPrivilege",
	"SeRestorePrivilege", "SeTakeOwnershipPrivilege", "SeManageVolumePrivilege", "SeBackupPrivilege", "SeImpersonatePrivilege",
}

// logonRights let an account use its rights on a host.
var logonRights = []string{
	"SeInteractiveLogonRight", "SeRemoteInteractiveLogonRight", "SeNetworkLogonRight", "SeBatchLogonRight", "SeServiceLogonRight",
}

// hostPower lists whom policy makes administrator of the hosts of a scope, or
// gives a right that amounts to it.
func (g *Graph) hostPower(r *gpo.Result) []hostGrant {
	var out []hostGrant
	if admins, ok := r.Group(secdesc.Administrators); ok {
		for _, m := range admins.Members {
			if m.SID.IsZero() || m.In == gpo.No {
				continue
			}
			h := hostGrant{sid: m.SID, kind: LocalAdministrator, text: "Administrators, " + originText(m)}
			if m.In == gpo.Unknown {
				h.cond = ifFilter
			}
			out = append(out, h)
		}
	}
	for _, name := range strongRights {
		out = append(out, g.rightHolders(r, name)...)
	}
	return out
}

func originText(m gpo.Member) string {
	if m.Default {
		return "by default"
	}
	if m.Source.Policy == nil {
		return "by policy"
	}
	return sourceText(m.Source)
}

func sourceText(s gpo.Source) string {
	if s.Policy == nil {
		return "a policy that could not be read"
	}
	if s.Line == 0 {
		return fmt.Sprintf("%s, %s", s.Policy, s.File)
	}
	return fmt.Sprintf("%s, %s:%d", s.Policy, s.File, s.Line)
}

// rightHolders lists the principals of the forest that hold a user right.
func (g *Graph) rightHolders(r *gpo.Result, name string) []hostGrant {
	set := r.Right(name)
	var out []hostGrant
	for _, o := range set.Outcomes {
		if !o.Defined {
			continue
		}
		for _, p := range o.Principals {
			if p.SID.IsZero() || !r.DC && p.SID.Domain() == secdesc.Builtin || isOfHost(p.SID) {
				continue // the host's own groups and services
			}
			h := hostGrant{sid: p.SID, kind: UserRight, text: name + ", " + sourceText(o.Source)}
			switch {
			case len(set.Outcomes) > 1:
				h.cond = ifFilter
			case !logsOn(r, p.SID):
				h.cond = ifOnHost
			}
			out = append(out, h)
		}
	}
	return out
}

// isOfHost reports whether sid stands for services of each host.
func isOfHost(sid secdesc.SID) bool {
	return slices.Contains([]secdesc.SID{secdesc.LocalService, secdesc.NetworkService, secdesc.Service, secdesc.System}, sid) ||
		strings.HasPrefix(sid.String(), "S-1-5-80-")
}

// logsOn reports whether policy surely lets sid log on to the hosts of a scope in
// one way, and refuses it none.
func logsOn(r *gpo.Result, sid secdesc.SID) bool {
	is := func(p gpo.Principal) bool {
		return p.SID == sid || p.SID == secdesc.Everyone || p.SID == secdesc.AuthenticatedUsers
	}
	for _, name := range logonRights {
		refused := r.Right("SeDeny" + strings.TrimPrefix(name, "Se"))
		if refused.State == gpo.Defined && len(refused.Principals) > 0 || refused.State == gpo.Undecided {
			continue // whom this stops depends on the whole token
		}
		if set := r.Right(name); set.State == gpo.Defined && set.Holds(is) == gpo.Yes {
			return true
		}
	}
	return false
}
