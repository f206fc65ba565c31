package grant

import (
	"context"
	"fmt"
	"strings"
)

// Sweep compares what is stored with the directory: every grant that is not over, and
// every membership that a grant made or may have made. Call it at start, on schedule, and
// when [Report].Sweep asks for it: the directory is back, or a clock jumped. It may take
// long; ticks go on meanwhile. While the directory is away it does what needs none.
func (s *Service) Sweep(ctx context.Context, now Instant) (Report, error) {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	var r Report
	t, _ := s.begin(ctx, now, &r)
	err := s.sweep(ctx, t)
	if err == nil {
		err = s.round(ctx, t)
	}
	if err != nil {
		return r, fmt.Errorf("comparing grants with the directory: %w", err)
	}
	return r, nil
}

// pageSize is how many grants a sweep reads at once.
const pageSize = 500

// sweep looks at everything that is not over.
func (s *Service) sweep(ctx context.Context, t tick) error {
	if t.dc.IsZero() {
		return nil
	}
	t.sweep = true
	before, keep := s.remembered(), map[ID]bool{}
	err := s.pages(ctx, []State{Requested, Scheduled, Approved, Activating, Active, Ending}, func(list []Grant) error {
		for i := range list {
			if g := &list[i]; g.State == Active || g.State == Ending {
				keep[g.ID] = true
				s.remember(g, t.now)
			}
		}
		return s.sweepPage(ctx, list, t)
	})
	if err != nil {
		return err
	}
	if s.isHalted() {
		return nil
	}
	s.forget(before, keep)
	return s.watch(ctx, t, true)
}

// pages calls f with all grants in some states, newest request first.
func (s *Service) pages(ctx context.Context, states []State, f func([]Grant) error) error {
	p := Page{States: states, Limit: pageSize}
	for {
		list, err := s.store.List(ctx, p)
		if err != nil {
			return err
		}
		if len(list) > 0 {
			p.After = list[len(list)-1].ID
		}
		if err := f(list); err != nil || len(list) < pageSize || s.isHalted() {
			return err
		}
	}
}

// hurry tries every write that waits for its next turn: the directory is there again, and
// however long it was away, nothing waits for delays that grew meanwhile.
func (s *Service) hurry(ctx context.Context, t tick) error {
	t.sweep = true
	return s.pages(ctx, []State{Activating, Ending}, func(list []Grant) error { return s.drive(ctx, list, t) })
}

// sweepPage looks at some grants.
func (s *Service) sweepPage(ctx context.Context, list []Grant, t tick) error {
	var ends []Grant
	for _, g := range list {
		if s.isHalted() {
			return nil
		}
		var err error
		switch g.State {
		case Active:
			g, err = s.sweepActive(ctx, &g, t)
			ends = append(ends, g)
		case Ending:
			ends = append(ends, g)
		case Activating:
			err = s.driveOne(ctx, &g, t)
		default:
			err = s.sweepWaiting(ctx, &g, t)
		}
		if err != nil && !harmless(err) {
			return err
		}
	}
	return s.driveEnds(ctx, ends, t)
}

// sweepWaiting looks at a grant that waits: does its account still exist, may those who
// approved still approve.
func (s *Service) sweepWaiting(ctx context.Context, g *Grant, t tick) error {
	object, err := s.dir.Object(ctx, g.Key.Member)
	if err != nil {
		return nil //nolint:nilerr // not known now; it is asked again before the grant starts
	}
	now := *g
	in := input{now: t.now, dc: t.dc, object: object}
	if !object.Exists {
		_, err := s.apply(ctx, g, TargetDeleted, in)
		return err
	}
	if list := changes(g, in); len(list) > 0 {
		if now, _, err = s.applyMoves(ctx, g, doing{now: t.now}, func(context.Context, Tx, *Grant, *Holding) ([]move, error) { return list, nil }); err != nil {
			return err
		}
	}
	if now, err = s.sweepRights(ctx, &now, t); err != nil {
		return err
	}
	// When to look again may have been noted by a clock that was wrong then.
	return s.driveOne(ctx, &now, t)
}

// sweepRights voids the approvals of those who may no longer approve.
func (s *Service) sweepRights(ctx context.Context, g *Grant, t tick) (Grant, error) {
	now := *g
	for _, a := range g.Approvals {
		lost, err := s.lost(ctx, a.By.Account, g.Terms.Approval.From)
		if err != nil || !lost {
			continue // not known counts neither way here; it is asked again before the start
		}
		if now, err = s.apply(ctx, &now, ApproverLost, input{now: t.now, dc: t.dc, party: a.By, detail: a.By.Name + " may no longer approve"}); err != nil {
			return now, err
		}
	}
	why, err := s.requesterLost(ctx, g)
	if err != nil || why == "" {
		return now, nil //nolint:nilerr // as above
	}
	return s.apply(ctx, &now, RequesterLost, input{now: t.now, dc: t.dc, detail: why})
}

// sweepActive looks whether requester and observers of an active grant keep their
// rights.
func (s *Service) sweepActive(ctx context.Context, g *Grant, t tick) (Grant, error) {
	in := input{now: t.now, dc: t.dc}
	now := *g
	for _, o := range g.Observers {
		if !o.Left.IsZero() {
			continue
		}
		lost, err := s.lost(ctx, o.By.Account, g.Terms.Observer.From)
		if err != nil || !lost {
			continue // not known: nothing is taken away on that ground
		}
		in.party, in.detail = o.By, o.By.Name+" may no longer observe"
		if now, err = s.apply(ctx, &now, ObserverLost, in); err != nil || now.State != Active {
			return now, err
		}
	}
	why, err := s.requesterLost(ctx, g)
	if err != nil || why == "" {
		return now, nil //nolint:nilerr // as above
	}
	in.detail = why
	return s.apply(ctx, &now, RequesterLost, in)
}

// changes returns the events for what is different about the holder's account since it
// was last read.
func changes(g *Grant, in input) []move {
	var list []move
	o, was := in.object, g.Account
	if !o.Exists || o.GUID != g.Key.Member {
		return nil
	}
	note := func(ev Event, detail string) {
		in := in
		in.detail = detail
		list = append(list, move{ev, in})
	}
	if o.Name != was.Name {
		note(TargetRenamed, was.Name+" is now "+o.Name)
	}
	if was.DN != "" && parent(o.DN) != parent(was.DN) {
		note(TargetMoved, was.DN+" is now "+o.DN)
	}
	if o.Disabled && !was.Disabled && g.State != Active {
		note(TargetDisabled, o.Name+" is disabled")
	}
	return list
}

// parent returns the distinguished name of the container.
func parent(dn string) string {
	for i := 0; i < len(dn); i++ {
		switch dn[i] {
		case '\\':
			i++
		case ',':
			return strings.ToLower(dn[i+1:])
		}
	}
	return ""
}

// watch looks at memberships that no grant wants: those that a late write may have made,
// and, if all, those whose group or account was deleted and may have been restored.
func (s *Service) watch(ctx context.Context, t tick, all bool) error {
	list, err := s.store.Holdings(ctx, t.dc, all)
	if err != nil {
		return err
	}
	for _, h := range list {
		if h.Last == "" {
			continue
		}
		g, err := s.reappeared(ctx, h, t)
		if err != nil && !harmless(err) {
			return err
		}
		if err == nil && g.State == Ending {
			if err := s.driveEnds(ctx, []Grant{g}, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// reappeared reopens the grant that last wrote a membership, if the membership is there
// and no grant has it.
func (s *Service) reappeared(ctx context.Context, h Holding, t tick) (Grant, error) {
	held, last, err := s.held(ctx, h)
	if err != nil || held || !(last.State.Finished() || last.State == UnderReview) {
		return Grant{}, err
	}
	links, err := s.dir.Links(ctx, h.Key.Group, memberOf(&last))
	link := links.Links[h.Key.Member]
	if err != nil || !link.Present {
		return Grant{}, nil //nolint:nilerr // the watch goes on
	}
	if h.Ours && !h.Gone && h.Stamp != "" && link.Stamp != "" && link.Stamp != h.Stamp {
		return Grant{}, nil // somebody else's
	}
	out, _, err := s.applyMoves(ctx, &last, doing{t.now, true}, func(ctx context.Context, tx Tx, g *Grant, h *Holding) ([]move, error) {
		others, err := tx.Holders(ctx, g.Key)
		if err != nil || len(others) > 0 || h.Last != g.ID {
			return nil, err
		}
		return []move{{Reappeared, input{now: t.now, dc: links.At, link: link, detail: "the membership is there, and no grant has it"}}}, nil
	})
	return out, err
}

// held reports whether any grant has or writes a membership, and returns the one that
// wrote it last.
func (s *Service) held(ctx context.Context, h Holding) (held bool, last Grant, err error) {
	err = s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		others, err := tx.Holders(ctx, h.Key)
		if err != nil {
			return err
		}
		held = len(others) > 0
		last, err = tx.Grant(ctx, h.Last)
		return err
	})
	return held, last, err
}
