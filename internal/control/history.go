package control

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/forest"
)

// A Past is what history keeps of an assessment, as far as runs are compared by it.
type Past struct {
	ID       string
	Finished time.Time
	Summary  Summary
	Coverage []forest.Coverage
	Controls []string // IDs of those that were evaluated; empty: not known
	Findings []PastFinding
	Groups   []PopulationPoint
}

// A PastFinding is a finding of a Past.
type PastFinding struct {
	Key      string // see [Finding.Digest]
	Control  string
	Kind     string // of its subject
	Severity Severity
	Outcome  Outcome
	Accepted bool // a failure with a valid exception
}

// A PopulationPoint counts the members of one privileged group in a run.
type PopulationPoint struct {
	SID       string   `json:"sid"`
	Name      string   `json:"name"`
	Domain    string   `json:"domain"`
	Direct    int      `json:"direct"`
	Effective int      `json:"effective"`
	Standing  int      `json:"standing"`
	Temporary int      `json:"temporary"`
	Unknown   []string `json:"unknown,omitempty"` // why the counts may be too small
}

// A TrendPoint is one run in a series of them, compared with those before it. What a run
// could not see is not mended: such failures stay open, as Undecided.
type TrendPoint struct {
	Run         string            `json:"run"`
	Finished    time.Time         `json:"finished"`
	Pass        int               `json:"pass"`
	Fail        int               `json:"fail"`
	Unknown     int               `json:"unknown"`
	Excepted    int               `json:"excepted"`
	Appeared    int               `json:"appeared"`   // failures that were none before
	Gone        int               `json:"gone"`       // failures of before that are surely none now
	Accepted    int               `json:"accepted"`   // failures of before that an exception covers now
	Undecided   int               `json:"undecided"`  // failures of before that this run could not decide
	LostSight   []string          `json:"lost_sight"` // what the run before had read and this one had not
	Populations []PopulationPoint `json:"populations"`
}

// Open is how many failures have to be reckoned with.
func (p *TrendPoint) Open() int { return p.Fail + p.Undecided }

// A Fate says what became of a failure in a run.
type Fate string

// Fates.
const (
	FateAppeared  Fate = "new"
	FateStays     Fate = "still there"
	FateUndecided Fate = "undecided" // this run could not tell
	FateAccepted  Fate = "accepted"
	FateGone      Fate = "gone"
)

// A FailureStep is what became of one failure in a run.
type FailureStep struct {
	Key      string
	Control  string
	Severity Severity
	Fate     Fate
	First    string // ID of the first run that had it, of those that were looked at
	Seen     string // ID of the last run that had it
	Why      string // why it is undecided
}

// Trace compares runs of one forest, which are ordered by their end. steps are those of
// the last run, worst first. In the first run of all nothing has appeared.
func Trace(runs []Past) (points []TrendPoint, steps []FailureStep) {
	t := &tracer{runs: runs, open: map[string]*openFailure{}, sights: map[[2]int]*sight{}}
	points = make([]TrendPoint, 0, len(runs))
	for i := range runs {
		steps = t.step(i)
		points = append(points, t.point(i, steps))
	}
	return points, steps
}

// A tracer follows failures from run to run.
type tracer struct {
	runs   []Past
	open   map[string]*openFailure
	sights map[[2]int]*sight
}

// An openFailure is a failure of which no later run has shown that it is none.
type openFailure struct {
	PastFinding
	first, seen int // runs
}

// A sight is what one run saw less of than an earlier one.
type sight struct {
	lost    []string        // areas
	unknown map[string]bool // controls that could not decide what they could before
}

func (t *tracer) point(i int, steps []FailureStep) TrendPoint {
	r := &t.runs[i]
	p := TrendPoint{
		Run: r.ID, Finished: r.Finished, Pass: r.Summary.Pass, Fail: r.Summary.Fail, Unknown: r.Summary.Unknown, Excepted: r.Summary.Excepted,
		LostSight: []string{}, Populations: r.Groups,
	}
	if p.Populations == nil {
		p.Populations = []PopulationPoint{}
	}
	for _, s := range steps {
		switch s.Fate {
		case FateAppeared:
			p.Appeared++
		case FateGone:
			p.Gone++
		case FateAccepted:
			p.Accepted++
		case FateUndecided:
			p.Undecided++
		case FateStays:
		}
	}
	if i == 0 {
		p.Appeared = 0
	} else {
		p.LostSight = t.between(i-1, i).lost
	}
	return p
}

