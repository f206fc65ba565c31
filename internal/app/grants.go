package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leastwise/leastwise/internal/apply"
	"github.com/leastwise/leastwise/internal/dc"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/store"
)

// Timing of the runner of grants.
const (
	tickEvery    = time.Second
	sweepEvery   = 5 * time.Minute
	patience     = 3 * time.Second // a caller waits so long for what his command starts
	roundTime    = 2 * time.Minute // bounds one round of work; what it did not come to is due in the next
	sweepTime    = 30 * time.Minute
	groupsAtOnce = 4
	roundsAtOnce = 4
	// Commands that are worked on at once. More would wait in the queue of the domain
	// controller, where waiting looks as if it did not answer.
	commandsAtOnce = 3
)

// GrantSettings are what [RunGrants] needs. Store, Directory and Policies are required.
type GrantSettings struct {
	Store     grant.Store
	Directory grant.Directory
	Policies  *grant.Policies
	// Returned tells of domain controllers that answer again; nil: only ticks notice.
	Returned <-chan struct{}
	Clock    func() grant.Instant // nil: [Clock]
	Log      *slog.Logger         // nil: nothing is logged
	// Together is how many groups are written to at once; 0: 4.
	Together int
	// Reclaim disables management accounts that a process which died has left enabled; nil:
	// there are none. It is called with those that policies name.
	Reclaim func(context.Context, []grant.Ref) error
	// Used is told of policies before they are used; nil: nobody listens.
	Used func(*grant.Policies)
	// Closers are closed when the runner has ended, the last one first.
	Closers []io.Closer
}

// GrantStatus is how the runner of grants is doing.
type GrantStatus struct {
	Ticked  time.Time // end of the last round; zero: none yet
	Swept   time.Time // end of the last whole comparison with the directory; zero: none yet
	Away    bool      // the directory did not answer in the last round
	Why     string    // why not
	Store   string    // why the store could not be used in the last round; empty: it could
	Rounds  int64
	Sweeps  int64
	Started int64         // memberships that grants gained here
	Removed int64         // removals that were sent here
	Ended   int64         // grants that ended here
	Late    time.Duration // the longest time between an end and its removal's answer
}

// Ready reports whether the last round came through: the store took it and the directory
// answered.
func (s GrantStatus) Ready() bool { return !s.Ticked.IsZero() && !s.Away && s.Store == "" }

// Grants sees grants through: it owns the loops in which package grant works, and is how
// the server talks to it. Several of them, in several processes, may share one
// PostgreSQL: each does what is due, and generations keep them apart. Make one with
// [RunGrants]. It is safe for concurrent use.
type Grants struct {
	service *grant.Service
	set     GrantSettings
	wake    chan struct{} // a round is wanted now
	sweep   chan struct{} // a comparison with the directory is wanted now
	stop    context.CancelFunc
	loops   sync.WaitGroup // the loops
	tasks   sync.WaitGroup // commands that outlive their caller
	slots   chan struct{}  // of those that are worked on now

	mu      sync.Mutex // guards what follows
	status  GrantStatus
	closing bool
	watches map[chan grant.Grant]bool
}

// Clock returns this machine's clocks; the monotonic one counts from the call.
func Clock() func() grant.Instant {
	origin := time.Now()
	return func() grant.Instant {
		now := time.Now()
		return grant.Instant{Wall: now, Mono: now.Sub(origin)}
	}
}

// RunGrants starts to work on grants: it compares everything that is stored with the
// directory, and from then on does what is due. Neither store nor directory need to be
// there; what they cannot do now is done when they are back. Close ends it.
func RunGrants(set GrantSettings) *Grants {
	if set.Clock == nil {
		set.Clock = Clock()
	}
	if set.Log == nil {
		set.Log = slog.New(slog.DiscardHandler)
	}
	if set.Together == 0 {
		set.Together = groupsAtOnce
	}
	set.Directory = newQueued(set.Directory)
	g := &Grants{set: set, wake: make(chan struct{}, 1), sweep: make(chan struct{}, 1), slots: make(chan struct{}, commandsAtOnce), watches: map[chan grant.Grant]bool{}}
	g.service = grant.New(watchedStore{set.Store, g}, set.Directory, set.Policies)
	g.service.Together(set.Together)
	g.service.Clocked(set.Clock)
	g.service.Turn(rand.Uint64())
	ctx, stop := context.WithCancel(context.Background())
	g.stop = stop
	signal(g.sweep)
	g.loops.Go(func() { g.tick(ctx) })
	g.loops.Go(func() { g.compare(ctx) })
	return g
}

// signal asks a loop for another turn, if nobody has yet.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// tick is the loop that does what is due. A round that waits for a slow domain controller
// does not hold up the next.
func (g *Grants) tick(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var rounds sync.WaitGroup
	defer rounds.Wait()
	slots := make(chan struct{}, roundsAtOnce)
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-g.wake:
		case <-g.set.Returned:
			g.service.Returned()
			signal(g.sweep)
		}
		timer.Reset(tickEvery)
		select {
		case slots <- struct{}{}:
		default:
			continue // all rounds wait for something: the timer asks again
		}
		rounds.Go(func() {
			for g.round(ctx) && ctx.Err() == nil {
			}
			<-slots
		})
	}
}

