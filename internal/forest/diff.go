package forest

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// Changes are the differences between two snapshots, from old to new.
type Changes struct {
	Objects  []ObjectChange   `json:"objects"`  // in the order of their names
	Files    []FileChange     `json:"files"`    // by domain and path
	Coverage []CoverageChange `json:"coverage"` // by area and subject
}

// Empty reports whether there is no difference.
func (c *Changes) Empty() bool { return len(c.Objects)+len(c.Files)+len(c.Coverage) == 0 }

// A ChangeKind says what happened to an object or a file.
type ChangeKind string

// Kinds of change. Something that was not seen because a partition, container,
// folder or file could not be read is Lost or Found, never Removed or Added.
const (
	Added    ChangeKind = "added"
	Removed  ChangeKind = "removed"
	Moved    ChangeKind = "moved"   // another name or container; perhaps other changes
	Modified ChangeKind = "changed" // same name, other content
	Lost     ChangeKind = "lost"    // no longer readable: may or may not exist
	Found    ChangeKind = "found"   // was not readable before: may or may not be new
)

// An ObjectChange is what happened to one object. Of objects that are added,
// removed, lost or found only the identity is given.
type ObjectChange struct {
	Kind       ChangeKind        `json:"kind"`
	DN         string            `json:"dn"`               // in new; in old for Removed and Lost
	OldDN      string            `json:"old_dn,omitempty"` // for Moved
	GUID       string            `json:"guid,omitempty"`
	SID        string            `json:"sid,omitempty"`
	Class      string            `json:"class,omitempty"`
	Old        ID                `json:"-"`                    // None for Added and Found
	New        ID                `json:"-"`                    // None for Removed and Lost
	Attrs      []AttrChange      `json:"attributes,omitempty"` // by name; also objectClass, objectSid, objectGUID
	Links      []LinkChange      `json:"links,omitempty"`      // by attribute, then target
	Descriptor *DescriptorChange `json:"descriptor,omitempty"`
}

// An AttrChange has the values before and after: text as it is, numbers in
// decimal, octets in base64, times in RFC 3339, descriptors as SDDL.
type AttrChange struct {
	Attr     string   `json:"attribute"`
	Old      []string `json:"old"`
	New      []string `json:"new"`
	OldState State    `json:"old_state"`
	NewState State    `json:"new_state"`
}

// A LinkChange is a link value that came or went, or whose end changed.
type LinkChange struct {
	Kind       ChangeKind `json:"kind"` // Added, Removed, Modified (its end), Lost or Found
	Attr       string     `json:"attribute"`
	Target     string     `json:"target"` // distinguished name
	OldExpires *time.Time `json:"old_expires,omitempty"`
	NewExpires *time.Time `json:"new_expires,omitempty"`
}

// A DescriptorChange says how a security descriptor differs. If one side could
// not be read, only the states are given.
type DescriptorChange struct {
	OldState State       `json:"old_state"`
	NewState State       `json:"new_state"`
	OldOwner string      `json:"old_owner,omitempty"` // SID; owner, group and control only if they differ
	NewOwner string      `json:"new_owner,omitempty"`
	OldGroup string      `json:"old_group,omitempty"`
	NewGroup string      `json:"new_group,omitempty"`
	OldFlags uint16      `json:"old_control,omitempty"`
	NewFlags uint16      `json:"new_control,omitempty"`
	Entries  []ACEChange `json:"entries,omitempty"`   // Removed in old order, then Added in new order
	Reorder  bool        `json:"reordered,omitempty"` // same entries in another order
}

// An ACEChange is an access control entry that came or went.
type ACEChange struct {
	Kind  ChangeKind `json:"kind"` // Added or Removed
	List  string     `json:"list"` // dacl or sacl
	Index int        `json:"index"`
	SDDL  string     `json:"sddl"`
	// Origin is the container above whose own entry of the same trustee came or
	// went with this inherited one; empty for entries of the object's own, and
	// where no container above shows such a change.
	Origin string `json:"inherited_from,omitempty"`

	inherited bool
	trustee   secdesc.SID
}

