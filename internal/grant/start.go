package grant

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// freshRights is how long after the request the rights that were asked for then count
// without asking again.
const freshRights = 10 * time.Second

// activateFor activates a grant at its holder's command.
func (s *Service) activateFor(ctx context.Context, c Caller, g *Grant, in input) (Grant, error) {
	in.facts = s.callerFacts(ctx, c, g, Activate)
	dc, err := s.dir.Time(ctx)
	if err != nil {
		return Grant{}, s.refused(ctx, c, g, in, Activate, fmt.Errorf("%w: %w", ErrUnreachable, err))
	}
	in.dc = dc
	var r Report
	out, err := s.activate(ctx, g, in, tick{now: in.now, dc: dc, r: &r})
	if err != nil {
		return Grant{}, s.refused(ctx, c, g, in, Activate, err)
	}
	return out, nil
}

// activate takes a grant from approved, or from an attempt whose fate is unknown, to
// active: it looks, stores the intent, writes, and stores the outcome.
func (s *Service) activate(ctx context.Context, g *Grant, in input, t tick) (Grant, error) {
	if !s.claim(g.ID) {
		return Grant{}, say(ErrConflict, "it is being activated already")
	}
	defer s.release(g.ID)
	if g.State == Approved && t.now.Wall.Sub(g.RequestedAt) > freshRights {
		now, err := s.checkRights(ctx, g, t)
		if err != nil || now.State != Approved {
			return now, err
		}
		g = &now
	}
	var out Grant
	err := errOld
	for range looks {
		if !errors.Is(err, errOld) {
			break
		}
		out, err = s.start(ctx, g, in, t)
	}
	return out, err
}

// looks is how often a membership is looked at that others write meanwhile.
const looks = 3

// errOld reports that a membership was written, or released, since it was looked at.
var errOld = fmt.Errorf("%w: the membership has changed hands since it was looked at", ErrConflict)

// look reads a membership: first what is known of it, then the directory, so that what
// changes in between is noticed.
func (s *Service) look(ctx context.Context, k Key) (h Holding, l Links, err error) {
	if h, err = s.store.Holding(ctx, k); err != nil {
		return h, l, err
	}
	l, err = s.dir.Links(ctx, k.Group, []secdesc.GUID{k.Member})
	if err != nil {
		err = errors.Join(ErrUnreachable, err)
	}
	return h, l, err
}

// start is activate for one look at the directory.
func (s *Service) start(ctx context.Context, g *Grant, in input, t tick) (Grant, error) {
	asked := s.present(in.now)
	known, links, err := s.look(ctx, g.Key)
	in.now = s.present(in.now)
	if errors.Is(err, ErrUnreachable) {
		if _, dc := s.catchUp(t.now, t.dc); g.State == Activating && g.alone(dc) {
			return *g, nil // somebody else is at it: his answer counts
		}
		return s.later(ctx, g, in, err)
	}
	if err != nil {
		return Grant{}, err
	}
	in.slack = in.now.Mono - asked.Mono
	in.dc, in.link, in.object = links.At, links.Links[g.Key.Member], links.Members[g.Key.Member]
	in.native = in.link.Expires
	in.tickets = s.tickets(ctx, g)
	out, effects, err := s.applyMoves(ctx, g, doing{in.now, g.Emergency}, func(ctx context.Context, tx Tx, g *Grant, h *Holding) ([]move, error) {
		if h.Revision != known.Revision {
			return nil, errOld
		}
		in := in
		in.now, in.dc = s.catchUp(in.now, in.dc) // it may have waited for its turn
		return s.startMoves(ctx, tx, &starting{g: g, h: h, links: links, in: in})
	})
	if err != nil {
		if errors.Is(err, ErrPolicy) && in.actor.Account.IsZero() {
			return s.later(ctx, g, in, err)
		}
		return Grant{}, err
	}
	if out.State == Active && g.State != Active {
		t.r.Started++
		s.rememberStamp(out.ID, in.link.Stamp)
	}
	for _, e := range effects {
		if w, ok := e.(AddMember); ok {
			return s.add(ctx, &out, w.Write, in, t)
		}
	}
	return out, nil
}

