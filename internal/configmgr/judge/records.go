package judge

import (
	"cmp"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/forest"
)

// Types with fields.
var (
	assignmentType = cel.ObjectType("cm.Assignment")
	groupType      = cel.ObjectType("cm.Group")
	siteType       = cel.ObjectType("cm.Site")
	domainType     = cel.ObjectType("cm.Domain")
	forestType     = cel.ObjectType("cm.Forest")
	paramType      = cel.ObjectType("cm.Parameters")
	aceType        = cel.ObjectType("cm.ADEntry")
	accessType     = cel.ObjectType("cm.Access")
	aclType        = cel.ObjectType("cm.ACL")
	packageType    = cel.ObjectType("cm.Package")
	sequenceType   = cel.ObjectType("cm.Sequence")
	variableType   = cel.ObjectType("cm.Variable")
	objectType     = cel.ObjectType("cm.Object")
	generatorType  = cel.ObjectType("cm.Generator")
)

func variables() []variable {
	return []variable{
		{"a", assignmentType, "the assignment, of controls per assignment, identity or stored account", func(ev *evaluation) ref.Val {
			if ev.a == nil {
				return types.NewErr("the control has no assignment")
			}
			return record{ev, assignmentType, ev.a, ev.a.name}
		}},
		{"g", groupType, "the group on a host, of controls per group", func(ev *evaluation) ref.Val {
			if ev.g == nil {
				return types.NewErr("the control has no group")
			}
			return record{ev, groupType, ev.g, ev.g.name() + " on " + ev.g.host.name}
		}},
		{"site", siteType, "the site that is judged", func(ev *evaluation) ref.Val { return ev.siteRecord(ev.site) }},
		{"cas", siteType, "the central administration site; without roles if the hierarchy has none", func(ev *evaluation) ref.Val { return ev.central() }},
		{"domain", domainType, "the domain, of controls per domain", func(ev *evaluation) ref.Val { return record{ev, domainType, ev.domain, ev.domain} }},
		{"forest", forestType, "the forest that an assignment is for", func(ev *evaluation) ref.Val { return ev.siteForest() }},
		{"param", paramType, "thresholds and lists of the catalogue, the document or the command line", func(ev *evaluation) ref.Val { return record{ev, paramType, &ev.w.params, "param"} }},
		{"generator", generatorType, "what makes the secrets that leastwise proposes", func(ev *evaluation) ref.Val { return record{ev, generatorType, "generator", "generator"} }},
		{"well_known_broad", principalList, "identities and groups that stand for everybody: Everyone, Authenticated Users, Domain Users, …", func(ev *evaluation) ref.Val { return lst(ev.w.broad(), nil) }},
		{"default_ad_admins", principalList, "those whom every domain lets change everything: Administrators, Domain Admins, Enterprise Admins, SYSTEM, …", func(ev *evaluation) ref.Val {
			return lst(ev.w.defaultAdministrators(), nil)
		}},
		{"site_server_computers", principalList, "computer accounts of the site servers of all sites, passive ones too", func(ev *evaluation) ref.Val { return ev.siteServers() }},
	}
}

func (ev *evaluation) siteRecord(s *configmgr.Site) ref.Val { return record{ev, siteType, s, s.Code} }

// noSite stands for a central administration site that does not exist.
var noSite = &configmgr.Site{}

func (ev *evaluation) central() ref.Val {
	for i := range ev.w.doc.Sites {
		if ev.w.doc.Sites[i].Kind == configmgr.CentralSite {
			return ev.siteRecord(&ev.w.doc.Sites[i])
		}
	}
	if u := ev.w.unread(configmgr.ClassSites, ""); u != nil {
		return u
	}
	return ev.siteRecord(noSite)
}

func (ev *evaluation) siteServers() ref.Val {
	return ev.w.remember("siteServers", func() ref.Val {
		var hosts []ref.Val
		for i := range ev.w.doc.Sites {
			for _, name := range []string{ev.w.doc.Sites[i].Server, ev.w.doc.Sites[i].Passive} {
				if name != "" {
					hosts = append(hosts, ev.w.host(name))
				}
			}
		}
		return ev.w.accountsOf(lst(hosts, ev.w.unread(configmgr.ClassSites, "")))
	})
}

