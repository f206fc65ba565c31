package reach_test

import (
	"slices"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A reference says who can gain what, slowly and by the letter: it starts with one
// principal and plays every account that it has gained so far against every object
// of the forest, with the account's own token, and the memberships that it can give
// it, until nothing new comes of it. It shares nothing with package reach: it asks
// secdesc.Access, right by right.
type reference struct {
	s        *forest.Snapshot
	possible bool // count what depends on a condition

	accounts []forest.ID
	groups   map[forest.ID]bool // security groups
	domain   []int              // by object: index into Domains, -1 outside
	up       map[forest.ID][]forest.ID
	fsps     map[secdesc.SID][]forest.ID // groups that list a foreign security principal
	guarded  bool                        // BlockOwnerImplicitRights
	named    map[secdesc.SID][]forest.ID // objects of which an entry names the SID; nil: all are looked at
	logons   map[forest.ID]bool          // the accounts
	proven   map[forest.ID]bool          // accounts that were found to reach the goals in question
	tokens   map[tokenKey]map[secdesc.SID]bool
}

type tokenKey struct {
	account forest.ID
	a, b    forest.ID
	domain  int
}

const (
	refGUIDReset   = "00299570-246d-11d0-a768-00aa006e0529"
	refGUIDChanges = "1131f6aa-9c07-11d1-f79f-00c04fc2dcd2"
	refGUIDAll     = "1131f6ad-9c07-11d1-f79f-00c04fc2dcd2"
	refGUIDMember  = "bf9679c0-0de6-11d0-a285-00aa003049e2"
)

func newReference(s *forest.Snapshot, possible bool) *reference {
	r := &reference{
		s: s, possible: possible, groups: map[forest.ID]bool{}, logons: map[forest.ID]bool{}, domain: make([]int, s.Len()),
		up: map[forest.ID][]forest.ID{}, fsps: map[secdesc.SID][]forest.ID{}, tokens: map[tokenKey]map[secdesc.SID]bool{},
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
	for g := range r.groups {
		members, _ := s.Links(g, forest.Member)
		for _, m := range members {
			if s.IsA(m, "foreignSecurityPrincipal") {
				r.fsps[s.SID(m)] = append(r.fsps[s.SID(m)], g)
				continue
			}
			r.up[m] = append(r.up[m], g)
		}
	}
	for _, a := range r.accounts {
		rid, st := s.Int(a, forest.PrimaryGroupID)
		if st != forest.Known {
			continue
		}
		if g := s.BySID(s.SID(a).Domain().Child(uint32(rid))); g != forest.None && r.groups[g] {
			r.up[a] = append(r.up[a], g)
		}
	}
	return r
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

// token is what account a shows to a domain controller of a domain when it has
// been made a member of the extra groups.
func (r *reference) token(a forest.ID, extra [2]forest.ID, domain int) map[secdesc.SID]bool {
	key := tokenKey{a, extra[0], extra[1], domain}
	if t, ok := r.tokens[key]; ok {
		return t
	}
	sids := map[secdesc.SID]bool{}
	var queue []forest.ID
	seen := map[forest.ID]bool{}
	push := func(g forest.ID) {
		if g == forest.None || seen[g] || !r.groups[g] || r.domainLocal(g) && r.domain[g] != domain {
			return
		}
		seen[g] = true
		queue = append(queue, g)
	}
	have := func(sid secdesc.SID) {
		sids[sid] = true
		for _, g := range r.fsps[sid] {
			push(g)
		}
	}
	// A SID of the history is a SID in the token, with the domain-local groups that
	// the principal behind it is in directly.
	past := func(id forest.ID) {
		for _, sid := range refHistory(r.s, id) {
			have(sid)
			if o := r.s.BySID(sid); o != forest.None && (id == a || !r.domainLocal(id)) {
				for _, g := range r.up[o] {
					if r.domainLocal(g) {
						push(g)
					}
				}
			}
		}
	}
	have(r.s.SID(a))
	past(a)
	have(secdesc.Everyone)
	have(secdesc.Network)
	if rid, _ := r.s.SID(a).RID(); rid != 501 {
		have(secdesc.AuthenticatedUsers)
		have(secdesc.ThisOrganization)
	}
	if rid, _ := r.s.Int(a, forest.PrimaryGroupID); rid == 516 {
		have(secdesc.EnterpriseDomainControllers)
	}
	for _, g := range r.up[a] {
		push(g)
	}
	push(extra[0])
	push(extra[1])
	for i := 0; i < len(queue); i++ {
		have(r.s.SID(queue[i]))
		past(queue[i])
		for _, g := range r.up[queue[i]] {
			push(g)
		}
	}
	r.tokens[key] = sids
	return sids
}

// A hoard is what one attacker has gained.
type hoard struct {
	r       *reference
	objects map[forest.ID]bool // controlled; of accounts the identity
	writes  map[forest.ID]bool // groups whose members it chooses
	joins   map[[2]forest.ID]bool
	links   map[forest.ID]bool // containers whose policy links it writes
	own     []forest.ID        // accounts of objects
	grown   bool
	acting  []forest.ID // those that are asked now
	actors  actors
}

// reaches reports whether an attacker with account v gains one of goals: control of
// it, or of a group membership.
func (r *reference) reaches(v forest.ID, goals []forest.ID) bool {
	h := &hoard{
		r: r, objects: map[forest.ID]bool{v: true}, writes: map[forest.ID]bool{},
		joins: map[[2]forest.ID]bool{}, links: map[forest.ID]bool{}, grown: true,
	}
	h.own = append(h.own, v)
	h.actors = actors{over: map[forest.ID][]forest.ID{}, opened: map[forest.ID]bool{}}
	for h.grown && !h.has(goals) {
		if slices.ContainsFunc(h.own, func(a forest.ID) bool { return r.proven[a] }) {
			return true
		}
		h.grown = false
		for _, id := range h.candidates() {
			h.object(id)
		}
		h.structure()
	}
	return h.has(goals)
}

// candidates lists the objects over which the attacker may have a right by now: all
// of them, or, to be faster, those with an entry for a SID that one of its accounts
// holds or can come to hold, and what is in containers that it controls. Objects
// are left out while nothing has changed for them.
func (h *hoard) candidates() []forest.ID {
	var out []forest.ID
	if h.r.named == nil {
		for id := range forest.ID(h.r.s.Len()) {
			out = append(out, id)
		}
		return out
	}
	for ; len(h.actors.seen) < len(h.own); h.actors.seen = append(h.actors.seen, nil) {
	}
	for i, a := range h.own {
		for _, e := range h.extras(a) {
			if slices.Contains(h.actors.seen[i], e) {
				continue
			}
			h.actors.seen[i] = append(h.actors.seen[i], e)
			for sid := range h.r.token(a, [2]forest.ID{e, forest.None}, h.r.domain[a]) {
				for _, id := range h.r.named[sid] {
					h.actors.over[id] = append(h.actors.over[id], a)
					out = append(out, id)
				}
			}
		}
	}
	for id := range h.objects {
		if h.r.isAccount(id) || h.actors.opened[id] {
			continue
		}
		h.actors.opened[id] = true
		for c := range h.r.s.Children(id) {
			if !h.objects[c] {
				out = append(out, c)
				h.actors.opened[id] = false // other accounts may do later what these may not
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// actors says who has to be asked about what, in large forests.
type actors struct {
	seen   [][]forest.ID // by account of hoard.own: memberships with which it was looked at
	over   map[forest.ID][]forest.ID
	opened map[forest.ID]bool // containers whose children were looked at
}

// index prepares for large forests: it notes which SIDs the entries of each object
// name that could give power over it.
func (r *reference) index() {
	r.named = map[secdesc.SID][]forest.ID{}
	const power = secdesc.WriteDAC | secdesc.WriteOwner | secdesc.WriteProperty | secdesc.ControlAccess | secdesc.SelfWrite
	useless := map[secdesc.GUID]bool{ // the commonest entries for everyone
		secdesc.MustGUID("ab721a53-1e2f-11d0-9819-00aa0040529b"): true, // User-Change-Password
		secdesc.MustGUID("ab721a55-1e2f-11d0-9819-00aa0040529b"): true, // Send-To
		secdesc.MustGUID("edacfd8f-ffb3-11d1-b41d-00a0c968f939"): true, // Apply-Group-Policy
	}
	for id := range forest.ID(r.s.Len()) {
		d, st := r.s.Descriptor(id)
		if st != forest.Known {
			continue
		}
		sids := map[secdesc.SID]bool{d.Owner: true}
		if d.DACL == nil {
			sids[secdesc.Everyone] = true
			r.named[secdesc.Everyone] = append(r.named[secdesc.Everyone], id)
			continue
		}
		for _, a := range d.DACL.ACEs {
			if a.IsAllow() && a.InEffect() && a.Mask.MapGeneric()&power != 0 && !useless[a.ObjectType] {
				sids[a.SID] = true
			}
		}
		for sid := range sids {
			r.named[sid] = append(r.named[sid], id)
		}
	}
}

func (h *hoard) has(goals []forest.ID) bool {
	for _, g := range goals {
		if h.objects[g] || h.writes[g] {
			return true
		}
		if !h.r.groups[g] {
			continue
		}
		for _, a := range h.own {
			for _, e := range h.extras(a) {
				if h.r.token(a, [2]forest.ID{e, forest.None}, h.r.domain[g])[h.r.s.SID(g)] {
					return true
				}
			}
		}
	}
	return false
}

func (r *reference) isAccount(id forest.ID) bool { return r.logons[id] }

// extras lists the memberships that the attacker can give to account a; None
// first.
func (h *hoard) extras(a forest.ID) []forest.ID {
	out := []forest.ID{forest.None}
	for g := range h.writes {
		if h.r.groups[g] {
			out = append(out, g)
		}
	}
	for key := range h.joins {
		if key[0] == a && !h.writes[key[1]] {
			out = append(out, key[1])
		}
	}
	return out
}

func (h *hoard) gain(m map[forest.ID]bool, id forest.ID) {
	if !m[id] {
		m[id] = true
		h.grown = true
		if h.r.isAccount(id) && h.objects[id] && !slices.Contains(h.own, id) {
			h.own = append(h.own, id)
		}
	}
}

// anyone reports whether the attacker has an account that, with at most two
// memberships that it can give it, has all of some rights on id.
func (h *hoard) anyone(id forest.ID, d *secdesc.Descriptor, want ...secdesc.Request) bool {
	for _, a := range h.acting {
		if h.account(a, id, d, want...) {
			return true
		}
	}
	return false
}

func (h *hoard) account(a, id forest.ID, d *secdesc.Descriptor, want ...secdesc.Request) bool {
	domains := []int{h.r.domain[id]}
	if domains[0] < 0 { // every domain controller holds it
		for i := range h.r.s.Domains() {
			domains = append(domains, i)
		}
	}
	extras := h.extras(a)
	for _, dom := range domains {
		for i, x := range extras {
			for _, y := range extras[:i+1] {
				if h.allowed(h.r.token(a, [2]forest.ID{x, y}, dom), id, a, d, want) {
					return true
				}
				if len(want) == 1 && y == forest.None {
					break // one entry grants one right: one membership will do
				}
			}
		}
	}
	return false
}

func (h *hoard) allowed(token map[secdesc.SID]bool, id, a forest.ID, d *secdesc.Descriptor, want []secdesc.Request) bool {
	holds := func(sid secdesc.SID) bool {
		if sid == secdesc.Self {
			return id == a
		}
		return token[sid]
	}
	for _, w := range want {
		switch d.Access(holds, w).Outcome {
		case secdesc.Granted:
		case secdesc.Undecided:
			if !h.r.possible || d.DACL == nil {
				return false
			}
		default:
			return false
		}
	}
	return true
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

// object looks at what the descriptor of id gives, and would give if the container
// handed down what the attacker likes.
func (h *hoard) object(id forest.ID) {
	if h.objects[id] {
		return
	}
	d, st := h.r.s.Descriptor(id)
	if st != forest.Known {
		return
	}
	if h.acting = h.own; h.r.named != nil {
		slices.Sort(h.actors.over[id])
		h.actors.over[id] = slices.Compact(h.actors.over[id])
		h.acting = h.actors.over[id]
	}
	h.rights(id, d)
	h.acting = h.own
	if p := h.r.s.Parent(id); p != forest.None && h.objects[p] && !d.Control.Has(secdesc.DACLProtected) {
		h.rights(id, handedDown(d))
	}
}

// rights looks at what the descriptor d gives over id.
func (h *hoard) rights(id forest.ID, d *secdesc.Descriptor) {
	if h.objects[id] {
		return
	}
	if h.controls(id, d) {
		h.control(id)
		return
	}
	if h.r.groups[id] {
		h.group(id, d)
	}
	if w, ok := h.r.write(id, "gPLink"); ok && h.r.takesLinks(id) && !h.links[id] && h.anyone(id, d, w) {
		h.gain(h.links, id)
	}
}

func (r *reference) takesLinks(id forest.ID) bool {
	return r.s.IsA(id, "organizationalUnit") || r.s.IsA(id, "domainDNS")
}

// control notes that the attacker has full control of id.
func (h *hoard) control(id forest.ID) {
	h.gain(h.objects, id)
	if h.r.groups[id] {
		h.gain(h.writes, id)
	}
	if h.r.takesLinks(id) {
		h.gain(h.links, id)
	}
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

func (h *hoard) group(id forest.ID, d *secdesc.Descriptor) {
	if w, ok := h.r.write(id, "member"); ok && !h.writes[id] && h.anyone(id, d, w) {
		h.gain(h.writes, id)
	}
	self := h.r.on(id, secdesc.SelfWrite, secdesc.MustGUID(refGUIDMember))
	for _, a := range h.acting {
		key := [2]forest.ID{a, id}
		mine := d
		if d.DACL != nil && limitsOwners(d) && h.account(a, id, d, h.r.on(id, secdesc.WriteOwner)) {
			mine = d.Clone()
			mine.Owner = h.r.s.SID(a) // it may do what owners may
			if w, ok := h.r.write(id, "member"); ok && h.account(a, id, mine, w) {
				h.gain(h.writes, id)
			}
		}
		if !h.joins[key] && (h.account(a, id, d, self) || h.account(a, id, mine, self)) {
			h.joins[key] = true
			h.grown = true
		}
	}
}

// controls reports whether the attacker gains control of id by the descriptor d, of
// an account its identity.
func (h *hoard) controls(id forest.ID, d *secdesc.Descriptor) bool {
	own := d
	if d.DACL != nil && h.r.blocked(id, d.Owner) && !limitsOwners(d) {
		own = d.Clone()
		own.Owner = secdesc.SID{} // who owns it may do no more for that
	}
	if h.anyone(id, own, h.r.on(id, secdesc.WriteDAC)) || h.takes(id, d) {
		return true
	}
	for _, want := range h.r.powers(id) {
		if h.anyone(id, d, want...) {
			return true
		}
	}
	return false
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

// takes reports whether the attacker can make itself the owner, and what owners may
// do is enough.
func (h *hoard) takes(id forest.ID, d *secdesc.Descriptor) bool {
	take := h.r.on(id, secdesc.WriteOwner)
	if d.DACL == nil || !h.anyone(id, d, take) {
		return false
	}
	if !limitsOwners(d) {
		return !h.r.blocked(id, secdesc.SID{})
	}
	wants := append(h.r.powers(id), []secdesc.Request{h.r.on(id, secdesc.WriteDAC)})
	for _, a := range h.acting {
		if !h.account(a, id, d, take) {
			continue
		}
		mine := d.Clone()
		mine.Owner = h.r.s.SID(a)
		for _, w := range wants {
			if h.account(a, id, mine, w...) {
				return true
			}
		}
	}
	return false
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

// structure adds what attributes and the workings of the directory give.
func (h *hoard) structure() {
	s := h.r.s
	for i, d := range s.Domains() {
		if d.Head == forest.None {
			continue
		}
		if h.objects[d.Head] {
			for _, other := range s.Domains() { // of one forest: nothing filters SIDs between them
				if other.Head != forest.None {
					h.control(other.Head)
				}
			}
			for _, a := range h.r.accounts {
				if h.r.domain[a] == i {
					h.gain(h.objects, a)
				}
			}
		}
		for _, a := range slices.Clone(h.own) {
			uac, _ := s.Int(a, forest.UserAccountControl)
			if h.r.possible && h.r.isAccount(a) && h.r.domain[a] == i && uac&0x80000 != 0 && uac&0x2 == 0 {
				h.control(d.Head) // its domain controllers may be made to connect
			}
			dc := slices.ContainsFunc(h.r.up[a], func(g forest.ID) bool { return s.SID(g) == d.SID.Child(516) })
			if h.r.isAccount(a) && (dc || s.SID(a) == d.SID.Child(502)) {
				h.control(d.Head)
			}
		}
		if holder := s.Lookup("CN=AdminSDHolder,CN=System," + d.DN); holder != forest.None && h.objects[holder] {
			for _, id := range h.r.protectedIn(i, d) {
				h.control(id)
			}
		}
	}
	for ou := range h.links {
		for _, a := range h.r.accounts {
			if a > ou && a < s.SubtreeEnd(ou) && h.r.domain[a] == h.r.domain[ou] {
				h.gain(h.objects, a)
			}
		}
	}
	h.acting = h.own
	for _, id := range s.With(forest.MsDSGroupMSAMembership) {
		if d, st := s.Desc(id, forest.MsDSGroupMSAMembership); st == forest.Known && h.anyone(id, d, h.r.on(id, secdesc.ReadProperty)) {
			h.gain(h.objects, id)
		}
	}
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
	for i := 0; i < len(queue); i++ {
		for m, ups := range r.up {
			if slices.Contains(ups, queue[i]) && (r.groups[m] || r.isAccount(m)) {
				take(m)
			}
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
