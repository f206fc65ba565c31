package forest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// ErrDuplicate reports two entries with one distinguished name.
var ErrDuplicate = errors.New("two entries have the same distinguished name")

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
	dns       []string
	keys      []string
	class     []uint16
	classes   [][]string
	classIdx  map[string]uint16
	guid      []secdesc.GUID
	sid       []secdesc.SID
	desc      []uint32
	descs     []string
	descIdx   map[string]uint32
	cells     [numAttrs][]cell
	links     [numAttrs][]linkCell
	collected [numAttrs]bool
	problems  map[problemCell]string
	files     []File
	coverage  []Coverage
	metaAttrs []metaCell
	metaLinks []metaLinkCell
}

// Values wait here under the number of the entry, in arrival order.
type (
	cell struct {
		row uint32
		int int64
		str string
	}
	linkCell struct {
		row     uint32
		key     string // dnKey of the target
		dn      string
		expires int64 // seconds since 1970; 0 for standing links
	}
	problemCell struct {
		row  uint32
		attr Attr
	}
	metaCell struct {
		row    uint32
		attr   Attr
		change Change
	}
	metaLinkCell struct {
		row    uint32
		attr   Attr
		key    string
		change Change
	}
)

// NewBuilder returns an empty Builder. The attributes that are collected are
// those given to Collected and those that any entry has.
func NewBuilder(info Info) *Builder {
	return &Builder{
		info:     info,
		classes:  [][]string{nil},
		classIdx: map[string]uint16{"": 0},
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

// Add takes an entry. Attributes that snapshots do not hold are passed over; a
// value that does not have its attribute's syntax becomes Unreadable with the
// reason and never fails the whole. A malformed or repeated name is an error.
func (b *Builder) Add(e Entry) error {
	key, err := dnKey(e.DN)
	if err != nil {
		return err
	}
	if key == "" {
		return fmt.Errorf("%w: empty", ErrDN)
	}
	row := uint32(len(b.dns))
	b.dns = append(b.dns, e.DN)
	b.keys = append(b.keys, key)
	b.class = append(b.class, 0)
	b.guid = append(b.guid, secdesc.GUID{})
	b.sid = append(b.sid, secdesc.SID{})
	b.desc = append(b.desc, noDesc)
	for _, v := range e.Attrs {
		b.addValues(row, v)
	}
	return nil
}

func (b *Builder) addValues(row uint32, v Values) {
	if len(v.Vals) == 0 {
		return
	}
	switch strings.ToLower(v.Name) {
	case "objectclass":
		b.class[row] = b.internClass(v.Vals)
	case "objectguid":
		if g, err := secdesc.GUIDFromBytes(v.Vals[0]); err == nil {
			b.guid[row] = g
		}
	case "objectsid":
		if s, err := secdesc.SIDFromBytes(v.Vals[0]); err == nil {
			b.sid[row] = s
		}
	case "ntsecuritydescriptor":
		b.desc[row] = b.internDescriptor(v.Vals[0])
	default:
		a, ok := AttrByName(v.Name)
		if !ok {
			return
		}
		b.collected[a] = true
		for _, raw := range v.Vals {
			if err := b.addValue(row, a, raw); err != nil {
				b.problems[problemCell{row, a}] = "malformed value: " + err.Error()
			}
		}
	}
}

func (b *Builder) addValue(row uint32, a Attr, raw []byte) error {
	switch a.Syntax() {
	case Link:
		return b.addLink(row, a, string(raw))
	case Descriptor:
		b.cells[a] = append(b.cells[a], cell{row: row, int: int64(b.internDescriptor(raw))})
	case Text, Octets:
		b.cells[a] = append(b.cells[a], cell{row: row, str: string(raw)})
	default:
		n, err := parseNumber(a.Syntax(), string(raw))
		if err != nil {
			return err
		}
		b.cells[a] = append(b.cells[a], cell{row: row, int: n})
	}
	return nil
}

// parseNumber reads the LDAP string form of a value that is stored as a number.
func parseNumber(s Syntax, raw string) (int64, error) {
	switch s {
	case Boolean:
		switch strings.ToUpper(raw) {
		case "TRUE":
			return 1, nil
		case "FALSE":
			return 0, nil
		}
		return 0, fmt.Errorf("%q is not TRUE or FALSE", raw)
	case Time:
		for _, layout := range []string{"20060102150405.0Z", "20060102150405Z"} {
			if t, err := time.Parse(layout, raw); err == nil {
				return t.Unix(), nil
			}
		}
		return 0, fmt.Errorf("%q is not a generalized time", raw)
	default:
		n, err := strconv.ParseInt(raw, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is not an integer", raw)
		}
		return n, nil
	}
}

// addLink takes a distinguished name, with the <TTL=n>, prefix of time-bound
// links ([MS-ADTS] 3.1.1.3.4.1.28; n seconds from Info.Started).
func (b *Builder) addLink(row uint32, a Attr, dn string) error {
	var expires int64
	if rest, ok := strings.CutPrefix(dn, "<TTL="); ok {
		n, tail, ok := strings.Cut(rest, ">,")
		secs, err := strconv.ParseInt(n, 10, 64)
		if !ok || err != nil {
			return fmt.Errorf("time to live of %q", dn)
		}
		dn, expires = tail, b.info.Started.Unix()+secs
	}
	key, err := dnKey(dn)
	if err != nil {
		return err
	}
	b.links[a] = append(b.links[a], linkCell{row, key, dn, expires})
	return nil
}

func (b *Builder) internClass(vals [][]byte) uint16 {
	names := make([]string, len(vals))
	for i, v := range vals {
		names[i] = string(v)
	}
	key := strings.Join(names, "\x00")
	i, ok := b.classIdx[key]
	if !ok {
		i = uint16(len(b.classes))
		b.classes = append(b.classes, names)
		b.classIdx[key] = i
	}
	return i
}

func (b *Builder) internDescriptor(raw []byte) uint32 {
	i, ok := b.descIdx[string(raw)]
	if !ok {
		i = uint32(len(b.descs))
		b.descs = append(b.descs, string(raw))
		b.descIdx[string(raw)] = i
	}
	return i
}

// MarkUnreadable records that attribute a of the entry added last could not be
// read, and why.
func (b *Builder) MarkUnreadable(a Attr, why string) {
	b.problems[problemCell{uint32(len(b.dns) - 1), a}] = why
}

// Changed records replication metadata of an attribute of the entry added last.
func (b *Builder) Changed(a Attr, c Change) {
	b.metaAttrs = append(b.metaAttrs, metaCell{uint32(len(b.dns) - 1), a, c})
}

// LinkChanged records replication metadata of one link value of the entry added last.
func (b *Builder) LinkChanged(a Attr, target string, c Change) error {
	key, err := dnKey(target)
	if err == nil {
		b.metaLinks = append(b.metaLinks, metaLinkCell{uint32(len(b.dns) - 1), a, key, c})
	}
	return err
}

// Build makes the Snapshot. The Builder must not be used afterwards.
func (b *Builder) Build() (*Snapshot, error) {
	order := make([]uint32, len(b.dns))
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(x, y uint32) int { return strings.Compare(b.keys[x], b.keys[y]) })
	idOf := make([]ID, len(order)) // entry number → ID
	byKey := make(map[string]ID, len(order))
	for i, row := range order {
		if i > 0 && b.keys[order[i-1]] == b.keys[row] {
			return nil, fmt.Errorf("%w: %s", ErrDuplicate, b.dns[row])
		}
		idOf[row] = ID(i)
		byKey[b.keys[row]] = ID(i)
	}
	s := &Snapshot{info: b.info, classes: b.classes, collected: b.collected, files: b.files, coverage: b.coverage}
	b.buildTree(s, order, byKey)
	for _, raw := range b.descs {
		s.descs = append(s.descs, newLazyDescriptor(raw))
	}
	for a := range numAttrs {
		if len(b.cells[a]) > 0 {
			s.cols[a] = buildColumn(a, b.cells[a], idOf)
		}
		if len(b.links[a]) > 0 {
			s.links[a] = buildLinks(b.links[a], idOf, byKey)
		}
	}
	s.problems = make(map[problemKey]string, len(b.problems))
	for k, why := range b.problems {
		s.problems[problemKey{idOf[k.row], k.attr}] = why
	}
	b.buildMeta(s, idOf, byKey)
	s.finish()
	return s, nil
}

// buildTree fills the columns that every object has, in ID order.
func (b *Builder) buildTree(s *Snapshot, order []uint32, byKey map[string]ID) {
	n := len(order)
	s.parent, s.end, s.rdn = make([]ID, n), make([]ID, n), make([]string, n)
	s.class, s.guid = make([]uint16, n), make([]secdesc.GUID, n)
	s.sid, s.desc = make([]secdesc.SID, n), make([]uint32, n)
	for i, row := range order {
		s.class[i], s.guid[i], s.sid[i], s.desc[i] = b.class[row], b.guid[row], b.sid[row], b.desc[row]
		s.parent[i], s.rdn[i] = None, b.dns[row]
		key := b.keys[row]
		cut := strings.LastIndexByte(key[:len(key)-1], 0) + 1
		if p, ok := byKey[key[:cut]]; ok && cut > 0 {
			s.parent[i] = p
			s.rdn[i] = b.dns[row][:componentEnd(b.dns[row])]
		}
	}
	for i := n - 1; i >= 0; i-- {
		s.end[i] = max(s.end[i], ID(i)+1)
		if p := s.parent[i]; p != None {
			s.end[p] = max(s.end[p], s.end[i])
		}
	}
}

func buildColumn(a Attr, cells []cell, idOf []ID) *column {
	slices.SortStableFunc(cells, func(x, y cell) int {
		return cmp.Or(cmp.Compare(idOf[x.row], idOf[y.row]), strings.Compare(x.str, y.str), cmp.Compare(x.int, y.int))
	})
	c := &column{}
	text := a.Syntax() == Text || a.Syntax() == Octets
	var blob strings.Builder
	for i, v := range cells {
		if i == 0 || cells[i-1].row != v.row {
			c.ids = append(c.ids, idOf[v.row])
			c.first = append(c.first, uint32(i))
		}
		if text {
			c.off = append(c.off, uint32(blob.Len()))
			blob.WriteString(v.str)
		} else {
			c.ints = append(c.ints, v.int)
		}
	}
	c.first = append(c.first, uint32(len(cells)))
	if text {
		c.off = append(c.off, uint32(blob.Len()))
		c.blob = blob.String()
	}
	return c
}

func buildLinks(cells []linkCell, idOf []ID, byKey map[string]ID) *linkTable {
	l := &linkTable{outside: map[ID][]string{}, expiry: map[[2]ID]int64{}}
	var pairs [][2]ID
	for _, c := range cells {
		from := idOf[c.row]
		to, ok := byKey[c.key]
		if !ok {
			l.outside[from] = append(l.outside[from], c.dn)
			continue
		}
		pairs = append(pairs, [2]ID{from, to})
		if c.expires != 0 {
			l.expiry[[2]ID{from, to}] = c.expires
		}
	}
	for _, dns := range l.outside {
		slices.Sort(dns)
	}
	l.ids, l.first, l.to = index(pairs, 0)
	l.backIDs, l.backFirst, l.back = index(pairs, 1)
	return l
}

// index sorts pairs by their element side and cuts them into rows.
func index(pairs [][2]ID, side int) (ids []ID, first []uint32, to []ID) {
	slices.SortFunc(pairs, func(x, y [2]ID) int {
		return cmp.Or(cmp.Compare(x[side], y[side]), cmp.Compare(x[1-side], y[1-side]))
	})
	pairs = slices.Compact(pairs)
	for i, p := range pairs {
		if i == 0 || pairs[i-1][side] != p[side] {
			ids = append(ids, p[side])
			first = append(first, uint32(i))
		}
		to = append(to, p[1-side])
	}
	return ids, append(first, uint32(len(pairs))), to
}

func (b *Builder) buildMeta(s *Snapshot, idOf []ID, byKey map[string]ID) {
	s.meta.attrs = make(map[problemKey]Change, len(b.metaAttrs))
	for _, m := range b.metaAttrs {
		s.meta.attrs[problemKey{idOf[m.row], m.attr}] = m.change
	}
	s.meta.links = make(map[linkKey]Change, len(b.metaLinks))
	for _, m := range b.metaLinks {
		if to, ok := byKey[m.key]; ok {
			s.meta.links[linkKey{idOf[m.row], m.attr, to}] = m.change
		}
	}
}
