package forest

import (
	"math/bits"
	"slices"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// texts are strings cut out of one: string i is blob[off[i]:off[i+1]].
type texts struct {
	off  []uint32 // number of strings + 1
	blob string
}

func (t *texts) at(i uint32) string { return t.blob[t.off[i]:t.off[i+1]] }

// A column holds the values of one attribute that is not a link. Values of object
// ids[i] are the elements first[i] … first[i+1]-1 of ints or text, according to
// the syntax; first is nil if every object has exactly one.
type column struct {
	ids   []ID
	first []uint32
	ints  []int64
	text  texts
	rank  *ranking // finds ids; nil if a search is as good

	passing bool // only looked at: the memory is used again
}

// A ranking finds the position of an object among many.
type ranking struct {
	bits   []uint64 // by ID: is it one of them?
	before []uint32 // by word of bits: how many come before it
}

// makeRanking returns a ranking of ids, which ascend, or nil if they are few or far
// between.
func makeRanking(ids []ID) *ranking {
	n := len(ids)
	if n < 64 || n < int(ids[n-1])/64 {
		return nil
	}
	words := int(ids[n-1])/64 + 1
	r := &ranking{bits: make([]uint64, words), before: make([]uint32, words)}
	for _, id := range ids {
		r.bits[id/64] |= 1 << (id % 64)
	}
	sum := uint32(0)
	for i, w := range r.bits {
		r.before[i] = sum
		sum += uint32(bits.OnesCount64(w))
	}
	return r
}

// find returns the position of id.
func (r *ranking) find(id ID) (i int, ok bool) {
	w := int(id / 64)
	if w >= len(r.bits) || r.bits[w]&(1<<(id%64)) == 0 {
		return 0, false
	}
	return int(r.before[w]) + bits.OnesCount64(r.bits[w]&(1<<(id%64)-1)), true
}

// position returns the position of id in ids.
func (c *column) position(id ID) (i int, ok bool) {
	if c.rank != nil {
		return c.rank.find(id)
	}
	n := len(c.ids)
	if n == 0 || id > c.ids[n-1] {
		return 0, false
	}
	return slices.BinarySearch(c.ids, id)
}

// compact drops first if it says nothing.
func (c *column) compact() {
	if n := len(c.ids); int(c.first[n]) == n {
		c.first = nil // ascending strictly from 0 to n
	}
}

// bounds returns the range of values of ids[i].
func (c *column) bounds(i int) (lo, hi uint32) {
	if c.first == nil {
		return uint32(i), uint32(i) + 1
	}
	return c.first[i], c.first[i+1]
}

// span returns the range of values of id.
func (c *column) span(id ID) (lo, hi uint32, ok bool) {
	if c == nil {
		return 0, 0, false
	}
	i, ok := c.position(id)
	if !ok {
		return 0, 0, false
	}
	lo, hi = c.bounds(i)
	return lo, hi, true
}

// state of an attribute that has no value on id.
func (s *Snapshot) missing(id ID, a Attr) State {
	if !s.collected[a] {
		return Unreadable
	}
	if s.known(id, a) != Known {
		return Unreadable
	}
	return Absent
}

// known is the state of an attribute that has values on id.
func (s *Snapshot) known(id ID, a Attr) State {
	if _, bad := s.problem(id, a); bad {
		return Unreadable
	}
	return Known
}

// Collected reports whether the snapshot was made with attribute a at all.
func (s *Snapshot) Collected(a Attr) bool { return s.collected[a] }

// Why says why attribute a of id is Unreadable; "" if it is not.
func (s *Snapshot) Why(id ID, a Attr) string {
	if why, bad := s.problem(id, a); bad {
		return why
	}
	if !s.collected[a] {
		return "attribute " + a.String() + " is not part of this snapshot"
	}
	return ""
}

// Int returns the first (least) value of an Integer, Time (seconds since 1970) or Boolean
// (0, 1) attribute.
func (s *Snapshot) Int(id ID, a Attr) (int64, State) {
	c := s.col(a)
	lo, _, ok := c.span(id)
	if !ok || c.ints == nil {
		return 0, s.missing(id, a)
	}
	if s.known(id, a) != Known {
		return 0, Unreadable
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

// Str returns the first (least) value of a Text or Octets attribute.
func (s *Snapshot) Str(id ID, a Attr) (string, State) {
	c := s.col(a)
	lo, _, ok := c.span(id)
	if !ok || c.text.off == nil {
		return "", s.missing(id, a)
	}
	if s.known(id, a) != Known {
		return "", Unreadable
	}
	return c.text.at(lo), Known
}

// Strs returns all values of a Text or Octets attribute, sorted as bytes. If some
// could not be read, the state is Unreadable and the values are those that are
// known.
func (s *Snapshot) Strs(id ID, a Attr) ([]string, State) {
	c := s.col(a)
	lo, hi, ok := c.span(id)
	if !ok || c.text.off == nil {
		return nil, s.missing(id, a)
	}
	out := make([]string, 0, hi-lo)
	for i := lo; i < hi; i++ {
		out = append(out, c.text.at(i))
	}
	return out, s.known(id, a)
}

// Desc returns an attribute of syntax Descriptor.
func (s *Snapshot) Desc(id ID, a Attr) (*secdesc.Descriptor, State) {
	c := s.col(a)
	lo, _, ok := c.span(id)
	if !ok || a.Syntax() != Descriptor {
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
			return l.any
		}
		return nil
	}
	if c := s.col(a); c != nil {
		return c.ids
	}
	return nil
}

// Flawed lists the objects of which attribute a was not, or not fully, readable
// although it was collected, in order.
func (s *Snapshot) Flawed(a Attr) []ID {
	if !s.flawed[a] {
		return nil
	}
	var out []ID
	for k := range s.problems {
		if k.attr == a {
			out = append(out, k.id)
		}
	}
	for i := range s.unasked {
		if s.unasked[i].attrs[a] {
			out = append(out, s.unasked[i].ids...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
