package forest

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// descriptors compares the descriptors of one object; nil if they are the same.
func (d *differ) descriptors(old, new ID) *DescriptorChange {
	i, j := d.a.desc[old], d.b.desc[new]
	if i == noDesc || j == noDesc {
		if i == j {
			return nil
		}
		return &DescriptorChange{OldState: descState(d.a, old), NewState: descState(d.b, new)}
	}
	same, seen := d.descs[[2]uint32{i, j}]
	if !seen {
		same = d.a.descAt(i).bytes() == d.b.descAt(j).bytes()
		d.descs[[2]uint32{i, j}] = same
	}
	if same {
		return nil
	}
	out := &DescriptorChange{OldState: descState(d.a, old), NewState: descState(d.b, new)}
	x, errX := d.a.descAt(i).get()
	y, errY := d.b.descAt(j).get()
	if errX != nil || errY != nil {
		return out
	}
	if !d.sacl {
		x, y = withoutSACL(x), withoutSACL(y)
	}
	if x.Owner != y.Owner {
		out.OldOwner, out.NewOwner = x.Owner.String(), y.Owner.String()
	}
	if x.Group != y.Group {
		out.OldGroup, out.NewGroup = x.Group.String(), y.Group.String()
	}
	if x.Control != y.Control {
		out.OldFlags, out.NewFlags = uint16(x.Control), uint16(y.Control)
	}
	out.lists("dacl", x.DACL, y.DACL, d.domain)
	out.lists("sacl", x.SACL, y.SACL, d.domain)
	if x.Equal(y) { // only laid out in another way
		return nil
	}
	return out
}

// saclRead reports whether s holds the system lists: as its coverage says, or, if
// that says nothing, if any descriptor has one.
func saclRead(s *Snapshot) bool {
	for _, c := range s.coverage {
		if c.Area == AreaSACL {
			return c.Complete() || c.State == "partial" // a fixture: what it writes is compared
		}
	}
	for i := range s.descs {
		if sd, err := s.descs[i].get(); err == nil && sd.Control.Has(secdesc.SACLPresent) {
			return true
		}
	}
	return false
}

// withoutSACL returns sd as one reads it who may not read the system list.
func withoutSACL(sd *secdesc.Descriptor) *secdesc.Descriptor {
	out := *sd
	out.SACL = nil
	out.Control &^= secdesc.SACLPresent | secdesc.SACLDefaulted | secdesc.SACLAutoInheritReq | secdesc.SACLAutoInherited | secdesc.SACLProtected
	return &out
}

func descState(s *Snapshot, id ID) State {
	_, st := s.Descriptor(id)
	return st
}

// lists adds the entries that only one of two lists has, counting repetitions.
func (c *DescriptorChange) lists(name string, x, y *secdesc.ACL, domain secdesc.SID) {
	aces := func(l *secdesc.ACL) []secdesc.ACE {
		if l == nil {
			return nil
		}
		return l.ACEs
	}
	texts := func(l *secdesc.ACL) []string {
		var out []string
		for _, a := range aces(l) {
			out = append(out, a.SDDL(domain))
		}
		return out
	}
	before, after := texts(x), texts(y)
	if slices.Equal(before, after) {
		return
	}
	n := len(c.Entries)
	only := func(kind ChangeKind, l *secdesc.ACL, these, those []string) {
		left := map[string]int{}
		for _, t := range those {
			left[t]++
		}
		for i, t := range these {
			if left[t]--; left[t] < 0 {
				a := aces(l)[i]
				c.Entries = append(c.Entries, ACEChange{
					Kind: kind, List: name, Index: i, SDDL: t, inherited: a.Flags.Has(secdesc.Inherited), trustee: a.SID,
				})
			}
		}
	}
	only(Removed, x, before, after)
	only(Added, y, after, before)
	if len(c.Entries) == n {
		c.Reorder = true
	}
}

// An ownChange is the coming or going of an entry that an object has of its own.
type ownChange struct {
	id      ID // in the new snapshot
	kind    ChangeKind
	list    string
	trustee secdesc.SID
}

// origins finds, for each inherited entry that came or went, the nearest container
// above in which an own entry of the same trustee came or went with it.
func (d *differ) origins() {
	own := map[ownChange]bool{}
	d.eachEntry(func(id ID, e *ACEChange) {
		if !e.inherited {
			own[ownChange{id, e.Kind, e.List, e.trustee}] = true
		}
	})
	d.eachEntry(func(id ID, e *ACEChange) {
		if !e.inherited {
			return
		}
		for up := d.b.up[id]; up != None; up = d.b.up[up] {
			if own[ownChange{up, e.Kind, e.List, e.trustee}] {
				e.Origin = d.b.DN(up)
				return
			}
		}
	})
}

// eachEntry calls do for every entry that came or went, with its object's number
// in the new snapshot.
func (d *differ) eachEntry(do func(ID, *ACEChange)) {
	for i := range d.out {
		if sd := d.out[i].Descriptor; sd != nil {
			for j := range sd.Entries {
				do(d.out[i].New, &sd.Entries[j])
			}
		}
	}
}

// sight says which names a snapshot would hold if they existed.
type sight struct {
	parts   map[string]bool // key of a partition or container → whether it was read
	any     bool            // some partition is stated to have been read
	explain map[string]bool // keys of partial partitions whose gaps are stated
}

