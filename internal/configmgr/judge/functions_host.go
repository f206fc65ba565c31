package judge

import (
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/gpo"
)

func rightFunctions() []*function {
	return []*function{
		{"user_right", in(principalType, hostType, cel.StringType), cel.BoolType, needsPolicy, "the account holds a privilege or logon right: it is granted and not denied", func(ev *evaluation, a []ref.Val) ref.Val {
			return ev.w.rightOf(who(a[0]), machine(a[1]), str(a[2]), ev.w.userRight)
		}},
		{"deny_right", in(principalType, hostType, cel.StringType), cel.BoolType, needsPolicy, "a logon right is denied to the account by name or through a group, in the host's security policy or by group policy", func(ev *evaluation, a []ref.Val) ref.Val {
			return ev.w.rightOf(who(a[0]), machine(a[1]), str(a[2]), ev.w.denyRight)
		}},
		{"user_rights_of", in(groupType), textList, needsPolicy, "the rights that the group's host gives the group by name", func(ev *evaluation, a []ref.Val) ref.Val { return ev.rightsOfGroup(a[0].(record).v.(*group)) }},
		{"local_admin", in(principalType, hostType), cel.BoolType, needsGroups, "an effective administrator of the host", func(ev *evaluation, a []ref.Val) ref.Val { return ev.w.localAdmin(who(a[0]), machine(a[1])) }},
		{"local_admin_hosts", in(principalType), hostList, needsGroups, "computers of which the principal is an administrator; those of which it is not known may not count", func(ev *evaluation, a []ref.Val) ref.Val { return asList(ev.w.localAdminHosts(who(a[0]), ev.site)) }},
		{"local_group", in(hostType, cel.StringType), principalList, needsGroups, "members of a local group", func(ev *evaluation, a []ref.Val) ref.Val {
			h := machine(a[0])
			gap := ev.w.unread(configmgr.ClassGroups, h.name)
			if h.fact == nil {
				return lst(nil, gap)
			}
			return lst(ev.w.members(groupOf(h.fact, str(a[1])), h.name), gap)
		}},
		{"members", in(groupType), principalList, needsGroups, "members of the group on its host", func(_ *evaluation, a []ref.Val) ref.Val { return a[0].(record).v.(*group).members() }},
		{"members_per_host", in(cel.StringType, hostList), cel.ListType(principalList), needsGroups, "members of a local group on each host", func(ev *evaluation, a []ref.Val) ref.Val {
			known, gap := elements(a[1])
			var out []ref.Val
			for _, v := range known {
				h := v.(*host)
				g := &group{site: ev.site, host: h, entry: ev.w.entry("sms-admins"), p: ev.w.groupPrincipal(h, str(a[0]))}
				out = append(out, g.members())
			}
			return &list{out, gap}
		}},
		{"gpo_roaming_for", in(principalType), cel.BoolType, needsPolicy, "a policy of some computer gives all its users one roaming profile", func(ev *evaluation, _ []ref.Val) ref.Val { return ev.w.roaming() }},
	}
}

// rightOf answers about a right; what takes long of it is kept elsewhere: what policy
// makes of the right, whom it covers everywhere, and local administrators.
func (w *world) rightOf(p *principal, h *host, right string, ask func(*principal, *host, string) ref.Val) ref.Val {
	if p.sid.IsZero() && p.host == "" {
		return p.known()
	}
	return ask(p, h.asked(p), right)
}

// A rightKey is a question about a right: denials have names of their own.
type rightKey struct {
	p     *principal
	h     *host
	right string
}

// rightsOfGroup lists the rights that a host gives a group by name.
func (ev *evaluation) rightsOfGroup(g *group) ref.Val {
	if g.host.fact == nil {
		return lst(nil, ev.w.unread(configmgr.ClassUserRights, g.host.name))
	}
	var out []ref.Val
	for _, name := range sortedKeys(g.host.fact.UserRights) {
		for _, m := range g.host.fact.UserRights[name] {
			if ev.w.member(m, g.host.name).Equal(g.p) == types.True {
				out = append(out, types.String(name))
			}
		}
	}
	return lst(out, ev.w.unread(configmgr.ClassUserRights, g.host.name))
}

