package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/leastwise/leastwise/internal/notify"
)

// Deliveries is the [notify.Outbox] of the database.
type Deliveries struct{ s *Store }

// Deliveries returns the outbox.
func (s *Store) Deliveries() Deliveries { return Deliveries{s} }

// deliveryRow is a row of deliveries.
type deliveryRow struct {
	bun.BaseModel `bun:"table:deliveries,alias:d"`

	ID        string `bun:",pk"`
	Target    string
	Recipient string
	Created   int64
	Due       int64
	Attempts  int64
	Dead      int64
	Fault     string
	Body      []byte
}

func newDeliveryRow(d notify.Delivery) (deliveryRow, error) {
	body, err := json.Marshal(d.Message)
	if err != nil {
		return deliveryRow{}, fmt.Errorf("storing the delivery %s: %w", d.ID, err)
	}
	r := deliveryRow{
		ID: d.ID, Target: d.Target, Recipient: d.Recipient, Created: micros(d.Created), Due: micros(d.Next),
		Attempts: int64(d.Attempts), Fault: d.Fault, Body: body,
	}
	if d.Dead {
		r.Dead = 1
	}
	return r, nil
}

func (r deliveryRow) delivery() (notify.Delivery, error) {
	d := notify.Delivery{
		ID: r.ID, Target: r.Target, Recipient: r.Recipient, Created: fromMicros(r.Created), Next: fromMicros(r.Due),
		Attempts: int(r.Attempts), Dead: r.Dead == 1, Fault: r.Fault,
	}
	if err := json.Unmarshal(r.Body, &d.Message); err != nil {
		return d, fmt.Errorf("%w: delivery %s: %w", ErrCorrupt, r.ID, err)
	}
	return d, nil
}

func readDeliveries(rows []deliveryRow) ([]notify.Delivery, error) {
	out := make([]notify.Delivery, len(rows))
	for i, r := range rows {
		d, err := r.delivery()
		if err != nil {
			return nil, err
		}
		out[i] = d
	}
	return out, nil
}

// Owed implements [notify.Outbox].
func (d Deliveries) Owed(ctx context.Context, limit int) ([]notify.Notice, error) {
	list, err := d.s.Grants().Notices(ctx, limit)
	out := make([]notify.Notice, len(list))
	for i, n := range list {
		out[i] = notify.Notice{ID: n.ID, Notice: n.Notice}
	}
	return out, err
}

// Route implements [notify.Outbox].
func (d Deliveries) Route(ctx context.Context, n notify.Notice, list []notify.Delivery) error {
	want, err := json.Marshal(n.Notice)
	if err != nil {
		return fmt.Errorf("routing notice %d: %w", n.ID, err)
	}
	return d.s.Update(ctx, func(ctx context.Context, tx *Tx) error {
		var row noticeRow
		err := tx.tx.NewSelect().Model(&row).Where("?TableAlias.id = ?", n.ID).Scan(ctx)
		if errors.Is(err, sql.ErrNoRows) || err == nil && !bytes.Equal(row.Body, want) {
			return nil // numbers are used again: this is another notice
		}
		if err != nil {
			return fmt.Errorf("reading notice %d: %w", n.ID, tx.store.explain(err))
		}
		res, err := tx.tx.NewDelete().Model((*noticeRow)(nil)).Where("id = ?", n.ID).Exec(ctx)
		if err != nil {
			return fmt.Errorf("removing notice %d: %w", n.ID, tx.store.explain(err))
		}
		if gone, err := res.RowsAffected(); err != nil || gone == 0 {
			return err
		}
		for _, v := range list {
			row, err := newDeliveryRow(v)
			if err != nil {
				return err
			}
			if _, err := tx.tx.NewInsert().Model(&row).On("CONFLICT (id) DO NOTHING").Exec(ctx); err != nil {
				return fmt.Errorf("storing the delivery %s: %w", v.ID, tx.store.explain(err))
			}
		}
		return nil
	})
}

