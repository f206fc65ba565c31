package forest

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// A linkTable holds a link attribute both ways. Targets of ids[i] are
// to[first[i]:first[i+1]]; back is the same turned round.
type linkTable struct {
	ids, backIDs     []ID
	first, backFirst []uint32
	to, back         []ID
	rank, backRank   *ranking
	any              []ID          // ids and those with links that leave the snapshot
	outside          []outsideLink // ordered by object and name
	expiry           []linkExpiry  // time-bound links, ordered
	edit             *linkEdit     // of a view: what is otherwise
}

type idPair struct{ from, to ID }

func comparePairs(a, b idPair) int {
	return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
}

// An outsideLink has a target that is not part of the snapshot.
type outsideLink struct {
	from    ID
	dn      string
	expires int64 // seconds since 1970, 0 for standing links
}

type linkExpiry struct {
	idPair
	at int64
}

// finish derives what follows from pairs, outside and expiry.
func (l *linkTable) finish(pairs []idPair) {
	slices.SortFunc(pairs, comparePairs)
	pairs = slices.Compact(pairs)
	l.ids, l.first, l.to = indexPairs(pairs)
	l.turn()
	slices.SortFunc(l.outside, func(a, b outsideLink) int {
		return cmp.Or(cmp.Compare(a.from, b.from), strings.Compare(a.dn, b.dn), cmp.Compare(a.expires, b.expires))
	})
	l.outside = slices.CompactFunc(l.outside, func(a, b outsideLink) bool { return a.from == b.from && a.dn == b.dn })
	slices.SortFunc(l.expiry, func(a, b linkExpiry) int {
		return cmp.Or(comparePairs(a.idPair, b.idPair), cmp.Compare(a.at, b.at))
	})
	l.expiry = slices.CompactFunc(l.expiry, func(a, b linkExpiry) bool { return a.idPair == b.idPair })
	l.findAny()
}

func (l *linkTable) findAny() {
	l.any = l.ids
	if len(l.outside) == 0 {
		return
	}
	l.any = slices.Clone(l.ids)
	for _, o := range l.outside {
		l.any = append(l.any, o.from)
	}
	slices.Sort(l.any)
	l.any = slices.Compact(l.any)
}

// indexPairs cuts sorted pairs into rows.
func indexPairs(pairs []idPair) (ids []ID, first []uint32, to []ID) {
	to = make([]ID, len(pairs))
	for i, p := range pairs {
		if i == 0 || pairs[i-1].from != p.from {
			ids = append(ids, p.from)
			first = append(first, uint32(i))
		}
		to[i] = p.to
	}
	return ids, append(first, uint32(len(pairs))), to
}

// turn derives the back links.
func (l *linkTable) turn() {
	if len(l.to) == 0 {
		l.backIDs, l.backFirst, l.back = nil, []uint32{0}, nil
		return
	}
	l.rank = makeRanking(l.ids)
	defer func() { l.backRank = makeRanking(l.backIDs) }()
	if most := slices.Max(l.to); int(most) <= 16*len(l.to) {
		l.turnByCounting(most)
		return
	}
	pairs := make([]idPair, 0, len(l.to))
	for i, id := range l.ids {
		for _, to := range l.to[l.first[i]:l.first[i+1]] {
			pairs = append(pairs, idPair{to, id})
		}
	}
	slices.SortFunc(pairs, comparePairs)
	l.backIDs, l.backFirst, l.back = indexPairs(pairs)
}

// turnByCounting is turn for targets up to most. Sources of one target already stand
// in the right order.
func (l *linkTable) turnByCounting(most ID) {
	at := make([]uint32, int(most)+1) // how many links a target has, then where the next one goes
	for _, to := range l.to {
		at[to]++
	}
	targets := 0
	for _, n := range at {
		if n > 0 {
			targets++
		}
	}
	l.backIDs, l.backFirst = make([]ID, 0, targets), make([]uint32, 0, targets+1)
	sum := uint32(0)
	for to, n := range at {
		if n > 0 {
			l.backIDs, l.backFirst = append(l.backIDs, ID(to)), append(l.backFirst, sum)
		}
		at[to], sum = sum, sum+n
	}
	l.backFirst = append(l.backFirst, sum)
	l.back = make([]ID, len(l.to))
	for i, id := range l.ids {
		for _, to := range l.to[l.first[i]:l.first[i+1]] {
			l.back[at[to]] = id
			at[to]++
		}
	}
}

// find returns the position of id in ids, of which rank is the ranking.
func find(ids []ID, rank *ranking, id ID) (i int, ok bool) {
	if rank != nil {
		return rank.find(id)
	}
	return slices.BinarySearch(ids, id)
}

// Links returns the objects that link attribute a of id names, in ID order.
// Targets outside the snapshot are not among them: LinksOutside. If some values
// could not be read, the state is Unreadable and the targets are those that are
// known. The caller must not change the slice.
func (s *Snapshot) Links(id ID, a Attr) ([]ID, State) {
	l := s.links[a]
	if l == nil {
		return nil, s.missing(id, a)
	}
	if l.edit != nil {
		if to, ok := l.edit.to[id]; ok && len(to) > 0 {
			return to, s.known(id, a)
		} else if ok {
			return nil, s.missing(id, a)
		}
	}
	if i, ok := find(l.ids, l.rank, id); ok {
		return l.to[l.first[i]:l.first[i+1]], s.known(id, a)
	}
	if lo, hi := l.outsideOf(id); lo < hi {
		return nil, s.known(id, a)
	}
	return nil, s.missing(id, a)
}

func (l *linkTable) outsideOf(id ID) (lo, hi int) {
	at := func(id ID) int {
		i, _ := slices.BinarySearchFunc(l.outside, id, func(o outsideLink, id ID) int { return cmp.Compare(o.from, id) })
		return i
	}
	if len(l.outside) == 0 {
		return 0, 0
	}
	return at(id), at(id + 1)
}

// LinksOutside returns the distinguished names that link attribute a of id names
// and that are not part of the snapshot, sorted.
func (s *Snapshot) LinksOutside(id ID, a Attr) []string {
	l := s.links[a]
	if l == nil {
		return nil
	}
	var out []string
	lo, hi := l.outsideOf(id)
	for _, o := range l.outside[lo:hi] {
		out = append(out, o.dn)
	}
	return out
}

// Backlinks returns the objects whose link attribute a names id, in ID order. The
// caller must not change the slice.
func (s *Snapshot) Backlinks(id ID, a Attr) []ID {
	l := s.links[a]
	if l == nil {
		return nil
	}
	if l.edit != nil {
		if from, ok := l.edit.back[id]; ok {
			return from
		}
	}
	if i, ok := find(l.backIDs, l.backRank, id); ok {
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
	i, ok := slices.BinarySearchFunc(l.expiry, idPair{from, to}, func(e linkExpiry, p idPair) int {
		return comparePairs(e.idPair, p)
	})
	if !ok {
		return time.Time{}, false
	}
	return time.Unix(l.expiry[i].at, 0).UTC(), true
}

// OutsideLinkExpires is LinkExpires for one of the names that LinksOutside returns.
func (s *Snapshot) OutsideLinkExpires(from ID, a Attr, dn string) (t time.Time, ok bool) {
	l := s.links[a]
	if l == nil {
		return time.Time{}, false
	}
	lo, hi := l.outsideOf(from)
	for _, o := range l.outside[lo:hi] {
		if o.dn == dn && o.expires != 0 {
			return time.Unix(o.expires, 0).UTC(), true
		}
	}
	return time.Time{}, false
}
