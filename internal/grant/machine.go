package grant

import (
	"fmt"
	"hash/fnv"
	"time"
)

// step is one decision in the making: a copy of the grant, what it depends on, and
// what it asks for.
type step struct {
	g       Grant
	from    State
	to      State
	event   Event
	in      input
	effects []Effect
}

// decide applies an event to a grant. On an error nothing has happened; the error is
// ErrIllegal, ErrForbidden, ErrPolicy or ErrStale.
func decide(g Grant, ev Event, in input) (*step, error) {
	if g.State == "" {
		g.State = None
	}
	if in.generation != 0 && in.generation != g.Generation {
		return nil, say(ErrStale, "%s of generation %d, %s is at %d", ev, in.generation, g.ID, g.Generation)
	}
	s := &step{g: g.clone(), from: g.State, event: ev, in: in}
	r, ok := s.choose()
	if !ok {
		return nil, say(ErrIllegal, "%s of %s%s", ev, &g, hint(g.State, ev))
	}
	for _, guard := range r.guards {
		if err := guard.check(s); err != nil {
			return nil, fmt.Errorf("%s of %s: %w", ev, &g, err)
		}
	}
	s.to = r.to
	s.g.State = r.to
	s.g.Generation++
	if s.from != s.to {
		s.g.Attempts, s.g.Fault, s.g.Flying = 0, "", false
	}
	for _, e := range r.effects {
		e.do(s)
	}
	s.g.Wake, s.g.WakeDC = s.wake(), s.wakeDC()
	if !r.quiet {
		s.log()
	}
	return s, nil
}

// choose returns the row that counts.
func (s *step) choose() (row, bool) {
	for _, r := range rows() {
		if r.from == s.from && r.event == s.event && (r.when.holds == nil || r.when.holds(s)) {
			return r, true
		}
	}
	return row{}, false
}

// hint says what to do instead.
func hint(s State, ev Event) string {
	switch {
	case s.Finished():
		return ": it is over; request it anew"
	case s == Active && ev == Cancel:
		return ": it is active; give it back"
	case s == Active && ev == Withdraw:
		return ": it is active; revoke it"
	case s == Ending:
		return ": it is ending already"
	case (s == Requested || s == Scheduled || s == Approved) && ev == GiveBack:
		return ": it is not active yet; cancel it"
	case (s == Requested || s == Scheduled) && ev == Activate:
		return ": it is not ready to start"
	}
	return ""
}

// log adds the entry of the decision, and, for a write, says that it is an intent.
func (s *step) log() {
	kind := Decision
	switch s.event {
	case Activated, NotActivated, LaterActive, MaybeActive, HasEnded, NotEnded, MaybeEnded:
		kind = Outcomes
	case TargetRenamed, TargetMoved, TargetDisabled, TargetDeleted, GroupDeleted, Lost, Reappeared, ClockJump:
		kind = Notable
	}
	for _, e := range s.effects {
		switch e.(type) {
		case AddMember, RemoveMember:
			kind = Intent
		}
	}
	s.effects = append(s.effects, s.entry(kind))
}

func (s *step) entry(k Kind) Entry {
	return Entry{
		Time: s.in.now.Wall, Kind: k, Actor: s.in.actor, Action: s.event, Grant: s.g.ID, Generation: s.g.Generation,
		Group: s.g.Key.Group, Target: s.g.Key.Member, GroupName: s.g.Group.Name, TargetName: s.g.Holder.Name, Until: s.g.Ends, From: s.from, To: s.to, Reason: s.in.reason, Detail: s.in.detail, Late: s.in.late,
	}
}

// notify adds a notice.
func (s *step) notify(loud bool, text string, to ...Audience) {
	s.effects = append(s.effects, Notice{
		Time: s.in.now.Wall, Grant: s.g.ID, Event: s.event, State: s.to, To: to, Loud: loud, Text: text,
	})
}

// Backoff of writes.
const (
	firstDelay = time.Second
	lastDelay  = 5 * time.Minute
)

