package report

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"github.com/leastwise/leastwise/internal/control"
)

// fingerprint names the scheme of Key in SARIF; a new scheme gets a new number.
const fingerprint = "leastwise/v1"

// SARIF writes the findings as a SARIF 2.1.0 log: a rule per control, a result
// per finding with the directory object as logical location and policy files,
// relative to SYSVOL, as physical ones. An unknown outcome is a result of kind
// "open"; an excepted one carries an accepted suppression.
func SARIF(w io.Writer, a *control.Assessment) error {
	run := sarif.NewRunWithInformationURI("leastwise", "https://github.com/leastwise/leastwise")
	run.Tool.Driver.WithSemanticVersion(semver(a.Run.Tool))
	run.WithAutomationDetails(sarif.NewRunAutomationDetails().WithID("leastwise/" + a.Run.ID))
	run.WithColumnKind("unicodeCodePoints")
	run.AddInvocation(sarif.NewInvocation().WithExecutionSuccessful(true).
		WithStartTimeUtc(rfc3339(a.Run.Started)).WithEndTimeUtc(rfc3339(a.Run.Finished)).
		WithToolExecutionNotifications(coverageNotes(a)))
	index := addRules(run, a)
	for _, f := range a.Findings {
		run.AddResult(sarifResult(f, index[f.Control]))
	}
	log := sarif.NewReport().AddRun(run)
	if err := log.PrettyWrite(w); err != nil {
		return fmt.Errorf("writing findings as SARIF: %w", err)
	}
	return nil
}

// addRules adds a rule for each control and returns their indexes.
func addRules(run *sarif.Run, a *control.Assessment) map[string]int {
	index := map[string]int{}
	add := func(c control.ControlResult, f *control.Finding) {
		if _, ok := index[c.ID]; ok {
			return
		}
		index[c.ID] = len(index)
		rule := run.AddRule(c.ID)
		rule.WithShortDescription(sarif.NewMultiformatMessageString().WithText(orDash(c.Title)))
		if f != nil && f.Rationale != "" {
			rule.WithFullDescription(sarif.NewMultiformatMessageString().WithText(f.Rationale))
		}
		if f != nil && f.Fix.Text != "" {
			rule.WithHelp(sarif.NewMultiformatMessageString().WithText(strings.TrimSpace(f.Fix.Text + "\n\n" + f.Verify)))
		}
		rule.WithDefaultConfiguration(sarif.NewReportingConfiguration().WithLevel(sarifLevel(c.Severity)))
		rule.WithProperties(sarif.NewPropertyBag().Add("section", c.Section).Add("severity", string(c.Severity)).
			Add("security-severity", securityScore(c.Severity)).WithTags([]string{"security", "active-directory"}))
	}
	first := map[string]*control.Finding{}
	for i := range a.Findings {
		f := &a.Findings[i]
		if first[f.Control] == nil {
			first[f.Control] = f
		}
	}
	for _, c := range a.Controls {
		add(c, first[c.ID])
	}
	for i := range a.Findings {
		f := &a.Findings[i]
		add(control.ControlResult{ID: f.Control, Title: f.Title, Section: f.Section, Severity: f.Severity}, f)
	}
	return index
}

func sarifResult(f control.Finding, rule int) *sarif.Result {
	r := sarif.NewRuleResult(f.Control).WithRuleIndex(rule).WithKind("fail").WithLevel(sarifLevel(f.Severity))
	text := f.Detail
	if f.Outcome == control.Unknown {
		r.WithKind("open").WithLevel(sarif.LevelNone)
		text += " Not decided; missing: " + strings.Join(f.Missing, "; ")
	}
	if text == "" {
		text = f.Title
	}
	r.WithMessage(sarif.NewTextMessage(text))
	r.WithFingerprints(map[string]string{fingerprint: Key(f)})
	r.WithProperties(sarif.NewPropertyBag().Add("severity", string(f.Severity)).Add("outcome", string(f.Outcome)).
		Add("section", f.Section).Add("fix", f.Fix.Text).Add("changes", list(f.Fix.Changes)).Add("evidence", list(f.Evidence)))
	r.AddLocation(sarifLocation(f))
	for _, e := range f.Evidence {
		if e.File != "" {
			r.AddRelatedLocation(sarif.NewLocation().WithPhysicalLocation(sarifFile(e)).WithMessage(sarif.NewTextMessage(orDash(e.Text))))
		}
	}
	if x := f.Exception; x != nil {
		why := fmt.Sprintf("%s (owner %s, until %s)", x.Reason, x.Owner, lastDay(x.Expires))
		r.AddSuppression(sarif.NewSuppression().WithKind("external").WithStatus("accepted").WithJustification(why))
	}
	return r
}

// sarifLocation is the subject, and the first policy file that the evidence names.
func sarifLocation(f control.Finding) *sarif.Location {
	s := f.Subject
	logical := sarif.NewLogicalLocation().WithName(orDash(s.Name)).WithFullyQualifiedName(orDash(s.DN)).WithKind(orDash(s.Kind))
	l := sarif.NewLocation().AddLogicalLocation(logical)
	for _, e := range f.Evidence {
		if e.File != "" {
			return l.WithPhysicalLocation(sarifFile(e))
		}
	}
	return l
}

func sarifFile(e control.Evidence) *sarif.PhysicalLocation {
	at := sarif.NewPhysicalLocation().WithArtifactLocation(sarif.NewArtifactLocation().WithURI(fileURI(e.File)).WithURIBaseID("SYSVOL"))
	if e.Line > 0 {
		at.WithRegion(sarif.NewRegion().WithStartLine(e.Line))
	}
	return at
}

// fileURI turns a SYSVOL path with either kind of slash into a relative URI.
func fileURI(file string) string {
	parts := strings.FieldsFunc(file, func(r rune) bool { return r == '\\' || r == '/' })
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

// coverageNotes are the notifications for what could not be read.
func coverageNotes(a *control.Assessment) []*sarif.Notification {
	notes := []*sarif.Notification{}
	for _, c := range a.Run.Coverage {
		if !c.Complete() {
			text := fmt.Sprintf("%s %s: %s. %s", c.Area, c.Subject, c.State, c.Reason)
			notes = append(notes, sarif.NewNotification().WithLevel(sarif.LevelWarning).WithMessage(sarif.NewTextMessage(text)))
		}
	}
	return notes
}

func sarifLevel(s control.Severity) string {
	switch s {
	case control.Critical, control.High:
		return sarif.LevelError
	case control.Medium:
		return sarif.LevelWarning
	default:
		return sarif.LevelNote
	}
}

// securityScore is the number by which code-scanning services rank a rule: the
// middle of the CVSS range of the same name.
func securityScore(s control.Severity) string {
	switch s {
	case control.Critical:
		return "9.5"
	case control.High:
		return "8.0"
	case control.Medium:
		return "5.5"
	default:
		return "2.0"
	}
}

// semver is the version in a tool name such as "leastwise 0.1.0".
func semver(tool string) string {
	if i := strings.LastIndexByte(tool, ' '); i >= 0 {
		tool = tool[i+1:]
	}
	if v := strings.TrimPrefix(tool, "v"); v != "" && v[0] >= '0' && v[0] <= '9' {
		return v
	}
	return "0.0.0"
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }
