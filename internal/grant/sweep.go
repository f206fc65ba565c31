package grant

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/leastwise/leastwise/internal/secdesc"
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
		err = s.round(ctx, t, false)
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
	err := s.pages(ctx, []State{Active, Ending}, func(list []Grant) error {
		for i := range list {
			keep[list[i].ID] = true
			s.remember(&list[i], t.now)
		}
		return s.driveEnds(ctx, list, t)
	})
	if err != nil {
		return err
	}
	if s.isHalted() {
		return nil
	}
	s.forget(before, keep)
	if err := s.watch(ctx, t, true); err != nil {
		return err
	}
	m := memo{s: s, known: map[string]bool{}}
	return s.pages(ctx, []State{Requested, Scheduled, Approved, Activating, Active}, func(list []Grant) error { return s.sweepPage(ctx, list, m, t) })
}

// memo remembers what the directory said of rights for the time of one comparison: many
// grants are about few people.
type memo struct {
	s     *Service
	known map[string]bool
}

// lost is [Service.lost]. What could not be found out is asked again.
func (m memo) lost(ctx context.Context, account secdesc.GUID, refs []Ref) (bool, error) {
	key := account.String()
	for _, r := range refs {
		key += "\x00" + string(r)
	}
	if lost, known := m.known[key]; known {
		return lost, nil
	}
	lost, err := m.s.lost(ctx, account, refs)
	if err == nil {
		m.known[key] = lost
	}
	return lost, err
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

// hurry tries every write of grants in a state, however long they are to wait.
func (s *Service) hurry(ctx context.Context, t tick, state State) error {
	t.sweep = true
	return s.pages(ctx, []State{state}, func(list []Grant) error { return s.drive(ctx, list, t) })
}

// sweepPage looks at some grants that do not end: at their people's rights. Ends that
// follow from that are seen to at the end of the page.
func (s *Service) sweepPage(ctx context.Context, list []Grant, m memo, t tick) error {
	var ends []Grant
	for _, g := range list {
		if s.isHalted() {
			return nil
		}
		var err error
		switch g.State {
		case Active:
			if g, err = s.sweepActive(ctx, &g, m, t); err == nil && g.State == Ending {
				ends = append(ends, g)
			}
		case Activating:
			err = s.driveOne(ctx, &g, t)
		default:
			err = s.sweepWaiting(ctx, &g, m, t)
		}
		if err != nil && !harmless(err) {
			return err
		}
	}
	return s.driveEnds(ctx, ends, t)
}

// sweepWaiting looks at a grant that waits: does its account still exist, may those who
// approved still approve.
func (s *Service) sweepWaiting(ctx context.Context, g *Grant, m memo, t tick) error {
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
	if now, err = s.sweepRights(ctx, &now, m, t); err != nil {
		return err
	}
	// When to look again may have been noted by a clock that was wrong then.
	return s.driveOne(ctx, &now, t)
}

// sweepRights voids the approvals of those who may no longer approve.
func (s *Service) sweepRights(ctx context.Context, g *Grant, m memo, t tick) (Grant, error) {
	now := *g
	for _, a := range g.Approvals {
		lost, err := m.lost(ctx, a.By.Account, g.Terms.Approval.From)
		if err != nil || !lost {
			continue // not known counts neither way here; it is asked again before the start
		}
		if now, err = s.apply(ctx, &now, ApproverLost, input{now: t.now, dc: t.dc, party: a.By, detail: a.By.Name + " may no longer approve"}); err != nil {
			return now, err
		}
	}
	why, err := s.requesterLost(ctx, g, m.lost)
	if err != nil || why == "" {
		return now, nil //nolint:nilerr // as above
	}
	return s.apply(ctx, &now, RequesterLost, input{now: t.now, dc: t.dc, detail: why})
}

// sweepActive looks whether requester and observers of an active grant keep their
// rights.
func (s *Service) sweepActive(ctx context.Context, g *Grant, m memo, t tick) (Grant, error) {
	in := input{now: t.now, dc: t.dc}
	now := *g
	for _, o := range g.Observers {
		if !o.Left.IsZero() {
			continue
		}
		lost, err := m.lost(ctx, o.By.Account, g.Terms.Observer.From)
		if err != nil || !lost {
			continue // not known: nothing is taken away on that ground
		}
		in.party, in.detail = o.By, o.By.Name+" may no longer observe"
		if now, err = s.apply(ctx, &now, ObserverLost, in); err != nil || now.State != Active {
			return now, err
		}
	}
	why, err := s.requesterLost(ctx, g, m.lost)
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
// and, if all, those whose group or account was deleted and may have been restored. One
// look at a time: another round does not wait for it.
func (s *Service) watch(ctx context.Context, t tick, all bool) error {
	if all {
		s.watching.Lock()
	} else if !s.watching.TryLock() {
		return nil
	}
	defer s.watching.Unlock()
	list, err := s.store.Holdings(ctx, t.dc, all)
	home := map[secdesc.GUID]string{}
	for _, h := range list {
		home[h.Key.Group] = s.dir.Home(h.Key.Group)
	}
	slices.SortStableFunc(list, func(a, b Holding) int { return cmp.Compare(home[a.Key.Group], home[b.Key.Group]) })
	for err == nil && len(list) > 0 && !s.isHalted() {
		n := 1
		for n < len(list) && n < part && home[list[n].Key.Group] == home[list[0].Key.Group] {
			n++
		}
		err = s.watchPart(ctx, list[:n], t)
		list = list[n:]
	}
	return err
}

// watchPart looks at memberships that no grant wants, of groups of one domain controller.
func (s *Service) watchPart(ctx context.Context, list []Holding, t tick) error {
	ids := make([]ID, 0, len(list))
	for _, h := range list {
		if h.Last != "" {
			ids = append(ids, h.Last)
		}
	}
	grants, err := s.store.ReadAll(ctx, ids)
	if err != nil {
		return err
	}
	last := make(map[ID]*Grant, len(grants))
	var keys []Key
	for i := range grants {
		if g := &grants[i]; g.State.Finished() || g.State == UnderReview {
			last[g.ID], keys = g, append(keys, g.Key)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	t.now = s.present(t.now)
	links, failed := s.memberships(ctx, keys, t.now) // of what failed the watch goes on
	var ends []Grant
	for i := range list {
		g := last[list[i].Last]
		if g == nil || failed[g.Key.Group] != nil {
			continue
		}
		g, err := s.reappeared(ctx, &list[i], g, links[list[i].Key.Group], t)
		if err != nil && !harmless(err) {
			return err
		}
		if err == nil && g != nil {
			ends = append(ends, *g)
		}
	}
	return s.driveEnds(ctx, ends, t)
}

// reappeared reopens the grant that last wrote a membership, if the membership is there
// and no grant has it; nil if not.
func (s *Service) reappeared(ctx context.Context, h *Holding, last *Grant, links Links, t tick) (*Grant, error) {
	link := links.Links[h.Key.Member]
	if !link.Present {
		return nil, nil //nolint:nilnil // as documented
	}
	if h.Ours && !h.Gone && h.Stamp != "" && link.Stamp != "" && link.Stamp != h.Stamp {
		return nil, nil //nolint:nilnil // somebody else's
	}
	seen := h.Revision
	out, effects, err := s.applyMoves(ctx, last, doing{t.now, true}, func(ctx context.Context, tx Tx, g *Grant, h *Holding) ([]move, error) {
		others, err := tx.Holders(ctx, g.Key)
		if err != nil || len(others) > 0 || h.Last != g.ID || h.Revision != seen {
			return nil, err
		}
		return []move{{Reappeared, input{now: t.now, dc: links.At, link: link, detail: "the membership is there, and no grant has it"}}}, nil
	})
	if err != nil || len(effects) == 0 {
		return nil, err
	}
	return &out, nil
}
