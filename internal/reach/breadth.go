package reach

import (
	"cmp"
	"encoding/binary"
	"maps"
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
	g       *Graph
	t       *trustees
	known   map[string]*holds         // by domains and the SIDs of the token that grants name
	number  map[secdesc.SID]uint32    // of SIDs that grants name
	special map[secdesc.SID]bool      // SIDs that entries deny something to, or that are part of pairs
	pairs   map[secdesc.SID][]pairRef // by the SIDs that the first right of a pair is granted to
}

// A pairRef is a pair of rights, of which the token of the first has one grant.
type pairRef struct {
	share uint32
	pair  *pairing
	left  *grant
}

// findPairs indexes the pairs that give an object, and numbers the SIDs that matter.
func (b *breadths) findPairs() {
	b.pairs, b.special = map[secdesc.SID][]pairRef{}, map[secdesc.SID]bool{}
	mark := func(sid secdesc.SID) {
		if _, ok := b.number[sid]; !ok {
			b.number[sid] = uint32(len(b.number)) + 1
		}
	}
	for sid, list := range b.t.grants {
		mark(sid)
		for _, r := range list { // who is denied what they grant is known by the token, too
			for _, denied := range b.g.grantsAt(r.share).list[r.index].deny {
				mark(denied)
				b.special[denied] = true
			}
		}
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
			}
			for _, one := range slices.Concat(p.left, p.right) {
				mark(one.who)
				b.special[one.who] = true
				for _, denied := range one.deny {
					mark(denied)
					b.special[denied] = true
				}
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
	own := b.ownSIDs(id)
	h := b.shared(id, own)
	extra := map[uint32]Kind{}
	if len(own) > 0 {
		for dom := range int16(max(1, len(b.g.s.Domains()))) {
			u := user{b: b, h: &holds{shares: extra}, dom: dom, token: b.g.tokenAt(id, dom)}
			for _, sid := range own {
				u.use(sid)
			}
		}
		if len(h.hosts) > 0 && b.anyHost(extra) { // which could be counted already
			h, extra = b.shared(id, nil), nil
		}
	}
	return b.sum(id, h, extra)
}

// ownSIDs returns the SIDs that only id has and that do no more than grant something:
// what the rest of its token gives, others with the same groups hold too. There are
// none if one of them counts in another way.
func (b *breadths) ownSIDs(id forest.ID) []secdesc.SID {
	if !b.g.x.isAccount(id) {
		return nil
	}
	sid := b.g.s.SID(id)
	if sid.IsZero() || len(b.t.grants[sid]) == 0 || b.special[sid] || len(b.t.hosts[sid]) > 0 || len(b.g.x.groups[sid]) > 0 {
		return nil
	}
	return []secdesc.SID{sid}
}

// shared returns what the token of id gives without some SIDs.
func (b *breadths) shared(id forest.ID, without []secdesc.SID) *holds {
	var tokens [][]secdesc.SID
	key := make([]byte, 0, 64)
	for dom := range int16(max(1, len(b.g.s.Domains()))) {
		token := slices.DeleteFunc(b.g.tokenAt(id, dom), func(sid secdesc.SID) bool { return b.number[sid] == 0 || slices.Contains(without, sid) })
		for _, sid := range token {
			key = binary.LittleEndian.AppendUint32(key, b.number[sid])
		}
		key = binary.LittleEndian.AppendUint32(key, 0)
		tokens = append(tokens, token)
	}
	h, ok := b.known[string(key)]
	if !ok {
		h = b.hold(tokens)
		b.known[string(key)] = h
	}
	return h
}

func (b *breadths) anyHost(shares map[uint32]Kind) bool {
	for share := range shares {
		if of := b.t.objects[share]; len(of) > 0 && b.isHost(of[0]) {
			return true
		}
	}
	return false
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

// hold finds what the tokens of a principal hold, one for each domain.
func (b *breadths) hold(tokens [][]secdesc.SID) *holds {
	h := &holds{shares: map[uint32]Kind{}, hosts: map[forest.ID]bool{}, kinds: map[HeldKind]int{}}
	for dom, token := range tokens {
		one := user{b: b, h: h, dom: int16(dom), token: token}
		for _, sid := range token {
			one.use(sid)
		}
	}
	b.count(h)
	return h
}

// A user is a principal with its token on the domain controllers of one domain.
type user struct {
	b     *breadths
	h     *holds
	dom   int16
	token []secdesc.SID
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
	return !slices.ContainsFunc(one.deny, func(sid secdesc.SID) bool { return slices.Contains(u.token, sid) })
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
		b.add(h.kinds, share, kind, 1)
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

// add counts the objects of a share, or with by -1 takes them away. Only of classes that
// the schema does not have there may be several.
func (b *breadths) add(kinds map[HeldKind]int, share uint32, kind Kind, by int) {
	of := b.t.objects[share]
	if !b.g.shared[share].sub.class.IsZero() && len(of) > 0 {
		kinds[HeldKind{Kind: kind, Class: b.g.s.Class(of[0])}] += by * len(of)
		return
	}
	for _, id := range of {
		kinds[HeldKind{Kind: kind, Class: b.g.s.Class(id)}] += by
	}
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

// sum adds extra to what is shared, and takes id itself out of both.
func (b *breadths) sum(id forest.ID, h *holds, extra map[uint32]Kind) Breadth {
	out := Breadth{ID: id, Objects: h.objects, Hosts: h.nHosts, Held: h.list}
	mine := b.g.sharer[id]
	kind, have := h.shares[mine]
	if k, more := extra[mine]; more && (!have || k < kind) {
		kind, have = k, true
	}
	if !have && h.hosts[id] {
		kind, have = LocalAdministrator, true
	}
	if !have && len(extra) == 0 {
		return out
	}
	kinds := maps.Clone(h.kinds)
	for share, k := range extra {
		of := b.t.objects[share]
		was, again := h.shares[share]
		if len(of) == 0 || again && was <= k {
			continue
		}
		b.add(kinds, share, k, 1)
		if again {
			b.add(kinds, share, was, -1)
			continue
		}
		out.Objects += len(of)
		if b.isHost(of[0]) {
			out.Hosts += len(of)
		}
	}
	if have {
		out.Objects--
		if b.isHost(id) {
			out.Hosts--
		}
		kinds[HeldKind{Kind: kind, Class: b.g.s.Class(id)}]--
	}
	out.Held = sortedKinds(kinds)
	return out
}
