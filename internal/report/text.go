package report

import (
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"

	"github.com/leastwise/leastwise/internal/control"
)

// Text writes the assessment for reading in a terminal: what could not be read,
// outcomes, pass rate by section, privileged groups, effective control, findings,
// exceptions.
func Text(w io.Writer, a *control.Assessment, s Screen) error { return TextWith(w, a, nil, s) }

// TextWith is Text with the assessment of Configuration Manager at its end, if there is
// one.
func TextWith(w io.Writer, a *control.Assessment, c *ConfigMgr, s Screen) error {
	p := &page{screen: s}
	p.assessmentHead(a)
	p.coverage(a)
	p.sections(a)
	p.population(a)
	p.controlOverview(a)
	p.findings(a.Findings)
	p.exceptions(a)
	if c != nil {
		p.b.WriteByte('\n')
		p.configMgr(c)
	}
	return p.flush(w, "assessment")
}

func (p *page) assessmentHead(a *control.Assessment) {
	r, s := a.Run, a.Summary
	p.line("%s", p.strong("Least-privilege assessment of "+forestName(a)))
	source := visible(r.Source)
	if r.Reader != "" {
		source += " by " + visible(r.Reader)
	}
	if len(r.Servers) > 0 {
		source += " of " + strings.Join(visibleAll(r.Servers), ", ")
	}
	p.line("%s, %s, run %s", stamp(r.Started), source, r.ID)
	p.b.WriteByte('\n')
	p.line("%s   %s   %s   %s", p.ink(red, plural(s.Fail, "failure", "failures")), p.ink(yellow, thousands(s.Unknown)+" unknown"),
		p.ink(green, thousands(s.Pass)+" passed"), thousands(s.Excepted)+" accepted by exception")
	var parts []string
	for _, sev := range severities() {
		parts = append(parts, p.ink(severityInk(sev), fmt.Sprintf("%d %s", s.BySeverity[sev], sev)))
	}
	p.line("Failures by severity: %s", strings.Join(parts, ", "))
}

func severityInk(s control.Severity) string {
	switch s {
	case control.Critical, control.High:
		return red
	case control.Medium:
		return yellow
	default:
		return blue
	}
}

func (p *page) coverage(a *control.Assessment) {
	var rows [][]cellInk
	for _, c := range a.Run.Coverage {
		if !c.Complete() {
			rows = append(rows, append([]cellInk{{visible(c.State), yellow}}, plain(visible(string(c.Area)), visible(c.Subject), strconv.Itoa(c.Count), visible(c.Reason))...))
		}
	}
	if len(rows) == 0 {
		p.heading("Coverage: everything that was asked for was read.")
		return
	}
	p.heading(p.ink(yellow, "Not everything could be read: "+plural(len(rows), "gap", "gaps")+". Numbers below may be too small."))
	p.grid([]string{"State", "Area", "Subject", "Count", "Why"}, rows)
}

func (p *page) sections(a *control.Assessment) {
	p.heading("Pass rate by section of the guide (unknown not counted)")
	var rows [][]cellInk
	for _, name := range sectionNames(a) {
		t := a.Summary.BySection[name]
		rows = append(rows, append(plain(visible(name), passRate(t)),
			cellInk{strconv.Itoa(t.Pass), ""}, cellInk{strconv.Itoa(t.Fail), inkIf(t.Fail > 0, red)}, cellInk{strconv.Itoa(t.Unknown), inkIf(t.Unknown > 0, yellow)}))
	}
	p.grid([]string{"Section", "Rate", "Pass", "Fail", "Unknown"}, rows)
}

func inkIf(cond bool, color string) string {
	if cond {
		return color
	}
	return ""
}

// passRate is pass out of pass and fail, or "undecided" if there is neither.
func passRate(t control.Tally) string {
	if t.Pass+t.Fail == 0 {
		return "undecided"
	}
	return strconv.Itoa(percent(t.Pass, t.Pass+t.Fail)) + " %"
}

// percent rounds towards the middle, so that 100 means all and 0 means none.
func percent(part, whole int) int {
	if whole == 0 {
		return 0
	}
	n := (part*200 + whole) / (2 * whole)
	if n == 100 && part < whole {
		return 99
	}
	if n == 0 && part > 0 {
		return 1
	}
	return n
}

func sectionNames(a *control.Assessment) []string {
	var names []string
	for name := range a.Summary.BySection {
		names = append(names, name)
	}
	sort.Slice(names, func(i, j int) bool { return sectionOrder(names[i]) < sectionOrder(names[j]) })
	return names
}

// sectionOrder puts the sections of the guide's body before its appendices.
func sectionOrder(name string) string {
	if strings.HasPrefix(strings.ToLower(name), "app") {
		return "1" + name
	}
	return "0" + name
}

func (p *page) population(a *control.Assessment) {
	p.heading("Members of privileged groups")
	var rows [][]cellInk
	unknown := false
	for _, g := range a.Population {
		effective := strconv.Itoa(g.Effective)
		if len(g.Unknown) > 0 {
			effective, unknown = "≥ "+effective, true
		}
		rows = append(rows, plain(visible(g.Group), visible(g.Domain), strconv.Itoa(g.Direct), effective, strconv.Itoa(g.Standing), strconv.Itoa(g.Temporary)))
	}
	p.grid([]string{"Group", "Domain", "Direct", "Effective", "Standing", "Temporary"}, rows)
	if unknown {
		for _, g := range a.Population {
			for _, u := range g.Unknown {
				p.line("≥ %s: %s", visible(g.Group), visible(u))
			}
		}
	}
}

