package judge

import (
	"time"

	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Input is what an assessment looks at.
type Input struct {
	Snapshot   *forest.Snapshot
	Graph      *reach.Graph // memberships, policies (it must know of them) and control of Snapshot; made if nil
	Document   *configmgr.Document
	Catalogue  *configmgr.Catalogue  // used by Judge only; Rules have theirs
	Now        time.Time             // when ages end and exceptions expire
	Parameters *configmgr.Parameters // override those of the document, which override the catalogue's
	Alphabet   *string               // what secrets that leastwise proposes are made of; nil: not known
}

// A Verdict is what became of a control.
type Verdict string

// Verdicts.
const (
	Pass          Verdict = "pass"
	Fail          Verdict = "fail"
	Unknown       Verdict = "unknown"
	NotApplicable Verdict = "not-applicable"
)

// An Assessment holds the outcomes of all controls on all sites.
type Assessment struct {
	Hierarchy string    `json:"hierarchy,omitempty"`
	Made      time.Time `json:"made"`
	Sites     []Site    `json:"sites"`
	Summary   Tally     `json:"summary"` // of the outcomes of all sites
}

// A Site has one outcome for every control of the catalogue, in its order.
type Site struct {
	Code     string    `json:"code"`
	Name     string    `json:"name,omitempty"`
	Release  string    `json:"release,omitempty"`
	Outcomes []Outcome `json:"outcomes"`
	Summary  Tally     `json:"summary"`
}

// A Tally counts outcomes.
type Tally struct {
	Pass          int            `json:"pass"`
	Fail          int            `json:"fail"`
	Unknown       int            `json:"unknown"`
	NotApplicable int            `json:"not_applicable"`
	Severity      map[string]int `json:"fail_by_severity,omitempty"` // of failures
}

// An Outcome is what one control gave on one site: the worst verdict of its
// instances (fail, unknown, pass), or not applicable if it has none that it
// concerns.
type Outcome struct {
	Control   *configmgr.Control `json:"-"`
	ID        string             `json:"control"`
	Title     string             `json:"title"`
	Severity  string             `json:"severity"`
	Entry     string             `json:"entry,omitempty"` // slot; "" for a cross-cutting control
	Verdict   Verdict            `json:"verdict"`
	Reason    string             `json:"reason,omitempty"` // why it is not applicable
	Instances []Instance         `json:"instances,omitempty"`
}

// An Instance is what the control was asked about, with the answer.
type Instance struct {
	Subject   Subject   `json:"subject"`
	Verdict   Verdict   `json:"verdict"`
	Reason    string    `json:"reason,omitempty"`    // why it is not applicable
	Missing   []Missing `json:"missing,omitempty"`   // unknown: what would decide it
	Evidence  []string  `json:"evidence,omitempty"`  // what the evaluation looked at; not of passes
	Offenders []string  `json:"offenders,omitempty"` // fail: elements of lists that fail
}

// A Subject is what a control is asked about: an assignment, a group on a host, a
// domain, a site or the hierarchy.
type Subject struct {
	Kind     configmgr.Scope  `json:"kind"`
	Name     string           `json:"name"` // as configured
	SID      *secdesc.SID     `json:"sid,omitempty"`
	Entry    string           `json:"entry,omitempty"` // slot of the assignment or group
	Host     string           `json:"host,omitempty"`
	Location string           `json:"location,omitempty"`
	Source   configmgr.Source `json:"source,omitempty"`
	Default  bool             `json:"default,omitempty"` // nobody is configured: who acts then
}

// Missing is evidence that was not there, and who could supply it.
type Missing struct {
	Collector string          `json:"collector"`       // of the catalogue: ldap, sysvol, adminservice, host-sam, …
	Tier      string          `json:"tier"`            // T0, T1, T2, T3, M or -
	Class     configmgr.Class `json:"class,omitempty"` // of the document
	Scope     string          `json:"scope,omitempty"` // site, host or database
	Text      string          `json:"text"`
}

// Failures returns the instances that failed, with their control's outcome.
func (s Site) Failures(yield func(Outcome, Instance) bool) {
	for _, o := range s.Outcomes {
		for _, i := range o.Instances {
			if i.Verdict == Fail && !yield(o, i) {
				return
			}
		}
	}
}

// add counts an outcome.
func (t *Tally) add(o Outcome) {
	switch o.Verdict {
	case Pass:
		t.Pass++
	case Fail:
		t.Fail++
		if t.Severity == nil {
			t.Severity = map[string]int{}
		}
		t.Severity[o.Severity]++
	case Unknown:
		t.Unknown++
	case NotApplicable:
		t.NotApplicable++
	}
}

// sum adds the counts of another tally.
func (t *Tally) sum(o Tally) {
	t.Pass, t.Fail, t.Unknown, t.NotApplicable = t.Pass+o.Pass, t.Fail+o.Fail, t.Unknown+o.Unknown, t.NotApplicable+o.NotApplicable
	for s, n := range o.Severity {
		if t.Severity == nil {
			t.Severity = map[string]int{}
		}
		t.Severity[s] += n
	}
}
