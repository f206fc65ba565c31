package grant

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// How much is taken on at once.
const (
	batch    = 256  // grants of one tick that do not end
	endBatch = 1024 // grants of one tick that end
	part     = 64   // of one domain controller, which are read together
	groups   = 4    // of these in one transaction: as many requests can be sent in time
	few      = 16   // grants in one transaction and, of one group, one request: others wait for it
	// courtesy is how long a round waits for its turn to write to a domain controller.
	courtesy = time.Second
	// tolerated is how many parts of a round may meet an error of the store before the
	// others are left to the next.
	tolerated = 3
)

// Report says what a tick or sweep did.
type Report struct {
	Looked  int           // grants that were due
	Started int           // memberships that grants gained
	Removed int           // removals that were sent
	Ended   int           // grants that ended
	Late    time.Duration // the longest time between an end and its removal's answer, by the controller's clock
	More    bool          // more is due: call again at once
	Sweep   bool          // the directory is back, or a clock jumped: call Sweep soon
	Away    bool          // the directory did not answer
	Why     string        // why not
}

// Job is an action that was planned earlier, such as the end of a grant at its time. It
// is for one generation of one grant and its account; a later one makes it inert.
type Job struct {
	Grant      ID
	Target     secdesc.GUID // the holder's account
	Generation int64
}

// Carry does now what a grant needs, if the job is not stale. A stale job does nothing:
// one entry, and ErrStale.
func (s *Service) Carry(ctx context.Context, j Job, now Instant) (Grant, error) {
	g, err := s.Grant(ctx, j.Grant)
	if err != nil {
		return Grant{}, err
	}
	if g.Generation != j.Generation || g.Key.Member != j.Target {
		err := fmt.Errorf("%w: job of generation %d for %s, %s is at %d for %s", ErrStale, j.Generation, j.Target, g.ID, g.Generation, g.Key.Member)
		return g, s.refused(ctx, Caller{}, &g, input{now: now}, Remove, err)
	}
	return s.advance(ctx, g, now)
}

// Advance does now what a grant needs, instead of at the next tick: after a request
// that needs no approval, for example. If a round is at it already, Advance waits for
// that. The directory's absence is no error; the grant's state says how far it came.
func (s *Service) Advance(ctx context.Context, id ID, now Instant) (Grant, error) {
	if err := s.landed(ctx, id); err != nil {
		return Grant{}, fmt.Errorf("waiting for a write of grant %s: %w", id, err)
	}
	g, err := s.Grant(ctx, id)
	if err != nil {
		return Grant{}, err
	}
	if g, err = s.advance(ctx, g, now); err != nil || g.State != Approved && g.State != Activating && g.State != Ending {
		return g, err
	}
	if err := s.landed(ctx, id); err != nil { // a round was quicker
		return g, fmt.Errorf("waiting for a write of grant %s: %w", id, err)
	}
	return s.Grant(ctx, id)
}

func (s *Service) advance(ctx context.Context, g Grant, now Instant) (Grant, error) {
	var r Report
	dc, err := s.dir.Time(ctx)
	if err != nil {
		return g, nil //nolint:nilerr // the next tick notices, says so, and goes on
	}
	err = s.drive(ctx, []Grant{g}, tick{now: now, dc: dc, r: &r})
	if err != nil {
		return g, err
	}
	return s.Grant(ctx, g.ID)
}

// tick is what a round of work depends on.
type tick struct {
	now   Instant
	dc    time.Time     // zero: the directory is away
	slack time.Duration // how much later it may be by the controller's clock
	sweep bool          // look at everything, whenever it is due
	r     *Report
}

// Tick does what is due. Call it about every second, and again at once while
// Report.More; also while an earlier call still runs, which may wait for one domain
// controller that is slow: what that call has taken on is left to it. An error means that
// the store is away; ends are seen to all the same.
func (s *Service) Tick(ctx context.Context, now Instant) (Report, error) {
	var r Report
	t, again := s.begin(ctx, now, &r)
	again = s.takeReturned() && !r.Away || again
	r.Sweep = again
	err := s.round(ctx, t, again)
	if err == nil {
		err = s.tryCanary(ctx, t)
	}
	if err != nil && !t.dc.IsZero() {
		s.endFromMemory(ctx, now, t.dc, &r)
	}
	if err != nil {
		return r, fmt.Errorf("working on grants: %w", err)
	}
	return r, nil
}

// begin reads the clocks. again asks for a sweep: the directory is back, or a clock
// jumped. What cannot be logged now is logged later: no end waits for it.
func (s *Service) begin(ctx context.Context, now Instant, r *Report) (t tick, again bool) {
	t = tick{now: now, r: r}
	dc, err := s.dir.Time(ctx)
	r.Away = err != nil
	if err != nil {
		r.Why = err.Error()
	} else {
		t.dc = dc
	}
	what := s.jumped(now, t.dc)
	changed, since := s.turned(r.Away, now.Wall)
	switch {
	case changed && r.Away:
		s.noteNode(Entry{Time: now.Wall, Kind: Notable, Action: DCAway, Detail: r.Why})
	case changed:
		again = true
		s.noteNode(Entry{Time: now.Wall, Kind: Notable, Action: DCBack, Detail: "away since " + since.UTC().Format(time.RFC3339)})
	}
	if what != "" {
		again = again || !r.Away
		s.noteNode(Entry{Time: now.Wall, Kind: Notable, Action: ClockJump, Detail: what})
	}
	s.countRefusals(now.Wall)
	s.flush(ctx)
	return t, again
}

