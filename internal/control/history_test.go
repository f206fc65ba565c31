package control

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/leastwise/leastwise/internal/forest"
)

// aPast is a run in which controls were evaluated and some failed: "c:a" is a failure of
// control c for a, "c:a?" one that could not be decided, "c:a=" one that was accepted.
func aPast(id string, gaps []forest.Coverage, findings ...string) Past {
	p := Past{ID: id, Finished: time.Unix(0, 0), Coverage: gaps, Controls: []string{"c", "d"}}
	for _, text := range findings {
		f := PastFinding{Key: strings.TrimRight(text, "?="), Kind: "user", Severity: High, Outcome: Fail}
		f.Control, _, _ = strings.Cut(text, ":")
		if strings.HasSuffix(f.Key, ":domain") {
			f.Kind = "domain"
		}
		switch text[len(text)-1] {
		case '?':
			f.Outcome = Unknown
			p.Summary.Unknown++
		case '=':
			f.Accepted = true
			p.Summary.Excepted++
		default:
			p.Summary.Fail++
		}
		p.Findings = append(p.Findings, f)
	}
	return p
}

// A run that saw less is no improvement: what it did not see stays open until a run that
// sees as much again shows that it is gone.
func TestTraceKeepsWhatWasNotSeen(t *testing.T) {
	whole := []forest.Coverage{{Area: forest.AreaPartition, Subject: "DC=contoso,DC=com", State: "complete", Count: 10}}
	legal := append([]forest.Coverage{{Area: forest.AreaContainer, Subject: "OU=Legal", State: "unreadable", Reason: "no right"}}, whole...)
	few := append([]forest.Coverage{{Area: forest.AreaAttribute, Subject: "mail", State: "partial", Count: 3}}, whole...)
	many := append([]forest.Coverage{{Area: forest.AreaAttribute, Subject: "MAIL", State: "partial", Count: 4}}, whole...)
	none := append([]forest.Coverage{{Area: forest.AreaAttribute, Subject: "mail", State: "not collected"}}, whole...)
	others := append([]forest.Coverage{{Area: forest.AreaAttribute, Subject: "mail", State: "partial", Count: 3, Reason: "another"}}, whole...)
	less := aPast("less", whole, "c:a")
	less.Controls = []string{"c"}
	for name, c := range map[string]struct {
		runs []Past
		want []string // of each run: fail, appeared, gone, accepted, undecided, open
		last string   // fates of the last run
	}{
		"mended":       {[]Past{aPast("1", whole, "c:a", "d:b"), aPast("2", whole, "d:b", "d:e")}, []string{"2 0 0 0 0 2", "2 1 1 0 0 2"}, "c:a gone, d:b still there, d:e new"},
		"unreadable":   {[]Past{aPast("1", whole, "c:a"), aPast("2", legal)}, []string{"1 0 0 0 0 1", "0 0 0 0 1 1"}, "c:a undecided"},
		"still hidden": {[]Past{aPast("1", whole, "c:a"), aPast("2", legal), aPast("3", legal)}, []string{"1 0 0 0 0 1", "0 0 0 0 1 1", "0 0 0 0 1 1"}, "c:a undecided"},
		"seen again":   {[]Past{aPast("1", whole, "c:a"), aPast("2", legal), aPast("3", whole, "c:a")}, []string{"1 0 0 0 0 1", "0 0 0 0 1 1", "1 0 0 0 0 1"}, "c:a still there"},
		"gone at last": {[]Past{aPast("1", whole, "c:a"), aPast("2", legal), aPast("3", whole)}, []string{"1 0 0 0 0 1", "0 0 0 0 1 1", "0 0 1 0 0 0"}, "c:a gone"},
		"same gap":     {[]Past{aPast("1", legal, "c:a"), aPast("2", legal)}, []string{"1 0 0 0 0 1", "0 0 1 0 0 0"}, "c:a gone"},
		"larger gap":   {[]Past{aPast("1", few, "c:a"), aPast("2", many)}, []string{"1 0 0 0 0 1", "0 0 0 0 1 1"}, "c:a undecided"},
		"smaller gap":  {[]Past{aPast("1", many, "c:a"), aPast("2", few)}, []string{"1 0 0 0 0 1", "0 0 1 0 0 0"}, "c:a gone"},
		"worse gap":    {[]Past{aPast("1", few, "c:a"), aPast("2", none)}, []string{"1 0 0 0 0 1", "0 0 0 0 1 1"}, "c:a undecided"},
		"better gap":   {[]Past{aPast("1", none, "c:a"), aPast("2", few)}, []string{"1 0 0 0 0 1", "0 0 1 0 0 0"}, "c:a gone"},
		"other gap":    {[]Past{aPast("1", few, "c:a"), aPast("2", others)}, []string{"1 0 0 0 0 1", "0 0 0 0 1 1"}, "c:a undecided"},
		"not said":     {[]Past{aPast("1", whole, "c:a"), aPast("2", nil)}, []string{"1 0 0 0 0 1", "0 0 0 0 1 1"}, "c:a undecided"},
		// A domain is always in sight: the control itself says what it lacks about it.
		"of a domain":       {[]Past{aPast("1", whole, "c:domain"), aPast("2", legal)}, []string{"1 0 0 0 0 1", "0 0 1 0 0 0"}, "c:domain gone"},
		"unknown":           {[]Past{aPast("1", whole, "c:a"), aPast("2", whole, "c:a?")}, []string{"1 0 0 0 0 1", "0 0 0 0 1 1"}, "c:a undecided"},
		"unknown elsewhere": {[]Past{aPast("1", whole, "c:a", "d:a"), aPast("2", whole, "c:domain?")}, []string{"2 0 0 0 0 2", "0 0 1 0 1 1"}, "c:a undecided, d:a gone"},
		"unknown as before": {[]Past{aPast("1", whole, "c:a", "c:b?"), aPast("2", whole, "c:b?")}, []string{"1 0 0 0 0 1", "0 0 1 0 0 0"}, "c:a gone"},
		"not evaluated":     {[]Past{aPast("1", whole, "d:a"), less}, []string{"1 0 0 0 0 1", "1 1 0 0 1 2"}, "c:a new, d:a undecided"},
		"accepted":          {[]Past{aPast("1", whole, "c:a"), aPast("2", whole, "c:a="), aPast("3", whole, "c:a")}, []string{"1 0 0 0 0 1", "0 0 0 1 0 0", "1 1 0 0 0 1"}, "c:a new"},
		"nothing":           {nil, nil, ""},
	} {
		points, steps := Trace(c.runs)
		var got []string
		for _, p := range points {
			got = append(got, fmt.Sprint(p.Fail, p.Appeared, p.Gone, p.Accepted, p.Undecided, p.Open()))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		var fates []string
		for _, s := range steps {
			fates = append(fates, s.Key+" "+string(s.Fate))
			if (s.Why != "") != (s.Fate == FateUndecided) {
				t.Errorf("%s: %+v", name, s)
			}
		}
		if text := strings.Join(fates, ", "); text != c.last {
			t.Errorf("%s: %q, want %q", name, text, c.last)
		}
	}
}

// What became of a failure names the run that saw it last.
func TestTraceNamesRuns(t *testing.T) {
	_, steps := Trace([]Past{aPast("1", nil), aPast("2", nil, "c:a"), aPast("3", nil, "c:a", "d:b"), aPast("4", nil, "d:b")})
	want := []FailureStep{
		{"c:a", "c", High, FateGone, "2", "3", ""},
		{"d:b", "d", High, FateStays, "3", "4", ""},
	}
	if diff := cmp.Diff(want, steps); diff != "" {
		t.Error(diff)
	}
}