// roaming tells whether a policy of some computer sets one roaming profile for all.
func (w *world) roaming() ref.Val {
	return w.remember("roaming", func() ref.Val {
		out := ref.Val(types.False)
		for _, h := range w.allHosts() {
			if !h.scoped {
				continue
			}
			switch s := w.gpo.Result(h.scope).Registry(profileKey, profileValue); s.State {
			case gpo.Defined:
				return types.True
			case gpo.Undecided:
				out = w.lack(Missing{Collector: "sysvol", Text: "roaming profiles on " + h.name + ": " + strings.Join(s.Reasons, "; ")})
			}
		}
		return out
	})
}

func hostFunctions() []*function {
	return []*function{
		{"is_domain_controller", in(hostType), cel.BoolType, "the computer account (ldap, T0)", "a domain controller", func(_ *evaluation, a []ref.Val) ref.Val { return machine(a[0]).isDCValue() }},
		{"is_tier0_host", in(hostType), cel.BoolType, needsDirectory, "a domain controller, or a computer whose account can gain Tier 0", func(_ *evaluation, a []ref.Val) ref.Val { return machine(a[0]).isTier0() }},
		{"same_host", in(hostType, hostType), cel.BoolType, needsNothing, "two hosts are one", func(_ *evaluation, a []ref.Val) ref.Val {
			x := machine(a[0])
			if eq := x.Equal(a[1]); eq == types.True || x.doubt == nil {
				return eq
			}
			return x.doubt
		}},
		{"domain_of", in(hostType), cel.StringType, "the computer account (ldap, T0)", "DNS name of the host's domain", func(ev *evaluation, a []ref.Val) ref.Val { return ev.w.domainOfHost(machine(a[0])) }},
		{"computers_of", in(hostList), principalList, "computer accounts (ldap, T0)", "the computer accounts of hosts", func(ev *evaluation, a []ref.Val) ref.Val { return ev.w.accountsOf(a[0]) }},
		{"remote", in(hostList, hostType), hostList, needsNothing, "hosts other than one", func(_ *evaluation, a []ref.Val) ref.Val {
			known, gap := elements(a[0])
			return &list{slices.DeleteFunc(slices.Clone(known), func(v ref.Val) bool { return v.Equal(a[1]) == types.True }), gap}
		}},
		{"fs_right", in(principalType, hostType, cel.StringType, cel.StringType), cel.BoolType, needsHostACL, "effective right on a folder: read, write, full-control", func(ev *evaluation, a []ref.Val) ref.Val {
			acl, u := ev.w.folder(machine(a[1]), str(a[2]))
			if u != nil {
				return u
			}
			return ev.w.rightsOn(who(a[0]), machine(a[1]), acl).grants(str(a[3]))
		}},
		{"fs_rights", in(principalType, hostType, cel.StringType), textList, needsHostACL, "rights on a folder as its entries write them, through groups too", func(ev *evaluation, a []ref.Val) ref.Val {
			acl, u := ev.w.folder(machine(a[1]), str(a[2]))
			if u != nil {
				return lst(nil, u)
			}
			return ev.w.rightsOn(who(a[0]), machine(a[1]), acl)
		}},
		{"all_aces", in(groupType, cel.StringType, cel.StringType), cel.BoolType, needsHostACL, "the entries of a folder that name the group give nothing but one right", func(ev *evaluation, a []ref.Val) ref.Val {
			return ev.onlyRight(a[0].(record).v.(*group), str(a[1]), str(a[2]))
		}},
		{"acl_references", in(groupType), cel.ListType(aclType), needsHostACL, "folders and shares of the group's host with entries that name the group", func(ev *evaluation, a []ref.Val) ref.Val { return ev.references(a[0].(record).v.(*group)) }},
		{"share_rights", in(principalType, cel.StringType), textList, needsHostACL, "rights on a share, given as UNC path", func(ev *evaluation, a []ref.Val) ref.Val {
			h, name, ok := splitUNC(str(a[1]))
			if !ok {
				return lst(nil, ev.lack(Missing{Collector: "cmdlet", Class: configmgr.ClassSequences, Text: str(a[1]) + " is no path of a share"}))
			}
			return ev.w.shareRights(who(a[0]), ev.w.host(h), name)
		}},
		{"share_rights_on", in(principalType, hostType, cel.StringType), textList, needsHostACL, "rights on a share of a host; none where there is no such share", func(ev *evaluation, a []ref.Val) ref.Val {
			return ev.w.shareRights(who(a[0]), machine(a[1]), str(a[2]))
		}},
		{"share_rights_all", in(principalType, hostType), textList, needsHostACL, "rights on the content shares of a host", func(ev *evaluation, a []ref.Val) ref.Val {
			h := machine(a[1])
			out := lst(nil, ev.w.unread(configmgr.ClassShares, h.name))
			if h.fact != nil {
				for _, s := range h.fact.Shares {
					if isContent(s.Path) {
						out = union(out, ev.w.rightsOn(who(a[0]), h, s))
					}
				}
			}
			return out
		}},
		{"shares_with_write", in(principalType), textList, needsHostACL, "shares, as UNC paths, that let the principal write", func(ev *evaluation, a []ref.Val) ref.Val {
			return ev.sharesOf(func(h *host, acl configmgr.ACL) ref.Val { return ev.w.rightsOn(who(a[0]), h, acl).grants("write") })
		}},
		{"shares_reachable_explicit", in(principalType, cel.StringType), textList, needsHostACL, "shares with an entry for the principal or one of its own groups: all, or non-dp without content shares", func(ev *evaluation, a []ref.Val) ref.Val {
			return ev.sharesOf(func(h *host, acl configmgr.ACL) ref.Val {
				if str(a[1]) == "non-dp" && isContent(acl.Path) {
					return types.False
				}
				return ev.w.explicit(who(a[0]), h, acl)
			})
		}},
		{"wmi_default", in(hostType, cel.StringType), cel.BoolType, "descriptors of namespaces (host-wmi-sd, T2)", "the WMI namespace gives SMS Admins enable-account and remote-enable, administrators and the system everything, and nobody else more than enable-account", func(ev *evaluation, a []ref.Val) ref.Val { return ev.wmiDefault(machine(a[0]), str(a[1])) }},
		{"dcom_remote_activation", in(hostType), textList, "DCOM limits (host-wmi-sd, T2)", "who may activate DCOM servers from afar, names without domain", func(ev *evaluation, a []ref.Val) ref.Val {
			h := machine(a[0])
			gap := ev.w.unread(configmgr.ClassWMI, h.name)
			var out []ref.Val
			if h.fact != nil {
				for _, m := range h.fact.Activation {
					out = append(out, types.String(ev.w.plainName(m, h)))
				}
			}
			return lst(out, gap)
		}},
		{"smb_signing_required", in(hostType), cel.BoolType, "the registry (host-registry, T2), or a policy that sets it (sysvol, T0)", "the server demands signed SMB", func(ev *evaluation, a []ref.Val) ref.Val { return ev.signing(machine(a[0])) }},
		{"epa_required", in(hostType), cel.BoolType, "the registry (host-registry, T2)", "SQL Server demands extended protection", func(ev *evaluation, a []ref.Val) ref.Val {
			return ev.registry(machine(a[0]), "extendedProtection")
		}},
		{"has_pxe_password", in(hostType), cel.BoolType, needsSettings, "the distribution point demands a password for PXE", func(ev *evaluation, a []ref.Val) ref.Val {
			v, u := ev.w.setting(ev.site, "pxe.password_hosts")
			if u != nil {
				return u
			}
			return isIn(a[0], lst(ev.hostsNamed(v), nil))
		}},
	}
}

