package control

import (
	"os"
	"testing"
)

func TestSmoke(t *testing.T) {
	text, err := os.ReadFile("../../examples/small.yaml")
	if err != nil {
		t.Fatal(err)
	}
	a := assess(t, builtinCatalogue(t), Input{Snapshot: snapshotOf(t, string(text))})
	for _, f := range a.Findings {
		t.Logf("%s %s %s [%s] %s | %v | %d ev", f.Outcome, f.Severity, f.Control, f.Subject.Name, f.Detail, f.Fix.Changes, len(f.Evidence))
	}
	for _, m := range a.Matrix {
		t.Log(m.Hosts.Name, m.Role, m.Principal, m.Cells)
	}
	t.Logf("%+v", a.Summary)
}
