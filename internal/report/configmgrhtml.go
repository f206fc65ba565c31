package report

import (
	"bytes"
	"cmp"
	_ "embed" // for the template
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/configmgr/judge"
)

//go:embed html/configmgr.html
var configMgrHTML string

// Limits of the page about Configuration Manager.
const (
	maxSlotItems  = 60  // failures listed of one control
	maxSlotDrift  = 300 // differences
	maxSlotOldest = 25  // accounts by the age of their password
	maxSlotTexts  = 8   // missing facts of one collector
)

// A configMgrView is what the template of Configuration Manager is filled in with.
type configMgrView struct {
	CSP        string
	CSS        template.CSS
	Page       bool // a page of its own, not a section
	C          *ConfigMgr
	Title      string
	Sources    string
	Nothing    string
	Severities []string // as in "3 high"
	Unread     []configmgr.Reading
	Columns    []slotColumn
	Span       int
	Blocks     []slotBlock
	Controls   []slotControlView
	Failed     int
	Gaps       []slotGapView
	Drift      []SlotDrift
	MoreDrift  int
	Oldest     []slotAccountView
	MoreOldest int // with an age, and not listed
	NoAge      int
	Shared     []slotAccountView
	Rules      []slotRuleView
	Tier0      []slotAccountView
	Who        []slotWho
}

type slotColumn struct{ Code, Long string }

// A slotBlock is a group of rows: groups, accounts, …
type slotBlock struct {
	Title string
	Rows  []slotRowView
}

type slotRowView struct {
	Entry, Name string
	Known       bool // somebody fills it
	Cells       []slotCellView
}

type slotCellView struct{ Class, Text string }

type slotControlView struct {
	ID, Title, Severity, Entry, Remedy, Note, Origin string
	Total, More                                      int
	Items                                            []slotItemView
}

type slotItemView struct {
	Subject, Site       string
	Evidence, Offenders []string
}

type slotGapView struct {
	G     SlotGap
	Texts []string
	More  int
}

type slotAccountView struct {
	A      SlotAccount
	Days   int
	Places string
}

type slotWho struct {
	Entry, Name string
	Lines       []slotWhoLine
}

type slotWhoLine struct {
	Site, Where, Sources string
	H                    SlotHolder
}

// HTML writes the assessment as one page that needs nothing else: it carries its
// style, no script, and its policy (CSP) admits no more.
func (c *ConfigMgr) HTML(w io.Writer) error {
	css, err := htmlFiles.ReadFile("html/report.css")
	if err != nil {
		return fmt.Errorf("reading the style of the HTML report: %w", err)
	}
	t, err := template.New("configmgr").Funcs(htmlFuncs()).Parse(configMgrHTML)
	if err != nil {
		return fmt.Errorf("reading the template of Configuration Manager: %w", err)
	}
	v := newConfigMgrView(c)
	v.Page, v.CSS = true, template.CSS(css)
	v.CSP = fmt.Sprintf("default-src 'none'; style-src '%s'; img-src data:; base-uri 'none'; form-action 'none'", hash(string(css)))
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, "configmgr-page", v); err != nil {
		return fmt.Errorf("filling in the page of Configuration Manager: %w", err)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("writing Configuration Manager as HTML: %w", err)
	}
	return nil
}

func newConfigMgrView(c *ConfigMgr) *configMgrView {
	v := &configMgrView{C: c, Title: hierarchyName(c.Hierarchy, c.counts), Sources: sourcesOf(c.Readings), Nothing: noSites(c)}
	for _, s := range slotSeverities() {
		if n := c.Summary.Severity[s]; n > 0 {
			v.Severities = append(v.Severities, fmt.Sprintf("%d %s", n, s))
		}
	}
	for _, r := range c.Readings {
		if r.Missing != "" {
			v.Unread = append(v.Unread, r)
		}
	}
	v.matrix()
	v.failures()
	for _, g := range c.Gaps {
		gv := slotGapView{G: g, Texts: g.Texts}
		if n := len(g.Texts); n > maxSlotTexts {
			gv.Texts, gv.More = g.Texts[:maxSlotTexts], n-maxSlotTexts
		}
		v.Gaps = append(v.Gaps, gv)
	}
	v.Drift = c.Drift
	if n := len(c.Drift); n > maxSlotDrift {
		v.Drift, v.MoreDrift = c.Drift[:maxSlotDrift], n-maxSlotDrift
	}
	v.people()
	for _, f := range c.Separations {
		v.Rules = append(v.Rules, slotRuleView{string(f.Verdict), string(f.Rule), slotPair(f), f.Reason})
	}
	v.who()
	return v
}

// sourcesOf lists the sources of readings in words.
func sourcesOf(all []configmgr.Reading) string {
	var names []string
	for _, r := range all {
		if !slices.Contains(names, string(r.Source)) {
			names = append(names, string(r.Source))
		}
	}
	if len(names) == 0 {
		return "no source was read"
	}
	return "sources: " + strings.Join(names, ", ")
}

