package store

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/leastwise/leastwise/internal/audit"
	"github.com/leastwise/leastwise/internal/secdesc"
)

var _ audit.Tx = (*Tx)(nil)

// An auditRow is a row of audit_entries.
type auditRow struct {
	bun.BaseModel `bun:"table:audit_entries,alias:e"`

	ID      int64 `bun:",pk"`
	At      int64
	Phase   string
	Action  string
	Actor   string
	Target  string
	Subject string
	Record  string
	Request string
	Answers int64
	Body    []byte
	Hashes  []byte
}

// micros is how times are stored.
func micros(t time.Time) int64 { return t.UnixMicro() }

// guidText is how GUIDs are stored: empty for none.
func guidText(g secdesc.GUID) string {
	if g.IsZero() {
		return ""
	}
	return g.String()
}

// LockAudit implements [audit.Tx].
func (tx *Tx) LockAudit(ctx context.Context) (int64, error) {
	var size int64
	err := tx.tx.NewRaw("UPDATE audit_head SET size = size WHERE id = 1 RETURNING size").Scan(ctx, &size)
	return size, tx.store.explain(err)
}

// ReadAuditHashes implements [audit.Hashes].
func (tx *Tx) ReadAuditHashes(ctx context.Context, indexes []int64) ([]tlog.Hash, error) {
	ids := make([]int64, len(indexes))
	for i, index := range indexes {
		ids[i], _ = audit.Locate(index)
	}
	var rows []auditRow
	if err := tx.tx.NewSelect().Model(&rows).Column("id", "hashes").Where("?TableAlias.id IN (?)", bun.List(ids)).Scan(ctx); err != nil {
		return nil, tx.store.explain(err)
	}
	stored := make(map[int64][]byte, len(rows))
	for _, r := range rows {
		stored[r.ID] = r.Hashes
	}
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		id, level := audit.Locate(index)
		h := stored[id]
		if len(h) < (level+1)*tlog.HashSize {
			return nil, fmt.Errorf("%w: audit entry %d has no hash of level %d; verify the log", ErrCorrupt, id, level)
		}
		copy(out[i][:], h[level*tlog.HashSize:])
	}
	return out, nil
}

// AppendAudit implements [audit.Tx].
func (tx *Tx) AppendAudit(ctx context.Context, records []audit.Record, entries []audit.Entry) error {
	rows := make([]auditRow, len(records))
	for i, r := range records {
		rows[i] = newAuditRow(r, entries[i])
	}
	if _, err := tx.tx.NewInsert().Model(&rows).Exec(ctx); err != nil {
		return tx.store.explain(err)
	}
	last := rows[len(rows)-1].ID
	_, err := tx.tx.NewRaw("UPDATE audit_head SET size = ? WHERE id = 1", last+1).Exec(ctx)
	return tx.store.explain(err)
}

func newAuditRow(r audit.Record, e audit.Entry) auditRow {
	hashes := make([]byte, 0, len(r.Hashes)*tlog.HashSize)
	for _, h := range r.Hashes {
		hashes = append(hashes, h[:]...)
	}
	return auditRow{
		ID: r.Index, At: micros(e.Time), Phase: e.Phase.String(), Action: e.Action, Actor: e.Actor.Name,
		Target: guidText(e.Target), Subject: guidText(e.Subject), Record: e.Record, Request: e.Request, Answers: e.Answers,
		Body: r.Body, Hashes: hashes,
	}
}
