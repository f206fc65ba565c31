package report

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Slots is who fills the slots of the sites of a hierarchy, by which source, in a form
// for reading and for JSON. Make one with NewSlots.
type Slots struct {
	Version   int                 `json:"version"` // 1; grows when a field changes its meaning or goes away
	Hierarchy string              `json:"hierarchy,omitempty"`
	Made      time.Time           `json:"made"`
	Sites     []SlotsSite         `json:"sites"`
	Readings  []configmgr.Reading `json:"readings"` // what was read, from where and how completely
	Slots     []SlotRow           `json:"slots"`
	Stored    []SlotHolder        `json:"stored"` // stored accounts that fill no slot, or one that is not known
	Drift     []SlotDrift         `json:"drift"`
	Seen      []SlotSighting      `json:"seen"` // what the directory shows besides
	All       bool                `json:"-"`    // Text writes also slots that are empty or unknown everywhere
}

// SlotSighting is something of Configuration Manager that the directory shows.
type SlotSighting struct {
	Kind   string `json:"kind"`           // site, management-point, publisher, pxe, remote-control
	Name   string `json:"name,omitempty"` // of the account or host
	Is     string `json:"is,omitempty"`   // computer, group, user
	Domain string `json:"domain"`
	Count  int    `json:"count,omitempty"` // of hosts, if they are not listed
	Detail string `json:"detail,omitempty"`
}

// SlotsSite is a site.
type SlotsSite struct {
	Code    string     `json:"code"`
	Name    string     `json:"name,omitempty"`
	Kind    string     `json:"kind,omitempty"`
	Release string     `json:"release,omitempty"`
	Server  string     `json:"server,omitempty"`
	Count   SlotsCount `json:"count"`
}

// SlotsCount counts slots by state.
type SlotsCount struct {
	Filled  int `json:"filled"`
	Empty   int `json:"empty"`
	Unknown int `json:"unknown"`
	Absent  int `json:"absent"`
}

// SlotRow is one slot at all sites, in the order of the sites.
type SlotRow struct {
	Entry string     `json:"entry"`
	Name  string     `json:"name"`
	Kind  string     `json:"kind"`
	Sites []SlotCell `json:"sites"`
}

// A SlotState is what is known of who fills a slot at a site.
type SlotState string

// The states of slots.
const (
	SlotFilled  SlotState = "filled"
	SlotEmpty   SlotState = "empty"   // read completely, and nobody is configured
	SlotUnknown SlotState = "unknown" // not read, or not completely
	SlotAbsent  SlotState = "absent"  // the site's release has no such slot
)

// SlotCell is one slot at one site.
type SlotCell struct {
	Site    string       `json:"site"`
	State   SlotState    `json:"state"`
	Partial bool         `json:"partial,omitempty"` // filled, but more may fill it: not read completely
	Holders []SlotHolder `json:"holders"`
	Default string       `json:"default,omitempty"` // empty: who acts instead
	Missing string       `json:"missing,omitempty"` // unknown or partial: why
	Verdict string       `json:"verdict,omitempty"` // worst outcome of its controls, once they were judged
}

// SlotHolder is a principal that fills a slot.
type SlotHolder struct {
	Name      string       `json:"name"`            // as configured
	Also      []string     `json:"also,omitempty"`  // other spellings
	SID       *secdesc.SID `json:"sid,omitempty"`   // nil if it is not resolved
	Why       string       `json:"why,omitempty"`   // why it is not
	Kind      string       `json:"kind,omitempty"`  // user, computer, group, …
	Usage     []string     `json:"usage,omitempty"` // labels of the stored account
	Site      string       `json:"site,omitempty"`
	Host      string       `json:"host,omitempty"`
	Location  string       `json:"location,omitempty"`
	Sources   []string     `json:"sources"`
	FirstSeen time.Time    `json:"first_seen,omitzero"`
	LastSeen  time.Time    `json:"last_seen,omitzero"`
}

// SlotDrift is a difference between what sources say.
type SlotDrift struct {
	Entry string `json:"entry,omitempty"`
	Site  string `json:"site,omitempty"`
	Kind  string `json:"kind"`
	Name  string `json:"name,omitempty"`
	Text  string `json:"text"`
}

