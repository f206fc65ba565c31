package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/leastwise/leastwise/internal/grant"
)

// Timing.
const (
	// MaxAttempts is how often a delivery is tried before it is put aside: for about a
	// day, since the pauses between tries grow to an hour.
	MaxAttempts = 32

	firstPause  = 10 * time.Second
	longest     = time.Hour
	sendTime    = 30 * time.Second // bounds one try
	leaseTime   = 2 * time.Minute
	defaultTick = time.Second
	batch       = 50
	perMinute   = 60
	addressWait = time.Hour // so long a notice waits for the directory to tell addresses
)

// A Service sends what is owed. Make one with New, and run it with Run.
type Service struct {
	outbox  Outbox
	routes  []Route
	address Addresses
	now     func() time.Time
	log     *slog.Logger
	tick    time.Duration

	mu     sync.Mutex
	status map[string]TargetStatus
}

// A Route says which audiences a target is for.
type Route struct {
	Target Target
	// To are the recipients of each audience: fixed addresses for mail; for other targets
	// the audience being there is enough.
	To map[grant.Audience][]string
	// Directory are the audiences whose addresses are asked of Addresses.
	Directory []grant.Audience
	Personal  bool // each address is a recipient; else the target itself is the only one
	Loud      bool // only loud notices
	Rate      int  // messages a minute at most; 0: 60
}

// TargetStatus is how a target is doing.
type TargetStatus struct {
	Sent   int64
	Failed int64     // tries
	Last   time.Time // of the last message that was taken over
	Fault  string    // of the last try, empty if it went well
}

// Settings are what New needs. Outbox, Now and Log are required; Addresses only where a
// route asks the directory.
type Settings struct {
	Outbox    Outbox
	Routes    []Route
	Addresses Addresses
	Now       func() time.Time
	Log       *slog.Logger
	Tick      time.Duration // how often to look; 0: a second
}

// New returns a Service.
func New(set Settings) *Service {
	if set.Outbox == nil || set.Now == nil || set.Log == nil {
		panic("notify.New: settings without Outbox, Now or Log")
	}
	s := &Service{outbox: set.Outbox, routes: set.Routes, address: set.Addresses, now: set.Now, log: set.Log, tick: set.Tick, status: map[string]TargetStatus{}}
	if s.tick <= 0 {
		s.tick = defaultTick
	}
	for _, r := range s.routes {
		if len(r.Directory) > 0 && s.address == nil {
			panic("notify.New: a route asks for addresses, and nobody has them")
		}
	}
	return s
}

// Status says how each target is doing.
func (s *Service) Status() map[string]TargetStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]TargetStatus, len(s.status))
	for k, v := range s.status {
		out[k] = v
	}
	return out
}

// Run sends until ctx ends; a try that is under way ends with it, and is made again by
// the next Run.
func (s *Service) Run(ctx context.Context) {
	var loops sync.WaitGroup
	loops.Go(func() { s.loop(ctx, s.routeAll) })
	for _, r := range s.routes {
		loops.Go(func() { s.loop(ctx, func(ctx context.Context) error { return s.sendAll(ctx, r) }) })
	}
	loops.Wait()
}

