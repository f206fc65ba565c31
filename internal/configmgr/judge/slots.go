package judge

import (
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/forest"
)

// An assignment is a principal in a slot, or who acts if nobody is configured.
type assignment struct {
	entry     *configmgr.Entry // nil for a stored account that no slot uses
	site      *configmgr.Site
	name      string
	p         *principal
	kind      string // as the document has it
	host      string
	location  string
	usage     []string
	source    configmgr.Source
	firstSeen time.Time
	def       bool
}

// A group is one of the groups of Configuration Manager on a host.
type group struct {
	entry *configmgr.Entry
	site  *configmgr.Site
	host  *host
	p     *principal
}

type slotKey struct{ site, entry string }

// An instance is what a control is asked about.
type instance struct {
	subject Subject
	a       *assignment
	g       *group
	domain  string
	na      string         // why the control does not apply
	lacks   *types.Unknown // why it cannot be asked
}

// assignments lists who fills a slot of a site. What is assigned to the hierarchy as a
// whole belongs to its top site.
func (w *world) assignments(s *configmgr.Site, entry string) []*assignment {
	type place struct {
		p              *principal
		host, location string
	}
	var out []*assignment
	seen := map[place]bool{}
	list := w.bySlot[slotKey{strings.ToUpper(s.Code), entry}]
	if w.isTop(s) && s.Code != "" {
		list = slices.Concat(list, w.bySlot[slotKey{"", entry}])
	}
	for _, a := range list {
		key := place{a.p, strings.ToLower(a.Host), strings.ToLower(a.Location)}
		if seen[key] {
			continue
		}
		seen[key] = true
		out = append(out, &assignment{
			entry: w.entry(entry), site: s, name: a.Name, p: a.p, kind: a.Kind, host: a.Host, location: a.Location,
			usage: a.Usage, source: a.Source, firstSeen: a.FirstSeen,
		})
	}
	return out
}

// localHost is the host whose own account an assignment names.
func localHost(a configmgr.Assignment) string {
	switch a.Entry {
	case "amt-provisioning-and-discovery", "amt-remote-admin", "mebx":
		return firmware
	}
	switch a.Kind {
	case "firmware":
		return firmware
	case "local":
		return a.Host
	}
	return ""
}

func (w *world) entry(id string) *configmgr.Entry {
	return w.rules.catalogue.Entry(id)
}

// belongs reports whether something of a site code counts for s.
func (w *world) belongs(code string, s *configmgr.Site) bool {
	return strings.EqualFold(code, s.Code) || code == "" && w.isTop(s)
}

// top is the site at the head of the hierarchy: the first without a parent.
func (w *world) top() *configmgr.Site {
	for i := range w.doc.Sites {
		if w.doc.Sites[i].Parent == "" {
			return &w.doc.Sites[i]
		}
	}
	if len(w.doc.Sites) > 0 {
		return &w.doc.Sites[0]
	}
	return nil
}

func (w *world) isTop(s *configmgr.Site) bool { return w.top() == s }

// assigned lists the principals of a slot of the site at hand, with those that are
// assigned to the hierarchy as a whole.
func (ev *evaluation) assigned(entry string) *list {
	w := ev.w
	key := slotKey{ev.site.Code, entry}
	if v, ok := w.slots[key]; ok {
		return v.(*list)
	}
	var out []ref.Val
	for _, a := range slices.Concat(w.bySlot[slotKey{strings.ToUpper(ev.site.Code), entry}], w.bySlot[slotKey{"", entry}]) {
		if !slices.Contains(out, ref.Val(a.p)) {
			out = append(out, a.p)
		}
	}
	l := &list{out, w.slotGap(ev.site, entry)}
	w.slots[key] = l
	return l
}

// family is the generation of a release: 2012 or current-branch, "" if unknown.
func family(release string) string {
	switch {
	case release == "current-branch":
		return release
	case strings.HasPrefix(release, "2012"):
		return "2012"
	}
	return ""
}

