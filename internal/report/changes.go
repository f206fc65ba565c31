package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/forest"
)

// maxChanges is how many objects are listed on a terminal that sets no limit.
const maxChanges = 200

// ChangesJSON writes the differences of two snapshots as indented JSON.
func ChangesJSON(w io.Writer, c *forest.Changes) error {
	full := forest.Changes{Objects: list(c.Objects), Files: list(c.Files), Coverage: list(c.Coverage)}
	if err := writeJSON(w, full); err != nil {
		return fmt.Errorf("writing changes as JSON: %w", err)
	}
	return nil
}

// ChangesText writes the differences of two snapshots for reading in a terminal:
// first what one of them could not read, then objects with each attribute, link
// and access control entry, then files. Screen.Findings limits the objects; a
// terminal without that limit gets 200.
func ChangesText(w io.Writer, c *forest.Changes, s Screen) error {
	p := &page{screen: s}
	p.line("%s", p.strong("What changed between two snapshots"))
	if c.Empty() {
		p.line("Nothing.\n")
		return p.flush(w, "changes")
	}
	p.changeCounts(c)
	p.coverageChanges(c.Coverage)
	p.objectChanges(c.Objects)
	p.fileChanges(c.Files)
	p.line("") // what follows on the screen stands apart
	return p.flush(w, "changes")
}

// changeInk colours a kind of change.
func changeInk(k forest.ChangeKind) string {
	switch k {
	case forest.Added:
		return red
	case forest.Removed:
		return green
	case forest.Lost, forest.Found:
		return yellow
	default:
		return blue
	}
}

func (p *page) changeCounts(c *forest.Changes) {
	n := map[forest.ChangeKind]int{}
	for _, o := range c.Objects {
		n[o.Kind]++
	}
	var parts []string
	for _, k := range []forest.ChangeKind{forest.Added, forest.Removed, forest.Moved, forest.Modified, forest.Lost, forest.Found} {
		if n[k] > 0 {
			parts = append(parts, p.ink(changeInk(k), thousands(n[k])+" "+string(k)))
		}
	}
	if len(parts) == 0 {
		parts = []string{"none"}
	}
	p.line("Objects: %s. Files: %s.", strings.Join(parts, ", "), thousands(len(c.Files)))
	if n[forest.Lost]+n[forest.Found] > 0 {
		p.line("%s", p.ink(yellow, "Lost or found: one of the readings could not see it, so it may or may not have changed."))
	}
}

// coverageChanges lists what one reading covered and the other did not. That
// only a count differs says nothing here: the changes below do.
func (p *page) coverageChanges(changes []forest.CoverageChange) {
	first := true
	for _, c := range changes {
		before, after := coverageWords(c.Old), coverageWords(c.New)
		if before == after {
			continue
		}
		if first {
			p.heading(p.ink(yellow, "The two readings did not cover the same"))
			first = false
		}
		p.line("  %s %s: %s → %s", visible(string(c.Area)), visible(c.Subject), before, after)
	}
}

func coverageWords(c *forest.Coverage) string {
	switch {
	case c == nil:
		return "nothing said"
	case c.Reason != "":
		return visible(c.State) + " (" + visible(c.Reason) + ")"
	default:
		return visible(c.State)
	}
}

