package configmgr

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// A DriftKind says what sources disagree about.
type DriftKind string

// The kinds of drift.
const (
	DriftPrincipal DriftKind = "principal" // who fills a slot
	DriftSetting   DriftKind = "setting"   // a setting or a fact of a site
	DriftSite      DriftKind = "site"      // whether there is a site
	DriftPublisher DriftKind = "publisher" // who has full control of the System Management container
)

// A Difference is what sources say differently, or one says and another that read the
// same does not.
type Difference struct {
	Kind     DriftKind `json:"kind"`
	Entry    string    `json:"entry,omitempty"`
	Site     string    `json:"site,omitempty"`
	Host     string    `json:"host,omitempty"`
	Location string    `json:"location,omitempty"`
	Name     string    `json:"name,omitempty"` // the principal, or the setting
	Says     []Saying  `json:"says"`           // what each source says
	Text     string    `json:"text"`           // in one sentence
}

// A Saying is what one source says.
type Saying struct {
	Source Source `json:"source"`
	File   string `json:"file,omitempty"`
	Value  string `json:"value"` // the name, the value, or "not named"
}

// notNamed is what a source says that read a slot and does not name a principal.
const notNamed = "not named"

// Drift compares what documents say, each read from one source (or merged of several of
// one source). A principal is compared by SID, so that documents should have been
// through ResolveNames; without SID it is compared by name. A source that did not read
// a slot as a whole says nothing about who is not in it.
func Drift(docs ...*Document) []Difference {
	all := Merge(docs...)
	var out []Difference
	out = append(out, driftPrincipals(all)...)
	out = append(out, driftSettings(docs)...)
	out = append(out, driftSites(all)...)
	out = append(out, driftPublishers(all)...)
	slices.SortStableFunc(out, func(x, y Difference) int {
		return cmp.Or(strings.Compare(x.Site, y.Site), strings.Compare(x.Entry, y.Entry), strings.Compare(string(x.Kind), string(y.Kind)), compareFold(x.Name, y.Name))
	})
	return out
}

// whoKey is what makes two names one principal.
func whoKey(name string, m Member) string {
	if m.SID != nil {
		return m.SID.String()
	}
	return strings.ToLower(strings.TrimSpace(name))
}

func (a Assignment) who() string { return whoKey(a.Name, Member{SID: a.SID}) }

// A roster finds the assignments of a principal to a slot, by source, and remembers
// which slots each source read.
type roster struct {
	sources []Source
	told    map[Source]*Document
	named   map[rosterKey][]Assignment
	filled  map[rosterKey]bool
}

// rosterKey is a source with a slot and a principal, or with a slot and a site.
type rosterKey struct {
	source      Source
	entry, whom string
}

func newRoster(all *Document) *roster {
	r := &roster{told: map[Source]*Document{}, named: map[rosterKey][]Assignment{}, filled: map[rosterKey]bool{}}
	for _, x := range all.Readings {
		if r.told[x.Source] == nil {
			r.told[x.Source] = all.told(x.Source)
			r.sources = append(r.sources, x.Source)
		}
	}
	slices.Sort(r.sources)
	for _, a := range all.Assignments {
		if a.Removed.IsZero() && a.Entry != "" {
			k := rosterKey{a.Source, a.Entry, a.who()}
			r.named[k] = append(r.named[k], a)
		}
	}
	return r
}

// reads tells whether a source read a slot as a whole.
func (r *roster) reads(s Source, entry, site string) bool {
	k := rosterKey{s, entry, site}
	ok, known := r.filled[k]
	if !known {
		_, ok = r.told[s].Filled(entry, site)
		r.filled[k] = ok
	}
	return ok
}

// driftPrincipals compares who fills each slot.
func driftPrincipals(all *Document) []Difference {
	r := newRoster(all)
	var out []Difference
	seen := map[[3]string]bool{}
	for _, a := range all.Assignments {
		key := [3]string{a.Entry, a.Site, a.who()}
		if !a.Removed.IsZero() || a.Entry == "" || seen[key] {
			continue
		}
		seen[key] = true
		if d, ok := r.drift(a); ok {
			out = append(out, d)
		}
	}
	return out
}

// drift compares one principal of a slot: who names it, and who read the slot and does
// not.
func (r *roster) drift(a Assignment) (Difference, bool) {
	d := Difference{Kind: DriftPrincipal, Entry: a.Entry, Site: a.Site, Host: a.Host, Location: a.Location, Name: a.Name}
	var yes, no []string
	for _, s := range r.sources {
		list := r.named[rosterKey{s, a.Entry, a.who()}]
		if i := slices.IndexFunc(list, func(b Assignment) bool { return sameSite(a.Site, b.Site) }); i >= 0 {
			d.Says = append(d.Says, Saying{Source: s, Value: list[i].Name})
			yes = append(yes, string(s))
			continue
		}
		if r.reads(s, a.Entry, a.Site) {
			d.Says = append(d.Says, Saying{Source: s, Value: notNamed})
			no = append(no, string(s))
		}
	}
	if len(no) == 0 || len(yes) == 0 {
		return d, false
	}
	where := ""
	if a.Site != "" {
		where = " of " + a.Site
	}
	d.Text = fmt.Sprintf("%s fills %s%s according to %s; %s, having read the whole slot, does not name it", a.Name, a.Entry, where, strings.Join(yes, " and "), strings.Join(no, " and "))
	return d, true
}

