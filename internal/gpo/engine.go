package gpo

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Tokens tells what the access tokens of computers hold. It must answer for
// groups through any nesting and for the primary group. It is asked neither for
// the computer's own SID nor for identities that every computer holds.
type Tokens interface {
	Holds(computer forest.ID, sid secdesc.SID) bool
	// Unsure says why false from Holds may be wrong for this SID, because what
	// would tell was not read; "" if false is certain.
	Unsure(sid secdesc.SID) string
}

// Holders is implemented by Tokens that can be asked for many computers at once.
type Holders interface {
	// Holders returns Holds for one SID.
	Holders(sid secdesc.SID) func(computer forest.ID) bool
}

// Identities that the token of every domain computer holds.
var everyToken = map[secdesc.SID]bool{
	secdesc.MustSID("S-1-1-0"):  true, // Everyone
	secdesc.MustSID("S-1-5-2"):  true, // NETWORK
	secdesc.MustSID("S-1-5-11"): true, // Authenticated Users
	secdesc.MustSID("S-1-5-15"): true, // This Organization
	secdesc.MustSID("S-1-18-1"): true, // Authentication authority asserted identity
}

var enterpriseDCs = secdesc.MustSID("S-1-5-9")

// Flags of userAccountControl ([MS-ADTS] 2.2.16).
const (
	serverTrustAccount    = 0x2000
	partialSecretsAccount = 0x4000000
)

// An Engine answers for the computers of one snapshot. It is safe for concurrent
// use.
type Engine struct {
	s        *forest.Snapshot
	tokens   Tokens
	names    *resolver
	policies map[string]*Policy // by lower-case DN as linked, and as stored
	sites    []forest.ID
	dcSites  map[forest.ID]forest.ID
	chains   map[chainKey]*chain
	plans    map[planKey]*plan

	scopes    []*scope
	scopeOf   []int32 // by ID: the scope, or noScope
	isOwn     bool    // of a view: scopeOf is no longer that of another engine
	interning map[scopeKey]ScopeID
	alike     func() []ScopeID
	named     func() map[secdesc.SID]bool

	// Only while placing computers.
	unsureOf map[secdesc.SID]string
	holders  map[secdesc.SID]func(forest.ID) bool
	asked    map[*plan][]func(forest.ID) bool // by position in plan.sids
	many     bool                             // computers are placed, and not a few
	last     struct {
		plan *plan
		key  chainKey
	}
}

const noScope ScopeID = -1

// scope is a set of computers that policy treats alike.
type scope struct {
	plan      *plan
	dc        bool
	verdicts  []verdict // by number of the policy in plan.filtered
	computers []forest.ID
	result    func() *Result
}

type scopeKey struct {
	plan     *plan
	dc       bool
	verdicts string
}

// New prepares the answers for all computers of s. It panics if t is nil.
//
// The directory tells the sites of domain controllers, and that of every computer in
// a forest that has only one; policies that are linked to a site may or may not apply
// to the others.
func New(s *forest.Snapshot, t Tokens) *Engine {
	if t == nil {
		panic("gpo.New: nil Tokens")
	}
	e := &Engine{
		s: s, tokens: t,
		policies:  map[string]*Policy{},
		chains:    map[chainKey]*chain{},
		plans:     map[planKey]*plan{},
		scopeOf:   make([]int32, s.Len()),
		interning: map[scopeKey]ScopeID{},
		unsureOf:  map[secdesc.SID]string{},
		holders:   map[secdesc.SID]func(forest.ID) bool{},
		asked:     map[*plan][]func(forest.ID) bool{},
		many:      true,
	}
	e.names = newResolver(s)
	e.findSites()
	e.placeComputers()
	e.holders, e.asked, e.many = nil, nil, false
	e.alike, e.named = sync.OnceValue(e.findAlike), sync.OnceValue(e.findNamed)
	kinds := map[*string]bool{}
	for id := range forest.ID(s.Len()) { // those that nothing links, too
		if e.kind(kinds, id, isPolicy) {
			e.policy(s.DN(id))
		}
	}
	return e
}

// Filters reports whether the filter of a linked policy names sid: whether policy
// depends on who holds it.
func (e *Engine) Filters(sid secdesc.SID) bool { return e.named()[sid] }

// findNamed lists the SIDs that filters of linked policies name.
func (e *Engine) findNamed() map[secdesc.SID]bool {
	out := map[secdesc.SID]bool{}
	for _, p := range e.plans {
		for _, sid := range p.sids {
			out[sid] = true
		}
	}
	return out
}

