package grant

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// Errors that callers may test for.
var (
	// ErrNotFound reports that there is no such grant or policy.
	ErrNotFound = errors.New("not found")
	// ErrIllegal reports an event that the state of the grant does not allow.
	ErrIllegal = errors.New("not possible in this state")
	// ErrForbidden reports a caller who may not do this, or of whom it could not be
	// found out whether he may.
	ErrForbidden = errors.New("not allowed")
	// ErrPolicy reports a request that its policy does not allow to anybody.
	ErrPolicy = errors.New("against the policy")
	// ErrStale reports an action of an earlier generation: it did nothing.
	ErrStale = errors.New("stale action")
	// ErrExists reports an ID that another request has already.
	ErrExists = errors.New("the ID is taken by another request")
	// ErrConflict reports that a record was changed by somebody else since it was
	// read. A [Store] returns it; callers read again.
	ErrConflict = errors.New("changed meanwhile")
	// ErrLog reports that the audit log could not take an entry. A [Store] wraps it
	// around what Record, or the end of the transaction on its behalf, came to.
	ErrLog = errors.New("the audit log cannot be written")
	// ErrUnreachable reports that the directory could not be asked.
	ErrUnreachable = errors.New("directory not reachable")
)

// An ID names a grant. Callers choose it (it is the idempotency key of a request):
// 1 to 64 letters, digits, hyphens and underscores.
type ID string

// Valid reports whether an ID has the right form.
func (id ID) Valid() bool {
	if id == "" || len(id) > 64 {
		return false
	}
	return !slices.ContainsFunc([]rune(string(id)), func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' || r == '_')
	})
}

// A State says how far a grant has come.
type State string

// The states. A grant begins as [None], which is stored nowhere.
const (
	None        State = "none"
	Requested   State = "requested"    // waits for approvals
	Scheduled   State = "scheduled"    // approved, for later
	Approved    State = "approved"     // waits for its start: observer, window, holder, directory
	Activating  State = "activating"   // the membership is being written: it may exist
	Active      State = "active"       // the holder has the membership
	Ending      State = "ending"       // the membership is to go; never given up
	UnderReview State = "under-review" // an emergency, ended, not reviewed
	Ended       State = "ended"
	Denied      State = "denied"
	Cancelled   State = "cancelled"
	Expired     State = "expired" // not approved, or not activated, in time
	Failed      State = "failed"  // the directory or the facts refused it
)

// States lists all states, in the order of a grant's life.
func States() []State {
	return []State{None, Requested, Scheduled, Approved, Activating, Active, Ending, UnderReview, Ended, Denied, Cancelled, Expired, Failed}
}

// Finished reports whether nothing more is expected to happen in a state.
func (s State) Finished() bool {
	return slices.Contains([]State{Ended, Denied, Cancelled, Expired, Failed}, s)
}

// Holds reports whether a grant in this state wants its membership to exist. One that
// is ending does not, though the membership may exist still.
func (s State) Holds() bool { return s == Activating || s == Active }

// A Party is an account, as it was called when it acted. Its GUID is what it is.
type Party struct {
	Account secdesc.GUID `json:"account"`
	SID     secdesc.SID  `json:"sid"`
	Name    string       `json:"name"`
	// Issuer is the account that issued the API token by which the party acted; zero in
	// person. Who decides must be neither.
	Issuer secdesc.GUID `json:"issuer,omitzero"`
}

// An Approval is one approver's consent, or what stands in its place.
type Approval struct {
	By   Party     `json:"by"`
	Time time.Time `json:"time"`
	Note string    `json:"note,omitempty"`
}

// An Observer watches what the holder does.
type Observer struct {
	By     Party     `json:"by"`
	Joined time.Time `json:"joined"`
	Left   time.Time `json:"left,omitzero"` // zero while he is there
}

// An Extension is a prolongation, asked for or given.
type Extension struct {
	By        Party         `json:"by"`
	Time      time.Time     `json:"time"`
	For       time.Duration `json:"for"`
	Reason    string        `json:"reason"`
	Approvals []Approval    `json:"approvals,omitempty"`
	Given     bool          `json:"given"`
	Refused   bool          `json:"refused,omitempty"`
}

// pending reports whether an extension waits for approval.
func (x Extension) pending() bool { return !x.Given && !x.Refused }

// Basis says on what the membership of a grant rests.
type Basis string

// The bases of a membership.
const (
	NoBasis   Basis = ""          // there is none (yet)
	Added     Basis = "added"     // a grant added it, and the directory said so
	Inferred  Basis = "inferred"  // a grant's write was not answered; the membership was there afterwards
	Shared    Basis = "shared"    // another grant had added it
	Standing  Basis = "standing"  // it was there before, without an end: never removed
	TimeBound Basis = "timebound" // it was there before, with an end of its own: never removed
)

// removable reports whether a grant has to see to the removal of the membership.
func (b Basis) removable() bool { return b == Added || b == Inferred || b == Shared }

// A Key names a membership: a group and an account, each by objectGUID.
type Key struct {
	Group  secdesc.GUID `json:"group"`
	Member secdesc.GUID `json:"member"`
}

// String returns "MEMBER in GROUP".
func (k Key) String() string { return k.Member.String() + " in " + k.Group.String() }

