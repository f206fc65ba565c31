package grant

import (
	"fmt"
	"time"
)

// An effect is what a transition does to the grant, and asks for.
type effect struct {
	name string
	do   func(*step)
}

// Timing of writes.
const (
	// sendWithin is how long after its intent a write may be sent. Removals have less,
	// unless a management account is to be enabled for them: if whoever announced one
	// dies, the next must not have to wait for long.
	sendWithin   = 10 * time.Second
	removeWithin = 2 * time.Second
	// settle is how long after that a write whose answer was lost may take effect
	// because something on the way held it back. After an addition the link is watched
	// so long; after a removal nobody adds the membership so long.
	settle = 2 * time.Minute
	// nativeSlack is added to the end of expiring links: leastwise's own removal comes
	// first, the link's end only if that does not.
	nativeSlack = 2 * time.Minute
)

// Effects of requests and approvals.
var (
	setUp = effect{"record the request under the policy's present terms", func(s *step) {
		o, now := s.in.order, s.in.now.Wall
		s.g.ID, s.g.Policy, s.g.Terms = o.ID, s.in.policy.Name, *s.in.policy
		s.g.Key = Key{Group: o.group.GUID, Member: o.holder.Account}
		s.g.Group, s.g.Holder, s.g.Requester, s.g.Account = o.group, o.holder, s.in.actor.Party, o.object
		s.g.Reason, s.g.Ticket, s.g.Emergency, s.g.Schedule = o.Reason, o.Ticket, o.Emergency, o.Schedule
		s.g.Duration, s.g.Start, s.g.RequestedAt = o.For, o.Start, now
		s.g.ApproveBy = now.Add(time.Duration(s.in.policy.Approval.Within))
		s.setActivateBy()
		s.in.reason = o.Reason
	}}
	addApproval = effect{"count the approval", func(s *step) {
		s.g.Approvals = append(s.g.Approvals, Approval{By: s.in.actor.Party, Time: s.in.now.Wall, Note: s.in.reason})
		s.setActivateBy()
	}}
	dropApproval = effect{"drop the approval", func(s *step) {
		if i := s.g.approvalOf(s.in.party.Account); i >= 0 {
			s.g.Approvals = append(s.g.Approvals[:i:i], s.g.Approvals[i+1:]...)
		}
	}}
	addObserver = effect{"note the observer", func(s *step) {
		s.g.Observers = append(s.g.Observers, Observer{By: s.in.actor.Party, Joined: s.in.now.Wall})
		s.g.ObserveBy = time.Time{}
	}}
	dropObserver = effect{"note that the observer left", func(s *step) {
		if i := s.g.observing(s.in.party.Account); i >= 0 {
			s.g.Observers[i].Left = s.in.now.Wall
		}
	}}
	observerGrace = effect{"give others the policy's time to join", func(s *step) {
		if s.g.Terms.Observer.Leaves == LeavingGrace && !s.g.observed() {
			s.g.ObserveBy = s.in.now.Wall.Add(time.Duration(s.g.Terms.Observer.Grace))
		}
		s.notify(true, "an observer left "+s.g.what(), ToRequester, ToApprovers, ToSecurity)
	}}
	noteObject = effect{"note the account's present name and state", func(s *step) {
		if s.in.object.GUID == s.g.Key.Member && s.in.object.Name != "" {
			s.g.Holder.Name, s.g.Holder.SID, s.g.Account = s.in.object.Name, s.in.object.SID, s.in.object
		}
		if s.in.object.GUID == s.g.Key.Group && s.in.object.Name != "" {
			s.g.Group = s.in.object
		}
	}}
)

// setActivateBy sets when a start comes too late.
func (s *step) setActivateBy() {
	base := s.in.now.Wall
	if s.g.Start.After(base) {
		base = s.g.Start
	}
	s.g.ActivateBy = base.Add(time.Duration(s.g.Terms.Within))
}

// what describes a grant in notices.
func (g *Grant) what() string {
	return fmt.Sprintf("%s of %s (%s) by %s: %s", g.Group.Name, g.Holder.Name, g.Policy, g.Requester.Name, g.Reason)
}