// Echo reports whether nothing happened to the object but that entries came or
// went that it inherits, and returns the container that they come from.
func (o *ObjectChange) Echo() (origin string, ok bool) {
	d := o.Descriptor
	if o.Kind != Modified || d == nil || len(o.Attrs)+len(o.Links) > 0 || len(d.Entries) == 0 ||
		d.OldState != d.NewState || d.OldOwner != d.NewOwner || d.OldGroup != d.NewGroup || d.OldFlags != d.NewFlags || d.Reorder {
		return "", false
	}
	for _, e := range d.Entries {
		if e.Origin == "" || origin != "" && e.Origin != origin {
			return "", false
		}
		origin = e.Origin
	}
	return origin, true
}

// Diff compares two snapshots. Objects are the same if their objectGUID is, or,
// where one was not read, their SID, or else their name. whenChanged is left out:
// it says no more than that something changed, on one server.
func Diff(before, after *Snapshot) *Changes {
	d := &differ{a: before, b: after, descs: map[[2]uint32]bool{}, sacl: saclRead(before) && saclRead(after)}
	d.match()
	d.objects()
	d.origins()
	return &Changes{Objects: d.out, Files: diffFiles(before, after), Coverage: diffCoverage(before, after)}
}

type differ struct {
	a, b   *Snapshot
	toB    []ID // object of a → the same in b, or None
	toA    []ID
	out    []ObjectChange
	descs  map[[2]uint32]bool // pairs of descriptors that are equal
	attrs  []Attr
	domain secdesc.SID
	sacl   bool // both sides read the system lists
}

// match finds the objects that are the same in both.
func (d *differ) match() {
	d.toB, d.toA = make([]ID, d.a.Len()), make([]ID, d.b.Len())
	for i := range d.toB {
		d.toB[i] = None
	}
	for i := range d.toA {
		d.toA[i] = None
	}
	pair := func(find func(ID) ID) {
		for i := range d.toA {
			if d.toA[i] != None {
				continue
			}
			if old := find(ID(i)); old != None && d.toB[old] == None && d.mayBeSame(old, ID(i)) {
				d.toA[i], d.toB[old] = old, ID(i)
			}
		}
	}
	pair(func(id ID) ID {
		if g := d.b.guid[id]; !g.IsZero() {
			return d.a.ByGUID(g)
		}
		return None
	})
	pair(func(id ID) ID {
		if sid := d.b.sid[id]; !sid.IsZero() {
			return d.a.BySID(sid)
		}
		return None
	})
	pair(func(id ID) ID { return d.a.Lookup(d.b.DN(id)) })
}

// mayBeSame reports whether no identity contradicts: a name that is used again
// belongs to another object.
func (d *differ) mayBeSame(old, id ID) bool {
	if g, h := d.a.guid[old], d.b.guid[id]; !g.IsZero() && !h.IsZero() {
		return g == h
	}
	s, t := d.a.sid[old], d.b.sid[id]
	return s.IsZero() || t.IsZero() || s == t
}

func (d *differ) objects() {
	for _, a := range byName() {
		if a != WhenChanged && d.a.collected[a] && d.b.collected[a] {
			d.attrs = append(d.attrs, a)
		}
	}
	for _, dom := range d.b.Domains() {
		if !dom.SID.IsZero() {
			d.domain = dom.SID
			break
		}
	}
	seenBy, seenByOld := newSight(d.b), newSight(d.a)
	seenBy.lacks(d.a, d.toB)
	seenByOld.lacks(d.b, d.toA)
	for i, new := range d.toB {
		if new == None {
			d.out = append(d.out, identity(d.a, ID(i), Removed))
			o := &d.out[len(d.out)-1]
			o.Old, o.New = ID(i), None
			if !seenBy.sees(o.DN) {
				o.Kind = Lost
			}
		}
	}
	for i, old := range d.toA {
		if old != None {
			d.compare(old, ID(i))
			continue
		}
		o := identity(d.b, ID(i), Added)
		o.Old, o.New = None, ID(i)
		if !seenByOld.sees(o.DN) {
			o.Kind = Found
		}
		d.out = append(d.out, o)
	}
	keys := make(map[string]string, len(d.out))
	for _, o := range d.out {
		keys[o.DN], _ = dnKey(o.DN)
	}
	slices.SortStableFunc(d.out, func(x, y ObjectChange) int {
		return cmp.Or(strings.Compare(keys[x.DN], keys[y.DN]), strings.Compare(string(y.Kind), string(x.Kind)))
	})
}