// systemNames are the identities of Windows itself, as plainName has them.
var systemNames = []string{"SYSTEM", "LOCAL SYSTEM", "NETWORK SERVICE", "LOCAL SERVICE"}

// plainName is a principal of h, or of Windows, without what stands before its name,
// built-in ones by their English name; those of other hosts and of domains keep it, for
// theirs are other principals. The groups of its domain are those of a domain controller.
func (w *world) plainName(m configmgr.Member, h *host) string {
	if m.SID != nil {
		if n, ok := localGroupNames[*m.SID]; ok {
			return n
		}
		if m.Name == "" || !m.SID.IsDomainRelative() {
			name := w.nameOf(*m.SID)
			if m.SID.IsDomainRelative() {
				return name
			}
			return short(name)
		}
	}
	dom := prefix(m.Name)
	own := dom == "" || dom == "." || isAuthority(dom)
	if h != nil && !own {
		own = firstLabel(dom) == firstLabel(h.name)
		if d := w.domainNamed(dom); h.dc && d != nil {
			of, ok := w.s.DomainOf(h.id)
			own = ok && of.Head == d.Head
		}
	}
	if own {
		return short(m.Name)
	}
	return m.Name
}

// onlyRight tells whether the entries of a folder for a group give one right only.
func (ev *evaluation) onlyRight(g *group, end, right string) ref.Val {
	acl, u := ev.w.folder(g.host, end)
	if u != nil {
		return u
	}
	found := false
	for _, e := range acl.Entries {
		if e.Deny || ev.w.member(e.Member, g.host.name).Equal(g.p) != types.True {
			continue
		}
		found = true
		for _, r := range e.Rights {
			if r != right && !slices.Contains(implied[right], r) {
				return types.False
			}
		}
	}
	return types.Bool(found)
}

