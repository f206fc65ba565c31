package report

import (
	_ "embed" // history.html
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/control"
)

// A History is how the runs that were kept of a forest went, oldest first.
type History struct {
	Version int                  `json:"version"` // 1; grows when a field changes its meaning or goes away
	Forest  string               `json:"forest"`
	Runs    []control.TrendPoint `json:"runs"`
}

// NewHistory returns a History.
func NewHistory(forest string, runs []control.TrendPoint) *History { return &History{1, forest, runs} }

// JSON writes the history as indented JSON.
func (h *History) JSON(w io.Writer) error {
	if err := writeJSON(w, h); err != nil {
		return fmt.Errorf("writing history as JSON: %w", err)
	}
	return nil
}

// Text writes the history for reading in a terminal: the runs, and the privileged groups
// in the first and the last of them.
func (h *History) Text(w io.Writer, s Screen) error {
	p := &page{screen: s}
	p.line("%s", p.strong("Runs of "+visible(h.Forest)))
	if len(h.Runs) == 0 {
		p.line("none")
		return p.flush(w, "history")
	}
	var rows [][]cellInk
	for _, r := range h.Runs {
		rows = append(rows, []cellInk{
			{stamp(r.Finished), ""},
			{visible(r.Run), ""},
			{thousands(r.Fail), inkIf(r.Fail > 0, red)},
			{signed("+", r.Appeared), inkIf(r.Appeared > 0, red)},
			{signed("-", r.Gone), inkIf(r.Gone > 0, green)},
			{thousands(r.Undecided), inkIf(r.Undecided > 0, yellow)},
			{thousands(r.Excepted), ""},
			{thousands(r.Unknown), inkIf(r.Unknown > 0, yellow)},
			{thousands(r.Pass), ""},
		})
	}
	p.grid([]string{"Ended", "Run", "Failed", "New", "Gone", "Undecided", "Accepted", "Unknown", "Passed"}, rows)
	if undecided := h.Runs[len(h.Runs)-1].Undecided; undecided > 0 {
		p.line("%s", p.ink(yellow, plural(undecided, "failure of earlier runs", "failures of earlier runs")+" could not be decided by the last one and may be there still."))
	}
	p.groupHistory(h)
	return p.flush(w, "history")
}

func signed(sign string, n int) string {
	if n == 0 {
		return "0"
	}
	return sign + thousands(n)
}

// groupHistory compares the privileged groups of the first run with those of the last.
func (p *page) groupHistory(h *History) {
	first, last := h.Runs[0], h.Runs[len(h.Runs)-1]
	p.heading("Members of privileged groups, from the first of these runs to the last")
	var rows [][]cellInk
	for _, g := range append(append([]control.PopulationPoint(nil), last.Populations...), notIn(last, first)...) {
		was, there := groupOf(first, g)
		now, counts := groupOf(last, g)
		if !counts { // not counted is not empty
			now = control.PopulationPoint{Name: g.Name, Domain: g.Domain}
		}
		row := []cellInk{{visible(now.Name), ""}, {visible(now.Domain), ""}}
		for _, n := range [][2]int{{was.Effective, now.Effective}, {was.Standing, now.Standing}, {was.Temporary, now.Temporary}} {
			before := counted(n[0], was.Unknown)
			if !there {
				before = "–"
			}
			color := ""
			after := counted(n[1], now.Unknown)
			if !counts {
				after = "?"
			}
			if there && counts && len(was.Unknown)+len(now.Unknown) == 0 {
				color = pick(n[1] > n[0], red, pick(n[1] < n[0], green, ""))
			}
			row = append(row, cellInk{before + " → " + after, color})
		}
		rows = append(rows, row)
	}
	p.grid([]string{"Group", "Domain", "Accounts", "Standing", "Temporary"}, rows)
}

// notIn returns the groups that another run has counted and r has not.
func notIn(r, other control.TrendPoint) (out []control.PopulationPoint) {
	for _, g := range other.Populations {
		if _, there := groupOf(r, g); !there {
			out = append(out, g)
		}
	}
	return out
}

