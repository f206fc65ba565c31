// Package granttest is the test kit of grants: a store in memory, a simulated
// directory, and the tests that every store has to pass. The directory is a simulation,
// not a recording: it does what no real one can be made to do a thousand times a second,
// namely lose, delay, cut and double the same write. What the real one does is tested
// where the writes are made.
package granttest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/leastwise/leastwise/internal/grant"
)

// Memory is a [grant.Store] in memory, safe for concurrent use.
type Memory struct {
	mu       sync.Mutex
	grants   map[grant.ID]grant.Grant
	order    []grant.ID
	holdings map[grant.Key]grant.Holding
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{grants: map[grant.ID]grant.Grant{}, holdings: map[grant.Key]grant.Holding{}}
}

// memoryTx is a transaction: changes are kept apart until it commits.
type memoryTx struct {
	m        *Memory
	grants   map[grant.ID]grant.Grant
	added    []grant.ID
	holdings map[grant.Key]grant.Holding
}

// Update implements [grant.Store].
func (m *Memory) Update(ctx context.Context, f func(context.Context, grant.Tx) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	tx := &memoryTx{m: m, grants: map[grant.ID]grant.Grant{}, holdings: map[grant.Key]grant.Holding{}}
	if err := f(ctx, tx); err != nil {
		return err
	}
	for id, g := range tx.grants {
		m.grants[id] = g
	}
	m.order = append(m.order, tx.added...)
	for k, h := range tx.holdings {
		m.holdings[k] = h
	}
	return nil
}

// copied returns a grant as a database would give it back.
func copied(g grant.Grant) (out grant.Grant, err error) {
	b, err := json.Marshal(g)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		return out, fmt.Errorf("storing a grant: %w", err)
	}
	return out, nil
}

// Grant implements [grant.Tx].
func (t *memoryTx) Grant(_ context.Context, id grant.ID) (grant.Grant, error) {
	if g, ok := t.grants[id]; ok {
		return g, nil
	}
	if g, ok := t.m.grants[id]; ok {
		return g, nil
	}
	return grant.Grant{}, grant.ErrNotFound
}

// Put implements [grant.Tx].
func (t *memoryTx) Put(ctx context.Context, g grant.Grant, was int64) error {
	old, err := t.Grant(ctx, g.ID)
	switch {
	case err == nil && was == 0:
		return grant.ErrExists
	case errors.Is(err, grant.ErrNotFound) && was != 0, err == nil && old.Generation != was:
		return grant.ErrConflict
	case err != nil && !errors.Is(err, grant.ErrNotFound):
		return err
	case was == 0:
		t.added = append(t.added, g.ID)
	}
	t.grants[g.ID], err = copied(g)
	return err
}

// Holding implements [grant.Tx].
func (t *memoryTx) Holding(_ context.Context, k grant.Key) (grant.Holding, error) {
	if h, ok := t.holdings[k]; ok {
		return h, nil
	}
	if h, ok := t.m.holdings[k]; ok {
		return h, nil
	}
	return grant.Holding{Key: k}, nil
}

// PutHolding implements [grant.Tx].
func (t *memoryTx) PutHolding(ctx context.Context, h grant.Holding) error {
	old, err := t.Holding(ctx, h.Key)
	if err != nil {
		return err
	}
	if old.Revision != h.Revision {
		return grant.ErrConflict
	}
	h.Revision++
	t.holdings[h.Key] = h
	return nil
}

// all returns every grant as the transaction sees it, oldest first.
func (t *memoryTx) all() (out []grant.Grant, err error) {
	out = make([]grant.Grant, 0, len(t.m.order)+len(t.added))
	for _, id := range append(slices.Clone(t.m.order), t.added...) {
		g, err := t.Grant(context.Background(), id)
		if err != nil {
			return nil, err
		}
		out = append(out, g)
	}
	return out, nil
}

// Holders implements [grant.Tx].
func (t *memoryTx) Holders(_ context.Context, k grant.Key) (out []grant.Grant, err error) {
	list, err := t.all()
	for _, g := range list {
		if g.Key == k && slices.Contains([]grant.State{grant.Activating, grant.Active, grant.Ending}, g.State) {
			out = append(out, g)
		}
	}
	return out, err
}

