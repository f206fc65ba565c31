package gpo

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// chain is the path of containers whose policies reach a computer, without its
// site: the domain, then organizational units from the outermost inwards.
type chain struct {
	domain forest.Domain
	soms   []som // never empty
}

// som is a scope of management, or a place where there may be one.
type som struct {
	id     forest.ID // forest.None: containers that are not part of the snapshot
	unread string    // why its links and options are unknown; empty if they can be asked for
}

// container is where the computers of the chain are, as policy sees it: the
// innermost scope of management that is part of the snapshot, or forest.None.
func (c *chain) container() forest.ID {
	for i := len(c.soms) - 1; i >= 0; i-- {
		if c.soms[i].id != forest.None {
			return c.soms[i].id
		}
	}
	return forest.None
}

// chainKey names the chain of the computers in a container; hidden if there are
// containers between it and them that are not part of the snapshot.
type chainKey struct {
	container forest.ID
	hidden    bool
}

// chainOf finds the chain of a computer ([MS-GPOL] 3.2.5.1.3). Containers that are
// neither organizational units nor the domain do not count; those that could not
// be read may be either. It is nil for a computer outside all domains.
func (e *Engine) chainOf(computer forest.ID) *chain {
	key := chainKey{container: e.s.Parent(computer)}
	if key.container == forest.None {
		key = chainKey{e.s.Ancestor(computer), true}
	}
	c, ok := e.chains[key]
	if !ok {
		c = e.makeChain(computer)
		e.chains[key] = c
	}
	return c
}

func (e *Engine) makeChain(computer forest.ID) *chain {
	c := &chain{}
	for id := computer; ; {
		up := e.s.Parent(id)
		if up == forest.None {
			above := e.s.DN(id)
			if id == computer {
				above = "the computer" // its neighbours share the chain
			}
			c.soms = append(c.soms, som{forest.None, "the containers above " + above + " are not part of this snapshot"})
			if up = e.s.Ancestor(id); up == forest.None {
				break
			}
		}
		id = up
		switch {
		case e.s.IsA(id, "organizationalUnit"):
			c.soms = append(c.soms, som{id: id})
		case len(e.s.Classes(id)) == 0:
			c.soms = append(c.soms, som{id, "the class of " + e.s.DN(id) + " could not be read"})
		case e.s.IsA(id, "configuration"):
			return nil
		}
		if e.s.IsA(id, "domainDNS") {
			c.soms = append(c.soms, som{id: id})
			c.domain, _ = e.s.DomainOf(id)
			break
		}
	}
	slices.Reverse(c.soms)
	return c
}

// planKey names a plan: a chain's container and a site.
type planKey struct {
	container forest.ID
	hidden    bool // there are containers further in that are not part of the snapshot
	site      forest.ID
}

// plan is what can be said of a container and site without a token.
type plan struct {
	chain    *chain
	site     forest.ID // forest.None if unknown
	entries  []entry   // in order of application
	filtered []*Policy // distinct policies whose filter must be asked
	sids     []secdesc.SID
	always   []bool // by position in sids: every token holds it
	problems []string
}

// planFor returns the plan of a computer; nil if it is in no domain.
func (e *Engine) planFor(id forest.ID, dc bool) *plan {
	in := chainKey{container: e.s.Parent(id)}
	if e.last.plan != nil && e.last.key == in && !dc && in.container != forest.None {
		return e.last.plan
	}
	c := e.chainOf(id)
	if c == nil {
		return nil
	}
	e.last.key = in
	key := planKey{c.container(), c.soms[len(c.soms)-1].id == forest.None, e.siteOf(id, dc)}
	p, ok := e.plans[key]
	if !ok {
		p = e.makePlan(c, key.site)
		e.plans[key] = p
	}
	if e.last.plan = p; dc { // its site may be another than that of its neighbours
		e.last.plan = nil
	}
	return p
}

// makePlan orders the links of a chain and its site: normal ones from the site to
// the innermost container, then enforced ones the other way round, so that the
// outermost enforced link is applied last and wins.
func (e *Engine) makePlan(c *chain, site forest.ID) *plan {
	p := &plan{chain: c, site: site}
	var normal, enforced [][]entry // one list per container, innermost first
	var unsure []string            // conditions under which normal links further out apply
	blockedBy := forest.None
	for i := len(c.soms) - 1; i >= 0; i-- {
		x := c.soms[i]
		n, f := e.linksOf(p, x)
		normal = append(normal, block(e.s, n, blockedBy, unsure))
		enforced = append(enforced, f)
		blocks, why := e.blocks(x)
		switch {
		case why != "":
			unsure = append(unsure, why)
		case blocks && blockedBy == forest.None:
			blockedBy = x.id
		}
	}
	n, f := e.siteLinks(p, site)
	normal, enforced = append(normal, block(e.s, n, blockedBy, unsure)), append(enforced, f)
	slices.Reverse(normal)
	p.entries = append(slices.Concat(normal...), slices.Concat(enforced...)...)
	p.collectFilters()
	return p
}

// linksOf returns the links of a scope of management.
func (e *Engine) linksOf(p *plan, x som) (normal, enforced []entry) {
	level := OULevel
	if x.id != forest.None && e.s.IsA(x.id, "domainDNS") {
		level = DomainLevel
	}
	if x.unread == "" {
		return e.links(p, x.id, level)
	}
	p.problems = append(p.problems, x.unread)
	return e.anyLinks(x.id, level, x.unread)
}

