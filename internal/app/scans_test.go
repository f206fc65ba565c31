package app

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/internal/store/storetest"
)

func TestTimetable(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse("2006-01-02 15:04:05", s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	night := Timetable{Every: 24 * time.Hour, At: 2*time.Hour + 30*time.Minute, Fixed: true}
	for _, c := range []struct {
		table       Timetable
		after, want string
	}{
		{night, "2026-11-22 02:29:59", "2026-11-22 02:30:00"},
		{night, "2026-11-22 02:30:00", "2026-11-23 02:30:00"},
		{night, "1969-12-31 23:00:00", "1970-01-01 02:30:00"},
		{Timetable{Every: time.Hour}, "2026-11-22 02:30:00", "2026-11-22 03:00:00"},
	} {
		if got := c.table.After(at(c.after)); !got.Equal(at(c.want)) {
			t.Errorf("%+v after %s: %s, want %s", c.table, c.after, got, c.want)
		}
	}
	now := at("2026-11-22 03:00:00")
	for name, c := range map[string]struct {
		table Timetable
		s     store.Schedule
		want  bool
	}{
		"never":             {Timetable{}, store.Schedule{}, false},
		"first":             {night, store.Schedule{}, true},
		"done":              {night, store.Schedule{Done: at("2026-11-22 02:30:00")}, false},
		"yesterday's":       {night, store.Schedule{Done: at("2026-11-22 02:29:00")}, true},
		"under way":         {night, store.Schedule{Done: at("2026-11-20 02:30:00"), Lease: now.Add(1)}, false},
		"abandoned":         {night, store.Schedule{Done: at("2026-11-20 02:30:00"), Lease: now}, true},
		"failed":            {night, store.Schedule{Done: at("2026-11-20 02:30:00"), Retry: now.Add(1)}, false},
		"to be tried again": {night, store.Schedule{Done: at("2026-11-20 02:30:00"), Retry: now}, true},
		"a clock was ahead": {night, store.Schedule{Done: at("2027-11-20 02:30:00")}, true},
		"a lease, ahead":    {night, store.Schedule{Done: at("2026-11-20 02:30:00"), Lease: now.Add(30 * 24 * time.Hour)}, true},
		"a retry, ahead":    {night, store.Schedule{Done: at("2026-11-20 02:30:00"), Retry: now.Add(30 * 24 * time.Hour)}, true},
		"a little ahead":    {night, store.Schedule{Done: now.Add(time.Second)}, false},
	} {
		if got := c.table.Due(c.s, now); got != c.want {
			t.Errorf("%s: due %v", name, got)
		}
	}
	for _, c := range []struct{ every, at, want string }{
		{"", "02:30", "scan-every does not say how often"}, {"24h", "2:30 am", "no time of day"}, {"24h", "02:30", ""}, {"", "", ""},
	} {
		cfg := NewConfig()
		if c.every != "" {
			set(t, cfg, "scan-every", c.every)
		}
		set(t, cfg, "scan-at", c.at)
		_, err := ParseTimetable(cfg)
		if (err == nil) != (c.want == "") || err != nil && (!errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func set(t *testing.T, cfg *Config, name, value string) {
	t.Helper()
	if err := cfg.Set(name, value, "test"); err != nil {
		t.Fatal(err)
	}
}

// aForest is a snapshot that ended at a time.
func aForest(t *testing.T, at time.Time) *forest.Snapshot {
	t.Helper()
	s, err := Load(t.Context(), filepath.Join("..", "..", "examples", "small.yaml"), "test", at)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A node of a test, whose clock can be moved and whose scans do what the test wants.
type scanNode struct {
	*scans
	log bytes.Buffer
}

// A wallClock is what nodes of a test take for the time.
type wallClock struct {
	mu sync.Mutex
	at time.Time
}

func (c *wallClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *wallClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func newScanNode(t *testing.T, s *store.Store, clock *wallClock, scan func(context.Context) (*forest.Snapshot, error)) *scanNode {
	t.Helper()
	cfg := NewConfig()
	set(t, cfg, "scan-every", "1h")
	n := &scanNode{}
	v, err := newScans(cfg, s, ServeOptions{Version: "test", Log: slog.New(slog.NewTextHandler(&n.log, nil))}, clock.now)
	if err != nil {
		t.Fatal(err)
	}
	n.scans, v.scan = v, scan
	return n
}

func runsIn(t *testing.T, s *store.Store) (runs []store.Run) {
	t.Helper()
	err := s.View(t.Context(), func(ctx context.Context, tx *store.Tx) (err error) {
		runs, err = tx.Runs(ctx, "", 0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return runs
}

var startOfScans = time.Date(2026, 11, 22, 9, 0, 1, 0, time.UTC)

// Of two nodes one scans each turn; a failure is tried again later and says so; a run that
// is kept is in the audit log as leastwise's own act.
func TestScheduledScans(t *testing.T) {
	s := storetest.SQLite(t).Open(t)
	clock := &wallClock{at: startOfScans}
	var fault error
	scanned := 0
	scan := func(context.Context) (*forest.Snapshot, error) {
		scanned++
		return aForest(t, clock.now()), fault
	}
	a, b := newScanNode(t, s, clock, scan), newScanNode(t, s, clock, scan)
	round := func(want int) {
		t.Helper()
		for _, n := range []*scanNode{a, b} {
			if err := n.turn(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if got := len(runsIn(t, s)); got != want {
			t.Errorf("%d runs at %s, want %d", got, clock.now(), want)
		}
	}
	round(1)
	clock.pass(59 * time.Minute)
	round(1)
	clock.pass(time.Minute)
	round(2)
	fault = errors.New("the domain is away\nfor now")
	clock.pass(time.Hour)
	round(2)
	round(2) // not at once
	if scanned != 3 {
		t.Errorf("scanned %d times", scanned)
	}
	v, err := a.state(t.Context())
	if err != nil || v.Failures != 1 || v.Fault != "scanning the domain: the domain is away; for now" || !v.Retry.Equal(clock.now().Add(scanRetry)) || v.Running(clock.now()) {
		t.Errorf("%+v, %v", v, err)
	}
	if c := scanCheck("scans", a.table, v, clock.now()); c.State != CheckWarn || !strings.Contains(c.Detail, "1 failed since; the last was kept on 2026-11-22T10:00:01Z") {
		t.Errorf("%+v", c)
	}
	clock.pass(scanRetry)
	round(2)
	if v, _ := a.state(t.Context()); v.Failures != 2 || !v.Retry.Equal(clock.now().Add(2*scanRetry)) {
		t.Errorf("%+v", v)
	}
	fault = nil
	clock.pass(2 * scanRetry)
	round(3)
	if v, _ := a.state(t.Context()); v.Failures != 0 || v.Fault != "" || v.Result != runsIn(t, s)[0].ID {
		t.Errorf("%+v", v)
	}
	if text := a.log.String(); strings.Count(text, "a scheduled scan failed") != 2 {
		t.Error(text)
	}
	err = s.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		list, err := tx.AuditEntries(ctx, store.AuditFilter{Action: store.ActionKeep})
		if len(list) != 3 || list[0].Actor.Name != "leastwise" || list[0].Reason != "scheduled scan" {
			t.Errorf("%+v", list)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A node that was taken for dead keeps nothing: the turn is the other's by then.
func TestScanOfADeadNodeIsNotKept(t *testing.T) {
	s := storetest.SQLite(t).Open(t)
	clock := &wallClock{at: startOfScans}
	other := newScanNode(t, s, clock, func(context.Context) (*forest.Snapshot, error) { return aForest(t, clock.now()), nil })
	slow := newScanNode(t, s, clock, func(ctx context.Context) (*forest.Snapshot, error) {
		old := aForest(t, clock.now())
		if err := other.turn(ctx); err != nil || len(runsIn(t, s)) != 0 {
			t.Errorf("the other began although this one is at work: %v", err)
		}
		clock.pass(scanLease)
		if err := other.turn(ctx); err != nil {
			t.Error(err)
		}
		return old, nil
	})
	late := filepath.Join(t.TempDir(), "late.lws")
	set(t, slow.cfg, "scan-snapshot", late)
	if err := slow.turn(t.Context()); !errors.Is(err, store.ErrStale) {
		t.Errorf("the late one: %v", err)
	}
	if _, err := os.Stat(late); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the late one replaced the snapshot: %v", err)
	}
	runs := runsIn(t, s)
	if len(runs) != 1 || !runs[0].Finished.Equal(startOfScans.Add(scanLease)) {
		t.Errorf("%d runs, %+v", len(runs), runs)
	}
}

// A run that cannot be stored is a failure like any other: it is said, and tried again
// later, not at once.
func TestScanThatCannotBeKept(t *testing.T) {
	s := storetest.SQLite(t).Open(t)
	clock := &wallClock{at: startOfScans}
	scanned := 0
	n := newScanNode(t, s, clock, func(context.Context) (*forest.Snapshot, error) {
		scanned++
		return aForest(t, clock.now()), nil
	})
	update := func(statement string) {
		t.Helper()
		err := s.Update(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.SQL().ExecContext(ctx, statement)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	update("CREATE TRIGGER full BEFORE INSERT ON runs BEGIN SELECT RAISE(ABORT, 'disk full'); END")
	_ = n.turn(t.Context())
	v, err := n.state(t.Context())
	if err != nil || v.Failures != 1 || !strings.Contains(v.Fault, "disk full") || !v.Retry.Equal(clock.now().Add(scanRetry)) || !v.Done.IsZero() || v.Running(clock.now()) {
		t.Errorf("%+v, %v", v, err)
	}
	if c := scanCheck("scans", n.table, v, clock.now()); c.State != CheckWarn {
		t.Errorf("%+v", c)
	}
	clock.pass(scanRetry - 1)
	if _ = n.turn(t.Context()); scanned != 1 {
		t.Errorf("scanned %d times", scanned)
	}
	update("DROP TRIGGER full")
	clock.pass(1)
	if err := n.turn(t.Context()); err != nil || scanned != 2 || len(runsIn(t, s)) != 1 {
		t.Errorf("%d scans, %v", scanned, err)
	}
}

// A scan that takes longer than until the next turn holds its lease, is not begun twice,
// and swallows the turns that passed; the end of the server gives the turn back.
func TestScanThatOverruns(t *testing.T) {
	s := storetest.SQLite(t).Open(t)
	synctest.Test(t, func(t *testing.T) {
		begun := make(chan struct{}, 10)
		finish := make(chan struct{})
		clock := func() time.Time { return time.Now() } // of the bubble
		scan := func(ctx context.Context) (*forest.Snapshot, error) {
			begun <- struct{}{}
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-finish:
				return aForest(t, clock()), nil
			}
		}
		cfg := NewConfig()
		set(t, cfg, "scan-every", "1h")
		var nodes []*scans
		var log bytes.Buffer
		for range 2 {
			v, err := newScans(cfg, s, ServeOptions{Version: "test", Log: slog.New(slog.NewTextHandler(&log, nil))}, clock)
			if err != nil {
				t.Fatal(err)
			}
			v.scan = scan
			nodes = append(nodes, v)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for _, n := range nodes {
			running.Go(func() { n.run(ctx) })
		}
		time.Sleep(150 * time.Minute)
		if len(begun) != 1 || nodes[0].left()+nodes[1].left() != 2 {
			t.Errorf("begun %d times, %d turns left out", len(begun), nodes[0].left()+nodes[1].left())
		}
		finish <- struct{}{}
		time.Sleep(20 * time.Minute)
		if len(begun) != 1 {
			t.Errorf("begun %d times before the next turn", len(begun))
		}
		time.Sleep(time.Hour)
		if len(begun) != 2 {
			t.Errorf("begun %d times after it", len(begun))
		}
		cancel()
		running.Wait()
		v, err := nodes[0].state(context.WithoutCancel(ctx))
		if err != nil || v.Running(clock()) || v.Failures != 0 {
			t.Errorf("after the end: %+v, %v", v, err)
		}
		if !strings.Contains(log.String(), "takes longer than until the next one") {
			t.Error(log.String())
		}
	})
}

// What scheduled scans need is looked at before the server starts.
func TestScheduledScansAreCheckedAtTheStart(t *testing.T) {
	s := storetest.SQLite(t).Open(t)
	for name, value := range map[string]string{"exceptions": "missing.yaml", "catalogue": "missing.yaml", "scan-snapshot": "no/such/folder/f.lws", "scan-at": "25:00"} {
		cfg := NewConfig()
		set(t, cfg, "scan-every", "1h")
		set(t, cfg, name, value)
		if v, err := newScans(cfg, s, ServeOptions{Log: slog.New(slog.DiscardHandler)}, time.Now); err == nil || v != nil {
			t.Errorf("%s %s is taken", name, value)
		}
	}
	if v, err := newScans(NewConfig(), s, ServeOptions{}, time.Now); v != nil || err != nil {
		t.Errorf("without a schedule: %v, %v", v, err)
	}
}