// siteForest is the forest that the assignment at hand names as its location.
func (ev *evaluation) siteForest() ref.Val {
	if ev.a == nil {
		return types.NewErr("the control has no assignment, and so no forest")
	}
	for i := range ev.site.Forests {
		if strings.EqualFold(ev.site.Forests[i].Name, ev.a.location) {
			return record{ev, forestType, &ev.site.Forests[i], ev.a.location}
		}
	}
	return orElse(ev.w.unread(configmgr.ClassForests, ""),
		ev.lack(Missing{Collector: "adminservice", Class: configmgr.ClassForests, Text: "the forest " + ev.a.location + " is not among those of the site"}))
}

func recordTypes() map[string]*recordType {
	out := map[string]*recordType{}
	for _, r := range []*recordType{
		newRecord(assignmentType, "a principal in a slot", assignmentFields()),
		newRecord(groupType, "a group of Configuration Manager on a host", groupFields()),
		newRecord(siteType, "a site", siteFields()),
		newRecord(paramType, "parameters", paramFields()),
		newRecord(domainType, "a domain", []field{
			{"name", cel.StringType, "DNS name", func(_ *evaluation, v any) ref.Val { return types.String(v.(string)) }},
			{"machine_account_quota", cel.IntType, "ms-DS-MachineAccountQuota", func(ev *evaluation, v any) ref.Val {
				if d := ev.w.domainNamed(v.(string)); d != nil {
					return ev.w.quota(*d)
				}
				return ev.w.ldap("the domain " + v.(string) + " is not part of the snapshot")
			}},
		}),
		newRecord(forestType, "a forest of the hierarchy", []field{
			{"fqdn", cel.StringType, "DNS name", func(_ *evaluation, v any) ref.Val { return types.String(v.(*configmgr.SiteForest).Name) }},
			{"publishing", cel.BoolType, "whether the site publishes there", func(_ *evaluation, v any) ref.Val { return types.Bool(v.(*configmgr.SiteForest).Publishing) }},
		}),
		newRecord(aceType, "a right to write that an entry of the directory gives", []field{
			{"dn", cel.StringType, "distinguished name of the object", func(_ *evaluation, v any) ref.Val { return types.String(v.(adACE).dn) }},
			{"kind", cel.StringType, "full-control, write-dacl, create-child-computer, reset-password, write-member, …", func(_ *evaluation, v any) ref.Val { return types.String(v.(adACE).kind) }},
			{"right", cel.StringType, "the same", func(_ *evaluation, v any) ref.Val { return types.String(v.(adACE).right) }},
		}),
		newRecord(accessType, "an entry of a package's access list", []field{
			{"trustee", cel.StringType, "name without domain; built-in groups by their English name", func(_ *evaluation, v any) ref.Val { return types.String(v.(*access).name) }},
			{"rights", textList, "rights", func(_ *evaluation, v any) ref.Val { return lst(texts(v.(*access).rights), nil) }},
		}),
		newRecord(aclType, "an access list of a host that names a group", []field{
			{"path", cel.StringType, "folder, or UNC path of a share", func(_ *evaluation, v any) ref.Val { return types.String(v.(string)) }},
		}),
		newRecord(packageType, "a package", nil),
		newRecord(sequenceType, "a task sequence", nil),
		newRecord(variableType, "a variable of a collection, device or task sequence", []field{
			{"name", cel.StringType, "its name", func(_ *evaluation, v any) ref.Val { return types.String(v.(configmgr.Variable).Name) }},
		}),
		newRecord(objectType, "an object of the directory", nil),
		newRecord(generatorType, "a generator of secrets", []field{
			{"alphabet", cel.StringType, "the characters that it uses", func(ev *evaluation, _ any) ref.Val {
				if ev.w.alpha == nil {
					return ev.lack(Missing{Collector: "product-state", Text: "what secrets are made of was not said"})
				}
				return types.String(*ev.w.alpha)
			}},
		}),
	} {
		out[r.typ.TypeName()] = r
	}
	return out
}

