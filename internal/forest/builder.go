package forest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// Errors of building a snapshot.
var (
	// ErrDuplicate reports two entries with one distinguished name.
	ErrDuplicate = errors.New("two entries have the same distinguished name")
	// ErrTooLarge reports content beyond what a snapshot can hold.
	ErrTooLarge = errors.New("too large for a snapshot")
)

// Limits of a snapshot.
const (
	maxObjects    = math.MaxUint32 - 1
	maxClassLists = math.MaxUint16
	maxColumn     = math.MaxUint32 // bytes of text in one column
)

// An Entry is one object as LDAP returns it.
type Entry struct {
	DN    string
	Attrs []Values
}

// Values are the raw LDAP values of one attribute. Option suffixes (;range=…)
// must have been resolved.
type Values struct {
	Name string
	Vals [][]byte
}

// A Builder collects entries in any order and makes a Snapshot of them. Memory is
// bounded by the result: entries are taken apart as they come. A Builder is not
// safe for concurrent use.
type Builder struct {
	info      Info
	name      []uint32 // entry number → index into names
	names     []nameRec
	nameIdx   map[string]uint32
	text      arena
	class     []uint16
	classes   [][]string
	classIdx  map[string]uint16
	guid      []secdesc.GUID
	sid       []secdesc.SID
	sidIdx    map[string]secdesc.SID
	desc      []uint32
	descs     []string
	descIdx   map[string]uint32
	cells     [numAttrs]cells
	collected [numAttrs]bool
	problems  map[problemCell]string
	files     []File
	coverage  []Coverage
	metaAttrs []metaCell
	metaLinks []metaLinkCell
	dsas      dsaTable
	ldif      *ldifTally
	parts     []part
	before    [numAttrs]bool // collected before the part that is being read
	scratch   []byte
}

// A nameRec is a distinguished name that an entry has or a link names.
type nameRec struct {
	dn  string
	key string // dnKey of dn
}

// Values wait here under the number of the entry. Entries come one after the
// other, so rows ascend.
type (
	cells struct {
		rows    []uint32
		ints    []int64          // numbers; descriptors: index into descs
		end     []uint32         // text: end of each value in blob
		blob    []byte           //
		to      []uint32         // links: index into names
		expires map[uint32]int64 // time-bound links: position in to → seconds since 1970
	}
	problemCell struct {
		row  uint32
		attr Attr
	}
	metaCell struct {
		row    uint32
		change metaEntry // id is not yet set
	}
	metaLinkCell struct {
		row    uint32
		to     uint32 // index into names
		change metaLink
	}
)

// An arena keeps many small strings in few allocations.
type arena struct{ chunk *strings.Builder }

const arenaChunk = 64 << 10

func (a *arena) add(b []byte) string {
	if len(b) > arenaChunk/4 {
		return string(b)
	}
	if a.chunk == nil || a.chunk.Cap()-a.chunk.Len() < len(b) {
		a.chunk = &strings.Builder{}
		a.chunk.Grow(arenaChunk)
	}
	from := a.chunk.Len()
	a.chunk.Write(b)
	return a.chunk.String()[from:]
}

// NewBuilder returns an empty Builder. The attributes that are collected are
// those given to Collected and those that any entry has.
func NewBuilder(info Info) *Builder {
	return &Builder{
		info:     info,
		nameIdx:  map[string]uint32{},
		classes:  [][]string{nil},
		classIdx: map[string]uint16{"": 0},
		sidIdx:   map[string]secdesc.SID{},
		descIdx:  map[string]uint32{},
		problems: map[problemCell]string{},
	}
}

// Collected states that attrs were asked for of every object, so that an object
// without a value is known to have none.
func (b *Builder) Collected(attrs ...Attr) {
	for _, a := range attrs {
		b.collected[a] = true
	}
}

// SetFinished records when reading ended and who read; it may be called until Build.
func (b *Builder) SetFinished(t time.Time, servers []string, reader string) {
	b.info.Finished, b.info.Servers, b.info.Reader = t, servers, reader
}

// Cover adds a coverage statement.
func (b *Builder) Cover(c Coverage) { b.coverage = append(b.coverage, c) }

// AddFile adds a SYSVOL file, or the statement that it could not be read.
func (b *Builder) AddFile(f File) { b.files = append(b.files, f) }

// Len returns the number of entries added so far.
func (b *Builder) Len() int { return len(b.name) }

// Add takes an entry. Attributes that snapshots do not hold are passed over; a
// value that does not have its attribute's syntax makes the attribute of that
// object Unreadable with the reason and never fails the whole. A malformed name
// is an error (ErrDN), as is more than a snapshot can hold (ErrTooLarge); the
// entry is then not part of the snapshot, or only in part.
func (b *Builder) Add(e Entry) error {
	values := make([]slotValues, len(e.Attrs))
	for i, v := range e.Attrs {
		values[i] = slotValues{slotOf(v.Name), v.Vals}
	}
	return b.add([]byte(e.DN), values)
}

