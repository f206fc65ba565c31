package forest

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"strings"
)

// A nameIndex finds objects by name: an open-addressing table of IDs, by the hash
// of the name. The hash of a name is the hash of its first component and of the
// hash of the rest, so the whole index costs 8 bytes per object.
type nameIndex struct {
	seed  maphash.Seed
	slots []ID // power of two, None where empty
}

func (s *Snapshot) indexNames() *nameIndex {
	size := 16
	for size < 2*s.Len() {
		size *= 2
	}
	x := &nameIndex{seed: maphash.MakeSeed(), slots: make([]ID, size)}
	for i := range x.slots {
		x.slots[i] = None
	}
	hashes := make([]uint64, s.Len())
	var buf []byte
	for i := range s.up {
		id, h := ID(i), uint64(0)
		if up := s.up[i]; up != None {
			h = hashes[up]
		}
		var err error
		if buf, err = appendDNKey(buf[:0], s.rel.at(uint32(i))); err != nil {
			continue // cannot be: names in a snapshot are well-formed
		}
		h = x.hash(h, buf)
		hashes[i] = h
		at := h & uint64(size-1)
		for x.slots[at] != None {
			at = (at + 1) & uint64(size-1)
		}
		x.slots[at] = id
	}
	return x
}

// hash continues h with the components of key.
func (x *nameIndex) hash(h uint64, key []byte) uint64 {
	var few [128]byte
	for len(key) > 0 {
		end := bytes.IndexByte(key, 0) + 1
		b := binary.LittleEndian.AppendUint64(few[:0], h)
		b = append(b, key[:end]...)
		h = maphash.Bytes(x.seed, b)
		key = key[end:]
	}
	return h
}

// Lookup finds an object by distinguished name, in any spelling of it; None if it
// is not part of the snapshot or dn is malformed.
func (s *Snapshot) Lookup(dn string) ID {
	var few [256]byte
	key, err := appendDNKey(few[:0], dn)
	if err != nil || len(key) == 0 {
		return None
	}
	if id, ok := s.descend(key); ok {
		return id
	}
	x := s.byName()
	mask := uint64(len(x.slots) - 1)
	for at := x.hash(0, key) & mask; x.slots[at] != None; at = (at + 1) & mask {
		if id := x.slots[at]; s.hasKey(id, key) {
			return id
		}
	}
	return None
}

// descend looks for a key from the top of the tree, level by level. ok is false when
// all such looks together come to cost what an index of all names costs: whoever asks
// for a few names needs none.
func (s *Snapshot) descend(key []byte) (id ID, ok bool) {
	left := s.looks.Load()
	if s.unmoved != nil || left <= 0 {
		return None, false
	}
	looks := int64(0)
	defer func() { s.looks.Add(-looks) }()
	var few [256]byte
	for c, end := ID(0), ID(s.Len()); c < end; {
		if looks++; looks > left {
			return None, false
		}
		k, err := appendDNKey(few[:0], s.rel.at(uint32(c)))
		switch {
		case err != nil || !bytes.HasPrefix(key, k):
			c = s.end[c]
			continue
		case len(k) == len(key):
			return c, true
		}
		key, c, end = key[len(k):], c+1, s.end[c]
	}
	return None, true
}

// hasKey reports whether id has the given key, comparing leaf first.
func (s *Snapshot) hasKey(id ID, key []byte) bool {
	var few [256]byte
	up := s.up
	if s.unmoved != nil {
		up = s.unmoved
	}
	for ; id != None; id = up[id] {
		k, err := appendDNKey(few[:0], s.rel.at(uint32(id)))
		if err != nil || !bytes.HasSuffix(key, k) {
			return false
		}
		key = key[:len(key)-len(k)]
	}
	return len(key) == 0
}

// DN returns the distinguished name as the directory writes it.
func (s *Snapshot) DN(id ID) string {
	up := s.up[id]
	if up == None {
		return s.rel.at(uint32(id))
	}
	n := 0
	for i := id; i != None; i = s.up[i] {
		n += int(s.rel.off[i+1]-s.rel.off[i]) + 1
	}
	var b strings.Builder
	b.Grow(n)
	for ; id != None; id = s.up[id] {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(s.rel.at(uint32(id)))
	}
	return b.String()
}

// key returns the sort key of id.
func (s *Snapshot) key(id ID) string {
	k, _ := dnKey(s.DN(id)) // well-formed: it is in a snapshot
	return k
}