// An access is what a package's access list gives to somebody.
type access struct {
	name   string
	rights []string
}

func groupFields() []field {
	get := func(f func(ev *evaluation, g *group) ref.Val) func(*evaluation, any) ref.Val {
		return func(ev *evaluation, v any) ref.Val { return f(ev, v.(*group)) }
	}
	return []field{
		{"sid", principalType, "the group as a principal", get(func(_ *evaluation, g *group) ref.Val { return g.p })},
		{"host", hostType, "the host that has it", get(func(_ *evaluation, g *group) ref.Val { return g.host })},
		{"site", siteType, "the site that it serves", get(func(ev *evaluation, g *group) ref.Val { return ev.siteRecord(g.site) })},
		{"name", cel.StringType, "its name", get(func(_ *evaluation, g *group) ref.Val { return types.String(g.name()) })},
	}
}

func siteFields() []field {
	get := func(f func(ev *evaluation, s *configmgr.Site) ref.Val) func(*evaluation, any) ref.Val {
		return func(ev *evaluation, v any) ref.Val { return f(ev, v.(*configmgr.Site)) }
	}
	lacks := func(ev *evaluation, s *configmgr.Site, what string) ref.Val {
		return orElse(ev.w.unread(configmgr.ClassSites, ""),
			ev.lack(Missing{Collector: "adminservice", Class: configmgr.ClassSites, Scope: s.Code, Text: what + " of " + s.Code + " is not known"}))
	}
	return []field{
		{"code", cel.StringType, "site code", get(func(_ *evaluation, s *configmgr.Site) ref.Val { return types.String(s.Code) })},
		{"family", cel.StringType, "2012 or current-branch", get(func(ev *evaluation, s *configmgr.Site) ref.Val {
			if f := family(s.Release); f != "" {
				return types.String(f)
			}
			return lacks(ev, s, "the release")
		})},
		{"version", cel.StringType, "release: 2012, 2012-SP1, 2012-SP2, 2012-R2, 2012-R2-SP1, current-branch", get(func(ev *evaluation, s *configmgr.Site) ref.Val {
			if s.Release != "" {
				return types.String(s.Release)
			}
			return lacks(ev, s, "the release")
		})},
		{"build", cel.IntType, "build number, such as 9141", get(func(ev *evaluation, s *configmgr.Site) ref.Val {
			if s.Build > 0 {
				return types.Int(s.Build)
			}
			return lacks(ev, s, "the build")
		})},
		{"server", hostType, "the site server", get(func(ev *evaluation, s *configmgr.Site) ref.Val {
			if s.Server != "" {
				return ev.w.host(s.Server)
			}
			return lacks(ev, s, "the site server")
		})},
		{"servers", hostList, "the site server and the one in passive mode", get(func(ev *evaluation, s *configmgr.Site) ref.Val {
			if s.Server == "" {
				return lst(nil, lacks(ev, s, "the site server"))
			}
			out := []ref.Val{ev.w.host(s.Server)}
			if s.Passive != "" {
				out = append(out, ev.w.host(s.Passive))
			}
			return lst(out, ev.w.unread(configmgr.ClassSites, ""))
		})},
		{"server_sid", principalType, "the computer account of the site server", get(func(ev *evaluation, s *configmgr.Site) ref.Val {
			if s.Server != "" {
				return ev.w.host(s.Server).account()
			}
			return lacks(ev, s, "the site server")
		})},
		{"domain", cel.StringType, "DNS name of the site server's domain", get(func(ev *evaluation, _ *configmgr.Site) ref.Val { return ev.siteDomain() })},
		{"db", cel.StringType, "the site database", get(func(ev *evaluation, s *configmgr.Site) ref.Val {
			if s.Database != "" {
				return types.String(s.Database)
			}
			for _, d := range ev.w.doc.Databases {
				if strings.EqualFold(d.Site, s.Code) {
					return types.String(d.Name)
				}
			}
			return orElse(ev.w.unread(configmgr.ClassDatabase, s.Code),
				ev.lack(Missing{Collector: "sql", Class: configmgr.ClassDatabase, Scope: s.Code, Text: "the database of " + s.Code + " is not known"}))
		})},
	}
}

