package report_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/forest/fixture"
	"github.com/leastwise/leastwise/internal/report"
)

// changedForest is rightsForest with a member, a group, a right of a policy and
// an entry of a descriptor changed.
func changedForest(t *testing.T) *forest.Changes {
	t.Helper()
	after := strings.NewReplacer(
		"{name: Web Admins, in: Servers}", "{name: Web Admins, in: Servers, members: [WEB1$]}\n  - {name: New Group, in: Servers}",
		"[Guests, plain CONTOSO\\nobody]", "[Domain Admins]",
	).Replace(rightsForest) + `
permissions:
  - on: Servers
    lines: ['allow "Web Admins" reset-password on user below']
`
	snapshot := func(text string) *forest.Snapshot {
		f, err := fixture.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		s, err := f.Snapshot(day(0))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	return forest.Diff(snapshot(rightsForest), snapshot(after))
}

func TestChanges(t *testing.T) {
	c := changedForest(t)
	// What the fixtures cannot make: a container that one reading did not see.
	c.Objects = append(c.Objects, forest.ObjectChange{Kind: forest.Lost, DN: "CN=x\u202Ey,OU=Legal,DC=contoso,DC=test", Class: "user"})
	c.Coverage = append(c.Coverage, forest.CoverageChange{
		Area: forest.AreaContainer, Subject: "OU=Legal,DC=contoso,DC=test",
		New: &forest.Coverage{Area: forest.AreaContainer, Subject: "OU=Legal,DC=contoso,DC=test", State: "unreadable", Reason: "access is denied"},
	})
	var text, wide, out bytes.Buffer
	if err := report.ChangesText(&text, c, report.Screen{}); err != nil {
		t.Fatal(err)
	}
	golden(t, "changes.txt", text.String())
	checkVisible(t, text.String())
	for _, want := range []string{"added CN=New Group,OU=Servers", "added member CN=WEB1", "added DACL entry", "lost CN=x<U+202E>y", "nothing said → unreadable (access is denied)", "GptTmpl.inf"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q", want)
		}
	}
	if err := report.ChangesText(&wide, c, report.Screen{Width: 90, Color: true, Findings: 2}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(wide.String(), "objects listed; the JSON output has all.") {
		t.Error("a shortened list does not say so")
	}
	if err := report.ChangesJSON(&out, c); err != nil {
		t.Fatal(err)
	}
	var back struct{ Objects, Files, Coverage []json.RawMessage }
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || len(back.Objects) != len(c.Objects) || len(back.Files) != 1 {
		t.Errorf("%d objects in the JSON, want %d; %v", len(back.Objects), len(c.Objects), err)
	}
	if !strings.Contains(out.String(), `"kind": "lost"`) {
		t.Error("the JSON lacks the lost object")
	}
	var none bytes.Buffer
	if err := report.ChangesText(&none, &forest.Changes{}, report.Screen{}); err != nil || !strings.HasSuffix(none.String(), "Nothing.\n\n") {
		t.Errorf("no change: %q, %v", none.String(), err)
	}
	if report.ChangesText(&broken{}, c, report.Screen{}) == nil || report.ChangesJSON(&broken{}, c) == nil {
		t.Error("a writer that fails is not reported")
	}
}
