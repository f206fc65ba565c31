package reach

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Breadth is how much a principal holds in one step, by its own token: what it can
// take over without taking over anything else before. It counts for certain only.
type Breadth struct {
	ID      forest.ID
	Objects int        // objects, itself left out
	Hosts   int        // computers: by rights on the object, or as administrator by policy
	Held    []HeldKind // by right and class, largest first; hosts by policy have the kind LocalAdministrator
}

// A HeldKind counts the objects of a class that one right gives. An object that
// several rights give counts once, with the strongest.
type HeldKind struct {
	Kind  Kind
	Class string
	Count int
}

// Breadths calls yield for each account and security group, in ID order, until it
// returns false; of a group it tells what membership brings. Principals whose tokens
// meet the same grants share the work.
func (g *Graph) Breadths(yield func(Breadth) bool) {
	b := breadths{g: g, t: g.byTrustee(), known: map[string]*holds{}, number: map[secdesc.SID]uint32{}}
	b.findPairs()
	for id := range forest.ID(g.n) {
		if !g.x.isAccount(id) && g.x.group[id] <= distribution {
			continue
		}
		if !yield(b.of(id)) {
			return
		}
	}
}

// breadths computes breadths.
type breadths struct {
	g      *Graph
	t      *trustees
	known  map[string]*holds         // by domains and the SIDs of the token that grants name
	number map[secdesc.SID]uint32    // of SIDs that grants name
	pairs  map[secdesc.SID][]pairRef // by the SIDs that the first right of a pair is granted to
}

// A pairRef is a pair of rights, of which the token of the first has one grant.
type pairRef struct {
	share uint32
	pair  *pairing
	left  *grant
}

// findPairs indexes the pairs that give an object, and numbers the SIDs that matter.
func (b *breadths) findPairs() {
	b.pairs = map[secdesc.SID][]pairRef{}
	mark := func(sid secdesc.SID) {
		if _, ok := b.number[sid]; !ok {
			b.number[sid] = uint32(len(b.number)) + 1
		}
	}
	for sid := range b.t.grants {
		mark(sid)
	}
	for sid := range b.t.hosts {
		mark(sid)
	}
	for _, share := range b.t.paired {
		list := b.g.grantsAt(share).pairs
		for i := range list {
			p := &list[i]
			if p.cond != certain || p.gives != control && p.gives != owning {
				continue
			}
			for k := range p.left {
				b.pairs[p.left[k].who] = append(b.pairs[p.left[k].who], pairRef{share, p, &p.left[k]})
				mark(p.left[k].who)
			}
			for k := range p.right {
				mark(p.right[k].who)
			}
		}
	}
}

// holds is what tokens with the same SIDs hold.
type holds struct {
	shares  map[uint32]Kind
	hosts   map[forest.ID]bool // by policy, beside the computers of shares
	objects int
	nHosts  int
	kinds   map[HeldKind]int // Count is 0
	list    []HeldKind       // kinds, sorted
}

func (b *breadths) of(id forest.ID) Breadth {
	var tokens [][]secdesc.SID
	key := make([]byte, 0, 64)
	for dom := range int16(max(1, len(b.g.s.Domains()))) {
		token := slices.DeleteFunc(b.g.tokenAt(id, dom), func(sid secdesc.SID) bool { return b.number[sid] == 0 })
		for _, sid := range token {
			key = binary.LittleEndian.AppendUint32(key, b.number[sid])
		}
		key = binary.LittleEndian.AppendUint32(key, 0)
		tokens = append(tokens, token)
	}
	h, ok := b.known[string(key)]
	if !ok {
		var own bool
		h, own = b.hold(id, tokens)
		if !own {
			b.known[string(key)] = h
		}
	}
	return b.without(id, h)
}

// tokenAt is the token of id on the domain controllers of a domain, as holds has it:
// with the domain-local groups that its SID history is in.
func (g *Graph) tokenAt(id forest.ID, dom int16) []secdesc.SID {
	out := g.x.tokenIn(id, dom)
	for _, p := range g.local[id] {
		if !g.x.counts(p, dom) {
			continue
		}
		for _, up := range g.x.above(p) {
			if g.x.group[up] > distribution && g.x.counts(up, dom) {
				out = append(append(out, g.s.SID(up)), g.x.history(up)...)
			}
		}
	}
	return sortSIDs(out)
}