// round works on what is due: first on ends, for which nobody waits and which must not wait.
// With all, every write that waits for its next turn is tried: the directory is there
// again, and however long it was away, nothing waits for delays that grew meanwhile.
func (s *Service) round(ctx context.Context, t tick, all bool) error {
	if err := s.ends(ctx, t); err != nil {
		return err
	}
	if all {
		if err := s.hurry(ctx, t, Ending); err != nil {
			return err
		}
	}
	d := Due{Wall: t.now.Wall, DC: t.dc, Limit: batch, States: []State{Requested, Scheduled, Approved, UnderReview, Ended, Denied, Cancelled, Expired, Failed}}
	if !t.dc.IsZero() {
		d.States = append(d.States, Activating)
	}
	due, err := s.store.Due(ctx, d)
	if err != nil {
		return err
	}
	t.r.More = t.r.More || len(due) == d.Limit
	t.r.Looked += len(due)
	if err := s.drive(ctx, due, t); err != nil || t.dc.IsZero() {
		return err
	}
	if all {
		if err := s.hurry(ctx, t, Activating); err != nil {
			return err
		}
	}
	return s.watch(ctx, t, false)
}

// ends works on the grants that are due and end, or whose time may be up.
func (s *Service) ends(ctx context.Context, t tick) error {
	d := Due{Wall: t.now.Wall, DC: t.dc, Limit: endBatch, States: []State{Active, Ending}}
	if t.dc.IsZero() {
		d.States = []State{Active}
	}
	due, err := s.store.Due(ctx, d)
	if err != nil {
		return err
	}
	t.r.More = len(due) == d.Limit
	if !t.dc.IsZero() {
		known := make(map[ID]bool, len(due))
		for i := range due {
			known[due[i].ID] = true
		}
		for _, g := range s.overdue(t.now) {
			if !known[g.ID] {
				due = append(due, g)
			}
		}
	}
	t.r.Looked += len(due)
	return s.driveEnds(ctx, due, t)
}

// drive does for each grant what its state asks for, several groups at once if
// [Service.Together] says so. It returns an error only if the store fails.
func (s *Service) drive(ctx context.Context, list []Grant, t tick) error {
	var ends []Grant
	var tasks []task
	for _, g := range list {
		if g.State == Active || g.State == Ending {
			ends = append(ends, g)
			continue
		}
		tasks = append(tasks, func(t tick) error {
			settled, err := s.settled(ctx, g, t)
			if err == nil {
				err = s.driveOne(ctx, &settled, t)
			}
			if err != nil && harmless(err) {
				err = nil
			}
			return err
		})
	}
	return s.run(append(s.endTasks(ctx, ends, t), tasks...), t) // nobody waits for an end
}

// A task is a part of a round that touches no other part's grants.
type task func(tick) error

