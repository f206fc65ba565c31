package judge

import (
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/forest"
)

// Roles of site systems, as SMS_SCI_SysResUse names them.
const (
	roleSiteServer   = "SMS Site Server"
	roleSiteSystem   = "SMS Site System"
	roleProvider     = "SMS Provider"
	roleDatabase     = "SMS SQL Server"
	roleManagement   = "SMS Management Point"
	roleDistribution = "SMS Distribution Point"
	roleReporting    = "SMS SRS Reporting Point"
	roleUpdates      = "SMS Software Update Point"
	roleEnrollment   = "SMS Enrollment Server"
	roleMulticast    = "SMS Multicast Service Point"
	roleCertificates = "SMS Certificate Registration Point"
	roleOutOfBand    = "AMT Service Point"
)

// systems lists the site systems of the site, its servers among them.
func (ev *evaluation) systems() *list { return ev.w.systemsOf(ev.site) }

func (w *world) systemsOf(s *configmgr.Site) *list {
	return w.remember("systems "+s.Code, func() ref.Val {
		var out []ref.Val
		add := func(name string) {
			if name == "" {
				return
			}
			if h := w.host(name); !slices.ContainsFunc(out, func(v ref.Val) bool { return v == ref.Val(h) }) {
				out = append(out, h)
			}
		}
		add(s.Server)
		add(s.Passive)
		for _, x := range s.Systems {
			add(x.Host)
		}
		gap := w.unread(configmgr.ClassSiteRoles, s.Code)
		if len(out) == 0 { // every site has a server
			gap = orElse(gap, w.lack(Missing{Collector: collectorOf[configmgr.ClassSites], Class: configmgr.ClassSites, Scope: s.Code, Text: "no site system of " + s.Code + " is known"}))
		}
		return lst(out, gap)
	}).(*list)
}

// hostsOf lists the hosts of a role.
func (w *world) hostsOf(s *configmgr.Site, role string) *list {
	return w.remember("role "+s.Code+" "+role, func() ref.Val {
		var out []ref.Val
		add := func(name string) {
			if h := w.host(name); !slices.ContainsFunc(out, func(v ref.Val) bool { return v == ref.Val(h) }) {
				out = append(out, h)
			}
		}
		if role == roleSiteServer {
			for _, name := range []string{s.Server, s.Passive} {
				if name != "" {
					add(name)
				}
			}
		}
		for _, x := range s.Systems {
			if slices.ContainsFunc(x.Roles, func(r string) bool { return sameRole(r, role) }) {
				add(x.Host)
			}
		}
		return lst(out, w.unread(configmgr.ClassSiteRoles, s.Code))
	}).(*list)
}

func sameRole(a, b string) bool { return strings.EqualFold(a, b) }

// oneHost is the host of a role, or what is missing if there is not exactly one.
func (ev *evaluation) oneHost(role string) ref.Val {
	l := ev.w.hostsOf(ev.site, role)
	if len(l.known) > 0 {
		return l.known[0]
	}
	if l.gap != nil {
		return l.gap
	}
	return ev.lack(Missing{Collector: "adminservice", Class: configmgr.ClassSiteRoles, Scope: ev.site.Code, Text: "no host of the site has the role " + role})
}

// accountsOf are the computer accounts of hosts.
func (w *world) accountsOf(hosts ref.Val) *list {
	known, gap := elements(hosts)
	var out []ref.Val
	for _, v := range known {
		switch p := v.(*host).account().(type) {
		case *principal:
			out = append(out, p)
		case *types.Unknown:
			gap = merge(gap, p)
		}
	}
	return &list{out, gap}
}

// union joins lists.
func union(a, b ref.Val) *list {
	x, g := elements(a)
	y, h := elements(b)
	out := slices.Clone(x)
	for _, v := range y {
		if !slices.ContainsFunc(out, func(o ref.Val) bool { return o.Equal(v) == types.True }) {
			out = append(out, v)
		}
	}
	return &list{out, merge(g, h)}
}

// neighbours are the servers of the parent and child sites.
func (ev *evaluation) neighbours() *list {
	w := ev.w
	var out []ref.Val
	gap, _ := w.unread(configmgr.ClassSites, "").(*types.Unknown)
	add := func(s *configmgr.Site) {
		for _, name := range []string{s.Server, s.Passive} {
			if name != "" {
				out = append(out, w.host(name))
			}
		}
	}
	for i := range w.doc.Sites {
		s := &w.doc.Sites[i]
		if ev.site.Parent != "" && strings.EqualFold(s.Code, ev.site.Parent) || s.Parent != "" && strings.EqualFold(s.Parent, ev.site.Code) {
			add(s)
		}
	}
	return &list{out, gap}
}