func paramFields() []field {
	num := func(f func(p *configmgr.Parameters) int) func(*evaluation, any) ref.Val {
		return func(_ *evaluation, v any) ref.Val { return types.Int(f(v.(*configmgr.Parameters))) }
	}
	names := func(f func(p *configmgr.Parameters) []string) func(*evaluation, any) ref.Val {
		return func(_ *evaluation, v any) ref.Val { return lst(texts(f(v.(*configmgr.Parameters))), nil) }
	}
	return []field{
		{"max_full_admins", cel.IntType, "how many Full Administrators there may be", num(func(p *configmgr.Parameters) int { return p.MaxFullAdmins })},
		{"max_push_accounts", cel.IntType, "how many client push accounts a site may have", num(func(p *configmgr.Parameters) int { return p.MaxPushAccounts })},
		{"naa_max", cel.IntType, "how many network access accounts the site's release may have: 1 before 2012 R2", func(ev *evaluation, v any) ref.Val {
			switch ev.site.Release {
			case "2012", "2012-SP1", "2012-SP2":
				return types.Int(1)
			case "":
				return orElse(ev.w.unread(configmgr.ClassSites, ""), ev.lack(Missing{Collector: "adminservice", Class: configmgr.ClassSites, Scope: ev.site.Code, Text: "the release of " + ev.site.Code + " is not known"}))
			}
			return types.Int(v.(*configmgr.Parameters).MaxNetworkAccessAccounts)
		}},
		{"max_password_age_days", cel.IntType, "how old a password may be", num(func(p *configmgr.Parameters) int { return p.MaxPasswordAgeDays })},
		{"join_ous", textList, "distinguished names of the containers into which computers are joined", names(func(p *configmgr.Parameters) []string { return p.JoinOUs })},
		{"join_ace_kinds", textList, "kinds of entries that joining needs", names(func(p *configmgr.Parameters) []string { return p.JoinACEKinds })},
		{"proxy_groups", textList, "groups that let through a proxy", names(func(p *configmgr.Parameters) []string { return p.ProxyGroups })},
		{"exchange_connector_cmdlets", textList, "cmdlets that the Exchange connector needs", names(func(p *configmgr.Parameters) []string { return p.ExchangeConnectorCmdlets })},
		{"declared_provider_users", principalList, "users that run a provider", func(ev *evaluation, v any) ref.Val {
			var out []ref.Val
			for _, n := range v.(*configmgr.Parameters).DeclaredProviderUsers {
				out = append(out, ev.w.principal(n, nil, ""))
			}
			return lst(out, nil)
		}},
	}
}

// flags are the fields of assignments that userAccountControl answers ([MS-ADTS] 2.2.16).
var flags = []struct {
	name string
	bit  int64
	doc  string
}{
	{"uac_not_delegated", 0x100000, "NOT_DELEGATED"},
	{"uac_dont_expire_password", 0x10000, "DONT_EXPIRE_PASSWORD"},
	{"uac_dont_req_preauth", 0x400000, "DONT_REQ_PREAUTH"},
	{"uac_passwd_notreqd", 0x20, "PASSWD_NOTREQD"},
	{"uac_reversible", 0x80, "ENCRYPTED_TEXT_PWD_ALLOWED"},
	{"uac_trusted_for_delegation", 0x80000, "TRUSTED_FOR_DELEGATION"},
}