// run does the parts of a round, and adds up what they report. The first error of the
// store is returned when all that were begun are done; one part that cannot be stored
// does not keep the others waiting, but when several cannot, no others are begun.
func (s *Service) run(tasks []task, t tick) error {
	s.mu.Lock()
	n := min(s.together, len(tasks))
	s.mu.Unlock()
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		first  error
		failed int
		next   int
	)
	if n <= 1 {
		for _, f := range tasks {
			if s.isHalted() || failed == tolerated {
				break
			}
			t.now, t.dc = s.catchUp(t.now, t.dc)
			if err := f(t); err != nil {
				first = cmp.Or(first, err)
				failed++
			}
		}
		return first
	}
	for range n {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				stop := failed >= tolerated
				mu.Unlock()
				if stop || s.isHalted() || i >= len(tasks) {
					return
				}
				var part Report
				own := t
				own.now, own.dc = s.catchUp(t.now, t.dc)
				own.r = &part
				err := tasks[i](own)
				mu.Lock()
				t.r.add(&part)
				if err != nil {
					first = cmp.Or(first, err)
					failed++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return first
}

// add adds what a part of a round did.
func (r *Report) add(part *Report) {
	r.Started += part.Started
	r.Removed += part.Removed
	r.Ended += part.Ended
	r.Late = max(r.Late, part.Late)
}

// settled returns a grant after the entries that it owes the log were written, if they
// can be now.
func (s *Service) settled(ctx context.Context, g Grant, t tick) (Grant, error) {
	if len(g.Owed) == 0 {
		return g, nil
	}
	out, err := s.settleOwed(ctx, &g, t.now)
	switch {
	case err == nil:
		return out, nil
	case errors.Is(err, ErrLog), harmless(err):
		return g, nil
	}
	return g, err
}

// harmless reports whether an error concerns one grant only: somebody else was quicker,
// or the rules are against it.
func harmless(err error) bool {
	return errors.Is(err, ErrConflict) || errors.Is(err, ErrIllegal) || errors.Is(err, ErrPolicy) || errors.Is(err, ErrForbidden) ||
		errors.Is(err, ErrStale) || errors.Is(err, ErrNotFound)
}

// driveOne works on a grant that neither is active nor ends.
func (s *Service) driveOne(ctx context.Context, g *Grant, t tick) error {
	in := input{now: t.now, dc: t.dc}
	st := step{g: *g, in: in}
	switch {
	case g.State == UnderReview && st.up():
		_, err := s.apply(ctx, g, ReviewOverdue, in)
		return err
	case st.up():
		out, err := s.apply(ctx, g, Expire, in)
		if err != nil || out.State != Ending || t.dc.IsZero() {
			return err
		}
		return s.driveEnds(ctx, []Grant{out}, t)
	case g.State == Scheduled && !g.Start.After(t.now.Wall):
		out, err := s.apply(ctx, g, Start, in)
		if err != nil {
			return err
		}
		return s.driveOne(ctx, &out, t)
	case t.dc.IsZero():
		return nil
	case g.State == Approved && s.startable(g, t.now), g.State == Activating:
		_, err := s.activate(ctx, g, in, t)
		return err
	}
	return nil
}

// startable reports whether the service itself starts a grant now.
func (s *Service) startable(g *Grant, now Instant) bool {
	st := step{g: *g, in: input{now: now}}
	return !g.Start.After(now.Wall) && observerOK(g) && windowOpen.check(&st) == nil && (g.Emergency || g.Terms.Activation != ByHolder)
}

// settleOwed logs what the log could not take before.
func (s *Service) settleOwed(ctx context.Context, g *Grant, at Instant) (out Grant, err error) {
	err = s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		out, err = tx.Grant(ctx, g.ID)
		if err != nil {
			return err
		}
		if out.Generation != g.Generation {
			return ErrConflict
		}
		was := out.Generation
		out.Generation++
		st := step{g: out, in: input{now: at}}
		out.Wake = st.wake()
		return s.save(ctx, tx, &saving{was: was, g: &out})
	})
	return out, err
}

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
	}
	asked := s.present(t.now)
	links, err := s.dir.Memberships(ctx, keys)
	t.now, t.dc = s.catchUp(t.now, t.dc)
	if err != nil {
		s.troubled(true)
		return errors.Join(first, s.fault(ctx, list, t, err))
	}
	t.dc, t.slack = links[keys[0].Group].At, t.now.Mono-asked.Mono
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

// asStored reads grants that end anew: they were listed some time ago, and others may have
// seen to them meanwhile. What they owe the log is written, if it can be. What can be read
// is returned beside the error.
func (s *Service) asStored(ctx context.Context, ids []ID, t tick) (out []Grant, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	list, err := s.store.ReadAll(ctx, ids)
	if err != nil { // one that cannot be read does not keep the others
		list = list[:0]
		for failed, i := 0, 0; i < len(ids) && failed < tolerated; i++ {
			g, err := s.store.Read(ctx, ids[i])
			if err != nil {
				failed++
				continue
			}
			list = append(list, g)
		}
	}
	for _, g := range list {
		if g.State != Active && g.State != Ending && len(g.Owed) == 0 {
			continue
		}
		settled, failed := s.settled(ctx, g, t)
		if failed != nil {
			err = cmp.Or(err, failed)
			continue
		}
		if settled.State == Active || settled.State == Ending {
			out = append(out, settled)
		}
	}
	return out, err
}

// catchUp returns the clocks as they are now, of those that were read at began: by how
// much this machine's went on, the controller's did.
func (s *Service) catchUp(began Instant, dc time.Time) (Instant, time.Time) {
	now := s.present(began)
	if passed := now.Mono - began.Mono; !dc.IsZero() && passed > 0 {
		dc = dc.Add(passed)
	}
	return now, dc
}

// fault notes on the grants that are ending that the directory could not be read. Those
// that are active stay due.
func (s *Service) fault(ctx context.Context, list []Grant, t tick, why error) error {
	for _, g := range list {
		if g.State != Ending || g.alone(t.dc) {
			continue
		}
		_, err := s.apply(ctx, &g, NotEnded, input{now: t.now, dc: t.dc, generation: g.Generation, detail: why.Error()})
		if err != nil && !harmless(err) {
			return err
		}
	}
	return nil
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

// count notes a grant that is over.
func (r *Report) count(g *Grant, at time.Time) {
	if g.State == Ended || g.State == UnderReview {
		r.Ended++
		if g.EndWhy == string(Expire) && !g.Ends.IsZero() {
			r.Late = max(r.Late, at.Sub(g.Ends))
		}
	}
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
	case !e.g.Basis.removable() && !unresolved:
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
