package judge

import (
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/leastwise/leastwise/internal/configmgr"
)

func siteOf(v ref.Val) *configmgr.Site { return v.(record).v.(*configmgr.Site) }

func siteFunctions() []*function {
	return []*function{
		{"host", in(cel.StringType), hostType, needsRoles, "a host of the site: site-database, reporting, oob-service-point, source-provider", func(ev *evaluation, a []ref.Val) ref.Val { return ev.hostOfKind(str(a[0])) }},
		{"hosts", in(cel.StringType), hostList, needsRoles + "; computers with their policies (ldap, sysvol, T0)", "computers: all, all-clients-and-servers (no domain controllers), tier0-and-tier1 (domain controllers, servers, site systems), push-targets, distribution-points, sql-host; those with the same policies count as one", func(ev *evaluation, a []ref.Val) ref.Val { return ev.hostsOfKind(str(a[0])) }},
		{"role_hosts", in(siteType, cel.StringType), hostList, needsRoles, "hosts of a site with a role, as SMS_SCI_SysResUse names it", func(ev *evaluation, a []ref.Val) ref.Val {
			if s := siteOf(a[0]); s != noSite {
				return ev.w.hostsOf(s, str(a[1]))
			}
			return lst(nil, nil)
		}},
		{"role", in(hostType, cel.StringType), cel.BoolType, needsRoles, "the host has a role of the site", func(ev *evaluation, a []ref.Val) ref.Val { return isIn(a[0], ev.w.hostsOf(ev.site, str(a[1]))) }},
		{"role_installed", in(siteType, cel.StringType), cel.BoolType, needsRoles, "some host of the site has a role", func(ev *evaluation, a []ref.Val) ref.Val {
			l := ev.w.hostsOf(siteOf(a[0]), str(a[1]))
			if len(l.known) > 0 {
				return types.True
			}
			return orUnknown(l.gap, types.False)
		}},
		{"role_present", in(groupType), cel.BoolType, needsRoles, "the group's host has the role that the group is for", func(ev *evaluation, a []ref.Val) ref.Val {
			g := a[0].(record).v.(*group)
			if len(placeOf[g.entry.ID]) == 0 {
				return ev.flagSetting("RemoteTools.Enabled")
			}
			out := ref.Val(types.False)
			for _, role := range placeOf[g.entry.ID] {
				out = or(out, isIn(g.host, ev.w.hostsOf(ev.site, role)))
			}
			return out
		}},
		{"all_site_systems", in(siteType), hostList, needsRoles, "all site systems of a site, its servers among them", func(ev *evaluation, a []ref.Val) ref.Val { return ev.w.systemsOf(siteOf(a[0])) }},
		{"adjacent_site_servers", in(siteType), hostList, "the list of sites (adminservice, T1)", "servers of the parent and child sites", func(ev *evaluation, _ []ref.Val) ref.Val { return ev.neighbours() }},
		{"cmgroups", nil, cel.ListType(groupType), needsGroups, "the groups of Configuration Manager on the hosts of the site", func(ev *evaluation, _ []ref.Val) ref.Val { return ev.allGroups() }},
		{"expected_members", in(groupType), principalList, needsRoles + "; " + needsAdmins, "who belongs into the group by what the site configures", func(ev *evaluation, a []ref.Val) ref.Val { return ev.expected(a[0].(record).v.(*group)) }},
		{"file_replication_accounts", in(siteType), principalList, "file replication routes (cmdlet, T1)", "accounts that file replication routes of the site name", func(ev *evaluation, a []ref.Val) ref.Val {
			return ev.principalSetting(siteOf(a[0]), "replication.accounts")
		}},
		{"setting", in(siteType, cel.StringType), cel.DynType, needsSettings, "a setting of a site: see the list of settings", func(ev *evaluation, a []ref.Val) ref.Val {
			if _, ok := ev.w.rules.catalogue.Settings[str(a[1])]; !ok {
				return types.NewErr("no setting is called %q", str(a[1]))
			}
			v, u := ev.w.setting(siteOf(a[0]), str(a[1]))
			if u != nil {
				return u
			}
			return plain(v)
		}},
		{"setting_time", in(siteType, cel.StringType), cel.TimestampType, needsSettings, "a setting of a site that is a time", func(ev *evaluation, a []ref.Val) ref.Val {
			v, u := ev.w.setting(siteOf(a[0]), str(a[1]))
			if t, ok := timeOf(v); ok {
				return timestamp(t)
			}
			return orElse(u, ev.lack(Missing{Collector: "attestation", Scope: ev.site.Code, Text: "the setting " + str(a[1]) + " is no time"}))
		}},
		{"permitted_viewers", in(siteType), principalList, needsSettings, "the permitted viewers of remote control", func(ev *evaluation, a []ref.Val) ref.Val {
			return ev.principalSetting(siteOf(a[0]), "RemoteTools.PermittedViewers")
		}},
		{"tier0_viewers", in(siteType), principalList, needsSettings, "the permitted viewers on computers of Tier 0", func(ev *evaluation, a []ref.Val) ref.Val {
			return ev.principalSetting(siteOf(a[0]), "RemoteTools.Tier0PermittedViewers")
		}},
		{"discovery_locations", in(cel.StringType), textList, needsSettings, "where group, system or user discovery reads", func(ev *evaluation, a []ref.Val) ref.Val { return ev.locations(str(a[0])) }},
		{"dps_with_pxe", nil, hostList, needsSettings, "distribution points of the site that answer PXE requests", func(ev *evaluation, _ []ref.Val) ref.Val {
			v, u := ev.w.setting(ev.site, "pxe.hosts")
			if u != nil {
				return lst(nil, u)
			}
			out := ev.hostsNamed(v)
			if len(out) == 0 {
				ev.nobody = "no distribution point of the site answers PXE requests"
			}
			return lst(out, nil)
		}},
		{"hosts_configured", in(principalType), hostList, needsSlots, "site systems that the site configures the account for", func(ev *evaluation, a []ref.Val) ref.Val { return ev.configuredHosts(who(a[0])) }},
		{"domains_of_hosts", in(principalType), textList, needsSlots, "domains of those site systems", func(ev *evaluation, a []ref.Val) ref.Val {
			known, gap := elements(ev.configuredHosts(who(a[0])))
			out := &list{nil, gap}
			for _, v := range known {
				d := ev.w.domainOfHost(v.(*host))
				if u, ok := d.(*types.Unknown); ok {
					out.gap = merge(out.gap, u)
				} else {
					out = union(out, lst([]ref.Val{d}, nil))
				}
			}
			return out
		}},
		{"attested", in(cel.StringType), cel.BoolType, needsPeople, "what a person states on a topic; unknown without a valid statement", func(ev *evaluation, a []ref.Val) ref.Val { return ev.attested(str(a[0])) }},
		{"rotation_open", in(cel.StringType), cel.BoolType, needsState, "a rotation of the slot is stated to be in progress: topic rotation-open:SLOT", func(ev *evaluation, a []ref.Val) ref.Val { return ev.stated("rotation-open:" + str(a[0])) }},
		{"naa_exception", in(siteType), cel.BoolType, needsState, "it is stated that the site needs a network access account: topic network-access-needed", func(ev *evaluation, _ []ref.Val) ref.Val { return ev.stated("network-access-needed") }},
		{"upgrade_window_open", nil, cel.BoolType, needsState, "it is stated that distribution points of the source site are being upgraded: topic upgrade-window", func(ev *evaluation, _ []ref.Val) ref.Val { return ev.stated("upgrade-window") }},
		{"migration_active", nil, cel.BoolType, needsSettings, "a migration is in progress", func(ev *evaluation, _ []ref.Val) ref.Val { return ev.flagSetting("migration.active") }},
	}
}