func assignmentFields() []field {
	get := func(f func(ev *evaluation, a *assignment) ref.Val) func(*evaluation, any) ref.Val {
		return func(ev *evaluation, v any) ref.Val { return f(ev, v.(*assignment)) }
	}
	out := []field{
		{"sid", principalType, "who it is", get(func(ev *evaluation, a *assignment) ref.Val { return a.p })},
		{"name", cel.StringType, "the name as it is configured", get(func(_ *evaluation, a *assignment) ref.Val { return types.String(a.name) })},
		{"slot", cel.StringType, "the entry that it fills; empty for a stored account that fills none", get(func(_ *evaluation, a *assignment) ref.Val {
			if a.entry == nil {
				return types.String("")
			}
			return types.String(a.entry.ID)
		})},
		{"type", cel.StringType, "user, computer, group, gmsa, msa, local or firmware", get(func(ev *evaluation, a *assignment) ref.Val { return ev.typeOf(a) })},
		{"domain", cel.StringType, "DNS name of the account's domain; empty for one that has none", get(func(ev *evaluation, a *assignment) ref.Val { return ev.domainOf(a) })},
		{"forest", cel.StringType, "DNS name of the root domain of the account's forest", get(func(ev *evaluation, a *assignment) ref.Val { return ev.forestOf(a) })},
		{"host", hostType, "the site system that uses it", get(func(ev *evaluation, a *assignment) ref.Val { return ev.hostOf(a) })},
		{"share", cel.StringType, "the share that its task sequence steps name", get(func(ev *evaluation, a *assignment) ref.Val { return ev.shareOf(a) })},
		{"location_domain", cel.StringType, "DNS name of the domain of the discovery location", get(func(ev *evaluation, a *assignment) ref.Val { return ev.locationDomain(a) })},
		{"role_domain", cel.StringType, "DNS name of the domain of the host", get(func(ev *evaluation, a *assignment) ref.Val {
			if h, ok := ev.hostOf(a).(*host); ok {
				return ev.w.domainOfHost(h)
			}
			return ev.hostOf(a)
		})},
		{"configured_since", cel.TimestampType, "when the assignment was first seen", get(func(ev *evaluation, a *assignment) ref.Val {
			if a.firstSeen.IsZero() {
				return ev.lack(Missing{Collector: "product-state", Text: "since when " + a.name + " is configured is not known"})
			}
			return timestamp(a.firstSeen)
		})},
		{"configured_name_domain", cel.StringType, "the domain part of the name as configured", get(func(_ *evaluation, a *assignment) ref.Val { return types.String(prefix(a.name)) })},
		{"account_usage", textList, "what the site uses the account for", get(func(ev *evaluation, a *assignment) ref.Val {
			return lst(texts(a.usage), ev.w.unread(configmgr.ClassAccounts, ev.site.Code))
		})},
		{"source_db", cel.StringType, "the database of the source site", get(func(ev *evaluation, a *assignment) ref.Val {
			if a.location != "" {
				return types.String(a.location)
			}
			return ev.lack(Missing{Collector: "adminservice", Class: configmgr.ClassMigration, Scope: ev.site.Code, Text: "the database that " + a.name + " reads is not known"})
		})},
		{"enabled", cel.BoolType, "not disabled", get(func(ev *evaluation, a *assignment) ref.Val { return ev.w.enabled(a.p) })},
		{"expired", cel.BoolType, "accountExpires has passed", get(func(ev *evaluation, a *assignment) ref.Val { return ev.expired(a.p) })},
		{"locked", cel.BoolType, "locked out now", get(func(ev *evaluation, a *assignment) ref.Val { return ev.locked(a.p) })},
		{"pwd_last_set", cel.TimestampType, "when the password was set", get(func(ev *evaluation, a *assignment) ref.Val { return ev.w.passwordSet(a.p) })},
		{"spns", textList, "service principal names", get(func(ev *evaluation, a *assignment) ref.Val { return ev.w.attrTexts(a.p, forest.ServicePrincipalName) })},
		{"allowed_to_delegate_to", textList, "msDS-AllowedToDelegateTo", get(func(ev *evaluation, a *assignment) ref.Val {
			return ev.w.attrTexts(a.p, forest.MsDSAllowedToDelegateTo)
		})},
		{"profile_path", cel.StringType, "profilePath; empty if there is none", get(func(ev *evaluation, a *assignment) ref.Val {
			if u := a.p.readable(); u != nil {
				return u
			}
			v, st := ev.w.s.Str(a.p.id, forest.ProfilePath)
			if st == forest.Unreadable {
				return ev.w.unreadable(a.p.id, forest.ProfilePath)
			}
			return types.String(v)
		})},
	}
	for _, f := range flags {
		out = append(out, field{f.name, cel.BoolType, "flag " + f.doc + " of userAccountControl", get(func(ev *evaluation, a *assignment) ref.Val {
			return ev.w.flag(a.p, f.bit)
		})})
	}
	return out
}

