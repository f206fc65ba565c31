package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
)

// maxChanges bounds how many objects a text lists; JSON has all of them.
const maxChanges = 200

// ChangesText writes what changed in the directory between two snapshots: one
// line an object, the details indented below it.
func ChangesText(w io.Writer, c *forest.Changes, s Screen) error {
	p := &page{screen: s}
	p.heading(fmt.Sprintf("Directory: %s, %s, %s of coverage differ",
		plural(len(c.Objects), "object", "objects"), plural(len(c.Files), "policy file", "policy files"), plural(len(c.Coverage), "statement", "statements")))
	for i, o := range c.Objects {
		if i == maxChanges {
			p.line("… and %d more: --output json has all of them", len(c.Objects)-maxChanges)
			break
		}
		p.object(o)
	}
	for _, f := range c.Files {
		p.line("%-8s %s/%s", f.Kind, visible(f.Domain), visible(f.Path))
	}
	for _, v := range c.Coverage {
		p.line("coverage %s %s: %s", v.Area, visible(v.Subject), coverageStep(v))
	}
	p.line("")
	return p.flush(w, "the changes of the directory")
}

func (p *page) object(o forest.ObjectChange) {
	line := fmt.Sprintf("%-8s %s", o.Kind, visible(o.DN))
	if o.OldDN != "" {
		line += " (was " + visible(o.OldDN) + ")"
	}
	p.line("%s", line)
	for _, a := range o.Attrs {
		p.line("           %s: %s → %s", a.Attr, values(a.OldState, a.Old), values(a.NewState, a.New))
	}
	for _, l := range o.Links {
		p.line("           %s %s: %s", l.Attr, l.Kind, visible(l.Target))
	}
	if d := o.Descriptor; d != nil {
		p.descriptor(d)
	}
}

func (p *page) descriptor(d *forest.DescriptorChange) {
	if d.OldState != d.NewState {
		p.line("           permissions: %s → %s", d.OldState, d.NewState)
	}
	if d.OldOwner != d.NewOwner {
		p.line("           owner: %s → %s", d.OldOwner, d.NewOwner)
	}
	for _, e := range d.Entries {
		p.line("           %s entry %d %s: %s", e.List, e.Index, e.Kind, e.SDDL)
	}
}

// values joins the values of an attribute, or says why there are none.
func values(st forest.State, vals []string) string {
	if st != forest.Known {
		return st.String()
	}
	shown := make([]string, len(vals))
	for i, v := range vals {
		shown[i] = visible(v)
	}
	return strings.Join(shown, ", ")
}

// coverageStep says how a statement about what was read differs.
func coverageStep(c forest.CoverageChange) string {
	state := func(v *forest.Coverage) string {
		if v == nil {
			return "nothing said"
		}
		return v.State
	}
	return state(c.Old) + " → " + state(c.New)
}