func identity(s *Snapshot, id ID, kind ChangeKind) ObjectChange {
	o := ObjectChange{Kind: kind, DN: s.DN(id), SID: s.SID(id).String(), Class: s.Class(id)}
	if g := s.GUID(id); !g.IsZero() {
		o.GUID = g.String()
	}
	return o
}

// compare looks for differences of one object.
func (d *differ) compare(old, new ID) {
	var attrs []AttrChange
	text := func(name string, x, y []string) {
		if !slices.Equal(x, y) {
			attrs = append(attrs, AttrChange{name, x, y, stateOf(x), stateOf(y)})
		}
	}
	text("objectClass", d.a.Classes(old), d.b.Classes(new))
	if x, y := d.a.GUID(old), d.b.GUID(new); x != y {
		text("objectGUID", zeroless(x.String(), x.IsZero()), zeroless(y.String(), y.IsZero()))
	}
	if x, y := d.a.SID(old), d.b.SID(new); x != y {
		text("objectSid", zeroless(x.String(), x.IsZero()), zeroless(y.String(), y.IsZero()))
	}
	var links []LinkChange
	for _, a := range d.attrs {
		if a.Syntax() == Link {
			links = append(links, d.links(a, old, new)...)
		} else if c, differs := d.values(a, old, new); differs {
			attrs = append(attrs, c)
		}
	}
	sd := d.descriptors(old, new)
	moved := d.moved(old, new)
	if len(attrs)+len(links) == 0 && sd == nil && !moved {
		return
	}
	o := identity(d.b, new, Modified)
	o.Old, o.New, o.Attrs, o.Links, o.Descriptor = old, new, attrs, links, sd
	if moved {
		o.Kind, o.OldDN = Moved, d.a.DN(old)
	}
	d.out = append(d.out, o)
}

// stateOf is the state of identity, whose absence always means "not read".
func stateOf(vals []string) State {
	if len(vals) == 0 {
		return Unreadable
	}
	return Known
}

func zeroless(text string, zero bool) []string {
	if zero {
		return nil
	}
	return []string{text}
}

// moved reports whether the object itself was renamed or put elsewhere; below a
// container that moved nothing has moved.
func (d *differ) moved(old, new ID) bool {
	if x, y := d.a.rel.at(uint32(old)), d.b.rel.at(uint32(new)); x != y {
		kx, _ := dnKey(x) // well-formed: they are in snapshots
		ky, _ := dnKey(y)
		if kx != ky {
			return d.a.key(old) != d.b.key(new)
		}
	}
	up, newUp := d.a.up[old], d.b.up[new]
	if up == None || newUp == None {
		return up != newUp && d.a.key(old) != d.b.key(new)
	}
	return d.toB[up] != newUp
}

func (d *differ) values(a Attr, old, new ID) (AttrChange, bool) {
	x, xs := d.a.valueText(old, a)
	y, ys := d.b.valueText(new, a)
	if xs == ys && slices.Equal(x, y) {
		return AttrChange{}, false
	}
	return AttrChange{a.String(), x, y, xs, ys}, true
}

