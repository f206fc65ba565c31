package judge

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/leastwise/leastwise/internal/configmgr"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/forest/fixture"
)

// testNow is the time of all cases.
var testNow = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// A testCase is a file of testdata: a document, judged on the directory of
// testdata/forest.yaml with changes, and what is expected of every control on every
// site. An expectation that a control is of several verdicts is one of its instances.
type testCase struct {
	About    string         `yaml:"about"`
	Changes  string         `yaml:"changes"` // fixture that extends forest.yaml
	Blind    bool           `yaml:"blind"`   // the scan saw no policies and could not list everything
	Alphabet *string        `yaml:"alphabet"`
	Document map[string]any `yaml:"document"`
	Expect   map[string]map[Verdict][]string
}

// readCase reads a case.
func readCase(t testing.TB, file string) (testCase, Input) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var c testCase
	if err := yaml.UnmarshalWithOptions(raw, &c, yaml.Strict()); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	text, err := json.Marshal(c.Document)
	if err != nil {
		t.Fatal(err)
	}
	var d configmgr.Document
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return c, Input{Snapshot: caseSnapshot(t, c), Document: &d, Now: testNow, Alphabet: c.Alphabet}
}

// caseSnapshot builds the directory of a case.
func caseSnapshot(t testing.TB, c testCase) *forest.Snapshot {
	t.Helper()
	name, files := "forest.yaml", os.DirFS("testdata")
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	f, err := fixture.ParseFS(files, name)
	if c.Changes != "" {
		f, err = fixture.ParseFS(overlay{"forest.yaml": string(text), "case.yaml": "fixture: 1\nextends: forest.yaml\n" + c.Changes}.fs(), "case.yaml")
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Snapshot(testNow)
	if err != nil {
		t.Fatal(err)
	}
	if c.Blind {
		return blind(t, s)
	}
	return s
}

// blind is a snapshot of what LDIF carries, in which a container was not listed.
func blind(t testing.TB, s *forest.Snapshot) *forest.Snapshot {
	t.Helper()
	var ldif bytes.Buffer
	if err := s.WriteLDIF(&ldif); err != nil {
		t.Fatal(err)
	}
	b := forest.NewBuilder(s.Info())
	if err := forest.ReadLDIF(&ldif, b); err != nil {
		t.Fatal(err)
	}
	b.Cover(forest.Coverage{Area: forest.AreaContainer, Subject: "OU=Secret,DC=contoso,DC=test", State: "unreadable", Reason: "not granted to the reader"})
	out, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// verdicts lists what the instances of an outcome gave, the outcome's own first.
func verdicts(o Outcome) []Verdict {
	out := []Verdict{o.Verdict}
	for _, i := range o.Instances {
		if !slices.Contains(out, i.Verdict) {
			out = append(out, i.Verdict)
		}
	}
	return out
}

// TestCases judges every case. Each control has on each site exactly one outcome, and
// over all cases at least one instance that passes, one that fails and one that is
// unknown.
func TestCases(t *testing.T) {
	r := builtin(t)
	files, err := filepath.Glob("testdata/case-*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	seen := map[string]map[Verdict]bool{}
	for _, file := range files {
		c, in := readCase(t, file)
		a, err := r.Judge(in)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, s := range a.Sites {
			checkSite(t, r, file, s)
			got := map[Verdict][]string{}
			for _, o := range s.Outcomes {
				for _, v := range verdicts(o) {
					got[v] = append(got[v], o.ID)
					if seen[o.ID] == nil {
						seen[o.ID] = map[Verdict]bool{}
					}
					seen[o.ID][v] = true
				}
			}
			compare(t, filepath.Base(file)+" "+s.Code, got, c.Expect[s.Code])
		}
		if os.Getenv("JUDGE_DUMP") != "" {
			dump(t, file, a)
		}
	}
	for _, ctl := range r.catalogue.Controls() {
		for _, v := range []Verdict{Pass, Fail, Unknown} {
			if !seen[ctl.ID][v] {
				t.Errorf("%s: no case in which it is %s (%s)", ctl.ID, v, ctl.Title)
			}
		}
	}
}

// compare demands the expected verdicts and no others.
func compare(t *testing.T, where string, got, want map[Verdict][]string) {
	t.Helper()
	for _, v := range []Verdict{Pass, Fail, Unknown, NotApplicable} {
		for _, id := range got[v] {
			if !slices.Contains(want[v], id) {
				t.Errorf("%s: %s is %s, which was not expected", where, id, v)
			}
		}
		for _, id := range want[v] {
			if !slices.Contains(got[v], id) {
				t.Errorf("%s: %s is not %s, as was expected", where, id, v)
			}
		}
	}
}

// checkSite demands one outcome for each control, and of each what makes it useful.
func checkSite(t *testing.T, r *Rules, file string, s Site) {
	t.Helper()
	controls := r.catalogue.Controls()
	if len(s.Outcomes) != len(controls) {
		t.Errorf("%s: site %s has %d outcomes of %d controls", file, s.Code, len(s.Outcomes), len(controls))
	}
	sum := s.Summary.Pass + s.Summary.Fail + s.Summary.Unknown + s.Summary.NotApplicable
	if sum != len(controls) {
		t.Errorf("%s: site %s counts %d outcomes", file, s.Code, sum)
	}
	for i, o := range s.Outcomes {
		if o.ID != controls[i].ID || len(o.Instances) == 0 {
			t.Errorf("%s: outcome %d of %s is %s with %d instances, want %s with one or more", file, i, s.Code, o.ID, len(o.Instances), controls[i].ID)
		}
		for _, in := range o.Instances {
			checkInstance(t, file+" "+s.Code+" "+o.ID+" ["+in.Subject.Name+"]", in)
		}
	}
}

func checkInstance(t *testing.T, where string, in Instance) {
	t.Helper()
	switch in.Verdict {
	case Pass:
	case Fail:
		if len(in.Evidence) == 0 {
			t.Errorf("%s failed without evidence", where)
		}
	case Unknown:
		if len(in.Missing) == 0 {
			t.Errorf("%s is unknown and does not say what is missing", where)
		}
		for _, m := range in.Missing {
			if m.Collector == "" || m.Tier == "" || m.Text == "" {
				t.Errorf("%s: missing evidence does not name who could supply it: %+v", where, m)
			}
		}
	case NotApplicable:
		if in.Reason == "" {
			t.Errorf("%s is not applicable without reason", where)
		}
	default:
		t.Errorf("%s has the verdict %q", where, in.Verdict)
	}
}

// dump prints a case's outcomes in the form of expectations, for whoever writes cases.
func dump(t *testing.T, file string, a *Assessment) {
	for _, s := range a.Sites {
		for _, v := range []Verdict{Fail, Unknown, Pass, NotApplicable} {
			for _, o := range s.Outcomes {
				for _, i := range o.Instances {
					if i.Verdict == v {
						why := i.Reason
						for _, m := range i.Missing {
							why += " {" + m.Collector + ": " + m.Text + "}"
						}
						if v == Fail {
							why = strings.Join(i.Offenders, "; ") + " <- " + strings.Join(i.Evidence, "; ")
						}
						t.Logf("%s %s %s %s [%s %s]: %.600s", filepath.Base(file), s.Code, v, o.ID, i.Subject.Name, i.Subject.Host, why)
					}
				}
			}
		}
	}
}
