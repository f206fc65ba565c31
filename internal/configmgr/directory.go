package configmgr

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Kinds of sightings.
const (
	SeenPublisher     = "publisher"        // has full control of the System Management container
	SeenSite          = "site"             // a site publishes there
	SeenManagement    = "management-point" // published
	SeenNetworkBoot   = "pxe"              // answers network boots
	SeenRemoteControl = "remote-control"   // computers with the service name of remote control
)

// directoryNotAll is why nothing of Configuration Manager that the directory shows is
// all that there is.
const directoryNotAll = "Active Directory shows only what sites publish there: sites that do not publish, roles other than management points, and the accounts of slots are not seen"

// Seen returns what the snapshot alone shows of Configuration Manager: sites and
// management points that are published, who has full control of the System Management
// containers (site servers, and whoever else), servers that answer network boots, and
// how many computers have the service name of remote control. Its readings say that
// none of this is complete. It names no principal of any slot; see Drift for accounts
// that publish without being assigned.
func Seen(s *forest.Snapshot, p Provenance) *Document {
	v := &viewer{snap: s, sites: map[string]*Site{}, doc: &Document{Version: DocumentVersion}}
	var gaps []string
	for _, d := range s.Domains() {
		if why := v.domain(d); why != "" {
			gaps = append(gaps, why)
		}
	}
	v.networkBoot()
	v.remoteControl()
	for _, code := range sortedKeys(v.sites) {
		v.doc.Sites = append(v.doc.Sites, *v.sites[code])
	}
	v.siteServers()
	missing := strings.Join(append([]string{directoryNotAll}, gaps...), "; ")
	for _, r := range []Reading{{Class: ClassSites}, {Class: ClassSiteRoles, Part: roleManagementPoint}} {
		r.Source, r.Collector, r.At, r.File, r.Missing = Directory, p.Collector, p.At, p.File, missing
		v.doc.Readings = append(v.doc.Readings, r)
	}
	v.doc.normalize()
	return v.doc
}

type viewer struct {
	snap  *forest.Snapshot
	sites map[string]*Site
	doc   *Document
}

// domain looks into the System Management container of a domain. It returns why it
// could not.
func (v *viewer) domain(d forest.Domain) (gap string) {
	if d.Head == forest.None {
		return d.DNS + " was not read"
	}
	id := v.snap.Lookup("CN=System Management,CN=System," + d.DN)
	if id == forest.None {
		return d.DNS + " has no System Management container that could be read"
	}
	v.publishers(d, id)
	unread := 0
	v.snap.Under(id, func(o forest.ID) {
		switch {
		case len(v.snap.Classes(o)) == 0:
			unread++
		case v.snap.IsA(o, "mSSMSSite"):
			v.site(d, o)
		case v.snap.IsA(o, "mSSMSManagementPoint"):
			v.managementPoint(d, o)
		}
	})
	if unread > 0 {
		return fmt.Sprintf("%d objects in the System Management container of %s could not be read: let the account that scans read them", unread, d.DNS)
	}
	return ""
}

var publishedName = regexp.MustCompile(`(?i)^SMS-(?:Site|MP)-([A-Z0-9]{3})(?:-|$)`)

// siteCodeOf returns the site code of a published object, from its attribute or, where
// that was not read, from its name, which sites make of it.
func (v *viewer) siteCodeOf(o forest.ID) string {
	if code, st := v.snap.Str(o, forest.MsSMSSiteCode); st == forest.Known {
		return strings.ToUpper(code)
	}
	if m := publishedName.FindStringSubmatch(v.snap.Name(o)); m != nil {
		return strings.ToUpper(m[1])
	}
	return ""
}

func (v *viewer) siteFor(o forest.ID) *Site {
	code := v.siteCodeOf(o)
	if !siteCodeForm.MatchString(code) {
		return nil
	}
	if v.sites[code] == nil {
		v.sites[code] = &Site{Code: code}
	}
	return v.sites[code]
}

func (v *viewer) site(d forest.Domain, o forest.ID) {
	s := v.siteFor(o)
	if s == nil {
		return
	}
	one := Sighting{Kind: SeenSite, Name: s.Code, Domain: d.DNS}
	if from, st := v.snap.Str(o, forest.MsSMSSourceForest); st == forest.Known && from != "" {
		one.Detail = "of forest " + from
	}
	v.doc.Sightings = append(v.doc.Sightings, one)
	i := slices.IndexFunc(s.Forests, func(f SiteForest) bool { return strings.EqualFold(f.Name, d.DNS) })
	if i < 0 {
		s.Forests = append(s.Forests, SiteForest{Name: strings.ToLower(d.DNS), Publishing: true})
	}
}

