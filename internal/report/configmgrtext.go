package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/leastwise/leastwise/internal/configmgr/judge"
)

// Text writes the assessment for reading in a terminal.
func (c *ConfigMgr) Text(w io.Writer, s Screen) error {
	g := &page{screen: s}
	g.configMgr(c)
	return g.flush(w, "the assessment of Configuration Manager")
}

func (p *page) configMgr(c *ConfigMgr) {
	p.line("%s", p.strong("Configuration Manager: assessment of "+hierarchyName(c.Hierarchy, c.counts)))
	if len(c.Sites) == 0 {
		p.line("%s", p.ink(yellow, noSites(c)))
		return
	}
	t := c.Summary
	p.line("%s   %s   %s   %d not applicable", p.ink(red, plural(t.Fail, "failed control", "failed controls")), p.ink(yellow, thousands(t.Unknown)+" unknown"), p.ink(green, thousands(t.Pass)+" passed"), t.NotApplicable)
	var parts []string
	for _, s := range slotSeverities() {
		if n := t.Severity[s]; n > 0 {
			parts = append(parts, p.ink(slotSeverityInk(s), strconv.Itoa(n)+" "+s))
		}
	}
	if len(parts) > 0 {
		p.line("Failures by severity: %s", strings.Join(parts, ", "))
	}
	if c.DirectoryOnly {
		p.line("%s", p.ink(yellow, directoryAlone))
	}
	p.readings(c.Readings)
	p.siteOutcomes(c)
	p.slotFailures(c)
	p.slotGaps(c.Gaps)
	p.accountsOf("Accounts in Tier 0", c.Accounts, func(a SlotAccount) bool { return a.Tier0 })
	p.accountsOf("Accounts in more than one slot", c.Accounts, SlotAccount.shared)
	p.separations(c.Separations)
	if len(c.Drift) > 0 {
		p.drift(c.Drift)
	}
}

// directoryAlone says what an assessment without documents can tell.
const directoryAlone = "Judged from the directory alone: it does not tell who fills the slots. Give --document FILE to judge them (leastwise configmgr init)."

// noSites says why there is nothing to judge.
func noSites(c *ConfigMgr) string {
	if c.SystemManagement {
		return "A System Management container is there, but no site has published to it. Nothing was judged; name the sites in a document (leastwise configmgr init)."
	}
	return "No site is known: no document names one, and the directory shows none. Nothing was judged."
}

// shared says whether an account fills more than one slot.
func (a SlotAccount) shared() bool {
	for _, s := range a.Slots {
		if s.Entry != a.Slots[0].Entry {
			return true
		}
	}
	return false
}

func (p *page) siteOutcomes(c *ConfigMgr) {
	p.heading("By site")
	var rows [][]cellInk
	for i, s := range c.Sites {
		filled := ""
		if i < len(c.counts) && strings.EqualFold(c.counts[i].Code, s.Code) {
			filled = fmt.Sprintf("%d filled, %d unknown", c.counts[i].Count.Filled, c.counts[i].Count.Unknown)
		}
		t := s.Summary
		rows = append(rows, []cellInk{
			{visible(s.Code), ""},
			{visible(orDash(s.Name)), ""},
			{visible(orDash(s.Release)), ""},
			{filled, ""},
			{strconv.Itoa(t.Fail), inkIf(t.Fail > 0, red)},
			{strconv.Itoa(t.Unknown), inkIf(t.Unknown > 0, yellow)},
			{strconv.Itoa(t.Pass), ""},
			{strconv.Itoa(t.NotApplicable), gray},
		})
	}
	p.grid([]string{"Site", "Name", "Release", "Slots", "Fail", "Unknown", "Pass", "Not applicable"}, rows)
}

func (p *page) slotFailures(c *ConfigMgr) {
	all := c.Failures()
	if len(all) == 0 {
		p.heading("Nothing failed.")
		return
	}
	p.heading("Failures")
	var rows [][]cellInk
	for _, f := range all {
		rows = append(rows, append([]cellInk{{f.Outcome.Severity, slotSeverityInk(f.Outcome.Severity)}}, plain(f.Outcome.ID, visible(f.Site), visible(subjectOf(f.Instance.Subject)), f.Outcome.Title)...))
	}
	p.grid([]string{"Severity", "Control", "Site", "Subject", "Should be"}, rows)
	if p.screen.Evidence {
		for _, f := range all {
			p.slotFailure(f)
		}
		return
	}
	p.line("--evidence shows what each was decided by, and the remedy.")
}

func (p *page) slotFailure(f SlotFailure) {
	p.heading(fmt.Sprintf("%s  %s: %s at %s", f.Outcome.ID, f.Outcome.Title, visible(subjectOf(f.Instance.Subject)), visible(f.Site)))
	p.line("  %s", p.ink(slotSeverityInk(f.Outcome.Severity), f.Outcome.Severity))
	for _, e := range f.Instance.Evidence {
		p.line("  - %s", visible(e))
	}
	for _, o := range f.Instance.Offenders {
		p.line("  %s %s", p.ink(red, "not allowed:"), visible(o))
	}
	if f.Outcome.Control != nil {
		p.line("  Remedy: %s", f.Outcome.Control.Remediation)
		if f.Outcome.Control.Note != "" {
			p.line("  Note: %s", f.Outcome.Control.Note)
		}
		if w := slotOrigin(f.Outcome.Control.Origin).words(); w != "" {
			p.line("  %s", p.ink(gray, "["+w+"]"))
		}
	}
}

// maxGapTexts is how many missing facts of one collector text lists.
const maxGapTexts = 3

func (p *page) slotGaps(gaps []SlotGap) {
	if len(gaps) == 0 {
		return
	}
	p.heading(p.ink(yellow, "What is missing to decide the unknown controls"))
	var rows [][]cellInk
	for _, g := range gaps {
		texts := g.Texts
		more := ""
		if n := len(texts); n > maxGapTexts && !p.screen.Evidence {
			texts, more = texts[:maxGapTexts], fmt.Sprintf("; and %d more (--evidence)", n-maxGapTexts)
		}
		rows = append(rows, []cellInk{{g.Tier, ""}, {g.Collector, yellow}, {strconv.Itoa(len(g.Controls)), ""}, {g.Needs, ""}, {visible(strings.Join(texts, "; ") + more), ""}})
	}
	p.grid([]string{"Tier", "Collector", "Controls", "Needs", "Missing"}, rows)
}

func (p *page) accountsOf(title string, all []SlotAccount, want func(SlotAccount) bool) {
	var rows [][]cellInk
	for _, a := range all {
		if want(a) {
			rows = append(rows, plain(visible(a.Name), a.places()))
		}
	}
	if len(rows) == 0 {
		return
	}
	p.heading(title)
	p.grid([]string{"Account", "Slots"}, rows)
}

// places lists the slots of an account: by slot, its sites.
func (a SlotAccount) places() string {
	var order []string
	sites := map[string][]string{}
	for _, s := range a.Slots {
		if sites[s.Entry] == nil {
			order = append(order, s.Entry)
		}
		sites[s.Entry] = append(sites[s.Entry], visible(s.Site))
	}
	for i, e := range order {
		order[i] = e + " (" + strings.Join(sites[e], ", ") + ")"
	}
	return strings.Join(order, ", ")
}

// verdictWords says a verdict in words.
func verdictWords(v string) string {
	if judge.Verdict(v) == judge.NotApplicable {
		return "not applicable"
	}
	return v
}