// later puts off a start.
func (s *Service) later(ctx context.Context, g *Grant, in input, why error) (Grant, error) {
	in.detail = why.Error()
	in.generation = g.Generation
	in.actor = Actor{}
	return s.apply(ctx, g, LaterActive, in)
}

// tickets reads the ticket lifetimes; not knowing them stops nothing.
func (s *Service) tickets(ctx context.Context, g *Grant) Tickets {
	t, err := s.dir.Tickets(ctx, g.Key.Member)
	if err != nil {
		return Tickets{Why: err.Error()}
	}
	return t
}

// starting is what the start of one grant depends on.
type starting struct {
	g     *Grant
	h     *Holding
	links Links
	in    input
}

// startMoves chooses the event of a grant that is to start.
func (s *Service) startMoves(ctx context.Context, tx Tx, e *starting) ([]move, error) {
	if e.g.State != Approved && e.g.State != Activating {
		return nil, ErrConflict
	}
	if e.g.State == Activating && e.g.alone(e.in.dc) {
		return nil, nil // somebody else is at it
	}
	in := e.in
	if e.g.State == Activating {
		in.generation = e.g.Generation
	}
	member, known := e.links.Members[e.g.Key.Member]
	switch {
	case !e.links.Group.Exists:
		return []move{{GroupDeleted, in}}, nil
	case known && !member.Exists:
		return []move{{TargetDeleted, in}}, nil
	case !in.link.Present:
		return []move{{Activate, in}}, nil
	}
	others, err := tx.Holders(ctx, e.g.Key)
	if err != nil {
		return nil, err
	}
	ev, err := e.present(others)
	if err != nil {
		return nil, err
	}
	return []move{{ev, in}}, nil
}

// present chooses the event of a grant whose account is a member already.
func (e *starting) present(others []Grant) (Event, error) {
	link := e.in.link
	foreign := e.h.Stamp != "" && link.Stamp != "" && link.Stamp != e.h.Stamp
	switch {
	case e.h.Ours && !foreign:
		return FoundOther, nil
	case e.g.State == Activating && e.g.Tries > 0:
		return Activated, nil // the write whose answer was lost
	case e.h.Watch.After(e.in.dc) && !foreign:
		return "", say(ErrPolicy, "a late write of %s may have made this membership", e.h.Last)
	case unresolved(others, e.g.ID):
		return "", say(ErrPolicy, "another grant of the same membership is being activated")
	case !link.Expires.IsZero():
		return FoundTimeBound, nil
	}
	return FoundPermanent, nil
}

// unresolved reports whether another grant has written the membership and does not know
// yet what came of it.
func unresolved(others []Grant, id ID) bool {
	for _, o := range others {
		if o.ID != id && (o.State == Activating || o.State == Ending) && o.Tries > 0 && o.Basis == NoBasis {
			return true
		}
	}
	return false
}

// add writes a membership whose intent is stored, and stores the outcome.
func (s *Service) add(ctx context.Context, g *Grant, w Write, in input, t tick) (Grant, error) {
	res := s.dir.Add(ctx, w)
	in.now, in.dc = s.catchUp(in.now, in.dc)
	in.slack = 0
	in.detail, in.generation, in.actor, in.reason = res.text(), w.Generation, Actor{}, ""
	if !res.At.IsZero() {
		in.dc = res.At
	}
	in.link, in.native = res.Link, res.Link.Expires
	ev := addEvent(res.Outcome)
	in.proven = ev == Activated
	in.unsent = res.Outcome == OutcomeLater || res.Outcome == OutcomeGone || res.Outcome == OutcomeAlready
	if res.Outcome == OutcomeAlready {
		return s.already(ctx, g, in, t)
	}
	out, err := s.apply(ctx, g, ev, in)
	if err == nil && out.State == Active {
		t.r.Started++
		s.rememberStamp(out.ID, in.link.Stamp)
	}
	return out, err
}

// addEvent translates the outcome of an addition.
func addEvent(o Outcome) Event {
	switch o {
	case OutcomeDone:
		return Activated
	case OutcomeRefused:
		return NotActivated
	case OutcomeLater, OutcomeGone:
		return LaterActive // what is gone is found by the next reading
	}
	return MaybeActive
}