// plain is a setting as a value of conditions.
func plain(v any) ref.Val {
	switch x := v.(type) {
	case bool:
		return types.Bool(x)
	case int:
		return types.Int(x)
	case int64:
		return types.Int(x)
	case uint64:
		return types.Int(x) //nolint:gosec // settings are small numbers
	case float64:
		return types.Int(x)
	case string:
		return types.String(x)
	}
	return lst(texts(listOf(v)), nil)
}

// flagSetting is a setting of the site that is true or false.
func (ev *evaluation) flagSetting(key string) ref.Val {
	v, u := ev.w.setting(ev.site, key)
	if u != nil {
		return u
	}
	return types.Bool(isTrue(v))
}

// principalSetting is a setting that lists principals.
func (ev *evaluation) principalSetting(s *configmgr.Site, key string) ref.Val {
	v, u := ev.w.setting(s, key)
	if u != nil {
		return lst(nil, u)
	}
	var out []ref.Val
	for _, n := range listOf(v) {
		out = append(out, ev.w.principal(n, nil, ""))
	}
	return lst(out, nil)
}

// locations are those of a kind of discovery: of the setting, or of the assignments.
func (ev *evaluation) locations(kind string) ref.Val {
	var out []ref.Val
	add := func(loc string) {
		if v := types.String(locationDN(loc)); v != "" && !slices.Contains(out, ref.Val(v)) {
			out = append(out, v)
		}
	}
	for _, a := range ev.w.assignments(ev.site, "ad-"+kind+"-discovery") {
		add(a.location)
	}
	v, u := ev.w.setting(ev.site, "discovery."+kind+".locations")
	for _, loc := range listOf(v) {
		add(loc)
	}
	if u != nil && len(out) > 0 && ev.w.slotGap(ev.site, "ad-"+kind+"-discovery") == nil {
		u = nil // each location has its account
	}
	return lst(out, u)
}

