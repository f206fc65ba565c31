package notify_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/notify"
	"github.com/leastwise/leastwise/internal/notify/notifytest"
)

func TestMemoryConforms(t *testing.T) {
	box := notifytest.NewMemory()
	notifytest.Conform(t, box, box.Owe)
}

// A recorder is a target that fails as a test says.
type recorder struct {
	name string
	mu   sync.Mutex
	sent []notify.Message
	to   []string
	fail func(try int) error
	try  int
}

func (r *recorder) Name() string { return r.name }

func (r *recorder) Send(_ context.Context, to string, m notify.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.try++
	if r.fail != nil {
		if err := r.fail(r.try); err != nil {
			return err
		}
	}
	r.sent, r.to = append(r.sent, m), append(r.to, to)
	return nil
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sent)
}

// A clock runs as fast as a test wants.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }
func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func notice(text string, loud bool, to ...grant.Audience) grant.Notice {
	return grant.Notice{Time: notifytest.Origin, Grant: "g1", Event: grant.Approve, State: grant.Approved, To: to, Loud: loud, Text: text}
}

// start runs a service and returns how to stop it.
func start(t *testing.T, set notify.Settings) (*notify.Service, func()) {
	t.Helper()
	if set.Log == nil {
		set.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	set.Tick = time.Millisecond
	s := notify.New(set)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	return s, stop
}

// eventually waits for what another goroutine does.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come to that: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// Who is told what, and only once each.
func TestRouting(t *testing.T) {
	box, c := notifytest.NewMemory(), &clock{now: notifytest.Origin}
	all, loud := &recorder{name: "all"}, &recorder{name: "loud"}
	both := map[grant.Audience][]string{grant.ToSecurity: nil, grant.ToRequester: nil}
	box.Owe(notice("one", false, grant.ToSecurity, grant.ToRequester), notice("two", true, grant.ToSecurity), notice("three", true, grant.ToReviewers))
	_, stop := start(t, notify.Settings{Outbox: box, Now: c.Now, Routes: []notify.Route{
		{Target: all, To: both, Rate: 60_000}, {Target: loud, To: both, Loud: true, Rate: 60_000},
	}})
	eventually(t, "all are told", func() bool { return all.count() == 2 && loud.count() == 1 })
	stop()
	if owed, _ := box.Owed(t.Context(), 10); len(owed) != 0 {
		t.Errorf("owed: %+v", owed)
	}
	if dead, waiting, _ := box.Undelivered(t.Context(), 10); len(dead)+waiting != 0 {
		t.Errorf("left: %+v, %d", dead, waiting)
	}
	if loud.sent[0].Text != "two" || all.sent[0].ID == all.sent[1].ID || all.sent[0].ID == loud.sent[0].ID {
		t.Errorf("%+v, %+v", all.sent, loud.sent)
	}
}

// A delivery that fails is tried again with the same identifier, ever later; after the
// last try it is put aside and stays visible; reviving it delivers it.
func TestRetryAndDeath(t *testing.T) {
	box, c := notifytest.NewMemory(), &clock{now: notifytest.Origin}
	broken := errors.New("421 \x1b[31mcome\r\nagain")
	var heal bool
	var mu sync.Mutex
	hook := &recorder{name: "hook", fail: func(int) error {
		mu.Lock()
		defer mu.Unlock()
		if heal {
			return nil
		}
		return broken
	}}
	box.Owe(notice("x", false, grant.ToSecurity))
	var log strings.Builder
	s, stop := start(t, notify.Settings{
		Outbox: box, Now: c.Now, Log: slog.New(slog.NewTextHandler(&log, nil)),
		Routes: []notify.Route{{Target: hook, To: map[grant.Audience][]string{grant.ToSecurity: nil}, Rate: 600_000}},
	})
	tries := func() int { hook.mu.Lock(); defer hook.mu.Unlock(); return hook.try }
	for n := 1; n <= notify.MaxAttempts; n++ {
		eventually(t, "another try", func() bool { return tries() == n })
		eventually(t, "it is noted", func() bool { return s.Status()["hook"].Failed == int64(n) })
		if n == 1 {
			c.add(5 * time.Second) // too early: the first pause is ten seconds
			time.Sleep(20 * time.Millisecond)
			if tries() != 1 {
				t.Error("tried again too early")
			}
		}
		c.add(2 * time.Hour)
	}
	var dead []notify.Delivery
	eventually(t, "it is dead", func() bool { dead, _, _ = box.Undelivered(t.Context(), 10); return len(dead) == 1 })
	if strings.ContainsAny(dead[0].Fault, "\x1b\r\n") || !strings.Contains(dead[0].Fault, "421") || dead[0].Attempts != notify.MaxAttempts {
		t.Errorf("%+v", dead[0])
	}
	time.Sleep(20 * time.Millisecond)
	if n := tries(); n != notify.MaxAttempts {
		t.Errorf("%d tries", n)
	}
	mu.Lock()
	heal = true
	mu.Unlock()
	if ok, err := box.Revive(t.Context(), dead[0].ID, c.Now()); !ok || err != nil {
		t.Fatal(ok, err)
	}
	eventually(t, "it is delivered", func() bool { return hook.count() == 1 })
	stop()
	if hook.sent[0].ID != dead[0].ID {
		t.Error("the identifier changed")
	}
	if strings.Contains(log.String(), "\x1b") {
		t.Error("the log holds what a terminal acts on")
	}
}

// addresses answer as a test says.
type addresses func(grant.Audience) ([]string, error)

func (f addresses) Addresses(_ context.Context, _ grant.ID, a grant.Audience) ([]string, error) {
	return f(a)
}

// A target that hangs holds up no other; a process that dies in a try leaves the delivery
// to be made again when its lease is over.
func TestHangAndCrash(t *testing.T) {
	box, c := notifytest.NewMemory(), &clock{now: notifytest.Origin}
	begun := make(chan struct{})
	slow := &hanging{begun: begun}
	quick := &recorder{name: "quick"}
	to := map[grant.Audience][]string{grant.ToSecurity: nil}
	box.Owe(notice("x", false, grant.ToSecurity))
	_, stop := start(t, notify.Settings{Outbox: box, Now: c.Now, Routes: []notify.Route{{Target: slow, To: to}, {Target: quick, To: to}}})
	<-begun
	eventually(t, "the other is told", func() bool { return quick.count() == 1 })
	stop() // the try is cut off
	again := &recorder{name: "slow"}
	start(t, notify.Settings{Outbox: box, Now: c.Now, Routes: []notify.Route{{Target: again, To: to}}})
	time.Sleep(20 * time.Millisecond)
	if again.count() != 0 {
		t.Error("taken before the lease was over")
	}
	c.add(3 * time.Minute)
	eventually(t, "it is told after all", func() bool { return again.count() == 1 })
}

type hanging struct {
	once  sync.Once
	begun chan struct{}
}

func (h *hanging) Name() string { return "slow" }

func (h *hanging) Send(ctx context.Context, _ string, _ notify.Message) error {
	h.once.Do(func() { close(h.begun) })
	<-ctx.Done()
	return ctx.Err()
}

// Addresses of the directory are asked for; while it is away the notice waits, after an
// hour those that are known are told. What is no address is nobody's.
func TestAddresses(t *testing.T) {
	for _, forever := range []bool{false, true} {
		box, c := notifytest.NewMemory(), &clock{now: notifytest.Origin}
		var mu sync.Mutex
		away := true
		mail := &recorder{name: "mail"}
		box.Owe(notice("x", false, grant.ToApprovers, grant.ToSecurity))
		start(t, notify.Settings{
			Outbox: box, Now: c.Now,
			Addresses: addresses(func(a grant.Audience) ([]string, error) {
				mu.Lock()
				defer mu.Unlock()
				if away || a != grant.ToApprovers {
					return nil, errors.New("the directory is away")
				}
				return []string{"bert@contoso.test", "soc@contoso.test", "x\r\nRCPT TO:<thief@evil.test>"}, nil
			}),
			Routes: []notify.Route{{
				Target: mail, Personal: true, To: map[grant.Audience][]string{grant.ToSecurity: {"soc@contoso.test"}},
				Directory: []grant.Audience{grant.ToApprovers}, Rate: 60_000,
			}},
		})
		time.Sleep(20 * time.Millisecond)
		if mail.count() != 0 {
			t.Error("told in part")
		}
		want := 2
		if forever {
			want = 1
			c.add(time.Hour)
		} else {
			mu.Lock()
			away = false
			mu.Unlock()
		}
		eventually(t, "they are told", func() bool { return mail.count() == want })
		time.Sleep(20 * time.Millisecond)
		if mail.count() != want || forever && mail.to[0] != "soc@contoso.test" {
			t.Errorf("told: %q", mail.to)
		}
	}
}
