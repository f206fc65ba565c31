package forest

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// ID numbers an object within one Snapshot. Objects are numbered depth-first in
// the order of their names, so that an object's subtree is the range
// [id, Snapshot.SubtreeEnd(id)); the same content has the same numbers whatever
// order it was read in.
type ID uint32

// None is the ID of no object.
const None = ^ID(0)

// A State says what is known about a fact.
type State uint8

// States of a fact. The zero value is Unreadable, so that a fact that nobody set
// is never mistaken for a known absence.
const (
	Unreadable State = iota // not collected, not readable, or malformed: Snapshot.Why
	Absent                  // known not to exist
	Known
)

// String returns "unreadable", "absent" or "known".
func (s State) String() string {
	switch s {
	case Absent:
		return "absent"
	case Known:
		return "known"
	}
	return "unreadable"
}

// MarshalText implements encoding.TextMarshaler with String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Info describes how a snapshot came about.
type Info struct {
	Source   string    // "scan", "ldif", "bloodhound", "fixture", …
	Tool     string    // name and version of the program that made it
	Started  time.Time // UTC, seconds
	Finished time.Time // UTC, seconds: the reference for ages
	Domain   string    // DNS name of the domain asked for
	Servers  []string  // "partition DN = host" for each partition read
	Reader   string    // account that read it; empty if unknown
}

// A Snapshot is everything that was read of a forest. It is immutable and safe
// for concurrent use. Make one with a Builder or Read.
type Snapshot struct {
	info      Info
	up        []ID            // nearest containing object that is part of the snapshot
	end       []ID            // behind the subtree
	orphans   map[ID]struct{} // objects whose direct parent is missing although up is not None
	rel       texts           // name relative to up, as the directory wrote it; all of it if up is None
	class     []uint16        // index into classes
	classes   [][]string
	guid      []secdesc.GUID
	sid       []secdesc.SID
	desc      []uint32 // index into descs, or noDesc
	descs     []lazyDescriptor
	made      []*lazyDescriptor // of a view: those that the snapshot has not; they are numbered on
	grafts    map[ID][]ID       // of a view: children from elsewhere
	unmoved   []ID              // of a view in which something was moved: up, by which objects are named
	isView    bool
	cols      [numAttrs]*column
	parked    [numAttrs]*parked // columns that are in the file's form still; see col
	links     [numAttrs]*linkTable
	collected [numAttrs]bool
	problems  map[problemKey]string // attributes of single objects that were not or not fully readable
	unasked   []unaskedSet          // attributes that were not asked for of some objects
	unaskedOf []uint32              // object → 1 + index into unasked, 0: none; nil if there are no sets
	flawed    [numAttrs]bool        // attributes that problems or unasked name
	files     []File
	coverage  []Coverage
	assumed   map[string]string // subject → why, of coverage with StateAssumed
	meta      metaTable
	domains   []Domain
	heads     []ncHead
	schema    *Schema
	byName    func() *nameIndex
	looks     *atomic.Int64 // how many more steps Lookup makes without byName
	bySID     func() *sidIndex
	byGUID    func() map[secdesc.GUID]ID
	bySAM     func() map[string][]ID
	bySPN     func() map[string][]ID
}

const noDesc = ^uint32(0)

type problemKey struct {
	id   ID
	attr Attr
}

// Info returns how the snapshot came about.
func (s *Snapshot) Info() Info { return s.info }

// Len returns the number of objects; their IDs are 0 … Len()-1.
func (s *Snapshot) Len() int { return len(s.up) }

// Parent returns the object that contains id, or None if that is not part of the
// snapshot.
func (s *Snapshot) Parent(id ID) ID {
	if len(s.orphans) > 0 {
		if _, ok := s.orphans[id]; ok {
			return None
		}
	}
	return s.up[id]
}

// Ancestor returns the nearest object of the snapshot that contains id, by name;
// None if there is none. It differs from Parent below containers that could not
// be read.
func (s *Snapshot) Ancestor(id ID) ID { return s.up[id] }

// SubtreeEnd returns the first ID behind the subtree of id. Everything whose name
// is below that of id is in it, also below containers that could not be read.
func (s *Snapshot) SubtreeEnd(id ID) ID { return s.end[id] }

// Children calls yield for each direct child of id, in order.
func (s *Snapshot) Children(id ID) func(yield func(ID) bool) {
	return func(yield func(ID) bool) {
		for c := id + 1; c < s.end[id]; c = s.end[c] {
			if s.Parent(c) == id && !yield(c) {
				return
			}
		}
		for _, c := range s.grafts[id] {
			if !yield(c) {
				return
			}
		}
	}
}

// Name returns the unescaped value of the object's relative name.
func (s *Snapshot) Name(id ID) string {
	rel := s.rel.at(uint32(id))
	r, err := parseRDN(rel[:componentEnd(rel)])
	if err != nil {
		return rel // cannot be: names in a snapshot are well-formed
	}
	return r.Value
}

// Class returns the most specific structural class, in the schema's spelling, or
// "" if objectClass could not be read.
func (s *Snapshot) Class(id ID) string {
	c := s.classes[s.class[id]]
	if len(c) == 0 {
		return ""
	}
	return c[len(c)-1]
}

// Classes returns objectClass, from top to the most specific class. The caller
// must not change it.
func (s *Snapshot) Classes(id ID) []string { return s.classes[s.class[id]] }

// ClassIndex numbers the distinct values of objectClass: two objects with the
// same index have the same Classes. Answers that depend on the class alone can be
// kept per index.
func (s *Snapshot) ClassIndex(id ID) int { return int(s.class[id]) }

