package forest

import (
	"slices"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// A column holds the values of one attribute that is not a link. Values of object
// ids[i] are the elements first[i] … first[i+1]-1 of ints, or of the strings that
// off cuts out of blob, according to the syntax.
type column struct {
	ids   []ID
	first []uint32 // len(ids)+1
	ints  []int64
	off   []uint32 // number of strings + 1
	blob  string
}

// span returns the range of values of id.
func (c *column) span(id ID) (lo, hi uint32, ok bool) {
	if c == nil {
		return 0, 0, false
	}
	i, ok := slices.BinarySearch(c.ids, id)
	if !ok {
		return 0, 0, false
	}
	return c.first[i], c.first[i+1], true
}

func (c *column) str(i uint32) string { return c.blob[c.off[i]:c.off[i+1]] }

// state of an attribute that has no value on id.
func (s *Snapshot) missing(id ID, a Attr) State {
	if !s.collected[a] {
		return Unreadable
	}
	if _, bad := s.problems[problemKey{id, a}]; bad {
		return Unreadable
	}
	return Absent
}

// Collected reports whether the snapshot was made with attribute a at all.
func (s *Snapshot) Collected(a Attr) bool { return s.collected[a] }

// Why says why attribute a of id is Unreadable; "" if it is not.
func (s *Snapshot) Why(id ID, a Attr) string {
	if why, bad := s.problems[problemKey{id, a}]; bad {
		return why
	}
	if !s.collected[a] {
		return "attribute " + a.String() + " is not part of this snapshot"
	}
	return ""
}

// Int returns the first value of an Integer, Time (seconds since 1970) or Boolean
// (0, 1) attribute.
func (s *Snapshot) Int(id ID, a Attr) (int64, State) {
	c := s.cols[a]
	lo, hi, ok := c.span(id)
	if !ok || lo == hi || len(c.ints) == 0 {
		return 0, s.missing(id, a)
	}
	return c.ints[lo], Known
}

// Bool returns a Boolean attribute.
func (s *Snapshot) Bool(id ID, a Attr) (bool, State) {
	v, st := s.Int(id, a)
	return v != 0, st
}

// filetimeEpoch is 1601-01-01 in seconds before 1970.
const filetimeEpoch = 11644473600

// Time returns a Time attribute, or an Integer attribute that holds a FILETIME
// (100 ns ticks since 1601). "Never" (0 and the largest value) is Absent.
func (s *Snapshot) Time(id ID, a Attr) (time.Time, State) {
	v, st := s.Int(id, a)
	if st != Known {
		return time.Time{}, st
	}
	if a.Syntax() == Time {
		return time.Unix(v, 0).UTC(), Known
	}
	if v <= 0 || v == 1<<63-1 {
		return time.Time{}, Absent
	}
	return time.Unix(v/1e7-filetimeEpoch, v%1e7*100).UTC(), Known
}

// Str returns the first value of a Text or Octets attribute.
func (s *Snapshot) Str(id ID, a Attr) (string, State) {
	c := s.cols[a]
	lo, hi, ok := c.span(id)
	if !ok || lo == hi || len(c.off) == 0 {
		return "", s.missing(id, a)
	}
	return c.str(lo), Known
}

// Strs returns all values of a Text or Octets attribute, sorted as bytes.
func (s *Snapshot) Strs(id ID, a Attr) ([]string, State) {
	c := s.cols[a]
	lo, hi, ok := c.span(id)
	if !ok || lo == hi || len(c.off) == 0 {
		return nil, s.missing(id, a)
	}
	out := make([]string, 0, hi-lo)
	for i := lo; i < hi; i++ {
		out = append(out, c.str(i))
	}
	return out, Known
}

// Desc returns an attribute of syntax Descriptor.
func (s *Snapshot) Desc(id ID, a Attr) (*secdesc.Descriptor, State) {
	c := s.cols[a]
	lo, hi, ok := c.span(id)
	if !ok || lo == hi {
		return nil, s.missing(id, a)
	}
	d, err := s.descs[c.ints[lo]].get()
	if err != nil {
		return nil, Unreadable
	}
	return d, Known
}

// With lists the objects that have at least one value of a (for links: that point
// somewhere), in order. The caller must not change it.
func (s *Snapshot) With(a Attr) []ID {
	if a.Syntax() == Link {
		if l := s.links[a]; l != nil {
			return l.ids
		}
		return nil
	}
	if c := s.cols[a]; c != nil {
		return c.ids
	}
	return nil
}