func (v *viewer) managementPoint(d forest.Domain, o forest.ID) {
	s := v.siteFor(o)
	if s == nil {
		return
	}
	host, st := v.snap.Str(o, forest.DNSHostName)
	if st != forest.Known || host == "" {
		host, _ = v.snap.Str(o, forest.MsSMSMPName)
	}
	if host = hostName(host); host == "" {
		return
	}
	if version, st := v.snap.Str(o, forest.MsSMSVersion); st == forest.Known && s.Build == 0 {
		if n, err := strconv.Atoi(version); err == nil && n > 0 && n < 1<<20 {
			s.Build, s.Release = n, ReleaseOfBuild(n)
		}
	}
	v.doc.Sightings = append(v.doc.Sightings, Sighting{Kind: SeenManagement, Name: host, Domain: d.DNS, Detail: "of site " + s.Code})
	if !slices.ContainsFunc(s.Systems, func(x SiteSystem) bool { return x.Host == host }) {
		s.Systems = append(s.Systems, SiteSystem{Host: host, Roles: []string{roleManagementPoint}})
	}
}

// publishers lists who has full control of a System Management container. Those whom
// the directory itself gives it (SYSTEM and administrators) are left out.
func (v *viewer) publishers(d forest.Domain, id forest.ID) {
	sd, st := v.snap.Descriptor(id)
	if st != forest.Known || sd.DACL == nil {
		why := "its permissions were not read"
		if st == forest.Known {
			why = "it has no list of permissions: everybody has full control"
		}
		v.doc.Sightings = append(v.doc.Sightings, Sighting{Kind: SeenPublisher, Domain: d.DNS, Detail: why})
		return
	}
	here, below := map[secdesc.SID]bool{}, map[secdesc.SID]bool{}
	var order []secdesc.SID
	for _, a := range sd.DACL.ACEs {
		full := a.IsAllow() && a.Mask.MapGeneric()&secdesc.FullControl == secdesc.FullControl && a.ObjectType.IsZero()
		if !full || builtinPublisher(a.SID) {
			continue
		}
		if !here[a.SID] && !below[a.SID] {
			order = append(order, a.SID)
		}
		here[a.SID] = here[a.SID] || a.InEffect()
		below[a.SID] = below[a.SID] || a.Flags.Has(secdesc.ContainerInherit) && a.InheritedObjectType.IsZero()
	}
	for _, sid := range order {
		detail := "the container only, not what is below it"
		switch {
		case here[sid] && below[sid]:
			detail = "the container and everything below it"
		case below[sid]:
			detail = "only what is below the container"
		}
		v.publisher(d, sid, detail, 0)
	}
}

// publisher adds a principal and, of a group, its members.
func (v *viewer) publisher(d forest.Domain, sid secdesc.SID, detail string, depth int) {
	one := Sighting{Kind: SeenPublisher, Name: sid.String(), SID: &sid, Domain: d.DNS, Detail: detail}
	id := v.snap.BySID(sid)
	if id == forest.None {
		if name, ok := secdesc.WellKnownName(sid); ok {
			one.Name, one.Is = name, KindGroup
		} else {
			one.Detail += "; the snapshot has no object of this SID"
		}
		v.doc.Sightings = append(v.doc.Sightings, one)
		return
	}
	one.Name, one.Is = v.name(id), (&resolver{snap: v.snap}).kind(id)
	if slices.ContainsFunc(v.doc.Sightings, func(x Sighting) bool { return x.Kind == one.Kind && x.Name == one.Name && x.Domain == one.Domain }) {
		return
	}
	v.doc.Sightings = append(v.doc.Sightings, one)
	if one.Is != KindGroup || depth == maxNesting {
		return
	}
	members, _ := v.snap.Links(id, forest.Member)
	for _, m := range members {
		if ms := v.snap.SID(m); !ms.IsZero() {
			v.publisher(d, ms, "through "+one.Name+": "+strings.TrimPrefix(detail, "through "), depth+1)
		}
	}
}

// maxNesting limits how deep groups are followed.
const maxNesting = 8

// builtinPublisher reports whether a principal has full control of everything anyway.
func builtinPublisher(sid secdesc.SID) bool {
	switch sid.String() {
	case "S-1-5-18", "S-1-5-32-544", "S-1-3-0", "S-1-5-9":
		return true
	}
	rid, ok := sid.RID()
	return ok && sid.IsDomainRelative() && (rid == 512 || rid == 519)
}

