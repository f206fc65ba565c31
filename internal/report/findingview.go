package report

import (
	"fmt"
	"sort"

	"github.com/leastwise/leastwise/internal/control"
)

// A findingBlock is a heading with the controls under it: a severity, what could
// not be decided, or what is accepted.
type findingBlock struct {
	ID, Title, Note string
	State           string // fail, unknown, excepted
	Severity        control.Severity
	Count           int // findings that exist
	Hidden          int // of Count: beyond what the page lists
	Groups          []*findingGroup
}

// A findingGroup is one control with its findings. A text that all of them share
// is kept here once.
type findingGroup struct {
	ID       string
	First    control.Finding
	Severity control.Severity
	Items    []findingView

	Reason, Rationale, Fix, Verify string // "" if the findings differ
}

// A findingView is one finding.
type findingView struct {
	ID    string
	State string
	F     control.Finding

	Reason, Rationale, Fix, Verify string // "" if the group has it
	Evidence                       []control.Evidence
	Changes, Missing, Hosts        []string
	More                           []string // what is cut, with numbers
}

// findingBlocks sorts the findings into blocks: failures by severity, unknown,
// accepted. It also returns how many of them are shown.
func findingBlocks(a *control.Assessment) (blocks []findingBlock, shown int) {
	for _, s := range severities() {
		blocks = append(blocks, findingBlock{ID: "sev-" + string(s), Title: severityName(s), State: "fail", Severity: s, Note: severityNote(s)})
	}
	blocks = append(blocks,
		findingBlock{ID: "undecided", Title: "Could not be decided", State: "unknown", Note: "Each names the evidence it lacks. Treat them as open questions, not as passed."},
		findingBlock{ID: "accepted", Title: "Accepted by exception", State: "excepted", Note: "These failures hold, and somebody answers for them until the exception ends."})
	seen := map[string]int{}
	groups := map[string]*findingGroup{}
	for _, f := range a.Findings {
		b := &blocks[blockOf(f)]
		b.Count++
		if shown == maxFindings {
			b.Hidden++
			continue
		}
		shown++
		v := newFindingView(f)
		if seen[v.ID]++; seen[v.ID] > 1 {
			v.ID = fmt.Sprintf("%s-%d", v.ID, seen[v.ID])
		}
		g := groups[b.ID+" "+f.Control]
		if g == nil {
			g = &findingGroup{ID: "c-" + b.ID + "-" + anchor(f.Control), First: f, Severity: f.Severity, Reason: f.Reason, Rationale: f.Rationale, Fix: f.Fix.Text, Verify: f.Verify}
			groups[b.ID+" "+f.Control] = g
			b.Groups = append(b.Groups, g)
		}
		g.Items = append(g.Items, v)
	}
	for _, g := range groups {
		g.lift()
	}
	return blocks, shown
}

// blockOf is the index of the block that a finding belongs to.
func blockOf(f control.Finding) int {
	switch {
	case f.Exception != nil:
		return len(severities()) + 1
	case f.Outcome == control.Unknown:
		return len(severities())
	}
	for i, s := range severities() {
		if f.Severity == s {
			return i
		}
	}
	return len(severities()) - 1
}

// anchor keeps the characters of a control's ID that may stand in an HTML id.
func anchor(s string) string {
	out := []byte(s)
	for i, c := range out {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_' || c == '.') {
			out[i] = '_'
		}
	}
	return string(out)
}

// lift keeps a text at the group if all findings share it, else at the findings.
func (g *findingGroup) lift() {
	texts := []struct {
		group *string
		item  func(*findingView) *string
	}{
		{&g.Reason, func(v *findingView) *string { return &v.Reason }},
		{&g.Rationale, func(v *findingView) *string { return &v.Rationale }},
		{&g.Fix, func(v *findingView) *string { return &v.Fix }},
		{&g.Verify, func(v *findingView) *string { return &v.Verify }},
	}
	for _, t := range texts {
		same := true
		for i := range g.Items {
			same = same && *t.item(&g.Items[i]) == *t.group
		}
		if !same {
			*t.group = ""
			continue
		}
		for i := range g.Items {
			*t.item(&g.Items[i]) = ""
		}
	}
}

func newFindingView(f control.Finding) findingView {
	v := findingView{ID: "f-" + Key(f), State: findingState(f), F: f, Reason: f.Reason, Rationale: f.Rationale, Fix: f.Fix.Text, Verify: f.Verify}
	v.Evidence = f.Evidence
	if n := len(v.Evidence); n > maxEvidence {
		v.Evidence = v.Evidence[:maxEvidence]
		v.More = append(v.More, fmt.Sprintf("%d of %s pieces of evidence", maxEvidence, thousands(n)))
	}
	v.Changes = v.cut(f.Fix.Changes, "changes")
	v.Missing = v.cut(f.Missing, "missing facts")
	v.Hosts = v.cut(f.Subject.Hosts, "computers")
	return v
}

// cut shortens a list and notes that it did.
func (v *findingView) cut(items []string, what string) []string {
	if len(items) <= maxItems {
		return items
	}
	v.More = append(v.More, fmt.Sprintf("%d of %s %s", maxItems, thousands(len(items)), what))
	return items[:maxItems]
}

func severityNote(s control.Severity) string {
	switch s {
	case control.Critical:
		return "A direct way to power over the forest. Mend these first."
	case control.High:
		return "One step, or one mistake, away from power over the forest."
	case control.Medium:
		return "Makes an attack easier or its discovery harder."
	default:
		return "Good practice that is not followed."
	}
}

// firstSteps are the five controls to begin with: worst first, then those with
// the most failures.
func firstSteps(blocks []findingBlock) []*findingGroup {
	var out []*findingGroup
	for _, b := range blocks {
		if b.State != "fail" {
			continue
		}
		groups := append([]*findingGroup{}, b.Groups...)
		sort.SliceStable(groups, func(i, j int) bool { return len(groups[i].Items) > len(groups[j].Items) })
		out = append(out, groups...)
	}
	return out[:min(len(out), 5)]
}