// valueText returns the values of an attribute that is not a link as text.
func (s *Snapshot) valueText(id ID, a Attr) ([]string, State) {
	c := s.col(a)
	lo, hi, ok := c.span(id)
	if !ok {
		return nil, s.missing(id, a)
	}
	out := make([]string, 0, hi-lo)
	for i := lo; i < hi; i++ {
		switch a.Syntax() {
		case Text:
			out = append(out, c.text.at(i))
		case Octets:
			out = append(out, base64.StdEncoding.EncodeToString([]byte(c.text.at(i))))
		case Time:
			out = append(out, unpackTime(c.ints[i]).Format(time.RFC3339))
		case Descriptor:
			out = append(out, s.descriptorText(uint32(c.ints[i])))
		default:
			out = append(out, strconv.FormatInt(c.ints[i], 10))
		}
	}
	return out, s.known(id, a)
}

// descriptorText is SDDL, or base64 for bytes that are no descriptor.
func (s *Snapshot) descriptorText(i uint32) string {
	d, err := s.descAt(i).get()
	if err != nil {
		return "base64 " + base64.StdEncoding.EncodeToString([]byte(s.descAt(i).bytes()))
	}
	return d.SDDL(secdesc.SID{})
}

// A linkEnd is a link value under a key that is the same in both snapshots.
type linkEnd struct {
	key     string
	dn      string
	expires int64
}

func (d *differ) links(a Attr, old, new ID) []LinkChange {
	x, xs := d.a.linkEnds(a, old, func(t ID) string { return endKey(d.a, t, d.toB[t]) })
	y, ys := d.b.linkEnds(a, new, func(t ID) string {
		if d.toA[t] == None {
			return endKey(d.b, t, None)
		}
		return endKey(d.b, t, t)
	})
	gone, came := Removed, Added
	if ys == Unreadable {
		gone = Lost
	}
	if xs == Unreadable {
		came = Found
	}
	var out []LinkChange
	for i, j := 0, 0; i < len(x) || j < len(y); {
		switch {
		case j == len(y) || i < len(x) && x[i].key < y[j].key:
			out = append(out, LinkChange{Kind: gone, Attr: a.String(), Target: x[i].dn, OldExpires: expiry(x[i].expires)})
			i++
		case i == len(x) || y[j].key < x[i].key:
			out = append(out, LinkChange{Kind: came, Attr: a.String(), Target: y[j].dn, NewExpires: expiry(y[j].expires)})
			j++
		default:
			if !sameEnd(x[i].expires, y[j].expires) {
				out = append(out, LinkChange{Modified, a.String(), y[j].dn, expiry(x[i].expires), expiry(y[j].expires)})
			}
			i, j = i+1, j+1
		}
	}
	slices.SortStableFunc(out, func(p, q LinkChange) int {
		return cmp.Or(strings.Compare(p.Target, q.Target), strings.Compare(string(p.Kind), string(q.Kind)))
	})
	return out
}

// sameEnd allows for the time that passes between asking and answering: a time
// to live counts from then.
func sameEnd(x, y int64) bool {
	return x == y || x != 0 && y != 0 && max(x-y, y-x) <= 5
}

func expiry(v int64) *time.Time {
	if v == 0 {
		return nil
	}
	t := time.Unix(v, 0).UTC()
	return &t
}

// endKey names a target: by its number in b if it is in both, else by its name.
func endKey(s *Snapshot, id, inB ID) string {
	if inB != None {
		return "#" + strconv.FormatUint(uint64(inB), 10)
	}
	return s.key(id)
}

func (s *Snapshot) linkEnds(a Attr, id ID, key func(ID) string) ([]linkEnd, State) {
	to, st := s.Links(id, a)
	var out []linkEnd
	for _, t := range to {
		e := linkEnd{key: key(t), dn: s.DN(t)}
		if at, ok := s.LinkExpires(id, a, t); ok {
			e.expires = at.Unix()
		}
		out = append(out, e)
	}
	for _, dn := range s.LinksOutside(id, a) {
		e := linkEnd{dn: dn}
		e.key, _ = dnKey(dn)
		if at, ok := s.OutsideLinkExpires(id, a, dn); ok {
			e.expires = at.Unix()
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(x, y linkEnd) int { return strings.Compare(x.key, y.key) })
	return out, st
}
