package gpo

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Edits are what a view of a snapshot has otherwise, as far as it matters to the
// policy of computers. No object may have come or gone, and no policy or site moved.
type Edits struct {
	Moved     []forest.ID // objects that are in another container, with what is below them
	Links     []forest.ID // containers and sites that link other policies
	Filters   []forest.ID // policies that have other permissions
	Computers []forest.ID // those that have another place, or hold other groups that filters name
}

// With returns the engine of v, a view of the snapshot of e, in which t tells what
// tokens hold. It looks again only at what the edits concern; e stays. Scopes of e keep
// their IDs, and some may have lost all their computers or have come to be alike.
func (e *Engine) With(v *forest.Snapshot, t Tokens, edits Edits) *Engine {
	n := &Engine{
		s: v, tokens: t, names: newResolver(v),
		policies: maps.Clone(e.policies), sites: e.sites, dcSites: e.dcSites,
		chains: maps.Clone(e.chains), plans: maps.Clone(e.plans),
		scopes: slices.Clone(e.scopes), scopeOf: e.scopeOf, interning: maps.Clone(e.interning),
		unsureOf: map[secdesc.SID]string{}, holders: map[secdesc.SID]func(forest.ID) bool{},
		asked: map[*plan][]func(forest.ID) bool{}, many: true,
	}
	n.alike, n.named = sync.OnceValue(n.findAlike), sync.OnceValue(n.findNamed)
	for _, id := range edits.Moved {
		maps.DeleteFunc(n.chains, func(k chainKey, _ *chain) bool { return isUnder(v, k.container, id) })
		maps.DeleteFunc(n.plans, func(k planKey, _ *plan) bool { return isUnder(v, k.container, id) })
	}
	others := n.refilter(edits.Filters)
	n.replan(func(p *plan) bool { return p.isOf(edits.Links, n.sites) || p.names(others) }, others)
	n.asked, n.many = map[*plan][]func(forest.ID) bool{}, len(edits.Computers) > 1000
	n.replace(edits.Computers)
	n.holders, n.asked, n.many = nil, nil, false
	return n
}

// Shares reports whether the same policies apply in a scope of e and in that of another
// engine with the same number: e is a view of it, or the other way round.
func (e *Engine) Shares(of *Engine, id ScopeID) bool {
	if int(id) >= len(e.scopes) || int(id) >= len(of.scopes) {
		return false
	}
	a, b := e.scopes[id], of.scopes[id]
	return a == b || a.plan == b.plan && a.dc == b.dc && slices.Equal(a.verdicts, b.verdicts)
}

// isUnder reports whether c is id, or below it.
func isUnder(s *forest.Snapshot, c, id forest.ID) bool {
	for c != forest.None && c != id {
		c = s.Ancestor(c)
	}
	return c == id
}

// refilter gives policies the filters that their permissions make now, and returns
// those that are others, by what they were.
func (e *Engine) refilter(ids []forest.ID) map[*Policy]*Policy {
	others := map[*Policy]*Policy{}
	for dn, p := range e.policies {
		now, ok := others[p]
		if !ok {
			if p.ID == forest.None || !slices.Contains(ids, p.ID) {
				continue
			}
			d, st := e.s.Descriptor(p.ID)
			if st != forest.Known {
				continue // and so it was before
			}
			f := newFilter(d)
			if f.everyone == p.filter.everyone && slices.Equal(f.steps, p.filter.steps) {
				continue
			}
			q := *p
			q.filter = f
			if q.denied != nil {
				r := *q.denied
				r.Policy, q.denied = &q, &r
			}
			now = &q
			others[p] = now
		}
		e.policies[dn] = now
	}
	return others
}

// isOf reports whether the links of one of containers and sites are part of p.
func (p *plan) isOf(containers, sites []forest.ID) bool {
	for _, c := range containers {
		if slices.ContainsFunc(p.chain.soms, func(x som) bool { return x.id == c }) || p.site == c || p.site == forest.None && slices.Contains(sites, c) {
			return true
		}
	}
	return false
}

// names reports whether p has one of policies.
func (p *plan) names(policies map[*Policy]*Policy) bool {
	return len(policies) > 0 && slices.ContainsFunc(p.entries, func(x entry) bool { _, is := policies[x.policy]; return is })
}

// replan makes the plans anew that are stale, and their scopes with them. Of policies
// that are not others, a scope keeps the verdict.
func (e *Engine) replan(stale func(*plan) bool, others map[*Policy]*Policy) {
	made := map[*plan]*plan{}
	for key, p := range e.plans {
		if stale(p) {
			made[p] = e.makePlan(p.chain, p.site)
			e.plans[key] = made[p]
		}
	}
	if len(made) == 0 {
		return
	}
	maps.DeleteFunc(e.interning, func(k scopeKey, _ ScopeID) bool { return made[k.plan] != nil })
	for id, sc := range e.scopes {
		if p := made[sc.plan]; p != nil {
			e.rescope(ScopeID(id), sc, p)
		}
	}
}

