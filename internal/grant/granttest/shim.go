package granttest

import (
	"context"
	"errors"
	"time"

	"github.com/leastwise/leastwise/internal/grant"
)

// ErrDown is what a [Shim] answers while the store, or its log, is away.
var ErrDown = errors.New("the store is away")

// Shim stands before a store. It keeps what is recorded and announced, can make the
// store or only its log fail, and tells of commits: the places where a node may die. It
// is for one goroutine.
type Shim struct {
	grant.Store
	Log      []grant.Entry
	Notices  []grant.Notice
	Down     bool   // everything fails
	LogDown  bool   // entries cannot be written
	Lost     error  // the next transaction is kept and answered with this
	OnCommit func() // called after each transaction that recorded something
}

// shimTx keeps the entries of one transaction until it commits.
type shimTx struct {
	grant.Tx
	s       *Shim
	log     []grant.Entry
	notices []grant.Notice
}

// Update implements [grant.Store].
func (s *Shim) Update(ctx context.Context, f func(context.Context, grant.Tx) error) error {
	if s.Down {
		return ErrDown
	}
	var last *shimTx
	ok := false
	err := s.Store.Update(ctx, func(ctx context.Context, tx grant.Tx) error {
		last = &shimTx{Tx: tx, s: s}
		ok = true
		return f(ctx, last)
	})
	if err != nil || !ok {
		return err
	}
	s.Log = append(s.Log, last.log...)
	s.Notices = append(s.Notices, last.notices...)
	if s.OnCommit != nil && len(last.log) > 0 {
		s.OnCommit()
	}
	lost := s.Lost
	s.Lost = nil
	return lost
}

// Record implements [grant.Tx].
func (t *shimTx) Record(ctx context.Context, e grant.Entry) error {
	if t.s.LogDown {
		return ErrDown
	}
	t.log = append(t.log, e)
	return t.Tx.Record(ctx, e)
}

// Notify implements [grant.Tx].
func (t *shimTx) Notify(ctx context.Context, n grant.Notice) error {
	t.notices = append(t.notices, n)
	return t.Tx.Notify(ctx, n)
}

// Read implements [grant.Store].
func (s *Shim) Read(ctx context.Context, id grant.ID) (grant.Grant, error) {
	if s.Down {
		return grant.Grant{}, ErrDown
	}
	return s.Store.Read(ctx, id)
}

// Holding implements [grant.Store].
func (s *Shim) Holding(ctx context.Context, k grant.Key) (grant.Holding, error) {
	if s.Down {
		return grant.Holding{}, ErrDown
	}
	return s.Store.Holding(ctx, k)
}

// HoldingsOf implements [grant.Store].
func (s *Shim) HoldingsOf(ctx context.Context, keys []grant.Key) ([]grant.Holding, error) {
	if s.Down {
		return nil, ErrDown
	}
	return s.Store.HoldingsOf(ctx, keys)
}

// ReadAll implements [grant.Store].
func (s *Shim) ReadAll(ctx context.Context, ids []grant.ID) ([]grant.Grant, error) {
	if s.Down {
		return nil, ErrDown
	}
	return s.Store.ReadAll(ctx, ids)
}

// Due implements [grant.Store].
func (s *Shim) Due(ctx context.Context, d grant.Due) ([]grant.Grant, error) {
	if s.Down {
		return nil, ErrDown
	}
	return s.Store.Due(ctx, d)
}

// List implements [grant.Store].
func (s *Shim) List(ctx context.Context, p grant.Page) ([]grant.Grant, error) {
	if s.Down {
		return nil, ErrDown
	}
	return s.Store.List(ctx, p)
}

// Holdings implements [grant.Store].
func (s *Shim) Holdings(ctx context.Context, watched time.Time, all bool) ([]grant.Holding, error) {
	if s.Down {
		return nil, ErrDown
	}
	return s.Store.Holdings(ctx, watched, all)
}
