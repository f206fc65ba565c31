package server

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/api"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/secdesc"
)

const (
	tagGrants = "grants"
)

var onServer = operator.Server()

// Bodies of requests and answers about grants.
type (
	policiesOut struct{ Body api.Policies }
	grantOut    struct{ Body api.Grant }
	grantsOut   struct{ Body api.Grants }
	requestIn   struct {
		Key  string `header:"Idempotency-Key" pattern:"^[A-Za-z0-9_-]{1,64}$" doc:"Chosen by the client: the same request with the same key makes one grant, for ever."`
		Body api.GrantRequest
	}
	grantIn struct {
		ID string `path:"id" minLength:"1" maxLength:"64" pattern:"^[A-Za-z0-9_-]+$"`
	}
	noteIn struct {
		ID   string   `path:"id" minLength:"1" maxLength:"64" pattern:"^[A-Za-z0-9_-]+$"`
		Body api.Note `required:"false"`
	}
	extendIn struct {
		ID   string `path:"id" minLength:"1" maxLength:"64" pattern:"^[A-Za-z0-9_-]+$"`
		Body api.ExtensionRequest
	}
	reviewIn struct {
		ID   string `path:"id" minLength:"1" maxLength:"64" pattern:"^[A-Za-z0-9_-]+$"`
		Body api.Verdict
	}
	listIn struct {
		State  []string `query:"state" maxItems:"16" doc:"only grants in these states"`
		Policy string   `query:"policy" maxLength:"64" doc:"only grants of this policy"`
		Mine   bool     `query:"mine" doc:"only grants that the caller requested or holds"`
		Cursor string   `query:"cursor" maxLength:"256" doc:"next of the page before"`
		Limit  int      `query:"limit" minimum:"1" maximum:"200" default:"50"`
	}
)

func (s *Server) registerGrants() {
	add(s, route{
		id: "list-policies", method: http.MethodGet, path: "/v1/policies", tag: tagGrants, summary: "Policies that the caller may request", may: operator.GrantRead,
	}, s.listPolicies)
	add(s, route{
		id: "request-grant", method: http.MethodPost, path: "/v1/grants", tag: tagGrants, summary: "Request a grant", status: http.StatusCreated,
		text:  "Asks for the membership that a policy is about. If nobody needs to approve, it is active when this answers, or its state says why not yet.",
		codes: []api.Code{api.CodePolicy, api.CodeKeyReused},
	}, s.requestGrant)
	add(s, route{
		id: "list-grants", method: http.MethodGet, path: "/v1/grants", tag: tagGrants, summary: "Grants that the caller may see, newest first", may: operator.GrantRead,
	}, s.listGrants)
	add(s, route{id: "show-grant", method: http.MethodGet, path: "/v1/grants/{id}", tag: tagGrants, summary: "One grant"}, s.showGrant)
	s.registerGrantViews()
	for _, cmd := range []struct {
		name, summary string
		event         grant.Event
		action        operator.Action
	}{
		{"approve", "Consent to a request, or to an extension that is asked for", grant.Approve, operator.GrantApprove},
		{"deny", "Refuse a request, or an extension", grant.Deny, operator.GrantApprove},
		{"withdraw", "Take an approval back", grant.Withdraw, operator.GrantApprove},
		{"observe", "Join as observer", grant.Observe, operator.GrantObserve},
		{"leave", "Leave as observer", grant.Leave, operator.GrantObserve},
		{"activate", "Start the clock, where the policy leaves that to the holder", grant.Activate, operator.GrantEnd},
		{"give-back", "End one's own grant early", grant.GiveBack, operator.GrantEnd},
		{"cancel", "Take a request back", grant.Cancel, operator.GrantEnd},
		{"revoke", "End somebody else's grant", grant.Revoke, operator.GrantRevoke},
	} {
		add(s, commandRoute(cmd.name, cmd.summary, cmd.action), func(ctx context.Context, c *caller, in *noteIn) (*grantOut, error) {
			return s.command(ctx, c, in.ID, cmd.action, grant.Command{Event: cmd.event, Reason: in.Body.Reason})
		})
	}
	add(s, commandRoute("extend", "Ask for more time", operator.GrantEnd), func(ctx context.Context, c *caller, in *extendIn) (*grantOut, error) {
		d, err := span("body.for", in.Body.For)
		if err != nil {
			return nil, err
		}
		return s.command(ctx, c, in.ID, operator.GrantEnd, grant.Command{Event: grant.Extend, For: d, Reason: in.Body.Reason})
	})
	add(s, commandRoute("review", "Review an emergency that has ended", operator.GrantReview), func(ctx context.Context, c *caller, in *reviewIn) (*grantOut, error) {
		return s.command(ctx, c, in.ID, operator.GrantReview, grant.Command{Event: grant.Review, Accept: in.Body.Accept, Reason: in.Body.Reason})
	})
}

