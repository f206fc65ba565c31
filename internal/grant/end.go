package grant

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// driveEnds works on grants whose time is up or that end: in batches per group, one
// reading of the directory and two transactions for each batch.
func (s *Service) driveEnds(ctx context.Context, list []Grant, t tick) error {
	if t.dc.IsZero() {
		for _, g := range list {
			g, err := s.settled(ctx, g, t)
			if err == nil {
				_, err = s.apply(ctx, &g, Expire, input{now: t.now})
			}
			if err != nil && !harmless(err) {
				return err
			}
		}
		return nil
	}
	return s.run(s.endTasks(ctx, list, t), t)
}

// endTasks makes the parts of ending grants: a batch of one group each.
func (s *Service) endTasks(ctx context.Context, list []Grant, t tick) (tasks []task) {
	if t.dc.IsZero() {
		if len(list) == 0 {
			return nil
		}
		return []task{func(t tick) error { return s.driveEnds(ctx, list, t) }}
	}
	home := map[secdesc.GUID]string{}
	for i := range list {
		home[list[i].Key.Group] = ""
	}
	for g := range home {
		home[g] = s.dir.Home(g)
	}
	slices.SortStableFunc(list, func(a, b Grant) int {
		return cmp.Or(cmp.Compare(home[a.Key.Group], home[b.Key.Group]), together(&a, &b))
	})
	for len(list) > 0 {
		n := 1
		for n < len(list) && n < part && home[list[n].Key.Group] == home[list[0].Key.Group] {
			n++
		}
		some := list[:n]
		tasks = append(tasks, func(t tick) error { return s.endPart(ctx, some, t) })
		list = list[n:]
	}
	return s.inTurn(tasks)
}

// together orders grants by what their removals have in common: group and account that
// makes them. 0: they go in one call.
func together(a, b *Grant) int {
	return cmp.Or(bytes.Compare(a.Key.Group[:], b.Key.Group[:]), cmp.Compare(a.Terms.Through, b.Terms.Through))
}

// bunches cuts ordered grants into what goes in one transaction.
func bunches(list []Grant) (out [][]Grant) {
	for len(list) > 0 {
		n, calls := 1, 1
		for ; n < len(list) && n < few; n++ {
			if together(&list[n-1], &list[n]) == 0 {
				continue
			}
			if calls++; calls > groups {
				break
			}
		}
		out, list = append(out, list[:n]), list[n:]
	}
	return out
}

// inTurn returns the parts of a round in the order of this service, so that two nodes with
// the same list do not both begin with the same part.
func (s *Service) inTurn(tasks []task) []task {
	s.mu.Lock()
	turn := s.turn
	s.mu.Unlock()
	if len(tasks) == 0 {
		return nil
	}
	at := int(turn % uint64(len(tasks)))
	return slices.Concat(tasks[at:], tasks[:at])
}

// memberOf returns the holder's account as Links wants it.
func memberOf(g *Grant) []secdesc.GUID { return []secdesc.GUID{g.Key.Member} }

// removal is a write that was announced.
type removal struct {
	g Grant
	w Write
}

// endPart ends grants whose groups are all of one domain controller.
func (s *Service) endPart(ctx context.Context, all []Grant, t tick) error {
	var ids []ID
	defer func() { s.release(ids...) }()
	for i := range all {
		if id := all[i].ID; s.claim(id) { // else another round of this service is at it
			ids = append(ids, id)
		}
	}
	list, first := s.asStored(ctx, ids, t)
	if len(list) == 0 {
		return first
	}
	keys := make([]Key, len(list))
	for i := range list {
		keys[i] = list[i].Key
		s.remember(&list[i], t.now) // another node may have extended it
	}
	known, err := s.revisions(ctx, keys)
	if err != nil {
		return errors.Join(first, err)
	}
	asked := s.present(t.now)
	links, failed := s.memberships(ctx, keys, t.now)
	t.now, t.dc = s.catchUp(t.now, t.dc)
	if len(failed) > 0 {
		s.troubled(true)
		if list, err = s.unread(ctx, list, failed, t); err != nil || len(list) == 0 {
			return errors.Join(first, err)
		}
	}
	t.dc, t.slack, t.known = links[list[0].Key.Group].At, t.now.Mono-asked.Mono, known
	slices.SortStableFunc(list, func(a, b Grant) int { return together(&a, &b) })
	for _, some := range bunches(list) {
		if s.isHalted() {
			break
		}
		if err := s.endBunch(ctx, some, links, t); err != nil {
			return errors.Join(first, err)
		}
	}
	return first
}

