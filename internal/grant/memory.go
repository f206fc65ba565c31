package grant

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// memory is what a service keeps beside the store: what it needs to end grants when
// the store is away, and to notice that clocks jump. Losing it costs nothing but that.
type memory struct {
	ends map[ID]end
	late []Entry // of removals that were made while the store was away

	refusals map[secdesc.GUID]*tally // by account

	last     Instant   // of the last tick
	lastDC   time.Time // the controller's time then
	away     bool      // the directory did not answer then
	awayFrom time.Time

	trouble bool          // reads or writes fail for now, although the time answers
	canary  time.Duration // when one write was tried last to see whether they go again
}

// end is what a service remembers of an active grant.
type end struct {
	grant Grant
	stamp string
	mono  time.Duration // when its time is up by the monotonic clock
	done  bool          // removed while the store was away
}

// monoSlack is how much the monotonic guard leaves to the controller's clock, which
// decides as long as it runs like others.
const monoSlack = 2 * time.Second

// jump is how far a clock may stray from the monotonic one between two ticks.
const jump = 5 * time.Second

func newMemory() memory { return memory{ends: map[ID]end{}, refusals: map[secdesc.GUID]*tally{}} }

// remember notes a grant that was stored or read: active ones with their ends.
func (s *Service) remember(g *Grant, now Instant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &s.memory
	if g.State != Active && g.State != Ending {
		delete(m.ends, g.ID)
		return
	}
	e, known := m.ends[g.ID]
	switch {
	case !known:
		left := g.Duration // no better bound as long as the controller's time is not known
		if !m.lastDC.IsZero() {
			left = min(left, g.Ends.Sub(m.lastDC)-(now.Mono-m.last.Mono))
		}
		e.mono = now.Mono + max(0, left) + monoSlack
	case e.grant.State == Active && g.State == Active:
		e.mono += g.Ends.Sub(e.grant.Ends)
	}
	e.grant = g.clone()
	m.ends[g.ID] = e
}

// remembered returns the grants that are remembered now.
func (s *Service) remembered() []ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.memory.ends))
}

// forget drops what is remembered of those grants that are not among the ones that are
// active or end by the store. What became active since before was read is not among
// those, and stays.
func (s *Service) forget(before []ID, keep map[ID]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range before {
		if !keep[id] {
			delete(s.memory.ends, id)
		}
	}
}

// monoUp reports whether the monotonic guard says that a grant's time is up.
func (s *Service) monoUp(id ID, now Instant) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.memory.ends[id]
	return ok && e.grant.State == Active && now.Mono >= e.mono
}

// overdue returns the grants whose time is up by the monotonic guard.
func (s *Service) overdue(now Instant) []Grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Grant
	for _, e := range s.memory.ends {
		if e.grant.State == Active && now.Mono >= e.mono {
			out = append(out, e.grant.clone())
		}
	}
	return out
}

// jumped says which clock jumped since the last tick, empty if none, and notes the
// present readings. A zero dc is one that was not read.
func (s *Service) jumped(now Instant, dc time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &s.memory
	what := ""
	if now.Mono < m.last.Mono {
		return "" // a round that began earlier was overtaken
	}
	if !m.last.Wall.IsZero() {
		passed := now.Mono - m.last.Mono
		if d := now.Wall.Sub(m.last.Wall) - passed; d.Abs() > jump {
			what = fmt.Sprintf("this machine's clock jumped by %s", d.Round(time.Millisecond))
		}
		if d := dc.Sub(m.lastDC) - passed; !dc.IsZero() && !m.lastDC.IsZero() && d.Abs() > jump {
			what = fmt.Sprintf("the domain controller's clock jumped by %s", d.Round(time.Millisecond))
		}
		if !m.lastDC.IsZero() && dc.IsZero() {
			dc = m.lastDC.Add(passed) // what it should show
		}
	}
	m.last = now
	if !dc.IsZero() {
		m.lastDC = dc
	}
	return what
}

// turned notes whether the directory answers and reports a change.
func (s *Service) turned(away bool, now time.Time) (changed bool, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &s.memory
	changed, since = m.away != away, m.awayFrom
	m.away = away
	if changed {
		m.awayFrom = now
	}
	return changed, since
}

// canaryEvery is how often one removal is tried while others wait: so that the end of a
// disturbance is noticed soon, however long it was and whatever the delays grew to.
const canaryEvery = 2 * time.Second

// troubled notes whether the directory did what it was asked.
func (s *Service) troubled(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory.trouble = yes
}

// canaryDue reports whether one removal should be tried out of turn.
func (s *Service) canaryDue(now Instant) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &s.memory
	if !m.trouble || now.Mono-m.canary < canaryEvery {
		return false
	}
	m.canary = now.Mono
	return true
}

func (s *Service) inTrouble() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.memory.trouble
}