// configuredHosts are the site systems that p is configured for.
func (ev *evaluation) configuredHosts(p *principal) ref.Val {
	var out []ref.Val
	var gap *types.Unknown
	for _, e := range []string{"site-system-installation", "software-update-point-connection"} {
		for _, a := range ev.w.assignments(ev.site, e) {
			if a.p.Equal(p) != types.True {
				continue
			}
			if a.host == "" {
				u, _ := ev.lack(Missing{Collector: collectorOf[configmgr.ClassSiteRoles], Class: configmgr.ClassSiteRoles, Scope: ev.site.Code, Text: "for which site systems " + a.name + " is configured is not known"}).(*types.Unknown)
				gap = merge(gap, u)
				continue
			}
			if h := ev.w.host(a.host); !slices.Contains(out, ref.Val(h)) {
				out = append(out, h)
			}
		}
		gap = merge(gap, ev.w.slotGap(ev.site, e))
	}
	return &list{out, gap}
}

// allGroups are the groups of the site that exist on hosts, or may.
func (ev *evaluation) allGroups() ref.Val {
	var out []ref.Val
	var gap *types.Unknown
	for _, e := range ev.w.rules.catalogue.Entries {
		if e.Kind != configmgr.WindowsGroup {
			continue
		}
		if len(placeOf[e.ID]) > 0 {
			u, _ := ev.groupGap(e).(*types.Unknown)
			gap = merge(gap, u)
		}
		for _, g := range ev.groups(e) {
			if !g.absent() {
				out = append(out, record{ev, groupType, g, g.name() + " on " + g.host.name})
			}
		}
	}
	return &list{out, gap}
}

// expected are the members that a group has by what the site configures.
func (ev *evaluation) expected(g *group) ref.Val {
	w := ev.w
	remote := func(hosts *list) *list {
		return &list{slices.DeleteFunc(slices.Clone(hosts.known), func(v ref.Val) bool { return v.Equal(g.host) == types.True }), hosts.gap}
	}
	switch g.entry.ID {
	case "configmgr-collectedfilesaccess":
		return w.admins(func(a configmgr.Admin) ref.Val { return w.permits(a, "SMS_Collection", "ViewCollectedFile") })
	case "configmgr-dviewaccess":
		cas, ok := ev.central().(record)
		switch {
		case !ok:
			return lst(nil, ev.central())
		case family(ev.site.Release) == "2012" || siteOf(cas) == noSite:
			return lst(nil, nil)
		}
		return w.accountsOf(union(w.hostsOf(siteOf(cas), roleSiteServer), w.hostsOf(siteOf(cas), roleDatabase)))
	case "configmgr-remote-control-users":
		return ev.principalSetting(ev.site, "RemoteTools.PermittedViewers")
	case "sms-admins":
		return union(w.admins(func(configmgr.Admin) ref.Val { return types.True }), w.accountsOf(w.hostsOf(ev.site, roleSiteServer)))
	case "sms-sitesystemtositeserverconnection-mp":
		return w.accountsOf(remote(w.hostsOf(ev.site, roleManagement)))
	case "sms-sitesystemtositeserverconnection-smsprov":
		var users []ref.Val
		for _, n := range w.params.DeclaredProviderUsers {
			users = append(users, w.principal(n, nil, ""))
		}
		return union(w.accountsOf(remote(w.hostsOf(ev.site, roleProvider))), lst(users, nil))
	case "sms-sitesystemtositeserverconnection-stat":
		return union(w.accountsOf(remote(ev.systems())), ev.assigned("site-system-installation"))
	case "sms-sitetositeconnection":
		return union(w.accountsOf(ev.neighbours()), ev.principalSetting(ev.site, "replication.accounts"))
	}
	return lst(nil, ev.lack(Missing{Collector: "product-state", Text: "who belongs into " + g.name() + " is not known"}))
}

