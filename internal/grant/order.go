package grant

import (
	"fmt"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// An Order is what a caller asks for.
type Order struct {
	ID        ID // chosen by the caller; the same order with the same ID is one request
	Policy    string
	Holder    secdesc.GUID  // the account that is to have the membership; zero: the caller's own
	For       time.Duration // zero: the policy's usual
	Start     time.Time     // zero: as soon as approved
	Reason    string
	Ticket    string
	Schedule  string // name of a schedule that approves it beforehand
	Emergency bool   // immediately, loudly, reviewed afterwards

	group  Object
	holder Party
	object Object // of the holder
}

// same reports whether g came from an order like o.
func (o *Order) same(g *Grant) bool {
	return g.Policy == o.Policy && g.Holder.Account == o.holder.Account && g.Reason == o.Reason && g.Ticket == o.Ticket &&
		g.Emergency == o.Emergency && g.Schedule == o.Schedule && g.Start.Equal(o.Start)
}

// Guards of requests.
var (
	validOrder = guard{"duration, start, reason, ticket, window within the policy", func(s *step) error {
		if why := s.in.order.check(s.in.policy, s.in.now.Wall); why != "" {
			return say(ErrPolicy, "%s", why)
		}
		return nil
	}}
	holderOwn = guard{"for an account of the caller's own", func(s *step) error {
		switch s.in.facts.Self {
		case Yes:
			return nil
		case Unknown:
			return say(ErrForbidden, "whether %s is an account of %s could not be found out", s.in.order.holder.Name, s.in.actor.Name).because(s.in.facts.Why)
		}
		return say(ErrForbidden, "%s is not known to be an account of %s: declare the person in the policy file", s.in.order.holder.Name, s.in.actor.Name)
	}}
	holderUsable = guard{"account and group exist, account enabled", func(s *step) error {
		o := s.in.order
		switch {
		case !o.object.Exists || o.object.Group:
			return say(ErrPolicy, "there is no such account to hold it")
		case o.object.Disabled:
			return say(ErrPolicy, "the account %s is disabled", o.object.Name)
		case !o.group.Exists || !o.group.Group:
			return say(ErrPolicy, "%s names no security group that exists", s.in.policy.Target())
		}
		return nil
	}}
)

// check returns what the policy does not allow, empty if nothing.
func (o *Order) check(p *Policy, now time.Time) string {
	longest, windows := p.Duration.Longest, p.Windows
	switch {
	case o.Emergency && len(p.Emergency.From) == 0:
		return "it has no emergency path"
	case o.Emergency && (!o.Start.IsZero() || o.Schedule != ""):
		return "an emergency starts at once, without a schedule"
	case o.Emergency:
		longest = p.Emergency.Longest
	case o.Schedule != "":
		s := p.schedule(o.Schedule)
		if s == nil {
			return fmt.Sprintf("it has no schedule %q", o.Schedule)
		}
		longest, windows = s.Longest, s.Windows
	}
	if why := o.checkTexts(p); why != "" {
		return why
	}
	switch {
	case o.For < time.Minute:
		return "a grant lasts a minute at least"
	case o.For > time.Duration(longest):
		return fmt.Sprintf("%s is longer than %s, the longest that it allows", Span(o.For), longest)
	case !o.Start.IsZero() && o.Start.Before(now.Add(-5*time.Minute)):
		return "the start lies in the past"
	case o.Start.Sub(now) > time.Duration(p.Ahead) && o.Start.After(now):
		return fmt.Sprintf("the start lies further ahead than %s", p.Ahead)
	}
	if o.Emergency {
		return ""
	}
	return o.checkWindow(windows, now)
}

func (o *Order) checkTexts(p *Policy) string {
	if why := p.Reason.accepts("the reason", o.Reason); why != "" {
		return why
	}
	ticket := p.Ticket
	if o.Emergency {
		ticket.Needed = false // the ticket may come with the review
	}
	return ticket.accepts("the ticket", o.Ticket)
}

// checkWindow looks whether the start lies in a window. One that starts as soon as
// approved waits for the next, unless a schedule stands for the approval.
func (o *Order) checkWindow(windows []Window, now time.Time) string {
	start := later(now, o.Start)
	open, until, err := windowAt(windows, start)
	switch {
	case err != nil:
		return "its time windows cannot be computed"
	case open || o.Start.IsZero() && o.Schedule == "" && !until.IsZero():
		return ""
	case until.IsZero():
		return "no time window opens within a week of the start"
	}
	return "the start lies in no time window; the next opens at " + until.UTC().Format(time.RFC3339)
}

// schedule returns the schedule with a name, or nil.
func (p *Policy) schedule(name string) *Schedule {
	for i := range p.Schedules {
		if p.Schedules[i].Name == name {
			return &p.Schedules[i]
		}
	}
	return nil
}
