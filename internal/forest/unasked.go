package forest

import (
	"cmp"
	"slices"
	"strings"
)

// whyUnasked is why an attribute of an object in an unaskedSet is Unreadable.
const whyUnasked = "the export that holds this object does not have it; others in this snapshot have it"

// An unaskedSet names objects and the attributes that were not asked for of them,
// although they were of others: exports with different lists of attributes came
// into one snapshot. Sets do not share objects.
type unaskedSet struct {
	attrs [numAttrs]bool
	ids   []ID // ascending
}

// names lists the attributes of the set in the order of their names.
func (u *unaskedSet) names() []string {
	var out []string
	for _, a := range byName() {
		if u.attrs[a] {
			out = append(out, a.String())
		}
	}
	return out
}

// indexUnasked makes the sets findable by object, and flawed by attribute.
func (s *Snapshot) indexUnasked() {
	if len(s.unasked) == 0 {
		return
	}
	s.unaskedOf = make([]uint32, s.Len())
	for i := range s.unasked {
		for _, id := range s.unasked[i].ids {
			s.unaskedOf[id] = uint32(i) + 1
		}
		for a, not := range s.unasked[i].attrs {
			if not {
				s.flawed[a] = true
			}
		}
	}
}

// problem returns why attribute a of id was not, or not fully, readable; ok is
// false if it was.
func (s *Snapshot) problem(id ID, a Attr) (why string, ok bool) {
	if !s.flawed[a] {
		return "", false
	}
	if why, ok := s.problems[problemKey{id, a}]; ok {
		return why, true
	}
	if s.unaskedOf != nil {
		if i := s.unaskedOf[id]; i > 0 && s.unasked[i-1].attrs[a] {
			return whyUnasked, true
		}
	}
	return "", false
}

func (s *Snapshot) encodeUnasked() []byte {
	e := &encoder{}
	e.uint(uint64(len(s.unasked)))
	for i := range s.unasked {
		names := s.unasked[i].names()
		e.uint(uint64(len(names)))
		for _, n := range names {
			e.str(n)
		}
		e.ids(s.unasked[i].ids)
	}
	return e.b
}

func (in *reading) decodeUnasked(d *decoder) error {
	seen := map[ID]bool{}
	for range d.count("sets") {
		var u unaskedSet
		for range d.count("attributes") {
			if a, ok := AttrByName(d.str()); ok {
				u.attrs[a] = true
			}
		}
		u.ids = d.ids(nil, in.info.Objects)
		if d.err != nil {
			break
		}
		for _, id := range u.ids {
			if seen[id] {
				d.fail("object %d stands in two sets", id)
				return d.end()
			}
			seen[id] = true
		}
		in.s.unasked = append(in.s.unasked, u)
	}
	return d.end()
}

// A part is what one search or one file contributed to a Builder.
type part struct {
	from, to uint32 // entries
	asked    [numAttrs]bool
}

// Part calls add to add entries of which exactly asked was asked for: attributes
// that other parts have, and this one does not, are Unreadable on these entries.
func (b *Builder) Part(asked []Attr, add func() error) error {
	b.beginPart()
	defer b.endPart()
	b.Collected(asked...)
	return add()
}

// beginPart starts a part: what is collected from now on counts for it alone.
func (b *Builder) beginPart() {
	b.before, b.collected = b.collected, [numAttrs]bool{}
	b.parts = append(b.parts, part{from: uint32(len(b.name))})
}

// endPart ends the part that was begun last.
func (b *Builder) endPart() {
	p := &b.parts[len(b.parts)-1]
	p.to, p.asked = uint32(len(b.name)), b.collected
	for a, had := range b.before {
		b.collected[a] = b.collected[a] || had
	}
	if p.from == p.to {
		b.parts = b.parts[:len(b.parts)-1]
	}
}

// nextPart ends the part and begins another, unless nothing is in it yet.
func (b *Builder) nextPart() {
	if b.parts[len(b.parts)-1].from < uint32(len(b.name)) {
		b.endPart()
		b.beginPart()
	}
}

// unaskedSets compares what was asked for in each part with what the snapshot
// holds as a whole: without it, "not asked" would look like "has none" (absent).
func (b *Builder) unaskedSets(o *ordering) []unaskedSet {
	at := map[[numAttrs]bool]int{}
	var out []unaskedSet
	for _, p := range b.parts {
		var not [numAttrs]bool
		for a := range not {
			not[a] = b.collected[a] && !p.asked[a]
		}
		if not == ([numAttrs]bool{}) {
			continue
		}
		i, ok := at[not]
		if !ok {
			i = len(out)
			at[not] = i
			out = append(out, unaskedSet{attrs: not})
		}
		for row := p.from; row < p.to; row++ {
			out[i].ids = append(out[i].ids, o.idOf[row])
		}
	}
	for i := range out {
		slices.Sort(out[i].ids)
	}
	slices.SortFunc(out, func(a, b unaskedSet) int { return cmp.Compare(a.ids[0], b.ids[0]) })
	for i := range out {
		if b.ldif == nil {
			continue // whoever called Part says what lacks
		}
		b.Cover(Coverage{
			Area: AreaAttribute, Subject: "attributes that only some exports have", State: "partial", Count: len(out[i].ids),
			Reason: "objects from an export that did not ask for attributes which other exports have (export all with one list): " + strings.Join(out[i].names(), ", "),
		})
	}
	return out
}
