package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// WhoIs is everything that documents and directory say of one account, in a form for
// reading and for JSON: the answer to "can I disable this?". Make one with NewWhoIs.
type WhoIs struct {
	Version   int             `json:"version"` // 1; grows when a field changes its meaning or goes away
	Asked     string          `json:"asked"`
	Answer    WhoIsAnswer     `json:"answer"`
	Words     string          `json:"text"` // the answer in words
	Principal *WhoIsPrincipal `json:"principal,omitempty"`
	Slots     []WhoIsSlot     `json:"slots"`  // that it fills now
	Former    []WhoIsSlot     `json:"former"` // that it filled
	Stored    []SlotHolder    `json:"stored"` // the site keeps it, for a purpose that is not known or none
	Rights    []WhoIsRight    `json:"rights"` // in Configuration Manager, on hosts, databases and packages
	Groups    []WhoIsGroup    `json:"groups"` // of the directory
	Entries   []WhoIsEntry    `json:"entries"`
	More      int             `json:"more_entries"` // entries beyond those listed
	Unknown   []string        `json:"unknown"`      // what was not read, so that something may be missing

	directory bool // a snapshot was given
}

// A WhoIsAnswer is what follows for an account.
type WhoIsAnswer string

// The answers.
const (
	WhoIsUsed    WhoIsAnswer = "used"         // it fills a slot, or holds a right of the site
	WhoIsUnknown WhoIsAnswer = "unknown"      // nothing that was read uses it, but not all was read
	WhoIsUnused  WhoIsAnswer = "no-slot-seen" // all slots of all sites and what their hosts and databases grant were read, and nothing is its
)

// WhoIsPrincipal is the account in the directory.
type WhoIsPrincipal struct {
	Name        string      `json:"name"`
	SID         secdesc.SID `json:"sid"`
	DN          string      `json:"dn,omitempty"`
	Class       string      `json:"class,omitempty"`
	Disabled    *bool       `json:"disabled,omitempty"` // nil: not read
	PasswordSet time.Time   `json:"password_set,omitzero"`
	LastLogon   time.Time   `json:"last_logon,omitzero"`
	SPNs        []string    `json:"spns"`
}

// WhoIsSlot is a slot that the account fills, itself or through a group.
type WhoIsSlot struct {
	Entry   string    `json:"entry"`
	Name    string    `json:"name"`
	Site    string    `json:"site,omitempty"`
	Where   string    `json:"where,omitempty"`
	As      string    `json:"as"`            // the name that is configured
	Via     string    `json:"via,omitempty"` // the group
	Source  string    `json:"source"`
	Needs   []string  `json:"needs"` // rights that the slot needs
	Removed time.Time `json:"removed,omitzero"`
}

// WhoIsRight is a right outside of the directory.
type WhoIsRight struct {
	Kind  string `json:"kind"`  // security role, local group, user right, share, folder, wmi, dcom, database, package, task sequence, site system, service
	On    string `json:"on"`    // host, database, package, …
	Right string `json:"right"` // group, constant, permission
	Via   string `json:"via,omitempty"`
}

// WhoIsGroup is a group of the directory that it is in.
type WhoIsGroup struct {
	Name   string `json:"name"`
	DN     string `json:"dn"`
	Nested bool   `json:"nested,omitempty"`
}

// WhoIsEntry is an entry of a descriptor of the directory that names it.
type WhoIsEntry struct {
	Object string `json:"object"`
	Entry  int    `json:"entry"` // index in the DACL
	SDDL   string `json:"sddl"`
}

// maxWhoIsEntries is how many entries of descriptors are listed.
const maxWhoIsEntries = 100

// A WhoIsQuestion is what NewWhoIs looks at.
type WhoIsQuestion struct {
	Name      string
	Catalogue *configmgr.Catalogue
	Document  *configmgr.Document
	Snapshot  *forest.Snapshot // nil: documents alone
	Object    forest.ID        // of Snapshot; None if it holds no such account
	SID       *secdesc.SID     // nil: names are compared
}