// sameSite reports whether two assignments can be of one site: one of the hierarchy is
// of every site.
func sameSite(a, b string) bool { return a == b || a == "" || b == "" }

// driftSettings compares settings and facts of sites that two documents both know.
func driftSettings(docs []*Document) []Difference {
	type said struct {
		saying Saying
		value  any
	}
	values := map[[2]string][]said{} // site and key
	for _, d := range docs {
		if d == nil {
			continue
		}
		from := d.teller()
		for _, s := range d.Sites {
			for key, v := range siteFacts(s) {
				from.Value = fmt.Sprint(v)
				values[[2]string{s.Code, key}] = append(values[[2]string{s.Code, key}], said{from, v})
			}
		}
	}
	var out []Difference
	for at, list := range values {
		if !slices.ContainsFunc(list, func(x said) bool { return !sameValue(x.value, list[0].value) }) {
			continue
		}
		one := Difference{Kind: DriftSetting, Site: at[0], Name: at[1]}
		var parts []string
		for _, x := range list {
			one.Says = append(one.Says, x.saying)
			parts = append(parts, fmt.Sprintf("%s (%s)", x.saying.Value, strings.TrimSpace(string(x.saying.Source)+" "+x.saying.File)))
		}
		one.Text = fmt.Sprintf("%s of %s is %s", at[1], at[0], strings.Join(parts, " and "))
		out = append(out, one)
	}
	return out
}

// teller returns who says what a document says: the source and file of its readings, if
// they are all of one.
func (d *Document) teller() Saying {
	s := Saying{}
	for _, r := range d.Readings {
		if s.Source == "" {
			s.Source, s.File = r.Source, r.File
		}
		if s.File != r.File {
			s.File = ""
		}
	}
	return s
}

// siteFacts returns the settings of a site and what else is known of it, by name.
func siteFacts(s Site) map[string]any {
	out := map[string]any{}
	for k, v := range s.Settings {
		out[k] = v
	}
	for name, v := range map[string]string{
		"kind": string(s.Kind), "parent": s.Parent, "release": s.Release, "server": strings.ToLower(s.Server),
		"passive": strings.ToLower(s.Passive), "domain": strings.ToLower(s.Domain), "database": strings.ToLower(s.Database),
	} {
		if v != "" {
			out[name] = v
		}
	}
	if s.Build != 0 {
		out["build"] = s.Build
	}
	return out
}

// sameValue compares values of settings; lists compare without regard to order.
func sameValue(a, b any) bool {
	x, ok1 := a.([]string)
	y, ok2 := b.([]string)
	if ok1 && ok2 {
		x, y = slices.Clone(x), slices.Clone(y)
		slices.Sort(x)
		slices.Sort(y)
		return slices.Equal(x, y)
	}
	return reflect.DeepEqual(a, b)
}

// driftSites tells of sites that publish and that a complete list of sites lacks.
func driftSites(all *Document) []Difference {
	var out []Difference
	listed := map[string]bool{}
	for _, a := range all.Assignments {
		listed[a.Site] = listed[a.Site] || a.Source != Directory
	}
	if _, ok := all.Read(ClassSites, "", ""); !ok {
		return nil
	}
	for _, x := range all.Sightings {
		if x.Kind != SeenSite {
			continue
		}
		i := slices.IndexFunc(all.Sites, func(s Site) bool { return s.Code == x.Name })
		if i >= 0 && (all.Sites[i].Kind != "" || all.Sites[i].Name != "" || all.Sites[i].Release != "" || listed[x.Name]) {
			continue
		}
		out = append(out, Difference{
			Kind: DriftSite, Site: x.Name, Name: x.Name,
			Says: []Saying{{Source: Directory, Value: "publishes to " + x.Domain}},
			Text: fmt.Sprintf("site %s publishes to %s, and no list of the hierarchy's sites has it: another hierarchy, or a leftover", x.Name, x.Domain),
		})
	}
	return out
}

// driftPublishers tells of principals with full control of a System Management
// container who are neither site server nor forest account. It says nothing as long as
// it is not known who the forest accounts are.
func driftPublishers(all *Document) []Difference {
	_, forests := all.Filled(entryForest, "")
	_, sites := all.Read(ClassSites, "", "")
	known := map[string]bool{}
	for _, a := range all.Assignments {
		if a.Entry == entryForest && a.Removed.IsZero() {
			known[a.who()], known[strings.ToLower(a.Name)] = true, true
		}
	}
	for _, s := range all.Sites {
		known[strings.ToLower(s.Server)], known[strings.ToLower(s.Passive)] = true, true
		for _, sys := range s.Systems {
			if slices.Contains(sys.Roles, roleSiteServer) {
				known[strings.ToLower(sys.Host)] = true
			}
		}
	}
	var out []Difference
	for _, x := range all.Sightings {
		if x.Kind != SeenPublisher || x.Name == "" || x.Is == KindGroup || known[strings.ToLower(x.Name)] || known[whoKey(x.Name, Member{SID: x.SID})] {
			continue
		}
		if x.Is == KindComputer && !sites || x.Is != KindComputer && !forests {
			continue
		}
		out = append(out, Difference{
			Kind: DriftPublisher, Entry: entryForest, Location: x.Domain, Name: x.Name,
			Says: []Saying{{Source: Directory, Value: x.Detail}},
			Text: fmt.Sprintf("%s has full control of the System Management container of %s (%s) and is neither a site server nor the forest account", x.Name, x.Domain, x.Detail),
		})
	}
	return out
}
