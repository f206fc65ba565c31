package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/leastwise/leastwise/internal/operator"
	"github.com/leastwise/leastwise/internal/secdesc"
)

// Operators is the store of those who use leastwise. It is safe for concurrent use.
type Operators struct{ s *Store }

var _ operator.Store = Operators{}

// Operators returns the part of the store that keeps sessions, tokens, second factors
// and what else package operator remembers.
func (s *Store) Operators() Operators { return Operators{s} }

// Update implements [operator.Store].
func (o Operators) Update(ctx context.Context, f func(context.Context, operator.Tx) error) error {
	return o.s.Update(ctx, func(ctx context.Context, tx *Tx) error { return f(ctx, OperatorTx{tx}) })
}

// View implements [operator.Store].
func (o Operators) View(ctx context.Context, f func(context.Context, operator.Tx) error) error {
	return o.s.View(ctx, func(ctx context.Context, tx *Tx) error { return f(ctx, OperatorTx{tx}) })
}

// OperatorTx is a transaction over what package operator remembers.
type OperatorTx struct{ *Tx }

var _ operator.Tx = OperatorTx{}

// operatorRow is a row of operator_records.
type operatorRow struct {
	bun.BaseModel `bun:"table:operator_records,alias:o"`

	Kind     string `bun:",pk"`
	ID       string `bun:",pk"`
	Account  string
	Expires  int64
	Revision int64
	Body     []byte
}

func (r *operatorRow) record() (operator.Record, error) {
	out := operator.Record{Kind: operator.Kind(r.Kind), ID: r.ID, Revision: r.Revision, Body: r.Body}
	if r.Expires != never {
		out.Until = time.UnixMicro(r.Expires).UTC()
	}
	if r.Account == "" {
		return out, nil
	}
	var err error
	if out.Account, err = secdesc.ParseGUID(r.Account); err != nil {
		return out, fmt.Errorf("%w: %s %s: %w", ErrCorrupt, r.Kind, r.ID, err)
	}
	return out, nil
}

// Record implements [operator.Tx].
func (t OperatorTx) Record(ctx context.Context, kind operator.Kind, id string) (operator.Record, error) {
	list, err := t.records(ctx, func(q *bun.SelectQuery) {
		q.Where("?TableAlias.kind = ?", string(kind)).Where("?TableAlias.id = ?", id)
	})
	if err != nil {
		return operator.Record{}, err
	}
	if len(list) == 0 {
		return operator.Record{}, operator.ErrNotFound
	}
	return list[0], nil
}

// Records implements [operator.Tx].
func (t OperatorTx) Records(ctx context.Context, s operator.Search) ([]operator.Record, error) {
	return t.records(ctx, func(q *bun.SelectQuery) {
		q.Where("?TableAlias.kind = ?", string(s.Kind)).Where("?TableAlias.id > ?", s.After)
		if !s.Account.IsZero() {
			q.Where("?TableAlias.account = ?", guidText(s.Account))
		}
		q.OrderExpr("?TableAlias.id").Limit(int64(s.Limit))
	})
}

func (t OperatorTx) records(ctx context.Context, restrict func(*bun.SelectQuery)) ([]operator.Record, error) {
	var rows []operatorRow
	q := t.tx.NewSelect().Model(&rows)
	restrict(q)
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("reading operators: %w", t.store.explain(err))
	}
	out := make([]operator.Record, len(rows))
	for i := range rows {
		var err error
		if out[i], err = rows[i].record(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Put implements [operator.Tx].
func (t OperatorTx) Put(ctx context.Context, r operator.Record) error {
	row := operatorRow{
		Kind: string(r.Kind), ID: r.ID, Account: guidText(r.Account), Expires: microsOrNever(r.Until), Revision: r.Revision + 1, Body: r.Body,
	}
	if r.Revision == 0 {
		switch _, err := t.Record(ctx, r.Kind, r.ID); {
		case err == nil:
			return operator.ErrConflict
		case !errors.Is(err, operator.ErrNotFound):
			return err
		}
		_, err := t.tx.NewInsert().Model(&row).Exec(ctx)
		return t.store.explain(err)
	}
	res, err := t.tx.NewUpdate().Model(&row).ExcludeColumn("kind", "id").Where("kind = ?", row.Kind).Where("id = ?", row.ID).
		Where("revision = ?", r.Revision).Exec(ctx)
	if err != nil {
		return t.store.explain(err)
	}
	n, err := res.RowsAffected()
	if err == nil && n != 1 {
		err = operator.ErrConflict
	}
	return err
}

// Drop implements [operator.Tx].
func (t OperatorTx) Drop(ctx context.Context, kind operator.Kind, id string) error {
	_, err := t.tx.NewDelete().Model((*operatorRow)(nil)).Where("kind = ?", string(kind)).Where("id = ?", id).Exec(ctx)
	return t.store.explain(err)
}

// Trim implements [operator.Tx].
func (t OperatorTx) Trim(ctx context.Context, kind operator.Kind, now time.Time) (int64, error) {
	res, err := t.tx.NewDelete().Model((*operatorRow)(nil)).Where("kind = ?", string(kind)).Where("expires <= ?", micros(now)).Exec(ctx)
	if err != nil {
		return 0, t.store.explain(err)
	}
	return res.RowsAffected()
}