func (p *page) findings(all []control.Finding) {
	p.heading("Findings")
	show := all
	if n := p.screen.Findings; n > 0 && len(show) > n {
		show = show[:n]
	}
	if len(all) == 0 {
		p.line("None.")
		return
	}
	var rows [][]cellInk
	for _, f := range show {
		rows = append(rows, append([]cellInk{{string(f.Severity), severityInk(f.Severity)}, {findingState(f), inkIf(f.Outcome == control.Unknown, yellow)}},
			plain(f.Control, visible(f.Section), visible(f.Subject.Name), visible(f.Detail))...))
	}
	p.grid([]string{"Severity", "Outcome", "Control", "Section", "Subject", "Finding"}, rows)
	if len(show) < len(all) {
		p.line("%d of %d findings listed; the JSON output has all.", len(show), len(all))
	}
	if p.screen.Evidence {
		for _, f := range show {
			p.finding(f)
		}
	}
}

// findingState is the outcome, or "excepted" for an accepted failure.
func findingState(f control.Finding) string {
	if f.Exception != nil {
		return "excepted"
	}
	return string(f.Outcome)
}

func (p *page) finding(f control.Finding) {
	p.heading(fmt.Sprintf("%s  %s: %s", f.Control, visible(f.Title), visible(f.Subject.Name)))
	p.line("  %s, %s, %s  %s", p.ink(severityInk(f.Severity), string(f.Severity)), findingState(f), visible(f.Section), p.ink(gray, visible(f.Subject.DN)))
	p.line("  %s", visible(f.Detail))
	for _, e := range f.Evidence {
		p.line("  - %s", visible(e.Text))
		for _, d := range evidenceFacts(e) {
			p.line("      %s: %s", d.Name, d.Value)
		}
	}
	for _, m := range f.Missing {
		p.line("  %s %s", p.ink(yellow, "missing:"), visible(m))
	}
	if x := f.Exception; x != nil {
		p.line("  accepted by %s until %s: %s", visible(x.Owner), lastDay(x.Expires), visible(x.Reason))
	}
	p.line("  Fix: %s", visible(f.Fix.Text))
	for _, c := range f.Fix.Changes {
		p.line("    > %s", visible(c))
	}
	if f.Verify != "" {
		p.line("  Verify: %s", visible(f.Verify))
	}
}

// A fact is a named detail of evidence, made visible.
type fact struct {
	Name  string
	Value string
	Code  bool // set in a fixed-width face
}

// evidenceFacts lists what evidence says beyond its text.
func evidenceFacts(e control.Evidence) []fact {
	var out []fact
	add := func(name, value string, code bool) {
		if value != "" {
			out = append(out, fact{name, clip(visible(value), 2000), code})
		}
	}
	add("object", e.DN, true)
	if e.Attr != "" {
		add("attribute", e.Attr+" = "+orDash(e.Value), true)
	} else {
		add("value", e.Value, true)
	}
	if a := e.ACE; a != nil {
		add("ACE", a.SDDL, true)
		where := fmt.Sprintf("entry %d of the %s, trustee %s", a.Index, strings.ToUpper(a.List), a.Trustee)
		if a.Inherited != "" {
			where += ", inherited from " + a.Inherited
		}
		add("position", where, false)
	}
	add("policy", e.Policy, false)
	if e.File != "" {
		where := e.File
		if e.Line > 0 {
			where += ", line " + strconv.Itoa(e.Line)
		}
		add("file", where, true)
	}
	add("chain", strings.Join(visibleAll(e.Chain), " → "), false)
	add("to remove", e.Remove, false)
	if c := e.Changed; c != nil {
		add("last change", fmt.Sprintf("%s on %s, version %d", stamp(c.Time), orDash(c.Server), c.Version), false)
	}
	return out
}

func (p *page) exceptions(a *control.Assessment) {
	if len(a.Exceptions) == 0 {
		return
	}
	p.heading("Exceptions")
	var rows [][]cellInk
	for _, x := range a.Exceptions {
		rows = append(rows, append([]cellInk{{x.State, inkIf(x.State != "used", yellow)}}, plain(x.Control, visible(x.Subject), visible(x.Owner), lastDay(x.Expires), strconv.Itoa(x.Matches), visible(x.Reason))...))
	}
	p.grid([]string{"State", "Control", "Subject", "Owner", "Expires", "Matches", "Reason"}, rows)
	for _, x := range a.Exceptions {
		if x.Why != "" {
			p.line("%s for %s matches nothing: %s.", visible(x.Control), visible(x.Subject), visible(x.Why))
		}
	}
}

// forestName is the DNS name of the first domain, which is the forest root.
func forestName(a *control.Assessment) string {
	if len(a.Run.Domains) == 0 {
		return "an unnamed forest"
	}
	return visible(a.Run.Domains[0].DNS)
}
