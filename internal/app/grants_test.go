package app_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastwise/leastwise/internal/app"
	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/grant/granttest"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// A shared is the simulated directory for several goroutines, by the clock of the test.
// It stands in for domain controllers that are away, slow and back again to the second;
// the real ones are asked in lab_test.go of package apply, and by make faults.
type shared struct {
	mu    sync.Mutex
	d     *granttest.Directory
	start time.Time
	slow  map[secdesc.GUID]time.Duration // of reading a group's links
}

func (s *shared) now() *granttest.Directory {
	s.d.Pass(time.Since(s.start) - s.d.Now)
	return s.d
}

func (s *shared) clock() grant.Instant {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now().Instant(0)
}

func (s *shared) set(f func(*granttest.Directory)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s.now())
}

func (s *shared) Time(ctx context.Context) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now().Time(ctx)
}

func (s *shared) Find(ctx context.Context, r grant.Ref) (grant.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now().Find(ctx, r)
}

func (s *shared) Object(ctx context.Context, g secdesc.GUID) (grant.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now().Object(ctx, g)
}

func (s *shared) Within(ctx context.Context, g secdesc.GUID, r []grant.Ref) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now().Within(ctx, g, r)
}

func (s *shared) Links(ctx context.Context, g secdesc.GUID, m []secdesc.GUID) (grant.Links, error) {
	s.mu.Lock()
	wait := s.slow[g]
	s.mu.Unlock()
	if wait > 0 {
		time.Sleep(wait)
		return grant.Links{}, grant.ErrUnreachable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now().Links(ctx, g, m)
}

func (s *shared) Home(g secdesc.GUID) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slow[g] > 0 {
		return "slow"
	}
	return "dc1"
}

func (s *shared) Memberships(ctx context.Context, keys []grant.Key) (map[secdesc.GUID]grant.Links, error) {
	return granttest.Memberships(ctx, s, keys)
}

func (s *shared) Tickets(ctx context.Context, g secdesc.GUID) (grant.Tickets, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now().Tickets(ctx, g)
}

func (s *shared) Add(ctx context.Context, w grant.Write) grant.Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now().Add(ctx, w)
}

func (s *shared) Remove(ctx context.Context, list []grant.Write) []grant.Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now().Remove(ctx, list)
}

type runnerTest struct {
	*granttest.World
	dir      *shared
	returned chan struct{}
	run      *app.Grants
}

