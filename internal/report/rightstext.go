package report

import (
	"io"
	"strconv"
	"strings"
)

// Text writes the rights for reading in a terminal: what cannot be decided
// first, then each right with its winner and losers, local groups and policies.
func (r *Rights) Text(w io.Writer, s Screen) error {
	p := &page{screen: s}
	c := r.Computer
	p.line("%s", p.strong("Resultant user rights of "+visible(c.Name)))
	kind := "member computer"
	if c.DomainController {
		kind = "domain controller"
	}
	p.line("%s, %s in %s%s", visible(c.DN), kind, visible(c.Container), siteWords(c.Site))
	if r.Undecided > 0 || len(r.Problems) > 0 {
		p.heading(p.ink(yellow, "Not everything could be decided: "+plural(r.Undecided, "right is", "rights are")+" undecided."))
		for _, problem := range r.Problems {
			p.line("  - %s", visible(problem))
		}
	}
	p.rights(r)
	p.localGroups(r)
	p.policies(r)
	return p.flush(w, "rights")
}

func siteWords(site string) string {
	if site == "" {
		return ", site unknown"
	}
	return ", site " + visible(site)
}

func (p *page) rights(r *Rights) {
	p.heading("User rights that policy sets")
	var rows [][]cellInk
	for _, st := range r.Rights {
		holders, winner := cellInk{names(st.Principals), ""}, "-"
		switch st.State {
		case "undecided":
			holders = cellInk{"undecided", yellow}
		case "not defined":
			holders = cellInk{"no policy sets it: the computer's own policy stays", gray}
		default:
			winner = visible(st.Winner.Policy)
		}
		rows = append(rows, []cellInk{{visible(st.Name), ""}, holders, {winner, ""}, {strconv.Itoa(len(st.Losers)), ""}})
	}
	p.grid([]string{"Right", "Holders", "Set by", "Overridden"}, rows)
	for _, st := range r.Rights {
		if st.State == "undecided" || len(st.Losers) > 0 || p.screen.Evidence && st.Winner != nil {
			p.setting(st)
		}
	}
}

// setting writes how one right came about.
func (p *page) setting(st RightsSetting) {
	p.heading(visible(st.Name) + ": " + st.State)
	if st.Winner != nil {
		p.line("  %s %s", p.ink(green, "set by"), st.Winner.where())
		p.line("      %s", names(st.Principals))
	}
	for _, o := range st.Outcomes {
		when := "otherwise"
		if len(o.When) > 0 {
			when = "if " + strings.Join(visibleAll(o.When), " and ")
		}
		p.line("  %s %s: %s", p.ink(yellow, "may be"), o.State, when)
		if o.Source != nil {
			p.line("      %s", o.Source.where())
		}
		if o.State == "defined" {
			p.line("      %s", names(o.Principals))
		}
	}
	for _, l := range st.Losers {
		p.line("  %s %s: %s", p.ink(gray, "overridden"), l.where(), visible(l.Why))
		p.line("      %s", names(l.Principals))
	}
	for _, reason := range st.Reasons {
		p.line("  %s %s", p.ink(yellow, "missing:"), visible(reason))
	}
}

func (p *page) localGroups(r *Rights) {
	p.heading("Local groups as far as policy determines them")
	if len(r.Groups) == 0 {
		p.line("No policy determines any.")
		return
	}
	exact := map[string]string{"yes": "exactly these", "no": "at least these", "unknown": "perhaps more"}
	var rows [][]cellInk
	for _, g := range r.Groups {
		for _, m := range g.Members {
			by := "-"
			switch {
			case m.Default:
				by = "default on joining the domain"
			case m.Source != nil:
				by = m.Source.where()
			}
			in := cellInk{m.In, inkIf(m.In == "unknown", yellow)}
			rows = append(rows, []cellInk{{visible(g.Group.Name), ""}, {exact[g.Exact], ""}, {names([]RightsPrincipal{m.RightsPrincipal}), ""}, in, {by, ""}})
		}
		if len(g.Members) == 0 {
			rows = append(rows, plain(visible(g.Group.Name), exact[g.Exact], "nobody", "-", "-"))
		}
	}
	p.grid([]string{"Group", "List", "Member", "In", "By"}, rows)
	for _, g := range r.Groups {
		for _, problem := range g.Problems {
			p.line("%s: %s", visible(g.Group.Name), p.ink(yellow, visible(problem)))
		}
	}
}

func (p *page) policies(r *Rights) {
	p.heading("Policies, in order of application: the last one wins")
	var rows [][]cellInk
	row := func(state cellInk, pol RightsPolicy, note string) {
		name := pol.Policy
		if name == "" {
			name = "unreadable"
		}
		rows = append(rows, []cellInk{state, {visible(name), ""}, {visible(pol.LinkedTo), ""}, {strconv.Itoa(pol.Order), ""}, {map[bool]string{true: "yes", false: "no"}[pol.Enforced], ""}, {note, ""}})
	}
	for _, a := range r.Applied {
		state := cellInk{"applied", green}
		if len(a.When) > 0 || a.Policy == "" {
			state = cellInk{"perhaps", yellow}
		}
		row(state, a, strings.Join(visibleAll(a.When), "; "))
	}
	for _, x := range r.Rejected {
		row(cellInk{"not applied", gray}, x.RightsPolicy, visible(x.Why))
	}
	p.grid([]string{"State", "Policy", "Linked to", "Order", "Enforced", "Why"}, rows)
}
