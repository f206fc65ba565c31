package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/leastwise/leastwise/internal/grant"
)

// holdingRow is a row of grant_holdings.
type holdingRow struct {
	bun.BaseModel `bun:"table:grant_holdings,alias:h"`

	GroupGUID string `bun:"group_guid,pk"`
	Member    string `bun:",pk"`
	Revision  int64
	Kept      int64
	Watch     int64
	Body      []byte
}

func newHoldingRow(h *grant.Holding) (holdingRow, error) {
	body, err := json.Marshal(h)
	r := holdingRow{GroupGUID: guidText(h.Key.Group), Member: guidText(h.Key.Member), Revision: h.Revision, Body: body}
	if h.Ours || h.Gone {
		r.Kept = 1
	}
	if !h.Watch.IsZero() {
		r.Watch = micros(h.Watch)
	}
	return r, err
}

func readHoldings(rows []holdingRow) ([]grant.Holding, error) {
	out := make([]grant.Holding, len(rows))
	for i, r := range rows {
		if err := json.Unmarshal(r.Body, &out[i]); err != nil {
			return nil, fmt.Errorf("%w: membership of %s in %s: %w", ErrCorrupt, r.Member, r.GroupGUID, err)
		}
		out[i].Revision = r.Revision
	}
	return out, nil
}

// Holding implements [grant.Tx].
func (t *GrantTx) Holding(ctx context.Context, k grant.Key) (grant.Holding, error) {
	var rows []holdingRow
	err := t.tx.tx.NewSelect().Model(&rows).Where("?TableAlias.group_guid = ?", guidText(k.Group)).Where("?TableAlias.member = ?", guidText(k.Member)).Scan(ctx)
	if err != nil {
		return grant.Holding{}, fmt.Errorf("reading the membership of %s: %w", k, t.tx.store.explain(err))
	}
	list, err := readHoldings(rows)
	if err != nil || len(list) == 0 {
		return grant.Holding{Key: k}, err
	}
	return list[0], nil
}

// PutHolding implements [grant.Tx].
func (t *GrantTx) PutHolding(ctx context.Context, h grant.Holding) error {
	was := h.Revision
	h.Revision++
	row, err := newHoldingRow(&h)
	if err != nil {
		return fmt.Errorf("storing the membership of %s: %w", h.Key, err)
	}
	if was == 0 {
		old, err := t.Holding(ctx, h.Key)
		if err != nil {
			return err
		}
		if old.Revision != 0 {
			return grant.ErrConflict
		}
		res, err := t.tx.tx.NewInsert().Model(&row).Exec(ctx)
		return t.replaced(res, err, "the membership of "+h.Key.String())
	}
	res, err := t.tx.tx.NewUpdate().Model(&row).WherePK().Where("revision = ?", was).Exec(ctx)
	return t.replaced(res, err, "the membership of "+h.Key.String())
}

// Holding implements [grant.Store].
func (s Grants) Holding(ctx context.Context, k grant.Key) (h grant.Holding, err error) {
	err = s.s.View(ctx, func(ctx context.Context, tx *Tx) error {
		h, err = (&GrantTx{tx: tx}).Holding(ctx, k)
		return err
	})
	return h, err
}

// HoldingsOf implements [grant.Store].
func (s Grants) HoldingsOf(ctx context.Context, keys []grant.Key) (out []grant.Holding, err error) {
	if len(keys) == 0 {
		return nil, nil
	}
	wanted := make(map[grant.Key]bool, len(keys))
	var groups, members []string
	for _, k := range keys {
		wanted[k] = true
		groups, members = append(groups, guidText(k.Group)), append(members, guidText(k.Member))
	}
	err = s.s.View(ctx, func(ctx context.Context, tx *Tx) error {
		var rows []holdingRow
		q := tx.tx.NewSelect().Model(&rows).Where("?TableAlias.group_guid IN (?)", bun.List(groups)).Where("?TableAlias.member IN (?)", bun.List(members))
		if err := q.Scan(ctx); err != nil {
			return fmt.Errorf("reading memberships: %w", tx.store.explain(err))
		}
		out, err = readHoldings(rows)
		return err
	})
	return slices.DeleteFunc(out, func(h grant.Holding) bool { return !wanted[h.Key] }), err
}

// Holdings implements [grant.Store].
func (s Grants) Holdings(ctx context.Context, watched time.Time, all bool) (out []grant.Holding, err error) {
	err = s.s.View(ctx, func(ctx context.Context, tx *Tx) error {
		var rows []holdingRow
		q := tx.tx.NewSelect().Model(&rows)
		if since := max(1, micros(watched)); all {
			q.Where("(?TableAlias.watch >= ? OR ?TableAlias.kept = 1)", since)
		} else {
			q.Where("?TableAlias.watch >= ?", since)
		}
		q.Where("NOT EXISTS (SELECT 1 FROM grants AS a WHERE a.group_guid = ?TableAlias.group_guid AND a.holder = ?TableAlias.member AND a.state IN (?))", bun.List(holding()))
		if err := q.OrderExpr("?TableAlias.group_guid, ?TableAlias.member").Scan(ctx); err != nil {
			return fmt.Errorf("reading memberships: %w", tx.store.explain(err))
		}
		out, err = readHoldings(rows)
		return err
	})
	return out, err
}

// noticeRow is a row of grant_notices.
type noticeRow struct {
	bun.BaseModel `bun:"table:grant_notices,alias:n"`

	ID   int64 `bun:",pk"`
	At   int64
	Body []byte
}

// Notify implements [grant.Tx].
func (t *GrantTx) Notify(ctx context.Context, n grant.Notice) error {
	body, err := json.Marshal(n)
	if err == nil {
		_, err = t.tx.tx.NewRaw("INSERT INTO grant_notices (id, at, body) SELECT COALESCE(MAX(id), 0) + 1, ?, ? FROM grant_notices", micros(n.Time), body).Exec(ctx)
	}
	if err != nil {
		return fmt.Errorf("storing a notice of grant %s: %w", n.Grant, t.tx.store.explain(err))
	}
	return nil
}

// A Notice of a grant that is owed to people, under the number that [Grants.Told] wants.
type Notice struct {
	ID int64
	grant.Notice
}

// Notices returns the oldest notices that are owed.
func (s Grants) Notices(ctx context.Context, limit int) (out []Notice, err error) {
	err = s.s.View(ctx, func(ctx context.Context, tx *Tx) error {
		var rows []noticeRow
		if err := tx.tx.NewSelect().Model(&rows).OrderExpr("?TableAlias.id").Limit(int64(limit)).Scan(ctx); err != nil {
			return fmt.Errorf("reading notices: %w", tx.store.explain(err))
		}
		out = make([]Notice, len(rows))
		for i, r := range rows {
			out[i].ID = r.ID
			if err := json.Unmarshal(r.Body, &out[i].Notice); err != nil {
				return fmt.Errorf("%w: notice %d: %w", ErrCorrupt, r.ID, err)
			}
		}
		return nil
	})
	return out, err
}

// Told removes notices that were sent.
func (s Grants) Told(ctx context.Context, ids ...int64) error {
	if len(ids) == 0 {
		return nil
	}
	return s.s.Update(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.tx.NewDelete().Model((*noticeRow)(nil)).Where("id IN (?)", bun.List(ids)).Exec(ctx)
		return err
	})
}