// absent says why a site's release has no such entry; "" if it has, or may have.
func absent(s *configmgr.Site, e *configmgr.Entry) string {
	switch family(s.Release) {
	case "current-branch":
		switch e.Current {
		case configmgr.CurrentRemoved:
			return "the current branch has no " + e.Name
		case configmgr.CurrentMerged:
			return "in the current branch " + e.MergedInto + " took the place of " + e.Name
		}
	case "2012":
		if !slices.Contains(e.Releases, s.Release) {
			return "release " + s.Release + " has no " + e.Name
		}
	}
	return ""
}

// instances lists what a control is asked about on a site; there is always one at least.
func (ev *evaluation) instances(c *configmgr.Control) []instance {
	s := ev.site
	switch c.Scope {
	case configmgr.PerGroup:
		return ev.groupInstances(c)
	case configmgr.PerSite:
		return ev.siteInstance(c, Subject{Kind: c.Scope, Name: s.Code})
	case configmgr.PerHierarchy:
		if !ev.w.isTop(s) {
			return []instance{{subject: Subject{Kind: c.Scope, Name: s.Code}, na: "it is asked once for the hierarchy, on site " + ev.w.top().Code}}
		}
		return ev.siteInstance(c, Subject{Kind: c.Scope, Name: ev.w.hierarchyName()})
	case configmgr.PerDomain:
		return ev.domainInstance(c)
	case configmgr.PerStored:
		return ev.storedInstances(c)
	}
	return ev.slotInstances(c)
}

func (w *world) hierarchyName() string {
	if w.doc.Hierarchy != "" {
		return w.doc.Hierarchy
	}
	return w.top().Code
}

// siteInstance is the one of a site or hierarchy; of an entry that the release lacks
// there is none unless somebody fills it.
func (ev *evaluation) siteInstance(c *configmgr.Control, sub Subject) []instance {
	i := instance{subject: sub}
	if c.Entry != nil {
		i.subject.Entry = c.Entry.ID
		if why := absent(ev.site, c.Entry); why != "" && len(ev.assigned(c.Entry.ID).known) == 0 {
			i.na = why
		}
	}
	return []instance{i}
}

func (ev *evaluation) domainInstance(c *configmgr.Control) []instance {
	switch d := ev.siteDomain().(type) {
	case types.String:
		return []instance{{subject: Subject{Kind: c.Scope, Name: string(d)}, domain: string(d)}}
	case *types.Unknown:
		return []instance{{subject: Subject{Kind: c.Scope, Name: "domain of " + ev.site.Code}, lacks: d}}
	}
	return nil
}

// siteDomain is the DNS name of the domain of the site server.
func (ev *evaluation) siteDomain() ref.Val {
	s := ev.site
	if s.Domain != "" {
		return types.String(strings.ToLower(s.Domain))
	}
	if s.Server != "" {
		return ev.w.domainOfHost(ev.w.host(s.Server))
	}
	return orElse(ev.w.unread(configmgr.ClassSites, ""), ev.lack(Missing{Collector: "adminservice", Class: configmgr.ClassSites, Text: "the domain of site " + s.Code + " is not known"}))
}

// domainOfHost is the DNS name of a computer's domain.
func (w *world) domainOfHost(h *host) ref.Val {
	if h.id != forest.None {
		if d, ok := w.s.DomainOf(h.id); ok {
			return types.String(strings.ToLower(d.DNS))
		}
	}
	if _, rest, ok := strings.Cut(h.name, "."); ok {
		return types.String(strings.ToLower(rest))
	}
	return h.missing()
}

func (ev *evaluation) storedInstances(c *configmgr.Control) []instance {
	w, s := ev.w, ev.site
	var out []instance
	seen := map[*principal]bool{}
	for _, a := range w.all {
		stored := a.Entry == "" || len(a.Usage) > 0
		p := a.p
		if !stored || !a.Removed.IsZero() || !w.belongs(a.Site, s) || seen[p] {
			continue
		}
		seen[p] = true
		x := &assignment{entry: w.entry(a.Entry), site: s, name: a.Name, p: p, kind: a.Kind, host: a.Host, usage: a.Usage, source: a.Source, firstSeen: a.FirstSeen}
		out = append(out, x.instance(c))
	}
	if u, ok := w.unread(configmgr.ClassAccounts, s.Code).(*types.Unknown); ok {
		return append(out, instance{subject: Subject{Kind: c.Scope, Name: s.Code}, lacks: u})
	}
	if len(out) == 0 {
		return []instance{{subject: Subject{Kind: c.Scope, Name: s.Code}, na: "the site stores no account"}}
	}
	return out
}