func commandRoute(name, summary string, a operator.Action) route {
	return route{
		id: name + "-grant", method: http.MethodPost, path: "/v1/grants/{id}/" + name, tag: tagGrants, summary: summary, keyed: true, still: a,
		codes: []api.Code{api.CodeStepUp, api.CodeUnknown},
	}
}

// span reads a duration of a request.
func span(field, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := grant.ParseSpan(text)
	if err != nil {
		return 0, invalidField(field, "not a duration such as 90m, 1h30m or 7d")
	}
	return time.Duration(d), nil
}

func invalidField(field, text string) *api.Problem {
	p := api.NewProblem(api.CodeInvalid, "")
	p.Fields = []api.FieldProblem{{Field: field, Text: text}}
	return p
}

// requestGrant makes a grant. Its ID follows from the caller and his key, so that a
// repetition finds the first one whatever died in between.
func (s *Server) requestGrant(ctx context.Context, c *caller, in *requestIn) (*grantOut, error) {
	b := &in.Body
	action := operator.GrantRequest
	if b.Emergency {
		action = operator.GrantUrgent
	}
	if err := s.may(ctx, c, action, operator.Resource{Kind: operator.OnGrantPolicy, ID: b.Policy}); err != nil {
		return nil, err
	}
	d, err := span("body.for", b.For)
	if err != nil {
		return nil, err
	}
	o := grant.Order{
		ID: grantID(c.Account, in.Key, c.Request), Policy: b.Policy, For: d, Start: b.Start, Reason: b.Reason, Ticket: b.Ticket,
		Schedule: b.Schedule, Emergency: b.Emergency,
	}
	if b.Account != "" {
		if o.Holder, err = s.account(ctx, b.Account); err != nil {
			return nil, err
		}
	}
	g, err := s.cfg.Grants.Request(ctx, c.grantCaller(), o)
	if err != nil {
		return nil, err
	}
	return &grantOut{api.NewGrant(&g)}, nil
}

// grantID names the grant of a request: unforeseeable without a key, the same for the
// same account and key. The key itself stays out of lists and logs.
func grantID(account secdesc.GUID, key, request string) grant.ID {
	if key == "" {
		key = "request " + request // is random
	}
	h := sha256.Sum256([]byte("leastwise grant\n" + account.String() + "\n" + key))
	return grant.ID(strings.ToLower(base32.StdEncoding.EncodeToString(h[:15])))
}

// account finds an account that a request names.
func (s *Server) account(ctx context.Context, name string) (secdesc.GUID, error) {
	if g, err := secdesc.ParseGUID(name); err == nil {
		return g, nil
	}
	if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return secdesc.GUID{}, invalidField("body.account", "holds control characters")
	}
	o, err := s.cfg.Directory.Find(ctx, grant.Ref(name))
	switch {
	case errors.Is(err, grant.ErrUnreachable):
		return secdesc.GUID{}, err
	case err != nil:
		return secdesc.GUID{}, errors.Join(grant.ErrUnreachable, err)
	case !o.Exists || o.Group:
		return secdesc.GUID{}, invalidField("body.account", "the directory has no such account")
	}
	return o.GUID, nil
}

