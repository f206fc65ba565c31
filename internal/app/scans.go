package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/control"
	"github.com/leastwise/leastwise/internal/forest"
	"github.com/leastwise/leastwise/internal/store"
)

// A Timetable says when something is due: every so often, counted from a time of day, in
// UTC, of the first of January 1970.
type Timetable struct {
	Every time.Duration // 0: never
	At    time.Duration // after midnight
	Fixed bool          // At was given: the first turn waits for it
}

// ParseTimetable reads the configured timetable of scans.
func ParseTimetable(cfg *Config) (Timetable, error) {
	t := Timetable{}
	if cfg.Text("scan-every") != "" {
		t.Every = cfg.Duration("scan-every")
	}
	at := cfg.Text("scan-at")
	if at == "" {
		return t, nil
	}
	clock, err := time.Parse("15:04", at)
	switch {
	case err != nil:
		return t, fmt.Errorf("%w: scan-at: %q is no time of day such as 02:30", ErrConfig, at)
	case t.Every == 0:
		return t, fmt.Errorf("%w: scan-at says when, and scan-every does not say how often", ErrConfig)
	}
	t.At, t.Fixed = time.Duration(clock.Hour())*time.Hour+time.Duration(clock.Minute())*time.Minute, true
	return t, nil
}

// After returns the first turn after a time.
func (t Timetable) After(at time.Time) time.Time {
	since := at.UTC().Sub(time.Unix(0, 0)) - t.At
	into := since % t.Every
	if into < 0 {
		into += t.Every // the remainder has the sign of the dividend
	}
	return at.UTC().Add(t.Every - into)
}

// Due reports whether a turn is to be begun now, of a schedule as the store has it.
func (t Timetable) Due(s store.Schedule, now time.Time) bool {
	retry := now.Before(s.Retry) && s.Retry.Sub(now) <= 2*scanLonger // later: somebody's clock was ahead
	if t.Every == 0 || underWay(s, now) || retry {
		return false
	}
	switch {
	case s.Done.IsZero():
		return true
	case s.Done.Sub(now) > t.Every: // somebody's clock was ahead
		return true
	}
	return !now.Before(t.After(s.Done))
}

// underWay reports whether a node is at work. A lease that is longer than any that is given
// was written by a clock that was ahead, and holds nobody back.
func underWay(s store.Schedule, now time.Time) bool {
	return s.Running(now) && s.Lease.Sub(now) <= 2*scanLease
}

// Timing of scheduled scans.
const (
	scanName   = "scan"
	scanLook   = 10 * time.Second // how often it is looked whether a scan is due
	scanLease  = 2 * time.Minute  // a node that is not heard of for so long is dead
	scanHold   = 30 * time.Second // how often a node is heard of
	scanRetry  = 5 * time.Minute  // after a failure; doubled with each further one
	scanLonger = time.Hour        // but no longer
	scanEnd    = time.Minute      // bounds writing what became of it
)

// scans scans the domain on schedule and keeps the runs. Of several nodes on one database
// one does each: it takes a generation, holds a lease while it is at work, and what it has
// found is kept only if the generation is still its own.
type scans struct {
	cfg   *Config
	table Timetable
	store *store.Store
	scan  func(context.Context) (*forest.Snapshot, error)
	now   func() time.Time
	log   *slog.Logger
	tool  string
	node  string

	mu       sync.Mutex
	overruns int64
}

// newScans returns what [scans.run] runs; nil if none are scheduled.
func newScans(cfg *Config, s *store.Store, o ServeOptions, now func() time.Time) (*scans, error) {
	table, err := ParseTimetable(cfg)
	if err != nil || table.Every == 0 {
		return nil, err
	}
	if _, err := Controls(cfg); err != nil { // now, not at night
		return nil, fmt.Errorf("%w: scheduled scans: %w", ErrConfig, err)
	}
	if file := cfg.Text("scan-snapshot"); file != "" {
		if err := CheckWritable(file); err != nil {
			return nil, err
		}
	}
	node, err := os.Hostname()
	if err != nil || node == "" {
		node = "unknown"
	}
	return &scans{cfg: cfg, table: table, store: s, now: now, log: o.Log, tool: "leastwise " + o.Version, node: fmt.Sprintf("%s/%d", node, os.Getpid())}, nil
}

