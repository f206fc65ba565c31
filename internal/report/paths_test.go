package report_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/forest/fixture"
	"github.com/leastwise/leastwise/internal/report"
)

// company is the assessment of the demonstration company.
func company(t *testing.T) *control.Assessment {
	t.Helper()
	f, err := fixture.ParseFS(os.DirFS("../../examples"), "contoso.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Snapshot(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	c, err := control.New()
	if err != nil {
		t.Fatal(err)
	}
	a, err := c.Assess(control.Input{Snapshot: s})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// The ways to Tier 0 of a real assessment follow the schema, and the schema holds
// them to what it says.
func TestControlPathsFollowSchema(t *testing.T) {
	sch, a := compile(t), company(t)
	if len(a.Paths.Certain) == 0 || len(a.Paths.Chokes) == 0 || len(a.Paths.Cut.Removals) == 0 {
		t.Fatalf("no ways to write: %+v", a.Paths)
	}
	valid := func() error {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(render(t, report.JSON, a)))
		if err != nil {
			t.Fatal(err)
		}
		return sch.Validate(v)
	}
	if err := valid(); err != nil {
		t.Errorf("the output does not follow the schema: %v", err)
	}
	for what, change := range map[string]func(){
		"negative number": func() { a.Paths.CertainTotal = -1 },
		"count":           func() { a.Population[0].Control.Outside = -1 },
		"sample":          func() { a.Paths.Chokes[0].Sample = nil },
		"way":             func() { a.Paths.Certain[0].Steps = nil },
	} {
		a = company(t)
		if change(); valid() == nil {
			t.Errorf("the schema accepts a wrong %s", what)
		}
	}
}