// NewSlots puts into words who fills the slots of the sites of d.
func NewSlots(c *configmgr.Catalogue, d *configmgr.Document, drift []SlotDrift, now time.Time) *Slots {
	out := &Slots{Version: 1, Hierarchy: d.Hierarchy, Made: now, Sites: slotSites(d), Readings: list(d.Readings), Slots: []SlotRow{}, Stored: []SlotHolder{}, Drift: list(drift), Seen: []SlotSighting{}}
	by := map[string][]configmgr.Assignment{}
	for _, a := range d.Assignments {
		if a.Removed.IsZero() {
			by[a.Entry] = append(by[a.Entry], a)
		}
	}
	out.Stored = holders(by[""])
	for _, x := range d.Sightings {
		out.Seen = append(out.Seen, SlotSighting{x.Kind, x.Name, x.Is, x.Domain, x.Count, x.Detail})
	}
	for _, e := range c.Entries {
		row := SlotRow{e.ID, e.Name, string(e.Kind), []SlotCell{}}
		pattern := groupPattern(e)
		for i := range out.Sites {
			s := &out.Sites[i]
			cell := slotCell(e, d, *s, atSite(by[e.ID], s.Code), pattern)
			s.Count.add(cell.State)
			row.Sites = append(row.Sites, cell)
		}
		out.Slots = append(out.Slots, row)
	}
	return out
}

func (n *SlotsCount) add(s SlotState) {
	switch s {
	case SlotFilled:
		n.Filled++
	case SlotEmpty:
		n.Empty++
	case SlotUnknown:
		n.Unknown++
	case SlotAbsent:
		n.Absent++
	}
}

// slotSites lists the sites that d describes or that its assignments name.
func slotSites(d *configmgr.Document) []SlotsSite {
	out := []SlotsSite{}
	known := map[string]bool{}
	for _, s := range d.Sites {
		known[strings.ToUpper(s.Code)] = true
		out = append(out, SlotsSite{Code: s.Code, Name: s.Name, Kind: string(s.Kind), Release: s.Release, Server: s.Server})
	}
	for _, a := range d.Assignments {
		if code := strings.ToUpper(a.Site); code != "" && !known[code] {
			known[code] = true
			out = append(out, SlotsSite{Code: a.Site})
		}
	}
	slices.SortStableFunc(out, func(a, b SlotsSite) int { return cmp.Compare(strings.ToUpper(a.Code), strings.ToUpper(b.Code)) })
	return out
}

// atSite picks the assignments of a site and those of the hierarchy.
func atSite(all []configmgr.Assignment, code string) []configmgr.Assignment {
	var out []configmgr.Assignment
	for _, a := range all {
		if a.Site == "" || strings.EqualFold(a.Site, code) {
			out = append(out, a)
		}
	}
	return out
}

// slotCell says who fills a slot at a site.
func slotCell(e *configmgr.Entry, d *configmgr.Document, s SlotsSite, assigned []configmgr.Assignment, group *regexp.Regexp) SlotCell {
	cell := SlotCell{Site: s.Code, Holders: holders(assigned)}
	missing, complete := d.Filled(e.ID, s.Code)
	if group != nil {
		var members []SlotHolder
		members, missing, complete = groupMembers(d, s.Code, group)
		cell.Holders = append(cell.Holders, members...)
	}
	if !complete {
		cell.Missing = missing
	}
	switch {
	case len(cell.Holders) > 0:
		cell.State, cell.Partial = SlotFilled, !complete
	case !hasSlot(e, s.Release):
		cell.State, cell.Missing = SlotAbsent, ""
	case complete:
		cell.State, cell.Default = SlotEmpty, e.Default.Identity
	default:
		cell.State = SlotUnknown
	}
	return cell
}

// hasSlot says whether a release has a slot; one that is not known may have it.
func hasSlot(e *configmgr.Entry, release string) bool {
	switch {
	case release == "":
		return true
	case release == "current-branch":
		return e.Current != configmgr.CurrentRemoved && e.Current != configmgr.CurrentMerged
	}
	return slices.Contains(e.Releases, release)
}

func groupPattern(e *configmgr.Entry) *regexp.Regexp {
	if e.Kind != configmgr.WindowsGroup {
		return nil
	}
	p, err := regexp.Compile("(?i)" + e.Pattern)
	if err != nil {
		return nil // the catalogue's own check refuses it
	}
	return p
}