func (a *assignment) instance(c *configmgr.Control) instance {
	sub := Subject{Kind: c.Scope, Name: a.name, Host: a.host, Location: a.location, Source: a.source, Default: a.def}
	if a.entry != nil {
		sub.Entry = a.entry.ID
	}
	if !a.p.sid.IsZero() {
		sid := a.p.sid
		sub.SID = &sid
	}
	return instance{subject: sub, a: a}
}

// slotInstances lists the principals of the slots that a control concerns. A slot that
// nobody fills has none; that this is so must be known.
func (ev *evaluation) slotInstances(c *configmgr.Control) []instance {
	w, s := ev.w, ev.site
	var out []instance
	var gap *types.Unknown
	var reasons []string
	for _, e := range w.concerned(c) {
		list := w.assignments(s, e.ID)
		if c.Scope == configmgr.PerIdentity {
			list = append(list, ev.defaults(e, list)...)
		}
		for _, a := range list {
			out = append(out, a.instance(c))
		}
		if why := absent(s, e); why != "" {
			reasons = append(reasons, why)
			continue
		}
		if u := w.slotGap(s, e.ID); u != nil {
			gap = merge(gap, u)
			continue
		}
		if len(list) > 0 {
			continue
		}
		reasons = append(reasons, "nobody fills "+e.Name)
	}
	if gap != nil {
		name := "whoever fills the slot"
		if len(out) > 0 {
			name = "whoever else fills the slot"
		}
		out = append(out, instance{subject: Subject{Kind: c.Scope, Name: name, Entry: entryID(c)}, lacks: gap})
	}
	if len(out) == 0 {
		why := "no slot that it concerns is filled"
		if len(reasons) == 1 {
			why = reasons[0]
		}
		out = append(out, instance{subject: Subject{Kind: c.Scope, Name: s.Code, Entry: entryID(c)}, na: why})
	}
	return out
}

func entryID(c *configmgr.Control) string {
	if c.Entry == nil {
		return ""
	}
	return c.Entry.ID
}

// concerned are the entries of a control: of a cross-cutting one those that name it.
func (w *world) concerned(c *configmgr.Control) []*configmgr.Entry {
	return slices.DeleteFunc(w.rules.catalogue.Concerned(c), func(e *configmgr.Entry) bool {
		return c.Entry == nil && e.Kind == configmgr.WindowsGroup
	})
}

// roleOf is the role whose host acts with its computer account where a slot is empty.
var roleOf = map[string]string{
	"certificate-registration-point": roleCertificates, "enrollment-point-connection": roleEnrollment,
	"management-point-connection": roleManagement, "multicast-connection": roleMulticast,
	"software-update-point-connection": roleUpdates,
}

// defaults lists who acts where nobody is configured: the computer account of each
// host of the role, or the site server for each forest.
func (ev *evaluation) defaults(e *configmgr.Entry, explicit []*assignment) []*assignment {
	w, s := ev.w, ev.site
	if w.slotGap(s, e.ID) != nil || absent(s, e) != "" {
		return nil
	}
	var out []*assignment
	add := func(h *host, location string) {
		p, ok := h.account().(*principal)
		if !ok { // its account is one of a domain that was not read, perhaps
			p = &principal{w: w, name: h.name, id: forest.None, why: h.missing()}
		}
		out = append(out, &assignment{entry: e, site: s, name: p.text(), p: p, kind: "computer", host: h.name, location: location, source: configmgr.Directory, def: true})
	}
	taken := func(match func(a *assignment) bool) bool { return slices.ContainsFunc(explicit, match) }
	if e.ID == "ad-forest" && s.Server != "" {
		for _, f := range s.Forests {
			if !taken(func(a *assignment) bool { return strings.EqualFold(a.location, f.Name) }) {
				add(w.host(s.Server), f.Name)
			}
		}
	}
	if role, ok := roleOf[e.ID]; ok {
		for _, v := range w.hostsOf(s, role).known {
			h := v.(*host)
			if !taken(func(a *assignment) bool { return a.host == "" || w.host(a.host) == h }) {
				add(h, "")
			}
		}
	}
	return out
}

