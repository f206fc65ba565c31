package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/leastwise/leastwise/internal/secdesc"
)

// A Reply is the result of a request that carried an idempotency key.
type Reply struct {
	Account secdesc.GUID // who chose the key
	Key     string
	Request [32]byte // hash of the request
	At      time.Time
	Status  int // HTTP status; 0: the request has not ended, or died
	Type    string
	Body    []byte
}

// replyRow is a row of replies.
type replyRow struct {
	bun.BaseModel `bun:"table:replies,alias:r"`

	Account string `bun:",pk"`
	Key     string `bun:"request_key,pk"`
	Request []byte
	At      int64
	Status  int
	Type    string
	Body    []byte
}

// MaxReplies is how many keys of one account are kept at once. Which of them could be
// forgotten is not known here, so that one more is refused.
const MaxReplies = 1000

// BeginReply claims the key of r for its request. If it was claimed before, fresh is
// false and kept is what is known of it. [ErrTooMany] if the account has [MaxReplies].
func (s *Store) BeginReply(ctx context.Context, r Reply) (kept Reply, fresh bool, err error) {
	err = s.Update(ctx, func(ctx context.Context, tx *Tx) error {
		var row replyRow
		err := tx.tx.NewSelect().Model(&row).Where("?TableAlias.account = ?", guidText(r.Account)).Where("?TableAlias.request_key = ?", r.Key).Scan(ctx)
		switch {
		case err == nil:
			kept, fresh = Reply{Account: r.Account, Key: r.Key, At: fromMicros(row.At), Status: row.Status, Type: row.Type, Body: row.Body}, false
			if copy(kept.Request[:], row.Request) != len(kept.Request) {
				return fmt.Errorf("%w: the reply for an idempotency key has no hash", ErrCorrupt)
			}
			return nil
		case !errors.Is(err, sql.ErrNoRows):
			return fmt.Errorf("reading the reply for an idempotency key: %w", tx.store.explain(err))
		}
		n, err := tx.tx.NewSelect().Model((*replyRow)(nil)).Where("?TableAlias.account = ?", guidText(r.Account)).Count(ctx)
		if err != nil {
			return fmt.Errorf("counting idempotency keys: %w", tx.store.explain(err))
		}
		if n >= MaxReplies {
			return fmt.Errorf("claiming an idempotency key: %w", ErrTooMany)
		}
		fresh = true
		row = replyRow{Account: guidText(r.Account), Key: r.Key, Request: r.Request[:], At: micros(r.At), Body: []byte{}}
		if _, err := tx.tx.NewInsert().Model(&row).Exec(ctx); err != nil {
			return fmt.Errorf("claiming an idempotency key: %w", tx.store.explain(err))
		}
		return nil
	})
	return kept, fresh, err
}

// EndReply stores the result of a request whose key was claimed.
func (s *Store) EndReply(ctx context.Context, r Reply) error {
	body := r.Body
	if body == nil {
		body = []byte{}
	}
	return s.Update(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.tx.NewUpdate().Model((*replyRow)(nil)).Set("status = ?", r.Status).Set("type = ?", r.Type).Set("body = ?", body).
			Where("account = ?", guidText(r.Account)).Where("request_key = ?", r.Key).Exec(ctx)
		if err != nil {
			return fmt.Errorf("storing the reply for an idempotency key: %w", tx.store.explain(err))
		}
		return nil
	})
}

// DropReply gives a claimed key back: the request had no effect and may be repeated.
func (s *Store) DropReply(ctx context.Context, r Reply) error {
	return s.Update(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.tx.NewDelete().Model((*replyRow)(nil)).Where("account = ?", guidText(r.Account)).Where("request_key = ?", r.Key).Exec(ctx)
		if err != nil {
			return fmt.Errorf("giving an idempotency key back: %w", tx.store.explain(err))
		}
		return nil
	})
}

// TrimReplies forgets the keys that were claimed before a time, and returns how many.
func (s *Store) TrimReplies(ctx context.Context, before time.Time) (n int64, err error) {
	err = s.Update(ctx, func(ctx context.Context, tx *Tx) error {
		res, err := tx.tx.NewDelete().Model((*replyRow)(nil)).Where("at < ?", micros(before)).Exec(ctx)
		if err == nil {
			n, err = res.RowsAffected()
		}
		if err != nil {
			return fmt.Errorf("forgetting idempotency keys: %w", tx.store.explain(err))
		}
		return nil
	})
	return n, err
}
