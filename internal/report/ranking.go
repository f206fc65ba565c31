package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
)

// Ranking is how broad and how deep the power of each principal is, in a form for
// reading and for JSON. Make one with NewRanking.
type Ranking struct {
	Version    int      `json:"version"`    // 1; grows when a field changes its meaning or goes away
	Broad      int      `json:"broad"`      // from so many objects held in one step on, power counts as broad
	Total      int      `json:"total"`      // accounts and groups that hold an object or reach a zone
	Both       int      `json:"both"`       // of them, those whose power is broad and deep
	Principals []Ranked `json:"principals"` // broad and deep ones first, then the deep, then the broad
	Unread     int      `json:"unread"`     // objects whose permissions were not read: more may be possible
	Missing    []string `json:"missing"`    // what else the snapshot lacks that may hold further power
}

// Ranked is one principal.
type Ranked struct {
	Principal   control.Place `json:"principal"`
	Objects     int           `json:"objects"`      // held in one step, by its own token, for certain
	Hosts       int           `json:"hosts"`        // computers among them, those by policy included
	Held        []RankedRight `json:"held"`         // the objects by right and class
	Gained      int           `json:"gained"`       // objects that it can gain by any number of steps, for certain
	GainedHosts int           `json:"gained_hosts"` // computers among them
	Zone        string        `json:"zone"`         // the highest zone that it can reach for certain; "" if none
	Level       *int          `json:"level"`        // of that zone; null if none
	PossibleIn  string        `json:"possible_zone,omitempty"`
	InZone      bool          `json:"in_zone"` // it is part of Zone
	IsBroad     bool          `json:"is_broad"`
	IsDeep      bool          `json:"is_deep"` // it can reach a zone that it is not part of
	Both        bool          `json:"both"`
}

// RankedRight counts the objects of a class that one right gives.
type RankedRight struct {
	Kind  string `json:"kind"`
	Text  string `json:"text"`
	Class string `json:"class"`
	Count int    `json:"count"`
}

// A RankingZone is a zone whose objects are known.
type RankingZone struct {
	Name    string
	Level   int
	Objects []forest.ID // in ID order
}

// RankingOptions say what is ranked.
type RankingOptions struct {
	Zones []RankingZone
	Broad int // see Ranking.Broad; 0: one in a hundred of the users and computers, at least 10
	Top   int // at most so many principals are listed
}

// NewRanking ranks every account and security group of s.
func NewRanking(s *forest.Snapshot, g *reach.Graph, opt RankingOptions) *Ranking {
	out := &Ranking{Version: 1, Broad: opt.Broad, Principals: []Ranked{}, Unread: len(g.Unread()), Missing: Missing(s)}
	if out.Broad == 0 {
		out.Broad = max(10, accountsIn(s)/100)
	}
	zones := slices.Clone(opt.Zones)
	slices.SortStableFunc(zones, func(a, b RankingZone) int { return cmp.Compare(a.Level, b.Level) })
	reaches := make([]*reach.Reach, len(zones))
	for i := range zones {
		reaches[i] = g.WhoCan(zones[i].Objects)
	}
	type candidate struct {
		b reach.Breadth
		r Ranked
	}
	var list []candidate
	g.Breadths(func(b reach.Breadth) bool {
		r := Ranked{Objects: b.Objects, Hosts: b.Hosts, IsBroad: b.Objects >= out.Broad}
		r.depth(b.ID, zones, reaches)
		if r.Both = r.IsBroad && r.IsDeep; r.Both {
			out.Both++
		}
		if r.Objects > 0 || r.Level != nil || r.PossibleIn != "" {
			list = append(list, candidate{b, r})
		}
		return true
	})
	out.Total = len(list)
	slices.SortStableFunc(list, func(a, b candidate) int { return compareRanked(&a.r, &b.r) })
	n := control.WayNames{Snapshot: s}
	for _, c := range list[:min(len(list), opt.Top)] {
		c.r.Principal, c.r.Held = n.Object(c.b.ID), []RankedRight{}
		for _, h := range c.b.Held {
			c.r.Held = append(c.r.Held, RankedRight{h.Kind.String(), h.Kind.Info().Text, h.Class, h.Count})
		}
		for _, id := range g.Gains(c.b.ID, false) {
			if id == c.b.ID {
				continue
			}
			c.r.Gained++
			if s.Class(id) == "computer" {
				c.r.GainedHosts++
			}
		}
		out.Principals = append(out.Principals, c.r)
	}
	return out
}