// rescope gives the computers of a scope another plan. Where filters tell them apart
// that did not before, the scope is split.
func (e *Engine) rescope(id ScopeID, sc *scope, p *plan) {
	known := make([]int, len(p.filtered)) // position of the policy in the plan before, or -1
	var ask []int                         // positions in p.sids on which new verdicts depend
	for i, pol := range p.filtered {
		known[i] = slices.Index(sc.plan.filtered, pol)
		if known[i] >= 0 {
			continue
		}
		for _, sid := range pol.filter.sids() {
			if k := slices.Index(p.sids, sid); !p.always[k] && !slices.Contains(ask, k) {
				ask = append(ask, k)
			}
		}
	}
	verdicts := func(role hostRole, held map[secdesc.SID]bool) []verdict {
		out := make([]verdict, len(p.filtered))
		for i, pol := range p.filtered {
			if known[i] >= 0 {
				out[i] = sc.verdicts[known[i]]
			} else {
				out[i] = pol.filter.decide(e.membership(role, held))
			}
		}
		return out
	}
	if len(ask) == 0 || len(sc.computers) == 0 {
		e.settle(id, p, sc, verdicts(hostRole{dc: sc.dc}, nil), sc.computers)
		return
	}
	e.split(id, sc, p, ask, verdicts)
}

// membership says what a token holds that is told by held, and by its role.
func (e *Engine) membership(role hostRole, held map[secdesc.SID]bool) membership {
	return func(sid secdesc.SID) (Truth, string) {
		if held[sid] || everyToken[sid] {
			return Yes, ""
		}
		if sid == enterpriseDCs && role.unsure != "" {
			return Unknown, role.unsure
		}
		if why := e.unsure(sid); why != "" {
			return Unknown, why
		}
		return No, ""
	}
}

// split is the part of rescope for filters that name more than what every token holds.
func (e *Engine) split(id ScopeID, sc *scope, p *plan, ask []int, verdicts func(hostRole, map[secdesc.SID]bool) []verdict) {
	type token struct {
		role hostRole
		bits string
	}
	parts := map[token][]forest.ID{}
	var order []token
	bits := make([]byte, len(ask))
	for _, c := range sc.computers {
		role, self := e.roleOf(c), e.s.SID(c)
		for i, k := range ask {
			bits[i] = 0
			if e.holds(p, k, c, self, role) {
				bits[i] = 1
			}
		}
		list, seen := parts[token{role, string(bits)}]
		t := token{role, string(bits)}
		if !seen {
			order = append(order, t)
		}
		parts[t] = append(list, c)
	}
	scopes := map[string]ScopeID{}
	for i, t := range order {
		held := map[secdesc.SID]bool{}
		for k, at := range ask {
			held[p.sids[at]] = t.bits[k] == 1
		}
		v := verdicts(t.role, held)
		to, ok := scopes[verdictKey(v)]
		switch {
		case i == 0:
			to = id
			e.settle(id, p, sc, v, parts[t])
		case !ok:
			to = e.open(&scope{plan: p, dc: sc.dc, verdicts: v, computers: parts[t]})
			e.interning[scopeKey{p, sc.dc, verdictKey(v)}] = to
		default:
			list := append(slices.Clone(e.scopes[to].computers), parts[t]...)
			slices.Sort(list)
			e.scopes[to].computers = list
		}
		scopes[verdictKey(v)] = to
		if to != id {
			e.ownScopes()
			for _, c := range parts[t] {
				e.scopeOf[c] = int32(to)
			}
		}
	}
}

// settle puts a scope with other verdicts in the place of one.
func (e *Engine) settle(id ScopeID, p *plan, was *scope, v []verdict, computers []forest.ID) {
	sc := &scope{plan: p, dc: was.dc, verdicts: v, computers: computers}
	sc.result = sync.OnceValue(func() *Result { return e.compute(id, sc) })
	e.scopes[id] = sc
	if key := (scopeKey{p, was.dc, verdictKey(v)}); len(computers) > 0 {
		if _, ok := e.interning[key]; !ok {
			e.interning[key] = id
		}
	}
}

// ownScopes makes scopeOf the engine's own before it is written to.
func (e *Engine) ownScopes() {
	if !e.isOwn {
		e.isOwn, e.scopeOf = true, slices.Clone(e.scopeOf)
	}
}

// replace finds the scopes of computers anew.
func (e *Engine) replace(computers []forest.ID) {
	if len(computers) == 0 {
		return
	}
	e.ownScopes()
	left := map[ScopeID]map[forest.ID]bool{}
	for _, c := range computers {
		if sc := ScopeID(e.scopeOf[c]); sc != noScope {
			if left[sc] == nil {
				left[sc] = map[forest.ID]bool{}
			}
			left[sc][c] = true
			e.scopeOf[c] = int32(noScope)
		}
	}
	for id, gone := range left {
		sc := *e.scopes[id]
		sc.computers = slices.DeleteFunc(slices.Clone(sc.computers), func(c forest.ID) bool { return gone[c] })
		e.scopes[id] = &sc
	}
	var buf []byte
	memo := map[tokenKey]ScopeID{}
	came := map[ScopeID][]forest.ID{}
	for _, c := range computers {
		if gone, _ := e.s.Bool(c, forest.IsDeleted); gone || !isHost(e.s.Classes(c)) {
			continue
		}
		if sc := e.scopeFor(c, &buf, memo); sc != noScope {
			e.scopeOf[c] = int32(sc)
			came[sc] = append(came[sc], c)
		}
	}
	for id, list := range came {
		sc := *e.scopes[id]
		sc.computers = append(slices.Clone(sc.computers), list...)
		slices.Sort(sc.computers)
		e.scopes[id] = &sc
	}
}

// verdictKey tells verdicts apart.
func verdictKey(list []verdict) string {
	var key strings.Builder
	for _, v := range list {
		key.WriteByte(byte(v.pass))
		key.WriteByte(byte(v.reason))
	}
	return key.String()
}