// hold finds what tokens hold. own tells that a denial was met, which may depend on
// SIDs that no grant names: then the answer is that of id alone.
func (b *breadths) hold(id forest.ID, tokens [][]secdesc.SID) (h *holds, own bool) {
	h = &holds{shares: map[uint32]Kind{}, hosts: map[forest.ID]bool{}, kinds: map[HeldKind]int{}}
	for dom, token := range tokens {
		one := user{b: b, h: h, id: id, dom: int16(dom), token: token}
		for _, sid := range token {
			one.use(sid)
		}
		own = own || one.denied
	}
	b.count(h)
	return h, own
}

// A user is a principal with its token on the domain controllers of one domain.
type user struct {
	b      *breadths
	h      *holds
	id     forest.ID
	dom    int16
	token  []secdesc.SID
	denied bool // an entry denies something to somebody
}

// use adds what a SID of the token gives.
func (u *user) use(sid secdesc.SID) {
	g, t := u.b.g, u.b.t
	for _, r := range t.grants[sid] {
		one := &g.grantsAt(r.share).list[r.index]
		if u.here(g.shared[r.share].dom) && one.cond == certain && (one.gives == control || one.gives == owning) && u.may(one) {
			u.take(r.share, one.kind)
		}
	}
	for _, r := range u.b.pairs[sid] {
		if u.here(g.shared[r.share].dom) && r.left.cond == certain && u.may(r.left) && slices.ContainsFunc(r.pair.right, func(one grant) bool {
			return one.cond == certain && slices.Contains(u.token, one.who) && u.may(&one)
		}) {
			u.take(r.share, r.pair.kind)
		}
	}
	for _, r := range t.hosts[sid] {
		if r.cond == certain && u.here(r.dom) {
			for _, c := range g.gpo.Computers(r.scope) {
				u.h.hosts[c] = true
			}
		}
	}
}

// here reports whether what belongs to a domain, or to all, is decided by this token.
func (u *user) here(dom int16) bool { return dom < 0 || dom == u.dom }

// may reports whether no entry before a grant denies it to the principal.
func (u *user) may(one *grant) bool {
	if len(one.deny) == 0 {
		return true
	}
	u.denied = true
	return !u.b.g.stopped(u.id, denials(one.deny, u.dom))
}

func (u *user) take(share uint32, kind Kind) {
	if k, have := u.h.shares[share]; !have || kind < k {
		u.h.shares[share] = kind
	}
}

// count sums up what is held.
func (b *breadths) count(h *holds) {
	for share, kind := range h.shares {
		of := b.t.objects[share]
		if len(of) == 0 {
			continue
		}
		h.kinds[HeldKind{Kind: kind, Class: b.g.s.Class(of[0])}] += len(of)
		h.objects += len(of)
		if b.isHost(of[0]) {
			h.nHosts += len(of)
		}
	}
	for c := range h.hosts {
		if _, have := h.shares[b.g.sharer[c]]; have {
			delete(h.hosts, c) // counted already
			continue
		}
		h.kinds[HeldKind{Kind: LocalAdministrator, Class: b.g.s.Class(c)}]++
		h.objects++
		h.nHosts++
	}
	h.list = sortedKinds(h.kinds)
}

// isHost reports whether id is a computer, and no service account.
func (b *breadths) isHost(id forest.ID) bool {
	return b.g.classes[b.g.s.ClassIndex(id)].aspect == computerAspect
}

func sortedKinds(kinds map[HeldKind]int) []HeldKind {
	out := make([]HeldKind, 0, len(kinds))
	for k, n := range kinds {
		if n > 0 {
			out = append(out, HeldKind{k.Kind, k.Class, n})
		}
	}
	slices.SortFunc(out, func(a, b HeldKind) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Class, b.Class))
	})
	return out
}

// without takes id itself out of what it holds.
func (b *breadths) without(id forest.ID, h *holds) Breadth {
	out := Breadth{ID: id, Objects: h.objects, Hosts: h.nHosts, Held: h.list}
	kind, have := h.shares[b.g.sharer[id]]
	if !have && h.hosts[id] {
		kind, have = LocalAdministrator, true
	}
	if !have {
		return out
	}
	out.Objects--
	if b.isHost(id) {
		out.Hosts--
	}
	kinds := map[HeldKind]int{}
	for k, n := range h.kinds {
		kinds[k] = n
	}
	kinds[HeldKind{Kind: kind, Class: b.g.s.Class(id)}]--
	out.Held = sortedKinds(kinds)
	return out
}
