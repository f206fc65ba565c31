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
	soms   []forest.ID
	broken string // why containers above are missing; empty if the chain reaches the domain
}

// container is where the computers of the chain are, as policy sees it.
func (c *chain) container() forest.ID { return c.soms[len(c.soms)-1] }

// chainOf finds the chain of the objects in a container ([MS-GPOL] 3.2.5.1.3).
// Containers that are neither organizational units nor the domain do not count.
// It is nil if nothing above can carry links.
func (e *Engine) chainOf(container forest.ID) *chain {
	if container == forest.None {
		return nil
	}
	if c, ok := e.chains[container]; ok {
		return c
	}
	c := &chain{}
	reached := false
	for id := container; id != forest.None && !reached; id = e.s.Parent(id) {
		switch {
		case e.s.IsA(id, "organizationalUnit"):
			c.soms = append(c.soms, id)
		case e.s.IsA(id, "domainDNS"):
			c.soms = append(c.soms, id)
			reached = true
		}
	}
	if len(c.soms) == 0 {
		e.chains[container] = nil
		return nil
	}
	slices.Reverse(c.soms)
	c.domain, _ = e.s.DomainOf(c.soms[0])
	if !reached {
		c.broken = "the containers above " + e.s.DN(c.soms[0]) + " are not part of this snapshot"
	}
	e.chains[container] = c
	return c
}

// planKey names a plan: a chain's container and a site.
type planKey struct {
	container, site forest.ID
}

// plan is what can be said of a container and site without a token.
type plan struct {
	chain    *chain
	site     forest.ID // forest.None if unknown
	entries  []entry   // in order of application
	filtered []*Policy // distinct policies whose filter must be asked
	sids     []secdesc.SID
	problems []string
}

// planFor returns the plan of a computer; nil if it is in no domain.
func (e *Engine) planFor(id forest.ID, dc bool) *plan {
	c := e.chainOf(e.s.Parent(id))
	if c == nil {
		return nil
	}
	key := planKey{c.container(), e.siteOf(id, dc)}
	p, ok := e.plans[key]
	if !ok {
		p = e.makePlan(c, key.site)
		e.plans[key] = p
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
		level := OULevel
		if e.s.IsA(c.soms[i], "domainDNS") {
			level = DomainLevel
		}
		n, f := e.links(p, c.soms[i], level)
		normal = append(normal, block(e.s, n, blockedBy, unsure))
		enforced = append(enforced, f)
		v, st := e.s.Int(c.soms[i], forest.GPOptions)
		switch {
		case st == forest.Unreadable:
			unsure = append(unsure, fmt.Sprintf("%s does not block inheritance (%s)", e.s.DN(c.soms[i]), e.s.Why(c.soms[i], forest.GPOptions)))
		case v&1 != 0 && blockedBy == forest.None:
			blockedBy = c.soms[i]
		}
	}
	if c.broken != "" {
		p.problems = append(p.problems, c.broken)
		x := []entry{{when: []string{"policies linked further out apply (" + c.broken + ")"}, link: Link{Container: forest.None, Level: DomainLevel}}}
		normal, enforced = append(normal, block(e.s, x, blockedBy, unsure)), append(enforced, x)
	}
	n, f := e.siteLinks(p, site)
	normal, enforced = append(normal, block(e.s, n, blockedBy, unsure)), append(enforced, f)
	slices.Reverse(normal)
	p.entries = append(slices.Concat(normal...), slices.Concat(enforced...)...)
	p.collectFilters()
	return p
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
		x := entry{link: Link{Container: container, DN: e.s.DN(container), Level: level}, when: []string{"policies apply whose links are unknown (" + unread + ")"}}
		y := x
		y.link.Enforced = true
		return []entry{x}, []entry{y}
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
				p.sids = append(p.sids, sid)
			}
		}
	}
}

// findSites lists the sites, and the sites of domain controllers.
func (e *Engine) findSites() {
	e.dcSites = map[forest.ID]forest.ID{}
	kinds := map[*string]bool{}
	for id := range forest.ID(e.s.Len()) {
		classes := e.s.Classes(id)
		if len(classes) == 0 {
			continue
		}
		site, seen := kinds[&classes[0]]
		if !seen {
			site = strings.EqualFold(classes[len(classes)-1], "site")
			kinds[&classes[0]] = site
		}
		if site {
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
	if e.declared != nil {
		if site := e.declared(id); site != forest.None {
			return site
		}
	}
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
		x := entry{link: Link{Container: forest.None, Level: SiteLevel}, when: []string{"policies of the computer's site apply (" + why + ")"}}
		y := x
		y.link.Enforced = true
		return []entry{x}, []entry{y}
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
