package control

import (
	"slices"
	"strings"
)

// A Delta says how the findings of two assessments differ.
type Delta struct {
	New     []Finding       `json:"new"`     // only in the second
	Fixed   []Finding       `json:"fixed"`   // only in the first
	Changed []FindingChange `json:"changed"` // in both, with another outcome, evidence or exception
}

// A FindingChange is a finding of both assessments that differs.
type FindingChange struct {
	Old Finding `json:"old"`
	New Finding `json:"new"`
}

// Diff compares the findings of two assessments. A finding is the same if it has
// the same control and subject; a failure with a valid exception counts as a
// finding like any other. The order is that of the assessments.
func Diff(old, new *Assessment) Delta {
	d := Delta{New: []Finding{}, Fixed: []Finding{}, Changed: []FindingChange{}}
	before := make(map[string]*Finding, len(old.Findings))
	for i := range old.Findings {
		before[old.Findings[i].Key()] = &old.Findings[i]
	}
	after := make(map[string]bool, len(new.Findings))
	for i := range new.Findings {
		f := &new.Findings[i]
		after[f.Key()] = true
		was, ok := before[f.Key()]
		switch {
		case !ok:
			d.New = append(d.New, *f)
		case !sameFinding(was, f):
			d.Changed = append(d.Changed, FindingChange{*was, *f})
		}
	}
	for i := range old.Findings {
		if !after[old.Findings[i].Key()] {
			d.Fixed = append(d.Fixed, old.Findings[i])
		}
	}
	return d
}

// Key identifies a finding across assessments of one forest: control and subject.
func (f *Finding) Key() string {
	subject := f.Subject.SID
	if subject == "" || f.Subject.Kind == "group" && strings.HasPrefix(subject, "S-1-5-32-") {
		subject = strings.ToLower(f.Subject.DN)
	}
	return f.Control + "\x00" + f.Subject.Kind + "\x00" + subject + "\x00" + f.Subject.Scope
}

// sameFinding compares what an administrator would call the same: outcome,
// subjects, what is missing, the changes to make, and exceptions. Ages in texts
// grow every day and do not count.
func sameFinding(a, b *Finding) bool {
	return a.Outcome == b.Outcome && a.Severity == b.Severity &&
		slices.Equal(a.Subject.Hosts, b.Subject.Hosts) && slices.Equal(a.Missing, b.Missing) &&
		slices.Equal(a.Fix.Changes, b.Fix.Changes) && sameException(a.Exception, b.Exception)
}

func sameException(a, b *Exception) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
