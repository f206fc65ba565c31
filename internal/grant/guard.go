package grant

import (
	"slices"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// A guard must hold, or the event is refused with its error.
type guard struct {
	name  string
	check func(*step) error
}

// A condition chooses between rows of one state and event.
type condition struct {
	name  string
	holds func(*step) bool
}

// The conditions.
var (
	always            = condition{}
	isEmergency       = condition{"emergency", func(s *step) bool { return s.in.order.Emergency }}
	preapprovedLater  = condition{"nobody needs to approve, start ahead", func(s *step) bool { return free(s) && ahead(s, s.in.order.Start) }}
	isPreapproved     = condition{"nobody needs to approve", free}
	lastApproval      = condition{"last approval needed", func(s *step) bool { return len(s.g.Approvals)+1 >= s.g.Terms.Approval.Needed }}
	lastApprovalLater = condition{"last approval needed, start ahead", func(s *step) bool {
		return len(s.g.Approvals)+1 >= s.g.Terms.Approval.Needed && ahead(s, s.g.Start)
	}}
	tooFewWithout = condition{"too few approvals are left", func(s *step) bool {
		return !s.g.preapproved() && s.g.Terms.Approval.Needed > 0 && s.g.approvalOf(s.in.party.Account) >= 0 && len(s.g.Approvals)-1 < s.g.Terms.Approval.Needed
	}}
	outlastsGrant   = condition{"it outlasts the grant", func(s *step) bool { return !s.in.link.Expires.Before(s.endFor(s.in.dc)) }}
	extensionFree   = condition{"policy needs no approval of extensions", func(s *step) bool { return s.g.Terms.Extension.Approval == ApprovalNone }}
	lastOfExtension = condition{"last approval of the extension", func(s *step) bool {
		i := s.g.pendingExtension()
		return i >= 0 && len(s.g.Extensions[i].Approvals)+1 >= max(s.g.Terms.Approval.Needed, 1)
	}}
	lastLeavesEnds = condition{"the last observer leaves, and policy ends it", func(s *step) bool {
		return s.g.Terms.Observer.Leaves == LeavingEnds && s.g.lastObserver(s.in.party.Account)
	}}
	needsReview = condition{"emergency, not reviewed", func(s *step) bool { return s.g.Emergency && s.g.Reviewed == nil }}
)

func free(s *step) bool {
	return s.in.order.Schedule != "" || s.in.policy.Approval.Needed == 0
}

func ahead(s *step, start time.Time) bool { return start.After(s.in.now.Wall) }

// approvalOf returns the index of the approval of an account, or -1.
func (g *Grant) approvalOf(account secdesc.GUID) int {
	return slices.IndexFunc(g.Approvals, func(a Approval) bool { return a.By.Account == account })
}

// observing returns the index of an observer who is there, or -1.
func (g *Grant) observing(account secdesc.GUID) int {
	return slices.IndexFunc(g.Observers, func(o Observer) bool { return o.By.Account == account && o.Left.IsZero() })
}

// lastObserver reports whether nobody else observes.
func (g *Grant) lastObserver(account secdesc.GUID) bool {
	return g.observing(account) >= 0 && !slices.ContainsFunc(g.Observers, func(o Observer) bool { return o.Left.IsZero() && o.By.Account != account })
}

// Guards of who may.
var (
	callerEntitled = guard{"caller is named by the policy", func(s *step) error {
		switch s.in.facts.Entitled {
		case Yes:
			return nil
		case Unknown:
			return say(ErrForbidden, "whether %s may do this could not be found out", s.in.actor.Name).because(s.in.facts.Why)
		}
		return say(ErrForbidden, "the policy %s does not name %s for this", s.policyName(), s.in.actor.Name)
	}}
	inPerson = guard{"in person, not by an API token", func(s *step) error {
		if s.in.token {
			return say(ErrForbidden, "this needs a person; %s acts by an API token", s.in.actor.Name)
		}
		return nil
	}}
	notSelf = guard{"neither requester nor holder, under whatever account", func(s *step) error {
		switch s.in.facts.Self {
		case No:
			return nil
		case Unknown:
			return say(ErrForbidden, "whether %s is the same person as %s could not be found out", s.in.actor.Name, s.g.Requester.Name).because(s.in.facts.Why)
		}
		return say(ErrForbidden, "%s is the person who requested or holds it; it takes somebody else", s.in.actor.Name)
	}}
	isSelf = guard{"requester or holder", func(s *step) error {
		if s.in.facts.Self == Yes {
			return nil
		}
		return say(ErrForbidden, "only %s or %s may do this", s.g.Requester.Name, s.g.Holder.Name)
	}}
	notRepeated = guard{"has not approved yet, under whatever account", func(s *step) error {
		switch s.in.facts.Repeat {
		case No:
			return nil
		case Unknown:
			return say(ErrForbidden, "whether %s has approved under another account could not be found out", s.in.actor.Name).because(s.in.facts.Why)
		}
		return say(ErrForbidden, "this person's approval counts already")
	}}
	hasApproved = guard{"has approved", func(s *step) error {
		if s.g.approvalOf(s.in.party.Account) < 0 {
			return say(ErrForbidden, "%s has not approved it", s.in.party.Name)
		}
		return nil
	}}
	isObserving = guard{"observes", func(s *step) error {
		if s.g.observing(s.in.party.Account) < 0 {
			return say(ErrForbidden, "%s does not observe it", s.in.party.Name)
		}
		return nil
	}}
	notObserving = guard{"does not observe yet", func(s *step) error {
		if s.g.observing(s.in.party.Account) >= 0 {
			return say(ErrForbidden, "%s observes it already", s.in.party.Name)
		}
		return nil
	}}
	byServer = guard{"by the service itself", func(s *step) error {
		if s.in.actor.Account.IsZero() {
			return nil
		}
		return say(ErrForbidden, "it is being activated already")
	}}
	byHolder = guard{"by holder or requester where the policy says so", func(s *step) error {
		server := s.in.actor.Account.IsZero()
		switch {
		case s.g.Emergency && server, server && s.g.Terms.Activation != ByHolder, s.in.facts.Self == Yes:
			return nil
		}
		return say(ErrForbidden, "%s or %s activates it", s.g.Holder.Name, s.g.Requester.Name)
	}}
	current = guard{"action of the present generation", func(s *step) error {
		if s.in.generation == 0 {
			return say(ErrStale, "an outcome without a generation")
		}
		return nil
	}}
)

func (s *step) policyName() string {
	if s.in.policy != nil {
		return s.in.policy.Name
	}
	return s.g.Policy
}

// Guards of time and place.
var (
	startReached = guard{"start reached", func(s *step) error {
		if ahead(s, s.g.Start) {
			return say(ErrPolicy, "it starts at %s", s.g.Start.UTC().Format(time.RFC3339))
		}
		return nil
	}}
	windowOpen = guard{"inside a time window", func(s *step) error {
		if s.g.Emergency {
			return nil
		}
		open, until, err := windowAt(s.g.windows(), s.in.now.Wall)
		switch {
		case err != nil:
			return say(ErrPolicy, "its time windows cannot be computed").because(err.Error())
		case open:
			return nil
		case until.IsZero():
			return say(ErrPolicy, "no time window opens within a week")
		}
		return say(ErrPolicy, "the next time window opens at %s", until.UTC().Format(time.RFC3339))
	}}
	observerThere = guard{"observer there, where one is needed", func(s *step) error {
		if observerOK(&s.g) {
			return nil
		}
		return say(ErrPolicy, "nobody observes yet")
	}}
	approvalsEnough = guard{"approvals suffice", func(s *step) error {
		if s.g.enough() {
			return nil
		}
		return say(ErrPolicy, "%d of %d approvals", len(s.g.Approvals), s.g.Terms.Approval.Needed)
	}}
	holderEnabled = guard{"holder's account enabled", func(s *step) error {
		if s.in.object.Exists && !s.in.object.Disabled {
			return nil
		}
		return say(ErrPolicy, "the account %s is disabled or gone", s.g.Holder.Name)
	}}
	membershipFree = guard{"no other write of this membership may still be sent", func(s *step) error {
		h := s.in.holding
		if !h.Busy.After(s.in.dc) || h.Last == s.g.ID || s.g.Emergency && s.event == Activate {
			return nil
		}
		return say(ErrPolicy, "a write of %s may still take effect; waiting until %s", h.Last, h.Busy.UTC().Format(time.RFC3339))
	}}
	timeUp = guard{"time is up", func(s *step) error {
		if s.up() {
			return nil
		}
		return say(ErrPolicy, "its time is not up")
	}}
)

// up reports whether the time of the state is over, by the clock that counts there.
func (s *step) up() bool {
	now := s.in.now.Wall
	passed := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch s.g.State {
	case Requested:
		return passed(s.g.ApproveBy)
	case Scheduled, Approved, Activating:
		return passed(s.g.ActivateBy)
	case Active:
		return !s.in.dc.IsZero() && !s.in.dc.Before(s.g.Ends) || s.in.monoUp || passed(s.g.ObserveBy) && !s.g.observed()
	case UnderReview:
		return passed(s.g.ReviewBy) && !s.g.Overdue
	}
	return false
}

// endFor returns when a grant that becomes active now ends, by the controller's clock:
// after its duration, and with its time window.
func (s *step) endFor(at time.Time) time.Time {
	end := at.Add(s.g.Duration)
	if s.g.Emergency {
		return end
	}
	// Windows are of the wall clock of people; the controller's is the one that counts.
	if open, until, err := windowAt(s.g.windows(), at); err == nil && open && !until.IsZero() {
		end = earlier(end, until)
	}
	return end
}

// Guards of extensions.
var (
	extensionPending = guard{"an extension waits for approval", func(s *step) error {
		if s.g.pendingExtension() < 0 {
			return say(ErrIllegal, "it is active, and no extension waits for approval")
		}
		return nil
	}}
	extensionAllowed = guard{"extension within the policy's limits", func(s *step) error {
		if s.g.pendingExtension() >= 0 {
			return say(ErrPolicy, "an extension waits for approval already")
		}
		if why := s.g.Terms.Reason.accepts("the reason", s.in.reason); why != "" {
			return say(ErrPolicy, "%s", why)
		}
		return s.extensionRoom(s.in.extend)
	}}
	extensionFits = guard{"extension still within the limits", func(s *step) error {
		return s.extensionRoom(s.g.Extensions[s.g.pendingExtension()].For)
	}}
)

func (s *step) extensionRoom(d time.Duration) error {
	x := s.g.Terms.Extension
	total, times := s.g.extended()
	switch {
	case x.Times == 0:
		return say(ErrPolicy, "the policy allows no extension")
	case s.g.Emergency:
		return say(ErrPolicy, "an emergency is not extended; request it anew")
	case d < time.Minute:
		return say(ErrPolicy, "an extension lasts a minute at least")
	case times >= x.Times:
		return say(ErrPolicy, "it was extended %d times, the most that the policy allows", times)
	case total+d > time.Duration(x.Longest):
		return say(ErrPolicy, "extensions may last %s in all, %s are left", x.Longest, Span(max(0, time.Duration(x.Longest)-total)))
	case s.up(), !s.g.WallEnds.IsZero() && !s.in.now.Wall.Before(s.g.WallEnds):
		return say(ErrPolicy, "its time is up")
	}
	return nil
}
