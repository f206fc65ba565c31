package api

import (
	"time"

	"github.com/leastwise/leastwise/internal/grant"
)

// A Party is an account as it was called when it acted.
type Party struct {
	Account string `json:"account" format:"uuid" doc:"objectGUID: what the account is"`
	SID     string `json:"sid,omitempty"`
	Name    string `json:"name" doc:"DOMAIN\\name at that time"`
}

// An Object is a group or account as the directory last described it.
type Object struct {
	GUID     string `json:"guid" format:"uuid"`
	SID      string `json:"sid,omitempty"`
	Name     string `json:"name"`
	DN       string `json:"dn,omitempty"`
	Exists   bool   `json:"exists" doc:"false: deleted, or never there"`
	Disabled bool   `json:"disabled,omitempty"`
	Missing  string `json:"missing,omitempty" doc:"why something of this is not known"`
}

// An Approval is one approver's consent.
type Approval struct {
	By   Party     `json:"by"`
	Time time.Time `json:"time"`
	Note string    `json:"note,omitempty"`
}

// An Observer watches what the holder does.
type Observer struct {
	By     Party     `json:"by"`
	Joined time.Time `json:"joined"`
	Left   time.Time `json:"left,omitzero" doc:"absent while he is there"`
}

// An Extension is a prolongation, asked for or given.
type Extension struct {
	By        Party      `json:"by"`
	Time      time.Time  `json:"time"`
	For       string     `json:"for"`
	Reason    string     `json:"reason,omitempty"`
	Approvals []Approval `json:"approvals,omitempty"`
	Given     bool       `json:"given"`
	Refused   bool       `json:"refused,omitempty"`
}

