package operator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A limit bounds tries: some are free, then each waits twice as long as the one before.
type limit struct {
	name    string
	free    int
	longest time.Duration // of a wait; the first is a second
	forget  time.Duration // after so long without a try everything is forgotten
}

// The limits. None keeps people out of an account because of what others do elsewhere:
// the one that is about an account alone counts only who has proved the first factor, and
// only where no second factor of the account was right before.
func passwordLimit() limit { // of an account from an address
	return limit{"password", 5, 15 * time.Minute, 24 * time.Hour}
}

func addressLimit() limit { // of all passwords from an address
	return limit{"address", 50, time.Minute, time.Hour}
}

func factorLimit() limit { // of codes in a session
	return limit{"factor", 5, 15 * time.Minute, 24 * time.Hour}
}

func factorFromLimit() limit { // of codes for an account from an address
	return limit{"factor-from", 10, 15 * time.Minute, 24 * time.Hour}
}

func factorOfLimit() limit { // of codes for an account from networks that it is not known from
	return limit{"factor-of", 20, 15 * time.Minute, 24 * time.Hour}
}

func enrolLimit() limit { // of second factors that an account begins to enrol, each of which is in the log
	return limit{"enrol", 20, time.Hour, time.Hour}
}

func logLimit() limit { // of entries about what strangers tried
	return limit{"log", 100, 10 * time.Minute, time.Hour}
}

// A meter is one limit applied to something.
type meter struct {
	limit
	id string
}

// of makes a meter. What it is about is hashed: rows have a bounded size, and the
// database holds no list of addresses.
func (l limit) of(parts ...string) meter {
	h := sha256.Sum256([]byte(l.name + "\x00" + strings.Join(parts, "\x00")))
	return meter{l, hex.EncodeToString(h[:])}
}