// Effects of activation.
var (
	intendAdd = effect{"intend and add the membership", func(s *step) {
		h := s.in.holding
		if s.g.Tries == 0 {
			s.g.IntentDC, s.g.Watched, s.g.Held = s.in.dc, h.Watch.After(s.in.dc), still(h.Busy, s.in.dc)
		}
		s.g.Tries++
		w := s.write()
		if s.g.Terms.Native {
			w.For = s.g.Duration + time.Duration(s.g.Terms.Extension.Longest) + nativeSlack
		}
		sent := s.in.dc.Add(s.in.slack + s.g.sendTime())
		s.announceWrite(sent)
		h.Watch = later(h.Watch, sent.Add(settle))
		s.effects = append(s.effects, AddMember{w})
	}}
	intendRemove = effect{"intend and remove the membership; nobody adds it until none can be on its way", func(s *step) {
		if s.g.Removes == 0 {
			s.g.Held = still(s.in.holding.Busy, s.in.dc)
		}
		s.g.Removes++
		w := s.write()
		s.announceWrite(s.in.dc.Add(s.in.slack + s.g.sendTime() + settle))
		s.effects = append(s.effects, RemoveMember{w})
	}}
	countAnswer = effect{"count the removal that had no effect as over", func(s *step) {
		if s.in.proven && s.g.Removes > 0 {
			s.g.Removes--
		}
		if s.in.proven && s.g.Removes == 0 {
			s.unhold()
		}
	}}
	ownMembership = effect{"the membership is the grants'", func(s *step) {
		s.g.Basis = Added
		if !s.in.proven {
			s.g.Basis = Inferred
			s.in.detail = "inferred: the answer to a write was lost, and the membership is there. " + s.in.detail
		}
		s.unhold()
		s.own(s.g.Basis)
		s.unwatch()
	}}
	shareMembership  = effect{"share the membership of another grant", func(s *step) { s.g.Basis = Shared }}
	standOnPermanent = effect{"rest on the membership that was there before; nothing will be removed", func(s *step) {
		s.g.Basis = Standing
		s.quit()
	}}
	standOnTimeBound = effect{"rest on the time-bound membership that was there before; nothing will be removed", func(s *step) {
		s.g.Basis = TimeBound
		s.quit()
	}}
	startClock = effect{"start the clock: the end is set, by the controller's time", func(s *step) {
		at := s.in.dc
		if s.g.Basis == Inferred {
			// It became active at some time since the first intent.
			at = s.g.IntentDC
			if s.in.link.Since.After(at) {
				at = earlier(s.in.link.Since, s.in.dc)
			}
		}
		s.g.Activated, s.g.Ends = at, s.endFor(at)
		s.g.WallEnds = s.in.now.Wall.Add(s.g.Ends.Sub(s.in.dc))
		s.g.Native, s.g.Tickets = s.in.native, s.in.tickets
	}}
	markAmbiguous = effect{"the write may have taken effect", func(s *step) {
		s.g.Ambiguous = true
		s.g.Fault = s.in.detail
	}}
	retryLater = effect{"try again later, without limit while the state lasts", func(s *step) {
		s.g.Fault, s.g.Flying = s.in.detail, false
		s.g.Attempts++
	}}
	takeBack = effect{"count no try of an addition that was provably not sent", func(s *step) {
		if !s.in.unsent || s.g.Tries == 0 {
			return
		}
		if s.g.Tries == 1 {
			s.quit()
		} else {
			s.g.Ambiguous = true // of an earlier one nothing is known
		}
		s.g.Tries--
	}}
	wakeNow = effect{"look at once", func(s *step) { s.g.Attempts = 0 }}
)

func (s *step) write() Write {
	within := s.g.sendTime()
	return Write{
		Grant: s.g.ID, Generation: s.g.Generation, Key: s.g.Key, Through: s.g.Terms.Through,
		NotAfter: Instant{Wall: s.in.now.Wall.Add(within), Mono: s.in.now.Mono + within},
	}
}

// announceWrite keeps others from adding the membership until a time of the controller's.
func (s *step) announceWrite(until time.Time) {
	h := s.in.holding
	h.Last, s.g.Flying = s.g.ID, true
	h.Busy = later(h.Busy, until)
}