// objectChanges lists the objects.
func (p *page) objectChanges(objects []forest.ObjectChange) {
	if len(objects) == 0 {
		return
	}
	p.heading("Objects")
	objects, echoes := withoutEchoes(objects)
	show, n := objects, p.screen.Findings
	if n == 0 && p.screen.Width > 0 {
		n = maxChanges
	}
	if n > 0 && len(show) > n {
		show = show[:n]
	}
	for _, o := range show {
		p.line("%s %s  %s", p.ink(changeInk(o.Kind), string(o.Kind)), visible(o.DN), p.ink(gray, visible(o.Class)))
		if o.OldDN != "" {
			p.line("    was %s", visible(o.OldDN))
		}
		for _, a := range o.Attrs {
			p.line("    %s: %s → %s", a.Attr, valueWords(a.Old, a.OldState), valueWords(a.New, a.NewState))
		}
		for _, l := range o.Links {
			p.line("    %s %s %s%s", p.ink(changeInk(l.Kind), string(l.Kind)), l.Attr, visible(l.Target), endWords(l))
		}
		if o.Descriptor != nil {
			p.descriptorChange(o.Descriptor)
		}
		if n := echoes[o.DN]; n > 0 {
			p.line("    %s below it changed only by inheriting this; the JSON output lists them.", plural(n, "object", "objects"))
		}
	}
	if len(show) < len(objects) {
		p.line("%s of %s objects listed; the JSON output has all.", thousands(len(show)), thousands(len(objects)))
	}
}

// withoutEchoes takes out the objects that only inherit what changed above them,
// and counts them for each container that they inherit from.
func withoutEchoes(objects []forest.ObjectChange) (rest []forest.ObjectChange, echoes map[string]int) {
	echoes = map[string]int{}
	for i := range objects {
		if origin, ok := objects[i].Echo(); ok {
			echoes[origin]++
			continue
		}
		rest = append(rest, objects[i])
	}
	return rest, echoes
}

// valueWords are the values of an attribute, or why there are none.
func valueWords(values []string, st forest.State) string {
	if len(values) == 0 {
		return st.String()
	}
	out := clip(strings.Join(visibleAll(values), " | "), maxText)
	if st != forest.Known {
		out += " (" + st.String() + ")"
	}
	return out
}

// endWords says when a link ends, if that changed or is known.
func endWords(l forest.LinkChange) string {
	end := func(t *time.Time) string {
		if t == nil {
			return "no end"
		}
		return stamp(*t)
	}
	switch {
	case l.Kind == forest.Modified:
		return fmt.Sprintf(", end %s → %s", end(l.OldExpires), end(l.NewExpires))
	case l.NewExpires != nil:
		return ", until " + end(l.NewExpires)
	case l.OldExpires != nil:
		return ", was until " + end(l.OldExpires)
	}
	return ""
}

func (p *page) descriptorChange(d *forest.DescriptorChange) {
	if d.OldState != d.NewState || d.OldState != forest.Known {
		p.line("    %s", p.ink(yellow, fmt.Sprintf("security descriptor: %s → %s", d.OldState, d.NewState)))
	}
	if d.OldOwner != d.NewOwner {
		p.line("    owner: %s → %s", orDash(d.OldOwner), orDash(d.NewOwner))
	}
	if d.OldGroup != d.NewGroup {
		p.line("    primary group: %s → %s", orDash(d.OldGroup), orDash(d.NewGroup))
	}
	if d.OldFlags != d.NewFlags {
		p.line("    descriptor control: 0x%04x → 0x%04x", d.OldFlags, d.NewFlags)
	}
	for _, e := range d.Entries {
		p.line("    %s %s entry %d %s", p.ink(changeInk(e.Kind), string(e.Kind)), strings.ToUpper(e.List), e.Index, visible(e.SDDL))
	}
	if d.Reorder {
		p.line("    the same entries in another order")
	}
}

func (p *page) fileChanges(files []forest.FileChange) {
	if len(files) == 0 {
		return
	}
	p.heading("Files of SYSVOL")
	for _, f := range files {
		what := fmt.Sprintf("%s → %s bytes", thousands(f.OldSize), thousands(f.NewSize))
		if f.OldSHA256 == f.NewSHA256 && f.OldSHA256 != "" {
			what = "same content"
		}
		if f.Descriptor {
			what += ", other security descriptor"
		}
		p.line("%s %s/%s: %s", p.ink(changeInk(f.Kind), string(f.Kind)), visible(f.Domain), visible(f.Path), what)
	}
}