// network is what an address counts as: IPv6 hosts choose the lower half themselves.
func network(a netip.Addr) string {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

// tries is what is kept of a meter.
type tries struct {
	Count int       `json:"count"`
	Last  time.Time `json:"last"`
	Until time.Time `json:"until,omitzero"` // no try before then
}

func (m *meter) load(ctx context.Context, tx Tx, now time.Time) (tries, Record, error) {
	t, r, err := load[tries](ctx, tx, attempts, m.id)
	switch {
	case errors.Is(err, ErrNotFound):
		return tries{}, Record{Kind: attempts, ID: m.id}, nil
	case err == nil && (now.After(t.Last.Add(m.forget)) || t.Last.After(now.Add(maxSkew))): // or the clock was ahead
		return tries{}, r, nil
	}
	return t, r, err
}

// check returns a RetryError if one of the meters does not allow a try now.
func check(ctx context.Context, tx Tx, now time.Time, meters ...meter) error {
	var wait time.Duration
	for _, m := range meters {
		t, _, err := m.load(ctx, tx, now)
		if err != nil {
			return err
		}
		wait = max(wait, min(t.Until.Sub(now), m.longest))
	}
	if wait > 0 {
		return &RetryError{wait}
	}
	return nil
}

// charge counts a try on all meters before it is made, or returns a RetryError and
// counts nothing.
func charge(ctx context.Context, tx Tx, now time.Time, meters ...meter) error {
	if err := check(ctx, tx, now, meters...); err != nil {
		return err
	}
	for _, m := range meters {
		t, r, err := m.load(ctx, tx, now)
		if err != nil {
			return err
		}
		t.Count++
		t.Last, t.Until = now, time.Time{}
		if over := t.Count - m.free; over >= 0 {
			t.Until = now.Add(min(m.longest, time.Second<<min(over, 20)))
		}
		r.Until = now.Add(m.forget)
		if err := put(ctx, tx, r, t); err != nil {
			return err
		}
	}
	return nil
}

// refund takes a try back that was right, or not made.
func refund(ctx context.Context, tx Tx, now time.Time, meters ...meter) error {
	for _, m := range meters {
		t, r, err := m.load(ctx, tx, now)
		if err != nil {
			return err
		}
		if t.Count = max(0, t.Count-1); t.Count < m.free {
			t.Until = time.Time{}
		}
		if t.Count == 0 {
			err = tx.Drop(ctx, attempts, m.id)
		} else {
			err = put(ctx, tx, r, t)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// settle forgets the tries of meters after one was right.
func settle(ctx context.Context, tx Tx, meters ...meter) error {
	for _, m := range meters {
		if err := tx.Drop(ctx, attempts, m.id); err != nil {
			return err
		}
	}
	return nil
}

// placeKept is how long a network is known from which a second factor of an account was right.
const placeKept = 30 * 24 * time.Hour

// place is the record of the network that a caller comes from.
func place(c *Caller) Record {
	h := sha256.Sum256([]byte("place\x00" + c.Account.String() + "\x00" + network(c.From)))
	return Record{Kind: places, ID: hex.EncodeToString(h[:]), Account: c.Account}
}

// familiar reports whether a second factor of the caller's account was right from his
// network not long ago: then he may be its owner, whom nobody elsewhere can make wait.
func familiar(ctx context.Context, tx Tx, c *Caller) (bool, error) {
	r, err := tx.Record(ctx, places, place(c).ID)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil && c.Now.Before(r.Until), err
}

// remember notes that a second factor was right from the caller's network.
func remember(ctx context.Context, tx Tx, c *Caller) error {
	r := place(c)
	have, err := tx.Record(ctx, places, r.ID)
	if err == nil {
		r.Revision = have.Revision
	} else if !errors.Is(err, ErrNotFound) {
		return err
	}
	r.Until = c.Now.Add(placeKept)
	return put(ctx, tx, r, struct{}{})
}

// strange forgets the networks that an account is known from.
func strange(ctx context.Context, tx Tx, account secdesc.GUID) error {
	_, records, err := all[struct{}](ctx, tx, places, account)
	if err != nil {
		return err
	}
	for _, r := range records {
		if err := tx.Drop(ctx, places, r.ID); err != nil {
			return err
		}
	}
	return nil
}

// maxSilent bounds the addresses of which refusals are counted in memory.
const maxSilent = 10_000

// silence counts a refusal that gets no entry of its own; Sweep logs how many.
func (s *Service) silence(v *Visit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := network(v.From)
	if _, ok := s.silent[key]; !ok && len(s.silent) >= maxSilent {
		key = ""
	}
	s.silent[key]++
}

// refuse logs that a sign-in was refused and returns err. Strangers cannot fill the log:
// beyond a rate, refusals from one address are counted, and the count is logged.
func (s *Service) refuse(ctx context.Context, v *Visit, a audit.Actor, reason string, err error) error {
	a.From = v.From.String()
	if a.Name == "" {
		a.Name = "nobody"
	}
	e := audit.Entry{Time: v.Now, Phase: audit.Refusal, Action: "session.begin", Actor: a, Request: v.Request, Reason: reason}
	err2 := s.store.Update(context.WithoutCancel(ctx), func(ctx context.Context, tx Tx) error {
		if err := charge(ctx, tx, v.Now, logLimit().of(network(v.From))); err != nil {
			return err
		}
		_, err := audit.Append(ctx, tx, e)
		return err
	})
	if errors.Is(err2, ErrRetry) {
		s.silence(v)
		return err
	}
	if err2 != nil {
		return fmt.Errorf("%w; logging that: %w", err, err2)
	}
	return err
}

// Sweep forgets what is over: sessions, tokens, challenges, tries. It ends what a clock
// that was set back would prolong, and logs how many refusals got no entry of their own.
// Call it at the start and every minute on each node.
func (s *Service) Sweep(ctx context.Context, now time.Time) error {
	if err := s.turnBack(ctx, now); err != nil {
		return err
	}
	s.mu.Lock()
	silent := s.silent
	s.silent = map[string]int{}
	s.mu.Unlock()
	entries, counts := s.unmute(now)
	for from, n := range silent {
		where := from
		if from == "" {
			where = "other addresses"
		}
		a := systemActor()
		entries = append(entries, audit.Entry{
			Time: now, Phase: audit.Refusal, Action: "session.begin", Actor: a,
			Reason: fmt.Sprintf("%d more sign-ins from %s were refused and not logged one by one", n, where),
		})
	}
	err := s.store.Update(ctx, func(ctx context.Context, tx Tx) error {
		for _, k := range Kinds() {
			if _, err := tx.Trim(ctx, k, now); err != nil {
				return err
			}
		}
		if len(entries) == 0 {
			return nil
		}
		_, err := audit.Append(ctx, tx, entries...)
		return err
	})
	if err != nil {
		s.mu.Lock()
		for from, n := range silent {
			s.silent[from] += n
		}
		s.mu.Unlock()
		s.recount(counts)
		return fmt.Errorf("forgetting what is over: %w", err)
	}
	return nil
}