// Scopes returns the number of scopes: their IDs are 0 … Scopes()-1.
func (e *Engine) Scopes() int { return len(e.scopes) }

// Computers returns the computers of a scope, in ID order. The caller must not
// change the slice.
func (e *Engine) Computers(id ScopeID) []forest.ID { return e.scopes[id].computers }

// ScopeOf returns the scope of a computer; ok is false if the object is not a
// computer of a domain.
func (e *Engine) ScopeOf(computer forest.ID) (id ScopeID, ok bool) {
	id = ScopeID(e.scopeOf[computer])
	return max(id, 0), id != noScope
}

// Result returns the resultant set of policy of a scope. It is computed when it
// is first asked for.
func (e *Engine) Result(id ScopeID) *Result { return e.scopes[id].result() }

// Alike returns the first of the scopes with the result of this one: in the same
// container the same policies apply, or may, under the same conditions. Such scopes
// differ in their sites, which link nothing that tells them apart, or in why a
// policy is not applied.
func (e *Engine) Alike(id ScopeID) ScopeID { return e.alike()[id] }

func (e *Engine) findAlike() []ScopeID {
	type key struct {
		container, domain forest.ID
		dc                bool
		said              string
	}
	first := map[key]ScopeID{}
	out := make([]ScopeID, len(e.scopes))
	for id, sc := range e.scopes {
		var said strings.Builder
		for _, text := range sc.plan.problems {
			fmt.Fprintf(&said, "%q\n", text)
		}
		for _, x := range sc.plan.entries {
			if x = e.admit(sc, x); x.rejected == nil {
				fmt.Fprintf(&said, "%p %+v %q\n", x.policy, x.link, x.when)
			}
		}
		k := key{sc.plan.chain.container(), sc.plan.chain.domain.Head, sc.dc, said.String()}
		if _, ok := first[k]; !ok {
			first[k] = ScopeID(id)
		}
		out[id] = first[k]
	}
	return out
}

// Policies returns the policies of the snapshot, linked or not, and those that a
// container of the scopes links without their being there, ordered by
// distinguished name.
func (e *Engine) Policies() []*Policy {
	out := make([]*Policy, 0, len(e.policies))
	for _, p := range e.policies {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b *Policy) int { return strings.Compare(strings.ToLower(a.DN), strings.ToLower(b.DN)) })
	return out
}

// policy returns the policy that a link names.
func (e *Engine) policy(dn string) *Policy {
	key := strings.ToLower(dn)
	if p, ok := e.policies[key]; ok {
		return p
	}
	if id := e.s.Lookup(dn); id != forest.None {
		stored := strings.ToLower(e.s.DN(id))
		if p, ok := e.policies[stored]; ok {
			e.policies[key] = p
			return p
		}
		key = stored
	}
	p := loadPolicy(e.s, dn)
	e.policies[key] = p
	return p
}

// kind reports whether the classes of id are of a kind. Objects share their lists of
// classes, so kinds is by their first element.
func (e *Engine) kind(kinds map[*string]bool, id forest.ID, is func(classes []string) bool) bool {
	classes := e.s.Classes(id)
	if len(classes) == 0 {
		return false
	}
	yes, seen := kinds[&classes[0]]
	if !seen {
		yes = is(classes)
		kinds[&classes[0]] = yes
	}
	return yes
}

func isPolicy(classes []string) bool {
	return slices.ContainsFunc(classes, func(c string) bool { return strings.EqualFold(c, "groupPolicyContainer") })
}

// placeComputers finds the scope of every computer.
func (e *Engine) placeComputers() {
	kinds := map[*string]bool{}
	var buf []byte
	memo := map[tokenKey]ScopeID{}
	for i := range e.scopeOf {
		id := forest.ID(i)
		e.scopeOf[id] = int32(noScope)
		if !e.kind(kinds, id, isHost) {
			continue
		}
		if gone, _ := e.s.Bool(id, forest.IsDeleted); gone {
			continue
		}
		if sc := e.scopeFor(id, &buf, memo); sc != noScope {
			e.scopeOf[id] = int32(sc)
			e.scopes[sc].computers = append(e.scopes[sc].computers, id)
		}
	}
}

// isHost reports whether a class list is that of a computer that runs policy,
// which managed service accounts, though computers, do not.
func isHost(classes []string) bool {
	host := false
	for _, c := range classes {
		switch strings.ToLower(c) {
		case "computer":
			host = true
		case "msds-managedserviceaccount", "msds-groupmanagedserviceaccount", "msds-delegatedmanagedserviceaccount":
			return false
		}
	}
	return host
}