// Record implements [grant.Tx]; [Shim] keeps the entries.
func (t *memoryTx) Record(context.Context, grant.Entry) error { return nil }

// Notify implements [grant.Tx]; [Shim] keeps the notices.
func (t *memoryTx) Notify(context.Context, grant.Notice) error { return nil }

// Read implements [grant.Store].
func (m *Memory) Read(ctx context.Context, id grant.ID) (grant.Grant, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return (&memoryTx{m: m}).Grant(ctx, id)
}

// ReadAll implements [grant.Store].
func (m *Memory) ReadAll(ctx context.Context, ids []grant.ID) (out []grant.Grant, err error) {
	for _, id := range ids {
		g, err := m.Read(ctx, id)
		switch {
		case err == nil:
			out = append(out, g)
		case !errors.Is(err, grant.ErrNotFound):
			return nil, err
		}
	}
	return out, nil
}

// view returns every grant.
func (m *Memory) view() ([]grant.Grant, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return (&memoryTx{m: m}).all()
}

// Due implements [grant.Store].
func (m *Memory) Due(_ context.Context, d grant.Due) (out []grant.Grant, err error) {
	list, err := m.view()
	var byDC []grant.Grant
	for _, g := range list {
		if len(d.States) > 0 && !slices.Contains(d.States, g.State) {
			continue
		}
		switch {
		case !g.Wake.IsZero() && !g.Wake.After(d.Wall):
			out = append(out, g)
		case !g.WakeDC.IsZero() && !g.WakeDC.After(d.DC):
			byDC = append(byDC, g)
		}
	}
	slices.SortStableFunc(out, func(a, b grant.Grant) int { return a.Wake.Compare(b.Wake) })
	slices.SortStableFunc(byDC, func(a, b grant.Grant) int { return a.WakeDC.Compare(b.WakeDC) })
	out = append(out, byDC...)
	return out[:min(len(out), d.Limit)], err
}

// List implements [grant.Store].
func (m *Memory) List(_ context.Context, p grant.Page) (out []grant.Grant, err error) {
	list, err := m.view()
	slices.SortStableFunc(list, func(a, b grant.Grant) int {
		return cmp.Or(b.RequestedAt.Compare(a.RequestedAt), cmp.Compare(b.ID, a.ID))
	})
	if i := slices.IndexFunc(list, func(g grant.Grant) bool { return g.ID == p.After }); p.After != "" && i >= 0 {
		list = list[i+1:]
	}
	for _, g := range list {
		if len(p.States) > 0 && !slices.Contains(p.States, g.State) ||
			!p.Party.IsZero() && p.Party != g.Requester.Account && p.Party != g.Holder.Account ||
			p.Policy != "" && p.Policy != g.Policy {
			continue
		}
		out = append(out, g)
	}
	return out[:min(len(out), p.Limit)], err
}

// Holding implements [grant.Store].
func (m *Memory) Holding(ctx context.Context, k grant.Key) (grant.Holding, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return (&memoryTx{m: m}).Holding(ctx, k)
}

// HoldingsOf implements [grant.Store].
func (m *Memory) HoldingsOf(_ context.Context, keys []grant.Key) (out []grant.Holding, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, h := range m.holdings {
		if slices.Contains(keys, k) {
			out = append(out, h)
		}
	}
	return out, nil
}

// Holdings implements [grant.Store].
func (m *Memory) Holdings(_ context.Context, watched time.Time, all bool) (out []grant.Holding, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	tx := &memoryTx{m: m}
	for _, h := range m.holdings {
		if held, err := tx.Holders(context.Background(), h.Key); err != nil || len(held) > 0 {
			continue
		}
		if !h.Watch.IsZero() && !h.Watch.Before(watched) || all && (h.Ours || h.Gone) {
			out = append(out, h)
		}
	}
	slices.SortFunc(out, func(a, b grant.Holding) int { return cmp.Compare(a.Key.String(), b.Key.String()) })
	return out, nil
}
