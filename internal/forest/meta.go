package forest

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Change is the replication metadata of an attribute or of one link value: its
// last originating change ([MS-ADTS] 3.1.1.3.3.15, msDS-ReplAttributeMetaData).
type Change struct {
	Version uint32
	Time    time.Time    // UTC, seconds
	DSA     secdesc.GUID // invocation ID of the DC on which it was made
	Server  string       // name of that DC if known
	Deleted time.Time    // link values only: when the value was removed; zero if present
	Created time.Time    // link values only
}

// metaTable holds replication metadata for the attributes that findings cite,
// ordered by object, attribute (and target).
type metaTable struct {
	dsas  []dsa
	attrs []metaEntry
	links []metaLink
}

// A dsa is an originating server.
type dsa struct {
	guid   secdesc.GUID
	server string
}

type metaEntry struct {
	id      ID
	version uint32
	time    int64 // seconds since 1970; noTime if zero
	attr    Attr
	dsa     uint16 // index into dsas
}

type metaLink struct {
	metaEntry
	to               ID
	deleted, created int64 // as time
}

// noTime stands for the zero time.
const noTime = -1 << 63

func packTime(t time.Time) int64 {
	if t.IsZero() {
		return noTime
	}
	return t.Unix()
}

func unpackTime(v int64) time.Time {
	if v == noTime {
		return time.Time{}
	}
	return time.Unix(v, 0).UTC()
}

// A dsaTable numbers originating servers. Its number 0 is "not known", used also
// for those beyond 65,535, which no forest has.
type dsaTable struct {
	list []dsa
	idx  map[dsa]uint16
}

func (t *dsaTable) number(d dsa) uint16 {
	if t.idx == nil {
		t.list, t.idx = []dsa{{}}, map[dsa]uint16{{}: 0}
	}
	i, ok := t.idx[d]
	if !ok && len(t.list) <= 0xFFFF {
		i = uint16(len(t.list))
		t.list, t.idx[d] = append(t.list, d), i
	}
	return i
}

func (t *dsaTable) entry(a Attr, c Change) metaEntry {
	return metaEntry{version: c.Version, time: packTime(c.Time), attr: a, dsa: t.number(dsa{c.DSA, c.Server})}
}

func (t *dsaTable) link(a Attr, c Change) metaLink {
	return metaLink{metaEntry: t.entry(a, c), deleted: packTime(c.Deleted), created: packTime(c.Created)}
}

// finish orders the table; of several entries for one fact the last one counts.
func (m *metaTable) finish() {
	m.attrs = lastOfEach(m.attrs, compareMeta)
	m.links = lastOfEach(m.links, compareMetaLinks)
	m.sortDSAs()
}

// sortDSAs makes the numbers of servers independent of the order they came in.
func (m *metaTable) sortDSAs() {
	order := make([]int, len(m.dsas))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(x, y int) int {
		return cmp.Or(slices.Compare(m.dsas[x].guid[:], m.dsas[y].guid[:]), strings.Compare(m.dsas[x].server, m.dsas[y].server))
	})
	to, sorted := make([]uint16, len(order)), make([]dsa, len(order))
	for i, old := range order {
		to[old], sorted[i] = uint16(i), m.dsas[old]
	}
	m.dsas = sorted
	for i := range m.attrs {
		m.attrs[i].dsa = to[m.attrs[i].dsa]
	}
	for i := range m.links {
		m.links[i].dsa = to[m.links[i].dsa]
	}
}

func compareMeta(a, b metaEntry) int {
	return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.attr, b.attr))
}

func compareMetaLinks(a, b metaLink) int {
	return cmp.Or(compareMeta(a.metaEntry, b.metaEntry), cmp.Compare(a.to, b.to))
}

func lastOfEach[T any](s []T, compare func(a, b T) int) []T {
	slices.SortStableFunc(s, compare)
	out := s[:0]
	for i, v := range s {
		if i+1 == len(s) || compare(v, s[i+1]) != 0 {
			out = append(out, v)
		}
	}
	return out
}

func (m *metaTable) change(e metaEntry) Change {
	d := m.dsas[e.dsa]
	return Change{Version: e.version, Time: unpackTime(e.time), DSA: d.guid, Server: d.server}
}

// LastChange returns the replication metadata of attribute a of id.
func (s *Snapshot) LastChange(id ID, a Attr) (Change, bool) {
	i, ok := slices.BinarySearchFunc(s.meta.attrs, metaEntry{id: id, attr: a}, compareMeta)
	if !ok {
		return Change{}, false
	}
	return s.meta.change(s.meta.attrs[i]), true
}

// LastLinkChange returns the replication metadata of the link from→to.
func (s *Snapshot) LastLinkChange(from ID, a Attr, to ID) (Change, bool) {
	want := metaLink{metaEntry: metaEntry{id: from, attr: a}, to: to}
	i, ok := slices.BinarySearchFunc(s.meta.links, want, compareMetaLinks)
	if !ok {
		return Change{}, false
	}
	l := s.meta.links[i]
	c := s.meta.change(l.metaEntry)
	c.Deleted, c.Created = unpackTime(l.deleted), unpackTime(l.created)
	return c, true
}
