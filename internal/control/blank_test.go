package control

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/forest"
)

// A blank says which evidence a copy of a snapshot lacks. Zero members hide
// nothing.
type blank struct {
	attr       func(id forest.ID, a forest.Attr) bool // could not be read of this object
	descriptor func(id forest.ID) bool
	sacl       func(id forest.ID) bool
	object     func(id forest.ID) bool // the object is not part of the copy
	class      func(id forest.ID) bool // the object shows that it exists and nothing else
	file       func(f *forest.File) bool
	notAsked   map[forest.Attr]bool // attributes that were not collected at all
	cover      []forest.Coverage    // instead of statements about the same area and subject
}

const blankWhy = "hidden by the test"

// A copyist has read a snapshot once and makes copies that lack something.
type copyist struct {
	s       *forest.Snapshot
	objects []copied
}

type copied struct {
	identity []forest.Values // classes, GUID and SID
	attrs    []copiedAttr
	changes  []copiedChange
}

type copiedAttr struct {
	attr forest.Attr
	vals forest.Values
}

type copiedChange struct {
	attr   forest.Attr
	change forest.Change
}

func newCopyist(s *forest.Snapshot) *copyist {
	c := &copyist{s: s, objects: make([]copied, s.Len())}
	for id := range forest.ID(s.Len()) {
		o := &c.objects[id]
		guid := s.GUID(id)
		o.identity = append(o.identity, valuesOf("objectClass", s.Classes(id)...), valuesOf("objectGUID", string(guid[:])))
		if sid := s.SID(id); !sid.IsZero() {
			o.identity = append(o.identity, valuesOf("objectSid", string(sid.Bytes())))
		}
		for _, a := range forest.Attrs() {
			if vals := rawValues(s, id, a); len(vals) > 0 {
				o.attrs = append(o.attrs, copiedAttr{a, valuesOf(a.String(), vals...)})
			}
			if change, ok := s.LastChange(id, a); ok {
				o.changes = append(o.changes, copiedChange{a, change})
			}
		}
	}
	return c
}

func valuesOf(name string, vals ...string) forest.Values {
	v := forest.Values{Name: name}
	for _, text := range vals {
		v.Vals = append(v.Vals, []byte(text))
	}
	return v
}

// of copies s without the evidence.
func (x blank) of(t testing.TB, s *forest.Snapshot) *forest.Snapshot {
	t.Helper()
	return newCopyist(s).without(t, x)
}

// without makes a copy without the evidence.
func (c *copyist) without(t testing.TB, x blank) *forest.Snapshot {
	t.Helper()
	s := c.s
	b := forest.NewBuilder(s.Info())
	for _, a := range forest.Attrs() {
		if s.Collected(a) && !x.notAsked[a] {
			b.Collected(a)
		}
	}
	for id := range forest.ID(s.Len()) {
		if x.object == nil || !x.object(id) {
			c.add(t, b, id, x)
		}
	}
	for _, f := range s.Files() {
		if x.file != nil && x.file(&f) {
			f.State, f.Data, f.Reason = forest.Unreadable, nil, blankWhy
		}
		b.AddFile(f)
	}
	for _, c := range s.Coverage() {
		replaced := false
		for _, n := range x.cover {
			replaced = replaced || n.Area == c.Area && n.Subject == c.Subject
		}
		if !replaced {
			b.Cover(c)
		}
	}
	for _, c := range x.cover {
		b.Cover(c)
	}
	out, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// add copies one object.
func (c *copyist) add(t testing.TB, b *forest.Builder, id forest.ID, x blank) {
	t.Helper()
	s, o := c.s, &c.objects[id]
	e := forest.Entry{DN: s.DN(id)}
	classless := x.class != nil && x.class(id)
	if !classless {
		e.Attrs = append(e.Attrs, o.identity...)
	}
	if d, st := s.Descriptor(id); st == forest.Known && !classless && (x.descriptor == nil || !x.descriptor(id)) {
		if x.sacl != nil && x.sacl(id) && d.SACL != nil {
			c := *d
			c.SACL = nil
			c.Control &^= 0x10 // SACL present
			d = &c
		}
		e.Attrs = append(e.Attrs, valuesOf("nTSecurityDescriptor", string(d.Bytes())))
	}
	hides := func(a forest.Attr) bool { return classless || x.attr != nil && x.attr(id, a) }
	for _, v := range o.attrs {
		if !x.notAsked[v.attr] && !hides(v.attr) {
			e.Attrs = append(e.Attrs, v.vals)
		}
	}
	if err := b.Add(e); err != nil {
		t.Fatal(err)
	}
	for _, a := range forest.Attrs() {
		if !x.notAsked[a] && hides(a) && s.Collected(a) {
			b.MarkUnreadable(a, blankWhy)
		}
	}
	if classless {
		return
	}
	for _, v := range o.changes {
		b.Changed(v.attr, v.change)
	}
}

// rawValues returns the values of an attribute as LDAP has them.
func rawValues(s *forest.Snapshot, id forest.ID, a forest.Attr) []string {
	switch a.Syntax() {
	case forest.Link:
		var out []string
		ids, _ := s.Links(id, a)
		for _, to := range ids {
			dn := s.DN(to)
			if at, ok := s.LinkExpires(id, a, to); ok {
				dn = fmt.Sprintf("<TTL=%d>,%s", int(at.Sub(s.Info().Started)/time.Second), dn)
			}
			out = append(out, dn)
		}
		return append(out, s.LinksOutside(id, a)...)
	case forest.Text, forest.Octets:
		out, _ := s.Strs(id, a)
		return out
	case forest.Descriptor:
		if d, st := s.Desc(id, a); st == forest.Known {
			return []string{string(d.Bytes())}
		}
		return nil
	}
	v, st := s.Int(id, a)
	switch {
	case st != forest.Known:
		return nil
	case a.Syntax() == forest.Boolean:
		return []string{map[bool]string{true: "TRUE", false: "FALSE"}[v != 0]}
	case a.Syntax() == forest.Time:
		return []string{time.Unix(v, 0).UTC().Format("20060102150405.0Z")}
	}
	return []string{strconv.FormatInt(v, 10)}
}