// revisions returns what is stored of memberships, so that what others make of them while
// the directory is read is noticed.
func (s *Service) revisions(ctx context.Context, keys []Key) (map[Key]int64, error) {
	list, err := s.store.HoldingsOf(ctx, keys)
	if err != nil {
		return nil, err
	}
	out := make(map[Key]int64, len(list))
	for _, h := range list {
		out[h.Key] = h.Revision
	}
	return out, nil
}

// aloneFor is how long groups are asked for one by one that could not be read together.
const aloneFor = 10 * time.Second

// memberships reads memberships of groups of one domain controller: together, and if that
// fails each group by itself, so that one that cannot be read keeps no other from its ends.
// What could not be read is in failed.
func (s *Service) memberships(ctx context.Context, keys []Key, now Instant) (links map[secdesc.GUID]Links, failed map[secdesc.GUID]error) {
	links, err := s.dir.Memberships(ctx, keys)
	if err == nil {
		return links, nil
	}
	links, failed = map[secdesc.GUID]Links{}, map[secdesc.GUID]error{}
	var order []secdesc.GUID
	of := map[secdesc.GUID][]Key{}
	for _, k := range keys {
		if of[k.Group] == nil {
			order = append(order, k.Group)
		}
		of[k.Group] = append(of[k.Group], k)
	}
	began := s.present(now)
	for _, g := range order {
		if len(order) == 1 || ctx.Err() != nil || s.present(now).Mono-began.Mono > aloneFor {
			failed[g] = err
			continue
		}
		one, err := s.dir.Memberships(ctx, of[g])
		if err != nil {
			failed[g] = err
			continue
		}
		links[g] = one[g]
	}
	return links, failed
}

// unread notes the grants whose groups could not be read, and returns the others.
func (s *Service) unread(ctx context.Context, list []Grant, failed map[secdesc.GUID]error, t tick) (rest []Grant, err error) {
	for _, g := range list {
		why, bad := failed[g.Key.Group]
		if !bad {
			rest = append(rest, g)
			continue
		}
		err = errors.Join(err, s.fault(ctx, &g, t, why))
	}
	return rest, err
}

// endBunch ends grants in two transactions, with a call of the directory in between for
// those that have group and management account in common.
func (s *Service) endBunch(ctx context.Context, list []Grant, links map[secdesc.GUID]Links, t tick) error {
	over := func() {}
	if bulky(list) {
		over = s.await(ctx, s.dir.Home(list[0].Key.Group))
	}
	defer func() { over() }()
	t.now, t.dc = s.catchUp(t.now, t.dc)
	todo, err := s.intendEnds(ctx, list, links, t)
	if err != nil || len(todo) == 0 {
		return err
	}
	results := make([]Result, 0, len(todo))
	for len(results) < len(todo) {
		var writes []Write
		for i := len(results); i < len(todo) && together(&todo[i].g, &todo[len(results)].g) == 0; i++ {
			writes = append(writes, todo[i].w)
		}
		got := s.dir.Remove(ctx, writes)
		for i := range writes {
			if i < len(got) {
				results = append(results, got[i])
			} else { // what is not told is not known
				results = append(results, Result{})
			}
		}
	}
	over()
	over = func() {}
	t.r.Removed += len(todo)
	if slices.ContainsFunc(results, func(r Result) bool { return r.Outcome != OutcomeDone && r.Outcome != OutcomeAlready }) {
		s.troubled(true)
	}
	t.now, t.dc = s.catchUp(t.now, t.dc)
	return s.noteEnds(ctx, todo, results, t)
}