// name returns DOMAIN\account, or the DNS name of a computer.
func (v *viewer) name(id forest.ID) string {
	if v.snap.IsA(id, "computer") {
		if dns, st := v.snap.Str(id, forest.DNSHostName); st == forest.Known && dns != "" {
			return strings.ToLower(dns)
		}
	}
	sam, st := v.snap.Str(id, forest.SAMAccountName)
	if st != forest.Known {
		return v.snap.DN(id)
	}
	if d, ok := v.snap.DomainOf(id); ok && d.NetBIOS != "" {
		return d.NetBIOS + `\` + sam
	}
	return sam
}

// networkBoot lists the servers of which the directory says that they answer network
// boots: the connection point below their computer account names them.
func (v *viewer) networkBoot() {
	for _, id := range v.snap.With(forest.NetbootServer) {
		servers, _ := v.snap.Links(id, forest.NetbootServer)
		for _, c := range servers {
			d, _ := v.snap.DomainOf(c)
			v.doc.Sightings = append(v.doc.Sightings, Sighting{Kind: SeenNetworkBoot, Name: v.name(c), Is: KindComputer, Domain: d.DNS})
		}
	}
}

// remoteControl counts the computers that have a service name of remote control.
func (v *viewer) remoteControl() {
	count := map[string]int{}
	for _, id := range v.snap.With(forest.ServicePrincipalName) {
		names, st := v.snap.Strs(id, forest.ServicePrincipalName)
		if st == forest.Known && slices.ContainsFunc(names, func(n string) bool { return len(n) > 12 && strings.EqualFold(n[:12], "CmRcService/") }) {
			d, _ := v.snap.DomainOf(id)
			count[d.DNS]++
		}
	}
	for _, dns := range sortedKeys(count) {
		v.doc.Sightings = append(v.doc.Sightings, Sighting{Kind: SeenRemoteControl, Domain: dns, Count: count[dns]})
	}
}

// siteServers names the site server of a site where there is no doubt: the forest has
// one published site, and one computer publishes.
func (v *viewer) siteServers() {
	var hosts []string
	var domain string
	for _, x := range v.doc.Sightings {
		if x.Kind == SeenPublisher && x.Is == KindComputer && !slices.Contains(hosts, x.Name) {
			hosts, domain = append(hosts, x.Name), x.Domain
		}
	}
	if len(v.doc.Sites) == 1 && len(hosts) == 1 {
		v.doc.Sites[0].Server, v.doc.Sites[0].Domain = hosts[0], domain
	}
}

// Init returns a declared file to fill in: the sites that the snapshot shows, and every
// account of the catalogue as a comment with what it is for. What it says is as
// complete as Seen; the rest is for a person.
func Init(s *forest.Snapshot, c *Catalogue, p Provenance) string {
	d := Seen(s, p)
	var b strings.Builder
	b.WriteString(initHead)
	if len(d.Sites) == 0 {
		b.WriteString("# Active Directory shows no site. Put each in the place of [] as follows:\n# - code: PS1\n#   server: ps1.example.com\n#   release: current-branch\nsites: []\n")
	} else {
		b.WriteString("sites:\n")
	}
	for _, x := range d.Sites {
		fmt.Fprintf(&b, "- code: %s\n", strconv.Quote(x.Code))
		for _, f := range [][2]string{{"server", x.Server}, {"domain", x.Domain}, {"release", x.Release}} {
			if f[1] != "" {
				fmt.Fprintf(&b, "  %s: %s\n", f[0], strconv.Quote(f[1]))
			} else {
				fmt.Fprintf(&b, "  # %s:\n", f[0])
			}
		}
		if x.Build > 0 {
			fmt.Fprintf(&b, "  build: %d\n", x.Build)
		}
		for i, sys := range x.Systems {
			if i == 0 {
				b.WriteString("  systems:\n")
			}
			fmt.Fprintf(&b, "  - {host: %s, roles: [%s]}\n", strconv.Quote(sys.Host), strings.Join(sys.Roles, ", "))
		}
	}
	initSightings(&b, d)
	initSlots(&b, c, d)
	return b.String()
}

const initHead = `# What people know of Configuration Manager: who fills its slots, and what no program
# can read. leastwise compares it with what it imports or collects itself.
#
# A slot that is named here counts as declared for its site, with all its principals.
# To say that nobody fills a slot, write a reading:
#
#   readings:
#   - {class: assignments, scope: PS1, part: network-access}
#
# Names may be DOMAIN\user, user@domain or SIDs. Never write a password here.
version: 1
`

func initSightings(b *strings.Builder, d *Document) {
	if len(d.Sightings) == 0 {
		return
	}
	b.WriteString("\n# What Active Directory shows besides:\n")
	for _, x := range d.Sightings {
		text := strings.Join(slices.DeleteFunc([]string{x.Kind, x.Name, x.Is, x.Detail, "in " + x.Domain}, func(s string) bool { return s == "" }), ", ")
		if x.Count > 0 {
			text += fmt.Sprintf(", %d computers", x.Count)
		}
		b.WriteString("#   " + strings.ReplaceAll(text, "\n", " ") + "\n")
	}
}

func initSlots(b *strings.Builder, c *Catalogue, d *Document) {
	code := "PS1"
	if len(d.Sites) > 0 {
		code = d.Sites[0].Code
	}
	b.WriteString("\nassignments: []\n# Put the accounts of your sites in the place of [] above, in this form:\n")
	for _, e := range c.Entries {
		if e.Kind == WindowsGroup {
			continue
		}
		fmt.Fprintf(b, "#\n# %s: %s\n", e.Name, strings.Join(strings.Fields(e.Purpose.Text), " "))
		fmt.Fprintf(b, "# - {entry: %s, site: %s, name: 'DOMAIN\\account'}%s\n", e.ID, code, cmp.Or(initNote(e), ""))
	}
}

func initNote(e *Entry) string {
	switch e.Current {
	case CurrentRemoved:
		return " # sites of 2012 only"
	case CurrentMerged:
		return " # in the current branch part of another: " + e.MergedInto
	}
	return ""
}