// longestSlack is how much longer an announcement may lie ahead because reading took its
// time.
const longestSlack = 10 * time.Second

// sendTime is how long after its intent a write of a grant may be sent.
func (g *Grant) sendTime() time.Duration {
	if g.State == Ending && g.Terms.Through == "" {
		return removeWithin
	}
	return sendWithin
}

// aloneTime is how long everybody else leaves a grant alone whose write was just
// announced: as long as it may be sent. Controllers tell whole seconds.
func (g *Grant) aloneTime() time.Duration { return g.sendTime() + time.Second }

// alone reports whether a write of a grant may still be sent by whoever announced it, by
// the controller's clock. An announcement that lies in the future was made before that
// clock was set back, and is nobody's.
func (g *Grant) alone(dc time.Time) bool {
	left := g.WakeDC.Sub(dc)
	return g.Flying && left > 0 && left <= g.aloneTime()+longestSlack
}

// backoff returns how long to wait before the next try after so many: doubled each
// time up to a cap, and shifted by up to a quarter, so that a thousand grants do not
// come back in the same second. The shift depends on grant and try alone.
func backoff(id ID, attempts int) time.Duration {
	d := firstDelay << min(max(attempts-1, 0), 20)
	d = min(d, lastDelay)
	h := fnv.New32a()
	fmt.Fprintf(h, "%s/%d", id, attempts)
	perMille := int64(h.Sum32()%501) - 250
	return d + time.Duration(int64(d)/1000*perMille)
}

// wake returns when the grant needs to be looked at again, by the wall clock.
func (s *step) wake() time.Time {
	now := s.in.now.Wall
	switch s.g.State {
	case Requested:
		return s.g.ApproveBy
	case Scheduled:
		return s.g.Start
	case Approved:
		return s.wakeApproved(now)
	case Active:
		return s.g.ObserveBy // its end is found by Ends, which is of another clock
	case UnderReview:
		if !s.g.Overdue {
			return s.g.ReviewBy
		}
	}
	return time.Time{}
}

// wakeDC returns the same by the controller's clock, for states that wait for the
// directory. A time long past means at once.
func (s *step) wakeDC() time.Time {
	switch s.g.State {
	case Active:
		return s.g.Ends
	case Activating, Ending:
		announced := s.event == Activate || s.event == Remove
		switch {
		case announced:
			return s.in.dc.Add(s.in.slack + s.g.aloneTime())
		case s.g.Flying:
			return s.g.WakeDC // what happened meanwhile does not answer the write
		case s.in.dc.IsZero(), s.g.Attempts == 0:
			return time.Unix(0, 0).UTC()
		}
		return s.in.dc.Add(backoff(s.g.ID, s.g.Attempts))
	}
	return time.Time{}
}

// wakeApproved is now if nothing is in the way but the directory.
func (s *step) wakeApproved(now time.Time) time.Time {
	switch {
	case s.g.Terms.Activation == ByHolder && !s.g.Emergency, !observerOK(&s.g):
		return s.g.ActivateBy
	case s.g.Attempts > 0:
		return now.Add(backoff(s.g.ID, s.g.Attempts))
	}
	if s.g.Emergency {
		return now
	}
	open, until, err := windowAt(s.g.windows(), now)
	if err != nil || open {
		return now
	}
	if until.IsZero() || s.g.ActivateBy.Before(until) {
		return s.g.ActivateBy
	}
	return until
}

// observerOK reports whether observation does not stand in the way of a start.
func observerOK(g *Grant) bool { return g.Emergency || !g.Terms.Observer.Needed || g.observed() }

// windows returns those in which a grant may be active: the policy's, or those of the
// schedule that approved it.
func (g *Grant) windows() []Window {
	for _, s := range g.Terms.Schedules {
		if g.Schedule != "" && s.Name == g.Schedule {
			return s.Windows
		}
	}
	return g.Terms.Windows
}
