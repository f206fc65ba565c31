package reach_test

import (
	"encoding/binary"
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A reference says who can gain what, by the letter: it plays one attacker at a
// time, forwards, who uses every account that he has gained against every object,
// with the account's own token and the memberships that he can give it, until
// nothing new comes of it. It shares nothing with package reach: what a token holds
// it works out by itself, and every right it asks of secdesc.Access.
//
// Three things keep it fast in forests of 100,000 objects, and are all that it
// takes from what it knows already: a descriptor is asked once for the SIDs of it
// that a token holds; an object is looked at when somebody comes to hold a SID that
// an entry of it names; and what an account, or another with an equal token, was
// found to gain before is known.
type reference struct {
	s        *forest.Snapshot
	possible bool // count what depends on a condition

	accounts []forest.ID
	groups   map[forest.ID]bool // security groups
	domain   []int              // by object: index into Domains, -1 outside
	up       map[forest.ID][]forest.ID
	fsps     map[secdesc.SID][]forest.ID // groups that list a foreign security principal
	guarded  bool                        // BlockOwnerImplicitRights
	logons   map[forest.ID]bool          // the accounts
	covered  map[forest.ID][]forest.ID   // by AdminSDHolder
	heads    []int                       // domains whose head was read

	numbers map[secdesc.SID]int32 // small numbers of SIDs
	views   map[viewKey]*view
	looked  []int // by number of a SID: in which round objects that name it were looked at
	round   int
	named   map[int32][]spot      // where an entry for a SID may give something
	hosts   map[int32][]forest.ID // that who holds a SID administers by policy
	tokens  map[tokenKey][]int32
	kindOf  map[string]int // numbers of equal tokens, of all domains

	goals   [][]forest.ID
	asked   map[given]answer        // goals that are groups, by their SID
	known   map[forest.ID]answer    // of accounts that were asked before
	knownOf map[int]answer          // the same, by kind
	done    map[forest.ID]*attacker // of accounts that gained many others
	keep    int                     // how many kinds of accounts somebody gains whose gains are kept for others
	top     answer                  // what all accounts together gain at least
}

// An answer has a bit for each goal that is gained.
type answer uint64

// A tokenKey names the token of an account, or what a membership adds to one, on
// the domain controllers of a domain.
type tokenKey struct {
	id     forest.ID
	domain int
}

// A spot is an object, or the list of those who read its password.
type spot struct {
	id      forest.ID
	readers bool
}

const (
	refGUIDReset   = "00299570-246d-11d0-a768-00aa006e0529"
	refGUIDChanges = "1131f6aa-9c07-11d1-f79f-00c04fc2dcd2"
	refGUIDAll     = "1131f6ad-9c07-11d1-f79f-00c04fc2dcd2"
	refGUIDMember  = "bf9679c0-0de6-11d0-a285-00aa003049e2"
)

// newReference prepares to ask who gains one of each of goals.
func newReference(s *forest.Snapshot, possible bool, goals ...[]forest.ID) *reference {
	r := &reference{
		s: s, possible: possible, goals: goals, groups: map[forest.ID]bool{}, logons: map[forest.ID]bool{}, domain: make([]int, s.Len()),
		up: map[forest.ID][]forest.ID{}, fsps: map[secdesc.SID][]forest.ID{}, covered: map[forest.ID][]forest.ID{},
		numbers: map[secdesc.SID]int32{}, views: map[viewKey]*view{}, named: map[int32][]spot{}, tokens: map[tokenKey][]int32{},
		kindOf: map[string]int{}, asked: map[given]answer{}, hosts: map[int32][]forest.ID{}, known: map[forest.ID]answer{}, knownOf: map[int]answer{}, done: map[forest.ID]*attacker{},
	}
	for id := range forest.ID(s.Len()) {
		r.domain[id] = -1
		if d, ok := s.DomainOf(id); ok {
			r.domain[id] = slices.IndexFunc(s.Domains(), func(x forest.Domain) bool { return x.SID == d.SID })
		}
		if s.IsA(id, "user") && !s.SID(id).IsZero() {
			r.accounts = append(r.accounts, id)
			r.logons[id] = true
		}
		if t, _ := s.Int(id, forest.GroupType); s.IsA(id, "group") && t&0x80000000 != 0 {
			r.groups[id] = true
		}
		if v, _ := s.Str(id, forest.DSHeuristics); len(v) > 28 && v[28] == '1' {
			r.guarded = true
		}
	}
	r.memberships()
	for i, d := range s.Domains() {
		if d.Head == forest.None {
			continue
		}
		r.heads = append(r.heads, i)
		if holder := s.Lookup("CN=AdminSDHolder,CN=System," + d.DN); holder != forest.None {
			r.covered[holder] = r.protectedIn(i, d)
		}
	}
	for i, list := range goals {
		for _, g := range list {
			if n := r.number(s.SID(g)); r.groups[g] {
				r.asked[given{n, r.domain[g]}] |= 1 << i
			}
		}
	}
	r.number(secdesc.Everyone) // to whom containers hand down
	r.index()
	r.policies()
	r.looked = make([]int, len(r.numbers)+1)
	r.top = r.whole()
	return r
}

func (r *reference) memberships() {
	for g := range r.groups {
		members, _ := r.s.Links(g, forest.Member)
		for _, m := range members {
			if r.s.IsA(m, "foreignSecurityPrincipal") {
				r.fsps[r.s.SID(m)] = append(r.fsps[r.s.SID(m)], g)
				continue
			}
			r.up[m] = append(r.up[m], g)
		}
	}
	for _, a := range r.accounts {
		rid, st := r.s.Int(a, forest.PrimaryGroupID)
		if st != forest.Known {
			continue
		}
		if g := r.s.BySID(r.s.SID(a).Domain().Child(uint32(rid))); g != forest.None && r.groups[g] {
			r.up[a] = append(r.up[a], g)
		}
	}
}

func (r *reference) number(sid secdesc.SID) int32 {
	n, ok := r.numbers[sid]
	if !ok {
		n = int32(len(r.numbers))
		r.numbers[sid] = n
	}
	return n
}

// tokenDomains lists the domains whose controllers decide about objects of a
// domain: its own, or any for what all of them have.
func (r *reference) tokenDomains(of int) []int {
	if of >= 0 {
		return []int{of}
	}
	out := []int{-1}
	for i := range r.s.Domains() {
		out = append(out, i)
	}
	return out
}

// token is what account a shows to a domain controller of a domain: numbers of
// SIDs in order. Of a group it is what a new member's token has for that.
func (r *reference) token(a forest.ID, domain int) []int32 {
	key := tokenKey{a, domain}
	if t, ok := r.tokens[key]; ok {
		return t
	}
	w := tokenWriter{r: r, domain: domain, seen: map[forest.ID]bool{}}
	if r.groups[a] {
		w.push(a)
	} else {
		w.account(a)
	}
	for i := 0; i < len(w.queue); i++ {
		w.have(r.s.SID(w.queue[i]))
		w.past(w.queue[i])
		for _, g := range r.up[w.queue[i]] {
			w.push(g)
		}
	}
	slices.Sort(w.sids)
	t := slices.Clone(slices.Compact(w.sids))
	r.tokens[key] = t
	return t
}

// kind is equal for accounts with equal tokens.
func (r *reference) kind(a forest.ID) int {
	var key []byte
	for _, dom := range r.tokenDomains(-1) {
		for _, n := range r.token(a, dom) {
			key = binary.LittleEndian.AppendUint32(key, uint32(n))
		}
		key = append(key, "----"...)
	}
	k, ok := r.kindOf[string(key)]
	if !ok {
		k = len(r.kindOf)
		r.kindOf[string(key)] = k
	}
	return k
}

// A tokenWriter collects the SIDs of a token.
type tokenWriter struct {
	r      *reference
	domain int
	sids   []int32
	queue  []forest.ID
	seen   map[forest.ID]bool
}

func (w *tokenWriter) account(a forest.ID) {
	r := w.r
	w.have(r.s.SID(a))
	w.past(a)
	w.have(secdesc.Everyone)
	w.have(secdesc.Network)
	if rid, _ := r.s.SID(a).RID(); rid != 501 {
		w.have(secdesc.AuthenticatedUsers)
		w.have(secdesc.ThisOrganization)
	}
	if rid, _ := r.s.Int(a, forest.PrimaryGroupID); rid == 516 {
		w.have(secdesc.EnterpriseDomainControllers)
	}
	for _, g := range r.up[a] {
		w.push(g)
	}
}

func (w *tokenWriter) push(g forest.ID) {
	if w.seen[g] || !w.r.groups[g] || w.r.domainLocal(g) && w.r.domain[g] != w.domain {
		return
	}
	w.seen[g] = true
	w.queue = append(w.queue, g)
}

func (w *tokenWriter) have(sid secdesc.SID) {
	if n, ok := w.r.numbers[sid]; ok { // others are of no use
		w.sids = append(w.sids, n)
	}
	for _, g := range w.r.fsps[sid] {
		w.push(g)
	}
}

// past adds the SID history of id: SIDs in the token, with the domain-local groups
// that the principals behind them are in directly.
func (w *tokenWriter) past(id forest.ID) {
	for _, sid := range refHistory(w.r.s, id) {
		w.have(sid)
		if o := w.r.s.BySID(sid); o != forest.None && !w.r.domainLocal(id) {
			for _, g := range w.r.up[o] {
				if w.r.domainLocal(g) {
					w.push(g)
				}
			}
		}
	}
}

func (r *reference) domainLocal(g forest.ID) bool {
	t, _ := r.s.Int(g, forest.GroupType)
	return t&4 != 0
}

func refHistory(s *forest.Snapshot, id forest.ID) []secdesc.SID {
	vals, _ := s.Strs(id, forest.SIDHistory)
	var out []secdesc.SID
	for _, v := range vals {
		sid, err := secdesc.SIDFromBytes([]byte(v))
		if err == nil {
			out = append(out, sid)
		}
	}
	return out
}

// on is a request for rights on a property, an extended right and the like.
func (r *reference) on(id forest.ID, mask secdesc.Mask, types ...secdesc.GUID) secdesc.Request {
	q := secdesc.Request{Mask: mask}
	const ownTypeOnly = secdesc.ControlAccess | secdesc.SelfWrite | secdesc.CreateChild // [MS-ADTS] 5.1.3.3.3, 5.1.3.3.4
	if c := r.s.Schema().Class(r.s.Class(id)); c != nil && mask&ownTypeOnly == 0 {
		q.Types = append(q.Types, c.GUID)
	}
	q.Types = append(q.Types, types...)
	return q
}

func (r *reference) write(id forest.ID, attr string) (secdesc.Request, bool) {
	return r.property(id, secdesc.WriteProperty, attr)
}

func (r *reference) property(id forest.ID, mask secdesc.Mask, attr string) (secdesc.Request, bool) {
	def := r.s.Schema().Attr(attr)
	if def == nil {
		return secdesc.Request{}, false
	}
	types := []secdesc.GUID{def.GUID}
	if !def.PropertySet.IsZero() {
		types = append(types, def.PropertySet)
	}
	return r.on(id, mask, types...), true
}

func (r *reference) takesLinks(id forest.ID) bool {
	return r.s.IsA(id, "organizationalUnit") || r.s.IsA(id, "domainDNS")
}

// handedDown is what becomes of d when whoever controls the container lets it hand
// down full control to everyone: explicit entries stay before that.
func handedDown(d *secdesc.Descriptor) *secdesc.Descriptor {
	out := d.Clone()
	if out.DACL == nil {
		return out
	}
	out.DACL.ACEs = slices.DeleteFunc(out.DACL.ACEs, func(a secdesc.ACE) bool { return a.IsInherited() })
	out.DACL.ACEs = append(out.DACL.ACEs, secdesc.ACE{
		Type: secdesc.Allow, Flags: secdesc.Inherited | secdesc.ContainerInherit, Mask: secdesc.FullControl, SID: secdesc.Everyone,
	})
	return out
}

// blocked reports whether owner has no implicit rights on id.
func (r *reference) blocked(id forest.ID, owner secdesc.SID) bool {
	rid, _ := owner.RID()
	trusted := owner.IsDomainRelative() && (rid == 512 || rid == 519) || owner == secdesc.Administrators
	return r.guarded && r.s.IsA(id, "computer") && !trusted
}

// limitsOwners reports whether entries of d say what owners may do.
func limitsOwners(d *secdesc.Descriptor) bool {
	return slices.ContainsFunc(d.DACL.ACEs, func(a secdesc.ACE) bool {
		return a.SID == secdesc.OwnerRights && !a.Flags.Has(secdesc.InheritOnly) && (a.IsAllow() || a.IsDeny())
	})
}

// revival lists the rights by which a token that holds all of them becomes an account
// that cannot log on with a password.
func (r *reference) revival(id forest.ID) []secdesc.Request {
	uac, _ := r.s.Int(id, forest.UserAccountControl)
	managed := r.s.IsA(id, "msDS-GroupManagedServiceAccount") || r.s.IsA(id, "msDS-DelegatedManagedServiceAccount") || r.s.IsA(id, "msDS-ManagedServiceAccount")
	enable, ok := r.write(id, "userAccountControl")
	if !ok || managed || !r.s.IsA(id, "user") || uac&(0x2|0x40000) == 0 {
		return nil
	}
	return []secdesc.Request{r.on(id, secdesc.ControlAccess, secdesc.MustGUID(refGUIDReset)), enable}
}

// powers lists the sets of rights on id that give control of it, or of an account
// its identity, beside the descriptor's own.
func (r *reference) powers(id forest.ID) [][]secdesc.Request {
	var out [][]secdesc.Request
	is := func(class string) bool { return r.s.IsA(id, class) }
	writes := func(sure bool, attrs ...string) {
		for _, attr := range attrs {
			if w, ok := r.write(id, attr); ok && (sure || r.possible) {
				out = append(out, []secdesc.Request{w})
			}
		}
	}
	managed := is("msDS-GroupManagedServiceAccount") || is("msDS-DelegatedManagedServiceAccount") || is("msDS-ManagedServiceAccount")
	switch {
	case is("user"):
		uac, _ := r.s.Int(id, forest.UserAccountControl)
		if !managed && (uac&(0x2|0x40000) == 0 || r.possible) {
			out = append(out, []secdesc.Request{r.on(id, secdesc.ControlAccess, secdesc.MustGUID(refGUIDReset))})
		}
		writes(true, "msDS-KeyCredentialLink")
		writes(false, "altSecurityIdentities")
		switch {
		case managed:
			writes(true, "msDS-AllowedToActOnBehalfOfOtherIdentity", "msDS-GroupMSAMembership")
		case is("computer"):
			writes(true, "msDS-AllowedToActOnBehalfOfOtherIdentity")
			out = append(out, r.passwords(id)...)
		default:
			writes(false, "servicePrincipalName", "userAccountControl", "scriptPath", "profilePath")
		}
	case is("domainDNS"):
		out = append(out, []secdesc.Request{
			r.on(id, secdesc.ControlAccess, secdesc.MustGUID(refGUIDChanges)),
			r.on(id, secdesc.ControlAccess, secdesc.MustGUID(refGUIDAll)),
		})
	}
	return out
}

// passwords lists what reads a managed local password of a computer.
func (r *reference) passwords(id forest.ID) [][]secdesc.Request {
	var out [][]secdesc.Request
	for _, attr := range []string{"ms-Mcs-AdmPwd", "msLAPS-Password"} {
		read, ok := r.property(id, secdesc.ReadProperty, attr)
		if !ok {
			continue
		}
		extended, _ := r.property(id, secdesc.ControlAccess, attr)
		out = append(out, []secdesc.Request{read, extended})
	}
	return out
}

// protectedIn lists what AdminSDHolder of a domain covers: its privileged groups,
// what is in them at any depth, Administrator and krbtgt.
func (r *reference) protectedIn(domain int, d forest.Domain) []forest.ID {
	covered := map[forest.ID]bool{}
	var queue []forest.ID
	take := func(id forest.ID) {
		if id != forest.None && r.domain[id] == domain && !covered[id] {
			covered[id] = true
			queue = append(queue, id)
		}
	}
	for g := range r.groups {
		rid, _ := r.s.SID(g).RID()
		if r.domain[g] == domain && (slices.Contains([]uint32{512, 518, 519, 526, 527}, rid) && r.s.SID(g).IsDomainRelative() ||
			r.s.SID(g).Domain() == secdesc.Builtin && slices.Contains([]uint32{544, 548, 549, 550, 551, 552}, rid)) {
			take(g)
		}
	}
	take(r.s.BySID(d.SID.Child(500)))
	take(r.s.BySID(d.SID.Child(502)))
	within := map[forest.ID][]forest.ID{}
	for m, ups := range r.up {
		for _, g := range ups {
			if r.groups[m] || r.logons[m] {
				within[g] = append(within[g], m)
			}
		}
	}
	for i := 0; i < len(queue); i++ {
		for _, m := range within[queue[i]] {
			take(m)
		}
	}
	out := queue
	for _, rid := range []uint32{516, 521} { // these themselves only
		if g := r.s.BySID(d.SID.Child(rid)); g != forest.None {
			out = append(out, g)
		}
	}
	return out
}