func productFunctions() []*function {
	return []*function{
		{"admins", nil, principalList, needsAdmins, "administrative users of the hierarchy", func(ev *evaluation, _ []ref.Val) ref.Val {
			return ev.w.admins(func(configmgr.Admin) ref.Val { return types.True })
		}},
		{"admins_with", in(siteType, cel.StringType, cel.StringType), principalList, needsAdmins, "administrative users whose roles permit something on a class", func(ev *evaluation, a []ref.Val) ref.Val {
			return ev.w.admins(func(x configmgr.Admin) ref.Val { return ev.w.permits(x, str(a[1]), str(a[2])) })
		}},
		{"admins_with_role", in(cel.StringType), principalList, needsAdmins, "administrative users with a role, by its id such as SMS0001R", func(ev *evaluation, a []ref.Val) ref.Val {
			return ev.w.admins(func(x configmgr.Admin) ref.Val {
				if len(x.Roles) == 0 {
					return ev.w.rolesUnread(x)
				}
				return types.Bool(slices.ContainsFunc(x.Roles, func(r string) bool {
					return strings.EqualFold(r, str(a[0])) || str(a[0]) == "SMS0001R" && strings.EqualFold(r, "Full Administrator")
				}))
			})
		}},
		{"has_permission", in(principalType, cel.StringType, cel.StringType), cel.BoolType, needsAdmins, "the principal, or a group that it is in, is permitted something on a class", func(ev *evaluation, a []ref.Val) ref.Val {
			return ev.w.hasPermission(who(a[0]), str(a[1]), str(a[2]))
		}},
		{"sms_admin_roles", in(principalType), textList, needsAdmins, "security roles of the principal as administrative user, through groups too", func(ev *evaluation, a []ref.Val) ref.Val { return ev.w.adminRoles(who(a[0])) }},
		{"sql_db_roles", in(principalType, cel.StringType), textList, needsSQL, "roles of the database that the principal is in", func(ev *evaluation, a []ref.Val) ref.Val {
			return ev.sqlList(str(a[1]), func(d *configmgr.Database) *list { return ev.w.rolesIn(who(a[0]), d.Roles, d.Host) })
		}},
		{"sql_server_roles", in(principalType, cel.StringType), textList, needsSQL, "roles of the instance that the principal is in", func(ev *evaluation, a []ref.Val) ref.Val {
			return ev.sqlList(str(a[1]), func(d *configmgr.Database) *list { return ev.w.rolesIn(who(a[0]), d.ServerRoles, d.Host) })
		}},
		{"sql_db_rights", in(principalType, cel.StringType), textList, needsSQL, "rights on the database as a whole", func(ev *evaluation, a []ref.Val) ref.Val {
			return ev.sqlList(str(a[1]), func(d *configmgr.Database) *list {
				return ev.w.databaseRights(who(a[0]), d)
			})
		}},
		{"sql_can_select", in(principalType, cel.StringType, textList), cel.BoolType, needsSQL, "the principal can read one of the tables or views", func(ev *evaluation, a []ref.Val) ref.Val { return ev.canSelect(who(a[0]), str(a[1]), textsOf(a[2])) }},
		{"packages", nil, cel.ListType(packageType), needsPackages, "all packages", func(ev *evaluation, _ []ref.Val) ref.Val { return ev.packages("") }},
		{"packages_tagged", in(cel.StringType), cel.ListType(packageType), needsPackages, "packages with a tag", func(ev *evaluation, a []ref.Val) ref.Val { return ev.packages(str(a[0])) }},
		{"packages_for", in(cel.StringType), cel.ListType(packageType), needsPackages, "packages for a kind of clients: workgroup", func(ev *evaluation, a []ref.Val) ref.Val { return ev.packages(str(a[0])) }},
		{"access_list", in(packageType), cel.ListType(accessType), needsPackages, "entries of a package's access list", func(ev *evaluation, a []ref.Val) ref.Val {
			var out []ref.Val
			for _, e := range packageOf(a[0]).Entries {
				if e.Deny {
					continue // it gives nothing
				}
				x := &access{ev.w.plainName(e.Member, nil), e.Rights}
				out = append(out, record{ev, accessType, x, x.name + ": " + strings.Join(e.Rights, ", ")})
			}
			return lst(out, nil)
		}},
		{"trustees", in(packageType), principalList, needsPackages, "who stands in a package's access list, administrators left out", func(ev *evaluation, a []ref.Val) ref.Val {
			var out []ref.Val
			for _, e := range packageOf(a[0]).Entries {
				if !e.Deny && ev.w.plainName(e.Member, nil) != "Administrators" {
					out = append(out, ev.w.member(e.Member, ""))
				}
			}
			return lst(out, nil)
		}},
		{"readable", in(principalList, packageType), cel.BoolType, needsPackages, "every one of the principals can read a package", func(ev *evaluation, a []ref.Val) ref.Val { return ev.readable(a[0], packageOf(a[1])) }},
		{"acl_matches", in(packageType, hostType), cel.BoolType, needsPackages + "; " + needsHostACL, "the folder of a package on a host gives nobody more than the access list does", func(ev *evaluation, a []ref.Val) ref.Val { return ev.matches(packageOf(a[0]), machine(a[1])) }},
		{"task_sequences_using", in(principalType), cel.ListType(sequenceType), needsSteps, "task sequences with a step that names the account", func(ev *evaluation, a []ref.Val) ref.Val { return ev.w.sequencesUsing(who(a[0])) }},
		{"last_modified", in(cel.ListType(sequenceType)), timeList, needsSteps, "when task sequences were changed last", func(ev *evaluation, a []ref.Val) ref.Val {
			known, gap := elements(a[0])
			var out []ref.Val
			for _, v := range known {
				s := v.(record).v.(*configmgr.Sequence)
				if s.Modified.IsZero() {
					u, _ := ev.lack(Missing{Collector: "adminservice", Class: configmgr.ClassSequences, Text: "when task sequence " + s.ID + " was changed is not known"}).(*types.Unknown)
					gap = merge(gap, u)
					continue
				}
				out = append(out, timestamp(s.Modified))
			}
			return &list{out, gap}
		}},
		{"targets_of", in(principalType), hostList, needsSteps, "computers to which task sequences that name the account are deployed", func(ev *evaluation, a []ref.Val) ref.Val {
			known, gap := elements(ev.w.sequencesUsing(who(a[0])))
			var out []ref.Val
			for _, v := range known {
				s := v.(record).v.(*configmgr.Sequence)
				for _, n := range s.Targets {
					out = append(out, ev.w.host(n))
				}
				if len(s.Targets) == 0 { // no cmdlet that is read lists deployments
					u, _ := ev.lack(Missing{Collector: "attestation", Class: configmgr.ClassSequences, Text: "to which computers task sequence " + s.ID + " is deployed is not known"}).(*types.Unknown)
					gap = merge(gap, u)
				}
			}
			return &list{out, gap}
		}},
		{"capture_shares", nil, textList, needsSteps, "shares, as UNC paths, to which images are captured", func(ev *evaluation, _ []ref.Val) ref.Val {
			return ev.stepShares(func(st configmgr.Step) ref.Val { return types.Bool(st.Entry == "capture-os-image") })
		}},
		{"shares_in_steps", in(principalType), textList, needsSteps, "shares, as UNC paths, that steps with the account name", func(ev *evaluation, a []ref.Val) ref.Val {
			return ev.stepShares(func(st configmgr.Step) ref.Val { return ev.w.names(st.Name, who(a[0])) })
		}},
		{"step_writes", in(cel.StringType), cel.BoolType, needsSteps, "a step writes to the share", func(ev *evaluation, a []ref.Val) ref.Val {
			found := false
			u := ev.w.steps(func(st configmgr.Step) {
				found = found || st.Writes && st.Share != "" && ev.w.normalUNC(st.Share) == ev.w.normalUNC(str(a[0]))
			})
			if found {
				return types.True
			}
			return orElse(u, types.False)
		}},
		{"variables", nil, cel.ListType(variableType), "names of variables (adminservice, T1)", "variables of collections, devices and task sequences; values are never read", func(ev *evaluation, _ []ref.Val) ref.Val {
			var out []ref.Val
			for _, v := range ev.w.doc.Variables {
				out = append(out, record{ev, variableType, v, v.Name + " of " + v.Of})
			}
			return lst(out, ev.w.unread(configmgr.ClassVariables, ""))
		}},
	}
}

