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

// One inheritable entry is one change to a reader: the objects that inherit it are
// counted where it stands, and the data keep each with its origin.
func TestInheritedChangesAreCounted(t *testing.T) {
	const plain = `fixture: 1
domain: contoso.test
netbios: CONTOSO
ous: [{name: Staff}]
users:
  - {name: A, in: Staff}
  - {name: B, in: Staff}
  - {name: C, in: Staff}
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
	before := snapshot(plain)
	after := snapshot(strings.Replace(plain, "{name: C, in: Staff}", "{name: C, in: Staff, flags: [sensitive]}", 1) +
		"permissions: [{on: Staff, lines: ['allow Guests reset-password on user below']}]\n")
	const origin = "OU=Staff,DC=contoso,DC=test"
	for _, c := range []*forest.Changes{forest.Diff(before, after), forest.Diff(after, before)} {
		if len(c.Objects) != 4 {
			t.Fatalf("%d objects changed, want 4", len(c.Objects))
		}
		for _, o := range c.Objects {
			from, echo := o.Echo()
			if want := strings.HasPrefix(o.DN, "CN=A,") || strings.HasPrefix(o.DN, "CN=B,"); echo != want || echo && from != origin {
				t.Errorf("%s: echo %t of %q", o.DN, echo, from)
			}
			for _, e := range o.Descriptor.Entries {
				if want := map[bool]string{false: origin}[o.DN == origin]; e.Origin != want {
					t.Errorf("%s: entry %s comes from %q, want %q", o.DN, e.SDDL, e.Origin, want)
				}
			}
		}
		var text, data bytes.Buffer
		if err := report.ChangesText(&text, c, report.Screen{}); err != nil {
			t.Fatal(err)
		}
		if got := text.String(); !strings.Contains(got, "Objects: 4 changed") || !strings.Contains(got, "2 objects below it changed only by inheriting this") ||
			strings.Contains(got, "CN=A,") || !strings.Contains(got, "changed CN=C,OU=Staff") {
			t.Errorf("the text is:\n%s", got)
		}
		if err := report.ChangesJSON(&data, c); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(data.String(), `"inherited_from": "`+origin+`"`); n != 3 {
			t.Errorf("the JSON names the origin %d times, want 3:\n%s", n, data.String())
		}
	}
}