// Claim implements [notify.Outbox].
func (d Deliveries) Claim(ctx context.Context, target string, now, lease time.Time, limit int) (out []notify.Delivery, err error) {
	err = d.s.View(ctx, func(ctx context.Context, tx *Tx) error { // so that nobody waits where nothing is due
		var rows []deliveryRow
		err := tx.tx.NewSelect().Model(&rows).Where("?TableAlias.target = ?", target).Where("?TableAlias.dead = 0").Where("?TableAlias.due <= ?", micros(now)).
			OrderExpr("?TableAlias.due, ?TableAlias.id").Limit(int64(limit)).Scan(ctx)
		if err == nil {
			out, err = readDeliveries(rows)
		}
		return tx.store.explain(err)
	})
	if err != nil || len(out) == 0 {
		return nil, err
	}
	due := out
	err = d.s.Update(ctx, func(ctx context.Context, tx *Tx) error {
		out = nil
		for _, v := range due {
			res, err := tx.tx.NewUpdate().Model((*deliveryRow)(nil)).Set("due = ?", micros(lease)).Where("id = ?", v.ID).Where("due = ?", micros(v.Next)).Where("dead = 0").Exec(ctx)
			if err != nil {
				return fmt.Errorf("claiming the delivery %s: %w", v.ID, tx.store.explain(err))
			}
			n, err := res.RowsAffected()
			if err != nil {
				return err
			}
			if n == 1 { // else another node was faster
				out = append(out, v)
			}
		}
		return nil
	})
	return out, err
}

// Settle implements [notify.Outbox].
func (d Deliveries) Settle(ctx context.Context, v notify.Delivery, made bool) error {
	return d.s.Update(ctx, func(ctx context.Context, tx *Tx) error {
		if made {
			_, err := tx.tx.NewDelete().Model((*deliveryRow)(nil)).Where("id = ?", v.ID).Exec(ctx)
			return tx.store.explain(err)
		}
		row, err := newDeliveryRow(v)
		if err != nil {
			return err
		}
		_, err = tx.tx.NewUpdate().Model((*deliveryRow)(nil)).Set("due = ?", row.Due).Set("attempts = ?", row.Attempts).Set("dead = ?", row.Dead).Set("fault = ?", row.Fault).
			Where("id = ?", v.ID).Exec(ctx)
		return tx.store.explain(err)
	})
}

// Undelivered implements [notify.Outbox].
func (d Deliveries) Undelivered(ctx context.Context, limit int) (dead []notify.Delivery, waiting int, err error) {
	err = d.s.View(ctx, func(ctx context.Context, tx *Tx) error {
		var rows []deliveryRow
		err := tx.tx.NewSelect().Model(&rows).Where("?TableAlias.dead = 1").OrderExpr("?TableAlias.created, ?TableAlias.id").Limit(int64(limit)).Scan(ctx)
		if err == nil {
			var n int64
			n, err = tx.tx.NewSelect().Model((*deliveryRow)(nil)).Where("?TableAlias.dead = 0").Count(ctx)
			waiting = int(n)
		}
		if err == nil {
			dead, err = readDeliveries(rows)
		}
		return tx.store.explain(err)
	})
	return dead, waiting, err
}

// Count returns how many deliveries wait to be tried, and how many were put aside.
func (d Deliveries) Count(ctx context.Context) (waiting, dead int, err error) {
	err = d.s.View(ctx, func(ctx context.Context, tx *Tx) error {
		var counts []struct{ Dead, Number int64 }
		err := tx.tx.NewRaw("SELECT dead, COUNT(*) AS number FROM deliveries GROUP BY dead").Scan(ctx, &counts)
		for _, c := range counts {
			if c.Dead == 1 {
				dead = int(c.Number)
			} else {
				waiting = int(c.Number)
			}
		}
		return tx.store.explain(err)
	})
	return waiting, dead, err
}

// Revive implements [notify.Outbox].
func (d Deliveries) Revive(ctx context.Context, id string, now time.Time) (found bool, err error) {
	err = d.s.Update(ctx, func(ctx context.Context, tx *Tx) error {
		res, err := tx.tx.NewUpdate().Model((*deliveryRow)(nil)).Set("dead = 0").Set("attempts = 0").Set("due = ?", micros(now)).Where("id = ?", id).Where("dead = 1").Exec(ctx)
		if err != nil {
			return tx.store.explain(err)
		}
		n, err := res.RowsAffected()
		found = n == 1
		return err
	})
	return found, err
}