// still returns t if it is later than now, else the zero time.
func still(t, now time.Time) time.Time {
	if t.After(now) {
		return t
	}
	return time.Time{}
}

func (s *step) own(b Basis) {
	h := s.in.holding
	h.Ours, h.Basis, h.Last, h.Gone = true, b, s.g.ID, false
	h.Stamp = s.in.link.Stamp
}

// unhold takes back what the grant's own writes announced: none of them is on its way any
// more, or it does no harm. What other grants announced before stays.
func (s *step) unhold() {
	if h := s.in.holding; h.Last == s.g.ID {
		h.Busy = s.g.Held
	}
}

// quit takes back what an intent announced: the write had no effect.
func (s *step) quit() {
	if h := s.in.holding; h != nil && h.Last == s.g.ID {
		s.unhold()
		s.unwatch()
	}
}

// keepWatch ends the watch over a membership, or prolongs it if an addition whose answer
// was lost may still take effect.
func (s *step) keepWatch() {
	s.unwatch()
	if h := s.in.holding; s.g.Ambiguous && h.Last == s.g.ID {
		h.Watch = later(h.Watch, s.in.dc.Add(settle))
	}
}

// unwatch ends the watch over a membership if no addition is left whose fate is
// unknown: the grant's own was the only one, and was answered. A grant that ends without
// a basis stored no answer: who announced its addition may have died, and it still comes.
func (s *step) unwatch() {
	answered := s.from == Activating || s.g.Basis != NoBasis
	if answered && s.g.Tries == 1 && !s.g.Ambiguous && !s.g.Watched && s.in.holding.Last == s.g.ID {
		s.in.holding.Watch = time.Time{}
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Effects of extensions.
var (
	addExtension = effect{"record the extension", func(s *step) {
		s.g.Extensions = append(s.g.Extensions, Extension{By: s.in.actor.Party, Time: s.in.now.Wall, For: s.in.extend, Reason: s.in.reason})
	}}
	approveExtension = effect{"count the approval of the extension", func(s *step) {
		x := &s.g.Extensions[s.g.pendingExtension()]
		x.Approvals = append(x.Approvals, Approval{By: s.in.actor.Party, Time: s.in.now.Wall, Note: s.in.reason})
	}}
	giveExtension = effect{"set the later end", func(s *step) {
		x := &s.g.Extensions[s.g.pendingExtension()]
		x.Given = true
		old := s.g.Ends
		s.g.Duration += x.For
		s.g.Ends = later(old, s.endFor(s.g.Activated))
		s.g.WallEnds = s.g.WallEnds.Add(s.g.Ends.Sub(old))
		s.notify(false, "extended: "+s.g.what(), ToRequester, ToApprovers, ToSecurity)
	}}
	denyExtension = effect{"refuse the extension", func(s *step) {
		s.g.Extensions[s.g.pendingExtension()].Refused = true
		s.notify(false, "extension refused: "+s.g.what(), ToRequester)
	}}
)

// Effects of the end.
var (
	beginEnd = effect{"begin the end", func(s *step) {
		s.g.EndWhy, s.g.EndBy, s.g.EndSince = string(s.event), s.in.actor.Party, s.in.now.Wall
		s.g.Attempts, s.g.Removes, s.g.Held = 0, 0, time.Time{}
	}}
	loseMembership = effect{"somebody else removed the membership", func(s *step) {
		s.in.holding.Ours, s.in.holding.Stamp = false, ""
		s.g.Ambiguous, s.g.Tries = false, 0
		s.notify(true, "somebody else removed the membership of "+s.g.what(), ToRequester, ToSecurity)
	}}
	releaseMembership = effect{"the membership is gone", func(s *step) {
		h := s.in.holding
		h.Ours, h.Stamp, h.Basis, h.Gone = false, "", NoBasis, false
		if s.in.proven && s.g.Removes == 1 {
			s.unhold() // the one write was answered: none is on its way
		}
		s.keepWatch()
	}}
	dropClaim = effect{"no membership is the grant's", func(s *step) {
		if s.g.Tries == 1 && !s.g.Ambiguous {
			s.unhold()
		}
		s.keepWatch()
	}}
	holdBack = effect{"keep others from adding it until a late removal can no longer come", func(s *step) {
		s.in.holding.Busy = later(s.in.holding.Busy, s.in.dc.Add(settle))
	}}
	disownMembership = effect{"the membership is not the grants': left alone", func(s *step) {
		if !s.g.Basis.removable() && s.g.Basis != NoBasis {
			return // it never rested on a membership of ours
		}
		h := s.in.holding
		h.Ours, h.Stamp, h.Basis, h.Gone, h.Watch = false, "", NoBasis, false, time.Time{}
		s.notify(true, "the account stays a member, by a membership that no grant made: "+s.g.what(), ToSecurity)
	}}
	keepForRestore = effect{"watch for the object's return", func(s *step) {
		if h := s.in.holding; h.Ours {
			h.Gone, h.Last = true, s.g.ID
		}
	}}
	finish = effect{"note the end", func(s *step) {
		s.g.EndedAt = s.in.now.Wall
		if s.to == UnderReview {
			s.g.ReviewBy = s.in.now.Wall.Add(time.Duration(s.g.Terms.Emergency.Within))
		}
	}}
	reopen = effect{"the membership is there again: it ends anew", func(s *step) {
		s.g.EndWhy, s.g.EndSince, s.g.Ambiguous = string(s.event), s.in.now.Wall, true
		s.g.Basis, s.g.Removes, s.g.Held = Inferred, 0, time.Time{}
		s.own(Inferred)
	}}
	addReview = effect{"note the review", func(s *step) {
		s.g.Reviewed = &Approval{By: s.in.actor.Party, Time: s.in.now.Wall, Note: s.in.reason}
	}}
	markOverdue = effect{"announce that the review is overdue", func(s *step) {
		s.g.Overdue = true
		s.notify(true, "the review of an emergency is overdue: "+s.g.what(), ToReviewers, ToSecurity)
	}}
)

// Notices.
var (
	tellApprovers = effect{"tell the approvers", func(s *step) {
		s.notify(false, "approval is asked for: "+s.g.what(), ToApprovers)
	}}
	tellTaken = effect{"tell requester and approvers", func(s *step) {
		s.notify(false, "approved: "+s.g.what(), ToRequester, ToApprovers)
	}}
	tellLoudly = effect{"tell everybody, loudly", func(s *step) {
		s.notify(true, fmt.Sprintf("%s: %s %s", s.event, s.g.what(), s.in.detail), ToSecurity, ToRequester, ToApprovers, ToReviewers)
	}}
	tellStart = effect{"tell of the start", func(s *step) {
		s.notify(s.g.Emergency, "active: "+s.g.what(), ToRequester, ToApprovers, ToObservers, ToSecurity)
	}}
	tellStanding = effect{"tell of the start, and that the account is a member anyhow", func(s *step) {
		s.notify(true, "active, but the account was a member before and stays one: "+s.g.what(), ToRequester, ToApprovers, ToObservers, ToSecurity)
	}}
	tellEnd = effect{"tell of the end", func(s *step) {
		s.notify(s.g.Emergency, fmt.Sprintf("%s: %s", s.to, s.g.what()), ToRequester, ToApprovers, ToObservers, ToSecurity)
	}}
	tellReviewers = effect{"tell of the end, and ask for the review", func(s *step) {
		s.notify(true, "an emergency has ended and is to be reviewed: "+s.g.what(), ToReviewers, ToSecurity, ToRequester)
	}}
	tellReviewed = effect{"tell of the review", func(s *step) {
		verdict := "in order"
		if !s.in.accept {
			verdict = "objected to"
		}
		s.in.detail = verdict
		s.notify(!s.in.accept, "reviewed, "+verdict+": "+s.g.what(), ToRequester, ToSecurity)
	}}
	tellStuck = effect{"tell the security team when tries mount up", func(s *step) {
		if n := s.g.Attempts; n == 3 || n > 3 && n&(n-1) == 0 {
			s.notify(true, fmt.Sprintf("the end of a membership did not succeed in %d tries: %s (%s)", n, s.g.what(), s.g.Fault), ToSecurity)
		}
	}}
)
