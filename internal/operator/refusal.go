package operator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/secdesc"
)

func refusedLimit() limit { // of entries about what an account was refused
	return limit{"refused", 100, 10 * time.Minute, time.Hour}
}

// muted is an account whose refusals get no entry of their own for now.
type muted struct {
	actor audit.Actor
	n     int // since the last entry that says how many
	until time.Time
}

// refusal logs what a caller was refused. Who is signed in cannot fill the log either:
// beyond a rate the refusals of an account are counted, and Sweep logs the count.
func (s *Service) refusal(ctx context.Context, c *Caller, e audit.Entry) error {
	ctx = context.WithoutCancel(ctx)
	if c.Account.IsZero() { // on the server's own machine
		return s.append(ctx, e)
	}
	if s.isMuted(c) {
		return nil
	}
	err := s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		if err := charge(ctx, tx, c.Now, refusedLimit().of(c.Account.String())); err != nil {
			return err
		}
		_, err := audit.Append(ctx, tx, e)
		return err
	})
	var retry *RetryError
	if errors.As(err, &retry) {
		s.mute(c, retry.After)
		return nil
	}
	return err
}

// isMuted counts a refusal of an account that is muted. The database is not asked: a flood
// does not keep others from writing.
func (s *Service) isMuted(c *Caller) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.muted[c.Account]
	if m == nil || !c.Now.Before(m.until) || m.until.Sub(c.Now) > refusedLimit().longest {
		return false
	}
	m.n++
	return true
}

func (s *Service) mute(c *Caller, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.muted[c.Account]
	if m == nil {
		m = &muted{}
		s.muted[c.Account] = m
	}
	m.n++
	m.actor, m.until = c.Actor(), c.Now.Add(wait)
}

// unmute returns an entry for each account of which refusals were counted, and forgets
// the counts.
func (s *Service) unmute(now time.Time) (entries []audit.Entry, counts map[secdesc.GUID]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts = map[secdesc.GUID]int{}
	for account, m := range s.muted {
		if m.n > 0 {
			entries = append(entries, audit.Entry{
				Time: now, Phase: audit.Refusal, Action: "operator.refusals", Actor: m.actor,
				Reason: fmt.Sprintf("%d more requests were refused and not logged one by one", m.n),
			})
			counts[account] = m.n
			m.n = 0
		} else if !now.Before(m.until) {
			delete(s.muted, account)
		}
	}
	return entries, counts
}

// recount takes counts back that could not be logged.
func (s *Service) recount(counts map[secdesc.GUID]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for account, n := range counts {
		if m := s.muted[account]; m != nil {
			m.n += n
		}
	}
}
