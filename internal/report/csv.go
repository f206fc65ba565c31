package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/control"
)

// CSV writes one record per finding ([RFC 4180], CRLF line ends, UTF-8), with a
// header. A cell that a spreadsheet would take for a formula is prefixed with
// an apostrophe, so a name such as =cmd|… stays text.
func CSV(w io.Writer, a *control.Assessment) error {
	c := csv.NewWriter(w)
	c.UseCRLF = true
	records := [][]string{{
		"key", "severity", "outcome", "control", "title", "section", "subject", "dn", "sid", "kind", "domain", "scope",
		"detail", "missing", "evidence", "policy", "file", "line", "changed", "fix", "changes", "verify",
		"exception_owner", "exception_reason", "exception_expires",
	}}
	for _, f := range a.Findings {
		records = append(records, csvRecord(f))
	}
	for _, r := range records {
		for i := range r {
			r[i] = neutral(r[i])
		}
	}
	if err := c.WriteAll(records); err != nil {
		return fmt.Errorf("writing findings as CSV: %w", err)
	}
	return nil
}

func csvRecord(f control.Finding) []string {
	var texts, policies, files, lines, changed []string
	for _, e := range f.Evidence {
		texts = append(texts, e.Text)
		if e.Policy != "" {
			policies = append(policies, e.Policy)
		}
		if e.File != "" {
			files, lines = append(files, e.File), append(lines, strconv.Itoa(e.Line))
		}
		if e.Changed != nil {
			changed = append(changed, stamp(e.Changed.Time)+" on "+e.Changed.Server)
		}
	}
	s := f.Subject
	r := []string{
		Key(f), string(f.Severity), string(f.Outcome), f.Control, f.Title, f.Section, s.Name, s.DN, s.SID, s.Kind, s.Domain, s.Scope,
		f.Detail, cell(f.Missing), cell(texts), cell(policies), cell(files), cell(lines), cell(changed), f.Fix.Text, cell(f.Fix.Changes), f.Verify,
		"", "", "",
	}
	if x := f.Exception; x != nil {
		copy(r[len(r)-3:], []string{x.Owner, x.Reason, lastDay(x.Expires)})
	}
	return r
}

// cell joins the items of a list, one a line. A line feed inside an item is made
// visible, so items stay apart.
func cell(items []string) string { return strings.Join(visibleAll(items), "\n") }

// neutral makes a cell harmless to spreadsheets: nothing in it is taken for a
// formula, and what is invisible is spelled out.
func neutral(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + visibleLines(s)
	}
	return visibleLines(s)
}

// stamp writes a time in UTC to the minute, and nothing for the zero time.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04 UTC")
}

// lastDay writes the end of an exception: a day that counts to its end is a day.
func lastDay(t time.Time) string {
	if t = t.UTC(); t.Hour() == 23 && t.Minute() == 59 && t.Second() == 59 {
		return t.Format(time.DateOnly)
	}
	return stamp(t)
}
