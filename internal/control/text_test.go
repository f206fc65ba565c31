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