// run does what is due until ctx ends. A scan that is under way then is given up; the next
// start, or another node, begins it again.
func (s *scans) run(ctx context.Context) {
	if err := s.first(ctx); err != nil {
		s.log.Error("scheduled scans", "error", err.Error())
	}
	for ctx.Err() == nil {
		if err := s.turn(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("scheduled scans", "error", err.Error())
		}
		if !pauseFor(ctx, scanLook) {
			return
		}
	}
}

// first notes from when on turns count, where a time of day was given and nothing has been
// scanned yet.
func (s *scans) first(ctx context.Context) error {
	if !s.table.Fixed {
		return nil
	}
	return s.store.Update(ctx, func(ctx context.Context, tx *store.Tx) error {
		v, err := tx.Schedule(ctx, scanName)
		if err != nil || v.Generation > 0 || !v.Done.IsZero() {
			return err
		}
		v.Done = s.now()
		return tx.PutSchedule(ctx, v, v.Generation)
	})
}

// turn begins a scan if one is due, and sees it through.
func (s *scans) turn(ctx context.Context) error {
	v, err := s.state(ctx)
	if err != nil || !s.table.Due(v, s.now()) {
		return err
	}
	v, mine, err := s.begin(ctx)
	if err != nil || !mine {
		return err
	}
	s.log.Info("a scheduled scan begins", "generation", v.Generation, "node", s.node)
	scanning, cancel := context.WithCancel(ctx)
	held := make(chan struct{})
	go func() {
		defer close(held)
		s.hold(scanning, cancel, v)
	}()
	a, err := s.assess(scanning, v)
	cancel()
	<-held
	if ctx.Err() != nil {
		return s.giveUp(ctx, v)
	}
	return s.end(ctx, v, a, err)
}

// state reads the schedule.
func (s *scans) state(ctx context.Context) (v store.Schedule, err error) {
	err = s.store.View(ctx, func(ctx context.Context, tx *store.Tx) error {
		v, err = tx.Schedule(ctx, scanName)
		return err
	})
	return v, err
}

// begin takes the turn, unless another node was faster.
func (s *scans) begin(ctx context.Context) (v store.Schedule, mine bool, err error) {
	err = s.store.Update(ctx, func(ctx context.Context, tx *store.Tx) error {
		v, err = tx.Schedule(ctx, scanName)
		now := s.now()
		if err != nil || !s.table.Due(v, now) {
			return err
		}
		mine = true
		was := v.Generation
		v.Generation, v.Node, v.Began, v.Lease = was+1, s.node, now, now.Add(scanLease)
		return tx.PutSchedule(ctx, v, was)
	})
	return v, mine && err == nil, err
}

// hold moves the lease on while the scan runs, and stops the scan if another node has
// taken over. It says when a turn passes because the scan takes longer.
func (s *scans) hold(ctx context.Context, stop context.CancelFunc, v store.Schedule) {
	next := s.table.After(v.Began)
	for pauseFor(ctx, scanHold) {
		now := s.now()
		if !now.Before(next) {
			s.mu.Lock()
			s.overruns++
			s.mu.Unlock()
			s.log.Warn("a scheduled scan takes longer than until the next one: that is left out", "began", v.Began, "left_out", next)
			next = s.table.After(now)
		}
		switch err := s.renew(ctx, v); {
		case errors.Is(err, store.ErrStale):
			s.log.Error("another node has taken over the scheduled scan: this one is given up", "generation", v.Generation)
			stop()
			return
		case err != nil && ctx.Err() == nil:
			s.log.Warn("the scheduled scan could not say that it is under way", "error", err.Error())
		}
	}
}

