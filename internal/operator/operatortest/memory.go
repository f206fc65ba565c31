// Package operatortest helps to test what stands on package operator: a store in memory,
// a directory that a test fills, and the conformance tests that every store passes.
//
// The directory is a fake for what the rules of package operator depend on; how a real
// one is asked is tested against a domain controller.
package operatortest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leastwise/leastwise/internal/audit/audittest"
	"github.com/leastwise/leastwise/internal/operator"
)

type key struct {
	kind operator.Kind
	id   string
}

// Memory is a store in memory, for tests.
type Memory struct {
	mu      sync.Mutex
	records map[key]operator.Record
	log     *audittest.Memory
}

var _ operator.Store = (*Memory)(nil)

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{records: map[key]operator.Record{}, log: &audittest.Memory{}}
}

// Log returns a copy of the audit log.
func (m *Memory) Log() *audittest.Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.log.Clone()
}

// Count returns how many records of a kind there are.
func (m *Memory) Count(kind operator.Kind) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k := range m.records {
		if k.kind == kind {
			n++
		}
	}
	return n
}

// Dump returns all that the store holds, as text, for tests that look for secrets.
func (m *Memory) Dump() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b strings.Builder
	for k, r := range m.records {
		b.WriteString(string(k.kind) + " " + k.id + " " + string(r.Body) + "\n")
	}
	for _, r := range m.log.Records {
		b.Write(r.Body)
	}
	return b.String()
}

// Update implements [operator.Store].
func (m *Memory) Update(ctx context.Context, f func(context.Context, operator.Tx) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	tx := &memoryTx{Memory: m.log.Clone(), records: maps.Clone(m.records)}
	if err := f(ctx, tx); err != nil {
		return err
	}
	m.records, m.log = tx.records, tx.Memory
	return nil
}

// View implements [operator.Store].
func (m *Memory) View(ctx context.Context, f func(context.Context, operator.Tx) error) error {
	m.mu.Lock()
	tx := &memoryTx{Memory: m.log.Clone(), records: maps.Clone(m.records)}
	m.mu.Unlock()
	return f(ctx, tx)
}

type memoryTx struct {
	*audittest.Memory
	records map[key]operator.Record
}

// Record implements [operator.Tx].
func (t *memoryTx) Record(_ context.Context, kind operator.Kind, id string) (operator.Record, error) {
	r, ok := t.records[key{kind, id}]
	if !ok {
		return operator.Record{}, operator.ErrNotFound
	}
	r.Body = slices.Clone(r.Body)
	return r, nil
}

// Records implements [operator.Tx].
func (t *memoryTx) Records(_ context.Context, s operator.Search) ([]operator.Record, error) {
	var out []operator.Record
	for k, r := range t.records {
		if k.kind == s.Kind && r.ID > s.After && (s.Account.IsZero() || r.Account == s.Account) {
			r.Body = slices.Clone(r.Body)
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b operator.Record) int { return strings.Compare(a.ID, b.ID) })
	return out[:min(len(out), s.Limit)], nil
}

// Put implements [operator.Tx].
func (t *memoryTx) Put(_ context.Context, r operator.Record) error {
	k := key{r.Kind, r.ID}
	if t.records[k].Revision != r.Revision {
		return operator.ErrConflict
	}
	r.Revision++
	r.Body = slices.Clone(r.Body)
	t.records[k] = r
	return nil
}

// Drop implements [operator.Tx].
func (t *memoryTx) Drop(_ context.Context, kind operator.Kind, id string) error {
	delete(t.records, key{kind, id})
	return nil
}

// Trim implements [operator.Tx].
func (t *memoryTx) Trim(_ context.Context, kind operator.Kind, now time.Time) (n int64, err error) {
	for k, r := range t.records {
		if k.kind == kind && !r.Until.IsZero() && !r.Until.After(now) {
			delete(t.records, k)
			n++
		}
	}
	return n, nil
}
