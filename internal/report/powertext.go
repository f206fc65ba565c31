package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/leastwise/leastwise/internal/control"
)

// Text writes the answer for reading in a terminal.
func (p *Power) Text(w io.Writer, s Screen) error {
	g := &page{screen: s}
	if p.From != nil {
		g.explain(p)
	} else {
		g.whoCan(p)
	}
	if len(p.Unread) > 0 {
		g.heading(g.ink(yellow, plural(len(p.Unread), "object was", "objects were")+" not read: more may be possible"))
		for _, u := range p.Unread {
			g.line("  - %s", visible(u.Label()))
		}
	}
	g.missing(p.Missing)
	return g.flush(w, "the paths")
}

func (g *page) whoCan(p *Power) {
	g.line("%s", g.strong("Who can gain "+visible(p.Target)))
	if len(p.Goals) == 0 {
		g.line("%s", g.ink(yellow, nothingOf(p.Target)))
		return
	}
	g.line("%s for certain, %s under conditions", plural(len(p.Certain), "principal", "principals"), strconv.Itoa(len(p.Possible)))
	for _, part := range []struct {
		title string
		ways  []control.Way
	}{{"For certain", p.Certain}, {"Possible, if a condition holds", p.Possible}} {
		if len(part.ways) == 0 {
			continue
		}
		g.heading(part.title)
		if p.Paths {
			for _, way := range part.ways {
				g.way(way)
			}
			continue
		}
		var rows [][]cellInk
		for _, way := range part.ways {
			first := way.Steps[0]
			rows = append(rows, []cellInk{
				{visible(way.Principal.Name), ""},
				{kindOf(way.Principal), gray},
				{strconv.Itoa(len(way.Steps)), ""},
				{first.Text + " " + visible(first.To.Name), ""},
				{strings.Join(conditions(way.Steps), "; "), yellow},
			})
		}
		g.grid([]string{"Principal", "Class", "Steps", "First step", "If"}, rows)
	}
}

// kindOf is the class of a principal, and whether it is disabled.
func kindOf(p control.Place) string {
	if p.Disabled {
		return visible(p.Class) + ", disabled"
	}
	return visible(p.Class)
}

// conditions lists what must hold for steps.
func conditions(steps []control.WayStep) []string {
	var out []string
	for _, st := range steps {
		if st.If != "" {
			out = append(out, st.If)
		}
		for _, f := range st.First {
			out = append(out, conditions(f)...)
		}
	}
	return out
}

func (g *page) explain(p *Power) {
	g.line("%s", g.strong("How "+visible(p.From.Name)+" can gain "+visible(p.Target)))
	if len(p.Goals) == 0 {
		g.line("%s", g.ink(yellow, nothingOf(p.Target)))
		return
	}
	if len(p.Certain)+len(p.Possible) == 0 {
		g.line("%s", noWay(len(p.Unread)+len(p.Missing)))
		return
	}
	for _, way := range p.Certain {
		g.way(way)
	}
	for _, way := range p.Possible {
		g.way(way)
	}
}

// nothingOf says that there is no target, which is not the same as no way to it.
func nothingOf(target string) string {
	return "Nothing of " + visible(target) + " was found in what was read."
}

// noWay says that none was found, and no more than that where something is not read.
func noWay(unread int) string {
	if unread > 0 {
		return "No way was found in what was read."
	}
	return "There is no way."
}

func (g *page) way(way control.Way) {
	title := visible(way.Principal.Name)
	if way.Principal.Disabled {
		title += g.ink(gray, " (disabled)")
	}
	if c := conditions(way.Steps); len(c) > 0 {
		title += g.ink(yellow, " (possible, if "+strings.Join(c, " and ")+")")
	}
	g.heading(title)
	if len(way.Steps) == 0 {
		g.line("  is the goal itself")
	}
	g.steps(way.Steps, "  ")
}

func (g *page) steps(steps []control.WayStep, indent string) {
	for i, st := range steps {
		for _, f := range st.First {
			g.line("%sfirst:", indent)
			g.steps(f, indent+"    ")
		}
		g.line("%s%d. %s %s %s", indent, i+1, visible(st.From.Label()), g.strong(st.Text), visible(st.To.Label()))
		for _, e := range st.Evidence {
			g.line("%s   %s", indent, g.ink(gray, evidenceWords(e)))
		}
		if st.If != "" {
			g.line("%s   %s", indent, g.ink(yellow, "if "+st.If))
		}
		if st.Remove != "" {
			g.line("%s   to remove: %s", indent, visible(st.Remove))
		}
	}
}

// evidenceWords puts the evidence of a step into words.
func evidenceWords(e control.StepEvidence) string {
	var b strings.Builder
	if e.Entry != nil {
		fmt.Fprintf(&b, "entry %d of %s: %s", *e.Entry, visible(e.Object), visible(e.SDDL))
		if e.InheritedFrom != "" {
			b.WriteString(", inherited from " + visible(e.InheritedFrom))
		}
	} else if e.Object != "" {
		b.WriteString(visible(e.Object))
	}
	if e.Detail != "" {
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(visible(e.Detail))
	}
	return b.String()
}
