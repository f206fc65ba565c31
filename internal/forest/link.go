package forest

import (
	"slices"
	"time"
)

// A linkTable holds a link attribute both ways. Targets of ids[i] are
// to[first[i]:first[i+1]]; back is the same turned round.
type linkTable struct {
	ids, backIDs     []ID
	first, backFirst []uint32
	to, back         []ID
	outside          map[ID][]string // targets that are not part of the snapshot
	expiry           map[[2]ID]int64 // time-bound links: seconds since 1970
}

// Links returns the objects that link attribute a of id names, in ID order.
// Targets outside the snapshot are not among them: LinksOutside. The caller must
// not change the slice.
func (s *Snapshot) Links(id ID, a Attr) ([]ID, State) {
	l := s.links[a]
	if l == nil {
		return nil, s.missing(id, a)
	}
	if i, ok := slices.BinarySearch(l.ids, id); ok {
		return l.to[l.first[i]:l.first[i+1]], Known
	}
	if len(l.outside[id]) > 0 {
		return nil, Known
	}
	return nil, s.missing(id, a)
}

// LinksOutside returns the distinguished names that link attribute a of id names
// and that are not part of the snapshot.
func (s *Snapshot) LinksOutside(id ID, a Attr) []string {
	if l := s.links[a]; l != nil {
		return l.outside[id]
	}
	return nil
}

// Backlinks returns the objects whose link attribute a names id, in ID order. The
// caller must not change the slice.
func (s *Snapshot) Backlinks(id ID, a Attr) []ID {
	l := s.links[a]
	if l == nil {
		return nil
	}
	if i, ok := slices.BinarySearch(l.backIDs, id); ok {
		return l.back[l.backFirst[i]:l.backFirst[i+1]]
	}
	return nil
}

// LinkExpires returns when the time-bound link from→to ends; ok is false for a
// standing link.
func (s *Snapshot) LinkExpires(from ID, a Attr, to ID) (t time.Time, ok bool) {
	l := s.links[a]
	if l == nil {
		return time.Time{}, false
	}
	v, ok := l.expiry[[2]ID{from, to}]
	return time.Unix(v, 0).UTC(), ok
}