// placeOf is where the site keeps a group: hosts of a role.
var placeOf = map[string][]string{
	"configmgr-collectedfilesaccess":               {roleSiteServer},
	"configmgr-dviewaccess":                        {roleDatabase},
	"sms-admins":                                   {roleProvider},
	"sms-sitesystemtositeserverconnection-mp":      {roleSiteServer},
	"sms-sitesystemtositeserverconnection-smsprov": {roleSiteServer},
	"sms-sitesystemtositeserverconnection-stat":    {roleSiteServer},
	"sms-sitetositeconnection":                     {roleSiteServer},
}

// namesOf are the groups' names on the host; %s stands for the site code.
var namesOf = map[string]string{
	"configmgr-collectedfilesaccess":               "ConfigMgr_CollectedFilesAccess",
	"configmgr-dviewaccess":                        "ConfigMgr_DViewAccess",
	"configmgr-remote-control-users":               "ConfigMgr Remote Control Users",
	"sms-admins":                                   "SMS Admins",
	"sms-sitesystemtositeserverconnection-mp":      "SMS_SiteSystemToSiteServerConnection_MP_%s",
	"sms-sitesystemtositeserverconnection-smsprov": "SMS_SiteSystemToSiteServerConnection_SMSProv_%s",
	"sms-sitesystemtositeserverconnection-stat":    "SMS_SiteSystemToSiteServerConnection_Stat_%s",
	"sms-sitetositeconnection":                     "SMS_SiteToSiteConnection_%s",
}

func groupName(e *configmgr.Entry, s *configmgr.Site) string {
	return strings.Replace(namesOf[e.ID], "%s", s.Code, 1)
}

// groupInstances lists the group on every host where it belongs or is.
func (ev *evaluation) groupInstances(c *configmgr.Control) []instance {
	var out []instance
	for _, g := range ev.groups(c.Entry) {
		i := instance{subject: Subject{Kind: c.Scope, Name: g.name(), Entry: c.Entry.ID, Host: g.host.name, Source: configmgr.Collected}, g: g}
		if g.absent() {
			i.na = g.host.name + " has no group " + g.name()
		}
		out = append(out, i)
	}
	if len(out) > 0 {
		return out
	}
	i := instance{subject: Subject{Kind: c.Scope, Name: groupName(c.Entry, ev.site), Entry: c.Entry.ID}}
	if kind := ev.site.Kind; len(placeOf[c.Entry.ID]) == 0 && (kind == configmgr.CentralSite || kind == configmgr.SecondarySite) {
		i.na = "clients belong to primary sites"
		return []instance{i}
	}
	switch u := ev.groupGap(c.Entry).(type) {
	case *types.Unknown:
		i.lacks = u
	default:
		i.na = "no host of the site can have the group"
	}
	return []instance{i}
}

// groupGap says why it is not known where a group is.
func (ev *evaluation) groupGap(e *configmgr.Entry) ref.Val {
	if len(placeOf[e.ID]) == 0 {
		return ev.lack(Missing{Collector: "host-sam", Class: configmgr.ClassGroups, Scope: ev.site.Code, Text: "no client's local groups were read"})
	}
	return ev.w.unread(configmgr.ClassSiteRoles, ev.site.Code)
}

