package report

import (
	"fmt"

	"github.com/leastwise/leastwise/internal/control"
)

// mostTurns is how many subjects of one control a text lists; JSON lists all.
const mostTurns = 20

// simulation writes which outcomes of controls are others. The controls themselves come
// first, because one that starts to fail is what people look for.
func (p *page) simulation(s *control.Simulation) {
	if s == nil {
		p.heading("Controls: not evaluated")
		return
	}
	p.heading("Controls")
	fails, unknown := p.tallies(s.Before, s.After)
	p.line("%s, %s", fails, unknown)
	for _, c := range s.Controls {
		p.line("  - %s %s: %s, was %s", p.ink(severityInk(c.Severity), string(c.Severity)), visible(c.ID), p.outcome(c.After), p.outcome(c.Before))
	}
	p.controlTurns(p.ink(red, "Controls newly failing: "+plural(len(s.Failing), "subject", "subjects")), s.Failing)
	p.controlTurns(p.ink(green, "Controls newly passing: "+plural(len(s.Passing), "subject", "subjects")), s.Passing)
	p.controlTurns(p.ink(yellow, "Controls newly unknown: "+plural(len(s.Unknown), "subject", "subjects")), s.Unknown)
}

// tallies puts into words how many outcomes fail and are unknown.
func (p *page) tallies(before, after control.Tally) (fails, unknown string) {
	of := func(was, now int, one, many string) string {
		if was == now {
			return plural(now, one, many) + " as before"
		}
		return plural(now, one, many) + ", before " + thousands(was)
	}
	return of(before.Fail, after.Fail, "failure", "failures"), of(before.Unknown, after.Unknown, "unknown", "unknown")
}

func (p *page) outcome(o control.Outcome) string {
	switch o {
	case control.Fail:
		return p.ink(red, "fails")
	case control.Unknown:
		return p.ink(yellow, "unknown")
	case control.Pass:
		return p.ink(green, "passes")
	}
	return "concerns nothing"
}

// controlTurns lists subjects by control; there is nothing to say if there are none.
func (p *page) controlTurns(title string, list []control.Turn) {
	if len(list) == 0 {
		return
	}
	p.heading(title)
	var rows [][]cellInk
	shown := map[string]int{}
	for _, t := range list {
		if shown[t.Control]++; shown[t.Control] > mostTurns {
			continue
		}
		rows = append(rows, []cellInk{
			{string(t.Severity), severityInk(t.Severity)},
			{visible(t.Control), ""},
			{visible(turnSubject(t)), ""},
			{turnBefore(t), gray},
			{visible(turnText(t)), ""},
		})
	}
	p.grid([]string{"Severity", "Control", "Subject", "Before", "Finding"}, rows)
	told := map[string]bool{}
	for _, t := range list {
		if more := shown[t.Control] - mostTurns; more > 0 && !told[t.Control] {
			told[t.Control] = true
			p.line("  … and %s more of %s; JSON lists all", thousands(more), visible(t.Control))
		}
	}
}

func turnSubject(t control.Turn) string {
	if n := len(t.Subject.Hosts); n > 0 {
		return fmt.Sprintf("%s in %s", plural(n, "computer", "computers"), t.Subject.Name)
	}
	return t.Subject.Name
}

// turnBefore says what the outcome was; a failure that grew failed before, too.
func turnBefore(t control.Turn) string {
	switch {
	case t.Before == t.After:
		return "fail, by less"
	case t.Before == control.NotConcerned:
		return "not concerned"
	}
	return string(t.Before)
}

// turnText says what is so now, or of what passes what was.
func turnText(t control.Turn) string {
	text := t.Detail
	if text == "" {
		text = t.Title
	}
	switch {
	case t.After == control.Pass:
		text = "no longer: " + text
	case t.After == control.NotConcerned:
		text = "no longer concerned: " + text
	case t.Exception != nil:
		text = "accepted until " + t.Exception.Expires.Format("2006-01-02") + ": " + text
	}
	return text
}