// groupOf finds a group in another run.
func groupOf(r control.TrendPoint, g control.PopulationPoint) (control.PopulationPoint, bool) {
	for _, o := range r.Populations {
		if o.SID == g.SID && strings.EqualFold(o.Domain, g.Domain) {
			return o, true
		}
	}
	return control.PopulationPoint{}, false
}

// counted is a number that may be too small.
func counted(n int, unknown []string) string {
	if len(unknown) > 0 {
		return "≥ " + thousands(n)
	}
	return thousands(n)
}

// A RunChange is what one run found against those before it.
type RunChange struct {
	Version  int                `json:"version"` // 1; grows when a field changes its meaning or goes away
	Forest   string             `json:"forest"`
	Run      control.TrendPoint `json:"run"`
	Failures []RunFailure       `json:"failures"` // worst first
}

// A RunFailure is a failure and what became of it in the run.
type RunFailure struct {
	Key      string           `json:"key"`
	Fate     control.Fate     `json:"fate"`
	Control  string           `json:"control"`
	Title    string           `json:"title"`
	Severity control.Severity `json:"severity"`
	Subject  control.Subject  `json:"subject"`
	Detail   string           `json:"detail"` // as the last run says that had it
	First    string           `json:"first_run"`
	Seen     string           `json:"last_run"`
	Why      string           `json:"why,omitempty"` // why it is undecided
}

// JSON writes the change as indented JSON.
func (c *RunChange) JSON(w io.Writer) error {
	if err := writeJSON(w, c); err != nil {
		return fmt.Errorf("writing history as JSON: %w", err)
	}
	return nil
}

// Text writes the change for reading in a terminal.
func (c *RunChange) Text(w io.Writer, s Screen) error {
	p := &page{screen: s}
	r := c.Run
	p.line("%s", p.strong("Run "+visible(r.Run)+" of "+visible(c.Forest)+", "+stamp(r.Finished)))
	p.line("%d failed, %d unknown, %d passed, %d accepted by exception", r.Fail, r.Unknown, r.Pass, r.Excepted)
	if len(r.LostSight) > 0 {
		p.heading(p.ink(yellow, "This run covers less than the one before. What is not there may only be unseen:"))
		for _, l := range r.LostSight {
			p.line("  - %s", visible(l))
		}
	}
	for _, part := range []struct {
		fate         control.Fate
		title, color string
	}{
		{control.FateAppeared, "New failures", red},
		{control.FateUndecided, "Failures of earlier runs that this one could not decide", yellow},
		{control.FateGone, "Gone failures", green},
		{control.FateAccepted, "Failures that an exception covers now", blue},
		{control.FateStays, "Failures that are still there", ""},
	} {
		p.fates(c, part.fate, part.title, part.color)
	}
	return p.flush(w, "history")
}

func (p *page) fates(c *RunChange, fate control.Fate, title, color string) {
	var rows [][]cellInk
	for _, f := range c.Failures {
		if f.Fate != fate {
			continue
		}
		what := f.Detail
		if f.Why != "" {
			what = f.Why + ": " + f.Detail
		}
		rows = append(rows, []cellInk{{string(f.Severity), severityInk(f.Severity)}, {f.Control, ""}, {visible(f.Subject.Name), ""}, {visible(what), ""}})
	}
	if len(rows) == 0 {
		p.heading(title + ": none")
		return
	}
	p.heading(p.ink(color, fmt.Sprintf("%s: %d", title, len(rows))))
	p.grid([]string{"Severity", "Control", "Subject", "What"}, rows)
}

// shownRuns is how many runs the table of the HTML report lists, the newest.
const shownRuns = 60

// historyHTML is the section of the HTML report.
//
//go:embed html/history.html
var historyHTML string

// A historyView is what the template of the history is filled in with.
type historyView struct {
	Words  string
	Lines  []sparkView
	Rows   []control.TrendPoint // newest first
	Hidden int
}