// unreadable says that an attribute was not read.
func (w *world) unreadable(id forest.ID, a forest.Attr) ref.Val {
	return w.ldap(a.String() + " of " + w.s.DN(id) + ": " + cmp.Or(w.s.Why(id, a), "not readable"))
}

func (w *world) flag(p *principal, bit int64) ref.Val {
	if u := p.readable(); u != nil {
		return u
	}
	v, st := w.s.Int(p.id, forest.UserAccountControl)
	if _, assumed := w.s.Assumed(forest.UserAccountControl.String()); st != forest.Known || assumed {
		return w.unreadable(p.id, forest.UserAccountControl)
	}
	return types.Bool(v&bit != 0)
}

// enabled tells whether an account is not disabled; one that does not exist is not.
func (w *world) enabled(p *principal) ref.Val {
	switch {
	case p.gone:
		return types.False
	case p.id != forest.None && w.s.IsA(p.id, "group"):
		return types.True
	}
	return not(w.flag(p, 2))
}

func (w *world) passwordSet(p *principal) ref.Val {
	if u := p.readable(); u != nil {
		return u
	}
	switch t, st := w.s.Time(p.id, forest.PwdLastSet); st {
	case forest.Known:
		return timestamp(t)
	case forest.Absent:
		return timestamp(time.Unix(0, 0))
	}
	return w.unreadable(p.id, forest.PwdLastSet)
}

func (w *world) attrTexts(p *principal, a forest.Attr) ref.Val {
	if u := p.readable(); u != nil {
		return lst(nil, u)
	}
	v, st := w.s.Strs(p.id, a)
	if st == forest.Unreadable {
		return lst(texts(v), w.unreadable(p.id, a))
	}
	return lst(texts(v), nil)
}

func (ev *evaluation) expired(p *principal) ref.Val {
	if u := p.readable(); u != nil {
		return u
	}
	if ev.w.s.IsA(p.id, "group") {
		return types.False
	}
	switch t, st := ev.w.s.Time(p.id, forest.AccountExpires); st {
	case forest.Known:
		return types.Bool(t.Before(ev.w.now))
	case forest.Absent:
		return types.False
	}
	return ev.w.unreadable(p.id, forest.AccountExpires)
}

// locked tells whether lockoutTime is set and the domain's lockoutDuration has not
// passed ([MS-ADTS] 3.1.1.4.5.17); without a duration only an administrator unlocks.
func (ev *evaluation) locked(p *principal) ref.Val {
	if u := p.readable(); u != nil {
		return u
	}
	if ev.w.s.IsA(p.id, "group") {
		return types.False
	}
	t, st := ev.w.s.Time(p.id, forest.LockoutTime)
	switch st {
	case forest.Absent:
		return types.False
	case forest.Unreadable:
		return ev.w.unreadable(p.id, forest.LockoutTime)
	}
	if d, ok := ev.w.s.DomainOf(p.id); ok && d.Head != forest.None {
		if ticks, st := ev.w.s.Int(d.Head, forest.LockoutDuration); st == forest.Known && ticks < 0 {
			return types.Bool(t.Add(time.Duration(-ticks) * 100).After(ev.w.now))
		}
	}
	return types.True
}

// typeOf is the type of the account in a slot.
func (ev *evaluation) typeOf(a *assignment) ref.Val {
	w := ev.w
	switch {
	case a.entry != nil && a.entry.Kind == configmgr.FirmwareAccount:
		return types.String("firmware")
	case a.p.id != forest.None:
		for _, k := range []struct{ class, kind string }{
			{"msDS-GroupManagedServiceAccount", "gmsa"},
			{"msDS-ManagedServiceAccount", "msa"},
			{"computer", "computer"},
			{"group", "group"},
			{"user", "user"},
		} {
			if w.s.IsA(a.p.id, k.class) {
				return types.String(k.kind)
			}
		}
		if w.s.IsA(a.p.id, "foreignSecurityPrincipal") && !a.p.sid.IsDomainRelative() {
			return types.String("group") // a well-known identity
		}
		return w.ldap("the class of " + w.s.DN(a.p.id) + " does not tell what it is")
	case a.p.host != "" || a.kind == "local":
		return types.String("local")
	case a.kind != "":
		return types.String(a.kind)
	}
	return a.p.known()
}