// references lists the access lists of the group's host that name the group.
func (ev *evaluation) references(g *group) ref.Val {
	h := g.host
	var out []ref.Val
	see := func(path string, entries []configmgr.Access) {
		for _, e := range entries {
			if ev.w.member(e.Member, h.name).Equal(g.p) == types.True {
				out = append(out, record{ev, aclType, path, path})
				return
			}
		}
	}
	gap, _ := ev.w.unread(configmgr.ClassFolders, h.name).(*types.Unknown)
	more, _ := ev.w.unread(configmgr.ClassShares, h.name).(*types.Unknown)
	if h.fact != nil {
		for _, f := range h.fact.Folders {
			see(f.Path, f.Entries)
		}
		for _, s := range h.fact.Shares {
			see(uncOf(h, s.Path), s.Entries)
		}
	}
	return &list{out, merge(gap, more)}
}

// wmiDefault compares the entries of a namespace with what setup writes (reference,
// line 109).
func (ev *evaluation) wmiDefault(h *host, namespace string) ref.Val {
	u := ev.w.unread(configmgr.ClassWMI, h.name)
	if h.fact == nil {
		return orElse(u, ev.lack(Missing{Collector: "host-wmi-sd", Class: configmgr.ClassWMI, Scope: h.name, Text: "the permissions of " + namespace + " were not read"}))
	}
	for _, acl := range h.fact.WMI {
		if !strings.EqualFold(cleanPath(acl.Path), cleanPath(namespace)) {
			continue
		}
		var admins []string
		for _, e := range acl.Entries {
			name := ev.w.plainName(e.Member, h)
			allowed := []string{"enable-account", "execute-methods", "provider-write"}
			switch {
			case e.Deny: // setup writes none
				ev.offenders = append(ev.offenders, name+": denied "+strings.Join(e.Rights, ", "))
				return types.False
			case strings.EqualFold(name, "SMS Admins"):
				allowed = append(allowed, "remote-enable")
				admins = append(admins, e.Rights...)
			case strings.EqualFold(name, "Administrators"), slices.ContainsFunc(systemNames, func(n string) bool { return strings.EqualFold(n, name) }):
				continue
			}
			for _, r := range e.Rights {
				if !slices.Contains(allowed, r) {
					ev.offenders = append(ev.offenders, name+": "+r)
					return types.False
				}
			}
		}
		return types.Bool(slices.Contains(admins, "enable-account") && slices.Contains(admins, "remote-enable"))
	}
	return orElse(u, ev.lack(Missing{Collector: "host-wmi-sd", Class: configmgr.ClassWMI, Scope: h.name, Text: "the namespace " + namespace + " was not among those that were read"}))
}

// registry is a boolean that was read of a host's registry.
func (ev *evaluation) registry(h *host, key string) ref.Val {
	if h.fact != nil {
		if v, ok := h.fact.Registry[key]; ok {
			return types.Bool(isTrue(v))
		}
	}
	return orElse(ev.w.unread(configmgr.ClassRegistry, h.name),
		ev.lack(Missing{Collector: "host-registry", Class: configmgr.ClassRegistry, Scope: h.name, Text: key + " of " + h.name + " was not read"}))
}

func isTrue(v any) bool {
	switch x := v.(type) {
	case bool:
		return x
	case string:
		return strings.EqualFold(x, "true") || x == "1"
	case float64:
		return x != 0
	case int:
		return x != 0
	case int64:
		return x != 0
	case uint64:
		return x != 0
	}
	return false
}

// signing tells whether a server demands signed SMB: by its registry, or by policy.
func (ev *evaluation) signing(h *host) ref.Val {
	v := ev.registry(h, "smbSigningRequired")
	if !isUnknown(v) || !h.scoped {
		return v
	}
	s := ev.w.gpo.Result(h.scope).Registry(signingKey, signingValue)
	if s.State == gpo.Defined {
		return types.Bool(strings.HasSuffix(strings.TrimSpace(s.Value), "1"))
	}
	return v
}

