package judge

import (
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// functions lists the functions of conditions.
func functions() []*function {
	return slices.Concat(listFunctions(), directoryFunctions(), accountFunctions(), rightFunctions(), hostFunctions(), siteFunctions(), productFunctions())
}

func in(t ...*cel.Type) []*cel.Type { return t }

// Shorthands for arguments of functions.
func who(v ref.Val) *principal { p, _ := v.(*principal); return p }
func machine(v ref.Val) *host  { h, _ := v.(*host); return h }

// Evidence that functions need, in words.
const (
	needsNothing   = "nothing beyond its arguments"
	needsDirectory = "the account's object, memberships and descriptors (ldap, T0)"
	needsPolicy    = "policies (sysvol, T0); where no policy decides, the host's own security policy (host-lsa, T2)"
	needsGroups    = "local groups (host-sam, T2), or a policy that sets them (sysvol, T0)"
	needsHostACL   = "folders and shares with permissions (host-acl, T2)"
	needsRoles     = "site systems and roles (adminservice, T1)"
	needsSlots     = "who fills the slot (adminservice or cmdlet, T1)"
	needsAdmins    = "administrative users and roles (adminservice, T1)"
	needsSettings  = "the setting (adminservice or cmdlet, T1)"
	needsSteps     = "task sequences with the names of accounts (cmdlet, T1)"
	needsPackages  = "packages with access lists (adminservice, T1)"
	needsSQL       = "roles and rights of the database (sql, T3)"
	needsPeople    = "a valid statement of a person (attestation, M)"
	needsState     = "what leastwise itself remembers (product-state)"
)

func listFunctions() []*function {
	return []*function{
		{"empty", in(anyList), cel.BoolType, needsNothing, "the list has no element", func(ev *evaluation, a []ref.Val) ref.Val {
			known, gap := elements(a[0])
			if len(known) > 0 {
				offendAll(ev, known)
				return types.False
			}
			return orUnknown(gap, types.True)
		}},
		{"at_most", in(anyList, cel.IntType), cel.BoolType, needsNothing, "the list has no more elements than a number", func(_ *evaluation, a []ref.Val) ref.Val {
			known, gap := elements(a[0])
			if len(known) > int(a[1].(types.Int)) {
				return types.False
			}
			return orUnknown(gap, types.True)
		}},
		{"exactly", in(anyList, cel.IntType), cel.BoolType, needsNothing, "the list has that number of elements", func(_ *evaluation, a []ref.Val) ref.Val {
			known, gap := elements(a[0])
			if len(known) > int(a[1].(types.Int)) {
				return types.False
			}
			return orUnknown(gap, types.Bool(len(known) == int(a[1].(types.Int))))
		}},
		{"in_set", in(anyType, anyList), cel.BoolType, needsNothing, "the list has an element", func(_ *evaluation, a []ref.Val) ref.Val { return isIn(a[0], a[1]) }},
		{"subset", in(anyList, anyList), cel.BoolType, needsNothing, "every element of the first list is in the second", func(ev *evaluation, a []ref.Val) ref.Val {
			v, outside := isSubset(a[0], a[1])
			offendAll(ev, outside)
			return v
		}},
		{"set_equal", in(anyList, anyList), cel.BoolType, needsNothing, "both lists have the same elements", func(ev *evaluation, a []ref.Val) ref.Val {
			x, more := isSubset(a[0], a[1])
			y, fewer := isSubset(a[1], a[0])
			offendAll(ev, more)
			for _, v := range fewer {
				ev.offenders = append(ev.offenders, "missing: "+textOf(v))
			}
			return and(x, y)
		}},
		{"none", in(anyList, anyList), cel.BoolType, needsNothing, "no element of the first list is in the second", func(ev *evaluation, a []ref.Val) ref.Val {
			known, gap := elements(a[0])
			out := orUnknown(gap, types.True)
			for _, v := range known {
				is := isIn(v, a[1])
				if is == types.True {
					ev.offend(v)
				}
				out = and(out, not(is))
			}
			return out
		}},
		{"union", in(anyList, anyList), anyList, needsNothing, "the elements of both lists", func(_ *evaluation, a []ref.Val) ref.Val { return union(a[0], a[1]) }},
		{"all_equal", in(cel.ListType(anyList)), cel.BoolType, needsNothing, "all lists have the same elements", func(_ *evaluation, a []ref.Val) ref.Val {
			known, gap := elements(a[0])
			out := orUnknown(gap, types.True)
			for i := 1; i < len(known); i++ {
				out = and(out, setEqual(known[0], known[i]))
			}
			return out
		}},
		{"min", in(timeList), cel.TimestampType, needsNothing, "the earliest of times; the end of time if there is none", func(_ *evaluation, a []ref.Val) ref.Val {
			known, gap := elements(a[0])
			if gap != nil {
				return gap
			}
			least := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
			for _, v := range known {
				if t := v.(types.Timestamp).Time; t.Before(least) {
					least = t
				}
			}
			return timestamp(least)
		}},
		{"contains", in(cel.StringType, cel.StringType), cel.BoolType, needsNothing, "a text contains another", func(_ *evaluation, a []ref.Val) ref.Val {
			return types.Bool(strings.Contains(str(a[0]), str(a[1])))
		}},
		{"below", in(cel.StringType, cel.StringType), cel.BoolType, needsNothing, "a path is that of a folder named by path(), or below it, wherever the product is installed", func(_ *evaluation, a []ref.Val) ref.Val {
			return types.Bool(belowPath(str(a[0]), str(a[1])))
		}},
		{"path", in(cel.StringType), cel.StringType, needsNothing, "the end of the path of a folder: filecol, inboxes, statmgr.box, osd-boot, osd-bin, despoolr-receive", func(_ *evaluation, a []ref.Val) ref.Val {
			if p, ok := folders[str(a[0])]; ok {
				return types.String(p)
			}
			return types.NewErr("no folder is called %q", str(a[0]))
		}},
		{"under", in(cel.StringType, cel.StringType), cel.BoolType, needsNothing, "a distinguished name is another, or below it", func(_ *evaluation, a []ref.Val) ref.Val {
			return types.Bool(isUnder(str(a[0]), str(a[1])))
		}},
		{"under_any", in(cel.StringType, textList), cel.BoolType, needsNothing, "a distinguished name is one of those, or below one", func(_ *evaluation, a []ref.Val) ref.Val {
			return types.Bool(slices.ContainsFunc(textsOf(a[1]), func(top string) bool { return isUnder(str(a[0]), top) }))
		}},
		{"days_since", in(cel.TimestampType), cel.IntType, needsNothing, "whole days since a time", func(ev *evaluation, a []ref.Val) ref.Val {
			return types.Int(ev.w.now.Sub(a[0].(types.Timestamp).Time) / (24 * time.Hour))
		}},
		{"looks_like_secret_name", in(cel.StringType), cel.BoolType, needsNothing, "a name speaks of passwords, accounts, secrets or keys", func(_ *evaluation, a []ref.Val) ref.Val {
			name := strings.ToLower(str(a[0]))
			return types.Bool(slices.ContainsFunc([]string{"password", "passwd", "pwd", "account", "username", "secret", "key", "credential", "token"}, func(w string) bool { return strings.Contains(name, w) }))
		}},
	}
}

func offendAll(ev *evaluation, list []ref.Val) {
	for _, v := range list {
		ev.offend(v)
	}
}

func directoryFunctions() []*function {
	return []*function{
		{"exists", in(principalType), cel.BoolType, needsDirectory, "the principal resolves to an object or a well-known identity; a local account counts where it was named", func(_ *evaluation, a []ref.Val) ref.Val { return resolved(who(a[0])) }},
		{"resolves", in(principalType), cel.BoolType, needsDirectory, "the same", func(_ *evaluation, a []ref.Val) ref.Val { return resolved(who(a[0])) }},
		{"tier0", in(principalType), cel.BoolType, needsDirectory, "the principal can gain Tier 0 of the forest, by membership or by control", func(ev *evaluation, a []ref.Val) ref.Val { return ev.w.inTierZero(who(a[0])) }},
		{"member_of", in(principalType, cel.StringType), cel.BoolType, needsDirectory, "an effective member of the groups of that name in any domain", func(ev *evaluation, a []ref.Val) ref.Val { return ev.w.memberOf(who(a[0]), str(a[1])) }},
		{"groups_of", in(principalType), textList, needsDirectory, "names of the groups that the account is effectively in; of those that everybody is in only Domain Users, and none that policies use for nothing but to deny logon", func(ev *evaluation, a []ref.Val) ref.Val { return ev.w.groupsOf(who(a[0])) }},
		{"is_group", in(principalType), cel.BoolType, needsDirectory, "a group of the directory", func(ev *evaluation, a []ref.Val) ref.Val {
			p := who(a[0])
			if u := p.known(); u != nil {
				return u
			}
			return types.Bool(ev.w.s.IsA(p.id, "group"))
		}},
		{"is_broad", in(principalType), cel.BoolType, needsDirectory, "an identity or group that stands for everybody", func(ev *evaluation, a []ref.Val) ref.Val { return isIn(a[0], lst(ev.w.broad(), nil)) }},
		{"well_known", in(cel.StringType), principalType, needsNothing, "the well-known identity of that English name", func(ev *evaluation, a []ref.Val) ref.Val { return ev.w.principal(str(a[0]), nil, "") }},
		{"dn", in(cel.StringType), cel.StringType, needsRoles, "a distinguished name in the domain at hand: of the control, or else of the site", func(ev *evaluation, a []ref.Val) ref.Val { return ev.domainDN(str(a[0])) }},
		{"ad_right", in(principalType, cel.StringType, cel.StringType), cel.BoolType, needsDirectory, "effective right on an object: read, write (any) or full-control", func(ev *evaluation, a []ref.Val) ref.Val {
			return ev.w.adRight(who(a[0]), locationDN(str(a[1])), str(a[2]))
		}},
		{"ad_right_inherits", in(principalType, cel.StringType, cel.StringType), cel.BoolType, needsDirectory, "an entry gives full control in a scope: this-and-all-descendants", func(ev *evaluation, a []ref.Val) ref.Val {
			return ev.w.adRightInherits(who(a[0]), str(a[1]), str(a[2]))
		}},
		{"ad_write_aces", in(principalType), cel.ListType(aceType), needsDirectory, "what explicit entries let the principal and its groups write, in the whole forest; what every account has does not count, and what is denied is left out", func(ev *evaluation, a []ref.Val) ref.Val {
			p := who(a[0])
			if u := p.known(); u != nil {
				return lst(nil, u)
			}
			return ev.rebind(ev.w.writeACEs(p))
		}},
		{"writers", in(cel.StringType), principalList, needsDirectory, "trustees of entries that let change an object, and its owner", func(ev *evaluation, a []ref.Val) ref.Val {
			id, u := ev.w.object(str(a[0]))
			if id == forest.None {
				return lst(nil, u)
			}
			return asList(ev.w.writersOf(id, false))
		}},
		{"writers", in(principalType), principalList, needsDirectory, "trustees of entries that let change who is in a group, and its owner", func(ev *evaluation, a []ref.Val) ref.Val {
			if u := who(a[0]).known(); u != nil {
				return lst(nil, u)
			}
			return asList(ev.w.writersOf(who(a[0]).id, true))
		}},
		{"made_of", in(principalType, principalList), cel.BoolType, needsDirectory, "a group of the directory that has members, each of which, through groups too, is in the list", func(ev *evaluation, a []ref.Val) ref.Val {
			return ev.w.madeOf(who(a[0]), a[1])
		}},
		{"approved_writers", in(principalType), principalList, needsState, "the default administrators of the directory, Account Operators whom every group lets in by default, and whom an exception on group-writer names", func(ev *evaluation, _ []ref.Val) ref.Val {
			out := append(ev.w.defaultAdministrators(), ev.w.ofSID(accountOperators)) // the default of every group
			for _, e := range ev.w.doc.Exceptions {
				if e.Topic == "group-writer" && !e.Expires.Before(ev.w.now) {
					out = append(out, ev.w.principal(e.Name, nil, ""))
				}
			}
			return lst(out, nil)
		}},
		{"owned_objects", in(principalType), cel.ListType(objectType), needsDirectory, "objects of the directory whose owner the principal is", func(ev *evaluation, a []ref.Val) ref.Val {
			p := who(a[0])
			if u := p.known(); u != nil {
				return lst(nil, u)
			}
			var out []ref.Val
			for _, id := range ev.w.perms().owned[p.sid] {
				out = append(out, record{ev, objectType, id, ev.w.s.DN(id)})
			}
			return lst(out, ev.w.permissionGap())
		}},
		{"is_tier0_object", in(objectType), cel.BoolType, needsDirectory, "an object of Tier 0, or one that can gain it", func(ev *evaluation, a []ref.Val) ref.Val {
			id := a[0].(record).v.(forest.ID)
			t := ev.w.tierZero()
			if slices.Contains(t.reach.Goals(), id) {
				return types.True
			}
			if ev.w.s.SID(id).IsZero() {
				return types.False
			}
			return ev.w.inTierZero(ev.w.ofObject(id))
		}},
		{"can_join_computers", in(principalType), cel.BoolType, needsDirectory + "; user rights of domain controllers (sysvol, T0)", "can join computers or take over their accounts: by the quota, by delegation or as owner", func(ev *evaluation, a []ref.Val) ref.Val { return ev.w.joins(who(a[0])) }},
		{"has_join_delegation", in(principalType, textList), cel.BoolType, needsDirectory, "entries let the account create computers in each of the containers", func(ev *evaluation, a []ref.Val) ref.Val { return ev.w.joinDelegated(who(a[0]), textsOf(a[1])) }},
		{"ad_account_named", in(cel.StringType), cel.BoolType, needsDirectory, "an account of the directory has that name", func(ev *evaluation, a []ref.Val) ref.Val {
			if len(ev.w.s.BySAMAccountName(short(str(a[0])))) > 0 {
				return types.True
			}
			return orElse(ev.w.hiddenTrusts(), types.False)
		}},
		{"trusted", in(cel.StringType, cel.StringType), cel.BoolType, needsDirectory, "the second domain trusts the first: one of its forest, or by a trust of its own", func(ev *evaluation, a []ref.Val) ref.Val { return ev.w.trusts(str(a[0]), str(a[1])) }},
		{"mssms_management_point", in(principalType), cel.BoolType, needsDirectory, "the directory has an mSSMSManagementPoint for the computer", func(ev *evaluation, a []ref.Val) ref.Val { return ev.w.managementPoint(who(a[0])) }},
		{"forest_of", in(cel.StringType), cel.StringType, needsSettings, "the forest of a thing that the site has one for: health-state-reference", func(ev *evaluation, a []ref.Val) ref.Val {
			v, u := ev.w.setting(ev.site, "health-state.forest")
			if s, ok := v.(string); ok && str(a[0]) == "health-state-reference" {
				return types.String(strings.ToLower(s))
			}
			return orElse(u, types.NewErr("no forest is known for %q", str(a[0])))
		}},
		{"replicated", in(principalType), cel.BoolType, "creation and password of the account (ldap, T0), since when it is configured (product-state), or a statement on replicated", "the account reached every domain controller before it was used: it was created and its password set a week or more ago, and before it was configured", func(ev *evaluation, a []ref.Val) ref.Val { return ev.replicated(who(a[0])) }},
	}
}

// resolved tells whether a principal stands for somebody.
func resolved(p *principal) ref.Val {
	switch {
	case p.gone:
		return types.False
	case p.id != forest.None, p.host != "", !p.sid.IsZero() && !p.sid.IsDomainRelative():
		return types.True
	}
	return p.known()
}

// asList is a list as it is, or one with nothing but a gap.
func asList(v ref.Val) ref.Val {
	if isUnknown(v) {
		return lst(nil, v)
	}
	return v
}

// rebind gives the records of a kept list the evaluation at hand.
func (ev *evaluation) rebind(l *list) *list {
	out := &list{make([]ref.Val, len(l.known)), l.gap}
	for i, v := range l.known {
		r := v.(record)
		r.ev = ev
		out.known[i] = r
	}
	return out
}

// domainDN completes a distinguished name with that of the domain at hand.
func (ev *evaluation) domainDN(rest string) ref.Val {
	name := ev.domain
	if name == "" {
		if ev.a != nil && ev.a.location != "" && ev.w.domainNamed(ev.a.location) != nil {
			name = ev.a.location
		} else if d, ok := ev.siteDomain().(types.String); ok {
			name = string(d)
		} else {
			return ev.siteDomain()
		}
	}
	d := ev.w.domainNamed(name)
	if d == nil || d.DN == "" {
		return ev.w.ldap("the domain " + name + " is not part of the snapshot: scan it")
	}
	return types.String(rest + "," + d.DN)
}

// memberOf tells whether p is effectively in a group of that name.
func (w *world) memberOf(p *principal, name string) ref.Val {
	if u := p.known(); u != nil {
		if p.host != "" {
			return types.False
		}
		return u
	}
	out := ref.Val(types.False)
	found := false
	for _, id := range w.s.BySAMAccountName(name) {
		if w.s.IsA(id, "group") {
			found = true
			out = or(out, p.in(w.s.SID(id)))
		}
	}
	if !found && w.hidden != "" {
		return w.ldap("the group " + name + " was not found, and " + w.hidden)
	}
	return out
}

// groupsOf lists the names of p's groups.
func (w *world) groupsOf(p *principal) ref.Val {
	if u := p.known(); u != nil {
		return lst(nil, u)
	}
	var out []ref.Val
	var gap ref.Val
	for _, g := range w.x.GroupsOf(p.id) {
		sid := w.s.SID(g)
		rid, _ := sid.RID()
		switch {
		case sid.IsDomainRelative() && rid == 513:
			out = append(out, types.String("Domain Users"))
		case w.isCommon(sid), w.onlyDenies()[sid]:
		default:
			name, _ := w.s.Str(g, forest.SAMAccountName)
			out = append(out, types.String(name))
		}
	}
	if w.hidden != "" {
		gap = w.ldap(w.hidden)
	}
	return lst(out, gap)
}

// onlyDenies are the groups that policies deny logon to, and that give nothing: no
// policy grants them a right, no entry of the directory lets them write.
func (w *world) findOnlyDenies() map[secdesc.SID]bool {
	denied, granted := map[secdesc.SID]bool{}, map[secdesc.SID]bool{}
	for _, h := range w.allHosts() {
		if !h.scoped {
			continue
		}
		for _, s := range w.gpo.Result(h.scope).Rights() {
			for _, p := range s.Principals {
				if strings.HasPrefix(s.Name, "SeDeny") {
					denied[p.SID] = true
				} else {
					granted[p.SID] = true
				}
			}
		}
	}
	for sid := range denied {
		id := w.s.BySID(sid)
		if granted[sid] || len(w.perms().writes[sid]) > 0 || id == forest.None || len(w.x.GroupsOf(id)) > 0 {
			delete(denied, sid)
		}
	}
	return denied
}

// joinDelegated tells whether p may create computers in each of some containers.
func (w *world) joinDelegated(p *principal, ous []string) ref.Val {
	if u := p.known(); u != nil {
		return u
	}
	if len(ous) == 0 {
		return w.lack(Missing{Collector: "product-state", Text: "into which containers computers are joined is not said: parameter joinOUs"})
	}
	out := ref.Val(types.True)
	l := w.writeACEs(p)
	for _, ou := range ous {
		id, u := w.object(ou)
		if id == forest.None {
			if u == nil {
				u = w.lack(Missing{Collector: "product-state", Text: ou + " of the parameter joinOUs is not part of the directory"})
			}
			out = and(out, u)
			continue
		}
		has := ref.Val(types.False)
		for _, v := range l.known {
			x := v.(record).v.(adACE)
			here := x.here && strings.EqualFold(ou, x.dn)
			if !here && !(x.below && !strings.EqualFold(ou, x.dn) && isUnder(ou, x.dn) && (w.inheritedBy(x, "organizationalUnit") || w.inheritedBy(x, "container"))) {
				continue
			}
			if slices.Contains([]string{"create-child-computer", "create-child", "full-control"}, x.kind) {
				has = types.True
			}
		}
		out = and(out, or(has, orUnknown(l.gap, types.False)))
	}
	return out
}

// replicated tells whether an account had reached every domain controller in time.
func (ev *evaluation) replicated(p *principal) ref.Val {
	if a := ev.attestation("replicated"); a != nil {
		return types.Bool(a.Value)
	}
	set, ok := ev.w.passwordSet(p).(types.Timestamp)
	if !ok {
		return ev.w.passwordSet(p)
	}
	made, st := ev.w.s.Time(p.id, forest.WhenCreated)
	if st != forest.Known {
		return ev.w.unreadable(p.id, forest.WhenCreated)
	}
	latest := made
	if set.After(latest) {
		latest = set.Time
	}
	switch {
	case ev.a != nil && !ev.a.firstSeen.IsZero() && made.After(ev.a.firstSeen):
		return types.False
	case ev.w.now.Sub(latest) >= 7*24*time.Hour:
		return types.True
	}
	return ev.w.ldap(p.text() + " changed less than a week ago: read it from every domain controller")
}

func accountFunctions() []*function {
	return []*function{
		{"enabled", in(principalType), cel.BoolType, needsDirectory, "the account is not disabled; one that is gone counts as disabled", func(ev *evaluation, a []ref.Val) ref.Val { return ev.w.enabled(who(a[0])) }},
		{"pwd_last_set", in(principalType), cel.TimestampType, needsDirectory, "when the password was set", func(ev *evaluation, a []ref.Val) ref.Val { return ev.w.passwordSet(who(a[0])) }},
		{"assigned", in(cel.StringType), principalList, needsSlots, "who fills a slot of the site, with those that are assigned to the hierarchy", func(ev *evaluation, a []ref.Val) ref.Val {
			if ev.w.entry(str(a[0])) == nil {
				return types.NewErr("no entry is called %q", str(a[0]))
			}
			return ev.assigned(str(a[0]))
		}},
		{"assigned_anywhere", in(cel.StringType), principalList, needsSlots, "who fills a slot on any site of the hierarchy", func(ev *evaluation, a []ref.Val) ref.Val {
			var out []ref.Val
			var gap *types.Unknown
			for _, x := range ev.w.all {
				if x.Entry == str(a[0]) && x.Removed.IsZero() {
					out = append(out, x.p)
				}
			}
			for i := range ev.w.doc.Sites {
				s := &ev.w.doc.Sites[i]
				if e := ev.w.entry(str(a[0])); e != nil && absent(s, e) != "" {
					continue // nobody can fill it
				}
				gap = merge(gap, ev.w.slotGap(s, str(a[0])))
			}
			return &list{out, gap}
		}},
		{"assigned_on", in(cel.StringType, hostType), principalList, needsSlots, "who fills a slot on a host", func(ev *evaluation, a []ref.Val) ref.Val {
			var out []ref.Val
			for _, x := range ev.w.assignments(ev.site, str(a[0])) {
				if x.host != "" && ev.w.host(x.host) == machine(a[1]) {
					out = append(out, x.p)
				}
			}
			var gap ref.Val
			if u := ev.w.slotGap(ev.site, str(a[0])); u != nil {
				gap = u
			}
			return lst(out, gap)
		}},
		{"former", in(cel.StringType), principalList, needsState, "who filled a slot of the site and does so no longer", func(ev *evaluation, a []ref.Val) ref.Val {
			var out []ref.Val
			for _, x := range ev.w.all {
				if x.Entry == str(a[0]) && !x.Removed.IsZero() && (x.Site == "" || strings.EqualFold(x.Site, ev.site.Code)) &&
					isIn(x.p, ev.assigned(str(a[0]))) != types.True {
					out = append(out, x.p)
				}
			}
			var gap ref.Val
			switch u := ev.w.slotGap(ev.site, str(a[0])); {
			case u != nil:
				gap = u
			case !ev.remembers():
				gap = ev.lack(Missing{Collector: "product-state", Scope: ev.site.Code, Text: "the site was looked at once only: who filled the slot before is not known"})
			}
			return lst(out, gap)
		}},
		{"removed_at", in(principalType), cel.TimestampType, needsState, "when the account was last taken out of a slot", func(ev *evaluation, a []ref.Val) ref.Val {
			var last time.Time
			for _, x := range ev.w.byAccount[who(a[0])] {
				if x.Removed.After(last) {
					last = x.Removed
				}
			}
			return timestamp(last)
		}},
		{"purposes", in(principalType), textList, needsSlots, "the slots of single accounts that the account fills, on any site; lists of names do not count", func(ev *evaluation, a []ref.Val) ref.Val { return ev.w.purposes(who(a[0])) }},
		{"has_exception", in(principalType, cel.StringType), cel.BoolType, needsState, "a deviation of the account is accepted for now", func(ev *evaluation, a []ref.Val) ref.Val {
			return types.Bool(ev.w.excepted(who(a[0]), str(a[1])))
		}},
		{"last_exposure_event", in(principalType), cel.TimestampType, "a note on the account, the setting exposure.last (product-state), or a statement that there was none (attestation, M)", "when the account's secret may have been exposed last", func(ev *evaluation, a []ref.Val) ref.Val { return ev.exposed(who(a[0])) }},
		{"lockouts", in(principalType, cel.IntType), cel.IntType, "lockoutTime (ldap, T0), and the log of logons (event-log, T2)", "how often the account was locked out within days", func(ev *evaluation, a []ref.Val) ref.Val { return ev.lockouts(who(a[0]), int(a[1].(types.Int))) }},
		{"logon_sources", in(principalType), hostList, "the log of logons (event-log, T2)", "the hosts from which the account logged on", func(ev *evaluation, a []ref.Val) ref.Val {
			var out []ref.Val
			if x := ev.w.about(who(a[0])); x != nil {
				for _, n := range x.LogonSources {
					out = append(out, ev.w.host(n))
				}
			}
			return lst(out, ev.w.unread(configmgr.ClassLogons, ev.site.Code))
		}},
		{"mailbox_rights", in(principalType), textList, "mailbox rights (exchange or mail, T3)", "rights on mailboxes", func(ev *evaluation, a []ref.Val) ref.Val {
			return ev.aboutList(who(a[0]), configmgr.ClassExchange, func(p *configmgr.Principal) []string { return p.MailboxRights })
		}},
		{"exchange_cmdlets", in(principalType), textList, "management roles (exchange, T3)", "cmdlets that Exchange lets the account run", func(ev *evaluation, a []ref.Val) ref.Val {
			return ev.aboutList(who(a[0]), configmgr.ClassExchange, func(p *configmgr.Principal) []string { return p.ExchangeCmdlets })
		}},
		{"source_permissions", in(principalType), textList, "the source site of a migration (adminservice, T1)", "rights on the source site", func(ev *evaluation, a []ref.Val) ref.Val {
			return ev.aboutList(who(a[0]), configmgr.ClassMigration, func(p *configmgr.Principal) []string { return p.SourceRights })
		}},
		{"source_roles", in(principalType), textList, "the source site of a migration (adminservice, T1)", "security roles on the source site", func(ev *evaluation, a []ref.Val) ref.Val {
			return ev.aboutList(who(a[0]), configmgr.ClassMigration, func(p *configmgr.Principal) []string { return p.SourceRoles })
		}},
	}
}

// purposes lists the slots of all sites that p fills.
func (w *world) purposes(p *principal) ref.Val {
	gap := w.remember("purposes", func() ref.Val {
		var u *types.Unknown
		seen := map[configmgr.Class]bool{}
		for i := range w.doc.Sites {
			s := &w.doc.Sites[i]
			for _, e := range w.rules.catalogue.Entries {
				if e.Kind != configmgr.WindowsAccount || absent(s, e) != "" {
					continue
				}
				if g := w.slotGap(s, e.ID); g != nil && !seen[sourcesOf[e.ID][0]] {
					seen[sourcesOf[e.ID][0]] = true
					u = merge(u, g)
				}
			}
		}
		return orUnknown(u, types.True)
	})
	var out []string
	for _, a := range w.byAccount[p] {
		if e := w.entry(a.Entry); e != nil && e.Kind == configmgr.WindowsAccount && a.Removed.IsZero() {
			out = append(out, w.purpose(e, a.Site))
		}
	}
	slices.Sort(out)
	return lst(texts(slices.Compact(out)), gap)
}

// purpose is the slot that e is at a site, or at every site: where the release made
// several slots one, whoever fills several of them has one purpose.
func (w *world) purpose(e *configmgr.Entry, site string) string {
	if e.MergedInto == "" {
		return e.ID
	}
	for _, s := range w.doc.Sites {
		if (site == "" || strings.EqualFold(s.Code, site)) && family(s.Release) != "current-branch" {
			return e.ID
		}
	}
	return e.MergedInto
}

// exposed is when the secret of p may have been exposed last.
func (ev *evaluation) exposed(p *principal) ref.Val {
	var last time.Time
	if x := ev.w.about(p); x != nil && x.ExposedAt.After(last) {
		last = x.ExposedAt
	}
	if t, ok := timeOf(ev.site.Settings["exposure.last"]); ok && t.After(last) {
		last = t
	}
	if !last.IsZero() {
		return timestamp(last)
	}
	if ev.stated("no-exposure") == types.True {
		return timestamp(time.Unix(0, 0))
	}
	return ev.lack(Missing{Collector: "product-state", Scope: ev.site.Code, Text: "whether secrets were exposed was not said: setting exposure.last, or a statement on no-exposure"})
}

// timeOf reads a time of a setting.
func timeOf(v any) (time.Time, bool) {
	switch x := v.(type) {
	case time.Time:
		return x, true
	case string:
		t, err := time.Parse(time.RFC3339, x)
		return t, err == nil
	}
	return time.Time{}, false
}

// lockouts counts how often p was locked out within days.
func (ev *evaluation) lockouts(p *principal, days int) ref.Val {
	if x := ev.w.about(p); x != nil && x.Lockouts != nil {
		return types.Int(*x.Lockouts)
	}
	if u := p.known(); u != nil {
		return u
	}
	if t, st := ev.w.s.Time(p.id, forest.LockoutTime); st == forest.Known && ev.w.now.Sub(t) <= time.Duration(days)*24*time.Hour {
		return types.Int(1)
	}
	return orElse(ev.w.unread(configmgr.ClassLogons, ev.site.Code),
		ev.lack(Missing{Collector: "event-log", Class: configmgr.ClassLogons, Scope: ev.site.Code, Text: "lock-outs of " + p.text() + " were not counted"}))
}

// remembers reports whether the site's assignments were seen more than once, so that it
// is known who is no longer among them.
func (ev *evaluation) remembers() bool {
	return slices.ContainsFunc(ev.w.doc.Assignments, func(a configmgr.Assignment) bool {
		return (a.Site == "" || strings.EqualFold(a.Site, ev.site.Code)) && (!a.Removed.IsZero() || !a.FirstSeen.IsZero() && a.LastSeen.After(a.FirstSeen))
	})
}