// already handles an addition that found the account a member: an earlier try of the
// same grant, or somebody else in the moment since it was looked.
func (s *Service) already(ctx context.Context, g *Grant, in input, t tick) (Grant, error) {
	var out Grant
	err := errOld
	for range looks {
		if !errors.Is(err, errOld) {
			break
		}
		out, err = s.found(ctx, g, in)
	}
	if err == nil && out.State == Active {
		t.r.Started++
	}
	return out, err
}

// found is already for one look at the directory.
func (s *Service) found(ctx context.Context, g *Grant, in input) (Grant, error) {
	known, links, err := s.look(ctx, g.Key)
	if err != nil {
		return s.apply(ctx, g, LaterActive, in)
	}
	in.dc, in.link = links.At, links.Links[g.Key.Member]
	in.native = in.link.Expires
	out, _, err := s.applyMoves(ctx, g, doing{in.now, owable(g, Activated)}, func(ctx context.Context, tx Tx, g *Grant, h *Holding) ([]move, error) {
		if h.Revision != known.Revision {
			return nil, errOld
		}
		others, err := tx.Holders(ctx, g.Key)
		e := starting{g: g, h: h, links: links, in: in}
		return []move{{e.already(others), in}}, err
	})
	if err == nil && out.State == Active {
		s.rememberStamp(out.ID, in.link.Stamp)
	}
	return out, err
}

// already chooses the event of a grant whose addition found the account a member. What may
// come from a write of a grant, whichever, is the grants', and goes with the last of them;
// only what certainly does not was there before.
func (e *starting) already(others []Grant) Event {
	foreign := e.h.Stamp != "" && e.in.link.Stamp != "" && e.in.link.Stamp != e.h.Stamp
	overtaken := e.h.Last != e.g.ID && e.h.Watch.After(e.in.dc)
	switch {
	case !e.in.link.Present:
		return LaterActive
	case e.h.Ours && !foreign:
		return FoundOther
	case e.g.Tries > 1, e.g.Ambiguous, e.g.Watched, overtaken, unresolved(others, e.g.ID):
		return Activated
	case !e.in.link.Expires.IsZero():
		return FoundTimeBound
	}
	return FoundPermanent
}

// checkRights asks again whether those on whose word a grant stands still may give it.
// What could not be found out puts the start off.
func (s *Service) checkRights(ctx context.Context, g *Grant, t tick) (Grant, error) {
	now := *g
	in := input{now: t.now, dc: t.dc}
	for _, a := range g.Approvals {
		lost, err := s.lost(ctx, a.By.Account, g.Terms.Approval.From)
		if err != nil {
			return s.later(ctx, &now, in, err)
		}
		if !lost {
			continue
		}
		in.party, in.detail = a.By, a.By.Name+" may no longer approve"
		if now, err = s.apply(ctx, &now, ApproverLost, in); err != nil {
			return Grant{}, err
		}
	}
	why, err := s.requesterLost(ctx, g, s.lost)
	if err != nil {
		return s.later(ctx, &now, in, err)
	}
	if why != "" {
		in.detail = why
		return s.apply(ctx, &now, RequesterLost, in)
	}
	return now, nil
}

// requesterLost says why a grant may no longer be had, empty if it may.
func (s *Service) requesterLost(ctx context.Context, g *Grant, lost asking) (string, error) {
	p, ok := s.Policies().Policy(g.Policy)
	if !ok || p.Target() != g.Terms.Target() {
		return "the policy is gone, or is about another group", nil
	}
	who := p.Requesters
	if g.Emergency {
		who = p.Emergency.From
	} else if g.Schedule != "" {
		who = nil
		if sched := p.schedule(g.Schedule); sched != nil {
			who = sched.For
		}
	}
	gone, err := lost(ctx, g.Requester.Account, who)
	if gone {
		return g.Requester.Name + " may no longer request it", err
	}
	return "", err
}

// asking is the form of lost, and of what remembers its answers.
type asking func(ctx context.Context, account secdesc.GUID, refs []Ref) (bool, error)

// lost reports whether an account is provably no longer among those named.
func (s *Service) lost(ctx context.Context, account secdesc.GUID, refs []Ref) (bool, error) {
	if len(refs) == 0 {
		return true, nil
	}
	yes, err := s.dir.Within(ctx, account, refs)
	if err != nil {
		return false, fmt.Errorf("asking for group memberships: %w", err)
	}
	return !yes, nil
}