// step takes the next run and says what became of each failure.
func (t *tracer) step(i int) []FailureStep {
	var out []FailureStep
	others := map[string]PastFinding{}
	failing := map[string]bool{}
	add := func(o *openFailure, fate Fate, why string) {
		out = append(out, FailureStep{o.Key, o.Control, o.Severity, fate, t.runs[o.first].ID, t.runs[o.seen].ID, why})
	}
	for _, f := range t.runs[i].Findings {
		if f.Outcome != Fail || f.Accepted {
			others[f.Key] = f
			continue
		}
		failing[f.Key] = true
		o, fate := t.open[f.Key], FateStays
		if o == nil {
			o, fate = &openFailure{f, i, i}, FateAppeared
			t.open[f.Key] = o
		}
		o.PastFinding, o.seen = f, i
		add(o, fate, "")
	}
	for key, o := range t.open {
		if failing[key] {
			continue
		}
		f, there := others[key]
		fate, why := FateGone, ""
		switch {
		case there && f.Accepted:
			fate = FateAccepted
		case there:
			fate, why = FateUndecided, "this run lacks evidence about it"
		default:
			if why = t.unseen(o, i); why != "" {
				fate = FateUndecided
			}
		}
		add(o, fate, why)
		if fate != FateUndecided {
			delete(t.open, key)
		}
	}
	slices.SortFunc(out, func(a, b FailureStep) int {
		return cmp.Or(cmp.Compare(severityRank[a.Severity], severityRank[b.Severity]), strings.Compare(a.Control, b.Control), strings.Compare(a.Key, b.Key))
	})
	return out
}

// unseen says why a failure that run i does not have may be one all the same; empty if
// the run saw all that the last one saw that had it. A domain or forest cannot be out of
// sight: about these the control itself says what it lacks.
func (t *tracer) unseen(o *openFailure, i int) string {
	if c := t.runs[i].Controls; len(c) > 0 && !slices.Contains(c, o.Control) {
		return "the control was not evaluated"
	}
	s := t.between(o.seen, i)
	if s.unknown[o.Control] {
		return "the control could not decide what it could before"
	}
	if len(s.lost) > 0 && o.Kind != "domain" && o.Kind != "forest" {
		return "not read as before: " + s.lost[0]
	}
	return ""
}

// between compares what two runs saw.
func (t *tracer) between(before, after int) *sight {
	key := [2]int{before, after}
	if s := t.sights[key]; s != nil {
		return s
	}
	a, b := &t.runs[before], &t.runs[after]
	s := &sight{lost: LostSight(a.Coverage, b.Coverage), unknown: map[string]bool{}}
	was := map[string]bool{}
	for _, f := range a.Findings {
		if f.Outcome == Unknown {
			was[f.Key] = true
		}
	}
	for _, f := range b.Findings {
		if f.Outcome == Unknown && !was[f.Key] {
			s.unknown[f.Control] = true
		}
	}
	t.sights[key] = s
	return s
}

// LostSight lists what the first of two readings covers and the second does not: a gap
// that is new or larger, or an area of which the second says nothing.
func LostSight(before, after []forest.Coverage) []string {
	was := make(map[string]forest.Coverage, len(before))
	for _, c := range before {
		was[coverageKey(c)] = c
	}
	said := make(map[string]bool, len(after))
	out := []string{}
	for _, c := range after {
		key := coverageKey(c)
		said[key] = true
		old, known := was[key]
		if !c.Complete() && (!known || sawLess(old, c)) {
			out = append(out, fmt.Sprintf("%s %s: %s. %s", c.Area, c.Subject, c.State, c.Reason))
		}
	}
	for _, c := range before {
		if c.Complete() && !said[coverageKey(c)] {
			out = append(out, fmt.Sprintf("%s %s: not mentioned", c.Area, c.Subject))
		}
	}
	return out
}

// sawLess reports whether an area that is not complete may hold something that was seen
// before: it was complete, or partial with fewer objects missing, or for another reason.
func sawLess(before, after forest.Coverage) bool {
	const partial = "partial"
	switch {
	case before.Complete():
		return true
	case before.State != partial: // nothing of it was seen
		return before.State == after.State && after.Count > before.Count
	case after.State != partial:
		return true
	}
	return after.Count > before.Count || after.Count == before.Count && after.Reason != before.Reason
}

func coverageKey(c forest.Coverage) string {
	return string(c.Area) + "\x00" + strings.ToLower(c.Subject)
}

// Digest is [Finding.Key] in 16 hexadecimal digits.
func (f *Finding) Digest() string {
	sum := sha256.Sum256([]byte(f.Key()))
	return hex.EncodeToString(sum[:8])
}
