package grant

import "sync"

// A Transition is one row of the state machine. Of the rows of a state and event, the
// first whose condition holds counts. Then every guard must hold, or the event is
// refused. Effects follow in order.
type Transition struct {
	From    State
	Event   Event
	To      State
	When    string   // the condition, empty: always
	Guards  []string // what must hold
	Effects []string // what happens
}

// row is a Transition with its functions.
type row struct {
	from    State
	event   Event
	to      State
	when    condition
	guards  []guard
	effects []effect
	quiet   bool // leaves no entry: it changes nothing but when to look again
}

// Transitions returns the state machine. Events that a state does not list are refused.
func Transitions() []Transition {
	var out []Transition
	for _, r := range table() {
		t := Transition{From: r.from, Event: r.event, To: r.to, When: r.when.name}
		for _, g := range r.guards {
			t.Guards = append(t.Guards, g.name)
		}
		for _, e := range r.effects {
			t.Effects = append(t.Effects, e.name)
		}
		out = append(out, t)
	}
	return out
}

// rows is the table, made once.
var rows = sync.OnceValue(table)

// table is the state machine.
func table() []row {
	var all []row
	for _, part := range [][]row{
		requestRows(), waitingRows(), startRows(), activatingRows(), activeRows(), endingRows(), finishedRows(), surroundingRows(),
	} {
		all = append(all, part...)
	}
	return all
}

// does, on and in make rows readable.
func does(e ...effect) []effect { return e }

func needs(g ...guard) []guard { return g }

func requestRows() []row {
	asked := needs(validOrder, callerEntitled, holderOwn, holderUsable)
	return []row{
		{None, Request, Approved, isEmergency, asked, does(setUp, tellLoudly), false},
		{None, Request, Scheduled, preapprovedLater, asked, does(setUp, tellTaken), false},
		{None, Request, Approved, isPreapproved, asked, does(setUp, tellTaken), false},
		{None, Request, Requested, always, asked, does(setUp, tellApprovers), false},
	}
}

// waitingRows are those of a grant that nothing was written for.
func waitingRows() []row {
	approver := needs(inPerson, callerEntitled, notSelf, notRepeated)
	decider := needs(inPerson, callerEntitled)
	rows := []row{
		{Requested, Approve, Scheduled, lastApprovalLater, approver, does(addApproval, tellTaken), false},
		{Requested, Approve, Approved, lastApproval, approver, does(addApproval, tellTaken), false},
		{Requested, Approve, Requested, always, approver, does(addApproval), false},
		{Requested, Withdraw, Requested, always, needs(hasApproved), does(dropApproval), false},
		{Requested, ApproverLost, Requested, always, nil, does(dropApproval, tellApprovers), false},
		{Requested, Expire, Expired, always, needs(timeUp), does(tellEnd), false},
		{Scheduled, Start, Approved, always, needs(startReached), nil, false},
		{Scheduled, Expire, Expired, always, needs(timeUp), does(tellEnd), false},
		{Approved, Expire, Expired, always, needs(timeUp), does(tellEnd), false},
	}
	for _, s := range []State{Scheduled, Approved} {
		rows = append(rows,
			row{s, Withdraw, Requested, tooFewWithout, needs(hasApproved), does(dropApproval, tellApprovers), false},
			row{s, Withdraw, s, always, needs(hasApproved), does(dropApproval), false},
			row{s, ApproverLost, Requested, tooFewWithout, nil, does(dropApproval, tellApprovers), false},
			row{s, ApproverLost, s, always, nil, does(dropApproval), false},
		)
	}
	for _, s := range []State{Requested, Scheduled, Approved} {
		rows = append(rows,
			row{s, Deny, Denied, always, decider, does(tellEnd), false},
			row{s, Observe, s, always, needs(inPerson, callerEntitled, notSelf, notObserving), does(addObserver), false},
			row{s, Leave, s, always, needs(isObserving), does(dropObserver), false},
			row{s, ObserverLost, s, always, nil, does(dropObserver), false},
			row{s, Cancel, Cancelled, always, needs(isSelf), does(tellEnd), false},
			row{s, Revoke, Cancelled, always, needs(callerEntitled), does(tellEnd), false},
			row{s, RequesterLost, Cancelled, always, nil, does(tellEnd), false},
			row{s, TargetDeleted, Failed, always, nil, does(tellEnd), false},
			row{s, GroupDeleted, Failed, always, nil, does(tellEnd), false},
			row{s, TargetDisabled, s, always, nil, does(noteObject), false},
		)
	}
	return rows
}

