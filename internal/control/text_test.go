package control

import (
	"fmt"
	"strings"
	"testing"
)

// Texts that are put together without their template come out as with it.
func TestPlainTexts(t *testing.T) {
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	s := changed(t, "")
	w := newWorld(Input{Snapshot: s, Now: testNow})
	n := &note{
		Subject: subjectNote{Subject: Subject{Name: "n", DN: "d", SID: "s", Domain: "m"}, id: s.BySAMAccountName("ordinary")[0], w: w},
		Item:    item{Name: "in", DN: "id", SID: "is", Why: "iw"}, Options: DefaultOptions().variables(),
	}
	for i := range 12 {
		n.Offenders = append(n.Offenders, item{Name: fmt.Sprintf("offender %d", i)})
	}
	plain := 0
	for _, e := range c.Entries() {
		for _, x := range append([]*text{e.texts.detail, e.texts.fix, e.texts.each, e.texts.verify}, e.texts.changes...) {
			if x == nil || x.parts == nil {
				continue
			}
			plain++
			var b strings.Builder
			if err := x.Execute(&b, n); err != nil {
				t.Fatalf("%s: %v", e.ID, err)
			}
			if got := fill(x, n); got != strings.TrimSpace(b.String()) {
				t.Errorf("%s: %q, the template says %q", e.ID, got, b.String())
			}
		}
	}
	if plain < 100 {
		t.Errorf("only %d texts are plain", plain)
	}
}

// What has several entries under one name is named once, with what differs.
func TestNamesOnce(t *testing.T) {
	self := func(what ...string) (out []item) {
		for _, x := range what {
			out = append(out, item{Name: "Self", What: x, entry: true})
		}
		return out
	}
	for _, tt := range []struct {
		items []item
		want  string
	}{
		{self("allow WP"), "Self"},
		{[]item{{Name: "a"}, {Name: "b"}}, "a, b"},
		{append(self("allow WP on x", "allow CR on y"), item{Name: "b"}), "Self (2 entries: allow WP on x; allow CR on y), b"},
		{self("allow WP", "allow WP"), "Self (2 entries: allow WP)"},
		{self("1", "2", "3", "4", "5"), "Self (5 entries: 1; 2; 3; and 2 more)"},
		{[]item{{Name: "a"}, {Name: "a"}}, "a, a"}, // two objects,
	} {
		if got := names(tt.items); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}
