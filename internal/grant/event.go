package grant

import "time"

// An Event happens to a grant: somebody asks for something, a write has an outcome, the
// surroundings change, or time passes.
type Event string

// The events. Those that people cause are refused when the caller may not; the others
// come from the service itself.
const (
	Request      Event = "request"
	Approve      Event = "approve"  // consent to the request, or to a pending extension
	Deny         Event = "deny"     // the same, refused
	Withdraw     Event = "withdraw" // an approver takes his approval back
	Observe      Event = "observe"
	Leave        Event = "leave"
	Activate     Event = "activate" // write the membership; by the holder where the policy says so
	Extend       Event = "extend"
	GiveBack     Event = "give-back"
	Cancel       Event = "cancel"
	Revoke       Event = "revoke"
	Review       Event = "review"
	Start        Event = "start"  // the scheduled start is there
	Expire       Event = "expire" // time is up, by the clock that counts in the state
	Remove       Event = "remove" // write the removal
	Activated    Event = "activated"
	NotActivated Event = "activation-refused"
	LaterActive  Event = "activation-later" // refused for now, or the directory is away
	MaybeActive  Event = "activation-ambiguous"
	HasEnded     Event = "ended" // the membership is gone
	NotEnded     Event = "end-refused"
	MaybeEnded   Event = "end-ambiguous"

	FoundPermanent Event = "found-permanent"  // the account is a member already, without an end, not by a grant
	FoundOther     Event = "found-other"      // another grant holds the same membership
	FoundTimeBound Event = "found-time-bound" // the account is a member with an end that no grant set
	Lost           Event = "lost"             // somebody else removed the membership
	Reappeared     Event = "reappeared"       // a membership that had ended is there again: a late write, a restored object

	TargetDeleted  Event = "target-deleted"
	TargetRenamed  Event = "target-renamed"
	TargetMoved    Event = "target-moved"
	TargetDisabled Event = "target-disabled"
	GroupDeleted   Event = "group-deleted"
	ApproverLost   Event = "approver-lost"  // an approver no longer has the right to approve
	RequesterLost  Event = "requester-lost" // the requester no longer has the right to request
	ObserverLost   Event = "observer-lost"  // an observer no longer has the right to observe
	ReviewOverdue  Event = "review-overdue"
	ClockJump      Event = "clock-jump"
	DCAway         Event = "dc-away"
	DCBack         Event = "dc-back"
)

// Events lists all events.
func Events() []Event {
	return []Event{
		Request, Approve, Deny, Withdraw, Observe, Leave, Activate, Extend, GiveBack, Cancel, Revoke, Review,
		Start, Expire, Remove, Activated, NotActivated, LaterActive, MaybeActive, HasEnded, NotEnded, MaybeEnded,
		FoundPermanent, FoundOther, FoundTimeBound, Lost, Reappeared,
		TargetDeleted, TargetRenamed, TargetMoved, TargetDisabled, GroupDeleted,
		ApproverLost, RequesterLost, ObserverLost, ReviewOverdue, ClockJump, DCAway, DCBack,
	}
}

// Facts are what was found out about the caller of an event before it is decided.
// Unknown never counts as the convenient one of the other two.
type Facts struct {
	Entitled Answer // he is among those whom the policy names for this
	Self     Answer // he is the person who requested the grant or is to hold it, under whatever account
	Repeat   Answer // he is a person whose approval counts already
	Why      string // why something is unknown
}

// input is all that a decision depends on beside the grant itself.
type input struct {
	actor  Actor
	token  bool // the caller acts by an API token, not in person
	facts  Facts
	now    Instant
	dc     time.Time     // the controller's time; zero: not known
	slack  time.Duration // how much later it may be, because reading it took its time
	monoUp bool          // the monotonic guard says that the time is up

	generation int64 // of the action; 0: asked for now, hence never stale
	reason     string
	order      *Order
	policy     *Policy
	extend     time.Duration
	party      Party // the account that an event is about: approver, observer
	accept     bool  // review: in order
	object     Object
	link       Link
	native     time.Time
	tickets    Tickets
	holding    *Holding // changed by the step; never nil where the event touches the membership
	proven     bool     // the directory said that the write was done
	unsent     bool     // the addition that was announced was not sent, or changed nothing, and never will
	detail     string
	late       bool
}

// An Effect is something that a decision asks for: [AddMember] and [RemoveMember] are
// carried out by a [Writer] after the decision is stored; [Entry] and [Notice] are
// stored with it.
type Effect interface{ effect() }

// AddMember asks for a membership to be written. A management account that the policy
// names is enabled for it (Write.Through) by whoever carries it out.
type AddMember struct{ Write }

// RemoveMember asks for a membership to be removed.
type RemoveMember struct{ Write }

func (AddMember) effect()    {}
func (RemoveMember) effect() {}
func (Entry) effect()        {}
func (Notice) effect()       {}