// admins lists the administrative users that want accepts.
func (w *world) admins(want func(configmgr.Admin) ref.Val) *list {
	gap, _ := w.unread(configmgr.ClassAdmins, "").(*types.Unknown)
	var out []ref.Val
	for _, a := range w.doc.Admins {
		switch v := want(a).(type) {
		case types.Bool:
			if v {
				out = append(out, w.member(configmgr.Member{Name: a.Name, SID: a.SID}, ""))
			}
		case *types.Unknown:
			gap = merge(gap, v)
		}
	}
	return &list{out, gap}
}

// rolesUnread says that the roles of an administrative user were not read: everybody has one.
func (w *world) rolesUnread(a configmgr.Admin) ref.Val {
	return w.lack(Missing{Collector: collectorOf[configmgr.ClassAdmins], Class: configmgr.ClassAdmins, Text: "the security roles of " + a.Name + " were not read"})
}

// permits tells whether one of an administrative user's roles carries a right on a class.
func (w *world) permits(a configmgr.Admin, class, right string) ref.Val {
	out := ref.Val(types.False)
	if len(a.Roles) == 0 {
		return w.rolesUnread(a)
	}
	for _, id := range a.Roles {
		i := slices.IndexFunc(w.doc.Roles, func(r configmgr.Role) bool {
			return strings.EqualFold(r.ID, id) || strings.EqualFold(r.Name, id)
		})
		switch {
		case i < 0:
			out = or(out, orElse(w.unread(configmgr.ClassRoles, ""), types.False))
		case slices.ContainsFunc(w.doc.Roles[i].Permissions[class], func(r string) bool { return strings.EqualFold(r, right) }):
			return types.True
		default:
			out = or(out, orElse(w.unread(configmgr.ClassRoles, ""), types.False))
		}
	}
	return out
}

// adminRoles lists the roles of p as administrative user, by itself or through groups.
func (w *world) adminRoles(p *principal) ref.Val {
	if p.id == forest.None && p.sid.IsZero() && p.why == nil && p.host == "" {
		return lst(nil, p.known()) // nobody, so not even one of everybody
	}
	gap, _ := w.unread(configmgr.ClassAdmins, "").(*types.Unknown)
	var out []string
	for _, a := range w.doc.Admins {
		switch v := p.within(w.member(configmgr.Member{Name: a.Name, SID: a.SID}, "")).(type) {
		case types.Bool:
			if v {
				out = append(out, a.Roles...)
				if len(a.Roles) == 0 {
					out = append(out, "unknown role")
				}
			}
		case *types.Unknown:
			gap = merge(gap, v)
		}
	}
	slices.Sort(out)
	return &list{texts(slices.Compact(out)), gap}
}

// hasPermission tells whether p is permitted something on a class.
func (w *world) hasPermission(p *principal, class, right string) ref.Val {
	out := orElse(w.unread(configmgr.ClassAdmins, ""), types.False)
	for _, a := range w.doc.Admins {
		q := w.member(configmgr.Member{Name: a.Name, SID: a.SID}, "")
		if out = or(out, and(p.within(q), w.permits(a, class, right))); out == types.True {
			return out
		}
	}
	return out
}

// sequencesUsing lists the task sequences that name p in a step.
func (w *world) sequencesUsing(p *principal) *list {
	gap, _ := w.unread(configmgr.ClassSequences, "").(*types.Unknown)
	var out []ref.Val
	for i := range w.doc.Sequences {
		s := &w.doc.Sequences[i]
		uses := ref.Val(types.False)
		for _, st := range s.Accounts {
			uses = or(uses, w.names(st.Name, p))
		}
		if u, ok := uses.(*types.Unknown); ok {
			gap = merge(gap, u)
		} else if uses == types.True {
			out = append(out, record{nil, sequenceType, s, s.ID})
		}
	}
	return &list{out, gap}
}

// names tells whether a configured name is that of p.
func (w *world) names(name string, p *principal) ref.Val {
	if strings.EqualFold(name, p.name) {
		return types.True
	}
	return w.principal(name, nil, "").Equal(p)
}

// steps yields the steps of all task sequences.
func (w *world) steps(yield func(configmgr.Step)) ref.Val {
	for _, s := range w.doc.Sequences {
		for _, st := range s.Accounts {
			yield(st)
		}
	}
	return w.unread(configmgr.ClassSequences, "")
}