// matrix lays out the slots by the sites, those with most failures first.
func (v *configMgrView) matrix() {
	order := make([]int, len(v.C.counts))
	fails := map[string]int{}
	for _, s := range v.C.Sites {
		fails[strings.ToUpper(s.Code)] = s.Summary.Fail
	}
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(fails[strings.ToUpper(v.C.counts[b].Code)], fails[strings.ToUpper(v.C.counts[a].Code)])
	})
	for _, i := range order {
		s := v.C.counts[i]
		v.Columns = append(v.Columns, slotColumn{s.Code, strings.TrimSpace(s.Code + " " + s.Name + " " + s.Kind + " " + s.Release)})
	}
	v.Span = len(v.Columns) + 1
	groups, accounts := slotBlock{Title: "Windows groups"}, slotBlock{Title: "Accounts"}
	for _, row := range v.C.Slots {
		rv := slotRowView{Entry: row.Entry, Name: row.Name}
		for _, i := range order {
			rv.Cells = append(rv.Cells, slotCellOf(row.Sites[i]))
			rv.Known = rv.Known || len(row.Sites[i].Holders) > 0
		}
		if configmgr.EntryKind(row.Kind) == configmgr.WindowsGroup {
			groups.Rows = append(groups.Rows, rv)
		} else {
			accounts.Rows = append(accounts.Rows, rv)
		}
	}
	v.Blocks = []slotBlock{groups, accounts}
}

// slotCellOf is a cell with the words that stand behind its sign.
func slotCellOf(c SlotCell) slotCellView {
	out := slotCellView{Class: "none"}
	switch judge.Verdict(c.Verdict) {
	case judge.Fail, judge.Unknown, judge.Pass:
		out.Class = c.Verdict
	case judge.NotApplicable:
	default:
		// No control judges it: that is not known, unless the slot is not there or nobody
		// fills it.
		if c.State == SlotUnknown || c.State == SlotFilled {
			out.Class = string(judge.Unknown)
		}
	}
	words := map[SlotState]string{SlotFilled: "filled by " + plural(len(c.Holders), "principal", "principals"), SlotEmpty: "empty", SlotUnknown: "not known who fills it", SlotAbsent: "not in this release"}
	out.Text = c.Site + ": " + orWords(verdictWords(c.Verdict), "not judged") + ", " + words[c.State]
	return out
}

// failures groups what failed by control, worst first.
func (v *configMgrView) failures() {
	at := map[string]int{}
	for _, f := range v.C.Failures() {
		v.Failed++
		i, ok := at[f.Outcome.ID]
		if !ok {
			i = len(v.Controls)
			at[f.Outcome.ID] = i
			cv := slotControlView{ID: f.Outcome.ID, Title: f.Outcome.Title, Severity: f.Outcome.Severity, Entry: f.Outcome.Entry}
			if ctl := f.Outcome.Control; ctl != nil {
				cv.Remedy, cv.Note, cv.Origin = ctl.Remediation, ctl.Note, slotOrigin(ctl.Origin).words()
			}
			v.Controls = append(v.Controls, cv)
		}
		cv := &v.Controls[i]
		cv.Total++
		if cv.Total > maxSlotItems {
			cv.More++
			continue
		}
		cv.Items = append(cv.Items, slotItemView{subjectOf(f.Instance.Subject), f.Site, first(f.Instance.Evidence, maxItems), first(f.Instance.Offenders, maxItems)})
	}
}

// first cuts a list and says how much was cut.
func first(l []string, n int) []string {
	if len(l) <= n {
		return l
	}
	return append(slices.Clone(l[:n]), fmt.Sprintf("and %d more, in the JSON output", len(l)-n))
}

// people lists the accounts that are old, shared or in Tier 0.
func (v *configMgrView) people() {
	for _, a := range v.C.Accounts {
		av := slotAccountView{A: a, Places: a.places()}
		switch {
		case a.PasswordSet.IsZero():
			v.NoAge++
		case len(v.Oldest) < maxSlotOldest:
			av.Days = int(v.C.Made.Sub(a.PasswordSet).Hours() / 24)
			v.Oldest = append(v.Oldest, av)
		default:
			v.MoreOldest++
		}
		if a.shared() {
			v.Shared = append(v.Shared, av)
		}
		if a.Tier0 {
			v.Tier0 = append(v.Tier0, av)
		}
	}
}

// who lists who fills each slot that somebody fills.
func (v *configMgrView) who() {
	for _, row := range v.C.Slots {
		w := slotWho{Entry: row.Entry, Name: row.Name}
		for _, c := range row.Sites {
			for _, h := range c.Holders {
				w.Lines = append(w.Lines, slotWhoLine{c.Site, h.where(), strings.Join(h.Sources, ", "), h})
			}
		}
		if len(w.Lines) > 0 {
			v.Who = append(v.Who, w)
		}
	}
}
