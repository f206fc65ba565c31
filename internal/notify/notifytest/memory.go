// Package notifytest has an outbox in memory, for tests, and the conformance tests that
// every outbox passes.
package notifytest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leastwise/leastwise/internal/grant"
	"github.com/leastwise/leastwise/internal/notify"
)

// A Memory is an outbox for tests. It is safe for concurrent use.
type Memory struct {
	mu         sync.Mutex
	last       int64
	notices    []notify.Notice
	deliveries map[string]notify.Delivery
}

// NewMemory returns an empty outbox.
func NewMemory() *Memory { return &Memory{deliveries: map[string]notify.Delivery{}} }

// Owe stores notices.
func (m *Memory) Owe(list ...grant.Notice) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range list {
		m.last++
		m.notices = append(m.notices, notify.Notice{ID: m.last, Notice: n})
	}
}

// Owed implements [notify.Outbox].
func (m *Memory) Owed(_ context.Context, limit int) ([]notify.Notice, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.notices[:min(limit, len(m.notices))]), nil
}

// Route implements [notify.Outbox].
func (m *Memory) Route(_ context.Context, n notify.Notice, list []notify.Delivery) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.notices, func(o notify.Notice) bool { return o.ID == n.ID && o.Text == n.Text && o.Time.Equal(n.Time) })
	if i < 0 {
		return nil
	}
	m.notices = slices.Delete(m.notices, i, i+1)
	for _, d := range list {
		if _, ok := m.deliveries[d.ID]; !ok {
			m.deliveries[d.ID] = d
		}
	}
	return nil
}

// Claim implements [notify.Outbox].
func (m *Memory) Claim(_ context.Context, target string, now, lease time.Time, limit int) ([]notify.Delivery, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []notify.Delivery
	for _, d := range m.deliveries {
		if d.Target == target && !d.Dead && !d.Next.After(now) {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(a, b notify.Delivery) int {
		if c := a.Next.Compare(b.Next); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	out = out[:min(limit, len(out))]
	for _, d := range out {
		d.Next = lease
		m.deliveries[d.ID] = d
	}
	return out, nil
}

// Settle implements [notify.Outbox].
func (m *Memory) Settle(_ context.Context, d notify.Delivery, made bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if made {
		delete(m.deliveries, d.ID)
	} else if _, ok := m.deliveries[d.ID]; ok {
		m.deliveries[d.ID] = d
	}
	return nil
}

// Undelivered implements [notify.Outbox].
func (m *Memory) Undelivered(_ context.Context, limit int) (dead []notify.Delivery, waiting int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range m.deliveries {
		if d.Dead {
			dead = append(dead, d)
		} else {
			waiting++
		}
	}
	slices.SortFunc(dead, func(a, b notify.Delivery) int { return a.Created.Compare(b.Created) })
	return dead[:min(limit, len(dead))], waiting, nil
}

// Revive implements [notify.Outbox].
func (m *Memory) Revive(_ context.Context, id string, now time.Time) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, ok := m.deliveries[id]
	if !ok || !d.Dead {
		return false, nil
	}
	d.Dead, d.Attempts, d.Next = false, 0, now
	m.deliveries[id] = d
	return true, nil
}