// round does what is due, once. more says that more is due and that this did something
// about it.
func (g *Grants) round(ctx context.Context) (more bool) {
	// What was begun is finished when the runner ends: no write is left without its outcome.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), roundTime)
	defer cancel()
	r, err := g.service.Tick(ctx, g.set.Clock())
	if r.Sweep {
		signal(g.sweep)
	}
	g.note(r, err, func(s *GrantStatus) {
		s.Rounds++
		s.Ticked = g.set.Clock().Wall
		s.Away, s.Why = r.Away, r.Why
	})
	return r.More && err == nil && r.Started+r.Removed+r.Ended > 0
}

// compare is the loop that compares everything with the directory.
func (g *Grants) compare(ctx context.Context) {
	timer := time.NewTimer(sweepEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-g.sweep:
		}
		timer.Reset(sweepEvery)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sweepTime)
		r, err := g.service.Sweep(ctx, g.set.Clock())
		if g.set.Reclaim != nil && !r.Away {
			if err := g.set.Reclaim(ctx, through(g.service.Policies())); err != nil {
				g.set.Log.Error("management accounts could not be looked after", "error", err)
			}
		}
		cancel()
		g.note(r, err, func(s *GrantStatus) {
			if err == nil && !r.Away {
				s.Sweeps++
				s.Swept = g.set.Clock().Wall
			}
		})
	}
}

// note keeps what a round did, and says in the log what has changed.
func (g *Grants) note(r grant.Report, err error, more func(*GrantStatus)) {
	g.mu.Lock()
	was := g.status
	s := &g.status
	s.Started += int64(r.Started)
	s.Removed += int64(r.Removed)
	s.Ended += int64(r.Ended)
	s.Late = max(s.Late, r.Late)
	s.Store = ""
	if err != nil {
		s.Store = err.Error()
	}
	more(s)
	now := *s
	g.mu.Unlock()
	log := g.set.Log
	switch {
	case now.Store != "" && was.Store == "":
		log.Error("the store of grants cannot be used; ends are seen to from memory", "error", now.Store)
	case now.Store == "" && was.Store != "":
		log.Info("the store of grants can be used again")
	}
	switch {
	case now.Away && !was.Away:
		log.Error("the directory does not answer; ends wait for it", "error", now.Why)
	case !now.Away && was.Away:
		log.Info("the directory answers again")
	}
}

// Status says how the runner is doing.
func (g *Grants) Status() GrantStatus {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.status
}

// ErrClosing reports that the runner has been told to end and takes no more commands.
var ErrClosing = errors.New("the server is ending")

// Request asks for a grant, see [grant.Service.Request]. If nothing stands in its way it
// is activated at once: Request waits some seconds for that, and returns the grant as far
// as it has come; the work goes on if it takes longer, or the caller goes away.
func (g *Grants) Request(ctx context.Context, c grant.Caller, o grant.Order) (grant.Grant, error) {
	if err := g.enter(); err != nil {
		return grant.Grant{}, err
	}
	defer g.tasks.Done()
	out, err := g.service.Request(ctx, c, o, g.set.Clock())
	if err != nil {
		return out, err
	}
	return g.advance(ctx, out), nil
}

// Do carries a caller's command out, see [grant.Service.Do], and begins what follows from
// it like Request.
func (g *Grants) Do(ctx context.Context, c grant.Caller, id grant.ID, cmd grant.Command) (grant.Grant, error) {
	if err := g.enter(); err != nil {
		return grant.Grant{}, err
	}
	defer g.tasks.Done()
	if cmd.Event == grant.Activate { // it writes: its caller's going away must not end that in the middle
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), roundTime)
		defer cancel()
	}
	out, err := g.service.Do(ctx, c, id, cmd, g.set.Clock())
	if err != nil {
		return out, err
	}
	return g.advance(ctx, out), nil
}

// enter counts a command in, unless the runner ends.
func (g *Grants) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closing {
		return ErrClosing
	}
	g.tasks.Add(1)
	return nil
}

// advance does what a grant needs next, in a task of its own, and returns the grant as far
// as it has come within the caller's patience.
func (g *Grants) advance(ctx context.Context, was grant.Grant) grant.Grant {
	switch was.State {
	case grant.Approved, grant.Activating, grant.Ending:
	default:
		return was
	}
	done := make(chan grant.Grant, 1)
	g.tasks.Add(1) // counted in already: the group is not empty
	go func() {
		defer g.tasks.Done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), roundTime)
		defer cancel()
		select {
		case g.slots <- struct{}{}:
			defer func() { <-g.slots }()
		case <-ctx.Done():
			done <- was
			return
		}
		out, err := g.service.Advance(ctx, was.ID, g.set.Clock())
		if err != nil {
			g.set.Log.Warn("a grant could not be worked on at once; the next round will", "grant", was.ID, "error", err)
			out = was
		}
		done <- out
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case out := <-done:
		if out.ID == was.ID {
			return out
		}
	case <-timer.C:
	case <-ctx.Done():
	}
	return was
}

