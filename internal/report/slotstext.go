package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/leastwise/leastwise/internal/configmgr"
)

// Text writes the slots for reading in a terminal: one line for each principal and
// place, then what sources disagree about. Slots that are empty or unknown at every
// site are counted, and listed with All.
func (s *Slots) Text(w io.Writer, screen Screen) error {
	g := &page{screen: screen}
	g.line("%s", g.strong("Slots of "+hierarchyName(s.Hierarchy, s.Sites)))
	if len(s.Sites) == 0 {
		g.line("%s", g.ink(yellow, "No site is known: no document names one, and the directory shows none."))
		return g.flush(w, "the slots")
	}
	g.siteCounts(s.Sites)
	g.readings(s.Readings)
	g.slotTable(s)
	g.holdersOf("Stored accounts that fill no known slot", s.Stored)
	g.sightings(s.Seen)
	g.drift(s.Drift)
	return g.flush(w, "the slots")
}

func (p *page) sightings(all []SlotSighting) {
	if len(all) == 0 {
		return
	}
	p.heading("What the directory shows besides")
	var rows [][]cellInk
	for _, x := range all {
		name := visible(x.Name)
		if x.Count > 0 {
			name = plural(x.Count, "computer", "computers")
		}
		rows = append(rows, plain(visible(x.Kind), name, visible(x.Is), visible(x.Detail)))
	}
	p.grid([]string{"Kind", "Name", "Is", "What"}, rows)
}

// hierarchyName is how a hierarchy is called: by its name, or by its sites.
func hierarchyName(name string, sites []SlotsSite) string {
	switch {
	case name != "":
		return visible(name)
	case len(sites) == 1:
		return "site " + visible(sites[0].Code)
	}
	return plural(len(sites), "site", "sites")
}

func (p *page) siteCounts(sites []SlotsSite) {
	var rows [][]cellInk
	for _, s := range sites {
		rows = append(rows, []cellInk{
			{visible(s.Code), ""},
			{visible(orDash(s.Name)), ""},
			{visible(orDash(strings.TrimSpace(s.Kind + " " + s.Release))), ""},
			{visible(orDash(s.Server)), ""},
			{strconv.Itoa(s.Count.Filled), ""},
			{strconv.Itoa(s.Count.Empty), ""},
			{strconv.Itoa(s.Count.Unknown), inkIf(s.Count.Unknown > 0, yellow)},
			{strconv.Itoa(s.Count.Absent), gray},
		})
	}
	p.grid([]string{"Site", "Name", "Kind", "Server", "Filled", "Empty", "Unknown", "Not in release"}, rows)
}

// readings says what was not read to the end, and of which sources the rest is.
func (p *page) readings(all []configmgr.Reading) {
	sources := map[configmgr.Source]int{}
	var order []string
	var gaps [][]cellInk
	for _, r := range all {
		if sources[r.Source] == 0 {
			order = append(order, string(r.Source))
		}
		sources[r.Source]++
		if r.Missing != "" {
			gaps = append(gaps, append([]cellInk{{string(r.Class), yellow}}, plain(visible(orDash(r.Scope)), string(r.Source), visible(r.Missing))...))
		}
	}
	if len(order) == 0 {
		p.line("Sources: %s", p.ink(yellow, "none: nothing was read of the site"))
		return
	}
	p.line("Sources: %s", strings.Join(order, ", "))
	if len(gaps) > 0 {
		p.heading(p.ink(yellow, "Not read to the end"))
		p.grid([]string{"What", "Of", "Source", "Why"}, gaps)
	}
}

func (p *page) slotTable(s *Slots) {
	p.heading("Who fills them")
	var rows [][]cellInk
	empty, unknown := 0, 0
	for _, row := range s.Slots {
		any := s.All
		for _, c := range row.Sites {
			any = any || c.State == SlotFilled
		}
		for _, c := range row.Sites {
			switch {
			case any || c.State == SlotFilled:
				rows = append(rows, slotLines(row, c)...)
			case c.State == SlotEmpty:
				empty++
			case c.State == SlotUnknown:
				unknown++
			}
		}
	}
	if len(rows) == 0 {
		p.line("Nobody is known to fill any slot.")
	} else {
		p.grid([]string{"Slot", "Site", "Principal", "Where", "Source", "Resolved"}, rows)
	}
	if empty+unknown > 0 {
		p.line("Not listed: %d slots that are known to be empty, %s (--all lists them).", empty, p.ink(yellow, strconv.Itoa(unknown)+" that nobody has read"))
	}
}

// slotLines are the lines of a slot at a site.
func slotLines(row SlotRow, c SlotCell) [][]cellInk {
	var out [][]cellInk
	for _, h := range c.Holders {
		resolved := cellInk{sidText(h.SID), ""}
		if h.SID == nil {
			resolved = cellInk{"no: " + orWords(h.Why, "not looked for"), yellow}
		}
		out = append(out, []cellInk{{row.Entry, ""}, {visible(c.Site), ""}, {visible(h.spelled()), ""}, {visible(h.where()), ""}, {strings.Join(h.Sources, ", "), ""}, resolved})
	}
	switch {
	case c.Partial:
		out = append(out, []cellInk{{row.Entry, ""}, {visible(c.Site), ""}, {"perhaps more", yellow}, {"", ""}, {"", ""}, {visible(c.Missing), yellow}})
	case c.State == SlotEmpty:
		text := "nobody"
		if c.Default != "" {
			text += "; acts instead: " + c.Default
		}
		out = append(out, []cellInk{{row.Entry, ""}, {visible(c.Site), ""}, {text, gray}, {"", ""}, {"", ""}, {"", ""}})
	case c.State == SlotUnknown:
		out = append(out, []cellInk{{row.Entry, ""}, {visible(c.Site), ""}, {"unknown", yellow}, {"", ""}, {"", ""}, {visible(c.Missing), yellow}})
	case c.State == SlotAbsent:
		out = append(out, []cellInk{{row.Entry, ""}, {visible(c.Site), ""}, {"not in this release", gray}, {"", ""}, {"", ""}, {"", ""}})
	}
	return out
}

func orWords(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// spelled is a name with its other spellings.
func (h SlotHolder) spelled() string {
	if len(h.Also) == 0 {
		return h.Name
	}
	return h.Name + " (also " + strings.Join(h.Also, ", ") + ")"
}

// where is the place within a site.
func (h SlotHolder) where() string {
	switch {
	case h.Host == "":
		return h.Location
	case h.Location == "":
		return h.Host
	}
	return h.Host + ", " + h.Location
}

func (p *page) holdersOf(title string, all []SlotHolder) {
	if len(all) == 0 {
		return
	}
	p.heading(title)
	var rows [][]cellInk
	for _, h := range all {
		rows = append(rows, plain(visible(h.spelled()), visible(orDash(h.Site)), visible(orWords(strings.Join(h.Usage, ", "), "no use is known")), strings.Join(h.Sources, ", ")))
	}
	p.grid([]string{"Account", "Site", "Usage", "Source"}, rows)
}

func (p *page) drift(all []SlotDrift) {
	if len(all) == 0 {
		p.heading("Sources do not contradict each other.")
		return
	}
	p.heading(p.ink(yellow, fmt.Sprintf("Sources differ in %s", plural(len(all), "point", "points"))))
	var rows [][]cellInk
	for _, d := range all {
		rows = append(rows, []cellInk{{orDash(d.Entry), ""}, {visible(orDash(d.Site)), ""}, {d.Kind, yellow}, {visible(d.Text), ""}})
	}
	p.grid([]string{"Slot", "Site", "Kind", "Difference"}, rows)
}