// NewWhoIs gathers what is said of an account.
func NewWhoIs(q WhoIsQuestion) *WhoIs {
	out := &WhoIs{Version: 1, Asked: q.Name, Slots: []WhoIsSlot{}, Former: []WhoIsSlot{}, Stored: []SlotHolder{}, Rights: []WhoIsRight{}, Groups: []WhoIsGroup{}, Entries: []WhoIsEntry{}, Unknown: []string{}, directory: q.Snapshot != nil}
	w := whoIs{WhoIsQuestion: q, out: out, token: map[secdesc.SID]string{}}
	w.identify()
	w.assignments()
	w.site()
	w.hosts()
	w.databases()
	w.systems()
	w.sortRights()
	if q.Snapshot != nil {
		w.entries()
	}
	w.unknown()
	w.answer()
	return out
}

type whoIs struct {
	WhoIsQuestion
	out   *WhoIs
	token map[secdesc.SID]string // groups that it is in, by name
	maybe []string               // names that may be its: the same user, the domain in another spelling
}

// identify describes the account in the directory.
func (w *whoIs) identify() {
	if w.Snapshot == nil || w.Object == forest.None {
		return
	}
	s, id := w.Snapshot, w.Object
	n := control.WayNames{Snapshot: s}
	p := &WhoIsPrincipal{Name: n.Account(id), SID: s.SID(id), DN: s.DN(id), Class: s.Class(id), SPNs: []string{}}
	const accountDisabled = 0x2 // ADS_UF_ACCOUNTDISABLE
	if uac, st := s.Int(id, forest.UserAccountControl); st == forest.Known {
		off := uac&accountDisabled != 0
		p.Disabled = &off
	}
	if t, st := s.Time(id, forest.PwdLastSet); st == forest.Known {
		p.PasswordSet = t
	}
	if t, st := s.Time(id, forest.LastLogonTimestamp); st == forest.Known {
		p.LastLogon = t
	}
	if l, st := s.Strs(id, forest.ServicePrincipalName); st == forest.Known {
		p.SPNs = l
	}
	w.out.Principal = p
	x := reach.New(s)
	direct := map[forest.ID]bool{}
	for _, g := range s.Backlinks(id, forest.Member) {
		direct[g] = true
	}
	rid, primary := s.Int(id, forest.PrimaryGroupID)
	for _, g := range x.GroupsOf(id) {
		if last, ok := s.SID(g).RID(); ok && primary == forest.Known && int64(last) == rid {
			direct[g] = true
		}
		w.out.Groups = append(w.out.Groups, WhoIsGroup{n.Account(g), s.DN(g), !direct[g]})
		if sid := s.SID(g); !sid.IsZero() {
			w.token[sid] = n.Account(g)
		}
	}
	for _, sid := range x.Token(id) {
		if _, ok := w.token[sid]; !ok && sid != p.SID {
			w.token[sid] = n.Identity(sid).Name
		}
	}
	if why := x.Unsure(p.SID); why != "" {
		w.out.Unknown = append(w.out.Unknown, "groups of the account: "+why)
	}
}

// means says whether a principal in a list is the account, or a group that it is in.
func (w *whoIs) means(name string, sid *secdesc.SID) (via string, ok bool) {
	if sid != nil && w.SID != nil {
		if *sid == *w.SID {
			return "", true
		}
		via, ok = w.token[*sid]
		return via, ok
	}
	ok = SameAccount(name, w.Name) || w.out.Principal != nil && SameAccount(name, w.out.Principal.Name)
	if !ok && (spelledApart(name, w.Name) || w.out.Principal != nil && spelledApart(name, w.out.Principal.Name)) && !slices.Contains(w.maybe, name) {
		w.maybe = append(w.maybe, name)
	}
	return "", ok
}

// spelledApart says whether two names may be one account: the same user of a domain that
// is named once by its NetBIOS and once by its DNS name.
func spelledApart(a, b string) bool {
	da, ua := splitAccount(a)
	db, ub := splitAccount(b)
	return ua != "" && strings.EqualFold(ua, ub) && da != "" && db != "" && strings.Contains(da, ".") != strings.Contains(db, ".")
}

// SameAccount compares names as people write them; a name without domain is that of any.
func SameAccount(a, b string) bool {
	da, ua := splitAccount(a)
	db, ub := splitAccount(b)
	return ua != "" && strings.EqualFold(ua, ub) && (da == "" || db == "" || strings.EqualFold(da, db))
}