// A Grant is one person's time-bound hold on one group. The record stays for ever.
//
// Times named Wall are this machine's; Activated and Ends are the domain controller's.
type Grant struct {
	ID         ID     `json:"id"`
	Generation int64  `json:"generation"` // grows with every change; actions carry it
	State      State  `json:"state"`
	Policy     string `json:"policy"`
	Terms      Policy `json:"terms"` // the policy as it was at the request

	Key       Key    `json:"key"`
	Group     Object `json:"group"` // as last read
	Holder    Party  `json:"holder"`
	Account   Object `json:"account"` // the holder's, as last read
	Requester Party  `json:"requester"`

	Reason    string        `json:"reason"`
	Ticket    string        `json:"ticket,omitempty"`
	Emergency bool          `json:"emergency,omitempty"`
	Schedule  string        `json:"schedule,omitempty"` // name of the schedule that approved it beforehand
	Duration  time.Duration `json:"duration"`           // with the extensions given

	RequestedAt time.Time   `json:"requested_at"`
	Start       time.Time   `json:"start,omitzero"`       // not before; zero: at once
	ApproveBy   time.Time   `json:"approve_by,omitzero"`  // else it expires
	ActivateBy  time.Time   `json:"activate_by,omitzero"` // else it expires
	Approvals   []Approval  `json:"approvals,omitempty"`
	Observers   []Observer  `json:"observers,omitempty"`
	ObserveBy   time.Time   `json:"observe_by,omitzero"` // the last observer left; somebody joins, or it ends
	Extensions  []Extension `json:"extensions,omitempty"`

	Basis     Basis     `json:"basis,omitempty"`
	Tries     int       `json:"tries,omitempty"`     // writes that add, sent or perhaps sent
	Removes   int       `json:"removes,omitempty"`   // removals of the present end whose fate is not known
	Ambiguous bool      `json:"ambiguous,omitempty"` // the answer to one of them was lost
	Watched   bool      `json:"watched,omitempty"`   // the membership was watched for a late write of another grant already
	Flying    bool      `json:"flying,omitempty"`    // a write was announced, and its outcome is not stored
	Held      time.Time `json:"held,omitzero"`       // until when, by the controller's clock, writes of other grants held the membership at the first announcement
	IntentDC  time.Time `json:"intent_dc,omitzero"`  // when the first such write was intended
	Activated time.Time `json:"activated,omitzero"`
	Ends      time.Time `json:"ends,omitzero"`
	WallEnds  time.Time `json:"wall_ends,omitzero"` // for people and for waking; decides nothing
	Native    time.Time `json:"native,omitzero"`    // end of the expiring link, where the forest has them
	Tickets   Tickets   `json:"tickets"`            // the domain's ticket lifetimes at activation

	EndWhy   string    `json:"end_why,omitempty"`
	EndBy    Party     `json:"end_by"`
	EndSince time.Time `json:"end_since,omitzero"` // when it began to end
	EndedAt  time.Time `json:"ended_at,omitzero"`
	ReviewBy time.Time `json:"review_by,omitzero"`
	Reviewed *Approval `json:"reviewed,omitempty"`
	Overdue  bool      `json:"overdue,omitempty"` // the overdue review was announced

	Attempts int       `json:"attempts,omitempty"` // tries of the current write
	Wake     time.Time `json:"wake,omitzero"`      // when to look again, by the wall clock; zero: no need
	WakeDC   time.Time `json:"wake_dc,omitzero"`   // the same, by the controller's: all nodes share that one
	Fault    string    `json:"fault,omitempty"`    // why the last try did not succeed
	Owed     []Entry   `json:"owed,omitempty"`     // entries that the log could not take yet
}

// clone returns a copy that shares no slice with g.
func (g Grant) clone() Grant {
	g.Approvals = slices.Clone(g.Approvals)
	g.Observers = slices.Clone(g.Observers)
	g.Extensions = slices.Clone(g.Extensions)
	for i := range g.Extensions {
		g.Extensions[i].Approvals = slices.Clone(g.Extensions[i].Approvals)
	}
	g.Owed = slices.Clone(g.Owed)
	if g.Reviewed != nil {
		r := *g.Reviewed
		g.Reviewed = &r
	}
	return g
}

// observed reports whether somebody observes now.
func (g *Grant) observed() bool {
	return slices.ContainsFunc(g.Observers, func(o Observer) bool { return o.Left.IsZero() })
}

// preapproved reports whether nobody needs to approve.
func (g *Grant) preapproved() bool { return g.Emergency || g.Schedule != "" }

// enough reports whether the approvals suffice.
func (g *Grant) enough() bool {
	return g.preapproved() || len(g.Approvals) >= g.Terms.Approval.Needed
}

// extended returns what extensions have added so far.
func (g *Grant) extended() (total time.Duration, times int) {
	for _, x := range g.Extensions {
		if x.Given {
			total += x.For
			times++
		}
	}
	return total, times
}

// pendingExtension returns the index of the extension that waits for approval, or -1.
func (g *Grant) pendingExtension() int {
	return slices.IndexFunc(g.Extensions, Extension.pending)
}

// String names a grant for errors.
func (g *Grant) String() string {
	return fmt.Sprintf("grant %s (%s of %s, %s)", g.ID, g.Policy, g.Holder.Name, g.State)
}

// Instant is a moment by the clocks of this machine: the wall clock, which people set,
// and a monotonic one, which only runs (since any origin, one per process).
type Instant struct {
	Wall time.Time
	Mono time.Duration
}
