package grant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// Refusals of one account that are logged one by one: so many in so long. Beyond, they
// are counted, and the count is logged.
const (
	refusalsEach = 60
	refusalsPer  = 10 * time.Minute
)

// Refusals is the action of the entry that says how many refusals of an account were
// counted only. It is no event: nothing happens to a grant.
const Refusals Event = "refusals"

// A tally counts the refusals of one account.
type tally struct {
	since time.Time
	n     int
	last  Actor
}

// silent is how many got no entry of their own.
func (t *tally) silent() int { return max(0, t.n-refusalsEach) }

// entry is the one that stands for those that got none.
func (t *tally) entry(now time.Time) Entry {
	return Entry{
		Time: now, Kind: Refusal, Actor: t.last, Action: Refusals,
		Detail: fmt.Sprintf("%d more refusals since %s were counted and not logged one by one", t.silent(), t.since.UTC().Format(time.RFC3339)),
	}
}

// over reports whether the time of a tally is up.
func (t *tally) over(now time.Time) bool {
	return now.Sub(t.since) >= refusalsPer || now.Before(t.since)
}

// metered counts a refusal. each says whether it is logged by itself, and last that those
// which follow are not.
func (s *Service) metered(a *Actor, now time.Time) (each, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.memory.refusals[a.Account]
	if t != nil && t.over(now) {
		s.settleRefusals(a.Account, t, now)
		t = nil
	}
	if t == nil {
		t = &tally{since: now}
		s.memory.refusals[a.Account] = t
	}
	t.n++
	t.last = *a
	return t.n <= refusalsEach, t.n == refusalsEach
}

// countRefusals logs, with the next flush, the counts whose time is up.
func (s *Service) countRefusals(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for account, t := range s.memory.refusals {
		if t.over(now) {
			s.settleRefusals(account, t, now)
		}
	}
}

// settleRefusals forgets a tally; s.mu is held.
func (s *Service) settleRefusals(account secdesc.GUID, t *tally, now time.Time) {
	delete(s.memory.refusals, account)
	if t.silent() > 0 {
		s.memory.late = append(s.memory.late, t.entry(now)) // one for each account in ten minutes: maxLate is no concern
	}
}

// isRefusal reports whether an error says that something was decided against, or could
// not be decided. Others are failures: whether anything was done, they may not know.
func isRefusal(err error) bool {
	return slices.ContainsFunc([]error{ErrForbidden, ErrPolicy, ErrIllegal, ErrStale, ErrNotFound, ErrExists, ErrConflict, ErrUnreachable}, func(e error) bool {
		return errors.Is(err, e)
	})
}

// refused logs that something was refused, and returns why. What was refused was not
// done, whether or not the log takes the entry. What failed otherwise, such as a commit
// whose answer was lost, is no refusal and is not called one.
func (s *Service) refused(ctx context.Context, c Caller, g *Grant, in input, ev Event, why error) error {
	if !isRefusal(why) {
		return why
	}
	kind := Refusal
	if errors.Is(why, ErrStale) {
		kind = Stale
	}
	e := Entry{
		Time: in.now.Wall, Kind: kind, Actor: c.Actor, Action: ev, Grant: g.ID, Generation: g.Generation, Group: g.Key.Group,
		Target: g.Key.Member, From: g.State, To: g.State, Reason: in.reason, Detail: why.Error(),
		GroupName: g.Group.Name, TargetName: g.Holder.Name,
	}
	if !c.Account.IsZero() {
		each, last := s.metered(&c.Actor, in.now.Wall)
		if !each {
			return why
		}
		if last {
			e.Detail += "; more refusals of this account are counted, and the count is logged"
		}
	}
	return errors.Join(why, s.record(ctx, e))
}

// Settle logs what was counted and not logged yet. Whoever ends a process calls it last.
func (s *Service) Settle(ctx context.Context, now Instant) {
	s.mu.Lock()
	for account, t := range s.memory.refusals {
		s.settleRefusals(account, t, now.Wall)
	}
	s.mu.Unlock()
	s.flush(ctx)
}
