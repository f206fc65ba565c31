package report_test

import (
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/forest/fixture"
	"github.com/leastwise/leastwise/internal/report"
)

// assessed is what the engine makes of the small example forest.
func assessed(t *testing.T) *control.Assessment {
	t.Helper()
	f, err := fixture.ParseFS(os.DirFS("../../examples"), "small.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Snapshot(day(0))
	if err != nil {
		t.Fatal(err)
	}
	c, err := control.New()
	if err != nil {
		t.Fatal(err)
	}
	a, err := c.Assess(control.Input{Snapshot: s, Now: day(0)})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestAssessed renders an assessment that the engine made, not the tests: it
// follows the schema, and each of its findings is in every form.
func TestAssessed(t *testing.T) {
	a := assessed(t)
	if len(a.Findings) == 0 {
		t.Fatal("the small forest has no findings")
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(render(t, report.JSON, a)))
	if err != nil {
		t.Fatal(err)
	}
	if err := compile(t).Validate(v); err != nil {
		t.Errorf("the output does not follow the schema: %v", err)
	}
	page, table, log := render(t, report.HTML, a), render(t, report.CSV, a), render(t, report.SARIF, a)
	for _, f := range a.Findings {
		key := report.Key(f)
		if !strings.Contains(page, `id="f-`+key+`"`) || !strings.Contains(table, key) || !strings.Contains(log, key) {
			t.Errorf("the finding %s of %s is missing in a form", f.Control, f.Subject.DN)
		}
	}
}