func newSight(s *Snapshot) *sight {
	v := &sight{parts: map[string]bool{}, explain: map[string]bool{}}
	var gaps []string
	partial := map[string]bool{}
	for _, c := range s.coverage {
		if c.Area != AreaPartition && c.Area != AreaContainer {
			continue
		}
		key, err := dnKey(c.Subject)
		if err != nil || key == "" {
			continue
		}
		v.any = v.any || c.Area == AreaPartition && (c.Complete() || c.State == "partial")
		v.parts[key] = c.Complete()
		if c.Area == AreaPartition && c.State == "partial" {
			partial[key] = true
		}
		if c.Area == AreaContainer && !c.Complete() {
			gaps = append(gaps, key)
		}
	}
	for key := range partial {
		if slices.ContainsFunc(gaps, func(g string) bool { return strings.HasPrefix(g, key) }) {
			v.parts[key] = true // what is missing are those containers
		}
	}
	return v
}

// lacks takes a naming context of other whose root is not in this snapshot for not
// read, unless a statement of its own says that it was.
func (v *sight) lacks(other *Snapshot, match []ID) {
	isHead := headClasses(other)
	for i, id := range match {
		if id != None || !isHead[other.class[i]] {
			continue
		}
		if key := other.key(ID(i)); !v.stated(key) {
			v.parts[key] = false
		}
	}
}

func (v *sight) stated(key string) bool {
	_, ok := v.parts[key]
	return ok
}

// sees reports whether dn would be in the snapshot if it existed: the nearest
// statement decides. Without any statement about partitions everything counts as
// seen.
func (v *sight) sees(dn string) bool {
	key, err := dnKey(dn)
	if err != nil {
		return true
	}
	for k := key; k != ""; k = k[:len(k)-len(lastComponents(k, 1))] {
		if read, ok := v.parts[k]; ok {
			return read
		}
	}
	return !v.any
}

// A FileChange is a SYSVOL file that came, went or changed.
type FileChange struct {
	Kind       ChangeKind `json:"kind"`
	Domain     string     `json:"domain"`
	Path       string     `json:"path"`
	OldSHA256  string     `json:"old_sha256,omitempty"`
	NewSHA256  string     `json:"new_sha256,omitempty"`
	OldSize    int        `json:"old_size"`
	NewSize    int        `json:"new_size"`
	Descriptor bool       `json:"descriptor_changed,omitempty"` // its security descriptor differs
}

func diffFiles(a, b *Snapshot) []FileChange {
	var out []FileChange
	add := func(x, y File) {
		c := FileChange{Kind: Modified, Domain: y.Domain, Path: y.Path}
		if x.State == Known {
			c.OldSHA256, c.OldSize = hash(x.Data), len(x.Data)
		}
		if y.State == Known {
			c.NewSHA256, c.NewSize = hash(y.Data), len(y.Data)
		}
		c.Descriptor = x.SD != nil && y.SD != nil && !bytes.Equal(x.SD, y.SD)
		switch {
		case x.State == y.State && c.OldSHA256 == c.NewSHA256 && !c.Descriptor:
			return
		case x.State == Absent && y.State == Known:
			c.Kind = Added
		case x.State == Known && y.State == Absent:
			c.Kind = Removed
		case y.State == Absent:
			return // whether it existed is not known
		case y.State == Unreadable:
			c.Kind = Lost
		case x.State == Unreadable:
			c.Kind = Found
		}
		out = append(out, c)
	}
	for _, f := range b.files {
		add(a.File(f.Domain, f.Path), f)
	}
	for _, f := range a.files {
		if _, found := slices.BinarySearchFunc(b.files, f, compareFiles); !found {
			add(f, b.File(f.Domain, f.Path))
		}
	}
	slices.SortFunc(out, func(x, y FileChange) int {
		return compareFiles(File{Domain: x.Domain, Path: x.Path}, File{Domain: y.Domain, Path: y.Path})
	})
	return out
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// A CoverageChange is a statement about what was read that differs. Statements
// that say "complete" on both sides are the same whatever they counted.
type CoverageChange struct {
	Area    Area      `json:"area"`
	Subject string    `json:"subject"`
	Old     *Coverage `json:"old,omitempty"` // nil: nothing was said
	New     *Coverage `json:"new,omitempty"`
}

func diffCoverage(a, b *Snapshot) []CoverageChange {
	type key struct {
		area    Area
		subject string
	}
	all := map[key]*CoverageChange{}
	note := func(c *Coverage, side func(*CoverageChange) **Coverage) {
		k := key{c.Area, strings.ToLower(c.Subject)}
		if all[k] == nil {
			all[k] = &CoverageChange{Area: c.Area, Subject: c.Subject}
		}
		*side(all[k]) = c
	}
	for i := range a.coverage {
		note(&a.coverage[i], func(c *CoverageChange) **Coverage { return &c.Old })
	}
	for i := range b.coverage {
		note(&b.coverage[i], func(c *CoverageChange) **Coverage { return &c.New })
	}
	for _, attr := range byName() {
		if a.collected[attr] == b.collected[attr] {
			continue
		}
		say := func(collected bool) *Coverage {
			c := &Coverage{Area: AreaAttribute, Subject: attr.String(), State: "not collected"}
			if collected {
				c.State = "complete"
			}
			return c
		}
		all[key{AreaAttribute, strings.ToLower(attr.String())}] = &CoverageChange{AreaAttribute, attr.String(), say(a.collected[attr]), say(b.collected[attr])}
	}
	var out []CoverageChange
	for _, c := range all {
		if c.Old != nil && c.New != nil && (*c.Old == *c.New || c.Old.Complete() && c.New.Complete()) {
			continue
		}
		out = append(out, *c)
	}
	slices.SortFunc(out, func(x, y CoverageChange) int {
		return cmp.Or(cmp.Compare(x.Area, y.Area), strings.Compare(x.Subject, y.Subject))
	})
	return out
}