// groupMembers lists the members of a group on the hosts of a site.
func groupMembers(d *configmgr.Document, code string, group *regexp.Regexp) (out []SlotHolder, missing string, complete bool) {
	read := false
	complete = true
	for _, h := range siteHosts(d, code) {
		why, ok := d.Read(configmgr.ClassGroups, h, "")
		read = read || ok
		if !ok {
			complete, missing = false, why
		}
		i := slices.IndexFunc(d.Hosts, func(x configmgr.Host) bool { return strings.EqualFold(x.Name, h) })
		if i < 0 {
			continue
		}
		for name, members := range d.Hosts[i].Groups {
			if !group.MatchString(name) {
				continue
			}
			for _, m := range members {
				out = append(out, SlotHolder{Name: cmp.Or(m.Name, sidText(m.SID)), SID: m.SID, Host: h, Sources: []string{}})
			}
		}
	}
	if !read && missing == "" {
		missing = "no host of the site is known"
	}
	slices.SortFunc(out, func(a, b SlotHolder) int { return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Name, b.Name)) })
	return out, missing, complete && read
}

func sidText(s *secdesc.SID) string {
	if s == nil {
		return ""
	}
	return s.String()
}

// siteHosts lists the hosts of a site, its server first.
func siteHosts(d *configmgr.Document, code string) []string {
	var out []string
	for _, s := range d.Sites {
		if !strings.EqualFold(s.Code, code) {
			continue
		}
		hosts := []string{s.Server, s.Passive}
		for _, sys := range s.Systems {
			hosts = append(hosts, sys.Host)
		}
		for _, h := range hosts {
			if h != "" && !slices.ContainsFunc(out, func(o string) bool { return strings.EqualFold(o, h) }) {
				out = append(out, h)
			}
		}
	}
	return out
}

// holders joins assignments of one principal in one place: sources, spellings, times.
func holders(all []configmgr.Assignment) []SlotHolder {
	out := []SlotHolder{}
	at := map[string]int{}
	for _, a := range all {
		key := strings.ToLower(a.Name)
		if a.SID != nil {
			key = a.SID.String()
		}
		key += "\x00" + strings.ToLower(a.Host+"\x00"+a.Location+"\x00"+a.Site)
		i, ok := at[key]
		if !ok {
			at[key] = len(out)
			out = append(out, SlotHolder{
				Name: a.Name, SID: a.SID, Why: a.Unsolved, Kind: a.Kind, Usage: a.Usage, Site: a.Site, Host: a.Host, Location: a.Location,
				Sources: []string{string(a.Source)}, FirstSeen: a.FirstSeen, LastSeen: a.LastSeen,
			})
			continue
		}
		out[i].join(a)
	}
	slices.SortStableFunc(out, func(a, b SlotHolder) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), cmp.Compare(a.Site, b.Site), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Location, b.Location))
	})
	return out
}

// join adds what another source says of the same.
func (h *SlotHolder) join(a configmgr.Assignment) {
	if !slices.Contains(h.Sources, string(a.Source)) {
		h.Sources = append(h.Sources, string(a.Source))
		slices.Sort(h.Sources)
	}
	if a.Name != h.Name && !slices.Contains(h.Also, a.Name) {
		h.Also = append(h.Also, a.Name)
		slices.Sort(h.Also)
	}
	if h.FirstSeen.IsZero() || !a.FirstSeen.IsZero() && a.FirstSeen.Before(h.FirstSeen) {
		h.FirstSeen = a.FirstSeen
	}
	if a.LastSeen.After(h.LastSeen) {
		h.LastSeen = a.LastSeen
	}
	h.Kind = cmp.Or(h.Kind, a.Kind)
}

// JSON writes the slots as indented JSON.
func (s *Slots) JSON(w io.Writer) error {
	if err := writeJSON(w, s); err != nil {
		return fmt.Errorf("writing the slots as JSON: %w", err)
	}
	return nil
}

// Of keeps one site.
func (s *Slots) Of(code string) *Slots {
	out := *s
	out.Sites, out.Slots, out.Stored, out.Drift = []SlotsSite{}, []SlotRow{}, []SlotHolder{}, []SlotDrift{}
	for _, x := range s.Sites {
		if strings.EqualFold(x.Code, code) {
			out.Sites = append(out.Sites, x)
		}
	}
	for _, r := range s.Slots {
		row := SlotRow{r.Entry, r.Name, r.Kind, []SlotCell{}}
		for _, c := range r.Sites {
			if strings.EqualFold(c.Site, code) {
				row.Sites = append(row.Sites, c)
			}
		}
		out.Slots = append(out.Slots, row)
	}
	for _, h := range s.Stored {
		if h.Site == "" || strings.EqualFold(h.Site, code) {
			out.Stored = append(out.Stored, h)
		}
	}
	for _, d := range s.Drift {
		if d.Site == "" || strings.EqualFold(d.Site, code) {
			out.Drift = append(out.Drift, d)
		}
	}
	return &out
}
