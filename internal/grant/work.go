package grant

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
	Late    time.Duration // the longest time between an end and its removal's answer, or a look that failed, by the controller's clock
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
	known map[Key]int64 // revisions of the holdings before the directory was read
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

// fault notes on a grant that is ending, or whose time is up, that the directory could not
// be read. One that is active otherwise stays as it is.
func (s *Service) fault(ctx context.Context, g *Grant, t tick, why error) error {
	now := *g
	in := input{now: t.now, dc: t.dc, monoUp: s.monoUp(g.ID, t.now)}
	if now.State == Active && (&step{g: now, in: in}).up() {
		out, err := s.apply(ctx, g, Expire, in)
		if err != nil {
			if harmless(err) {
				err = nil
			}
			return err
		}
		now = out
	}
	if now.State != Ending || now.alone(t.dc) {
		return nil
	}
	if now.EndWhy == string(Expire) && !now.Ends.IsZero() {
		t.r.Late = max(t.r.Late, t.dc.Sub(now.Ends))
	}
	_, err := s.apply(ctx, &now, NotEnded, input{now: t.now, dc: t.dc, generation: now.Generation, detail: why.Error()})
	if err != nil && !harmless(err) {
		return err
	}
	return nil
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