// domainOf is the domain of the account in a slot.
func (ev *evaluation) domainOf(a *assignment) ref.Val {
	w := ev.w
	if a.p.isOurs() {
		if d, ok := w.s.DomainOf(a.p.id); ok {
			return types.String(strings.ToLower(d.DNS))
		}
	}
	if a.p.host != "" || a.entry != nil && a.entry.Kind == configmgr.FirmwareAccount {
		return types.String("")
	}
	dom := prefix(a.name)
	if d := w.domainNamed(dom); d != nil {
		return types.String(strings.ToLower(d.DNS))
	}
	own, _ := ev.siteDomain().(types.String)
	sure := a.p.away && w.domainNamed(string(own)) != nil // then it is not the site's
	if dom != "" && !strings.Contains(dom, ".") && !sure || a.p.isForeign() && dom == "" {
		return orElse(a.p.readable(), types.String(strings.ToLower(dom)))
	}
	return types.String(strings.ToLower(dom))
}

// forestOf is the root domain of the account's forest.
func (ev *evaluation) forestOf(a *assignment) ref.Val {
	if a.p.isOurs() {
		for _, d := range ev.w.domains {
			if d.Root {
				return types.String(strings.ToLower(d.DNS))
			}
		}
	}
	if u := a.p.readable(); u != nil {
		return u
	}
	return ev.w.ldap("the root of the forest was not read")
}

// hostOf is the site system that an assignment is for.
func (ev *evaluation) hostOf(a *assignment) ref.Val {
	if a.host != "" {
		return ev.w.host(a.host)
	}
	if a.entry != nil {
		if role, ok := roleOf[a.entry.ID]; ok {
			if l := ev.w.hostsOf(ev.site, role); len(l.known) == 1 {
				return l.known[0]
			}
		}
	}
	return ev.lack(Missing{Collector: "adminservice", Class: configmgr.ClassSiteRoles, Scope: ev.site.Code, Text: "which host uses " + a.name + " is not known"})
}

// shareOf is the share of the steps that name the account.
func (ev *evaluation) shareOf(a *assignment) ref.Val {
	found := ""
	u := ev.w.steps(func(st configmgr.Step) {
		if (a.entry == nil || st.Entry == a.entry.ID) && st.Share != "" && ev.w.names(st.Name, a.p) == types.True {
			found = st.Share
		}
	})
	switch {
	case found != "":
		return types.String(found)
	case u != nil:
		return u
	}
	return ev.lack(Missing{Collector: "cmdlet", Class: configmgr.ClassSequences, Text: "no step that names " + a.name + " names a share"})
}

// locationDomain is the domain of a discovery location, a distinguished name, an LDAP
// path or a DNS name.
func (ev *evaluation) locationDomain(a *assignment) ref.Val {
	loc := locationDN(a.location)
	switch {
	case loc == "":
		return ev.lack(Missing{Collector: "adminservice", Class: configmgr.ClassComponents, Scope: ev.site.Code, Text: "the location that " + a.name + " reads is not known"})
	case !strings.Contains(loc, "="):
		return types.String(strings.ToLower(loc))
	}
	var labels []string
	for _, rdn := range strings.Split(loc, ",") {
		if v, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(rdn)), "dc="); ok {
			labels = append(labels, v)
		}
	}
	return types.String(strings.Join(labels, "."))
}

// locationDN takes the path of a directory object for its name.
func locationDN(loc string) string {
	for _, p := range []string{"LDAP://", "GC://"} {
		if len(loc) > len(p) && strings.EqualFold(loc[:len(p)], p) {
			loc = loc[len(p):]
			if i := strings.IndexByte(loc, '/'); i >= 0 && !strings.Contains(loc[:i], "=") {
				loc = loc[i+1:]
			}
		}
	}
	return strings.TrimSpace(loc)
}