// Grant returns one grant, [grant.ErrNotFound] if there is none.
func (g *Grants) Grant(ctx context.Context, id grant.ID) (grant.Grant, error) {
	return g.service.Grant(ctx, id)
}

// List returns grants, newest request first.
func (g *Grants) List(ctx context.Context, p grant.Page) ([]grant.Grant, error) {
	return g.service.List(ctx, p)
}

// Policies returns the policies in use; Use replaces them.
func (g *Grants) Policies() *grant.Policies { return g.service.Policies() }

// Use replaces the policies, see [grant.Service.Use], and has everything looked at anew.
func (g *Grants) Use(p *grant.Policies) {
	if g.set.Used != nil {
		g.set.Used(p)
	}
	g.service.Use(p)
	signal(g.sweep)
}

// Wake asks for a round now, and for a comparison with the directory if all is set.
func (g *Grants) Wake(all bool) {
	signal(g.wake)
	if all {
		signal(g.sweep)
	}
}

// Watch returns a channel of the grants that change in this process, each as it was
// stored, until stop is called. A receiver that does not keep up misses some: it reads the
// list again. What other nodes do is not among them.
func (g *Grants) Watch() (changes <-chan grant.Grant, stop func()) {
	c := make(chan grant.Grant, 256)
	g.mu.Lock()
	g.watches[c] = true
	g.mu.Unlock()
	return c, func() {
		g.mu.Lock()
		delete(g.watches, c)
		g.mu.Unlock()
	}
}

func (g *Grants) changed(list []grant.Grant) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.watches {
		for _, x := range list {
			select {
			case c <- x:
			default:
			}
		}
	}
}

// Close takes no more commands, lets what was begun come to its end, or to that of ctx,
// and closes what belongs to the runner. Grants that have not ended stay stored: the next
// start, or another node, sees to them.
func (g *Grants) Close(ctx context.Context) error {
	g.mu.Lock()
	g.closing = true
	g.mu.Unlock()
	g.service.Halt()
	g.stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.loops.Wait()
		g.tasks.Wait()
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = fmt.Errorf("ending the work on grants: %w: writes may be without their outcome, which the next start finds out", context.Cause(ctx))
	}
	for i := len(g.set.Closers) - 1; i >= 0; i-- {
		err = errors.Join(err, g.set.Closers[i].Close())
	}
	<-done // what was still waiting has lost its connections
	return err
}

// watchedStore tells of the grants that were stored, once they are.
type watchedStore struct {
	grant.Store
	g *Grants
}

func (s watchedStore) Update(ctx context.Context, f func(context.Context, grant.Tx) error) error {
	var put []grant.Grant
	err := s.Store.Update(ctx, func(ctx context.Context, tx grant.Tx) error {
		put = put[:0]
		return f(ctx, &watchedTx{tx, &put})
	})
	if err == nil && len(put) > 0 {
		s.g.changed(put)
	}
	return err
}

type watchedTx struct {
	grant.Tx
	put *[]grant.Grant
}

func (t *watchedTx) Put(ctx context.Context, g grant.Grant, was int64) error {
	err := t.Tx.Put(ctx, g, was)
	if err == nil {
		*t.put = append(*t.put, g)
	}
	return err
}

// through returns the management accounts that policies name.
func through(p *grant.Policies) (out []grant.Ref) {
	for _, x := range p.Policies {
		if x.Through != "" && !slices.Contains(out, x.Through) {
			out = append(out, x.Through)
		}
	}
	return out
}

// OpenGrants runs grants of the configured domain on an open database. It does not wait
// for the domain: whether it answers, [Grants.Status] tells. The store stays the caller's.
func OpenGrants(ctx context.Context, cfg *Config, by Caller, s *store.Store, p *grant.Policies, log *slog.Logger) (*Grants, error) {
	c, err := DirectoryConfig(ctx, cfg, by)
	if err != nil {
		return nil, err
	}
	return runGrants(c, s, p, log), nil
}

// runGrants is OpenGrants for a directory whose configuration was read before.
func runGrants(c dc.Config, s *store.Store, p *grant.Policies, log *slog.Logger) *Grants {
	clock := Clock()
	var used atomic.Pointer[grant.Policies]
	used.Store(p)
	d := apply.NewGrants(apply.GrantOptions{Directory: c, Clock: clock, Person: func() string { return used.Load().PersonAttribute }})
	return RunGrants(GrantSettings{
		Store: s.Grants(), Directory: d, Policies: p, Returned: d.Returned(), Clock: clock, Log: log, Reclaim: d.Reclaim, Used: used.Store,
		Closers: []io.Closer{d},
	})
}

// Directory returns the directory that grants are written to, for questions.
func (g *Grants) Directory() grant.Directory { return g.set.Directory }
