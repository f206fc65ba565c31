package forest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Version of the file format; docs/FORMATS.md describes it. A reader takes every
// minor version of its major version and of older ones.
const (
	FormatMajor = 1
	FormatMinor = 0
)

// magic begins every snapshot file. The bytes detect a transfer as text.
const magic = "\x89LWS\r\n\x1a\n"

// IsSnapshot reports whether a file that begins with head is meant to be a
// snapshot, whatever its version. 8 bytes are enough; fewer are all that is left
// of a file that was cut short.
func IsSnapshot(head []byte) bool {
	n := min(len(head), len(magic))
	return n > 0 && string(head[:n]) == magic[:n]
}

// Errors of reading a snapshot file, for errors.Is.
var (
	ErrNotSnapshot = errors.New("not a leastwise snapshot")
	ErrNewer       = errors.New("snapshot is of a newer format")
	ErrCorrupt     = errors.New("snapshot is damaged")
	ErrTruncated   = errors.New("cut short")
)

// A FormatError is a snapshot file that cannot be read.
type FormatError struct {
	Kind    error  // ErrCorrupt or ErrTruncated
	Section string // empty outside sections
	Offset  int64  // in the file: where the section begins, or where the error is
	Reason  string
}

// Error implements error.
func (e *FormatError) Error() string {
	where := fmt.Sprintf("at byte %d", e.Offset)
	if e.Section != "" {
		where = fmt.Sprintf("section %s %s", clip(e.Section), where)
	}
	return fmt.Sprintf("reading snapshot: %v: %s: %s", e.Kind, where, e.Reason)
}

// Unwrap returns the kind.
func (e *FormatError) Unwrap() error { return e.Kind }

// Limits of a file, against hostile ones. The budget bounds what sections may
// expand to: budgetBase + budgetRatio × stored bytes.
const (
	maxSections = 4096
	maxName     = 128
	budgetBase  = 16 << 20
	budgetRatio = 200
)

// Codecs of section payloads.
const (
	codecStored = 0
	codecZstd   = 1
)

// Flags of sections.
const flagRequired = 1 // a reader that does not know the section must refuse the file

// Markers that begin a section and the footer.
const (
	markSection = 'S'
	markFooter  = 'E'
)

// Names of sections. Attributes have sections of their own: prefix and
// lDAPDisplayName.
const (
	secInfo        = "info"
	secTree        = "tree"
	secClasses     = "classes"
	secIdentity    = "identity"
	secDescriptors = "descriptors"
	secCollected   = "collected"
	secProblems    = "problems"
	secUnasked     = "unasked" // only if there are such sets
	secFiles       = "files"
	secCoverage    = "coverage"
	secMetadata    = "metadata"
	secColumn      = "column:"
	secLinks       = "links:"
)

// encoder writes payloads: numbers as base-128 varints, strings with their length.
type encoder struct{ b []byte }

func (e *encoder) uint(v uint64) { e.b = binary.AppendUvarint(e.b, v) }
func (e *encoder) int(v int64)   { e.b = binary.AppendVarint(e.b, v) }
func (e *encoder) str(s string)  { e.uint(uint64(len(s))); e.b = append(e.b, s...) }

// ids writes ascending numbers as their differences.
func (e *encoder) ids(ids []ID) {
	e.uint(uint64(len(ids)))
	next := ID(0)
	for _, id := range ids {
		e.uint(uint64(id - next))
		next = id + 1
	}
}

// texts writes lengths, then the text.
func (e *encoder) texts(t *texts) {
	n := max(len(t.off), 1) - 1
	e.uint(uint64(n))
	for i := range n {
		e.uint(uint64(t.off[i+1] - t.off[i]))
	}
	e.b = append(e.b, t.blob...)
}

// firsts writes how many values each object has; nil is one each.
func (e *encoder) firsts(first []uint32) {
	if first == nil {
		e.uint(0)
		return
	}
	e.uint(1)
	for i := range len(first) - 1 {
		e.uint(uint64(first[i+1] - first[i]))
	}
}

// decoder reads payloads. The first error sticks; after it all values are zero.
// Nothing is allocated for a count before that many bytes are known to be there.
type decoder struct {
	b   []byte
	at  int
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%s (at byte %d of the content)", fmt.Sprintf(format, args...), d.at)
	}
	d.b = d.b[:d.at]
}