// groups lists one entry's group on the hosts where it belongs or is.
func (ev *evaluation) groups(e *configmgr.Entry) []*group {
	w, s := ev.w, ev.site
	if e.ID == "configmgr-collectedfilesaccess" && s.Kind == configmgr.SecondarySite {
		return nil
	}
	var hosts []*host
	add := func(h *host) {
		if !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	for _, role := range placeOf[e.ID] {
		for _, v := range w.hostsOf(s, role).known {
			add(v.(*host))
		}
	}
	name := groupName(e, s)
	for _, h := range w.factHosts() {
		if groupOf(h.fact, name) == nil || !hasGroup(h.fact, name) {
			continue
		}
		if strings.Contains(namesOf[e.ID], "%s") || w.isSystemOf(h, s) || !w.isSystem(h) && !w.isSource(h) && w.siteOfClient(h) == s {
			add(h)
		}
	}
	out := make([]*group, len(hosts))
	for i, h := range hosts {
		out[i] = &group{entry: e, site: s, host: h, p: w.groupPrincipal(h, name)}
	}
	return out
}

// siteOfClient is the site of a computer that is no site system: the one that the
// document says, or else the only primary site. Of several it is not known which; the
// client settings of the hierarchy are for all of them, so its top site stands for it.
func (w *world) siteOfClient(h *host) *configmgr.Site {
	if h.fact != nil && h.fact.Site != "" {
		return w.sites[strings.ToUpper(h.fact.Site)]
	}
	var only *configmgr.Site
	for i := range w.doc.Sites {
		s := &w.doc.Sites[i]
		switch {
		case s.Kind == configmgr.CentralSite || s.Kind == configmgr.SecondarySite:
		case only != nil:
			return w.top()
		default:
			only = s
		}
	}
	if only == nil {
		return w.top()
	}
	return only
}

func hasGroup(h *configmgr.Host, name string) bool {
	for n := range h.Groups {
		if strings.EqualFold(short(n), name) {
			return true
		}
	}
	return false
}

// isSystemOf reports whether h is a site system of s, and isSystem of any site.
func (w *world) isSystemOf(h *host, s *configmgr.Site) bool {
	return slices.Contains(w.systemsOf(s).known, ref.Val(h))
}

func (w *world) isSystem(h *host) bool {
	for i := range w.doc.Sites {
		if w.isSystemOf(h, &w.doc.Sites[i]) {
			return true
		}
	}
	return false
}

// isSource reports whether h is the provider of a hierarchy that is migrated from.
func (w *world) isSource(h *host) bool {
	return slices.ContainsFunc(w.doc.Sites, func(s configmgr.Site) bool {
		name, ok := s.Settings["migration.source_provider"].(string)
		return ok && w.host(name) == h
	})
}

// groupPrincipal is a local group of a host, or of its domain if that is a domain
// controller.
func (w *world) groupPrincipal(h *host, name string) *principal {
	if h.dc {
		for _, id := range w.s.BySAMAccountName(name) {
			if a, ok := w.s.DomainOf(id); ok {
				if b, _ := w.s.DomainOf(h.id); a.Head == b.Head {
					return w.ofObject(id)
				}
			}
		}
	}
	return w.principal(firstLabel(h.name)+`\`+name, nil, h.name)
}

func (g *group) name() string { return groupName(g.entry, g.site) }

// absent reports whether the host is known not to have the group.
func (g *group) absent() bool {
	if g.p.id != forest.None || g.host.fact != nil && hasGroup(g.host.fact, g.name()) {
		return false
	}
	return g.host.w.unread(configmgr.ClassGroups, g.host.name) == nil
}

// members lists who is in the group.
func (g *group) members() *list {
	w := g.host.w
	if g.p.id != forest.None {
		var out []ref.Val
		for _, id := range w.x.DirectMembers(g.p.id) {
			out = append(out, w.ofObject(id))
		}
		var gap ref.Val
		if gaps := w.x.Gaps(g.p.id); len(gaps) > 0 {
			gap = w.ldap("members of " + g.name() + ": " + gaps[0].Why)
		}
		return lst(out, gap)
	}
	gap := w.unread(configmgr.ClassGroups, g.host.name)
	if g.host.fact == nil {
		return lst(nil, orElse(gap, w.lack(Missing{Collector: "host-sam", Class: configmgr.ClassGroups, Scope: g.host.name, Text: "local groups of " + g.host.name + " were not read"})))
	}
	return lst(w.members(groupOf(g.host.fact, g.name()), g.host.name), gap)
}