// bulky reports whether several ordered grants go in one request.
func bulky(list []Grant) bool {
	for i := 1; i < len(list); i++ {
		if together(&list[i-1], &list[i]) == 0 {
			return true
		}
	}
	return false
}

// await waits for the turn to send a large request to a domain controller, though not for
// long: one that carries out several at once answers nobody else meanwhile, and is no
// quicker. The returned function ends the turn.
func (s *Service) await(ctx context.Context, home string) (over func()) {
	s.mu.Lock()
	if s.turns == nil {
		s.turns = map[string]chan struct{}{}
	}
	c := s.turns[home]
	if c == nil {
		c = make(chan struct{}, 1)
		s.turns[home] = c
	}
	s.mu.Unlock()
	timer := time.NewTimer(courtesy)
	defer timer.Stop()
	select {
	case c <- struct{}{}:
		return func() { <-c }
	case <-timer.C:
	case <-ctx.Done():
	}
	return func() {}
}

// intendEnds stores, in one transaction, what ends without a write, and the intents of
// the removals that follow.
func (s *Service) intendEnds(ctx context.Context, list []Grant, links map[secdesc.GUID]Links, t tick) (todo []removal, err error) {
	var done []Grant
	var at time.Time
	err = s.commit(ctx, true, func(ctx context.Context, tx Tx, owe bool) error {
		todo, done = nil, nil
		t := t
		t.now, t.dc = s.catchUp(t.now, t.dc) // it may have waited for its turn
		at = t.dc
		for _, g := range list {
			links := links[g.Key.Group]
			links.At = t.dc
			out, effects, err := s.applyIn(ctx, tx, &g, owe, func(ctx context.Context, tx Tx, g *Grant, h *Holding) ([]move, error) {
				if h.Revision != t.known[g.Key] {
					return nil, nil // others wrote it since it was read: the next round reads it anew
				}
				return s.endMoves(ctx, tx, &ending{g: g, h: h, links: links, t: t})
			})
			if err != nil && harmless(err) {
				continue
			}
			if err != nil {
				return err
			}
			done = append(done, out)
			for _, e := range effects {
				if w, ok := e.(RemoveMember); ok {
					todo = append(todo, removal{out, w.Write})
				}
			}
		}
		return nil
	})
	for i := range done {
		s.remember(&done[i], t.now)
		t.r.count(&done[i], at)
	}
	if err != nil {
		return nil, err
	}
	return todo, nil
}

// ending is what the end of one grant depends on.
type ending struct {
	g     *Grant
	h     *Holding
	links Links
	t     tick
}

// endMoves chooses the events of a grant whose time may be up.
func (s *Service) endMoves(ctx context.Context, tx Tx, e *ending) ([]move, error) {
	in := input{now: e.t.now, dc: e.links.At, slack: e.t.slack, monoUp: s.monoUp(e.g.ID, e.t.now), link: e.links.Links[e.g.Key.Member]}
	var list []move
	if e.g.State == Active {
		s.rememberStamp(e.g.ID, e.h.Stamp)
		in.object = e.links.Members[e.g.Key.Member]
		ev := e.why(in)
		if ev == "" {
			return changes(e.g, in), nil
		}
		list = append(list, move{ev, in})
	} else if e.g.State != Ending {
		return nil, nil
	}
	if e.g.State == Ending && (e.g.alone(e.links.At) || !e.t.sweep && e.g.WakeDC.After(e.links.At)) {
		return nil, nil // somebody else is at it, or its next try comes later
	}
	others, err := tx.Holders(ctx, e.g.Key)
	if err != nil {
		return nil, err
	}
	in.generation = e.g.Generation
	ev := e.removal(others, len(list) > 0 && list[0].event == Lost)
	in.detail = e.detail(ev, others)
	return append(list, move{ev, in}), nil
}

