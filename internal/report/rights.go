package report

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/gpo"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Rights is what group policy gives one computer, in a form for reading and for
// JSON. Make one with NewRights.
type Rights struct {
	Version   int              `json:"version"` // 1; grows when a field changes its meaning or goes away
	Computer  RightsComputer   `json:"computer"`
	Applied   []RightsPolicy   `json:"applied"`  // in order of application: the last one wins
	Rejected  []RightsRejected `json:"rejected"` // linked, but not applied
	Rights    []RightsSetting  `json:"rights"`   // the rights of the guide first, then the others that a policy names
	Groups    []RightsGroup    `json:"groups"`
	Problems  []string         `json:"problems"` // what is wrong or unread
	Undecided int              `json:"undecided"`
}

// RightsComputer says what the answer is about.
type RightsComputer struct {
	Name             string `json:"name"`
	DN               string `json:"dn"`
	Domain           string `json:"domain"`
	Container        string `json:"container"`
	Site             string `json:"site,omitempty"` // DN; empty if unknown
	DomainController bool   `json:"domain_controller"`
}

// RightsPolicy is a policy with the link by which it applies.
type RightsPolicy struct {
	Policy   string   `json:"policy"` // name and GUID; empty if the policies could not be read
	DN       string   `json:"dn,omitempty"`
	LinkedTo string   `json:"linked_to"`
	Level    string   `json:"level"` // site, domain, organizational unit
	Order    int      `json:"order"` // link order as Windows shows it: 1 wins
	Enforced bool     `json:"enforced,omitempty"`
	When     []string `json:"when,omitempty"` // conditions that could not be decided
}

// RightsRejected is a policy that does not apply, and why.
type RightsRejected struct {
	RightsPolicy
	Why string `json:"why"`
}

// RightsSource says where a value stands.
type RightsSource struct {
	RightsPolicy
	File string `json:"file,omitempty"` // below the domain's SYSVOL folder
	Line int    `json:"line,omitempty"`
}

// RightsPrincipal is an entry on a list.
type RightsPrincipal struct {
	Name string `json:"name"`
	SID  string `json:"sid,omitempty"`
	Raw  string `json:"raw"` // as written
	Note string `json:"note,omitempty"`
}

// RightsSetting is one user right: who holds it, which policy says so, which lost.
type RightsSetting struct {
	Name       string            `json:"name"`
	State      string            `json:"state"` // defined, not defined, undecided
	Principals []RightsPrincipal `json:"principals"`
	Winner     *RightsSource     `json:"winner,omitempty"`
	Losers     []RightsLoser     `json:"losers"`
	Outcomes   []RightsOutcome   `json:"outcomes,omitempty"` // of an undecided right
	Reasons    []string          `json:"reasons,omitempty"`  // what would have to be known
}

// RightsLoser is a policy that would have set the right and was overridden.
type RightsLoser struct {
	RightsSource
	Principals []RightsPrincipal `json:"principals"`
	Why        string            `json:"why"`
}

// RightsOutcome is one value that an undecided right may have.
type RightsOutcome struct {
	State      string            `json:"state"` // defined, not defined, unreadable
	Principals []RightsPrincipal `json:"principals"`
	Source     *RightsSource     `json:"source,omitempty"`
	When       []string          `json:"when"`
}

// RightsGroup is a local group as far as policy determines it.
type RightsGroup struct {
	Group    RightsPrincipal `json:"group"`
	Exact    string          `json:"exact"` // yes: policy removes everyone else; no; unknown
	Members  []RightsMember  `json:"members"`
	Problems []string        `json:"problems"`
}

// RightsMember is a member of a local group.
type RightsMember struct {
	RightsPrincipal
	In      string        `json:"in"`                // yes, no, unknown
	Default bool          `json:"default,omitempty"` // by Windows on joining, not by policy
	Source  *RightsSource `json:"source,omitempty"`
	Reasons []string      `json:"reasons,omitempty"`
}

// NewRights puts the resultant r of computer's scope into words and names of s.
// Every right that the guide speaks of is listed, defined or not.
func NewRights(s *forest.Snapshot, computer forest.ID, r *gpo.Result) *Rights {
	n := rightsNames{s}
	out := &Rights{Version: 1, Computer: RightsComputer{
		Name: s.Name(computer), DN: s.DN(computer), Domain: r.Domain.DNS, Container: n.dn(r.Container),
		Site: n.dn(r.Site), DomainController: r.DC,
	}, Problems: list(r.Problems), Applied: []RightsPolicy{}, Rejected: []RightsRejected{}, Rights: []RightsSetting{}, Groups: []RightsGroup{}}
	for _, p := range r.Policies {
		out.Applied = append(out.Applied, linked(p.Policy, p.Link, p.When))
	}
	for _, p := range r.Rejected {
		out.Rejected = append(out.Rejected, RightsRejected{linked(p.Policy, p.Link, nil), p.Text})
	}
	var named []string
	for _, right := range userRights() {
		named = append(named, right.ID)
	}
	for _, st := range r.Rights() {
		if !slices.ContainsFunc(named, func(n string) bool { return strings.EqualFold(n, st.Name) }) {
			named = append(named, st.Name)
		}
	}
	for _, name := range named {
		st := r.Right(name)
		if st.State == gpo.Undecided {
			out.Undecided++
		}
		out.Rights = append(out.Rights, n.setting(name, st))
	}
	for _, g := range r.Groups() {
		out.Groups = append(out.Groups, n.group(g))
	}
	return out
}

