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

// Extent is what one principal can gain, in a form for reading and for JSON. Make
// one with NewExtent.
type Extent struct {
	Version   int           `json:"version"` // 1; grows when a field changes its meaning or goes away
	Principal control.Place `json:"principal"`
	Direct    []ExtentRight `json:"direct"`    // in one step, by the principal's own token
	Gains     []ExtentClass `json:"gains"`     // by any number of steps
	TierZero  *control.Way  `json:"tier_zero"` // a way to Tier 0; null if there is none
	Unread    int           `json:"unread"`    // objects whose permissions were not read: more may be possible
	Missing   []string      `json:"missing"`   // what else the snapshot lacks that may hold further ways
}

// ExtentRight counts the objects of a class that one right gives.
type ExtentRight struct {
	Kind     string `json:"kind"`
	Text     string `json:"text"`
	Class    string `json:"class"`
	Count    int    `json:"count"`
	TierZero int    `json:"tier_zero"` // how many of them are in Tier 0
	If       string `json:"if,omitempty"`
}

// ExtentClass counts the objects of a class that can be gained.
type ExtentClass struct {
	Class    string `json:"class"`
	Certain  int    `json:"certain"`
	Possible int    `json:"possible"`  // further ones, under conditions
	TierZero int    `json:"tier_zero"` // how many of all of them are in Tier 0
}

// NewExtent puts into words what id can gain.
func NewExtent(s *forest.Snapshot, g *reach.Graph, id forest.ID) *Extent {
	n := control.WayNames{Snapshot: s}
	zone := g.Resolve(reach.TierZero())
	out := &Extent{Version: 1, Principal: n.Object(id), Direct: []ExtentRight{}, Gains: []ExtentClass{}}
	for _, h := range g.Holdings(id, zone) {
		out.Direct = append(out.Direct, ExtentRight{h.Kind.String(), h.Kind.Info().Text, h.Class, h.Count, h.InZone, h.If})
	}
	sure, all := g.Gains(id, false), g.Gains(id, true)
	byClass := map[string]*ExtentClass{}
	for _, o := range all {
		if o == id {
			continue
		}
		c := byClass[s.Class(o)]
		if c == nil {
			c = &ExtentClass{Class: s.Class(o)}
			byClass[s.Class(o)] = c
		}
		if _, certain := slices.BinarySearch(sure, o); certain {
			c.Certain++
		} else {
			c.Possible++
		}
		if _, in := slices.BinarySearch(zone, o); in {
			c.TierZero++
		}
	}
	for _, c := range byClass {
		out.Gains = append(out.Gains, *c)
	}
	slices.SortFunc(out.Gains, func(a, b ExtentClass) int {
		return cmp.Or(cmp.Compare(b.Certain+b.Possible, a.Certain+a.Possible), cmp.Compare(a.Class, b.Class))
	})
	r := g.WhoCan(zone)
	if p := r.Path(id); p != nil {
		way := control.Way{Principal: n.Object(id), Steps: n.Steps(p)}
		out.TierZero = &way
	}
	out.Unread, out.Missing = len(g.Unread()), Missing(s)
	return out
}

// JSON writes the answer as indented JSON.
func (e *Extent) JSON(w io.Writer) error {
	if err := writeJSON(w, e); err != nil {
		return fmt.Errorf("writing what a principal can gain as JSON: %w", err)
	}
	return nil
}

// Text writes the answer for reading in a terminal.
func (e *Extent) Text(w io.Writer, s Screen) error {
	p := &page{screen: s}
	p.line("%s", p.strong("What "+visible(e.Principal.Name)+" can gain"))
	p.heading("In one step")
	var rows [][]cellInk
	for _, d := range e.Direct {
		rows = append(rows, []cellInk{{d.Text, ""}, {d.Class, ""}, {strconv.Itoa(d.Count), ""}, tierCell(d.TierZero), {d.If, yellow}})
	}
	p.rowsOr([]string{"Right", "Class", "Objects", "In Tier 0", "If"}, rows, "Nothing.")
	p.heading("By any number of steps")
	rows = nil
	for _, c := range e.Gains {
		rows = append(rows, []cellInk{{c.Class, ""}, {strconv.Itoa(c.Certain), ""}, {strconv.Itoa(c.Possible), yellow}, tierCell(c.TierZero)})
	}
	p.rowsOr([]string{"Class", "For certain", "Possible", "In Tier 0"}, rows, "Nothing.")
	switch {
	case e.TierZero == nil && e.Unread+len(e.Missing) > 0:
		p.heading(p.ink(yellow, "Tier 0: "+noWay(e.Unread+len(e.Missing))))
	case e.TierZero == nil:
		p.heading(p.ink(green, "There is no way to Tier 0."))
	default:
		p.heading(p.ink(red, "A way to Tier 0"))
		p.way(*e.TierZero)
	}
	if e.Unread > 0 {
		p.heading(p.ink(yellow, plural(e.Unread, "object's permissions were", "objects' permissions were")+" not read: more may be possible"))
	}
	p.missing(e.Missing)
	return p.flush(w, "what a principal can gain")
}

func tierCell(n int) cellInk {
	if n == 0 {
		return cellInk{"0", gray}
	}
	return cellInk{strconv.Itoa(n), red}
}

// rowsOr writes a table, or a sentence if it has no rows.
func (p *page) rowsOr(head []string, rows [][]cellInk, none string) {
	if len(rows) == 0 {
		p.line("%s", none)
		return
	}
	p.grid(head, rows)
}