func startRunner(t *testing.T, store grant.Store) *runnerTest {
	t.Helper()
	w := granttest.NewWorld()
	r := &runnerTest{World: w, dir: &shared{d: w.Directory, start: time.Now(), slow: map[secdesc.GUID]time.Duration{}}, returned: make(chan struct{}, 1)}
	r.run = app.RunGrants(app.GrantSettings{Store: store, Directory: r.dir, Policies: granttest.Policies(), Clock: r.dir.clock, Returned: r.returned})
	t.Cleanup(func() {
		if err := r.run.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// quick requests what nobody needs to approve.
func (r *runnerTest) quick(t *testing.T, id grant.ID, who int) grant.Grant {
	t.Helper()
	g, err := r.run.Request(t.Context(), r.Caller(r.Staff[who]), grant.Order{ID: id, Policy: "quick", For: time.Minute, Reason: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func (r *runnerTest) state(t *testing.T, id grant.ID) grant.State {
	t.Helper()
	g, err := r.run.Grant(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return g.State
}

func (r *runnerTest) member(group, who int) (in bool) {
	r.dir.set(func(d *granttest.Directory) {
		_, in = d.Made[grant.Key{Group: r.Powers[group], Member: r.Staff[who]}]
	})
	return in
}

// A grant that nobody needs to approve is active when its request is answered, ends by
// itself in the second that it should, and its changes are told.
func TestRunnerSeesAGrantThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRunner(t, granttest.NewMemory())
		changes, stop := r.run.Watch()
		defer stop()
		if g := r.quick(t, "a", 0); g.State != grant.Active || !r.member(0, 0) {
			t.Fatalf("it is %s", g.State)
		}
		time.Sleep(59 * time.Second)
		if s := r.state(t, "a"); s != grant.Active {
			t.Fatalf("it is %s before its end", s)
		}
		time.Sleep(2 * time.Second)
		if s := r.state(t, "a"); s != grant.Ended || r.member(0, 0) {
			t.Fatalf("it is %s after its end", s)
		}
		var seen []grant.State
		for len(changes) > 0 {
			if g := <-changes; len(seen) == 0 || seen[len(seen)-1] != g.State {
				seen = append(seen, g.State)
			}
		}
		want := []grant.State{grant.Approved, grant.Activating, grant.Active, grant.Ending, grant.Ended}
		if len(seen) != len(want) || seen[2] != grant.Active || seen[4] != grant.Ended {
			t.Errorf("told of %v, want %v", seen, want)
		}
		if s := r.run.Status(); !s.Ready() || s.Started != 0 && s.Started != 1 || s.Removed != 1 || s.Late > 2*time.Second || s.Sweeps != 1 {
			t.Errorf("status %+v", s)
		}
	})
}

// While a domain controller is away ends wait, and come within a second of its return,
// however long it was.
func TestRunnerI7WakesWhenTheDirectoryIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRunner(t, granttest.NewMemory())
		r.quick(t, "a", 0)
		r.dir.set(func(d *granttest.Directory) { d.Away = true })
		time.Sleep(3 * time.Hour)
		if s := r.run.Status(); !s.Away || s.Ready() || s.Why == "" {
			t.Errorf("status %+v", s)
		}
		if !r.member(0, 0) {
			t.Fatal("the membership went while the directory was away")
		}
		r.dir.set(func(d *granttest.Directory) { d.Away = false })
		r.returned <- struct{}{}
		time.Sleep(time.Second)
		if r.member(0, 0) || r.state(t, "a") != grant.Ended {
			t.Fatalf("it is %s a second after the directory's return", r.state(t, "a"))
		}
	})
}

// Reading one group hangs: grants of others end in time.
func TestRunnerOneSlowGroupKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRunner(t, granttest.NewMemory())
		c := r.Caller(r.Staff[2])
		g, err := r.run.Request(t.Context(), c, grant.Order{ID: "b", Policy: "guarded", For: time.Minute, Reason: "x", Emergency: true})
		if err != nil || g.State != grant.Active {
			t.Fatal(g.State, err)
		}
		time.Sleep(time.Second)
		r.quick(t, "a", 0)
		r.dir.mu.Lock()
		r.dir.slow[r.Powers[1]] = 8 * time.Second
		r.dir.mu.Unlock()
		time.Sleep(62 * time.Second)
		if r.member(0, 0) {
			t.Error("the other group's membership is still there")
		}
		r.dir.mu.Lock()
		clear(r.dir.slow)
		r.dir.mu.Unlock()
		time.Sleep(15 * time.Second)
		if r.member(1, 2) {
			t.Error("the slow group's membership is still there")
		}
	})
}

// Close lets what was begun come to its end and takes nothing new.
func TestRunnerEndsGracefully(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRunner(t, granttest.NewMemory())
		r.quick(t, "a", 0)
		if err := r.run.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := r.run.Request(t.Context(), r.Caller(r.Staff[0]), grant.Order{ID: "b", Policy: "quick", Reason: "x"})
		if !errors.Is(err, app.ErrClosing) {
			t.Errorf("after the end: %v", err)
		}
		time.Sleep(2 * time.Minute)
		if !r.member(0, 0) {
			t.Error("something works on after Close")
		}
	})
}

// A node dies, and another one on the same store takes over what it was to end.
func TestRunnerTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := granttest.NewMemory()
		r := startRunner(t, store)
		r.quick(t, "a", 0)
		if err := r.run.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		second := app.RunGrants(app.GrantSettings{Store: store, Directory: r.dir, Policies: granttest.Policies(), Clock: r.dir.clock})
		defer func() { _ = second.Close(context.Background()) }()
		time.Sleep(61 * time.Second)
		if r.member(0, 0) {
			t.Error("the second node did not end it")
		}
	})
}
