package report

import (
	"fmt"
	"io"
	"strconv"

	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// WhatIf is what changes would bring about, in a form for reading and for JSON. Make
// one with NewWhatIf.
type WhatIf struct {
	Version  int             `json:"version"` // 1; grows when a field changes its meaning or goes away
	Target   string          `json:"target"`  // as asked for: a zone or an object
	Changes  []string        `json:"changes"` // in the words of the command line
	Goals    []control.Place `json:"goals"`
	Closed   []WhatIfTurn    `json:"closed"`    // who could gain the target and now cannot, or only might
	Opened   []WhatIfTurn    `json:"opened"`    // the other way round
	Lost     []WhatIfRight   `json:"lost"`      // rights and memberships that go away
	Gained   []WhatIfRight   `json:"gained"`    // that are new
	LockOuts []WhatIfLockOut `json:"lock_outs"` // what nobody could administer any longer
	Stamps   []WhatIfStamp   `json:"stamps"`    // what AdminSDHolder does about the changes within the hour
	Objects  int             `json:"objects"`   // whose permissions would be others
	Unread   int             `json:"unread"`    // that inherit from those, and whose own permissions were not read
	Missing  []string        `json:"missing"`   // what else the snapshot lacks that may hold further ways, before and after

	// Controls says which outcomes of controls are others; nil if they were not evaluated.
	Controls *control.Simulation `json:"controls"`
}

// A WhatIfTurn is a principal whose standing towards the target changes.
type WhatIfTurn struct {
	Principal control.Place `json:"principal"`
	Before    string        `json:"before"` // no, possible, certain
	After     string        `json:"after"`
}

// A WhatIfRight is a right that somebody has directly.
type WhatIfRight struct {
	Principal control.Place `json:"principal"`
	Kind      string        `json:"kind"`
	Text      string        `json:"text"`
	Object    control.Place `json:"object"`
	If        string        `json:"if,omitempty"`
}

// A WhatIfLockOut is something that nobody could administer any longer.
type WhatIfLockOut struct {
	Object control.Place `json:"object"`
	Others int           `json:"others"` // objects that share its permissions and its fate
	Why    string        `json:"why"`
	Unsure string        `json:"unsure,omitempty"` // why somebody may be left nevertheless
}

// A WhatIfStamp is an object whose permissions AdminSDHolder replaces within the hour.
type WhatIfStamp struct {
	Object control.Place `json:"object"`
	Holder control.Place `json:"holder"`           // AdminSDHolder of its domain
	Kind   string        `json:"kind"`             // put back, handed on, covered
	Unsure string        `json:"unsure,omitempty"` // why it may not happen
}

// NewWhatIf puts an outcome into words. s is the snapshot before the changes.
func NewWhatIf(s *forest.Snapshot, target string, changes []string, o *reach.Outcome) *WhatIf {
	n := whatIfNames{control.WayNames{Snapshot: s}}
	out := &WhatIf{
		Version: 1, Target: target, Changes: changes, Goals: []control.Place{}, Objects: o.Changed, Unread: o.Unread,
		Closed: n.turns(o.Closed), Opened: n.turns(o.Opened), Lost: []WhatIfRight{}, Gained: []WhatIfRight{}, LockOuts: []WhatIfLockOut{}, Stamps: []WhatIfStamp{},
		Missing: Missing(s),
	}
	for _, id := range o.Goals {
		out.Goals = append(out.Goals, n.Object(id))
	}
	for _, r := range o.Rights {
		right := WhatIfRight{n.trustee(r.Who), r.Kind.String(), r.Kind.Info().Text, n.Object(r.Object), r.If}
		if r.Lost {
			out.Lost = append(out.Lost, right)
		} else {
			out.Gained = append(out.Gained, right)
		}
	}
	for _, l := range o.LockOuts {
		out.LockOuts = append(out.LockOuts, WhatIfLockOut{n.Object(l.Object), l.Others, l.Why, l.Unsure})
	}
	for _, x := range o.Stamps {
		out.Stamps = append(out.Stamps, WhatIfStamp{n.Object(x.Object), n.Object(x.Holder), string(x.Kind), x.Unsure})
	}
	return out
}

// whatIfNames finds the words for principals.
type whatIfNames struct{ control.WayNames }

func (n whatIfNames) turns(list []reach.Turn) []WhatIfTurn {
	out := []WhatIfTurn{}
	for _, t := range list {
		who := n.trustee(t.SID)
		if t.ID != forest.None {
			who = n.Object(t.ID)
		}
		out = append(out, WhatIfTurn{who, string(t.Before), string(t.After)})
	}
	return out
}

// trustee names whoever has a SID.
func (n whatIfNames) trustee(sid secdesc.SID) control.Place {
	if id := n.Snapshot.BySID(sid); id != forest.None {
		return n.Object(id)
	}
	return n.Identity(sid)
}

// JSON writes the answer as indented JSON.
func (r *WhatIf) JSON(w io.Writer) error {
	if err := writeJSON(w, r); err != nil {
		return fmt.Errorf("writing the simulation as JSON: %w", err)
	}
	return nil
}

// Text writes the answer for reading in a terminal.
func (r *WhatIf) Text(w io.Writer, s Screen) error {
	p := &page{screen: s}
	p.line("%s", p.strong("What would change for "+visible(r.Target)))
	for _, c := range r.Changes {
		p.line("  %s", visible(c))
	}
	if len(r.Goals) == 0 {
		p.line("%s", p.ink(yellow, nothingOf(r.Target)))
	}
	if r.Objects > 0 {
		p.line("%s would have other permissions", plural(r.Objects, "object", "objects"))
	}
	p.lockOuts(r.LockOuts)
	p.stamps(r.Stamps)
	p.turns(p.ink(green, "Closed: "+plural(len(r.Closed), "principal", "principals")), r.Closed)
	p.turns(p.ink(red, "Opened: "+plural(len(r.Opened), "principal", "principals")), r.Opened)
	p.whatIfRights("Rights lost", r.Lost)
	p.whatIfRights("Rights gained", r.Gained)
	p.simulation(r.Controls)
	if r.Unread > 0 {
		p.heading(p.ink(yellow, plural(r.Unread, "object inherits", "objects inherit")+" from what changes and could not be read: "+strconv.Itoa(r.Unread)+" may change otherwise"))
	}
	p.missing(r.Missing)
	return p.flush(w, "the simulation")
}

func (p *page) turns(title string, list []WhatIfTurn) {
	p.heading(title)
	var rows [][]cellInk
	for _, t := range list {
		rows = append(rows, []cellInk{{visible(t.Principal.Name), ""}, {visible(t.Principal.Class), gray}, {t.Before, ""}, {t.After, ""}})
	}
	p.rowsOr([]string{"Principal", "Class", "Before", "After"}, rows, "None.")
}

func (p *page) whatIfRights(title string, list []WhatIfRight) {
	if len(list) == 0 {
		return
	}
	p.heading(title)
	var rows [][]cellInk
	for _, t := range list {
		rows = append(rows, []cellInk{{visible(t.Principal.Name), ""}, {t.Text, ""}, {visible(t.Object.Name), ""}, {t.If, yellow}})
	}
	p.rowsOr([]string{"Principal", "Right", "Object", "If"}, rows, "None.")
}

// mostListed is how many lock-outs, and objects that AdminSDHolder stamps, a text lists;
// JSON lists all.
const mostListed = 20

func (p *page) lockOuts(list []WhatIfLockOut) {
	if len(list) > 0 {
		p.heading(p.ink(red, "Lock-outs"))
	}
	for i, l := range list {
		if i == mostListed {
			p.line("  … and %s more; JSON lists all", thousands(len(list)-i))
			break
		}
		others := ""
		if l.Others > 0 {
			others = " and " + plural(l.Others, "object", "objects") + " with the same permissions"
		}
		p.line("  - %s%s: %s", visible(l.Object.Label()), others, l.Why)
		if l.Unsure != "" {
			p.line("    %s", p.ink(yellow, "not certain: "+visible(l.Unsure)))
		}
	}
}

// stampWords says what each kind of stamp means.
var stampWords = map[string]string{
	string(reach.PutBack):  "AdminSDHolder puts the permissions back within the hour; change AdminSDHolder instead",
	string(reach.HandedOn): "gets what AdminSDHolder has within the hour; counted here already",
	string(reach.Covered):  "comes under AdminSDHolder, which replaces its permissions within the hour; not counted here",
}

func (p *page) stamps(list []WhatIfStamp) {
	if len(list) > 0 {
		p.heading(p.ink(yellow, "AdminSDHolder"))
	}
	for i, x := range list {
		if i == mostListed {
			p.line("  … and %s more; JSON lists all", thousands(len(list)-i))
			break
		}
		p.line("  - %s: %s", visible(x.Object.Label()), stampWords[x.Kind])
		if x.Unsure != "" {
			p.line("    %s", p.ink(yellow, "not certain: "+visible(x.Unsure)))
		}
	}
}