// loop calls do once a tick. A fault is logged when it begins and when it changes.
func (s *Service) loop(ctx context.Context, do func(context.Context) error) {
	t := time.NewTicker(s.tick)
	defer t.Stop()
	last := ""
	for {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			if text := err.Error(); text != last {
				s.log.Error("notifications", "error", text)
				last = text
			}
		} else {
			last = ""
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// routeAll turns notices into deliveries. One whose addresses cannot be found out now
// waits, and holds up no other.
func (s *Service) routeAll(ctx context.Context) error {
	owed, err := s.outbox.Owed(ctx, batch)
	if err != nil {
		return fmt.Errorf("reading what is to be told: %w", err)
	}
	var errs []error
	for _, n := range owed {
		list, err := s.deliveries(ctx, n)
		if err == nil {
			err = s.outbox.Route(ctx, n, list)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("telling of grant %s: %w", n.Grant, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// deliveries are those of a notice; none if no target is for its audiences.
func (s *Service) deliveries(ctx context.Context, n Notice) ([]Delivery, error) {
	var out []Delivery
	for _, r := range s.routes {
		if r.Loud && !n.Loud {
			continue
		}
		recipients, err := s.recipients(ctx, r, n)
		if err != nil {
			return nil, err
		}
		for _, to := range recipients {
			id := deliveryID(n.Notice, r.Target.Name(), to)
			out = append(out, Delivery{
				ID: id, Target: r.Target.Name(), Recipient: to, Created: s.now(), Next: s.now(),
				Message: Message{ID: id, Time: n.Time.UTC(), Grant: n.Grant, Event: n.Event, State: n.State, Loud: n.Loud, Audiences: n.To, Text: n.Text},
			})
		}
	}
	return out, nil
}

func (s *Service) recipients(ctx context.Context, r Route, n Notice) ([]string, error) {
	var out []string
	for _, a := range n.To {
		fixed, ok := r.To[a]
		if ok && !r.Personal {
			return []string{""}, nil
		}
		out = append(out, fixed...)
		if !slices.Contains(r.Directory, a) {
			continue
		}
		list, err := s.address.Addresses(ctx, n.Grant, a)
		if err != nil && s.now().Sub(n.Time) < addressWait {
			return nil, fmt.Errorf("finding the addresses of %s: %w", a, err)
		}
		if err != nil { // those that are known are told all the same
			s.log.Error("some are not told, because their addresses could not be found", "grant", n.Grant, "audience", a, "error", printable(err.Error(), maxFault))
		}
		for _, v := range list {
			if address, err := parseAddress(v); err == nil {
				out = append(out, address)
				continue
			}
			s.log.Warn("an account's mail attribute is no address", "grant", n.Grant, "audience", a)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// sendAll sends what is due to one target.
func (s *Service) sendAll(ctx context.Context, r Route) error {
	rate := r.Rate
	if rate <= 0 {
		rate = perMinute
	}
	gap := time.Minute / time.Duration(rate)
	for {
		// No more than can be sent before the lease ends, even if each try takes its time.
		now := s.now()
		list, err := s.outbox.Claim(ctx, r.Target.Name(), now, now.Add(leaseTime), 1)
		if err != nil {
			return fmt.Errorf("reading the deliveries to %s: %w", r.Target.Name(), err)
		}
		if len(list) == 0 {
			return nil
		}
		began := time.Now()
		for _, d := range list {
			if err := s.send(ctx, r, d); err != nil {
				return err
			}
		}
		if !sleep(ctx, gap-time.Since(began)) {
			return nil
		}
	}
}

// sleep reports whether ctx still lives after d.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// send makes one try and notes what came of it.
func (s *Service) send(ctx context.Context, r Route, d Delivery) error {
	trying, cancel := context.WithTimeout(ctx, sendTime)
	err := r.Target.Send(trying, d.Recipient, d.Message)
	cancel()
	if err != nil && ctx.Err() != nil {
		return nil // it was cut short: the lease ends, and it is tried again
	}
	s.note(r.Target.Name(), err)
	if err != nil {
		d.Attempts++
		d.Fault = printable(err.Error(), maxFault)
		d.Next = s.now().Add(Pause(d.Attempts, err))
		d.Dead = d.Attempts >= MaxAttempts
		s.log.Warn("a message was not delivered", "target", d.Target, "delivery", d.ID, "attempts", d.Attempts, "dead", d.Dead, "error", d.Fault)
	}
	settling, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTime)
	defer cancel()
	if serr := s.outbox.Settle(settling, d, err == nil); serr != nil {
		return fmt.Errorf("noting the delivery %s to %s: %w", d.ID, d.Target, serr)
	}
	return nil
}

const maxFault = 500

func (s *Service) note(target string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status[target]
	if err != nil {
		st.Failed++
		st.Fault = printable(err.Error(), maxFault)
	} else {
		st.Sent++
		st.Last, st.Fault = s.now(), ""
	}
	s.status[target] = st
}

// Pause is how long to wait after a number of failures: twice as long each time, shifted
// by up to a quarter, or as long as the other side said if that is longer.
func Pause(attempts int, err error) time.Duration {
	d := firstPause << min(attempts-1, 20)
	d = min(d, longest)
	d += rand.N(d/4 + 1)
	var w wait
	if errors.As(err, &w) {
		d = max(d, min(w.after, 24*time.Hour))
	}
	return d
}