// IsA reports whether class is one of the object's classes, ignoring case. Note
// that computers and managed service accounts are users in this sense.
func (s *Snapshot) IsA(id ID, class string) bool {
	for _, c := range s.classes[s.class[id]] {
		if strings.EqualFold(c, class) {
			return true
		}
	}
	return false
}

// GUID returns objectGUID, zero if unreadable.
func (s *Snapshot) GUID(id ID) secdesc.GUID { return s.guid[id] }

// SID returns objectSid, zero if the object has none or it was unreadable.
func (s *Snapshot) SID(id ID) secdesc.SID { return s.sid[id] }

// Descriptor returns the security descriptor of id. The state is Unreadable if it
// was not collected or not granted to the reader. Objects share descriptors: do
// not change it.
func (s *Snapshot) Descriptor(id ID) (*secdesc.Descriptor, State) {
	i := s.desc[id]
	if i == noDesc {
		return nil, Unreadable
	}
	d, err := s.descAt(i).get()
	if err != nil {
		return nil, Unreadable
	}
	return d, Known
}

// ReadDescriptorAt is DescriptorAt for those who look at each distinct descriptor
// once: what it returns is not kept, not to be changed, and good until r is used
// again.
func (s *Snapshot) ReadDescriptorAt(i uint32, r *secdesc.Reader) *secdesc.Descriptor {
	l := s.descAt(i)
	if l.raw == "" {
		return l.d
	}
	d, err := r.Read(l.raw)
	if err != nil {
		return nil
	}
	return d
}

// DescriptorBytesAt returns the bytes of the descriptor with an index of
// DescriptorIndex, whether or not they can be parsed.
func (s *Snapshot) DescriptorBytesAt(i uint32) string { return s.descAt(i).bytes() }

// DescriptorIndex numbers the distinct descriptors: two objects with the same
// index have the same bytes. ok is false if the descriptor was unreadable.
func (s *Snapshot) DescriptorIndex(id ID) (i uint32, ok bool) {
	return s.desc[id], s.desc[id] != noDesc
}

// NumDescriptors returns the number of distinct descriptors.
func (s *Snapshot) NumDescriptors() int { return len(s.descs) + len(s.made) }

// DescriptorAt returns the descriptor with an index of DescriptorIndex; nil if it is
// malformed.
func (s *Snapshot) DescriptorAt(i uint32) *secdesc.Descriptor {
	d, _ := s.descAt(i).get()
	return d
}

// descAt returns the descriptor with index i.
func (s *Snapshot) descAt(i uint32) *lazyDescriptor {
	if n := uint32(len(s.descs)); i >= n {
		return s.made[i-n]
	}
	return &s.descs[i]
}

// DescriptorError says why the descriptor of id is Unreadable although it was
// collected: its bytes are malformed. It is nil in all other cases.
func (s *Snapshot) DescriptorError(id ID) error {
	if s.desc[id] == noDesc {
		return nil
	}
	_, err := s.descAt(s.desc[id]).get()
	return err
}

// lazyDescriptor is a descriptor whose bytes are parsed when first asked for.
type lazyDescriptor struct {
	raw  string
	once sync.Once
	d    *secdesc.Descriptor
	err  error
}

func (l *lazyDescriptor) get() (*secdesc.Descriptor, error) {
	l.once.Do(func() { l.d, l.err = secdesc.ParseString(l.raw) })
	return l.d, l.err
}

// bytes returns the binary form.
func (l *lazyDescriptor) bytes() string {
	if l.raw == "" && l.d != nil {
		return string(l.d.Bytes())
	}
	return l.raw
}

// BySID finds an object by its current SID (not SID history); None if there is
// none. A foreign security principal is found by the SID it stands for unless
// the principal itself is part of the snapshot.
func (s *Snapshot) BySID(sid secdesc.SID) ID {
	if sid.IsZero() {
		return None
	}
	return *s.bySID().slot(s, sid)
}

// ByGUID finds an object by objectGUID; None if there is none.
func (s *Snapshot) ByGUID(g secdesc.GUID) ID {
	if id, ok := s.byGUID()[g]; ok {
		return id
	}
	return None
}

// BySAMAccountName finds objects by sAMAccountName, ignoring case; one per domain
// at most. The caller must not change the slice.
func (s *Snapshot) BySAMAccountName(name string) []ID { return s.bySAM()[strings.ToLower(name)] }

// BySPN finds the objects that carry a service principal name, ignoring case.
// The caller must not change the slice.
func (s *Snapshot) BySPN(spn string) []ID { return s.bySPN()[strings.ToLower(spn)] }

// Coverage returns what was and was not read, in a fixed order. The caller must
// not change it.
func (s *Snapshot) Coverage() []Coverage { return s.coverage }

// Domains returns the domains of the forest that the snapshot knows, root first.
func (s *Snapshot) Domains() []Domain { return s.domains }

// DomainOf returns the domain whose naming context holds id; ok is false for
// objects of other partitions.
func (s *Snapshot) DomainOf(id ID) (d Domain, ok bool) {
	i, found := slices.BinarySearchFunc(s.heads, id, func(h ncHead, id ID) int { return cmp.Compare(h.id, id) })
	if !found {
		i--
	}
	for ; i >= 0; i = s.heads[i].outer {
		if h := s.heads[i]; id < s.end[h.id] {
			if h.domain < 0 {
				return Domain{}, false
			}
			return s.domains[h.domain], true
		}
	}
	return Domain{}, false
}

// Schema returns classes, attributes and extended rights of the forest.
func (s *Snapshot) Schema() *Schema { return s.schema }