// JSON writes the rights as indented JSON.
func (r *Rights) JSON(w io.Writer) error {
	if err := writeJSON(w, r); err != nil {
		return fmt.Errorf("writing rights as JSON: %w", err)
	}
	return nil
}

// rightsNames names the principals of policy files.
type rightsNames struct{ s *forest.Snapshot }

func (n rightsNames) dn(id forest.ID) string {
	if id == forest.None {
		return ""
	}
	return n.s.DN(id)
}

func (n rightsNames) principal(p gpo.Principal) RightsPrincipal {
	out := RightsPrincipal{Raw: p.Raw, Name: p.Raw, Note: p.Note}
	if !p.SID.IsZero() {
		out.SID = p.SID.String()
	}
	switch {
	case p.Kind == gpo.HostAccount:
		out.Name = strings.TrimPrefix(p.Raw, "*") + " (account of the computer itself)"
	case p.ID != forest.None:
		out.Name = n.account(p.ID)
	default:
		if known, ok := secdesc.WellKnownName(p.SID); ok {
			out.Name = known
		}
	}
	return out
}

// account is the name of an object as Windows shows it: domain\name.
func (n rightsNames) account(id forest.ID) string { return control.WayNames{Snapshot: n.s}.Account(id) }

func (n rightsNames) principals(list []gpo.Principal) []RightsPrincipal {
	out := make([]RightsPrincipal, len(list))
	for i, p := range list {
		out[i] = n.principal(p)
	}
	return out
}

func linked(p *gpo.Policy, l gpo.Link, when []string) RightsPolicy {
	out := RightsPolicy{LinkedTo: l.DN, Level: l.Level.String(), Order: l.Order, Enforced: l.Enforced, When: when}
	if p != nil {
		out.Policy, out.DN = p.String(), p.DN
	}
	return out
}

func source(s gpo.Source) RightsSource {
	return RightsSource{linked(s.Policy, s.Link, nil), s.File, s.Line}
}

func (n rightsNames) setting(name string, st gpo.Setting) RightsSetting {
	out := RightsSetting{Name: name, State: st.State.String(), Principals: n.principals(st.Principals), Losers: []RightsLoser{}, Reasons: st.Reasons}
	if st.State == gpo.Defined {
		w := source(st.Winner)
		out.Winner = &w
	}
	for _, l := range st.Losers {
		out.Losers = append(out.Losers, RightsLoser{source(l.Source), n.principals(l.Principals), l.Why})
	}
	if st.State != gpo.Undecided {
		return out
	}
	for _, o := range st.Outcomes {
		ro := RightsOutcome{State: "not defined", Principals: n.principals(o.Principals), When: list(o.When)}
		if o.Defined {
			src := source(o.Source)
			ro.State, ro.Source = "defined", &src
			if !o.Readable {
				ro.State = "unreadable"
			}
		}
		out.Outcomes = append(out.Outcomes, ro)
	}
	return out
}

func (n rightsNames) group(g gpo.LocalGroup) RightsGroup {
	out := RightsGroup{Group: n.principal(g.Group), Exact: g.Exact.String(), Members: []RightsMember{}, Problems: list(g.Problems)}
	for _, m := range g.Members {
		rm := RightsMember{RightsPrincipal: n.principal(m.Principal), In: m.In.String(), Default: m.Default, Reasons: m.Reasons}
		if m.Source.Policy != nil {
			src := source(m.Source)
			rm.Source = &src
		}
		out.Members = append(out.Members, rm)
	}
	return out
}

// where is the policy, file and line of a source in one string.
func (s RightsSource) where() string {
	name := s.Policy
	if name == "" {
		name = "policies that could not be read"
	}
	out := fmt.Sprintf("%s, linked to %s (%s, order %d%s)", visible(name), visible(s.LinkedTo), s.Level, s.Order, map[bool]string{true: ", enforced"}[s.Enforced])
	if s.File != "" {
		out += ", " + visible(s.File)
		if s.Line > 0 {
			out += ":" + strconv.Itoa(s.Line)
		}
	}
	return out
}

// names lists principals with what must be known about them; "nobody" if empty.
func names(list []RightsPrincipal) string {
	if len(list) == 0 {
		return "nobody"
	}
	parts := make([]string, len(list))
	for i, p := range list {
		parts[i] = visible(p.Name)
		if p.Note != "" {
			parts[i] += " [" + visible(p.Note) + "]"
		}
	}
	return strings.Join(parts, ", ")
}