func packageOf(v ref.Val) *configmgr.Package { return v.(record).v.(*configmgr.Package) }

// packages lists those with a tag, or all.
func (ev *evaluation) packages(tag string) ref.Val {
	var out []ref.Val
	for i := range ev.w.doc.Packages {
		if p := &ev.w.doc.Packages[i]; tag == "" || slices.Contains(p.Tags, tag) {
			out = append(out, record{ev, packageType, p, p.ID})
		}
	}
	gap := ev.w.unread(configmgr.ClassPackages, "")
	if tag != "" && len(out) == 0 && gap == nil {
		ev.nobody = "no package is marked as " + tag
	}
	return lst(out, gap)
}

// readable tells whether all of some principals can read a package.
func (ev *evaluation) readable(list ref.Val, p *configmgr.Package) ref.Val {
	known, gap := elements(list)
	out := orUnknown(gap, types.True)
	h := &host{w: ev.w}
	for _, v := range known {
		out = and(out, ev.w.rightsOn(v.(*principal), h, configmgr.ACL{Entries: p.Entries}).grants("read"))
	}
	return out
}

// matches tells whether the folder of a package on a host gives more than its list.
func (ev *evaluation) matches(p *configmgr.Package, h *host) ref.Val {
	acl, u := ev.w.folder(h, p.ID)
	if u != nil {
		return u
	}
	for _, e := range acl.Entries {
		if e.Deny || slices.Contains(systemNames, ev.w.plainName(e.Member, h)) {
			continue
		}
		var listed []string
		for _, x := range p.Entries {
			if !x.Deny && ev.w.member(x.Member, h.name).Equal(ev.w.member(e.Member, h.name)) == types.True {
				listed = append(listed, x.Rights...)
			}
		}
		for _, r := range e.Rights {
			if !hasRight(listed, r) {
				ev.offenders = append(ev.offenders, p.ID+" on "+h.name+": "+ev.w.plainName(e.Member, h)+" has "+r)
				return types.False
			}
		}
	}
	return types.True
}