func newHistoryView(h *History) *historyView {
	v := &historyView{Words: historyWords(h)}
	open := sparkline{title: "Failures that are open"}
	for _, r := range h.Runs {
		open.add(r.Finished, r.Open(), r.Undecided == 0)
	}
	v.Lines = append(v.Lines, open.view())
	last := h.Runs[len(h.Runs)-1]
	for _, g := range last.Populations {
		if !fullPowerSID(g.SID) {
			continue
		}
		line := sparkline{title: "Standing in " + g.Name + ", " + g.Domain}
		for _, r := range h.Runs {
			if was, there := groupOf(r, g); there {
				line.add(r.Finished, was.Standing, len(was.Unknown) == 0)
			}
		}
		v.Lines = append(v.Lines, line.view())
	}
	for i := len(h.Runs) - 1; i >= 0 && len(v.Rows) < shownRuns; i-- {
		v.Rows = append(v.Rows, h.Runs[i])
	}
	v.Hidden = len(h.Runs) - len(v.Rows)
	return v
}

func historyWords(h *History) string {
	last := h.Runs[len(h.Runs)-1]
	if len(h.Runs) == 1 {
		return "This is the first run that was kept; there is nothing to compare it with."
	}
	text := fmt.Sprintf("Against the run before: %s, %s.", plural(last.Appeared, "new failure", "new failures"), plural(last.Gone, "failure is gone", "failures are gone"))
	if last.Undecided > 0 {
		text += " " + plural(last.Undecided, "failure of earlier runs", "failures of earlier runs") + " could not be decided and may be there still."
	}
	return text
}

// A sparkline is a number over time.
type sparkline struct {
	title string
	at    []time.Time
	n     []int
	sure  []bool
}

func (l *sparkline) add(at time.Time, n int, sure bool) {
	l.at, l.n, l.sure = append(l.at, at), append(l.n, n), append(l.sure, sure)
}

// A sparkView is a drawn sparkline. Its field of drawing is 260 × 64.
type sparkView struct {
	Title    string
	Label    string // for readers who do not see it
	Range    string
	Last     int
	Step     string // against the run before
	AtLeast  bool
	Segments []sparkSegment
	Dots     []sparkDot
}

type sparkSegment struct {
	Path   string
	Unsure bool
}

type sparkDot struct {
	X, Y   string
	Unsure bool
}

func (l *sparkline) view() sparkView {
	end := len(l.n) - 1
	v := sparkView{Title: l.title, Last: l.n[end], AtLeast: !l.sure[end]}
	if end > 0 {
		v.Step = step(l.n[end]-l.n[end-1]) + " since the run before"
	}
	v.Label = fmt.Sprintf("%s: %d at first, %d at last, %s", visible(l.title), l.n[0], l.n[end], plural(len(l.n), "run", "runs"))
	v.Range = fmt.Sprintf("%s to %s", l.at[0].UTC().Format(time.DateOnly), l.at[end].UTC().Format(time.DateOnly))
	most := 1
	for _, n := range l.n {
		most = max(most, n)
	}
	span := max(1, l.at[end].Sub(l.at[0]))
	x := func(i int) string {
		return strconv.FormatFloat(6+248*float64(l.at[i].Sub(l.at[0]))/float64(span), 'f', 1, 64)
	}
	y := func(i int) string { return strconv.FormatFloat(58-52*float64(l.n[i])/float64(most), 'f', 1, 64) }
	for i := range l.n {
		if i > 0 {
			v.Segments = append(v.Segments, sparkSegment{"M" + x(i-1) + " " + y(i-1) + "L" + x(i) + " " + y(i), !l.sure[i-1] || !l.sure[i]})
		}
		if i == end || !l.sure[i] {
			v.Dots = append(v.Dots, sparkDot{x(i), y(i), !l.sure[i]})
		}
	}
	return v
}

func step(n int) string {
	if n > 0 {
		return "+" + thousands(n)
	}
	return thousands(n)
}
