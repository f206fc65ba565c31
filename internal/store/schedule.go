package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// A Schedule is what is known of work that is done from time to time, by one node of
// several. A zero time is none.
type Schedule struct {
	Name       string
	Generation int64     // of the last turn that was begun
	Done       time.Time // through when it is done: the next turn is the first after it
	Retry      time.Time // nothing is tried before
	Lease      time.Time // until when Node is at work
	Node       string    // that is at work, or was last
	Began      time.Time // of the last turn that was begun
	Tried      time.Time // end of the last try that ended
	Succeeded  time.Time // end of the last try that went well
	Failures   int       // since then
	Fault      string    // of the last try, empty if it went well
	Result     string    // of the last that went well
}

// Running reports whether a node is at work.
func (s *Schedule) Running(now time.Time) bool { return now.Before(s.Lease) }

// scheduleRow is a row of schedules.
type scheduleRow struct {
	bun.BaseModel `bun:"table:schedules,alias:s"`

	Name       string `bun:",pk"`
	Generation int64
	Done       int64
	Retry      int64
	Lease      int64
	Node       string
	Began      int64
	Tried      int64
	Succeeded  int64
	Failures   int64
	Fault      string
	Result     string
}

// microsOrZero stores a time that may be none.
func microsOrZero(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return micros(t)
}

func fromMicrosOrZero(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return fromMicros(n)
}

func (r *scheduleRow) schedule() Schedule {
	at := fromMicrosOrZero
	return Schedule{
		Name: r.Name, Generation: r.Generation, Done: at(r.Done), Retry: at(r.Retry), Lease: at(r.Lease), Node: r.Node, Began: at(r.Began),
		Tried: at(r.Tried), Succeeded: at(r.Succeeded), Failures: int(r.Failures), Fault: r.Fault, Result: r.Result,
	}
}

func newScheduleRow(s Schedule) scheduleRow {
	at := microsOrZero
	return scheduleRow{
		Name: s.Name, Generation: s.Generation, Done: at(s.Done), Retry: at(s.Retry), Lease: at(s.Lease), Node: s.Node, Began: at(s.Began),
		Tried: at(s.Tried), Succeeded: at(s.Succeeded), Failures: int64(s.Failures), Fault: s.Fault, Result: s.Result,
	}
}

// Schedule returns what is known of a schedule; of one that nobody has begun its name.
func (tx *Tx) Schedule(ctx context.Context, name string) (Schedule, error) {
	var row scheduleRow
	err := tx.tx.NewSelect().Model(&row).Where("?TableAlias.name = ?", name).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return Schedule{Name: name}, nil
	}
	if err != nil {
		return Schedule{}, fmt.Errorf("reading the schedule %s: %w", name, tx.store.explain(err))
	}
	return row.schedule(), nil
}

// PutSchedule stores a schedule, if the stored one is still of that generation, else it
// returns [ErrStale]: another node has begun meanwhile.
func (tx *Tx) PutSchedule(ctx context.Context, s Schedule, was int64) error {
	now, err := tx.Schedule(ctx, s.Name)
	if err != nil {
		return err
	}
	if now.Generation != was {
		return fmt.Errorf("the schedule %s, generation %d: %w (now %d)", s.Name, was, ErrStale, now.Generation)
	}
	row := newScheduleRow(s)
	_, err = tx.tx.NewInsert().Model(&row).On("CONFLICT (name) DO UPDATE").
		Set("generation = EXCLUDED.generation").Set("done = EXCLUDED.done").Set("retry = EXCLUDED.retry").Set("lease = EXCLUDED.lease").
		Set("node = EXCLUDED.node").Set("began = EXCLUDED.began").Set("tried = EXCLUDED.tried").Set("succeeded = EXCLUDED.succeeded").
		Set("failures = EXCLUDED.failures").Set("fault = EXCLUDED.fault").Set("result = EXCLUDED.result").Exec(ctx)
	if err != nil {
		return fmt.Errorf("storing the schedule %s: %w", s.Name, tx.store.explain(err))
	}
	return nil
}
