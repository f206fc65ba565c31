package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/control"
)

// A Difference is what changed between two assessments, in a form for reading
// and for JSON. Make one with NewDifference.
type Difference struct {
	Version    int              `json:"version"` // 1; grows when a field changes its meaning or goes away
	Old        DifferenceRun    `json:"old"`
	New        DifferenceRun    `json:"new"`
	Added      []DifferenceItem `json:"added"`      // findings that the old assessment did not have
	Gone       []DifferenceItem `json:"gone"`       // findings that the new one no longer has
	Changed    []DifferenceItem `json:"changed"`    // in both, with another outcome, extent or exception
	Population []PopulationStep `json:"population"` // privileged groups whose numbers changed
	LostSight  []string         `json:"lost_sight"` // what the old reading covered and the new one did not: "gone" may be blindness
}

// DifferenceRun names one of the two assessments.
type DifferenceRun struct {
	ID      string    `json:"id"`
	Started time.Time `json:"started"`
	Fail    int       `json:"fail"`
	Unknown int       `json:"unknown"`
	Pass    int       `json:"pass"`
}

// DifferenceItem is one finding and what happened to it.
type DifferenceItem struct {
	Key      string           `json:"key"`
	Control  string           `json:"control"`
	Title    string           `json:"title"`
	Severity control.Severity `json:"severity"`
	Subject  control.Subject  `json:"subject"`
	From     string           `json:"from"` // fail, unknown, excepted; "" if there was no finding
	To       string           `json:"to"`   // the same; "" if there is no finding
	Detail   string           `json:"detail"`
	Grown    bool             `json:"grown,omitempty"` // for changed: fails now for more than before
	What     []string         `json:"what,omitempty"`  // for changed: each difference in words
}

// PopulationStep is the change of one privileged group.
type PopulationStep struct {
	Group   string   `json:"group"`
	Domain  string   `json:"domain"`
	Before  int      `json:"before"` // effective members
	After   int      `json:"after"`
	Joined  []string `json:"joined"`
	Left    []string `json:"left"`
	Certain bool     `json:"certain"` // false: one of the readings was incomplete
}

// NewDifference describes how the second assessment differs from the first, of
// which delta is the difference by control.Diff.
func NewDifference(before, after *control.Assessment, delta control.Delta) *Difference {
	d := &Difference{
		Version: 1, Old: differenceRun(before), New: differenceRun(after),
		Added: []DifferenceItem{}, Gone: []DifferenceItem{}, Changed: []DifferenceItem{},
		Population: populationSteps(before, after), LostSight: control.LostSight(before.Run.Coverage, after.Run.Coverage),
	}
	for _, f := range delta.New {
		d.Added = append(d.Added, differenceItem(f, "", findingState(f)))
	}
	for _, f := range delta.Fixed {
		d.Gone = append(d.Gone, differenceItem(f, findingState(f), ""))
	}
	for _, p := range delta.Changed {
		item := differenceItem(p.New, findingState(p.Old), findingState(p.New))
		item.Grown, item.What = p.Grown(), changesInWords(p)
		d.Changed = append(d.Changed, item)
	}
	return d
}

// JSON writes the difference as indented JSON.
func (d *Difference) JSON(w io.Writer) error {
	if err := writeJSON(w, d); err != nil {
		return fmt.Errorf("writing difference as JSON: %w", err)
	}
	return nil
}

func differenceRun(a *control.Assessment) DifferenceRun {
	return DifferenceRun{a.Run.ID, a.Run.Started, a.Summary.Fail, a.Summary.Unknown, a.Summary.Pass}
}

func differenceItem(f control.Finding, from, to string) DifferenceItem {
	return DifferenceItem{Key: Key(f), Control: f.Control, Title: f.Title, Severity: f.Severity, Subject: f.Subject, From: from, To: to, Detail: f.Detail}
}

// changesInWords lists how two findings of one subject differ.
func changesInWords(p control.FindingChange) []string {
	var out []string
	if from, to := findingState(p.Old), findingState(p.New); from != to {
		out = append(out, from+" → "+to)
	}
	if p.Old.Severity != p.New.Severity {
		out = append(out, fmt.Sprintf("severity %s → %s", p.Old.Severity, p.New.Severity))
	}
	for _, l := range []struct {
		what     string
		old, new []string
	}{
		{"computer", p.Old.Subject.Hosts, p.New.Subject.Hosts},
		{"missing evidence", p.Old.Missing, p.New.Missing},
		{"change to make", p.Old.Fix.Changes, p.New.Fix.Changes},
	} {
		more, less := without(l.new, l.old), without(l.old, l.new)
		for _, s := range more {
			out = append(out, "+ "+l.what+": "+s)
		}
		for _, s := range less {
			out = append(out, "- "+l.what+": "+s)
		}
	}
	if x, y := p.Old.Exception, p.New.Exception; x != nil && y != nil && *x != *y {
		out = append(out, fmt.Sprintf("exception of %s until %s → of %s until %s", x.Owner, lastDay(x.Expires), y.Owner, lastDay(y.Expires)))
	}
	if more, fewer := p.Offenders(); len(out) == 0 && more+fewer > 0 {
		out = append(out, fmt.Sprintf("%d more and %d fewer that it is about", more, fewer))
	}
	if len(out) == 0 {
		out = append(out, "other evidence")
	}
	return out
}

