package judge

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A world is what all evaluations of one assessment share. It belongs to one
// goroutine.
type world struct {
	rules  *Rules
	s      *forest.Snapshot
	x      *reach.Index
	gpo    *gpo.Engine
	graph  *reach.Graph
	doc    *configmgr.Document
	now    time.Time
	params configmgr.Parameters
	alpha  *string

	domains    []forest.Domain
	missing    []Missing
	missingIDs map[Missing]int64
	readings   map[reading]string // why it is not complete, "" if it is
	principals map[principalKey]*principal
	named      map[string]secdesc.SID // by lower-case name with its domain: SIDs that the document gives
	machines   map[secdesc.SID]string // hosts whose own accounts have SIDs of this domain
	hosts      map[string]*host       // by lower-case DNS name
	perms      func() *permissions
	tierZero   func() *tierZero
	classes    func() computers
	perSite    map[*configmgr.Site][]*host
	onlyDenies func() map[secdesc.SID]bool
	byDNS      func() map[string]forest.ID // computers by lower-case dNSHostName
	sites      map[string]*configmgr.Site
	hidden     string // why the snapshot may lack accounts; "" if it does not
	memo       map[string]ref.Val
	slots      map[slotKey]ref.Val
	rights     map[rightKey]ref.Val
	settings   map[settingKey]*resultant
	alike      [][]secdesc.SID // see resultant
	alikeHeld  map[alikeKey]ref.Val
	all        []*assigned                // all assignments, removed ones too
	bySlot     map[slotKey][]*assigned    // in force, by the site that they name and entry
	byAccount  map[*principal][]*assigned // all, by principal
}

type reading struct {
	class configmgr.Class
	scope string
}

type principalKey struct {
	sid  secdesc.SID
	name string
}

func newWorld(r *Rules, in Input) *world {
	if in.Graph == nil {
		in.Graph = reach.Of(in.Snapshot)
	}
	w := &world{
		rules: r, s: in.Snapshot, graph: in.Graph, x: in.Graph.Index(), gpo: in.Graph.Policies(), doc: in.Document, now: in.Now, alpha: in.Alphabet,
		domains: in.Snapshot.Domains(), missingIDs: map[Missing]int64{}, readings: map[reading]string{},
		principals: map[principalKey]*principal{}, named: map[string]secdesc.SID{}, machines: map[secdesc.SID]string{}, perSite: map[*configmgr.Site][]*host{}, hosts: map[string]*host{},
		sites: map[string]*configmgr.Site{}, memo: map[string]ref.Val{}, slots: map[slotKey]ref.Val{},
		rights: map[rightKey]ref.Val{}, settings: map[settingKey]*resultant{}, alikeHeld: map[alikeKey]ref.Val{}, bySlot: map[slotKey][]*assigned{}, byAccount: map[*principal][]*assigned{},
	}
	w.perms = sync.OnceValue(w.readPermissions)
	w.tierZero = sync.OnceValue(w.findTierZero)
	w.classes = sync.OnceValue(w.findClasses)
	w.onlyDenies = sync.OnceValue(w.findOnlyDenies)
	w.byDNS = sync.OnceValue(w.indexComputers)
	w.params = parameters(r.catalogue.Parameters, in.Document.Parameters, in.Parameters)
	w.hidden = w.findHidden()
	w.indexReadings()
	w.indexNames()
	w.indexMachines()
	for i := range w.doc.Sites {
		w.sites[strings.ToUpper(w.doc.Sites[i].Code)] = &w.doc.Sites[i]
	}
	for i := range w.doc.Hosts {
		h := w.host(w.doc.Hosts[i].Name)
		h.fact = &w.doc.Hosts[i]
	}
	w.indexAssignments()
	return w
}

// sibling is a world of the same input for another goroutine: it shares what was or
// will be computed of the directory, and keeps its own principals, hosts and answers.
func (w *world) sibling(in Input) *world {
	in.Graph = w.graph
	x := newWorld(w.rules, in)
	x.tierZero, x.perms, x.byDNS = w.tierZero, w.perms, w.byDNS
	return x
}

// parameters fills what a document or an input leaves at its zero value.
func parameters(def configmgr.Parameters, more ...*configmgr.Parameters) configmgr.Parameters {
	out := def
	for _, p := range more {
		if p == nil {
			continue
		}
		out.MaxFullAdmins = cmp.Or(p.MaxFullAdmins, out.MaxFullAdmins)
		out.MaxPushAccounts = cmp.Or(p.MaxPushAccounts, out.MaxPushAccounts)
		out.MaxNetworkAccessAccounts = cmp.Or(p.MaxNetworkAccessAccounts, out.MaxNetworkAccessAccounts)
		out.MaxPasswordAgeDays = cmp.Or(p.MaxPasswordAgeDays, out.MaxPasswordAgeDays)
		for _, l := range []struct {
			to   *[]string
			from []string
		}{
			{&out.JoinOUs, p.JoinOUs},
			{&out.JoinACEKinds, p.JoinACEKinds},
			{&out.ProxyGroups, p.ProxyGroups},
			{&out.DeclaredProviderUsers, p.DeclaredProviderUsers},
			{&out.ExchangeConnectorCmdlets, p.ExchangeConnectorCmdlets},
		} {
			if len(l.from) > 0 {
				*l.to = l.from
			}
		}
	}
	return out
}