// startRows lead from a grant that may start to a membership.
func startRows() []row {
	ready := needs(byHolder, startReached, windowOpen, observerThere, approvalsEnough, holderEnabled)
	ready = ready[:len(ready):len(ready)]
	return []row{
		{Approved, Activate, Activating, always, append(ready, membershipFree), does(intendAdd), false},
		{Approved, FoundOther, Active, always, append(ready, membershipFree), does(shareMembership, startClock, tellStart), false},
		{Approved, FoundPermanent, Active, always, ready, does(standOnPermanent, startClock, tellStanding), false},
		{Approved, FoundTimeBound, Active, outlastsGrant, ready, does(standOnTimeBound, startClock, tellStanding), false},
		{Approved, FoundTimeBound, Failed, always, ready, does(tellEnd), false},
		{Approved, LaterActive, Approved, always, nil, does(retryLater), true},
	}
}

func activatingRows() []row {
	rows := []row{
		{Activating, Activate, Activating, always, needs(byServer, membershipFree), does(intendAdd), false},
		{Activating, Activated, Active, always, needs(current), does(ownMembership, startClock, tellStart), false},
		{Activating, FoundOther, Active, always, needs(current), does(shareMembership, startClock, tellStart), false},
		{Activating, FoundPermanent, Active, always, needs(current), does(standOnPermanent, startClock, tellStanding), false},
		{Activating, FoundTimeBound, Active, outlastsGrant, needs(current), does(standOnTimeBound, startClock, tellStanding), false},
		{Activating, FoundTimeBound, Failed, always, needs(current), does(dropClaim, tellEnd), false},
		{Activating, NotActivated, Failed, always, needs(current), does(dropClaim, tellLoudly), false},
		{Activating, LaterActive, Activating, always, needs(current), does(takeBack, retryLater), false},
		{Activating, MaybeActive, Activating, always, needs(current), does(markAmbiguous, retryLater), false},
		{Activating, Expire, Ending, always, needs(timeUp), does(beginEnd), false},
		{Activating, Withdraw, Ending, tooFewWithout, needs(hasApproved), does(dropApproval, beginEnd), false},
		{Activating, Withdraw, Activating, always, needs(hasApproved), does(dropApproval), false},
		{Activating, Deny, Ending, always, needs(inPerson, callerEntitled), does(beginEnd), false},
		{Activating, ApproverLost, Ending, tooFewWithout, nil, does(dropApproval, beginEnd), false},
		{Activating, ApproverLost, Activating, always, nil, does(dropApproval), false},
		{Activating, Cancel, Ending, always, needs(isSelf), does(beginEnd), false},
		{Activating, DCBack, Activating, always, nil, does(wakeNow), true},
		{Activating, DCAway, Activating, always, nil, nil, true},
	}
	return rows
}

func activeRows() []row {
	approver := needs(extensionPending, inPerson, callerEntitled, notSelf, notRepeated)
	approver = approver[:len(approver):len(approver)]
	return []row{
		{Active, Extend, Active, extensionFree, needs(isSelf, extensionAllowed), does(addExtension, giveExtension), false},
		{Active, Extend, Active, always, needs(isSelf, extensionAllowed), does(addExtension, tellApprovers), false},
		{Active, Approve, Active, lastOfExtension, append(approver, extensionFits), does(approveExtension, giveExtension), false},
		{Active, Approve, Active, always, append(approver, extensionFits), does(approveExtension), false},
		{Active, Deny, Active, always, needs(extensionPending, inPerson, callerEntitled), does(denyExtension), false},
		{Active, Expire, Ending, always, needs(timeUp), does(beginEnd), false},
		{Active, Lost, Ending, always, nil, does(loseMembership, beginEnd), false},
		{Active, ApproverLost, Active, always, nil, nil, false},
		{Active, ClockJump, Active, always, nil, nil, false},
		{Active, DCBack, Active, always, nil, nil, true},
		{Active, DCAway, Active, always, nil, nil, true},
	}
}