// managementPoint tells whether the directory has the object of a management point
// for a computer.
func (w *world) managementPoint(p *principal) ref.Val {
	if u := p.known(); u != nil {
		return u
	}
	dns, _ := w.s.Str(p.id, forest.DNSHostName)
	for id := range forest.ID(w.s.Len()) {
		if !strings.EqualFold(w.s.Class(id), "mSSMSManagementPoint") {
			continue
		}
		own, _ := w.s.Str(id, forest.DNSHostName)
		of := hostOfPoint(w.s.Name(id))
		if dns != "" && (strings.EqualFold(own, dns) || strings.EqualFold(of, dns)) || strings.EqualFold(of, strings.TrimSuffix(short(p.text()), "$")) {
			return types.True
		}
	}
	if w.hidden != "" {
		return w.ldap(w.hidden)
	}
	return types.False
}

// hostOfPoint is the host in the name of a management point's object, SMS-MP-CODE-HOST.
func hostOfPoint(name string) string {
	const head = "SMS-MP-"
	if len(name) < len(head) || !strings.EqualFold(name[:len(head)], head) {
		return ""
	}
	_, host, _ := strings.Cut(name[len(head):], "-")
	return host
}

// sourcesOf are the classes of facts that tell who fills a slot.
var sourcesOf = map[string][]configmgr.Class{
	"ad-group-discovery": {configmgr.ClassComponents}, "ad-system-discovery": {configmgr.ClassComponents}, "ad-user-discovery": {configmgr.ClassComponents},
	"ad-forest":                      {configmgr.ClassForests},
	"amt-provisioning-and-discovery": {configmgr.ClassFirmware}, "amt-provisioning-removal": {configmgr.ClassFirmware},
	"amt-remote-admin": {configmgr.ClassFirmware}, "amt-user-accounts": {configmgr.ClassFirmware}, "mebx": {configmgr.ClassFirmware},
	"ai-sync-point-proxy": {configmgr.ClassSiteRoles}, "software-update-point-proxy": {configmgr.ClassSiteRoles},
	"exchange-connector-proxy": {configmgr.ClassSiteRoles}, "site-system-proxy-server": {configmgr.ClassSiteRoles},
	"certificate-registration-point": {configmgr.ClassSiteRoles}, "enrollment-point-connection": {configmgr.ClassSiteRoles},
	"management-point-connection": {configmgr.ClassSiteRoles}, "multicast-connection": {configmgr.ClassSiteRoles},
	"reporting-services-point": {configmgr.ClassSiteRoles}, "site-system-installation": {configmgr.ClassSiteRoles},
	"software-update-point-connection": {configmgr.ClassSiteRoles},
	"capture-os-image":                 {configmgr.ClassSequences}, "ts-domain-joining": {configmgr.ClassSequences},
	"ts-network-folder-connection": {configmgr.ClassSequences}, "ts-run-as": {configmgr.ClassSequences},
	"client-push-installation": {configmgr.ClassComponents}, "network-access": {configmgr.ClassComponents},
	"exchange-server-connection": {configmgr.ClassComponents}, "endpoint-protection-smtp": {configmgr.ClassComponents},
	"smtp-server-connection":            {configmgr.ClassComponents},
	"health-state-reference-publishing": {configmgr.ClassComponents},
	"health-state-reference-querying":   {configmgr.ClassComponents},
	"package-access":                    {configmgr.ClassPackages},
	"remote-tools-permitted-viewers":    {configmgr.ClassClient},
	"source-site":                       {configmgr.ClassMigration},
	"source-site-database":              {configmgr.ClassMigration},
	"site-installation":                 {configmgr.ClassAdmins},
}

// slotGap is nil if it is known who fills a slot of a site, and else what is missing.
func (w *world) slotGap(s *configmgr.Site, e string) *types.Unknown {
	missing, ok := w.doc.Filled(e, s.Code)
	if ok {
		return nil
	}
	var gap *types.Unknown
	classes := sourcesOf[e]
	if len(classes) == 0 {
		classes = []configmgr.Class{configmgr.ClassAssignments}
	}
	for _, c := range classes {
		u, _ := w.unread(c, s.Code).(*types.Unknown)
		gap = merge(gap, u)
	}
	if gap == nil { // a class was read, but not of what fills this slot
		c := classes[0]
		gap, _ = w.lack(Missing{Collector: collectorOf[c], Class: c, Scope: s.Code, Text: missing}).(*types.Unknown)
	}
	return gap
}