// findHidden says what of the directory was not listed.
func (w *world) findHidden() string {
	for _, d := range w.domains {
		if d.Head == forest.None {
			return "the domain " + d.DNS + " is not part of the snapshot"
		}
	}
	for _, c := range w.s.Coverage() {
		if !c.Complete() && !c.Application() && (c.Area == forest.AreaContainer || c.Area == forest.AreaPartition) {
			return "objects in " + c.Subject + ": " + cmp.Or(c.Reason, c.State)
		}
	}
	return ""
}

func (w *world) indexReadings() {
	for _, r := range w.doc.Readings {
		if r.Part != "" {
			continue // the rest of the class was not read; slotGap looks at parts
		}
		k := reading{r.Class, strings.ToLower(r.Scope)}
		if old, ok := w.readings[k]; !ok || old != "" {
			w.readings[k] = r.Missing
		}
	}
	// Two cmdlets list task sequences and the accounts of their steps: together they
	// have read all of them.
	_, listed := w.doc.Read(configmgr.ClassSequences, "", configmgr.PartSequences)
	_, opened := w.doc.Read(configmgr.ClassSequences, "", configmgr.PartSteps)
	if listed && opened {
		w.readings[reading{configmgr.ClassSequences, ""}] = ""
	}
}

// indexNames remembers which SIDs the document gives to names. A name without domain
// is of whoever wrote it down, and one that stood for two accounts, of neither.
func (w *world) indexNames() {
	twice := map[string]bool{}
	add := func(name string, sid *secdesc.SID) {
		name = strings.ToLower(strings.TrimSpace(name))
		if dom := prefix(name); sid == nil || dom == "" || dom == "." {
			return
		}
		if old, ok := w.named[name]; ok && old != *sid {
			twice[name] = true
		}
		w.named[name] = *sid
	}
	for _, a := range w.doc.Assignments {
		add(a.Name, a.SID)
	}
	for _, a := range w.doc.Admins {
		add(a.Name, a.SID)
	}
	for _, p := range w.doc.Principals {
		add(p.Name, p.SID)
	}
	for name := range twice {
		delete(w.named, name)
	}
}

// indexMachines remembers which SIDs are of the hosts' own databases: of members that
// a host lists under its own name.
func (w *world) indexMachines() {
	for i := range w.doc.Hosts {
		h := &w.doc.Hosts[i]
		on := firstLabel(h.Name)
		see := func(list []configmgr.Member) {
			for _, m := range list {
				if m.SID == nil || !m.SID.IsDomainRelative() || firstLabel(prefix(m.Name)) != on || w.isDomainSID(m.SID.Domain()) {
					continue
				}
				w.machines[m.SID.Domain()] = on
			}
		}
		for _, by := range []map[string][]configmgr.Member{h.Groups, h.UserRights} {
			for _, list := range by {
				see(list)
			}
		}
		see(h.Activation)
		for _, acls := range [][]configmgr.ACL{h.Shares, h.Folders, h.WMI} {
			for _, acl := range acls {
				for _, e := range acl.Entries {
					see([]configmgr.Member{e.Member})
				}
			}
		}
	}
}

func (w *world) isDomainSID(sid secdesc.SID) bool {
	return slices.ContainsFunc(w.domains, func(d forest.Domain) bool { return d.SID == sid })
}

// An assigned is an assignment of the document with its principal.
type assigned struct {
	*configmgr.Assignment
	p *principal
}

// indexAssignments resolves the names of all assignments once.
func (w *world) indexAssignments() {
	for i := range w.doc.Assignments {
		a := &w.doc.Assignments[i]
		x := &assigned{a, w.principal(a.Name, a.SID, localHost(*a))}
		w.all = append(w.all, x)
		w.byAccount[x.p] = append(w.byAccount[x.p], x)
		if a.Removed.IsZero() {
			k := slotKey{strings.ToUpper(a.Site), a.Entry}
			w.bySlot[k] = append(w.bySlot[k], x)
		}
	}
}

// collectorOf says who reads a class of facts, where a control does not say otherwise.
var collectorOf = map[configmgr.Class]string{
	configmgr.ClassAccounts: "adminservice", configmgr.ClassSiteRoles: "adminservice", configmgr.ClassSites: "adminservice",
	configmgr.ClassComponents: "adminservice", configmgr.ClassForests: "adminservice", configmgr.ClassMigration: "adminservice",
	configmgr.ClassRoutes: "cmdlet", configmgr.ClassAdmins: "adminservice", configmgr.ClassRoles: "adminservice",
	configmgr.ClassPackages: "adminservice", configmgr.ClassSequences: "cmdlet", configmgr.ClassVariables: "adminservice",
	configmgr.ClassClient: "cmdlet", configmgr.ClassExchange: "exchange", configmgr.ClassGroups: "host-sam",
	configmgr.ClassUserRights: "host-lsa", configmgr.ClassShares: "host-acl", configmgr.ClassFolders: "host-acl",
	configmgr.ClassWMI: "host-wmi-sd", configmgr.ClassRegistry: "host-registry", configmgr.ClassLogons: "event-log",
	configmgr.ClassDatabase: "sql", configmgr.ClassFirmware: "sms-provider-wmi", configmgr.ClassAssignments: "product-state",
}