// splitAccount cuts a name into domain and account.
func splitAccount(name string) (domain, account string) {
	if d, a, ok := strings.Cut(name, `\`); ok {
		return d, a
	}
	if a, d, ok := strings.Cut(name, "@"); ok {
		return d, a
	}
	return "", name
}

func (w *whoIs) assignments() {
	for _, a := range w.Document.Assignments {
		via, ok := w.means(a.Name, a.SID)
		if !ok {
			continue
		}
		if a.Entry == "" {
			if a.Removed.IsZero() {
				w.out.Stored = append(w.out.Stored, holders([]configmgr.Assignment{a})...)
			}
			continue
		}
		h := SlotHolder{Host: a.Host, Location: a.Location}
		s := WhoIsSlot{Entry: a.Entry, Name: a.Entry, Site: a.Site, Where: h.where(), As: a.Name, Via: via, Source: string(a.Source), Needs: []string{}, Removed: a.Removed}
		if e := w.Catalogue.Entry(a.Entry); e != nil {
			s.Name = e.Name
			for _, r := range e.Required {
				s.Needs = append(s.Needs, needed(r))
			}
		}
		if a.Removed.IsZero() {
			w.out.Slots = append(w.out.Slots, s)
		} else {
			w.out.Former = append(w.out.Former, s)
		}
	}
}

// needed is a right that a slot needs, in words.
func needed(r configmgr.Right) string {
	text := string(r.Target) + ": " + strings.Join(r.Permissions, ", ")
	if r.Where != "" {
		text += ", " + r.Where
	}
	if r.When != "" {
		text += " (when " + r.When + ")"
	}
	return text
}

func (w *whoIs) right(kind, on, right, name string, sid *secdesc.SID) {
	if via, ok := w.means(name, sid); ok {
		w.out.Rights = append(w.out.Rights, WhoIsRight{kind, on, right, via})
	}
}

// site gathers security roles, packages and task sequences.
func (w *whoIs) site() {
	d := w.Document
	roles := map[string]string{}
	for _, r := range d.Roles {
		roles[r.ID] = r.Name
	}
	for _, a := range d.Admins {
		for _, r := range a.Roles {
			w.right("security role", orWords(strings.Join(a.Scopes, ", "), "all scopes that were read"), orWords(roles[r], r), a.Name, a.SID)
		}
	}
	for _, p := range d.Packages {
		for _, e := range p.Entries {
			w.right("package", joined(p.ID, p.Name), access(e), e.Name, e.SID)
		}
	}
	for _, t := range d.Sequences {
		for _, s := range t.Accounts {
			w.right("task sequence", joined(t.ID, t.Name), "named by a step as "+s.Entry, s.Name, nil)
		}
	}
}

// access is what an entry gives or denies.
func access(e configmgr.Access) string {
	text := strings.Join(e.Rights, ", ")
	if e.Deny {
		return "deny " + text
	}
	return text
}

// hosts gathers local groups, user rights and access lists.
func (w *whoIs) hosts() {
	for _, h := range w.Document.Hosts {
		for _, name := range sortedNames(h.Groups) {
			for _, m := range h.Groups[name] {
				w.right("local group", h.Name, name, m.Name, m.SID)
			}
		}
		for _, name := range sortedNames(h.UserRights) {
			for _, m := range h.UserRights[name] {
				w.right("user right", h.Name, name, m.Name, m.SID)
			}
		}
		w.lists("share", h, h.Shares)
		w.lists("folder", h, h.Folders)
		w.lists("wmi", h, h.WMI)
		for _, m := range h.Activation {
			w.right("dcom", h.Name, "remote activation", m.Name, m.SID)
		}
	}
}

func (w *whoIs) lists(kind string, h configmgr.Host, all []configmgr.ACL) {
	for _, l := range all {
		for _, e := range l.Entries {
			w.right(kind, h.Name+" "+l.Path, access(e), e.Name, e.SID)
		}
	}
}

func sortedNames[T any](m map[string]T) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func (w *whoIs) databases() {
	for _, d := range w.Document.Databases {
		for kind, lists := range map[string]map[string][]configmgr.Member{"server role": d.ServerRoles, "database role": d.Roles, "select": d.Selectable} {
			for _, name := range sortedNames(lists) {
				for _, m := range lists[name] {
					w.right(kind, d.Name, name, m.Name, m.SID)
				}
			}
		}
		for _, e := range d.Rights {
			w.right("database", d.Name, access(e), e.Name, e.SID)
		}
	}
}

// systems says of which sites the account is the computer of a server, or the account
// that a service on one runs as.
func (w *whoIs) systems() {
	add := func(code, name, role string) {
		p := w.out.Principal
		switch {
		case name == "":
		case w.isComputer(name):
			w.addRight(WhoIsRight{"site system", name, role + " of site " + code, ""})
		case p != nil && p.Class != "computer":
			for _, spn := range p.SPNs {
				if strings.EqualFold(hostOfSPN(spn), name) {
					w.addRight(WhoIsRight{"service", name, spn + ", on a server of site " + code, ""})
				}
			}
		}
	}
	for _, s := range w.Document.Sites {
		database, _, _ := strings.Cut(s.Database, `\`)
		add(s.Code, s.Server, "site server")
		add(s.Code, s.Passive, "site server in passive mode")
		add(s.Code, database, "site database server")
		for _, x := range s.Systems {
			add(s.Code, x.Host, orWords(strings.Join(x.Roles, ", "), "site system"))
		}
	}
}

func (w *whoIs) addRight(r WhoIsRight) {
	if !slices.Contains(w.out.Rights, r) {
		w.out.Rights = append(w.out.Rights, r)
	}
}

// isComputer says whether the account is that of a host, by its DNS name in the
// directory; where that is not known, by the first label and the sign of computers.
func (w *whoIs) isComputer(host string) bool {
	if w.out.Principal != nil {
		if w.out.Principal.Class != "computer" {
			return false
		}
		if dns, st := w.Snapshot.Str(w.Object, forest.DNSHostName); st == forest.Known && dns != "" {
			return strings.EqualFold(dns, host)
		}
	}
	_, name := splitAccount(w.Name)
	if w.out.Principal != nil {
		_, name = splitAccount(w.out.Principal.Name)
	}
	short, isComputer := strings.CutSuffix(name, "$")
	label, _, _ := strings.Cut(host, ".")
	return isComputer && strings.EqualFold(short, label)
}

// hostOfSPN is the host of service/host:port/name.
func hostOfSPN(spn string) string {
	_, host, _ := strings.Cut(spn, "/")
	host, _, _ = strings.Cut(host, "/")
	host, _, _ = strings.Cut(host, ":")
	return host
}

func (w *whoIs) sortRights() {
	slices.SortStableFunc(w.out.Rights, func(a, b WhoIsRight) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.On, b.On), cmp.Compare(a.Right, b.Right))
	})
}

// entries lists the entries of descriptors that name the account itself and that are
// not inherited.
func (w *whoIs) entries() {
	if w.SID == nil {
		return
	}
	s := w.Snapshot
	named := map[uint32][]WhoIsEntry{}
	for i := range uint32(s.NumDescriptors()) {
		d := s.DescriptorAt(i)
		if d == nil || d.DACL == nil {
			continue
		}
		for n, e := range d.DACL.ACEs {
			if e.SID == *w.SID && !e.IsInherited() {
				named[i] = append(named[i], WhoIsEntry{Entry: n, SDDL: e.SDDL(secdesc.SID{})})
			}
		}
	}
	if len(named) == 0 {
		return
	}
	for id := range forest.ID(s.Len()) {
		i, ok := s.DescriptorIndex(id)
		if !ok {
			continue
		}
		for _, e := range named[i] {
			if len(w.out.Entries) == maxWhoIsEntries {
				w.out.More++
				continue
			}
			e.Object = s.DN(id)
			w.out.Entries = append(w.out.Entries, e)
		}
	}
}

// unknown lists the slots of which nobody knows who fills them.
func (w *whoIs) unknown() {
	for _, name := range w.maybe {
		w.out.Unknown = append(w.out.Unknown, "whether "+name+", which is named, is this account: that takes SIDs, so give a snapshot that holds it")
	}
	sites := slotSites(w.Document)
	for _, s := range sites {
		var open []string
		for _, e := range w.Catalogue.Entries {
			cell := slotCell(e, w.Document, s, atSite(assignedTo(w.Document, e.ID), s.Code), groupPattern(e))
			if cell.State == SlotUnknown || cell.Partial {
				open = append(open, e.ID)
			}
		}
		if len(open) > 0 {
			w.out.Unknown = append(w.out.Unknown, "who fills "+plural(len(open), "slot", "slots")+" of site "+s.Code+": "+strings.Join(open, ", "))
		}
	}
	if len(sites) == 0 {
		w.out.Unknown = append(w.out.Unknown, "any site: no document names one")
	}
	w.unreadLists()
	if w.Snapshot == nil {
		w.out.Unknown = append(w.out.Unknown, "the directory: no snapshot was given")
	}
}

// unreadLists names the lists that were not read and that may give the account something:
// those of the hierarchy, of its hosts and of its databases.
func (w *whoIs) unreadLists() {
	add := func(text string, scopes ...string) {
		if len(scopes) > 0 {
			w.out.Unknown = append(w.out.Unknown, text+strings.Join(scopes, ", "))
		}
	}
	unread := func(class configmgr.Class, scopes []string) []string {
		return slices.DeleteFunc(slices.Clone(scopes), func(s string) bool {
			_, ok := w.Document.Read(class, s, "")
			return ok
		})
	}
	for _, l := range []struct {
		class configmgr.Class
		part  string
		text  string
	}{
		{configmgr.ClassAdmins, "", "who has a security role: the administrative users were not read"},
		{configmgr.ClassPackages, "", "who may read packages: their access lists were not read"},
		{configmgr.ClassSequences, configmgr.PartSteps, "which accounts steps of task sequences name: they were not read"},
	} {
		if _, ok := w.Document.Read(l.class, "", l.part); !ok {
			w.out.Unknown = append(w.out.Unknown, l.text)
		}
	}
	var codes, hosts, databases []string
	for _, s := range w.Document.Sites {
		codes = append(codes, s.Code)
		for _, name := range append([]string{s.Server, s.Passive}, systemNames(s)...) {
			if name != "" && !slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, name) }) {
				hosts = append(hosts, name)
			}
		}
		if s.Database != "" && !slices.Contains(databases, s.Database) {
			databases = append(databases, s.Database)
		}
	}
	slices.Sort(hosts)
	add("which accounts the sites keep: the stored accounts were not read of ", unread(configmgr.ClassAccounts, codes)...)
	for _, l := range []struct {
		class configmgr.Class
		text  string
	}{
		{configmgr.ClassGroups, "who is in local groups, which were not read, of "},
		{configmgr.ClassUserRights, "who holds user rights, which were not read, of "},
		{configmgr.ClassShares, "who may use shares, which were not read, of "},
		{configmgr.ClassFolders, "who may use folders, which were not read, of "},
		{configmgr.ClassWMI, "who may use WMI and DCOM, which were not read, of "},
	} {
		add(l.text, unread(l.class, hosts)...)
	}
	add("who has rights in databases, which were not read: ", unread(configmgr.ClassDatabase, databases)...)
	if len(databases) == 0 && len(codes) > 0 {
		w.out.Unknown = append(w.out.Unknown, "who has rights in databases: none is known")
	}
}

func systemNames(s configmgr.Site) []string {
	out := make([]string, len(s.Systems))
	for i, x := range s.Systems {
		out[i] = x.Host
	}
	return out
}

func assignedTo(d *configmgr.Document, entry string) []configmgr.Assignment {
	var out []configmgr.Assignment
	for _, a := range d.Assignments {
		if a.Entry == entry && a.Removed.IsZero() {
			out = append(out, a)
		}
	}
	return out
}

func (w *whoIs) answer() {
	o := w.out
	sites := map[string]bool{}
	for _, s := range o.Slots {
		sites[s.Site] = true
	}
	switch {
	case len(o.Slots) > 0:
		o.Answer = WhoIsUsed
		o.Words = fmt.Sprintf("In use: do not disable it before it is replaced. It fills %s at %s.", plural(len(o.Slots), "place", "places"), plural(len(sites), "site", "sites"))
	case slices.ContainsFunc(o.Rights, func(r WhoIsRight) bool { return r.Kind == "site system" }):
		o.Answer = WhoIsUsed
		o.Words = "In use: do not disable it. It is the computer of a server of a site, which works as this account."
	case len(o.Rights) > 0 || len(o.Stored) > 0:
		o.Answer = WhoIsUsed
		o.Words = "It fills no slot that was read, but a site keeps it or gives it rights."
	case len(o.Unknown) > 0:
		o.Answer = WhoIsUnknown
		o.Words = "Nothing that was read uses it, but not everything was read: see what is not known."
	default:
		o.Answer = WhoIsUnused
		o.Words = "Every slot, role and list of the sites was read, with groups, rights, shares, folders and databases of their hosts, and none names it. " +
			"Services, scheduled tasks and other programs that run as it were not looked for."
	}
	if len(o.Former) > 0 {
		o.Words += " It was used before: clients may still keep its secret."
	}
}

// Named says whether a document names the account.
func (o *WhoIs) Named() bool {
	return len(o.Slots)+len(o.Former)+len(o.Stored)+len(o.Rights) > 0
}

// JSON writes the answer as indented JSON.
func (o *WhoIs) JSON(w io.Writer) error {
	if err := writeJSON(w, o); err != nil {
		return fmt.Errorf("writing the account as JSON: %w", err)
	}
	return nil
}

// Text writes the answer for reading in a terminal.
func (o *WhoIs) Text(w io.Writer, s Screen) error {
	g := &page{screen: s}
	g.line("%s", g.strong("Who is "+visible(o.Asked)))
	color := yellow
	if o.Answer == WhoIsUnused {
		color = green
	}
	g.line("%s", g.ink(color, o.Words))
	g.whoIsPrincipal(o)
	g.whoIsSlots("Slots that it fills", o.Slots)
	g.whoIsSlots("Slots that it filled before", o.Former)
	g.holdersOf("Kept by the site for no known slot", o.Stored)
	g.whoIsRights(o.Rights)
	if len(o.Groups) > 0 {
		g.heading("Groups")
		for _, x := range o.Groups {
			g.line("  - %s%s", visible(x.Name), pick(x.Nested, " (through other groups)", ""))
		}
	}
	if len(o.Entries) > 0 {
		g.heading("Entries of the directory that name it")
		for _, e := range o.Entries {
			g.line("  - %s: entry %d, %s", visible(e.Object), e.Entry, visible(e.SDDL))
		}
		if o.More > 0 {
			g.line("  and %d more", o.More)
		}
	}
	if len(o.Unknown) > 0 {
		g.heading(g.ink(yellow, "Not known"))
		for _, u := range o.Unknown {
			g.line("  - %s", visible(u))
		}
	}
	return g.flush(w, "the account")
}

func (p *page) whoIsPrincipal(o *WhoIs) {
	a := o.Principal
	switch {
	case a == nil && o.directory:
		p.line("%s", p.ink(yellow, "The snapshot of the directory holds no such account: names are compared."))
		return
	case a == nil:
		p.line("%s", p.ink(yellow, "The directory was not read: names are compared."))
		return
	}
	p.line("%s, %s, %s", visible(a.Name), a.Class, a.SID)
	p.line("%s", visible(a.DN))
	var facts []string
	switch {
	case a.Class == "group": // groups cannot be disabled
	case a.Disabled == nil:
		facts = append(facts, "not known whether enabled")
	case *a.Disabled:
		facts = append(facts, "disabled")
	default:
		facts = append(facts, "enabled")
	}
	if !a.PasswordSet.IsZero() {
		facts = append(facts, "password set "+a.PasswordSet.UTC().Format(time.DateOnly))
	}
	if !a.LastLogon.IsZero() {
		facts = append(facts, "last logon about "+a.LastLogon.UTC().Format(time.DateOnly))
	}
	for _, s := range a.SPNs {
		facts = append(facts, "SPN "+visible(s))
	}
	if len(facts) > 0 {
		p.line("%s", strings.Join(facts, ", "))
	}
}

func (p *page) whoIsSlots(title string, all []WhoIsSlot) {
	if len(all) == 0 {
		return
	}
	p.heading(title)
	var rows [][]cellInk
	for _, s := range all {
		as := s.As
		if s.Via != "" {
			as += " (member of " + s.Via + ")"
		}
		rows = append(rows, plain(s.Entry, visible(orDash(s.Site)), visible(s.Where), visible(as), s.Source))
	}
	p.grid([]string{"Slot", "Site", "Where", "As", "Source"}, rows)
	seen := map[string]bool{}
	for _, s := range all {
		if seen[s.Entry] || len(s.Needs) == 0 || !s.Removed.IsZero() {
			continue
		}
		seen[s.Entry] = true
		p.line("%s needs:", s.Entry)
		for _, n := range s.Needs {
			p.line("  - %s", visible(n))
		}
	}
}

func (p *page) whoIsRights(all []WhoIsRight) {
	if len(all) == 0 {
		return
	}
	p.heading("Rights in Configuration Manager and on its hosts")
	var rows [][]cellInk
	for _, r := range all {
		rows = append(rows, plain(r.Kind, visible(r.On), visible(r.Right), visible(r.Via)))
	}
	p.grid([]string{"Kind", "On", "Right", "Through"}, rows)
}