// renew moves the lease on; [store.ErrStale] if another node has taken over.
func (s *scans) renew(ctx context.Context, v store.Schedule) error {
	return s.store.Update(ctx, func(ctx context.Context, tx *store.Tx) error {
		was := v.Generation
		v.Lease = s.now().Add(scanLease)
		return tx.PutSchedule(ctx, v, was)
	})
}

// assess scans and judges.
func (s *scans) assess(ctx context.Context, v store.Schedule) (*control.Assessment, error) {
	set, err := Controls(s.cfg)
	if err != nil {
		return nil, err
	}
	snapshot, err := s.scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("scanning the domain: %w", err)
	}
	if err := CheckDomain(snapshot); err != nil {
		return nil, err
	}
	if err := s.renew(ctx, v); err != nil { // what a node has that was taken for dead replaces nothing
		return nil, err
	}
	if file := s.cfg.Text("scan-snapshot"); file != "" {
		if err := SaveSnapshot(ctx, file, snapshot); err != nil {
			return nil, err
		}
	}
	return set.Assess(snapshot, s.now().UTC(), s.tool)
}

// maxScanFault is how much of an error the schedule keeps.
const maxScanFault = 1000

// end keeps the run, or why there is none, if the turn is still this node's.
func (s *scans) end(ctx context.Context, v store.Schedule, a *control.Assessment, fault error) error {
	if fault != nil {
		return s.fail(ctx, v, fault)
	}
	err := s.keep(ctx, v, a)
	if err == nil || errors.Is(err, store.ErrStale) {
		return err
	}
	return s.fail(ctx, v, err) // else it would be scanned again at once, for ever, and nobody would see why
}

// fail stores that a turn failed, and when it is tried again.
func (s *scans) fail(ctx context.Context, v store.Schedule, fault error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), scanEnd)
	defer cancel()
	was, now := v.Generation, s.now()
	v.Lease, v.Tried = time.Time{}, now
	v.Failures++
	v.Fault = clipText(oneLineOf(fault), maxScanFault)
	v.Retry = now.Add(min(scanRetry<<min(v.Failures-1, 10), scanLonger))
	s.log.Error("a scheduled scan failed", "failures", v.Failures, "again", v.Retry, "error", v.Fault)
	return s.store.Update(ctx, func(ctx context.Context, tx *store.Tx) error { return tx.PutSchedule(ctx, v, was) })
}

// keep stores the run.
func (s *scans) keep(ctx context.Context, v store.Schedule, a *control.Assessment) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), scanEnd)
	defer cancel()
	was, now := v.Generation, s.now()
	v.Lease, v.Tried = time.Time{}, now
	v.Done, v.Succeeded, v.Retry, v.Failures, v.Fault, v.Result = now, now, time.Time{}, 0, "", a.Run.ID
	by := audit.Entry{Time: now.UTC(), Actor: audit.Actor{Name: "leastwise", Method: audit.System}, Reason: "scheduled scan"}
	kept := false
	err := s.store.Update(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		if err := tx.PutSchedule(ctx, v, was); err != nil { // first: what is stale is not kept
			return err
		}
		kept, err = tx.KeepRun(ctx, a, by)
		return err
	})
	if err != nil {
		return fmt.Errorf("keeping the run of a scheduled scan: %w", err)
	}
	s.log.Info("a scheduled scan was kept", "run", a.Run.ID, "new", kept, "fail", a.Summary.Fail, "unknown", a.Summary.Unknown, "gaps", gapsOf(a), "seconds", int(now.Sub(v.Began).Seconds()))
	return nil
}

// giveUp ends the lease of a scan that the end of the server has cut short, so that
// another node need not wait for it.
func (s *scans) giveUp(ctx context.Context, v store.Schedule) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), scanEnd)
	defer cancel()
	v.Lease = time.Time{}
	return s.store.Update(ctx, func(ctx context.Context, tx *store.Tx) error { return tx.PutSchedule(ctx, v, v.Generation) })
}

func gapsOf(a *control.Assessment) (n int) {
	for _, c := range a.Run.Coverage {
		if !c.Complete() {
			n++
		}
	}
	return n
}

func oneLineOf(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func clipText(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + " …"
}