// A Grant is one person's time-bound hold on one group.
type Grant struct {
	ID         string `json:"id"`
	Generation int64  `json:"generation" doc:"grows with every change"`
	State      string `json:"state" doc:"requested, scheduled, approved, activating, active, ending, under-review, ended, denied, cancelled, expired or failed"`
	Finished   bool   `json:"finished" doc:"nothing more is expected to happen"`
	Policy     string `json:"policy"`
	Title      string `json:"title"`

	Group     Object `json:"group"`
	Account   Object `json:"account" doc:"the holder's account"`
	Holder    Party  `json:"holder"`
	Requester Party  `json:"requester"`

	Reason    string `json:"reason,omitempty"`
	Ticket    string `json:"ticket,omitempty"`
	Emergency bool   `json:"emergency,omitempty"`
	Schedule  string `json:"schedule,omitempty" doc:"the schedule that approved it beforehand"`
	Duration  string `json:"duration" doc:"with the extensions given"`

	RequestedAt time.Time `json:"requested_at"`
	Start       time.Time `json:"start,omitzero" doc:"not before; absent: at once"`
	ApproveBy   time.Time `json:"approve_by,omitzero" doc:"else it expires"`
	ActivateBy  time.Time `json:"activate_by,omitzero" doc:"else it expires"`

	ApprovalsNeeded int         `json:"approvals_needed"`
	Approvals       []Approval  `json:"approvals,omitempty"`
	ObserverNeeded  bool        `json:"observer_needed,omitempty"`
	Observers       []Observer  `json:"observers,omitempty"`
	ObserveBy       time.Time   `json:"observe_by,omitzero" doc:"the last observer left: somebody joins by then, or it ends"`
	Extensions      []Extension `json:"extensions,omitempty"`

	Basis     string    `json:"basis,omitempty" doc:"what the membership rests on: added, inferred, shared, standing or timebound"`
	Activated time.Time `json:"activated,omitzero" doc:"by the domain controller's clock"`
	Ends      time.Time `json:"ends,omitzero" doc:"by the domain controller's clock, which decides"`
	EndWhy    string    `json:"end_why,omitempty"`
	EndBy     *Party    `json:"end_by,omitempty"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
	ReviewBy  time.Time `json:"review_by,omitzero"`
	Reviewed  *Approval `json:"reviewed,omitempty"`
	Overdue   bool      `json:"review_overdue,omitempty"`
	Fault     string    `json:"fault,omitempty" doc:"why the last try did not succeed"`

	Access *grant.Access `json:"access,omitempty" doc:"how long tickets may outlive the membership"`
}

// A GrantRequest asks for a grant.
type GrantRequest struct {
	Policy    string    `json:"policy" minLength:"1" maxLength:"64" pattern:"^[a-z0-9][a-z0-9-]*$" doc:"name of the policy"`
	Account   string    `json:"account,omitempty" maxLength:"256" doc:"another account of the caller's own that is to have the membership: DOMAIN\\name, SID, objectGUID or distinguished name; absent: the caller's"`
	For       string    `json:"for,omitempty" maxLength:"32" doc:"duration such as 90m; absent: the policy's usual"`
	Start     time.Time `json:"start,omitzero" doc:"absent: as soon as approved"`
	Reason    string    `json:"reason,omitempty" maxLength:"2000"`
	Ticket    string    `json:"ticket,omitempty" maxLength:"200"`
	Schedule  string    `json:"schedule,omitempty" maxLength:"64" doc:"name of a schedule that approves it beforehand"`
	Emergency bool      `json:"emergency,omitempty" doc:"immediately, loudly, reviewed afterwards"`
}

// A Note goes with most commands.
type Note struct {
	Reason string `json:"reason,omitempty" maxLength:"2000" doc:"in the caller's words; goes into the audit log"`
}

// An ExtensionRequest asks for more time.
type ExtensionRequest struct {
	For    string `json:"for" minLength:"1" maxLength:"32" doc:"how much longer, such as 30m"`
	Reason string `json:"reason,omitempty" maxLength:"2000"`
}

// A Verdict is the review of an emergency.
type Verdict struct {
	Accept bool   `json:"accept" doc:"it was in order"`
	Reason string `json:"reason,omitempty" maxLength:"2000"`
}

// Grants is a page of grants.
type Grants struct {
	Items []Grant `json:"items"`
	Next  string  `json:"next,omitempty" doc:"cursor of the next page; absent on the last"`
}

// A PolicyView is a policy as its requesters see it.
type PolicyView struct {
	Name            string    `json:"name"`
	Title           string    `json:"title"`
	Group           string    `json:"group"`
	Longest         string    `json:"longest"`
	Usual           string    `json:"usual"`
	ApprovalsNeeded int       `json:"approvals_needed"`
	ObserverNeeded  bool      `json:"observer_needed"`
	ReasonNeeded    bool      `json:"reason_needed"`
	ReasonShortest  int       `json:"reason_shortest,omitempty"`
	TicketNeeded    bool      `json:"ticket_needed"`
	TicketPattern   string    `json:"ticket_pattern,omitempty"`
	Schedules       []string  `json:"schedules,omitempty"`
	Emergency       bool      `json:"emergency" doc:"the caller may use the path without approval"`
	StartAhead      string    `json:"start_ahead,omitempty" doc:"how far ahead a start may lie; absent: not at all"`
	ByHolder        bool      `json:"by_holder" doc:"the holder starts the clock himself"`
	Extensions      int       `json:"extensions"`
	OpenNow         bool      `json:"open_now" doc:"its time windows allow a grant now"`
	WindowUntil     time.Time `json:"window_until,omitzero" doc:"when that changes; absent: not within a week"`
	MayRequest      string    `json:"may_request" enum:"yes,unknown" doc:"unknown: it could not be found out, and a request would be refused"`
	Why             string    `json:"why,omitempty" doc:"why it is not known"`
}

// Policies is the list of policies that the caller may request.
type Policies struct {
	Items []PolicyView `json:"items"`
}

func newParty(p grant.Party) Party {
	out := Party{Account: p.Account.String(), Name: p.Name}
	if !p.SID.IsZero() {
		out.SID = p.SID.String()
	}
	return out
}

func newObject(o grant.Object) Object {
	out := Object{GUID: o.GUID.String(), Name: o.Name, DN: o.DN, Exists: o.Exists, Disabled: o.Disabled, Missing: o.Missing}
	if !o.SID.IsZero() {
		out.SID = o.SID.String()
	}
	return out
}

func newApprovals(list []grant.Approval) []Approval {
	var out []Approval
	for _, a := range list {
		out = append(out, Approval{newParty(a.By), a.Time, a.Note})
	}
	return out
}

// NewGrant puts a grant into the form of the wire.
func NewGrant(g *grant.Grant) Grant {
	out := Grant{
		ID: string(g.ID), Generation: g.Generation, State: string(g.State), Finished: g.State.Finished(), Policy: g.Policy, Title: g.Terms.Title,
		Group: newObject(g.Group), Account: newObject(g.Account), Holder: newParty(g.Holder), Requester: newParty(g.Requester),
		Reason: g.Reason, Ticket: g.Ticket, Emergency: g.Emergency, Schedule: g.Schedule, Duration: grant.Span(g.Duration).String(),
		RequestedAt: g.RequestedAt.UTC(), Start: utc(g.Start), ApproveBy: utc(g.ApproveBy), ActivateBy: utc(g.ActivateBy),
		ApprovalsNeeded: g.Terms.Approval.Needed, Approvals: newApprovals(g.Approvals), ObserverNeeded: g.Terms.Observer.Needed, ObserveBy: utc(g.ObserveBy),
		Basis: string(g.Basis), Activated: utc(g.Activated), Ends: utc(g.Ends), EndWhy: g.EndWhy, EndedAt: utc(g.EndedAt),
		ReviewBy: utc(g.ReviewBy), Overdue: g.Overdue, Fault: g.Fault,
	}
	if g.Schedule != "" || g.Emergency {
		out.ApprovalsNeeded = 0
	}
	for _, o := range g.Observers {
		out.Observers = append(out.Observers, Observer{newParty(o.By), o.Joined, o.Left})
	}
	for _, e := range g.Extensions {
		out.Extensions = append(out.Extensions, Extension{newParty(e.By), e.Time, grant.Span(e.For).String(), e.Reason, newApprovals(e.Approvals), e.Given, e.Refused})
	}
	if !g.EndBy.Account.IsZero() {
		by := newParty(g.EndBy)
		out.EndBy = &by
	}
	if g.Reviewed != nil {
		out.Reviewed = &newApprovals([]grant.Approval{*g.Reviewed})[0]
	}
	if !g.Activated.IsZero() {
		a := grant.AccessAfter(g)
		out.Access = &a
	}
	return out
}

// utc keeps a time that is not set as it is.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}