func (d *decoder) uint() uint64 {
	if d.at < len(d.b) && d.b[d.at] < 0x80 {
		d.at++
		return uint64(d.b[d.at-1])
	}
	v, n := binary.Uvarint(d.b[d.at:])
	if n <= 0 {
		d.fail("number is cut short or too large")
		return 0
	}
	d.at += n
	return v
}

func (d *decoder) int() int64 {
	u := d.uint()
	return int64(u>>1) ^ -int64(u&1)
}

// count reads the number of things that take at least one byte each.
func (d *decoder) count(what string) int {
	n := d.uint()
	if n > uint64(len(d.b)-d.at) {
		d.fail("%d %s do not fit", n, what)
		return 0
	}
	return int(n)
}

// below reads a number less than limit.
func (d *decoder) below(limit int, what string) int {
	n := d.uint()
	if d.err == nil && n >= uint64(limit) {
		d.fail("%s %d of %d", what, n, limit)
	}
	if d.err != nil {
		return 0
	}
	return int(n)
}

func (d *decoder) bytes(n int) []byte {
	if n < 0 || n > len(d.b)-d.at {
		d.fail("%d bytes are missing", n)
		return nil
	}
	d.at += n
	return d.b[d.at-n : d.at]
}

func (d *decoder) str() string { return string(d.bytes(d.count("bytes"))) }

// ids reads ascending numbers below limit into the memory of buf, if that is enough.
func (d *decoder) ids(buf []ID, limit int) []ID { return d.moreIDs(buf[:0], limit) }

// moreIDs appends ascending numbers below limit.
func (d *decoder) moreIDs(list []ID, limit int) []ID {
	n := d.count("objects")
	list = slices.Grow(list, n)
	out := list[len(list) : len(list)+n]
	next := uint64(0)
	for i := range out {
		v := d.uint()
		if v >= uint64(limit) || next+v >= uint64(limit) {
			d.fail("object number beyond %d", limit)
			return list
		}
		next += v
		out[i] = ID(next)
		next++
	}
	return list[:len(list)+n]
}

// targets returns how many ascending numbers follow in n lists, without going there.
func (d *decoder) targets(n int) int {
	ahead, sum := *d, 0
	for range n {
		k := ahead.count("objects")
		for range k {
			ahead.uint()
		}
		if ahead.err != nil {
			return sum
		}
		sum += k
	}
	return sum
}

// firsts reads how many values each of n objects has, at least one; the sum is
// not trusted until compared with what follows.
func (d *decoder) firsts(n int) []uint32 {
	switch d.below(2, "form") {
	case 0:
		return nil
	default:
		if n > len(d.b)-d.at {
			d.fail("%d counts do not fit", n)
			return nil
		}
	}
	out := make([]uint32, n+1)
	sum := uint64(0)
	for i := range n {
		v := d.uint()
		if v == 0 || v > maxColumn {
			d.fail("%d values of one object", v)
			return nil
		}
		if sum += v; sum > maxColumn {
			d.fail("too many values")
			return nil
		}
		out[i+1] = uint32(sum)
	}
	return out
}

// total returns how many values n objects with firsts have.
func total(first []uint32, n int) int {
	if first == nil {
		return n
	}
	return int(first[n])
}

// texts reads strings, their places into the memory of off if that is enough. If the
// text itself is not kept, the strings are empty of content.
func (d *decoder) texts(off []uint32, keep bool) texts {
	n := d.count("strings")
	t := texts{off: slices.Grow(off[:0], n+1)[:n+1]}
	t.off[0] = 0
	sum := uint64(0)
	for i := range n {
		v := d.uint()
		if sum += v; v > maxColumn || sum > maxColumn {
			d.fail("text beyond 4 GiB")
			return texts{off: []uint32{0}}
		}
		t.off[i+1] = uint32(sum)
	}
	blob := d.bytes(int(sum))
	if keep {
		t.blob = string(blob)
	}
	if d.err != nil {
		return texts{off: []uint32{0}}
	}
	return t
}

// numbers reads n numbers into the memory of buf, if that is enough.
func (d *decoder) numbers(buf []int64, n int) []int64 {
	if n > len(d.b)-d.at {
		d.fail("%d numbers do not fit", n)
		return nil
	}
	out := slices.Grow(buf[:0], n)[:n]
	for i := range out {
		out[i] = d.int()
	}
	return out
}

// end checks that everything was read.
func (d *decoder) end() error {
	if d.err == nil && d.at != len(d.b) {
		d.fail("%d bytes too many", len(d.b)-d.at)
	}
	return d.err
}
