package report_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/leastwise/leastwise/docs/schema"
	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/forest/fixture"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/reach"
	"github.com/leastwise/leastwise/internal/report"
)

// answers writes what the commands answer about the demonstration company, as JSON,
// by the names that the examples of docs/FORMATS.md bear.
func answers(t *testing.T) map[string]string {
	t.Helper()
	f, err := fixture.ParseFS(os.DirFS("../../examples"), "contoso.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Snapshot(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	x := reach.New(s)
	g := reach.NewGraph(x, gpo.New(s, x))
	goals := g.Resolve(reach.TierZero())
	r := g.WhoCan(goals)
	account := func(name string) forest.ID { return s.BySAMAccountName(name)[0] }
	holder := s.Lookup("CN=AdminSDHolder,CN=System,DC=contoso,DC=test")
	changes := []reach.Change{
		{Kind: reach.EntryRemoved, Object: holder, Index: 24},
		{Kind: reach.MemberRemoved, Object: account("Domain Admins"), Other: account("adm-cvoss")},
	}
	after, err := g.With(changes)
	if err != nil {
		t.Fatal(err)
	}
	desk := account("Help Desk")
	cat, err := control.New()
	if err != nil {
		t.Fatal(err)
	}
	whatIf := report.NewWhatIf(s, "tier0", []string{"remove …"}, reach.Compare(g, after, goals))
	whatIf.Controls, err = cat.Simulate(control.Input{Snapshot: s, Graph: g}, control.Input{Snapshot: after.Snapshot(), Graph: after}, control.Watch{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{
		"explain": written(t, report.NewPaths(s, "tier0", desk, goals, []reach.Path{r.Path(desk)}, r.Unread()).JSON),
		"all":     written(t, report.NewPaths(s, "tier0", desk, goals, g.Paths(desk, goals, 5), r.Unread()).JSON),
		"who-can": written(t, report.NewPower(s, "tier0", r).JSON),
		"reach":   written(t, report.NewExtent(s, g, account("svc-legacyweb")).JSON),
		"nobody":  written(t, report.NewExtent(s, g, account("Guest")).JSON),
		"whatif":  written(t, whatIf.JSON),
	}
	out["assess"] = render(t, report.JSON, company(t))
	return out
}

func written(t *testing.T, write func(io.Writer) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const schemaBase = "https://github.com/leastwise/leastwise/docs/schema/"

// answerSchema compiles one of the published schemas beside that of assessments, to
// whose definitions the others refer.
func answerSchema(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	for file, text := range map[string]string{
		"assessment": schema.Assessment(), "power": schema.Power(), "reach": schema.Reach(), "whatif": schema.WhatIf(),
		"configmgr-output": schema.ConfigMgrOutput(),
	} {
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource(schemaBase+file+".schema.json", doc); err != nil {
			t.Fatal(err)
		}
	}
	sch, err := c.Compile(schemaBase + name + ".schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return sch
}

// What the commands write follows the published schemas, which name every field and
// refuse what is wrong.
func TestAnswersFollowSchemas(t *testing.T) {
	have := answers(t)
	for name, file := range map[string]string{"explain": "power", "all": "power", "who-can": "power", "reach": "reach", "nobody": "reach", "whatif": "whatif", "assess": "assessment"} {
		sch := answerSchema(t, file)
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(have[name]))
		if err != nil {
			t.Fatal(err)
		}
		if err := sch.Validate(v); err != nil {
			t.Errorf("the output of %s does not follow the schema: %v", name, err)
		}
		for _, wrong := range []string{`"version": 1`, `"kind":`, `"name":`} {
			if !strings.Contains(have[name], wrong) {
				continue
			}
			bad, err := jsonschema.UnmarshalJSON(strings.NewReader(strings.Replace(have[name], wrong, `"other": 1`+strings.Repeat(`, "more":`, strings.Count(wrong, `":`)-strings.Count(wrong, ": 1")), 1)))
			if err != nil {
				t.Fatal(err)
			}
			if sch.Validate(bad) == nil {
				t.Errorf("the schema of %s accepts an answer without %s", name, wrong)
			}
		}
	}
	for _, tt := range []struct {
		of   reflect.Type
		text string
	}{
		{reflect.TypeFor[report.Power](), schema.Power()},
		{reflect.TypeFor[report.Extent](), schema.Reach()},
		{reflect.TypeFor[report.ExtentRight](), schema.Reach()},
		{reflect.TypeFor[report.ExtentClass](), schema.Reach()},
		{reflect.TypeFor[report.WhatIf](), schema.WhatIf()},
		{reflect.TypeFor[report.WhatIfTurn](), schema.WhatIf()},
		{reflect.TypeFor[report.WhatIfRight](), schema.WhatIf()},
		{reflect.TypeFor[report.WhatIfLockOut](), schema.WhatIf()},
		{reflect.TypeFor[report.WhatIfStamp](), schema.WhatIf()},
		{reflect.TypeFor[control.Simulation](), schema.WhatIf()},
		{reflect.TypeFor[control.ControlTurn](), schema.WhatIf()},
		{reflect.TypeFor[control.Turn](), schema.WhatIf()},
		{reflect.TypeFor[control.WayStep](), schema.Assessment()},
	} {
		for i := range tt.of.NumField() {
			name, _, _ := strings.Cut(tt.of.Field(i).Tag.Get("json"), ",")
			if name != "-" && !strings.Contains(tt.text, fmt.Sprintf("%q:", name)) {
				t.Errorf("no schema has %q of %s", name, tt.of)
			}
		}
	}
}

// exampleBlock is an example of docs/FORMATS.md with the name of its answer.
var exampleBlock = regexp.MustCompile("(?s)```json ([a-z-]+)\n(.*?)```")

// Every example of the documentation is part of what the program answers.
func TestDocumentedAnswers(t *testing.T) {
	text, err := os.ReadFile("../../docs/FORMATS.md")
	if err != nil {
		t.Fatal(err)
	}
	have := answers(t)
	found := 0
	for _, m := range exampleBlock.FindAllSubmatch(text, -1) {
		var example, answer any
		if err := json.Unmarshal(m[2], &example); err != nil {
			t.Fatalf("the example of %s: %v", m[1], err)
		}
		if have[string(m[1])] == "" {
			continue // of another part of the program
		}
		found++
		if err := json.Unmarshal([]byte(have[string(m[1])]), &answer); err != nil {
			t.Fatal(err)
		}
		if where, ok := partOf(example, answer); !ok {
			t.Errorf("the example of %s is not what the program answers: %s", m[1], where)
		}
	}
	if found < 4 {
		t.Errorf("%d examples", found)
	}
}

// partOf reports whether all of part is in whole: each field with its value, each
// element in some element of the list; where is the first place that is not.
func partOf(part, whole any) (where string, ok bool) {
	switch p := part.(type) {
	case map[string]any:
		w, isMap := whole.(map[string]any)
		if !isMap {
			return fmt.Sprintf(" is %v", whole), false
		}
		for key, v := range p {
			if where, ok := partOf(v, w[key]); !ok {
				return "." + key + where, false
			}
		}
	case []any:
		w, isList := whole.([]any)
		if !isList || len(p) == 0 && len(w) > 0 {
			return fmt.Sprintf(" is %v", whole), false
		}
		for i, v := range p {
			at := ""
			for _, x := range w {
				if at, ok = partOf(v, x); ok {
					break
				}
			}
			if !ok {
				return fmt.Sprintf("[%d] is in none of %d; the last: %s", i, len(w), at), false
			}
			ok = false
		}
	default:
		if !reflect.DeepEqual(part, whole) {
			return fmt.Sprintf(" is %v, not %v", whole, part), false
		}
	}
	return "", true
}
