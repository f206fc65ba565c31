package forest

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// Build makes the Snapshot. The Builder must not be used afterwards. Errors are
// ErrDuplicate and ErrTooLarge.
func (b *Builder) Build() (*Snapshot, error) {
	o, err := b.number()
	if err != nil {
		return nil, err
	}
	unasked := b.unaskedSets(o)
	b.coverLDIF(o)
	b.info.Started, b.info.Finished = b.info.Started.UTC().Truncate(time.Second), b.info.Finished.UTC().Truncate(time.Second)
	s := &Snapshot{info: b.info, collected: b.collected, files: b.files, coverage: b.coverage, unasked: unasked}
	if err := b.buildTree(s, o); err != nil {
		return nil, err
	}
	b.nameIdx, b.descIdx = nil, nil
	for a := range numAttrs {
		if a.Syntax() == Link {
			s.links[a] = buildLinks(b, a, o)
		} else if len(b.cells[a].rows) > 0 {
			s.cols[a] = buildColumn(a, &b.cells[a], o)
		}
		b.cells[a] = cells{}
	}
	b.renumber(s)
	s.problems = make(map[problemKey]string, len(b.problems))
	for k, why := range b.problems {
		s.problems[problemKey{o.idOf[k.row], k.attr}] = why
	}
	b.buildMeta(s, o)
	s.finish()
	return s, nil
}

// An ordering says which ID each entry and each name has.
type ordering struct {
	rows   []uint32 // ID → entry
	idOf   []ID     // entry → ID
	nameID []ID     // name → ID, None if no entry has it
	marks  []uint32 // scratch for buildColumn, as long as rows
}

// number sorts the entries by their keys.
func (b *Builder) number() (*ordering, error) {
	const noRow = ^uint32(0)
	rowOf := make([]uint32, len(b.names))
	for i := range rowOf {
		rowOf[i] = noRow
	}
	for row, name := range b.name {
		if rowOf[name] != noRow {
			return nil, fmt.Errorf("%w: %s", ErrDuplicate, b.names[name].dn)
		}
		rowOf[name] = uint32(row)
	}
	sorted := make([]uint32, len(b.names))
	for i := range sorted {
		sorted[i] = uint32(i)
	}
	slices.SortFunc(sorted, func(x, y uint32) int {
		return cmp.Or(strings.Compare(b.names[x].key, b.names[y].key), cmp.Compare(x, y))
	})
	o := &ordering{
		rows: make([]uint32, 0, len(b.name)), idOf: make([]ID, len(b.name)),
		nameID: make([]ID, len(b.names)), marks: make([]uint32, len(b.name)),
	}
	for i := 0; i < len(sorted); {
		j, id := i, None
		for ; j < len(sorted) && b.names[sorted[j]].key == b.names[sorted[i]].key; j++ {
			row := rowOf[sorted[j]]
			if row == noRow {
				continue
			}
			if id != None {
				return nil, fmt.Errorf("%w: %s", ErrDuplicate, b.names[sorted[j]].dn)
			}
			id = ID(len(o.rows))
			o.rows = append(o.rows, row)
			o.idOf[row] = id
		}
		for ; i < j; i++ {
			o.nameID[sorted[i]] = id
		}
	}
	return o, nil
}

// buildTree fills the columns that every object has, in ID order.
func (b *Builder) buildTree(s *Snapshot, o *ordering) error {
	n := len(o.rows)
	s.up = make([]ID, n)
	s.class, s.guid = make([]uint16, n), make([]secdesc.GUID, n)
	s.sid, s.desc = make([]secdesc.SID, n), make([]uint32, n)
	s.rel.off = make([]uint32, 1, n+1)
	var blob bytes.Buffer
	key := func(id ID) string { return b.names[b.name[o.rows[id]]].key }
	var stack []ID // the objects that contain the current one, by name
	for i, row := range o.rows {
		id := ID(i)
		s.class[i], s.guid[i], s.sid[i], s.desc[i] = b.class[row], b.guid[row], b.sid[row], b.desc[row]
		k := key(id)
		for len(stack) > 0 && !strings.HasPrefix(k, key(stack[len(stack)-1])) {
			stack = stack[:len(stack)-1]
		}
		s.up[i] = None
		rel := b.names[b.name[row]].dn
		if len(stack) > 0 {
			s.up[i] = stack[len(stack)-1]
			rel = firstComponents(rel, strings.Count(k[len(key(s.up[i])):], "\x00"))
		}
		stack = append(stack, id)
		if blob.Len()+len(rel) > maxColumn {
			return fmt.Errorf("%w: more than 4 GiB of names", ErrTooLarge)
		}
		blob.WriteString(rel)
		s.rel.off = append(s.rel.off, uint32(blob.Len()))
	}
	s.rel.blob = blob.String()
	return nil
}

// firstComponents returns the first n components of a well-formed name.
func firstComponents(dn string, n int) string {
	end := -1
	for range n {
		end += 1 + componentEnd(dn[end+1:])
	}
	return dn[:end]
}

// A span is the values lo … hi-1 of one object.
type span struct {
	id     ID
	lo, hi uint32
}

