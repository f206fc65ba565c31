package reach_test

import (
	"maps"
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A view is a descriptor as the objects of one class and state meet it: what can be
// asked of it, and what was answered.
type view struct {
	d      *secdesc.Descriptor
	plain  *secdesc.Descriptor // the same, if who owns it may do no more for that
	sids   []int32             // that entries name, or of the owner: those of a mask, by bit
	holds  map[secdesc.SID]int // bit of a SID
	wants  []secdesc.Request
	dac    int // index of what is wanted; -1: of no use here
	take   int
	member int
	join   int
	link   int
	powers [][]int // each gives control, or the identity of an account
	asIs   []int   // the same, but two memberships do not do

	limited bool  // entries say what owners may do
	noTake  bool  // who takes ownership gets nothing by it
	asOwner *view // the same for who has made itself the owner; nil unless limited
	memo    map[uint64]uint32
	alone   map[uint64]uint32 // the same with everything denied to everybody
	sure    bool              // an undecided answer does not count
}

type viewKey struct {
	descriptor uint32
	class      int
	state      int64 // bits of userAccountControl that matter
	readers    forest.ID
	handed     bool
	security   bool // a group that counts
}

// taker stands for an account that has made itself the owner.
var taker = secdesc.MustSID("S-1-5-21-0-0-0-1")

// view returns how the descriptor of an object is to be looked at; nil if it was
// not read. With handed its container hands full control to everyone down.
func (r *reference) view(at spot, handed bool) *view {
	id := at.id
	uac, _ := r.s.Int(id, forest.UserAccountControl)
	i, ok := r.s.DescriptorIndex(id)
	key := viewKey{descriptor: i, class: r.s.ClassIndex(id), state: uac & 0x40002, readers: forest.None, handed: handed, security: r.groups[id]}
	if at.readers {
		key = viewKey{readers: id}
	} else if !ok {
		return nil
	}
	if v, ok := r.views[key]; ok {
		return v
	}
	v := r.newView(at, handed)
	r.views[key] = v
	return v
}

func (r *reference) newView(at spot, handed bool) *view {
	d, st := r.s.Descriptor(at.id)
	if at.readers {
		d, st = r.s.Desc(at.id, forest.MsDSGroupMSAMembership)
	}
	if st != forest.Known {
		return nil
	}
	if handed {
		d = handedDown(d)
	}
	v := &view{d: d, plain: d, dac: -1, take: -1, member: -1, join: -1, link: -1, memo: map[uint64]uint32{}, alone: map[uint64]uint32{}, holds: map[secdesc.SID]int{}}
	v.sure = !r.possible || d.DACL == nil
	if at.readers {
		v.powers = [][]int{{v.want(r.on(at.id, secdesc.ReadProperty))}}
	} else {
		r.rights(v, at.id)
	}
	v.see(r, d.Owner)
	if d.DACL != nil {
		for _, a := range d.DACL.ACEs {
			v.see(r, a.SID)
		}
	}
	if v.limited {
		own := *v
		own.d = d.Clone()
		own.d.Owner = taker
		own.plain, own.memo, own.alone = own.d, map[uint64]uint32{}, map[uint64]uint32{}
		v.asOwner = &own
	}
	return v
}

// rights notes what is to be asked about id.
func (r *reference) rights(v *view, id forest.ID) {
	d := v.d
	v.limited = d.DACL != nil && limitsOwners(d)
	if d.DACL != nil && r.blocked(id, d.Owner) && !v.limited {
		v.plain = d.Clone()
		v.plain.Owner = secdesc.SID{}
	}
	v.dac = v.want(r.on(id, secdesc.WriteDAC))
	if d.DACL != nil {
		v.take = v.want(r.on(id, secdesc.WriteOwner))
	}
	v.noTake = r.blocked(id, secdesc.SID{})
	for _, p := range r.powers(id) {
		var all []int
		for _, q := range p {
			all = append(all, v.want(q))
		}
		v.powers = append(v.powers, all)
	}
	for _, q := range r.revival(id) {
		v.asIs = append(v.asIs, v.want(q))
	}
	if r.groups[id] {
		if q, ok := r.write(id, "member"); ok {
			v.member = v.want(q)
		}
		v.join = v.want(r.on(id, secdesc.SelfWrite, secdesc.MustGUID(refGUIDMember)))
	}
	if q, ok := r.write(id, "gPLink"); ok && r.takesLinks(id) {
		v.link = v.want(q)
	}
}

func (v *view) want(q secdesc.Request) int {
	v.wants = append(v.wants, q)
	return len(v.wants) - 1
}

func (v *view) see(r *reference, sid secdesc.SID) {
	if _, ok := v.holds[sid]; ok || sid.IsZero() || sid == secdesc.Self { // itself it has already
		return
	}
	if len(v.sids) == 64 {
		panic("the reference takes descriptors that name 64 principals at most")
	}
	v.holds[sid] = len(v.sids)
	v.sids = append(v.sids, r.number(sid))
}

// mask says which SIDs of v are in a token.
func (v *view) mask(token []int32) uint64 {
	var m uint64
	for bit, n := range v.sids {
		if _, ok := slices.BinarySearch(token, n); ok {
			m |= 1 << bit
		}
	}
	return m
}

// granted says which of the wanted rights a token has that holds the SIDs of m.
func (v *view) granted(m uint64) uint32 {
	if got, ok := v.memo[m]; ok {
		return got
	}
	var got uint32
	for i, q := range v.wants {
		d := v.d
		if i == v.dac {
			d = v.plain
		}
		out := d.Access(func(sid secdesc.SID) bool {
			bit, ok := v.holds[sid]
			return sid == taker || ok && m&(1<<bit) != 0
		}, q).Outcome
		if out == secdesc.Granted || out == secdesc.Undecided && !v.sure {
			got |= 1 << i
		}
	}
	v.memo[m] = got
	return got
}

// gives reports whether one of the powers of v, or its DACL, is gained by tokens
// with one of the masks, or by one with the SIDs of two: by two memberships that
// were given.
func (v *view) gives(masks []uint64) bool {
	any := v.any(masks)
	if has(any, v.dac) {
		return true
	}
	for _, p := range v.powers {
		all := uint32(0)
		for _, i := range p {
			all |= 1 << i
		}
		if any&all != all {
			continue
		}
		for i, a := range masks {
			for _, b := range masks[:i+1] {
				if v.granted(a|b)&all == all {
					return true
				}
			}
		}
		if len(p) == 1 {
			return true
		}
	}
	return false
}

// revives reports whether the token with the first of masks has all rights of asIs,
// or one of the memberships that can be given has them, whoever it is given to.
func (v *view) revives(masks, added []uint64) bool {
	if len(v.asIs) == 0 || v.d.DACL == nil {
		return false
	}
	all := uint32(0)
	for _, i := range v.asIs {
		all |= 1 << i
	}
	return v.granted(masks[0])&all == all ||
		slices.ContainsFunc(added, func(m uint64) bool { return v.grantedAlone(m)&all == all })
}

// grantedAlone says which of the wanted rights the SIDs of m bring to everybody: what
// is denied to somebody is denied.
func (v *view) grantedAlone(m uint64) uint32 {
	if got, ok := v.alone[m]; ok {
		return got
	}
	strict := *v
	strict.memo, strict.d = map[uint64]uint32{}, v.d.Clone()
	for i := range strict.d.DACL.ACEs {
		if a := &strict.d.DACL.ACEs[i]; a.IsDeny() {
			a.SID = taker
		}
	}
	if bit, ok := v.holds[secdesc.Everyone]; ok {
		m |= 1 << bit
	}
	v.alone[m] = strict.granted(m)
	return v.alone[m]
}

func (v *view) any(masks []uint64) uint32 {
	var any uint32
	for _, m := range masks {
		any |= v.granted(m)
	}
	return any
}

func has(set uint32, i int) bool { return i >= 0 && set&(1<<i) != 0 }

// index notes whom the entries of each object name that could give something: an
// entry that grants nothing by itself grants nothing with others.
func (r *reference) index() {
	givers := map[*view][]int32{}
	note := func(at spot) {
		v := r.view(at, false)
		if v == nil {
			return
		}
		list, ok := givers[v]
		if !ok {
			list = v.givers(r)
			givers[v] = list
		}
		for _, n := range list {
			r.named[n] = append(r.named[n], at)
		}
	}
	for id := range forest.ID(r.s.Len()) {
		note(spot{id: id})
	}
	for _, id := range r.s.With(forest.MsDSGroupMSAMembership) {
		note(spot{id, true})
	}
}

func (v *view) givers(r *reference) []int32 {
	if v.d.DACL == nil {
		return []int32{r.number(v.d.Owner), r.number(secdesc.Everyone)}
	}
	out := []int32{r.number(v.d.Owner)}
	for _, a := range v.d.DACL.ACEs {
		one := secdesc.Descriptor{Control: v.d.Control, DACL: &secdesc.ACL{Revision: secdesc.ACLRevisionDS, ACEs: []secdesc.ACE{a}}}
		for _, q := range v.wants {
			if a.SID != secdesc.OwnerRights && one.Access(func(secdesc.SID) bool { return true }, q).Outcome != secdesc.Refused {
				out = append(out, r.number(a.SID))
				break
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// An attacker is what one principal has gained so far.
type attacker struct {
	r       *reference
	start   forest.ID
	reached answer
	base    *attacker                 // another one, who is done: this one has gained all that he has
	equal   bool                      // and the other way round
	objects map[forest.ID]bool        // controlled; of accounts the identity
	writes  map[forest.ID]bool        // groups whose members it chooses
	joins   map[forest.ID][]forest.ID // groups that an account may add itself to
	links   map[forest.ID]bool        // containers whose policy links it writes
	own     []forest.ID               // its accounts, one of each kind
	kinds   map[int]bool              // of own
	giving  map[given][]forest.ID     // groups that it can make accounts members of, by what that adds
	stuck   map[forest.ID]bool        // objects in its containers that it has not gained
	fresh   []func()                  // what is to be looked at
	slow    []func()                  // after that: what takes longer
}

type given struct {
	sid    int32
	domain int
}

// reaches returns which goals an attacker gains who has account v: control of them,
// or a membership.
func (r *reference) reaches(v forest.ID) answer {
	plain := r.isPlain(v)
	if have, ok := r.knownOf[r.kind(v)]; ok && plain {
		return have
	}
	h := &attacker{
		r: r, start: v, objects: map[forest.ID]bool{}, writes: map[forest.ID]bool{}, joins: map[forest.ID][]forest.ID{},
		links: map[forest.ID]bool{}, giving: map[given][]forest.ID{}, stuck: map[forest.ID]bool{}, kinds: map[int]bool{},
	}
	h.gain(v)
	all := answer(1)<<len(r.goals) - 1
	for len(h.fresh)+len(h.slow) > 0 && h.reached != all && !h.equal {
		list := &h.slow
		if len(h.fresh) > 0 {
			list = &h.fresh
		}
		next := (*list)[len(*list)-1]
		*list = (*list)[:len(*list)-1]
		next()
	}
	if h.reached != all && !h.equal && len(h.own) > r.keep {
		r.done[v] = h
	}
	r.known[v] = h.reached
	if plain {
		r.knownOf[r.kind(v)] = h.reached
	}
	return h.reached
}

// isPlain reports whether what account a gains depends on nothing but its token.
func (r *reference) isPlain(a forest.ID) bool {
	uac, _ := r.s.Int(a, forest.UserAccountControl)
	return uac&0x80000 == 0 && r.s.SubtreeEnd(a) == a+1 && len(r.covered[a]) == 0 &&
		!slices.ContainsFunc(r.goals, func(goals []forest.ID) bool { return slices.Contains(goals, a) }) &&
		!slices.ContainsFunc(r.heads, func(i int) bool {
			d := r.s.Domains()[i].SID
			return r.s.SID(a) == d.Child(502) || slices.ContainsFunc(r.up[a], func(g forest.ID) bool { return r.s.SID(g) == d.Child(516) })
		})
}

// follow takes over what another attacker who is done has gained, whose account
// this one has gained.
func (h *attacker) follow(c *attacker) {
	h.base = c
	h.reached |= c.reached
	if c.controls(h.start) {
		h.equal = true
		return
	}
	maps.Copy(h.stuck, c.stuck)
	h.slow = append(h.slow, func() {
		for _, a := range slices.Clone(h.own) {
			h.act(a)
		}
		for _, a := range slices.Collect(c.accounts) {
			for g := range h.writes {
				h.member(a, g)
			}
		}
	})
}

func (h *attacker) controls(id forest.ID) bool {
	return h.objects[id] || h.base != nil && h.base.controls(id)
}

func (h *attacker) adds(g forest.ID) bool { return h.writes[g] || h.base != nil && h.base.adds(g) }

func (h *attacker) has(kind int) bool { return h.kinds[kind] || h.base != nil && h.base.has(kind) }

// accounts calls yield for the accounts of the attacker, one of each kind.
func (h *attacker) accounts(yield func(forest.ID) bool) {
	for at := h; at != nil; at = at.base {
		for _, a := range at.own {
			if !yield(a) {
				return
			}
		}
	}
}

// gain notes that id is the attacker's: the identity of an account.
func (h *attacker) gain(id forest.ID) {
	if h.controls(id) {
		return
	}
	h.objects[id] = true
	delete(h.stuck, id)
	for i, goals := range h.r.goals {
		if slices.Contains(goals, id) {
			h.reached |= 1 << i
		}
	}
	if h.r.logons[id] {
		h.reached |= h.r.known[id]
		if c := h.r.done[id]; c != nil && h.base == nil {
			h.follow(c)
		}
		h.slow = append(h.slow, func() { h.account(id) })
	}
	h.fresh = append(h.fresh, func() { h.opened(id) })
}

// control notes that the attacker has full control of id.
func (h *attacker) control(id forest.ID) {
	h.gain(id)
	if h.r.groups[id] {
		h.write(id)
	}
	if h.r.takesLinks(id) {
		h.link(id)
	}
}

// account uses a new account.
func (h *attacker) account(a forest.ID) {
	r := h.r
	uac, _ := r.s.Int(a, forest.UserAccountControl)
	if i := r.domain[a]; i >= 0 && slices.Contains(r.heads, i) {
		d := r.s.Domains()[i]
		dc := slices.ContainsFunc(r.up[a], func(g forest.ID) bool { return r.s.SID(g) == d.SID.Child(516) })
		connects := r.possible && uac&0x80000 != 0 && uac&0x2 == 0 // its domain controllers may be made to connect
		if dc || connects || r.s.SID(a) == d.SID.Child(502) {
			h.control(d.Head)
		}
	}
	if kind := r.kind(a); !h.has(kind) { // with an equal token nothing else can be done
		h.kinds[kind] = true
		h.own = append(h.own, a)
		h.act(a)
	}
}

// act uses what account a can do, given one membership at most.
func (h *attacker) act(a forest.ID) {
	tokens := []forest.ID{a}
	for at := h; at != nil; at = at.base {
		tokens = slices.AppendSeq(tokens, maps.Keys(at.writes))
	}
	h.use(a, tokens)
}

// use looks at what the SIDs give that account a can have: those of its own token,
// or of what memberships add to it.
func (h *attacker) use(a forest.ID, tokens []forest.ID) {
	r := h.r
	r.round++
	var fresh []int32
	for _, dom := range r.tokenDomains(-1) {
		for _, id := range tokens {
			for _, n := range r.token(id, dom) {
				h.reached |= r.asked[given{n, dom}]
				h.host(n, dom)
				if r.looked[n] != r.round {
					r.looked[n] = r.round
					fresh = append(fresh, n)
				}
			}
		}
	}
	for _, n := range fresh {
		for _, at := range r.named[n] {
			h.look(a, at, false)
		}
	}
	for id := range h.stuck {
		h.look(a, spot{id: id}, true)
	}
}

// opened uses new control of an object.
func (h *attacker) opened(id forest.ID) {
	r := h.r
	for c := range r.s.Children(id) {
		v := r.view(spot{id: c}, true)
		if h.controls(c) || v == nil || v.d.Control.Has(secdesc.DACLProtected) {
			continue
		}
		h.stuck[c] = true
		for a := range h.accounts {
			if h.stuck[c] {
				h.look(a, spot{id: c}, true)
			}
		}
	}
	for _, c := range r.covered[id] {
		h.control(c)
	}
	if slices.ContainsFunc(r.heads, func(i int) bool { return r.s.Domains()[i].Head == id }) {
		h.domains()
	}
}

// domains gives the attacker all domains of the forest and their accounts: nothing
// filters SIDs between them.
func (h *attacker) domains() {
	h.reached |= h.r.top
	if h.reached == answer(1)<<len(h.r.goals)-1 {
		return
	}
	for _, i := range h.r.heads {
		h.control(h.r.s.Domains()[i].Head)
	}
	for _, a := range h.r.accounts {
		if slices.Contains(h.r.heads, h.r.domain[a]) {
			h.gain(a)
		}
	}
}

// whole returns what all accounts of the domains together hold at least.
func (r *reference) whole() answer {
	var out answer
	for i, goals := range r.goals {
		for _, g := range goals {
			n := r.numbers[r.s.SID(g)]
			holds := func(a forest.ID) bool {
				_, ok := slices.BinarySearch(r.token(a, r.domain[g]), n)
				return ok && slices.Contains(r.heads, r.domain[a])
			}
			if slices.ContainsFunc(r.heads, func(i int) bool { return r.s.Domains()[i].Head == g }) ||
				r.logons[g] && slices.Contains(r.heads, r.domain[g]) || r.groups[g] && slices.ContainsFunc(r.accounts, holds) {
				out |= 1 << i
			}
		}
	}
	return out
}

// write notes that the attacker chooses the members of group g.
func (h *attacker) write(g forest.ID) {
	if h.adds(g) {
		return
	}
	h.writes[g] = true
	for i, goals := range h.r.goals {
		if slices.Contains(goals, g) {
			h.reached |= 1 << i
		}
	}
	for _, dom := range h.r.tokenDomains(-1) {
		for _, n := range h.r.token(g, dom) {
			h.giving[given{n, dom}] = append(h.giving[given{n, dom}], g)
		}
	}
	h.slow = append(h.slow, func() {
		for _, a := range slices.Collect(h.accounts) {
			h.member(a, g)
		}
	})
}

// member uses that a can be made a member of g.
func (h *attacker) member(a, g forest.ID) { h.use(a, []forest.ID{g}) }

func (h *attacker) join(a, g forest.ID) {
	if slices.Contains(h.joins[a], g) {
		return
	}
	h.joins[a] = append(h.joins[a], g)
	h.slow = append(h.slow, func() { h.member(a, g) })
}

// link notes that the attacker writes the policy links of a container.
func (h *attacker) link(ou forest.ID) {
	if h.links[ou] {
		return
	}
	h.links[ou] = true
	for _, a := range h.r.accounts {
		if a > ou && a < h.r.s.SubtreeEnd(ou) && h.r.domain[a] == h.r.domain[ou] {
			h.gain(a)
		}
	}
}

// look notes what account a gains of an object by its descriptor.
func (h *attacker) look(a forest.ID, at spot, handed bool) {
	if h.controls(at.id) {
		return
	}
	v := h.r.view(at, handed)
	if v == nil {
		return
	}
	for _, dom := range h.r.tokenDomains(h.r.domain[at.id]) {
		masks, added := h.masks(a, v, dom)
		if v.revives(masks, added) {
			h.control(at.id)
			return
		}
		h.found(a, at, v, masks)
		if v.asOwner != nil && has(v.any(masks), v.take) {
			h.found(a, at, v.asOwner, masks)
		}
	}
}

func (h *attacker) found(a forest.ID, at spot, v *view, masks []uint64) {
	any := v.any(masks)
	switch {
	case at.readers:
		if v.gives(masks) {
			h.gain(at.id)
		}
		return
	case v.gives(masks), has(any, v.take) && !v.limited && !v.noTake:
		h.control(at.id)
		return
	}
	if has(any, v.member) {
		h.write(at.id)
	}
	if has(any, v.join) {
		h.join(a, at.id)
	}
	if has(any, v.link) {
		h.link(at.id)
	}
}

// masks lists which SIDs of v tokens hold that account a can have, given one
// membership at most, and what the memberships add. Those that add nothing of v change
// nothing.
func (h *attacker) masks(a forest.ID, v *view, domain int) (out, added []uint64) {
	first := v.mask(h.r.token(a, domain))
	out = []uint64{first}
	add := func(g forest.ID) {
		one := v.mask(h.r.token(g, domain))
		if !slices.Contains(added, one) {
			added = append(added, one)
		}
		if m := first | one; !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	for bit, n := range v.sids {
		if first&(1<<bit) != 0 {
			continue
		}
		for by := h; by != nil; by = by.base {
			for _, g := range by.giving[given{n, domain}] {
				add(g)
			}
		}
	}
	for by := h; by != nil; by = by.base {
		for _, g := range by.joins[a] {
			add(g)
		}
	}
	return out, added
}
