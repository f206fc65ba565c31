package reach

import (
	"slices"
	"strings"
	"sync"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Bits of groupType ([MS-ADTS] 2.2.12).
const (
	groupDomainLocal     = 0x4
	groupSecurityEnabled = 0x80000000
)

// Well-known identities that a token holds without any link.
var (
	everyone         = secdesc.MustSID("S-1-1-0")
	network          = secdesc.MustSID("S-1-5-2")
	authenticated    = secdesc.MustSID("S-1-5-11")
	thisOrganization = secdesc.MustSID("S-1-5-15")
	enterpriseDCs    = secdesc.MustSID("S-1-5-9")
)

const (
	ridGuest             = 501
	ridDomainControllers = 516
)

// An Index holds the effective memberships of a snapshot. Make one with New.
type Index struct {
	s       *forest.Snapshot
	classes []classBits        // by ClassIndex
	implied []secdesc.SID      // identities: of guests the first two, of domain controllers all, of others but the last
	group   []groupKind        // by ID
	traits  []classBits        // by ID: hasUser of what can log on, hasForeign
	nc      map[forest.ID]bool // heads of naming contexts
	domain  []int16            // by ID: index into s.Domains(), or -1
	primary []forest.ID        // by ID: the primary group, or None
	pupils  [][]forest.ID      // by index of pupilOf: accounts that have the group as primary group
	pupilOf map[forest.ID]int
	foreign map[secdesc.SID][]forest.ID // foreign security principals by the SID they stand for
	groups  map[secdesc.SID][]forest.ID // security groups by SID and SID history; a built-in one in each domain
	veiled  map[int16][]forest.ID       // by domain: accounts whose primary group could not be read
	opaque  map[forest.ID][]forest.ID   // by group: members of unread kind
	tails   *[256]bool                  // of the SIDs of foreign principals
	number  []uint32                    // by ID: of groups and foreign principals, 1 + position in what follows
	higher  memo                        // itself and every group above it, in ID order
	lower   memo                        // of groups: those that are effectively its members, in ID order
}

// classBits say which of the classes that matter to memberships a class list has.
type classBits uint8

const (
	hasUser classBits = 1 << iota
	hasGroup
	hasForeign
	isForeignItself // the most specific class
	unreadClass
)

// classesOf looks at the classes of the snapshot's objects.
func classesOf(s *forest.Snapshot) []classBits {
	var out []classBits
	for id := range forest.ID(s.Len()) {
		i := s.ClassIndex(id)
		for len(out) <= i {
			out = append(out, 0)
		}
		if out[i] != 0 {
			continue
		}
		out[i] = 1 << 7 // looked at
		for _, c := range []struct {
			class string
			bit   classBits
		}{{"user", hasUser}, {"group", hasGroup}, {"foreignSecurityPrincipal", hasForeign}} {
			if s.IsA(id, c.class) {
				out[i] |= c.bit
			}
		}
		if s.Class(id) == "foreignSecurityPrincipal" {
			out[i] |= isForeignItself
		}
		if len(s.Classes(id)) == 0 {
			out[i] |= unreadClass
		}
	}
	return out
}

// is reports whether the classes of id have one of bits.
func (x *Index) is(id forest.ID, bits classBits) bool { return x.classes[x.s.ClassIndex(id)]&bits != 0 }

// isForeign reports whether id is a foreign security principal.
func (x *Index) isForeign(id forest.ID) bool { return x.traits[id]&hasForeign != 0 }

// A groupKind says how a group counts in a token.
type groupKind uint8

const (
	notGroup     groupKind = iota
	distribution           // not security-enabled, or groupType unreadable: carries nothing
	global                 // global or universal: counts everywhere
	domainLocal            // counts in its own domain
)

// New computes the memberships of s.
func New(s *forest.Snapshot) *Index {
	x := &Index{
		s:       s,
		classes: classesOf(s),
		implied: []secdesc.SID{everyone, network, authenticated, thisOrganization, enterpriseDCs},
		group:   make([]groupKind, s.Len()),
		traits:  make([]classBits, s.Len()),
		nc:      map[forest.ID]bool{},
		domain:  make([]int16, s.Len()),
		primary: make([]forest.ID, s.Len()),
		pupilOf: map[forest.ID]int{},
		foreign: map[secdesc.SID][]forest.ID{},
		groups:  map[secdesc.SID][]forest.ID{},
		veiled:  map[int16][]forest.ID{},
		opaque:  map[forest.ID][]forest.ID{},
		tails:   &[256]bool{},
		number:  make([]uint32, s.Len()),
	}
	var warm sync.WaitGroup // what will be asked for in any case is made beside
	warm.Go(func() {
		s.BySID(everyone)
		s.With(forest.PrimaryGroupID)
		s.With(forest.UserAccountControl)
	})
	defer warm.Wait()
	x.placeDomains()
	for id := range forest.ID(s.Len()) {
		x.primary[id] = forest.None
		x.traits[id] = x.classes[s.ClassIndex(id)] & (hasUser | hasForeign)
		if s.SID(id).IsZero() {
			x.traits[id] &^= hasUser
		}
		x.classify(id)
		if x.oddKind(id) && x.unreadKind(id) != "" {
			for _, g := range s.Backlinks(id, forest.Member) {
				x.opaque[g] = append(x.opaque[g], id)
			}
		}
	}
	x.addPrimaries()
	for _, id := range s.Flawed(forest.PrimaryGroupID) {
		if x.isAccount(id) {
			x.veiled[x.domain[id]] = append(x.veiled[x.domain[id]], id)
		}
	}
	x.enumerate()
	return x
}

// enumerate numbers the groups and foreign principals.
func (x *Index) enumerate() {
	for sid := range x.foreign {
		x.tails[sid.Tail()] = true
	}
	n := uint32(0)
	for id := range x.number {
		if x.group[id] > distribution || x.is(forest.ID(id), isForeignItself) {
			n++
			x.number[id] = n
		}
	}
	x.higher, x.lower = make(memo, n), make(memo, n)
}

// placeDomains notes the domain of every object: that of the nearest naming
// context head above it.
func (x *Index) placeDomains() {
	heads := map[forest.ID]int16{}
	for i, d := range x.s.Domains() {
		if d.Head != forest.None {
			heads[d.Head] = int16(i)
		}
	}
	for id := range forest.ID(x.s.Len()) {
		x.domain[id] = -1
		if d, ok := heads[id]; ok {
			x.domain[id], x.nc[id] = d, true
			continue
		}
		if it, st := x.s.Int(id, forest.InstanceType); st == forest.Known && it&1 != 0 {
			x.nc[id] = true // of another partition
			continue
		}
		if p := x.s.Parent(id); p != forest.None {
			x.domain[id] = x.domain[p]
		} else {
			x.domain[id] = x.domainByName(id)
		}
	}
}

// domainByName finds the domain of an object whose container could not be read:
// the one with the longest name that ends the object's.
func (x *Index) domainByName(id forest.ID) int16 {
	best, length := int16(-1), 0
	dn := strings.ToLower(x.s.DN(id))
	for i, d := range x.s.Domains() {
		if len(d.DN) > length && strings.HasSuffix(dn, ","+strings.ToLower(d.DN)) {
			best, length = int16(i), len(d.DN)
		}
	}
	return best
}

func (x *Index) classify(id forest.ID) {
	if !x.is(id, hasForeign|hasGroup) || x.s.SID(id).IsZero() {
		return
	}
	if x.isForeign(id) {
		x.foreign[x.s.SID(id)] = append(x.foreign[x.s.SID(id)], id)
		return
	}
	x.group[id] = distribution
	t, st := x.s.Int(id, forest.GroupType)
	if st != forest.Known || t&groupSecurityEnabled == 0 {
		return
	}
	x.group[id] = global
	if t&groupDomainLocal != 0 {
		x.group[id] = domainLocal
	}
	for _, sid := range append(x.history(id), x.s.SID(id)) {
		x.groups[sid] = append(x.groups[sid], id)
	}
}

// addPrimaries finds the primary groups. Nearly all accounts of a domain have one
// of a few.
func (x *Index) addPrimaries() {
	var domain secdesc.SID
	groups := map[int64]forest.ID{} // of domain, by RID
	pupils := map[forest.ID]int{}
	for _, id := range x.s.With(forest.PrimaryGroupID) {
		if sid := x.s.SID(id); domain.IsZero() || !sid.IsIn(domain) {
			domain = sid.Domain()
			clear(groups)
		}
		rid, _ := x.s.Int(id, forest.PrimaryGroupID)
		g, ok := groups[rid]
		if !ok {
			g = x.s.BySID(domain.Child(uint32(rid)))
			groups[rid] = g
		}
		if g != forest.None && x.group[g] != notGroup {
			x.primary[id] = g
			pupils[g]++
		}
	}
	for id, g := range x.primary {
		if g == forest.None {
			continue
		}
		i, ok := x.pupilOf[g]
		if !ok {
			i = len(x.pupils)
			x.pupilOf[g] = i
			x.pupils = append(x.pupils, make([]forest.ID, 0, pupils[g]))
		}
		x.pupils[i] = append(x.pupils[i], forest.ID(id))
	}
}

// up calls yield for each object that directly holds what id holds: groups that
// list it, its primary group, and the foreign principals that stand for it.
func (x *Index) up(id forest.ID, yield func(to forest.ID, how How) bool) bool {
	for _, g := range x.s.Backlinks(id, forest.Member) {
		if x.group[g] > distribution && !yield(g, ByMember) {
			return false
		}
	}
	if g := x.primary[id]; g != forest.None && x.group[g] > distribution && !yield(g, ByPrimaryGroup) {
		return false
	}
	if sid := x.s.SID(id); x.tails[sid.Tail()] {
		for _, f := range x.foreign[sid] {
			if f != id && !yield(f, ByForeignPrincipal) {
				return false
			}
		}
	}
	return true
}

// GroupsOf returns every group that id is effectively a member of by links,
// primary group and foreign principals, in ID order, whatever its scope and
// domain. A group is not among its own groups unless a cycle makes it so.
func (x *Index) GroupsOf(id forest.ID) []forest.ID {
	return x.collect(func(add func(forest.ID)) {
		x.up(id, func(to forest.ID, _ How) bool { add(to); return true })
	})
}

// collect merges what lies above a set of direct groups, keeping only groups.
func (x *Index) collect(direct func(add func(forest.ID))) []forest.ID {
	var out []forest.ID
	direct(func(g forest.ID) { out = append(out, x.above(g)...) })
	slices.Sort(out)
	out = slices.Compact(out)
	return slices.DeleteFunc(out, func(g forest.ID) bool { return x.group[g] <= distribution })
}

// TokenGroups returns the SIDs that the directory's own constructed attribute
// tokenGroups has for id ([MS-ADTS] 3.1.1.4.5.19), ordered: security groups
// through nesting and primary group; domain-local ones of the account's own
// domain only; no identity that is given without a link.
func (x *Index) TokenGroups(id forest.ID) []secdesc.SID {
	var out []secdesc.SID
	for _, g := range x.GroupsOf(id) {
		if x.counts(g, x.domain[id]) {
			out = append(out, x.s.SID(g))
		}
	}
	return sortSIDs(out)
}

// counts reports whether group g is part of a token used in domain d.
func (x *Index) counts(g forest.ID, d int16) bool {
	return x.group[g] == global || x.group[g] == domainLocal && x.domain[g] == d
}

// Token returns every SID that id's access token holds when it talks to a domain
// controller of its own domain, ordered: its own, its SID history, its groups and
// theirs, Everyone, Authenticated Users and the like, and the groups that those
// are members of. For a group it is what membership of the group brings.
func (x *Index) Token(id forest.ID) []secdesc.SID { return x.tokenIn(id, x.domain[id]) }

// tokenIn returns the token that id has on a domain controller of domain dom: it
// differs in the domain-local groups.
func (x *Index) tokenIn(id forest.ID, dom int16) []secdesc.SID {
	out := []secdesc.SID{x.s.SID(id)}
	out = append(out, x.history(id)...)
	implied := x.Implied(id)
	out = append(out, implied...)
	groups := x.collect(func(add func(forest.ID)) {
		x.up(id, func(to forest.ID, _ How) bool { add(to); return true })
		for _, sid := range implied {
			for _, f := range x.foreign[sid] {
				add(f)
			}
		}
	})
	for _, g := range groups {
		if x.counts(g, dom) {
			out = append(out, x.s.SID(g))
			out = append(out, x.history(g)...)
		}
	}
	return sortSIDs(out)
}

// history returns the SIDs of sIDHistory; malformed values are left out, as they
// cannot be part of a token.
func (x *Index) history(id forest.ID) []secdesc.SID {
	vals, _ := x.s.Strs(id, forest.SIDHistory)
	var out []secdesc.SID
	for _, v := range vals {
		if sid, err := secdesc.SIDFromBytes([]byte(v)); err == nil {
			out = append(out, sid)
		}
	}
	return out
}

// Implied returns the well-known identities that id holds without any link: all
// accounts are Everyone and come over the network; all but Guest are
// authenticated; domain controllers are Enterprise Domain Controllers. Groups and
// foreign principals have none. The caller must not change the list.
func (x *Index) Implied(id forest.ID) []secdesc.SID {
	if !x.isAccount(id) {
		return nil
	}
	if rid, _ := x.s.SID(id).RID(); rid == ridGuest {
		return x.implied[:2:2]
	}
	if g := x.primary[id]; g != forest.None {
		if rid, _ := x.s.SID(g).RID(); rid == ridDomainControllers {
			return x.implied[:5:5]
		}
	}
	return x.implied[:4:4]
}

// isAccount reports whether id can log on: users, computers, service accounts.
func (x *Index) isAccount(id forest.ID) bool {
	return x.traits[id]&hasUser != 0
}

// Holds reports whether sid is part of Token(id), without building it.
func (x *Index) Holds(id forest.ID, sid secdesc.SID) bool { return x.holdsIn(id, sid, x.domain[id]) }

// holdsIn reports whether sid is part of the token that id has in domain dom.
func (x *Index) holdsIn(id forest.ID, sid secdesc.SID, dom int16) bool {
	if x.s.SID(id) == sid || slices.Contains(x.history(id), sid) {
		return true
	}
	implied := x.Implied(id)
	if slices.Contains(implied, sid) {
		return true
	}
	for _, g := range x.groups[sid] {
		if x.counts(g, dom) && x.within(id, implied, g) {
			return true
		}
	}
	return false
}

// Holders returns Holds for one SID, to be asked for many principals: it looks at the
// members of the groups that have the SID once.
func (x *Index) Holders(sid secdesc.SID) func(id forest.ID) bool {
	groups := x.groups[sid]
	in := make([]*idSet, len(groups))
	all := make([][]bool, len(groups)) // by position in implied: whoever has the identity is a member
	for i, g := range groups {
		in[i] = newIDSet(x.s.Len())
		for _, at := range x.dig(g) {
			if x.group[at] > distribution || x.isForeign(at) {
				x.down(at, func(m forest.ID) { in[i].add(m) })
			}
		}
		for _, identity := range x.implied {
			all[i] = append(all[i], slices.ContainsFunc(x.foreign[identity], func(f forest.ID) bool { return f == g || in[i].has(f) }))
		}
	}
	return func(id forest.ID) bool {
		if x.s.SID(id) == sid || slices.Contains(x.history(id), sid) {
			return true
		}
		implied := x.Implied(id)
		if slices.Contains(implied, sid) {
			return true
		}
		for i, g := range groups {
			if x.counts(g, x.domain[id]) && (in[i].has(id) || slices.Contains(all[i][:len(implied)], true) || x.standIn(id, in[i])) {
				return true
			}
		}
		return false
	}
}

// standIn reports whether a foreign principal that stands for id is in a set.
func (x *Index) standIn(id forest.ID, in *idSet) bool {
	sid := x.s.SID(id)
	return x.tails[sid.Tail()] && slices.ContainsFunc(x.foreign[sid], in.has)
}

// within reports whether id, with its implied identities, is a member of group g.
func (x *Index) within(id forest.ID, implied []secdesc.SID, g forest.ID) bool {
	return x.comesTo(id, implied, func(to forest.ID) bool {
		_, ok := slices.BinarySearch(x.above(to), g)
		return ok
	})
}

// comesTo reports whether has is true of something that id holds directly, or by one of
// its implied identities.
func (x *Index) comesTo(id forest.ID, implied []secdesc.SID, has func(to forest.ID) bool) bool {
	if !x.up(id, func(to forest.ID, _ How) bool { return !has(to) }) {
		return true
	}
	for _, sid := range implied {
		if slices.ContainsFunc(x.foreign[sid], has) {
			return true
		}
	}
	return false
}

func sortSIDs(s []secdesc.SID) []secdesc.SID {
	slices.SortFunc(s, secdesc.SID.Compare)
	return slices.Compact(s)
}