// spans cuts rows, which ascend, into one span per object, in ID order.
func (o *ordering) spans(rows []uint32) []span {
	var out []span
	for i, row := range rows {
		if i == 0 || rows[i-1] != row {
			if i > 0 {
				out[len(out)-1].hi = uint32(i)
			}
			out = append(out, span{id: o.idOf[row], lo: uint32(i)})
		}
	}
	if len(out) == 0 {
		return nil
	}
	out[len(out)-1].hi = uint32(len(rows))
	if len(out) < len(o.rows)/16 {
		slices.SortFunc(out, func(x, y span) int { return cmp.Compare(x.id, y.id) })
		return out
	}
	clear(o.marks)
	for i, v := range out {
		o.marks[v.id] = uint32(i) + 1
	}
	sorted := make([]span, 0, len(out))
	for _, m := range o.marks {
		if m != 0 {
			sorted = append(sorted, out[m-1])
		}
	}
	return sorted
}

func buildColumn(a Attr, in *cells, o *ordering) *column {
	spans := o.spans(in.rows)
	c := &column{ids: make([]ID, len(spans)), first: make([]uint32, 1, len(spans)+1)}
	if a.isText() {
		c.text.off = make([]uint32, 1, len(in.rows)+1)
		buildText(c, in, spans)
	} else {
		c.ints = make([]int64, 0, len(in.rows))
		for i, v := range spans {
			c.ids[i] = v.id
			vals := in.ints[v.lo:v.hi]
			slices.Sort(vals)
			c.ints = append(c.ints, vals...)
			c.first = append(c.first, uint32(len(c.ints)))
		}
	}
	c.compact()
	c.rank = makeRanking(c.ids)
	return c
}

func buildText(c *column, in *cells, spans []span) {
	at := func(i uint32) []byte {
		if i == 0 {
			return in.blob[:in.end[0]]
		}
		return in.blob[in.end[i-1]:in.end[i]]
	}
	var blob strings.Builder
	blob.Grow(len(in.blob))
	var vals [][]byte
	for i, v := range spans {
		c.ids[i] = v.id
		vals = vals[:0]
		for j := v.lo; j < v.hi; j++ {
			vals = append(vals, at(j))
		}
		slices.SortFunc(vals, bytes.Compare)
		for _, x := range vals {
			blob.Write(x)
			c.text.off = append(c.text.off, uint32(blob.Len()))
		}
		c.first = append(c.first, uint32(len(c.text.off)-1))
	}
	c.text.blob = blob.String()
}

func buildLinks(b *Builder, a Attr, o *ordering) *linkTable {
	in := &b.cells[a]
	if len(in.rows) == 0 {
		return nil
	}
	l := &linkTable{}
	pairs := make([]idPair, 0, len(in.rows))
	for i, row := range in.rows {
		from, to := o.idOf[row], o.nameID[in.to[i]]
		expires, bound := in.expires[uint32(i)]
		if to == None {
			l.outside = append(l.outside, outsideLink{from, strings.Clone(b.names[in.to[i]].dn), expires})
			continue
		}
		pairs = append(pairs, idPair{from, to})
		if bound {
			l.expiry = append(l.expiry, linkExpiry{idPair{from, to}, expires})
		}
	}
	l.finish(pairs)
	return l
}

// renumber gives classes and descriptors numbers that depend on the content and
// not on the order in which it came, and drops those that nothing uses.
func (b *Builder) renumber(s *Snapshot) {
	classes := make([]uint16, len(b.classes))
	s.classes = [][]string{nil}
	for i, c := range s.class {
		if c != 0 && classes[c] == 0 {
			classes[c] = uint16(len(s.classes))
			s.classes = append(s.classes, b.classes[c])
		}
		s.class[i] = classes[c]
	}
	descs := make([]uint32, len(b.descs))
	var order []uint32
	number := func(d uint32) uint32 {
		if descs[d] == 0 {
			order = append(order, d)
			descs[d] = uint32(len(order))
		}
		return descs[d] - 1
	}
	for i, d := range s.desc {
		if d != noDesc {
			s.desc[i] = number(d)
		}
	}
	for a := range numAttrs {
		if a.Syntax() != Descriptor || s.cols[a] == nil {
			continue
		}
		for i, d := range s.cols[a].ints {
			s.cols[a].ints[i] = int64(number(uint32(d)))
		}
	}
	s.descs = make([]lazyDescriptor, len(order))
	for i, d := range order {
		s.descs[i].raw = b.descs[d]
	}
}

func (b *Builder) buildMeta(s *Snapshot, o *ordering) {
	s.meta.dsas = b.dsas.list
	for _, m := range b.metaAttrs {
		m.change.id = o.idOf[m.row]
		s.meta.attrs = append(s.meta.attrs, m.change)
	}
	for _, m := range b.metaLinks {
		if to := o.nameID[m.to]; to != None {
			m.change.id, m.change.to = o.idOf[m.row], to
			s.meta.links = append(s.meta.links, m.change)
		}
	}
	s.meta.finish()
}