// unread returns nil if a class of facts was read completely for a scope, or for the
// hierarchy as a whole, and else what is missing.
func (w *world) unread(class configmgr.Class, scope string) ref.Val {
	why := "was not read"
	for _, k := range []string{strings.ToLower(scope), ""} {
		if missing, ok := w.readings[reading{class, k}]; ok {
			if missing == "" {
				return nil
			}
			why = "was not read to the end: " + missing
			break
		}
	}
	of := ""
	if scope != "" {
		of = " of " + scope
	}
	return w.lack(Missing{Collector: collectorOf[class], Class: class, Scope: scope, Text: classText[class] + of + " " + why})
}

// classText puts classes of facts into words, singular.
var classText = map[configmgr.Class]string{
	configmgr.ClassAccounts: "the list of stored accounts", configmgr.ClassSiteRoles: "the list of site systems and roles",
	configmgr.ClassSites: "the list of sites", configmgr.ClassComponents: "the configuration of components",
	configmgr.ClassForests: "the list of forests", configmgr.ClassMigration: "the list of migration sources",
	configmgr.ClassRoutes: "the list of file replication routes", configmgr.ClassAdmins: "the list of administrative users",
	configmgr.ClassRoles: "the list of security roles", configmgr.ClassPackages: "the list of packages with their access lists",
	configmgr.ClassSequences: "the list of task sequences", configmgr.ClassVariables: "the list of variables",
	configmgr.ClassClient: "the client settings", configmgr.ClassExchange: "what Exchange grants", configmgr.ClassGroups: "local groups",
	configmgr.ClassUserRights: "the local security policy", configmgr.ClassShares: "shares and their permissions",
	configmgr.ClassFolders: "folder permissions", configmgr.ClassWMI: "WMI and DCOM permissions", configmgr.ClassRegistry: "the registry",
	configmgr.ClassLogons: "the log of logons", configmgr.ClassDatabase: "the database", configmgr.ClassFirmware: "AMT configuration",
	configmgr.ClassAssignments: "who fills the slot",
}

// lack makes an unknown value. Equal ones are one.
func (w *world) lack(m Missing) ref.Val {
	if m.Tier == "" && m.Collector != "" {
		m.Tier = w.rules.catalogue.Collectors[m.Collector].Tier
	}
	id, ok := w.missingIDs[m]
	if !ok {
		w.missing = append(w.missing, m)
		id = int64(len(w.missing))
		w.missingIDs[m] = id
	}
	return types.NewUnknown(id, types.NewAttributeTrail(string(m.Class)+"/"+m.Collector))
}

// lacks says what an unknown value stands for.
func (w *world) lacks(u *types.Unknown) []Missing {
	var out []Missing
	for _, id := range u.IDs() {
		if id > 0 && id <= int64(len(w.missing)) {
			out = append(out, w.missing[id-1])
		}
	}
	slices.SortFunc(out, func(a, b Missing) int {
		return cmp.Or(cmp.Compare(a.Tier, b.Tier), cmp.Compare(a.Collector, b.Collector), cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.Text, b.Text))
	})
	return slices.Compact(out)
}

// ldap is an unknown value that a better scan of the directory would supply.
func (w *world) ldap(text string) ref.Val {
	return w.lack(Missing{Collector: "ldap", Text: text})
}

// remember keeps a value by key.
func (w *world) remember(key string, make func() ref.Val) ref.Val {
	v, ok := w.memo[key]
	if !ok {
		v = make()
		w.memo[key] = v
	}
	return v
}

// setting returns a setting of a site, or what is missing.
func (w *world) setting(s *configmgr.Site, key string) (any, ref.Val) {
	if v, ok := s.Settings[key]; ok {
		return v, nil
	}
	class := settingClass(key)
	if u := w.unread(class, s.Code); u != nil {
		return nil, u
	}
	return nil, w.lack(Missing{Collector: collectorOf[class], Class: class, Scope: s.Code, Text: "the setting " + key + " of " + s.Code + " was not among what was read"})
}

// settingClass says with which class of facts a setting is read.
func settingClass(key string) configmgr.Class {
	prefix, _, _ := strings.Cut(key, ".")
	switch prefix {
	case "RemoteTools":
		return configmgr.ClassClient
	case "migration":
		return configmgr.ClassMigration
	case "replication":
		return configmgr.ClassRoutes
	case "amt":
		return configmgr.ClassFirmware
	case "pxe":
		return configmgr.ClassSiteRoles
	case "provider", "adminservice", "https_or_ehttp":
		return configmgr.ClassSites
	}
	return configmgr.ClassComponents
}