// hostsNamed are the hosts that a setting lists.
func (ev *evaluation) hostsNamed(v any) []ref.Val {
	var out []ref.Val
	for _, n := range listOf(v) {
		out = append(out, ev.w.host(n))
	}
	return out
}

// listOf reads a list of texts of a setting.
func listOf(v any) []string {
	switch x := v.(type) {
	case []string:
		return x
	case string:
		if x == "" {
			return nil
		}
		return []string{x}
	case []any:
		var out []string
		for _, e := range x {
			if s, ok := e.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

// hostsWith lists the hosts of a role: of the site, or of all sites where the control is
// about the hierarchy.
func (ev *evaluation) hostsWith(role string) *list {
	if !ev.whole {
		return ev.w.hostsOf(ev.site, role)
	}
	out := lst(nil, nil)
	for i := range ev.w.doc.Sites {
		out = union(out, ev.w.hostsOf(&ev.w.doc.Sites[i], role))
	}
	return out
}

// hostsOfKind are the sets of computers that conditions name.
func (ev *evaluation) hostsOfKind(kind string) ref.Val {
	w := ev.w
	switch kind {
	case "sql-host":
		return ev.hostsWith(roleDatabase)
	case "distribution-points":
		l := ev.hostsWith(roleDistribution)
		if len(l.known) == 0 && l.gap == nil {
			ev.nobody = "there is no distribution point"
		}
		return l
	}
	return w.remember("hosts "+kind+" "+ev.site.Code, func() ref.Val {
		var gap ref.Val
		if w.hidden != "" {
			gap = w.ldap(w.hidden)
		} else if u := w.unknownServer(); kind == "tier0-and-tier1" && isUnknown(u) {
			gap = u
		}
		var out []ref.Val
		targeted := slices.ContainsFunc(w.doc.Hosts, func(h configmgr.Host) bool { return h.Targeted })
		hosts := w.hostsFor(ev.site)
		if kind == "all-clients-and-servers" || kind == "push-targets" {
			hosts = w.allHosts() // no condition asks which of them one is
		}
		for _, h := range hosts {
			var take bool
			switch kind {
			case "all":
				take = true
			case "all-clients-and-servers":
				take = !h.dc
			case "tier0-and-tier1":
				take = h.dc || h.server || h.tier0 || h.class == nil && (w.isSystem(h) || h.isTier0() == types.True)
			case "push-targets":
				take = h.fact != nil && h.fact.Targeted || !targeted && !h.dc
			default:
				return types.NewErr("no set of hosts is called %q", kind)
			}
			if take {
				out = append(out, h)
			}
		}
		if len(out) == 0 { // what holds of no computer says nothing
			gap = orElse(gap, w.lack(emptySets[kind]))
		}
		return lst(out, gap)
	})
}

// emptySets are what is missing where a set of computers has none.
var emptySets = map[string]Missing{
	"all":                     {Collector: "ldap", Text: "the snapshot has no enabled computer"},
	"all-clients-and-servers": {Collector: "ldap", Text: "the snapshot has no enabled computer that is no domain controller"},
	"tier0-and-tier1":         {Collector: "ldap", Text: "the snapshot has no domain controller and no server"},
	"push-targets":            {Collector: "product-state", Text: "to which computers the client is pushed is not known: no computer of the snapshot or the document can be one"},
}

// hostOfKind are the single hosts that conditions name.
func (ev *evaluation) hostOfKind(kind string) ref.Val {
	switch kind {
	case "site-database":
		return ev.oneHost(roleDatabase)
	case "reporting":
		if ev.a != nil && ev.a.host != "" {
			return ev.w.host(ev.a.host)
		}
		return ev.oneHost(roleReporting)
	case "oob-service-point":
		if ev.a != nil && ev.a.host != "" {
			return ev.w.host(ev.a.host)
		}
		return ev.oneHost(roleOutOfBand)
	case "source-provider":
		v, u := ev.w.setting(ev.site, "migration.source_provider")
		if s, ok := v.(string); ok {
			return ev.w.host(s)
		}
		return orElse(u, ev.lack(Missing{Collector: "adminservice", Class: configmgr.ClassMigration, Scope: ev.site.Code, Text: "the provider of the source site is not known"}))
	}
	return types.NewErr("no host is called %q", kind)
}