// tryCanary tries the end that is due next. If that succeeds, the others are tried at
// once.
func (s *Service) tryCanary(ctx context.Context, t tick) error {
	if t.dc.IsZero() || !s.canaryDue(t.now) {
		return nil
	}
	const ever = 1000 * time.Hour
	list, err := s.store.Due(ctx, Due{DC: t.dc.Add(ever), States: []State{Ending}, Limit: 1})
	if err != nil {
		return err
	}
	s.troubled(false)
	t.sweep = true
	if err := s.driveEnds(ctx, list, t); err != nil {
		return err
	}
	if len(list) == 0 || s.inTrouble() {
		return nil
	}
	return s.hurry(ctx, t, Ending)
}

// endFromMemory removes memberships whose time is up while the store is away: the end
// of a grant does not wait for a database. What it does is logged when the store is
// back.
func (s *Service) endFromMemory(ctx context.Context, now Instant, dc time.Time, r *Report) {
	for _, e := range s.dueInMemory(now, dc) {
		if s.claim(e.grant.ID) {
			s.endOneFromMemory(ctx, now, e, r)
			s.release(e.grant.ID)
		}
	}
}

func (s *Service) endOneFromMemory(ctx context.Context, now Instant, e end, r *Report) {
	g := e.grant
	links, err := s.dir.Links(ctx, g.Key.Group, memberOf(&g))
	if err != nil {
		return
	}
	link := links.Links[g.Key.Member]
	if !link.Present || link.Stamp != e.stamp {
		s.overInMemory(g.ID) // gone, or not known to be the one that the grant made: what comes later is not the grant's
		return
	}
	g.State = Ending
	now, within := s.present(now), g.sendTime()
	g.State = e.grant.State
	var res Result // what is not told is not known
	for _, res = range s.dir.Remove(ctx, []Write{{
		Grant: g.ID, Generation: g.Generation, Key: g.Key, Through: g.Terms.Through,
		NotAfter: Instant{Wall: now.Wall.Add(within), Mono: now.Mono + within},
	}}) {
		break
	}
	s.noteLate(g.ID, Entry{
		Time: now.Wall, Kind: Outcomes, Action: Remove, Grant: g.ID, Generation: g.Generation, Group: g.Key.Group,
		Target: g.Key.Member, GroupName: g.Group.Name, TargetName: g.Holder.Name, From: g.State, To: g.State, Late: true,
		Detail: "removed while the store was away: " + res.Outcome.String() + " " + res.Detail,
	}, res.Outcome == OutcomeDone || res.Outcome == OutcomeAlready)
	r.Removed++
}

// dueInMemory returns the ends that are due and whose membership no other grant needs,
// as far as is remembered.
func (s *Service) dueInMemory(now Instant, dc time.Time) []end {
	s.mu.Lock()
	defer s.mu.Unlock()
	up := func(e end) bool {
		return e.grant.State == Ending || now.Mono >= e.mono || !dc.IsZero() && !dc.Before(e.grant.Ends)
	}
	needed := map[Key]bool{}
	for _, e := range s.memory.ends {
		if !up(e) {
			needed[e.grant.Key] = true
		}
	}
	var out []end
	for _, e := range s.memory.ends {
		if up(e) && !e.done && !needed[e.grant.Key] && e.grant.Basis.removable() {
			out = append(out, e)
		}
	}
	return out
}

// overInMemory notes that a membership is not to be looked for again.
func (s *Service) overInMemory(id ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.memory.ends[id]; ok {
		known.done = true
		s.memory.ends[id] = known
	}
}

func (s *Service) noteLate(id ID, e Entry, done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory.late = append(s.memory.late, e)
	if known, ok := s.memory.ends[id]; ok {
		known.done = done
		s.memory.ends[id] = known
	}
}

// maxLate limits what waits for the log; what is beyond it was noise (a directory that
// comes and goes while the log is away), and the first entries tell of it.
const maxLate = 10_000

// noteNode keeps an entry about the surroundings for the next flush.
func (s *Service) noteNode(e Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.memory.late) < maxLate {
		s.memory.late = append(s.memory.late, e)
	}
}

// flush logs what waits for it. What the log cannot take now stays, and is late then.
func (s *Service) flush(ctx context.Context) {
	s.mu.Lock()
	late := s.memory.late
	s.memory.late = nil
	s.mu.Unlock()
	if len(late) == 0 {
		return
	}
	err := s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		for _, e := range late {
			if err := tx.Record(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		return
	}
	for i := range late {
		late[i].Late = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory.late = append(late, s.memory.late...)
}

// rememberStamp notes the stamp of the link that a grant rests on.
func (s *Service) rememberStamp(id ID, stamp string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.memory.ends[id]; ok {
		e.stamp = stamp
		s.memory.ends[id] = e
	}
}
