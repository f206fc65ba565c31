package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/reach"
)

// Missing lists what a snapshot lacks that may hold further ways to power:
// all that a scan could not read or did not ask for, but audit entries and
// replication metadata, which give nobody anything.
func Missing(s *forest.Snapshot) []string {
	out := []string{}
	for _, c := range s.Coverage() {
		if c.Complete() || c.Area == forest.AreaSACL || c.Area == forest.AreaMetadata {
			continue
		}
		text := string(c.Area) + " " + c.Subject + ": " + c.State
		if c.Reason != "" {
			text += " (" + c.Reason + ")"
		}
		out = append(out, text)
	}
	for _, a := range reach.Unasked(s) {
		out = append(out, "attribute "+a.String()+": not collected")
	}
	for _, b := range reach.Blanks(s) {
		switch {
		case !s.Collected(b.Attr):
		case b.Objects == 1:
			out = append(out, fmt.Sprintf("attribute %s of %s: %s", b.Attr, s.DN(b.First), b.Why))
		default:
			out = append(out, fmt.Sprintf("attribute %s of %d objects, %s first: %s", b.Attr, b.Objects, s.DN(b.First), b.Why))
		}
	}
	return out
}

// missing writes what may hold further ways, if anything.
func (p *page) missing(list []string) {
	if len(list) == 0 {
		return
	}
	head := "Not everything was read: more may be possible"
	if slices.ContainsFunc(list, func(m string) bool { return strings.Contains(m, ": "+forest.StateAssumed+" (") }) {
		head += ", and what rests on what is assumed may not hold"
	}
	p.heading(p.ink(yellow, head))
	for _, m := range list {
		p.line("  - %s", visible(m))
	}
}