// tokenKey is a plan and what a token holds of the SIDs that its filters name.
type tokenKey struct {
	plan *plan
	role hostRole
	bits string
}

// hostRole says whether a computer is a domain controller, and whether its token
// holds Enterprise Domain Controllers, as that of one that is not read-only does.
type hostRole struct {
	dc         bool
	enterprise bool
	unsure     string // why enterprise may be wrong
}

// roleOf tells domain controllers by userAccountControl, or else by their primary
// group, or else by the server object of a site that refers to them.
func (e *Engine) roleOf(id forest.ID) hostRole {
	if uac, st := e.s.Int(id, forest.UserAccountControl); st == forest.Known {
		return hostRole{dc: uac&(serverTrustAccount|partialSecretsAccount) != 0, enterprise: uac&serverTrustAccount != 0}
	}
	if rid, st := e.s.Int(id, forest.PrimaryGroupID); st == forest.Known {
		return hostRole{dc: rid == 516 || rid == 521, enterprise: rid == 516}
	}
	_, dc := e.dcSites[id]
	return hostRole{dc: dc, unsure: "whether it is a writable domain controller: userAccountControl and primaryGroupID, " + e.s.Why(id, forest.UserAccountControl)}
}

// scopeFor finds or makes the scope of a computer; noScope if it is in no domain.
func (e *Engine) scopeFor(id forest.ID, buf *[]byte, memo map[tokenKey]ScopeID) ScopeID {
	role := e.roleOf(id)
	p := e.planFor(id, role.dc)
	if p == nil {
		return noScope
	}
	bits := (*buf)[:0]
	self := e.s.SID(id)
	for i := range p.sids {
		if i%8 == 0 {
			bits = append(bits, 0)
		}
		if e.holds(p, i, id, self, role) {
			bits[i/8] |= 1 << (i % 8)
		}
	}
	*buf = bits
	sc, ok := memo[tokenKey{p, role, string(bits)}]
	if !ok {
		sc = e.intern(p, role, bits)
		memo[tokenKey{p, role, string(bits)}] = sc
	}
	return sc
}

// holds reports whether a computer holds SID i of a plan.
func (e *Engine) holds(p *plan, i int, id forest.ID, self secdesc.SID, role hostRole) bool {
	sid := p.sids[i]
	switch {
	case p.always[i] || sid == self && !self.IsZero():
		return true
	case role.enterprise && sid == enterpriseDCs:
		return true
	}
	asked := e.asked[p]
	if asked == nil {
		asked = make([]func(forest.ID) bool, len(p.sids))
		e.asked[p] = asked
	}
	if asked[i] == nil {
		asked[i] = e.holderOf(sid)
	}
	return asked[i](id)
}

// holderOf returns how to ask who holds a SID.
func (e *Engine) holderOf(sid secdesc.SID) func(forest.ID) bool {
	one := func(id forest.ID) bool { return e.tokens.Holds(id, sid) }
	all, ok := e.tokens.(Holders)
	if !ok || !e.many {
		return one
	}
	if _, have := e.holders[sid]; !have {
		e.holders[sid] = all.Holders(sid)
	}
	return e.holders[sid]
}

// unsure asks once for each SID why it may be held although nothing says so.
func (e *Engine) unsure(sid secdesc.SID) string {
	why, ok := e.unsureOf[sid]
	if !ok && !everyToken[sid] && sid != enterpriseDCs {
		why = e.tokens.Unsure(sid)
		e.unsureOf[sid] = why
	}
	return why
}

// intern finds or makes the scope for a token.
func (e *Engine) intern(p *plan, role hostRole, bits []byte) ScopeID {
	held := make(map[secdesc.SID]bool, len(p.sids))
	for i, sid := range p.sids {
		held[sid] = bits[i/8]&(1<<(i%8)) != 0
	}
	holds := e.membership(role, held)
	verdicts := make([]verdict, len(p.filtered))
	for i, pol := range p.filtered {
		verdicts[i] = pol.filter.decide(holds)
	}
	k := scopeKey{p, role.dc, verdictKey(verdicts)}
	if id, ok := e.interning[k]; ok {
		return id
	}
	id := e.open(&scope{plan: p, dc: role.dc, verdicts: verdicts})
	e.interning[k] = id
	return id
}

// open adds a scope.
func (e *Engine) open(sc *scope) ScopeID {
	id := ScopeID(len(e.scopes))
	sc.result = sync.OnceValue(func() *Result { return e.compute(id, sc) })
	e.scopes = append(e.scopes, sc)
	return id
}
