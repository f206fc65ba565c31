package forest

import (
	"errors"
	"maps"
	"slices"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// ErrView reports that a view of a snapshot was to be stored: it is something that
// nobody read from a directory.
var ErrView = errors.New("a changed view of a snapshot cannot be stored")

// An Edit makes a view: a snapshot that differs from another in a few facts and
// shares everything else with it. The other stays as it is. Objects keep their
// IDs, names (below an object that was moved, DN gives the new ones, Lookup finds
// the old ones) and subtree ranges; no object comes or goes. Make one with
// [Snapshot.Edit]. It is for one goroutine, and its view is not to be shared before
// the last change.
type Edit struct {
	v     *Snapshot
	from  *Snapshot
	owned map[Attr]bool // columns that are the view's own
}

// Edit begins a view of s.
func (s *Snapshot) Edit() *Edit {
	v := *s
	return &Edit{v: &v, from: s, owned: map[Attr]bool{}}
}

// View returns the snapshot as it is after the changes so far.
func (e *Edit) View() *Snapshot { e.v.isView = true; return e.v }

// A linkEdit is what a view has otherwise in a table of links.
type linkEdit struct {
	to, back map[ID][]ID
}

// SetLink adds the link from→to to attribute a, or takes it away. A time-bound link
// that is taken away and added again is standing.
func (e *Edit) SetLink(from ID, a Attr, to ID, there bool) {
	l := e.links(a)
	now, _ := e.v.Links(from, a)
	l.edit.to[from] = withID(now, to, there)
	l.edit.back[to] = withID(e.v.Backlinks(to, a), from, there)
	lo, hi := l.outsideOf(from)
	l.any = withID(l.any, from, len(l.edit.to[from]) > 0 || lo < hi)
	if !there {
		l.expiry = slices.DeleteFunc(slices.Clone(l.expiry), func(x linkExpiry) bool { return x.from == from && x.to == to })
	}
}

func (e *Edit) links(a Attr) *linkTable {
	l := e.v.links[a]
	switch {
	case l == nil:
		l = &linkTable{}
	case l.edit != nil && l != e.from.links[a]:
		return l
	default:
		c := *l
		l = &c
	}
	old := l.edit
	l.edit = &linkEdit{to: map[ID][]ID{}, back: map[ID][]ID{}}
	if old != nil { // a view of a view
		maps.Copy(l.edit.to, old.to)
		maps.Copy(l.edit.back, old.back)
	}
	e.v.links[a] = l
	return l
}

// withID returns the ordered list with id in it, or without it, sharing nothing.
func withID(list []ID, id ID, there bool) []ID {
	i, found := slices.BinarySearch(list, id)
	if found == there {
		return list
	}
	out := make([]ID, 0, len(list)+1)
	out = append(out, list[:i]...)
	if there {
		out = append(out, id)
	} else {
		i++
	}
	return append(out, list[i:]...)
}

// SetInt gives an Integer attribute of id, which has a value, another one.
func (e *Edit) SetInt(id ID, a Attr, value int64) {
	c := e.v.col(a)
	lo, _, ok := c.span(id)
	if !ok || c.ints == nil {
		return
	}
	if !e.owned[a] {
		own := *c
		own.ints = slices.Clone(c.ints)
		e.own(a, &own)
	}
	e.v.cols[a].ints[lo] = value
}

// SetText gives a Text attribute of id one value, or none if it is empty. It costs
// as much as the attribute has values in the whole forest.
func (e *Edit) SetText(id ID, a Attr, value string) {
	old := e.v.col(a)
	if old == nil {
		old = &column{}
	}
	own := &column{first: []uint32{0}, text: texts{off: []uint32{0}}}
	var blob []byte
	add := func(at ID, vals ...string) {
		for _, v := range vals {
			blob = append(blob, v...)
			own.text.off = append(own.text.off, uint32(len(blob)))
		}
		own.ids, own.first = append(own.ids, at), append(own.first, uint32(len(own.text.off)-1))
	}
	done := value == ""
	for i, at := range old.ids {
		if at >= id && !done {
			add(id, value)
			done = true
		}
		if at == id {
			continue
		}
		var vals []string
		for lo, hi := old.bounds(i); lo < hi; lo++ {
			vals = append(vals, old.text.at(lo))
		}
		add(at, vals...)
	}
	if !done {
		add(id, value)
	}
	own.text.blob = string(blob)
	own.rank = makeRanking(own.ids)
	e.own(a, own)
}

func (e *Edit) own(a Attr, c *column) {
	e.owned[a] = true
	e.v.parked[a], e.v.cols[a] = nil, c
}

// Move puts id, with all below it, into another container of the same partition.
func (e *Edit) Move(id, container ID) {
	if e.v.grafts == nil || !e.owned[noAttr] {
		e.owned[noAttr] = true
		if e.v.unmoved == nil {
			e.v.unmoved = e.v.up
		}
		e.v.up, e.v.orphans, e.v.grafts = slices.Clone(e.v.up), maps.Clone(e.v.orphans), maps.Clone(e.v.grafts)
		if e.v.grafts == nil {
			e.v.grafts = map[ID][]ID{}
		}
	}
	for at, list := range e.v.grafts {
		e.v.grafts[at] = withID(list, id, false)
	}
	e.v.up[id] = container
	delete(e.v.orphans, id)
	if container != e.v.unmoved[id] { // else it is found where it was
		e.v.grafts[container] = withID(e.v.grafts[container], id, true)
	}
}

// Under calls yield for id and everything whose name is below it: in a view with what
// was moved there, without what was moved away. Unlike [Snapshot.Children] it passes
// containers that could not be read.
func (s *Snapshot) Under(id ID, yield func(ID)) {
	for o := id; o < s.end[id]; {
		if o != id && s.unmoved != nil && s.up[o] != s.unmoved[o] {
			o = s.end[o]
			continue
		}
		yield(o)
		for _, moved := range s.grafts[o] {
			s.Under(moved, yield)
		}
		o++
	}
}

// AddDescriptor adds a descriptor and returns its index, for SetDescriptor. It must
// not be changed afterwards.
func (e *Edit) AddDescriptor(d *secdesc.Descriptor) uint32 {
	made := &lazyDescriptor{d: d}
	made.once.Do(func() {})
	if len(e.v.made) == len(e.from.made) {
		e.v.made = slices.Clip(e.v.made) // a view of a view
	}
	e.v.made = append(e.v.made, made)
	return uint32(len(e.v.descs) + len(e.v.made) - 1)
}

// SetDescriptor gives id the descriptor with an index.
func (e *Edit) SetDescriptor(id ID, index uint32) {
	if &e.v.desc[0] == &e.from.desc[0] {
		e.v.desc = slices.Clone(e.v.desc)
	}
	e.v.desc[id] = index
}