// A slot says where the values of an attribute go: the Attr, or one of the others.
type slot int

// What every object has is not an Attr.
const (
	noSlot slot = -iota - 1
	classSlot
	guidSlot
	sidSlot
	descriptorSlot
)

// slotOf returns where the values of an attribute go.
func slotOf(name string) slot {
	if a, ok := AttrByName(name); ok {
		return slot(a)
	}
	switch strings.ToLower(name) {
	case "objectclass":
		return classSlot
	case "objectguid":
		return guidSlot
	case "objectsid":
		return sidSlot
	case "ntsecuritydescriptor":
		return descriptorSlot
	}
	return noSlot
}

// slotValues are the values of an attribute, as they came.
type slotValues struct {
	slot slot
	vals [][]byte
}

// add is Add for an entry whose attributes were looked up. It keeps nothing of dn
// and values.
func (b *Builder) add(dn []byte, values []slotValues) error {
	if len(dn) == 0 {
		return fmt.Errorf("%w: empty", ErrDN)
	}
	if len(b.name) >= maxObjects {
		return fmt.Errorf("%w: more than %d objects", ErrTooLarge, maxObjects)
	}
	name, err := b.internName(dn)
	if err != nil {
		return err
	}
	row := uint32(len(b.name))
	b.name = append(b.name, name)
	b.class = append(b.class, 0)
	b.guid = append(b.guid, secdesc.GUID{})
	b.sid = append(b.sid, secdesc.SID{})
	b.desc = append(b.desc, noDesc)
	for _, v := range values {
		if err := b.addValues(row, v); err != nil {
			return fmt.Errorf("%s: %w", dn, err)
		}
	}
	return nil
}

// addValues returns an error only if the snapshot cannot hold the values.
func (b *Builder) addValues(row uint32, v slotValues) error {
	if len(v.vals) == 0 {
		return nil
	}
	var err error
	switch v.slot {
	case noSlot:
	case classSlot:
		b.class[row], err = b.internClass(v.vals)
	case guidSlot:
		b.guid[row], _ = secdesc.GUIDFromBytes(v.vals[0]) // malformed is "no GUID"
	case sidSlot:
		b.sid[row] = b.internSID(v.vals[0])
	case descriptorSlot:
		b.desc[row] = b.internDescriptor(v.vals[0])
	default:
		return b.addAttr(row, Attr(v.slot), v.vals)
	}
	return err
}

func (b *Builder) addAttr(row uint32, a Attr, vals [][]byte) error {
	b.collected[a] = true
	for _, raw := range vals {
		err := b.addValue(row, a, raw)
		if errors.Is(err, ErrTooLarge) {
			return err
		}
		if err != nil {
			b.problems[problemCell{row, a}] = "malformed value: " + err.Error()
		}
	}
	return nil
}

func (b *Builder) addValue(row uint32, a Attr, raw []byte) error {
	c := &b.cells[a]
	switch a.Syntax() {
	case Link:
		return b.addLink(row, a, raw)
	case Descriptor:
		c.ints = append(c.ints, int64(b.internDescriptor(raw)))
	case Text, Octets:
		if len(c.blob)+len(raw) > maxColumn {
			return fmt.Errorf("%w: more than 4 GiB of %s", ErrTooLarge, a)
		}
		c.blob = append(c.blob, raw...)
		c.end = append(c.end, uint32(len(c.blob)))
	default:
		n, err := parseNumber(a.Syntax(), raw)
		if err != nil {
			return err
		}
		c.ints = append(c.ints, n)
	}
	c.rows = append(c.rows, row)
	return nil
}

// parseNumber reads the LDAP string form of a value that is stored as a number.
func parseNumber(s Syntax, raw []byte) (int64, error) {
	switch s {
	case Boolean:
		switch text := strings.ToUpper(string(raw)); text {
		case "TRUE":
			return 1, nil
		case "FALSE":
			return 0, nil
		}
		return 0, fmt.Errorf("%s is not TRUE or FALSE", clip(string(raw)))
	case Time:
		if t, ok := parseTime(raw); ok {
			return t, nil
		}
		for _, layout := range []string{"20060102150405.0Z", "20060102150405Z", "20060102150405.999999Z"} {
			if t, err := time.Parse(layout, string(raw)); err == nil {
				return t.Unix(), nil
			}
		}
		return 0, fmt.Errorf("%s is not a generalized time", clip(string(raw)))
	default:
		if n, ok := parseDigits(raw); ok {
			return n, nil
		}
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s is not an integer", clip(string(raw)))
		}
		return n, nil
	}
}

