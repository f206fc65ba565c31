// Package audittest helps to test operations that write to the audit log: a log in
// memory that satisfies the interface of package audit. It holds what was appended
// and nothing else; it does not roll back, so whoever tests transactions with it
// takes a [Memory.Clone] at their beginning.
package audittest

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/leastwise/leastwise/internal/audit"
)

// Memory is a log in memory; the zero value is empty. It is not for concurrent use.
type Memory struct {
	Records     []audit.Record
	Entries     []audit.Entry
	Checkpoints []string
}

var (
	_ audit.Tx           = (*Memory)(nil)
	_ audit.CheckpointTx = (*Memory)(nil)
	_ audit.Source       = (*Memory)(nil)
)

// Clone returns a copy that does not change with m.
func (m *Memory) Clone() *Memory {
	c := &Memory{slices.Clone(m.Records), slices.Clone(m.Entries), slices.Clone(m.Checkpoints)}
	for i, r := range c.Records {
		c.Records[i].Body, c.Records[i].Hashes = slices.Clone(r.Body), slices.Clone(r.Hashes)
	}
	return c
}

// LockAudit implements [audit.Tx].
func (m *Memory) LockAudit(context.Context) (int64, error) { return int64(len(m.Records)), nil }

// ReadAuditHashes implements [audit.Hashes].
func (m *Memory) ReadAuditHashes(_ context.Context, indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		n, level := audit.Locate(index)
		if n >= int64(len(m.Records)) {
			return nil, fmt.Errorf("there is no record %d", n)
		}
		out[i] = m.Records[n].Hashes[level]
	}
	return out, nil
}

// AppendAudit implements [audit.Tx].
func (m *Memory) AppendAudit(_ context.Context, records []audit.Record, entries []audit.Entry) error {
	m.Records = append(m.Records, records...)
	m.Entries = append(m.Entries, entries...)
	return nil
}

// Last returns the newest entry with an action; ok is false if there is none.
func (m *Memory) Last(action string) (e audit.Entry, ok bool) {
	for _, e := range slices.Backward(m.Entries) {
		if e.Action == action {
			return e, true
		}
	}
	return audit.Entry{}, false
}

// LatestCheckpoint implements [audit.CheckpointTx].
func (m *Memory) LatestCheckpoint(context.Context) (string, error) {
	if len(m.Checkpoints) == 0 {
		return "", nil
	}
	return m.Checkpoints[len(m.Checkpoints)-1], nil
}

// SaveCheckpoint implements [audit.CheckpointTx].
func (m *Memory) SaveCheckpoint(_ context.Context, _ audit.Checkpoint, signed string) error {
	m.Checkpoints = append(m.Checkpoints, signed)
	return nil
}

// AuditHead implements [audit.Source].
func (m *Memory) AuditHead(context.Context) (int64, error) { return int64(len(m.Entries)), nil }

// AuditCheckpoints implements [audit.Source].
func (m *Memory) AuditCheckpoints(context.Context) ([]string, error) { return m.Checkpoints, nil }

// AuditRecords implements [audit.Source].
func (m *Memory) AuditRecords(_ context.Context, from int64, limit int) ([]audit.Stored, error) {
	var out []audit.Stored
	for _, r := range m.Records {
		if r.Index >= from && len(out) < limit {
			out = append(out, audit.Stored{Record: r})
		}
	}
	return out, nil
}