// accountsIn counts users and computers.
func accountsIn(s *forest.Snapshot) int {
	n := 0
	for id := range forest.ID(s.Len()) {
		if s.IsA(id, "user") {
			n++
		}
	}
	return n
}

// depth finds the highest zone that id reaches; zones come highest first.
func (r *Ranked) depth(id forest.ID, zones []RankingZone, reaches []*reach.Reach) {
	for i := range zones {
		switch {
		case reaches[i].Has(id):
			_, r.InZone = slices.BinarySearch(zones[i].Objects, id)
			r.Zone, r.Level, r.IsDeep = zones[i].Name, &zones[i].Level, !r.InZone
			return
		case r.PossibleIn == "" && reaches[i].MayHave(id):
			r.PossibleIn = zones[i].Name
		}
	}
}

// compareRanked puts what is broad and deep first, then what is deep, what is in a
// zone, and what is broad.
func compareRanked(a, b *Ranked) int {
	first := func(x, y bool) int {
		switch {
		case x == y:
			return 0
		case x:
			return -1
		}
		return 1
	}
	level := func(r *Ranked) int {
		if r.Level == nil {
			return 1 << 20
		}
		return *r.Level
	}
	return cmp.Or(
		first(a.Both, b.Both), first(a.IsDeep, b.IsDeep), cmp.Compare(level(a), level(b)),
		cmp.Compare(b.Objects, a.Objects), cmp.Compare(b.Hosts, a.Hosts))
}

// JSON writes the ranking as indented JSON.
func (r *Ranking) JSON(w io.Writer) error {
	if err := writeJSON(w, r); err != nil {
		return fmt.Errorf("writing the ranking as JSON: %w", err)
	}
	return nil
}

// Text writes the ranking for reading in a terminal.
func (r *Ranking) Text(w io.Writer, s Screen) error {
	p := &page{screen: s}
	p.line("%s", p.strong("How broad and how deep power is"))
	p.line("%s hold an object or reach a zone; %s broad (%d objects and more in one step) and deep", plural(r.Total, "principal", "principals"), isAre(r.Both), r.Broad)
	var rows [][]cellInk
	for _, x := range r.Principals {
		zone, ink := visible(x.Zone), red
		if x.InZone {
			zone, ink = "in "+zone, gray
		}
		switch {
		case x.PossibleIn == "":
		case x.Zone == "":
			zone, ink = "perhaps "+visible(x.PossibleIn), yellow
		default: // the one that is possible is higher
			zone, ink = zone+", perhaps "+visible(x.PossibleIn), yellow
		}
		mark := ""
		switch {
		case x.Both:
			mark = "broad and deep"
		case x.IsDeep:
			mark = "deep"
		case x.IsBroad:
			mark = "broad"
		}
		strongest := ""
		if len(x.Held) > 0 {
			strongest = fmt.Sprintf("%s %d × %s", x.Held[0].Text, x.Held[0].Count, visible(x.Held[0].Class))
		}
		rows = append(rows, []cellInk{
			{visible(x.Principal.Name), ""},
			{visible(x.Principal.Class), gray},
			{strconv.Itoa(x.Objects), ""},
			{strconv.Itoa(x.Hosts), ""},
			{strconv.Itoa(x.Gained), ""},
			{strconv.Itoa(x.GainedHosts), ""},
			{zone, ink},
			{mark, red},
			{strongest, gray},
		})
	}
	p.line("")
	p.rowsOr([]string{"Principal", "Class", "Objects", "Hosts", "Gains", "Hosts", "Reaches", "", "Most by"}, rows, "Nobody.")
	if len(r.Principals) < r.Total {
		p.line("%s more: --top N lists more, --output json the rights by class", strconv.Itoa(r.Total-len(r.Principals)))
	}
	if r.Unread > 0 {
		p.heading(p.ink(yellow, plural(r.Unread, "object's permissions were", "objects' permissions were")+" not read: more may be possible"))
	}
	p.missing(r.Missing)
	return p.flush(w, "the ranking")
}

func isAre(n int) string {
	if n == 1 {
		return "1 is"
	}
	return strconv.Itoa(n) + " are"
}