// without returns the strings of a that b does not hold, in the order of a.
func without(a, b []string) []string {
	in := make(map[string]bool, len(b))
	for _, s := range b {
		in[s] = true
	}
	var out []string
	for _, s := range a {
		if !in[s] {
			out = append(out, s)
		}
	}
	return out
}

// populationSteps compares the privileged groups by domain and name.
func populationSteps(before, after *control.Assessment) []PopulationStep {
	out := []PopulationStep{}
	old := map[string]control.Population{}
	for _, p := range before.Population {
		old[groupKey(p)] = p
	}
	step := func(b, a control.Population) {
		s := PopulationStep{
			Group: a.Group, Domain: a.Domain, Before: b.Effective, After: a.Effective,
			Certain: len(b.Unknown) == 0 && len(a.Unknown) == 0,
		}
		s.Joined, s.Left = list(missingMembers(a, b)), list(missingMembers(b, a))
		if s.Before != s.After || len(s.Joined)+len(s.Left) > 0 {
			out = append(out, s)
		}
	}
	for _, p := range after.Population {
		was, seen := old[groupKey(p)]
		if !seen {
			was.Unknown = []string{"the group was not seen"}
		}
		step(was, p)
		delete(old, groupKey(p))
	}
	for _, p := range before.Population {
		if _, only := old[groupKey(p)]; only {
			step(p, control.Population{Group: p.Group, Domain: p.Domain, Unknown: []string{"the group was not seen"}})
		}
	}
	return out
}

func groupKey(p control.Population) string {
	return p.SID + "\x00" + strings.ToLower(p.Domain)
}

// missingMembers returns the names of the members of p that q does not have.
func missingMembers(p, q control.Population) []string {
	in := make(map[string]bool, len(q.Members))
	for _, m := range q.Members {
		in[memberKey(m)] = true
	}
	var out []string
	for _, m := range p.Members {
		if !in[memberKey(m)] {
			out = append(out, m.Name)
		}
	}
	return out
}

func memberKey(m control.Member) string {
	if m.SID != "" {
		return m.SID
	}
	return strings.ToLower(m.DN)
}

// Text writes the difference for reading in a terminal.
func (d *Difference) Text(w io.Writer, s Screen) error {
	p := &page{screen: s}
	p.line("%s", p.strong("What changed between two assessments"))
	p.line("old  %s  run %s: %d failed, %d unknown, %d passed", stamp(d.Old.Started), d.Old.ID, d.Old.Fail, d.Old.Unknown, d.Old.Pass)
	p.line("new  %s  run %s: %d failed, %d unknown, %d passed", stamp(d.New.Started), d.New.ID, d.New.Fail, d.New.Unknown, d.New.Pass)
	if len(d.LostSight) > 0 {
		p.heading(p.ink(yellow, "The new reading covers less. What seems gone may only be unseen:"))
		for _, l := range d.LostSight {
			p.line("  - %s", visible(l))
		}
	}
	p.differences("New findings", d.Added, red)
	p.differences("Gone findings", d.Gone, green)
	p.differences("Changed findings", d.Changed, yellow)
	p.populationSteps(d.Population)
	return p.flush(w, "difference")
}

func (p *page) differences(title string, items []DifferenceItem, color string) {
	if len(items) == 0 {
		p.heading(title + ": none")
		return
	}
	p.heading(p.ink(color, fmt.Sprintf("%s: %d", title, len(items))))
	var rows [][]cellInk
	for _, i := range items {
		what := i.Detail
		if len(i.What) > 0 {
			what = strings.Join(i.What, "; ")
		}
		step := orDash(i.From) + " → " + orDash(i.To)
		rows = append(rows, []cellInk{{string(i.Severity), severityInk(i.Severity)}, {step, ""}, {i.Control, ""}, {visible(i.Subject.Name), ""}, {visible(what), ""}})
	}
	p.grid([]string{"Severity", "Outcome", "Control", "Subject", "What"}, rows)
}

func (p *page) populationSteps(steps []PopulationStep) {
	if len(steps) == 0 {
		p.heading("Members of privileged groups: no change")
		return
	}
	p.heading("Members of privileged groups")
	for _, s := range steps {
		sure := ""
		if !s.Certain {
			sure = p.ink(yellow, " (not certain: a reading was incomplete)")
		}
		p.line("  %s (%s): %s → %s%s", visible(s.Group), visible(s.Domain), thousands(s.Before), thousands(s.After), sure)
		for _, group := range []struct {
			sign, color string
			names       []string
		}{{"+", red, s.Joined}, {"-", green, s.Left}} {
			for i, n := range group.names {
				if i == maxItems {
					p.line("      %s … and %s more; the JSON output has all", group.sign, thousands(len(group.names)-i))
					break
				}
				p.line("      %s", p.ink(group.color, group.sign+" "+clip(visible(n), maxName)))
			}
		}
	}
}
