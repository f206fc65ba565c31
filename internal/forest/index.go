package forest

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// finish derives what is not stored: ends of subtrees, order of files, domains,
// schema, indexes.
func (s *Snapshot) finish() {
	s.findEnds()
	slices.SortStableFunc(s.files, compareFiles)
	slices.SortStableFunc(s.coverage, func(a, b Coverage) int {
		return cmp.Or(cmp.Compare(a.Area, b.Area), cmp.Compare(a.Subject, b.Subject),
			cmp.Compare(a.State, b.State), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Count, b.Count))
	})
	s.flawed = [numAttrs]bool{}
	for k := range s.problems {
		s.flawed[k.attr] = true
	}
	s.indexUnasked()
	s.indexAssumed()
	s.domains = findDomains(s)
	s.heads = findHeads(s)
	s.schema = readSchema(s)
	s.byName, s.looks = sync.OnceValue(s.indexNames), new(atomic.Int64)
	s.looks.Store(1024 + int64(s.Len())/8)
	s.bySID = sync.OnceValue(s.indexSIDs)
	s.byGUID = sync.OnceValue(func() map[secdesc.GUID]ID {
		m := make(map[secdesc.GUID]ID, s.Len())
		for i, g := range s.guid {
			if !g.IsZero() {
				m[g] = ID(i)
			}
		}
		return m
	})
	s.bySAM = sync.OnceValue(func() map[string][]ID { return s.indexText(SAMAccountName) })
	s.bySPN = sync.OnceValue(func() map[string][]ID { return s.indexText(ServicePrincipalName) })
}

// findEnds derives ends of subtrees and orphans from up.
func (s *Snapshot) findEnds() {
	n := s.Len()
	s.end, s.orphans = make([]ID, n), map[ID]struct{}{}
	for i := n - 1; i >= 0; i-- {
		s.end[i] = max(s.end[i], ID(i)+1)
		up := s.up[i]
		if up == None {
			continue
		}
		s.end[up] = max(s.end[up], s.end[i])
		if rel := s.rel.at(uint32(i)); componentEnd(rel) < len(rel) {
			s.orphans[ID(i)] = struct{}{}
		}
	}
}

// A sidIndex finds objects by SID: an open-addressing table of IDs.
type sidIndex struct {
	seed  maphash.Seed
	slots []ID // power of two, None where empty
}

// slot returns where sid stands, or should.
func (x *sidIndex) slot(s *Snapshot, sid secdesc.SID) *ID {
	mask := uint64(len(x.slots) - 1)
	at := maphash.Comparable(x.seed, sid) & mask
	for x.slots[at] != None && s.sid[x.slots[at]] != sid {
		at = (at + 1) & mask
	}
	return &x.slots[at]
}

func (s *Snapshot) indexSIDs() *sidIndex {
	size := 16
	for size < 2*s.Len() {
		size *= 2
	}
	x := &sidIndex{seed: maphash.MakeSeed(), slots: make([]ID, size)}
	for i := range x.slots {
		x.slots[i] = None
	}
	for i, sid := range s.sid {
		if sid.IsZero() {
			continue
		}
		at := x.slot(s, sid)
		if *at != None && (!s.isForeign(*at) || s.isForeign(ID(i))) {
			continue
		}
		*at = ID(i)
	}
	return x
}

func (s *Snapshot) isForeign(id ID) bool { return s.IsA(id, "foreignSecurityPrincipal") }

func (s *Snapshot) indexText(a Attr) map[string][]ID {
	ids := s.With(a)
	m := make(map[string][]ID, len(ids))
	for _, id := range ids {
		vals, _ := s.Strs(id, a)
		for _, v := range vals {
			k := strings.ToLower(v)
			if l := m[k]; len(l) == 0 || l[len(l)-1] != id { // two spellings on one object
				m[k] = append(l, id)
			}
		}
	}
	return m
}

func compareFiles(a, b File) int {
	return cmp.Or(strings.Compare(strings.ToLower(a.Domain), strings.ToLower(b.Domain)),
		strings.Compare(strings.ToLower(a.Path), strings.ToLower(b.Path)))
}

func (s *Snapshot) findFile(domain, path string) File {
	want := File{Domain: domain, Path: path}
	if i, ok := slices.BinarySearchFunc(s.files, want, compareFiles); ok {
		return s.files[i]
	}
	if f, ok := s.unreadFolder(domain, path); ok {
		want.Reason = f.Reason
		return want
	}
	best := -1
	want.Reason = "SYSVOL of " + domain + " is not part of this snapshot"
	for _, c := range s.coverage {
		n := len(c.Subject)
		if c.Area != AreaFile || n <= best || !holds(c.Subject, domain+"/"+path) {
			continue
		}
		best = n
		want.State, want.Reason = Absent, ""
		if c.State != "complete" && c.State != "partial" {
			want.State, want.Reason = Unreadable, c.Reason
		}
	}
	return want
}

// unreadFolder finds the statement that a folder which holds path could not be read.
func (s *Snapshot) unreadFolder(domain, path string) (File, bool) {
	for i := strings.LastIndexByte(path, '/'); i > 0; i = strings.LastIndexByte(path[:i], '/') {
		want := File{Domain: domain, Path: path[:i]}
		if j, ok := slices.BinarySearchFunc(s.files, want, compareFiles); ok && s.files[j].State == Unreadable {
			return s.files[j], true
		}
	}
	return File{}, false
}

// holds reports whether path is folder or lies in it, ignoring case.
func holds(folder, path string) bool {
	n := len(folder)
	return len(path) >= n && strings.EqualFold(path[:n], folder) && (len(path) == n || path[n] == '/')
}
