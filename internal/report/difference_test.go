package report_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/report"
)

// later is the sample a week on: a finding mended, one new, some changed, a
// member gone and another joined, and one more container unreadable.
func later() (before, after *control.Assessment, delta control.Delta) {
	before, after = sample(), sample()
	after.Run.ID, after.Run.Started = "51aa07be90c4", day(7)
	delta.Fixed = before.Findings[3:5]
	fresh := before.Findings[6]
	fresh.Subject.Name, fresh.Subject.SID = "new\u202Eadmin", domSID+"-7777"
	delta.New = []control.Finding{fresh}
	worse := before.Findings[20]
	worse.Outcome, worse.Missing = control.Unknown, []string{"the policy file"}
	wider := before.Findings[22]
	wider.Subject.Hosts = append([]string{"CN=H3,OU=Servers," + root}, wider.Subject.Hosts[1:]...)
	delta.Changed = []control.FindingChange{{Old: before.Findings[20], New: worse}, {Old: before.Findings[22], New: wider}}
	da := &after.Population[1]
	da.Members = append([]control.Member{member(70, "Domain Admins")}, da.Members[2:]...)
	da.Effective = len(da.Members)
	after.Run.Coverage = append(after.Run.Coverage, forest.Coverage{Area: forest.AreaContainer, Subject: "OU=Legal," + root, State: "unreadable", Reason: "access is denied"})
	after.Summary.Fail -= 2
	return before, after, delta
}

func TestDifference(t *testing.T) {
	d := report.NewDifference(later())
	if len(d.Added) != 1 || len(d.Gone) != 2 || len(d.Changed) != 2 {
		t.Fatalf("%d added, %d gone, %d changed", len(d.Added), len(d.Gone), len(d.Changed))
	}
	if d.Changed[0].What[0] != "fail → unknown" {
		t.Errorf("a failure that can no longer be decided: %q", d.Changed[0].What)
	}
	if what := strings.Join(d.Changed[1].What, "; "); !strings.Contains(what, "+ computer: CN=H3,OU=Servers") || !strings.Contains(what, "- computer: CN=H1,") {
		t.Errorf("another set of computers: %q", what)
	}
	if len(d.LostSight) != 1 || !strings.Contains(d.LostSight[0], "OU=Legal") {
		t.Errorf("lost sight of %q", d.LostSight)
	}
	if len(d.Population) != 1 || len(d.Population[0].Joined) != 1 || len(d.Population[0].Left) != 2 || !d.Population[0].Certain {
		t.Errorf("population: %+v", d.Population)
	}
	same := report.NewDifference(sample(), sample(), control.Diff(sample(), sample()))
	if len(same.Population)+len(same.LostSight)+len(same.Added)+len(same.Gone)+len(same.Changed) != 0 {
		t.Errorf("an assessment differs from itself: %+v", same)
	}
}

func TestDifferenceOutput(t *testing.T) {
	d := report.NewDifference(later())
	var text, wide, out bytes.Buffer
	if err := d.Text(&text, report.Screen{}); err != nil {
		t.Fatal(err)
	}
	golden(t, "difference.txt", text.String())
	checkVisible(t, text.String())
	if err := d.Text(&wide, report.Screen{Width: 100, Color: true}); err != nil {
		t.Fatal(err)
	}
	golden(t, "difference.ansi", wide.String())
	if err := d.JSON(&out); err != nil {
		t.Fatal(err)
	}
	golden(t, "difference.json", out.String())
	var back report.Difference
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || len(back.Changed) != 2 {
		t.Errorf("reading it back: %v", err)
	}
	if strings.Contains(out.String(), "null") {
		t.Error("the JSON has null in it")
	}
	if d.Text(&broken{}, report.Screen{}) == nil || d.JSON(&broken{}) == nil {
		t.Error("a writer that fails is not reported")
	}
}