// why returns the event that ends an active grant now, if any.
func (e *ending) why(in input) Event {
	member, known := e.links.Members[e.g.Key.Member]
	st := step{g: *e.g, in: in}
	switch {
	case !e.links.Group.Exists:
		return GroupDeleted
	case known && !member.Exists:
		return TargetDeleted
	case st.up():
		return Expire
	case known && member.Disabled:
		return TargetDisabled
	case e.g.Basis.removable() && (!in.link.Present || e.foreign(in.link)):
		return Lost
	}
	return ""
}

// foreign reports whether a link is provably not the one that a grant made.
func (e *ending) foreign(l Link) bool {
	return e.h.Stamp != "" && l.Stamp != "" && l.Stamp != e.h.Stamp
}

// removal returns what a grant that is ending needs now.
func (e *ending) removal(others []Grant, lost bool) Event {
	link := e.links.Links[e.g.Key.Member]
	member, known := e.links.Members[e.g.Key.Member]
	unresolved := e.g.Basis == NoBasis && e.g.Tries > 0
	switch {
	case !e.links.Group.Exists:
		return GroupDeleted
	case known && !member.Exists:
		return TargetDeleted
	case e.g.Basis == NoBasis && !unresolved && link.Present:
		return FoundOther // nothing was sent for it: whose it is, others say
	case e.g.Basis != NoBasis && !e.g.Basis.removable():
		return FoundPermanent
	case holds(others, e.g.ID):
		return FoundOther
	case !link.Present:
		return HasEnded
	case lost, !e.h.Ours && !unresolved, e.foreign(link):
		return FoundPermanent
	}
	return Remove
}

// holds reports whether a grant other than id wants the membership to exist.
func holds(others []Grant, id ID) bool {
	return slices.ContainsFunc(others, func(o Grant) bool {
		return o.ID != id && o.State.Holds() && (o.Basis.removable() || o.State == Activating)
	})
}

func (e *ending) detail(ev Event, others []Grant) string {
	switch ev {
	case FoundOther:
		for _, o := range others {
			if o.ID != e.g.ID && o.State.Holds() {
				return "the membership stays for grant " + string(o.ID)
			}
		}
		return "nothing was written for this grant"
	case FoundPermanent:
		return "the membership is not one that a grant made: left alone"
	case HasEnded:
		return "the membership is not there"
	}
	return ""
}

// noteEnds stores what became of removals, in one transaction.
func (s *Service) noteEnds(ctx context.Context, todo []removal, results []Result, t tick) error {
	if len(todo) == 0 {
		return nil
	}
	var done []Grant
	err := s.commit(ctx, true, func(ctx context.Context, tx Tx, owe bool) error {
		done = nil
		for i, r := range todo {
			ev := endEvent(results[i].Outcome)
			in := input{now: t.now, dc: later(t.dc, results[i].At), generation: r.w.Generation, detail: results[i].text(), proven: results[i].answered()}
			out, _, err := s.applyIn(ctx, tx, &r.g, owe, func(context.Context, Tx, *Grant, *Holding) ([]move, error) {
				return []move{{ev, in}}, nil
			})
			if err != nil && harmless(err) {
				continue // changed meanwhile: the next look finds how things are
			}
			if err != nil {
				return err
			}
			done = append(done, out)
		}
		return nil
	})
	for i := range done {
		s.remember(&done[i], t.now)
		t.r.count(&done[i], t.dc)
	}
	return err
}

// endEvent translates the outcome of a removal.
func endEvent(o Outcome) Event {
	switch o {
	case OutcomeDone, OutcomeAlready:
		return HasEnded
	case OutcomeRefused, OutcomeLater, OutcomeGone:
		return NotEnded // what is gone is found by the next reading
	}
	return MaybeEnded
}

// answered reports whether a removal is known to be over: carried out, or refused.
func (r Result) answered() bool { return r.Outcome != OutcomeUnknown }

// text is what the log says of a result.
func (r Result) text() string {
	out := r.Outcome.String()
	if r.Server != "" {
		out += " by " + r.Server
	}
	if r.Detail != "" {
		out += ": " + r.Detail
	}
	return out
}
