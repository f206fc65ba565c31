package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/store"
)

// keeping checks what a server does beside grants, from its database: scheduled scans,
// notifications, and whether the log is what its witness saw. Where nobody named a database
// and none is there, nothing is checked.
func (d *doctor) keeping(ctx context.Context, c *Config, now time.Time) {
	s, err := OpenStore(ctx, c, store.Options{ReadOnly: true})
	if err != nil {
		if c.Value("database").Source != "default" || !errors.Is(err, store.ErrMissing) {
			d.warn("server", "database", err.Error(), "")
		}
		return
	}
	defer func() { _ = s.Close() }() // it was only read
	d.add("server", "database", nil, s.String())
	d.scans(ctx, c, s, now)
	d.notices(ctx, s)
	d.witness(ctx, c, s)
}

func (d *doctor) scans(ctx context.Context, c *Config, s *store.Store, now time.Time) {
	const name = "scheduled scans"
	table, err := ParseTimetable(c)
	if err != nil {
		d.warn("server", name, err.Error(), "")
		return
	}
	var v store.Schedule
	err = s.View(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		v, err = tx.Schedule(ctx, scanName)
		return err
	})
	switch {
	case err != nil:
		d.warn("server", name, err.Error(), "")
	case table.Every == 0 && v.Generation == 0:
		d.add("server", name, nil, "none are configured")
	default:
		d.put(scanCheck(name, table, v, now))
	}
}

// scanCheck judges how scheduled scans are doing.
func scanCheck(name string, table Timetable, v store.Schedule, now time.Time) Check {
	c := Check{Area: "server", Name: name, State: CheckWarn}
	last := "none was kept yet"
	if !v.Succeeded.IsZero() {
		last = fmt.Sprintf("the last was kept on %s, run %s", v.Succeeded.UTC().Format(time.RFC3339), v.Result)
	}
	switch {
	case v.Failures > 0:
		c.Detail = fmt.Sprintf("%d failed since; %s; the last one: %s", v.Failures, last, v.Fault)
		c.Hint = "the server tries again at " + v.Retry.UTC().Format(time.RFC3339)
	case underWay(v, now) && table.Every > 0 && now.Sub(v.Began) > table.Every:
		c.Detail = fmt.Sprintf("one has been under way on %s since %s, longer than until the next; %s", v.Node, v.Began.UTC().Format(time.RFC3339), last)
		c.Hint = "scan more rarely, or find out what takes so long"
	case table.Every > 0 && !underWay(v, now) && !v.Done.IsZero() && now.Sub(table.After(v.Done)) > table.Every:
		c.Detail = "turns have passed without a scan; " + last
		c.Hint = "is the server running?"
	default:
		c.State, c.Detail = CheckOK, last
		if underWay(v, now) {
			c.Detail = fmt.Sprintf("one is under way on %s since %s; %s", v.Node, v.Began.UTC().Format(time.RFC3339), last)
		}
	}
	return c
}

func (d *doctor) notices(ctx context.Context, s *store.Store) {
	const name = "notifications"
	switch waiting, dead, err := s.Deliveries().Count(ctx); {
	case err != nil:
		d.warn("server", name, err.Error(), "")
	case dead > 0:
		d.warn("server", name, fmt.Sprintf("%d were put aside after the last try, %d wait", dead, waiting), "leastwise notices says why, and lets them try again")
	default:
		d.add("server", name, nil, fmt.Sprintf("%d wait to be delivered", waiting))
	}
}

// witness compares the log with the newest checkpoint of the witness file.
func (d *doctor) witness(ctx context.Context, c *Config, s *store.Store) {
	file := c.Text("witness")
	if file == "" {
		return
	}
	const name = "audit log and its witness"
	w := &witnesses{file: file}
	seen, err := w.seen()
	var signer *audit.Signer
	if err == nil {
		signer, err = openSigner(c)
	}
	if err == nil {
		err = s.View(ctx, func(ctx context.Context, tx *store.Tx) error { return holdsSeen(ctx, tx, seen, signer.Keys()...) })
	}
	switch {
	case errors.Is(err, audit.ErrForked):
		d.add("server", name, err, "")
	case err != nil:
		d.warn("server", name, err.Error(), "")
	case seen == "":
		d.warn("server", name, file+" holds no checkpoint yet", "leastwise audit checkpoint")
	default:
		d.add("server", name, nil, "the log begins with what "+file+" has")
	}
}

// holdsSeen is [audit.Holds] in a view, which can lock nothing and need not.
func holdsSeen(ctx context.Context, tx *store.Tx, seen string, keys ...audit.Key) error {
	return audit.Holds(ctx, unlocked{tx}, seen, keys...)
}

type unlocked struct{ *store.Tx }

// LockAudit implements [audit.CheckpointTx] without a lock.
func (t unlocked) LockAudit(ctx context.Context) (int64, error) { return t.AuditHead(ctx) }