// command carries a command out. What the caller may do is asked twice: of the
// policies of operators here, of the grant's terms in package grant.
func (s *Server) command(ctx context.Context, c *caller, id string, a operator.Action, cmd grant.Command) (*grantOut, error) {
	g, err := s.visible(ctx, c, id, a)
	if err != nil {
		return nil, err
	}
	// The permission counts for the grant as it was read; package grant asks again.
	if g, err = s.cfg.Grants.Do(ctx, c.grantCaller(), g.ID, cmd); err != nil {
		return nil, err
	}
	return &grantOut{api.NewGrant(&g)}, nil
}

// visible reads a grant for a caller who may do a to it. To those who may not even see
// it, it does not exist.
func (s *Server) visible(ctx context.Context, c *caller, id string, a operator.Action) (grant.Grant, error) {
	g, err := s.cfg.Grants.Grant(ctx, grant.ID(id))
	if err != nil {
		return g, err
	}
	on, err := s.resource(ctx, c, &g, concernedBy{})
	if err != nil {
		return g, err
	}
	d, err := s.cfg.Operators.May(ctx, c.Caller, operator.GrantRead, on)
	if err != nil {
		return g, err
	}
	if !d.Allowed {
		return g, s.unseen(ctx, c, on)
	}
	if a != operator.GrantRead {
		err = s.may(ctx, c, a, on)
	}
	return g, err
}

// unseen logs that somebody asked for a grant that he may not see, and hides it.
func (s *Server) unseen(ctx context.Context, c *caller, on operator.Resource) error {
	if err := s.may(ctx, c, operator.GrantRead, on); err != nil && !errors.Is(err, operator.ErrForbidden) && !errors.Is(err, operator.ErrStepUp) {
		return err
	}
	return grant.ErrNotFound
}

// concernedBy remembers, for one request, whether the caller is among the people that
// terms name.
type concernedBy map[string]bool

// resource is a grant in the words of package operator.
func (s *Server) resource(ctx context.Context, c *caller, g *grant.Grant, known concernedBy) (operator.Resource, error) {
	on := operator.Resource{
		Kind: operator.OnGrant, ID: string(g.ID), Policy: g.Policy,
		Owner: c.Account == g.Requester.Account || c.Account == g.Holder.Account,
	}
	refs := concerned(g, s.cfg.Grants.Policies().Security)
	key := joinRefs(refs)
	if is, ok := known[key]; ok {
		on.Concerned = is
		return on, nil
	}
	if len(refs) > 0 {
		is, err := s.amongThem(ctx, c.Account, refs)
		if err != nil {
			return on, errors.Join(grant.ErrUnreachable, err)
		}
		on.Concerned = is
	}
	known[key] = on.Concerned
	return on, nil
}

// concerned are those whom a grant's terms name to decide, watch, end or review, and
// the security team.
func concerned(g *grant.Grant, security []grant.Ref) []grant.Ref {
	t := &g.Terms
	var refs []grant.Ref
	for _, list := range [][]grant.Ref{t.Approval.From, t.Observer.From, t.Emergency.Review, t.Revokers, security} {
		refs = append(refs, list...)
	}
	return refs
}

func joinRefs(refs []grant.Ref) string {
	var b strings.Builder
	for _, r := range refs {
		b.WriteString(string(r))
		b.WriteByte('\n')
	}
	return b.String()
}

func (s *Server) showGrant(ctx context.Context, c *caller, in *grantIn) (*grantOut, error) {
	g, err := s.visible(ctx, c, in.ID, operator.GrantRead)
	if err != nil {
		return nil, err
	}
	return &grantOut{api.NewGrant(&g)}, nil
}

// maxScanned bounds how many grants one page looks at.
const maxScanned = 1000

