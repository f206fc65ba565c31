package report_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/report"
)

// aHistory is of three runs, of which the second saw less.
func aHistory() *report.History {
	at := func(day int) time.Time { return time.Date(2026, 11, day, 2, 30, 0, 0, time.UTC) }
	group := func(standing int, unknown ...string) []control.PopulationPoint {
		return []control.PopulationPoint{{SID: "S-1-5-21-1-2-3-512", Name: "Domain Admins\x1b", Domain: "contoso.com", Direct: 1, Effective: standing, Standing: standing, Unknown: unknown}}
	}
	return report.NewHistory("contoso.com", []control.TrendPoint{
		{Run: "aaaa", Finished: at(1), Fail: 4, Populations: group(4)},
		{Run: "bbbb", Finished: at(2), Fail: 1, Undecided: 3, LostSight: []string{"container OU=Legal: unreadable. no right"}, Populations: group(2, "OU=Legal is unreadable")},
		{Run: "cccc", Finished: at(3), Fail: 3, Gone: 2, Appeared: 1, Populations: group(3)},
	})
}

// The history says in every form what a run saw less of, and draws no fall where one could
// not see.
func TestHistory(t *testing.T) {
	text := shown(t, aHistory().Text, report.Screen{})
	for _, want := range []string{
		"2026-11-02 02:30", "Failed  New  Gone  Undecided", "bbbb", "4 → 3",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the text has no %q:\n%s", want, text)
		}
	}
	cut := aHistory()
	cut.Runs = cut.Runs[:2]
	if text := shown(t, cut.Text, report.Screen{}); !strings.Contains(text, "4 → ≥ 2") || !strings.Contains(text, "3 failures of earlier runs could not be decided") {
		t.Error(text)
	}
	gone := aHistory()
	gone.Runs[2].Populations = nil
	if text := shown(t, gone.Text, report.Screen{}); !strings.Contains(text, "4 → ?") {
		t.Errorf("a group that the last run did not count:\n%s", text)
	}
	if text := shown(t, report.NewHistory("contoso.com", nil).Text, report.Screen{}); !strings.Contains(text, "none") {
		t.Error(text)
	}
	page := written(t, func(w io.Writer) error {
		return report.HTMLWith(w, sample(), report.Beside{History: aHistory()})
	})
	for want, n := range map[string]int{
		`<section id="history"`: 1, `<svg class="spark"`: 2,
		`h-line h-unsure`:        4, // from and to the run that saw less, in both
		`Failures that are open`: 2, `Against the run before: 1 new failure, 2 failures are gone.`: 1, "\x1b": 0,
	} {
		if got := strings.Count(page, want); got != n {
			t.Errorf("the page has %q %d times, want %d", want, got, n)
		}
	}
	// Four are open in the first run and in the second: no fall.
	if !strings.Contains(page, `d="M6.0 6.0L130.0 6.0"`) {
		t.Error("the line of open failures falls where a run saw less")
	}
	for _, h := range []*report.History{nil, report.NewHistory("contoso.com", nil)} {
		if page := written(t, func(w io.Writer) error { return report.HTMLWith(w, sample(), report.Beside{History: h}) }); strings.Contains(page, `id="history"`) {
			t.Error("a history without runs is shown")
		}
	}
}

// A change lists what became of each failure under what became of it.
func TestRunChange(t *testing.T) {
	c := &report.RunChange{Version: 1, Forest: "contoso.com", Run: aHistory().Runs[1], Failures: []report.RunFailure{
		{Fate: control.FateUndecided, Control: "F-01", Severity: control.Critical, Subject: control.Subject{Name: "Domain Admins"}, Detail: "two members", Why: "not read as before: OU=Legal"},
		{Fate: control.FateStays, Control: "F-02", Severity: control.High, Subject: control.Subject{Name: "Ann"}, Detail: "it's bad"},
	}}
	text := shown(t, c.Text, report.Screen{})
	for _, want := range []string{
		"This run covers less than the one before", "New failures: none", "Failures of earlier runs that this one could not decide: 1", "not read as before: OU=Legal: two members",
		"Gone failures: none", "Failures that are still there: 1",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if out := written(t, c.JSON); !strings.Contains(out, `"fate": "undecided"`) {
		t.Error(out)
	}
}
