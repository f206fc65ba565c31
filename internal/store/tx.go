package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/uptrace/bun"
)

// A Tx is a transaction: of [Store.Update], or of [Store.View], where its methods
// that write fail with [ErrReadOnly]. It is valid until the function that was given
// it returns, and not for concurrent use.
type Tx struct {
	tx    bun.Tx
	store *Store
}

// SQL returns the transaction itself, for a library that has tables of its own in
// the same database, such as a job queue. It must not be committed or rolled back.
func (tx *Tx) SQL() *sql.Tx { return tx.tx.Tx }

// writerLock is the key of the advisory lock of PostgreSQL that makes write
// transactions take turns; the letters "leastwis".
const writerLock = 0x6C65617374776973

// Update runs fn in a transaction that may write, and commits it if fn returns
// nil. Write transactions run one after the other, on all nodes: fn sees all that
// was committed before and is called once. It must not wait for anything but the
// database. After [ErrCommitUnknown] the transaction may have been kept.
func (s *Store) Update(ctx context.Context, fn func(context.Context, *Tx) error) error {
	if s.write == nil {
		return ErrReadOnly
	}
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", s.explain(err))
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	if s.kind == onServer {
		if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(?)", int64(writerLock)); err != nil {
			return fmt.Errorf("waiting for the turn to write: %w", s.explain(err))
		}
	}
	if err := fn(ctx, &Tx{tx, s}); err != nil {
		return s.explain(err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("committing: %w", s.commitError(err))
	}
	return nil
}

// commitError tells a commit that was refused from one whose answer was lost. A
// server that answers has decided; SQLite has no answer to lose.
func (s *Store) commitError(err error) error {
	explained := s.explain(err)
	if s.kind == inFile || errors.Is(err, sql.ErrTxDone) {
		return explained
	}
	if k := kindOf(err); k != nil && !errors.Is(k, ErrUnreachable) {
		return explained
	}
	return errors.Join(ErrCommitUnknown, explained)
}

// View runs fn in a transaction that reads one consistent moment. It does not wait
// for those that write, nor they for it.
func (s *Store) View(ctx context.Context, fn func(context.Context, *Tx) error) error {
	o := &sql.TxOptions{ReadOnly: true}
	if s.kind == onServer {
		o.Isolation = sql.LevelRepeatableRead
	}
	tx, err := s.read.BeginTx(ctx, o)
	if err != nil {
		return fmt.Errorf("beginning to read: %w", s.explain(err))
	}
	defer func() { _ = tx.Rollback() }()
	return s.explain(fn(ctx, &Tx{tx, s}))
}