// anyLinks stands for the links of a container of which nothing is known.
func (e *Engine) anyLinks(container forest.ID, level Level, unread string) (normal, enforced []entry) {
	x := entry{link: Link{Container: container, Level: level}, when: []string{"policies apply whose links are unknown (" + unread + ")"}}
	if container != forest.None {
		x.link.DN = e.s.DN(container)
	}
	y := x
	y.link.Enforced = true
	return []entry{x}, []entry{y}
}

// blocks reports whether a scope of management blocks inheritance; unsure is the
// condition under which it does not, if that is unknown.
func (e *Engine) blocks(x som) (yes bool, unsure string) {
	name, why := "the containers in between do", x.unread
	if x.id != forest.None {
		name = e.s.DN(x.id) + " does"
	}
	if why == "" {
		v, st := e.s.Int(x.id, forest.GPOptions)
		if st != forest.Unreadable {
			return v&1 != 0, ""
		}
		why = e.s.Why(x.id, forest.GPOptions)
	}
	return false, fmt.Sprintf("%s not block inheritance (%s)", name, why)
}

// block rejects normal links that a container further in blocks.
func block(s *forest.Snapshot, list []entry, by forest.ID, unsure []string) []entry {
	for i := range list {
		x := &list[i]
		x.when = append(slices.Clone(x.when), unsure...)
		if by == forest.None || x.rejected != nil {
			continue
		}
		x.rejected = &Rejected{Policy: x.policy, Link: x.link, Reason: Blocked, ACE: -1, Text: "inheritance is blocked by " + s.DN(by)}
	}
	return list
}

// links returns the links of a container in order of application: of one gPLink
// the left-most first, so that link order 1, the right-most, is applied last.
func (e *Engine) links(p *plan, container forest.ID, level Level) (normal, enforced []entry) {
	text, st := e.s.Str(container, forest.GPLink)
	if st == forest.Absent {
		return nil, nil
	}
	unread := ""
	list, err := ParseLinks(text)
	switch {
	case st == forest.Unreadable:
		unread = fmt.Sprintf("the links of %s could not be read: %s", e.s.DN(container), e.s.Why(container, forest.GPLink))
	case err != nil:
		unread = fmt.Sprintf("the links of %s: %v", e.s.DN(container), err)
	}
	if unread != "" {
		p.problems = append(p.problems, unread)
		return e.anyLinks(container, level, unread)
	}
	for i, l := range list {
		x := entry{policy: e.policy(l.DN), link: Link{
			Container: container, DN: e.s.DN(container), Level: level, Order: len(list) - i,
			Enforced: l.Flags&LinkFlagEnforced != 0, Disabled: l.Flags&LinkFlagDisabled != 0,
		}}
		x.when = slices.Clone(x.policy.maybe)
		x.reject()
		if x.link.Enforced {
			enforced = append(enforced, x)
		} else {
			normal = append(normal, x)
		}
	}
	return normal, enforced
}

// reject decides what can be decided without knowing the computer.
func (x *entry) reject() {
	switch {
	case x.link.Disabled:
		x.rejected = &Rejected{Policy: x.policy, Link: x.link, Reason: LinkDisabled, ACE: -1, Text: "the link is disabled"}
	case x.policy.denied != nil:
		r := *x.policy.denied
		r.Link = x.link
		x.rejected = &r
	}
}

// collectFilters notes which policies depend on the token, and on what in it.
func (p *plan) collectFilters() {
	seen := map[secdesc.SID]bool{}
	for _, x := range p.entries {
		if x.policy == nil || x.rejected != nil || slices.Contains(p.filtered, x.policy) {
			continue
		}
		p.filtered = append(p.filtered, x.policy)
		for _, sid := range x.policy.filter.sids() {
			if !seen[sid] {
				seen[sid] = true
				p.sids, p.always = append(p.sids, sid), append(p.always, everyToken[sid])
			}
		}
	}
}

// findSites lists the sites, and the sites of domain controllers.
func (e *Engine) findSites() {
	e.dcSites = map[forest.ID]forest.ID{}
	kinds := map[*string]bool{}
	for id := range forest.ID(e.s.Len()) {
		if e.kind(kinds, id, func(classes []string) bool { return strings.EqualFold(classes[len(classes)-1], "site") }) {
			e.sites = append(e.sites, id)
		}
	}
	for _, server := range e.s.With(forest.ServerReference) {
		targets, _ := e.s.Links(server, forest.ServerReference)
		for site := e.s.Parent(server); site != forest.None; site = e.s.Parent(site) {
			if !slices.Contains(e.sites, site) {
				continue
			}
			for _, dc := range targets {
				e.dcSites[dc] = site
			}
			break
		}
	}
}

// siteOf returns the site of a computer if it is known, or forest.None.
func (e *Engine) siteOf(id forest.ID, dc bool) forest.ID {
	if dc {
		if site, ok := e.dcSites[id]; ok {
			return site
		}
	}
	if len(e.sites) == 1 {
		return e.sites[0]
	}
	return forest.None
}

// siteLinks returns the links of a site, or, if it is unknown, those of every
// site under the condition that it is the one.
func (e *Engine) siteLinks(p *plan, site forest.ID) (normal, enforced []entry) {
	switch {
	case site != forest.None:
		return e.links(p, site, SiteLevel)
	case len(e.sites) == 0:
		why := "the sites of the forest are not part of this snapshot"
		p.problems = append(p.problems, why)
		return e.anyLinks(forest.None, SiteLevel, why)
	}
	for _, s := range e.sites {
		n, f := e.links(p, s, SiteLevel)
		for _, list := range [][]entry{n, f} {
			for i := range list {
				list[i].when = append(list[i].when, "the computer is in site "+e.s.Name(s)+" (its site is unknown)")
			}
		}
		normal, enforced = append(normal, n...), append(enforced, f...)
	}
	return normal, enforced
}
