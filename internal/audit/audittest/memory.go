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
	Records []audit.Record
	Entries []audit.Entry
}

var _ audit.Tx = (*Memory)(nil)

// Clone returns a copy that does not change with m.
func (m *Memory) Clone() *Memory {
	return &Memory{slices.Clone(m.Records), slices.Clone(m.Entries)}
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
