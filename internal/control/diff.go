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

// Grown lists the findings among Changed that fail in the second assessment and
// say more than before, in the form of the second. See FindingChange.Grown.
func (d Delta) Grown() []Finding {
	var out []Finding
	for _, c := range d.Changed {
		if c.Grown() {
			out = append(out, c.New)
		}
	}
	return out
}

// Grown reports whether the finding is a failure that nobody accepted and is more
// than it was: it was unknown or accepted before, is more severe now, or is about
// an account, entry or computer that it was not about before. Fewer of them are
// not growth, nor is another way of the same account into the same group.
func (c FindingChange) Grown() bool {
	if c.New.Outcome != Fail || c.New.Exception != nil {
		return false
	}
	return c.Old.Outcome != Fail || c.Old.Exception != nil ||
		severityRank[c.New.Severity] < severityRank[c.Old.Severity] ||
		holdsMore(c.Old.Subject.Hosts, c.New.Subject.Hosts) ||
		holdsMore(c.Old.offenders, c.New.offenders)
}

// Offenders returns how many accounts, entries or computers the finding is about
// now that it was not about before, and how many no longer.
func (c FindingChange) Offenders() (more, fewer int) {
	return countMissing(c.New.offenders, c.Old.offenders), countMissing(c.Old.offenders, c.New.offenders)
}

// holdsMore reports whether new has an element that old has not.
func holdsMore(old, new []string) bool { return countMissing(new, old) > 0 }

// countMissing counts the elements of a that b does not have.
func countMissing(a, b []string) int {
	in := make(map[string]bool, len(b))
	for _, s := range b {
		in[s] = true
	}
	n := 0
	for _, s := range a {
		if !in[s] {
			n++
		}
	}
	return n
}

// keysOf names what failed so that it is found again in another assessment of
// the forest.
func keysOf(items []item) []string {
	out := make([]string, len(items))
	for i, it := range items {
		out[i] = it.key()
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// key is the SID of a principal, which renaming keeps, or the name where there is
// none or every domain has it; of an access control entry it is the entry.
func (it item) key() string {
	switch sid := it.SID; {
	case it.entry:
		return it.Why
	case strings.HasPrefix(sid, "S-1-5-21-"):
		return sid
	case it.DN != "":
		return strings.ToLower(it.DN)
	case sid != "":
		return sid
	}
	return it.Name
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
// subjects, who failed, what is missing, the changes to make, and exceptions. Ages in texts
// grow every day and do not count.
func sameFinding(a, b *Finding) bool {
	return a.Outcome == b.Outcome && a.Severity == b.Severity &&
		slices.Equal(a.Subject.Hosts, b.Subject.Hosts) && slices.Equal(a.Missing, b.Missing) &&
		slices.Equal(a.Fix.Changes, b.Fix.Changes) && slices.Equal(a.offenders, b.offenders) &&
		sameException(a.Exception, b.Exception)
}

func sameException(a, b *Exception) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
