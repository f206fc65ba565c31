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
	links, err := s.dir.Links(ctx, g.Key.Group, memberOf(g))
	if err != nil {
		return s.later(ctx, g, in, err)
	}
	in.dc, in.link, in.object = links.At, links.Links[g.Key.Member], links.Members[g.Key.Member]
	in.native = in.link.Expires
	in.tickets = s.tickets(ctx, g)
	out, effects, err := s.applyMoves(ctx, g, doing{t.now, g.Emergency}, func(ctx context.Context, tx Tx, g *Grant, h *Holding) ([]move, error) {
		return s.startMoves(ctx, tx, &starting{g: g, h: h, links: links, in: in})
	})
	if err != nil {
		if errors.Is(err, ErrPolicy) && in.actor.Account.IsZero() && g.State == Approved {
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
	in.detail, in.generation, in.actor, in.reason = res.text(), w.Generation, Actor{}, ""
	if !res.At.IsZero() {
		in.dc = res.At
	}
	in.link, in.native = res.Link, res.Link.Expires
	ev := addEvent(res.Outcome)
	in.proven = ev == Activated
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
	links, err := s.dir.Links(ctx, g.Key.Group, memberOf(g))
	if err != nil {
		return s.apply(ctx, g, LaterActive, in)
	}
	in.dc, in.link = links.At, links.Links[g.Key.Member]
	in.native = in.link.Expires
	ev := FoundPermanent
	switch {
	case !in.link.Present:
		ev = LaterActive
	case g.Tries > 1 || g.Ambiguous:
		ev = Activated
	case !in.link.Expires.IsZero():
		ev = FoundTimeBound
	}
	out, err := s.apply(ctx, g, ev, in)
	if err == nil && out.State == Active {
		t.r.Started++
		s.rememberStamp(out.ID, in.link.Stamp)
	}
	return out, err
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
	why, err := s.requesterLost(ctx, g)
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
func (s *Service) requesterLost(ctx context.Context, g *Grant) (string, error) {
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
	lost, err := s.lost(ctx, g.Requester.Account, who)
	if lost {
		return g.Requester.Name + " may no longer request it", err
	}
	return "", err
}

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