// endingRows never lead back: a grant that is ending ends.
func endingRows() []row {
	return []row{
		{Ending, Remove, Ending, always, needs(current), does(intendRemove), false},
		{Ending, HasEnded, UnderReview, needsReview, needs(current), does(releaseMembership, finish, tellReviewers), false},
		{Ending, HasEnded, Ended, always, needs(current), does(releaseMembership, finish, tellEnd), false},
		{Ending, FoundOther, UnderReview, needsReview, needs(current), does(finish, tellReviewers), false},
		{Ending, FoundOther, Ended, always, needs(current), does(finish, tellEnd), false},
		{Ending, FoundPermanent, UnderReview, needsReview, needs(current), does(disownMembership, finish, tellReviewers), false},
		{Ending, FoundPermanent, Ended, always, needs(current), does(disownMembership, finish, tellEnd), false},
		{Ending, TargetDeleted, UnderReview, needsReview, nil, does(keepForRestore, finish, tellReviewers), false},
		{Ending, TargetDeleted, Ended, always, nil, does(keepForRestore, finish, tellEnd), false},
		{Ending, GroupDeleted, UnderReview, needsReview, nil, does(keepForRestore, finish, tellReviewers), false},
		{Ending, GroupDeleted, Ended, always, nil, does(keepForRestore, finish, tellEnd), false},
		{Ending, NotEnded, Ending, always, needs(current), does(countAnswer, retryLater, tellStuck), false},
		{Ending, MaybeEnded, Ending, always, needs(current), does(holdBack, retryLater, tellStuck), false},
		{Ending, TargetDisabled, Ending, always, nil, does(noteObject), false},
		{Ending, DCBack, Ending, always, nil, does(wakeNow), true},
		{Ending, DCAway, Ending, always, nil, nil, true},
	}
}

func finishedRows() []row {
	rows := []row{
		{UnderReview, Review, Ended, always, needs(inPerson, callerEntitled, notSelf), does(addReview, tellReviewed), false},
		{UnderReview, ReviewOverdue, UnderReview, always, needs(timeUp), does(markOverdue), false},
	}
	for _, s := range []State{UnderReview, Ended, Failed} {
		rows = append(rows, row{s, Reappeared, Ending, always, nil, does(reopen, tellLoudly), false})
	}
	return rows
}

// surroundingRows are those that several states have in common.
func surroundingRows() []row {
	var rows []row
	for _, s := range []State{Activating, Active} {
		rows = append(rows,
			row{s, GiveBack, Ending, always, needs(isSelf), does(beginEnd), false},
			row{s, Revoke, Ending, always, needs(callerEntitled), does(beginEnd), false},
			row{s, RequesterLost, Ending, always, nil, does(beginEnd), false},
			row{s, TargetDeleted, Ending, always, nil, does(noteObject, beginEnd), false},
			row{s, TargetDisabled, Ending, always, nil, does(noteObject, beginEnd), false},
			row{s, GroupDeleted, Ending, always, nil, does(beginEnd), false},
			row{s, Observe, s, always, needs(inPerson, callerEntitled, notSelf, notObserving), does(addObserver), false},
			row{s, Leave, Ending, lastLeavesEnds, needs(isObserving), does(dropObserver, beginEnd), false},
			row{s, Leave, s, always, needs(isObserving), does(dropObserver, observerGrace), false},
			row{s, ObserverLost, Ending, lastLeavesEnds, nil, does(dropObserver, beginEnd), false},
			row{s, ObserverLost, s, always, nil, does(dropObserver, observerGrace), false},
		)
	}
	for _, s := range []State{Requested, Scheduled, Approved, Activating, Active, Ending} {
		rows = append(rows,
			row{s, TargetRenamed, s, always, nil, does(noteObject), false},
			row{s, TargetMoved, s, always, nil, does(noteObject), false},
		)
	}
	for _, s := range []State{Requested, Scheduled, Approved} {
		rows = append(rows,
			row{s, DCBack, s, always, nil, does(wakeNow), true},
			row{s, DCAway, s, always, nil, nil, true},
		)
	}
	for _, s := range []State{Requested, Scheduled, Approved, Activating, Ending} {
		rows = append(rows, row{s, ClockJump, s, always, nil, does(wakeNow), true})
	}
	return rows
}