// listGrants returns a page of the grants that the caller may see. A page may be short,
// or empty, and still have a next one.
func (s *Server) listGrants(ctx context.Context, c *caller, in *listIn) (*grantsOut, error) {
	cur, err := api.ParseCursor("grants", in.Cursor)
	if err != nil || cur.After != "" && !grant.ID(cur.After).Valid() {
		return nil, invalidField("query.cursor", "not a cursor of this list")
	}
	page := grant.Page{Policy: in.Policy, After: grant.ID(cur.After), Limit: in.Limit}
	if page.States, err = states(in.State); err != nil {
		return nil, err
	}
	if in.Mine {
		page.Party = c.Account
	}
	out := &grantsOut{Body: api.Grants{Items: []api.Grant{}}}
	known := concernedBy{}
	for scanned := 0; ; {
		list, err := s.cfg.Grants.List(ctx, page)
		if err != nil {
			return nil, err
		}
		for i := range list {
			g := &list[i]
			scanned++
			page.After = g.ID
			sees, err := s.sees(ctx, c, g, known)
			if err != nil {
				return nil, err
			}
			if sees {
				out.Body.Items = append(out.Body.Items, api.NewGrant(g))
			}
			last := i == len(list)-1 && len(list) < page.Limit
			if full := len(out.Body.Items) == in.Limit || scanned == maxScanned; full && !last {
				out.Body.Next = api.Cursor{List: "grants", After: string(g.ID)}.String()
				return out, nil
			}
		}
		if len(list) < page.Limit {
			return out, nil
		}
	}
}

// sees reports whether the caller may see a grant.
func (s *Server) sees(ctx context.Context, c *caller, g *grant.Grant, known concernedBy) (bool, error) {
	on, err := s.resource(ctx, c, g, known)
	if err != nil {
		return false, err
	}
	d, err := s.cfg.Operators.May(ctx, c.Caller, operator.GrantRead, on)
	return d.Allowed, err
}

// states reads the names of states.
func states(names []string) ([]grant.State, error) {
	var out []grant.State
	for _, n := range names {
		ok := false
		for _, st := range grant.States() {
			ok = ok || string(st) == n
		}
		if !ok {
			return nil, invalidField("query.state", "there is no such state")
		}
		out = append(out, grant.State(n))
	}
	return out, nil
}

// listPolicies returns what the caller may request. A policy about which that could not
// be found out is listed, and said to be so.
func (s *Server) listPolicies(ctx context.Context, c *caller, _ *struct{}) (*policiesOut, error) {
	out := &policiesOut{Body: api.Policies{Items: []api.PolicyView{}}}
	now, policies := s.cfg.Now(), s.cfg.Grants.Policies()
	for i := range policies.Policies {
		p := &policies.Policies[i]
		if d, err := s.cfg.Operators.May(ctx, c.Caller, operator.GrantRequest, operator.Resource{Kind: operator.OnGrantPolicy, ID: p.Name}); err != nil {
			return nil, err
		} else if !d.Allowed {
			continue
		}
		v := policyView(p, now)
		is, err := s.amongThem(ctx, c.Account, p.Requesters)
		urgent := false
		if err == nil && len(p.Emergency.From) > 0 {
			urgent, err = s.amongThem(ctx, c.Account, p.Emergency.From)
		}
		v.Emergency = urgent
		switch {
		case err != nil:
			v.MayRequest, v.Why = "unknown", "the directory could not be asked"
		case is || urgent:
			v.MayRequest = "yes"
		default:
			continue
		}
		out.Body.Items = append(out.Body.Items, v)
	}
	return out, nil
}

func policyView(p *grant.Policy, now time.Time) api.PolicyView {
	v := api.PolicyView{
		Name: p.Name, Title: p.Title, Group: string(p.Target()), Longest: p.Duration.Longest.String(), Usual: p.Duration.Usual.String(),
		ApprovalsNeeded: p.Approval.Needed, ObserverNeeded: p.Observer.Needed,
		ReasonNeeded: p.Reason.Needed, ReasonShortest: p.Reason.Shortest, TicketNeeded: p.Ticket.Needed, TicketPattern: p.Ticket.Pattern,
		ByHolder: p.Activation == grant.ByHolder, Extensions: p.Extension.Times,
	}
	if p.Ahead > 0 {
		v.StartAhead = p.Ahead.String()
	}
	for _, sch := range p.Schedules {
		v.Schedules = append(v.Schedules, sch.Name)
	}
	open, until, err := p.WindowAt(now)
	if v.OpenNow, v.WindowUntil = open, until; err != nil {
		v.MayRequest, v.Why = "unknown", "its time windows cannot be computed"
	}
	return v
}