// databaseRights lists the rights of p on a database as a whole.
func (w *world) databaseRights(p *principal, d *configmgr.Database) *list {
	h := &host{w: w, name: d.Host}
	if d.Host != "" {
		h = w.host(d.Host)
	}
	return w.rightsOn(p, h, configmgr.ACL{Entries: d.Rights})
}

// canSelect tells whether p can read one of some tables: by a grant on it or on the
// whole database, or by a role that reads everything.
func (ev *evaluation) canSelect(p *principal, db string, tables []string) ref.Val {
	d, u := ev.database(db)
	if d == nil {
		return u
	}
	out := orElse(u, types.False)
	for _, t := range tables {
		for name, list := range d.Selectable {
			if strings.EqualFold(name, t) {
				out = or(out, ev.w.listed(p, list, d.Host))
			}
		}
	}
	for _, role := range []string{"db_owner", "db_datareader"} {
		out = or(out, ev.w.listed(p, d.Roles[role], d.Host))
	}
	for _, right := range []string{"SELECT", "CONTROL"} {
		out = or(out, ev.w.databaseRights(p, d).grants(right))
	}
	return or(out, ev.w.listed(p, d.ServerRoles["sysadmin"], d.Host))
}

// stepShares lists the shares of steps, normalized.
func (ev *evaluation) stepShares(want func(configmgr.Step) ref.Val) ref.Val {
	var out []ref.Val
	var maybe *types.Unknown
	u, _ := ev.w.steps(func(st configmgr.Step) {
		if st.Share == "" {
			return
		}
		v := types.String(ev.w.normalUNC(st.Share))
		switch is := want(st).(type) {
		case types.Bool:
			if bool(is) && !slices.Contains(out, ref.Val(v)) {
				out = append(out, v)
			}
		case *types.Unknown:
			maybe = merge(maybe, is)
		}
	}).(*types.Unknown)
	return &list{out, merge(u, maybe)}
}