// parseDigits reads up to 18 digits and nothing else.
func parseDigits(raw []byte) (n int64, ok bool) {
	if len(raw) == 0 || len(raw) > 18 {
		return 0, false
	}
	for _, c := range raw {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, true
}

// parseTime reads a generalized time as domain controllers write it, within what
// every month has.
func parseTime(raw []byte) (unix int64, ok bool) {
	digits, ok := bytes.CutSuffix(raw, []byte(".0Z"))
	n, isNumber := parseDigits(digits)
	if !ok || !isNumber || len(digits) != 14 {
		return 0, false
	}
	year, month, day, clock := int(n/1e10), time.Month(n/1e8%100), int(n/1e6%100), n%1e6
	hour, minute, second := clock/1e4, clock/100%100, clock%100
	if month < 1 || month > 12 || day < 1 || day > 28 || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix() + hour*3600 + minute*60 + second, true
}

// addLink takes a distinguished name, with the <TTL=n>, prefix of time-bound
// links ([MS-ADTS] 3.1.1.3.4.1.28; n seconds from Info.Started).
func (b *Builder) addLink(row uint32, a Attr, dn []byte) error {
	var expires int64
	if rest, ok := bytes.CutPrefix(dn, []byte("<TTL=")); ok {
		n, tail, ok := bytes.Cut(rest, []byte(">,"))
		secs, err := strconv.ParseInt(string(n), 10, 40)
		if !ok || err != nil || secs < 0 {
			return fmt.Errorf("time to live of %s", clip(string(dn)))
		}
		dn, expires = tail, b.info.Started.Unix()+secs
	}
	if len(dn) == 0 {
		return fmt.Errorf("%w: empty", ErrDN)
	}
	to, err := b.internName(dn)
	if err != nil {
		return err
	}
	c := &b.cells[a]
	if expires != 0 {
		if c.expires == nil {
			c.expires = map[uint32]int64{}
		}
		c.expires[uint32(len(c.to))] = expires
	}
	c.rows = append(c.rows, row)
	c.to = append(c.to, to)
	return nil
}

func (b *Builder) internName(raw []byte) (uint32, error) {
	if i, ok := b.nameIdx[string(raw)]; ok {
		return i, nil
	}
	key, err := appendDNKey(b.scratch[:0], string(raw))
	b.scratch = key
	if err != nil {
		return 0, err
	}
	if len(b.names) >= maxObjects {
		return 0, fmt.Errorf("%w: more than %d names", ErrTooLarge, maxObjects)
	}
	i := uint32(len(b.names))
	r := nameRec{dn: b.text.add(raw), key: b.text.add(key)}
	b.names = append(b.names, r)
	b.nameIdx[r.dn] = i
	return i, nil
}

func (b *Builder) internClass(vals [][]byte) (uint16, error) {
	b.scratch = b.scratch[:0]
	for i, v := range vals {
		if i > 0 {
			b.scratch = append(b.scratch, 0)
		}
		b.scratch = append(b.scratch, v...)
	}
	i, ok := b.classIdx[string(b.scratch)]
	if !ok {
		if len(b.classes) > maxClassLists {
			return 0, fmt.Errorf("%w: more than %d combinations of object classes", ErrTooLarge, maxClassLists)
		}
		i = uint16(len(b.classes))
		names := make([]string, len(vals))
		for i, v := range vals {
			names[i] = string(v)
		}
		b.classes = append(b.classes, names)
		b.classIdx[string(b.scratch)] = i
	}
	return i, nil
}

// internSID returns the SID of raw, zero if it is malformed.
func (b *Builder) internSID(raw []byte) secdesc.SID {
	s, ok := b.sidIdx[string(raw)]
	if !ok {
		s, _ = secdesc.SIDFromBytes(raw) // malformed is "no SID"
		if len(raw) <= 16 {              // only well-known ones occur more than once
			b.sidIdx[string(raw)] = s
		}
	}
	return s
}

func (b *Builder) internDescriptor(raw []byte) uint32 {
	i, ok := b.descIdx[string(raw)]
	if !ok {
		i = uint32(len(b.descs))
		b.descs = append(b.descs, string(raw))
		b.descIdx[b.descs[i]] = i
	}
	return i
}

// MarkUnreadable records that attribute a of the entry added last could not be
// read, or only in part, and why. Values that were added stay reachable through
// the methods that return several, with the state Unreadable.
func (b *Builder) MarkUnreadable(a Attr, why string) {
	if n := len(b.name); n > 0 {
		b.problems[problemCell{uint32(n - 1), a}] = why
	}
}

// Changed records replication metadata of an attribute of the entry added last.
func (b *Builder) Changed(a Attr, c Change) {
	if n := len(b.name); n > 0 {
		b.metaAttrs = append(b.metaAttrs, metaCell{uint32(n - 1), b.dsas.entry(a, c)})
	}
}

// LinkChanged records replication metadata of one link value of the entry added
// last. It is dropped by Build if the target is not part of the snapshot.
func (b *Builder) LinkChanged(a Attr, target string, c Change) error {
	to, err := b.internName([]byte(target))
	if n := len(b.name); err == nil && n > 0 {
		b.metaLinks = append(b.metaLinks, metaLinkCell{uint32(n - 1), to, b.dsas.link(a, c)})
	}
	return err
}
