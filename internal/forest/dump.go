package forest

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"time"
)

// Equal reports whether a and b hold the same content: what Write writes is equal.
func Equal(a, b *Snapshot) bool {
	if a == nil || b == nil {
		return a == b
	}
	var parts []section
	a.sections(func(s section) { parts = append(parts, s) })
	same := true
	i := 0
	b.sections(func(s section) {
		same = same && i < len(parts) && parts[i].name == s.name && bytes.Equal(parts[i].raw, s.raw)
		i++
	})
	return same && i == len(parts)
}

// Dump writes s as text, for people and for golden files: one line per fact, in
// the order of the objects, each attribute by name. Equal snapshots give equal
// text and different ones different text. There is no reader for it.
func (s *Snapshot) Dump(w io.Writer) error {
	d := &dumper{s: s, w: bufio.NewWriter(w)}
	d.head()
	for id := range ID(s.Len()) {
		d.object(id)
	}
	d.tail()
	return d.w.Flush() // sticky: also reports earlier errors
}

type dumper struct {
	s *Snapshot
	w *bufio.Writer
}

func (d *dumper) line(format string, args ...any) { fmt.Fprintf(d.w, format+"\n", args...) }

func (d *dumper) head() {
	i := d.s.info
	d.line("snapshot %q tool %q started %s finished %s domain %q reader %q", i.Source, i.Tool, dumpTime(i.Started), dumpTime(i.Finished), i.Domain, i.Reader)
	for _, server := range i.Servers {
		d.line("server %q", server)
	}
	for _, a := range byName() {
		if d.s.collected[a] {
			d.line("collected %s", a)
		}
	}
	for _, c := range d.s.coverage {
		d.line("coverage %s %q %q %q %d", c.Area, c.Subject, c.State, c.Reason, c.Count)
	}
}

func dumpTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

func (d *dumper) object(id ID) {
	s := d.s
	d.line("")
	d.line("object %d %q", id, s.DN(id))
	for _, c := range s.Classes(id) {
		d.line("  class %q", c)
	}
	if g := s.GUID(id); !g.IsZero() {
		d.line("  guid %s", g)
	}
	if sid := s.SID(id); !sid.IsZero() {
		d.line("  sid %s", sid)
	}
	if i, ok := s.DescriptorIndex(id); ok {
		d.line("  descriptor %d", i)
	}
	for _, a := range byName() {
		if a.Syntax() == Link {
			d.links(id, a)
		} else {
			d.values(id, a)
		}
		if why, bad := s.problem(id, a); bad {
			d.line("  %s unreadable %q", a, why)
		}
		if c, ok := s.LastChange(id, a); ok {
			d.line("  %s changed %s", a, dumpChange(c))
		}
	}
}

func (d *dumper) values(id ID, a Attr) {
	c := d.s.col(a)
	lo, hi, ok := c.span(id)
	if !ok {
		return
	}
	for i := lo; i < hi; i++ {
		switch {
		case !a.isText():
			d.line("  %s = %d", a, c.ints[i])
		case a.Syntax() == Octets:
			d.line("  %s = base64 %s", a, base64.StdEncoding.EncodeToString([]byte(c.text.at(i))))
		default:
			d.line("  %s = %s", a, strconv.Quote(c.text.at(i)))
		}
	}
}

func (d *dumper) links(id ID, a Attr) {
	to, _ := d.s.Links(id, a)
	for _, t := range to {
		text := ""
		if at, ok := d.s.LinkExpires(id, a, t); ok {
			text += " until " + dumpTime(at)
		}
		d.line("  %s -> %d %q%s", a, t, d.s.DN(t), text)
	}
	for _, dn := range d.s.LinksOutside(id, a) {
		text := ""
		if at, ok := d.s.OutsideLinkExpires(id, a, dn); ok {
			text += " until " + dumpTime(at)
		}
		d.line("  %s -> outside %q%s", a, dn, text)
	}
}

func dumpChange(c Change) string {
	text := fmt.Sprintf("version %d at %s by %s %q", c.Version, dumpTime(c.Time), c.DSA, c.Server)
	if !c.Created.IsZero() || !c.Deleted.IsZero() {
		text += fmt.Sprintf(" created %s deleted %s", dumpTime(c.Created), dumpTime(c.Deleted))
	}
	return text
}

func (d *dumper) tail() {
	d.line("")
	for _, l := range d.s.meta.links {
		c, _ := d.s.LastLinkChange(l.id, l.attr, l.to)
		d.line("link %d %s -> %d changed %s", l.id, l.attr, l.to, dumpChange(c))
	}
	for i := range d.s.descs {
		d.line("descriptor %d base64 %s", i, base64.StdEncoding.EncodeToString([]byte(d.s.descs[i].raw)))
	}
	for _, f := range d.s.files {
		d.line("file %q %q %s %q data %s sd %s", f.Domain, f.Path, f.State, f.Reason, dumpBytes(f.Data), dumpBytes(f.SD))
	}
}

func dumpBytes(b []byte) string {
	if b == nil {
		return "-"
	}
	return "base64:" + base64.StdEncoding.EncodeToString(b)
}
