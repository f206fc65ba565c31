package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
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

var (
	_ audit.CheckpointTx = (*Tx)(nil)
	_ audit.Source       = (*Tx)(nil)
)

// LatestCheckpoint implements [audit.CheckpointTx].
func (tx *Tx) LatestCheckpoint(ctx context.Context) (string, error) {
	var notes []string
	err := tx.tx.NewRaw("SELECT note FROM audit_checkpoints ORDER BY size DESC LIMIT 1").Scan(ctx, &notes)
	return strings.Join(notes, ""), tx.store.explain(err)
}

// SaveCheckpoint implements [audit.CheckpointTx].
func (tx *Tx) SaveCheckpoint(ctx context.Context, c audit.Checkpoint, signed string) error {
	_, err := tx.tx.NewRaw("INSERT INTO audit_checkpoints (size, at, note) VALUES (?, ?, ?)", c.Size, micros(c.Time), signed).Exec(ctx)
	return tx.store.explain(err)
}

// AuditHead implements [audit.Source].
func (tx *Tx) AuditHead(ctx context.Context) (int64, error) {
	var size int64
	err := tx.tx.NewRaw("SELECT size FROM audit_head WHERE id = 1").Scan(ctx, &size)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("%w: the audit log has no head", ErrCorrupt)
	}
	return size, tx.store.explain(err)
}

// AuditCheckpoints implements [audit.Source].
func (tx *Tx) AuditCheckpoints(ctx context.Context) ([]string, error) {
	var notes []string
	err := tx.tx.NewRaw("SELECT note FROM audit_checkpoints ORDER BY size").Scan(ctx, &notes)
	return notes, tx.store.explain(err)
}

// AuditRecords implements [audit.Source].
func (tx *Tx) AuditRecords(ctx context.Context, from int64, limit int) ([]audit.Stored, error) {
	var rows []auditRow
	err := tx.tx.NewSelect().Model(&rows).Where("?TableAlias.id >= ?", from).OrderExpr("?TableAlias.id").Limit(int64(limit)).Scan(ctx)
	if err != nil {
		return nil, tx.store.explain(err)
	}
	out := make([]audit.Stored, len(rows))
	for i, r := range rows {
		out[i] = audit.Stored{Record: r.auditRecord(), Differ: r.differ()}
	}
	return out, nil
}

// auditRecord returns what the log defines of a row. Bytes behind the last whole
// hash make one more, which verification reports.
func (r *auditRow) auditRecord() audit.Record {
	hashes := make([]tlog.Hash, (len(r.Hashes)+tlog.HashSize-1)/tlog.HashSize)
	for i := range hashes {
		copy(hashes[i][:], r.Hashes[i*tlog.HashSize:])
	}
	return audit.Record{Index: r.ID, Body: r.Body, Hashes: hashes}
}

// differ says which columns are not what the body says; nothing of a body that
// cannot be read, which is reported as that.
func (r *auditRow) differ() string {
	e, err := audit.Decode(r.Body)
	if err != nil {
		return ""
	}
	want := newAuditRow(audit.Record{}, e)
	var names []string
	for _, c := range []struct {
		name string
		same bool
	}{
		{"at", r.At == want.At},
		{"phase", r.Phase == want.Phase},
		{"action", r.Action == want.Action},
		{"actor", r.Actor == want.Actor},
		{"target", r.Target == want.Target},
		{"subject", r.Subject == want.Subject},
		{"record", r.Record == want.Record},
		{"request", r.Request == want.Request},
		{"answers", r.Answers == want.Answers},
	} {
		if !c.same {
			names = append(names, c.name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "not what the entry says: column " + strings.Join(names, ", ")
}

// An AuditFilter says which entries to show; zero fields do not restrict.
type AuditFilter struct {
	Since, Before time.Time
	Action        string // the action, or all that begin with it and a dot
	Actor         string
	Object        secdesc.GUID // target or subject
	Record        string
	Request       string
	Phase         audit.Phase
	Open          bool  // only intents without an outcome
	Below         int64 // only entries with a smaller index; 0: all
	Limit         int   // of the newest; 0 is all
}

// AuditEntries returns the entries that a filter lets through, oldest first. An
// entry of a newer version has its Index and Time only.
func (tx *Tx) AuditEntries(ctx context.Context, f AuditFilter) ([]audit.Entry, error) {
	var rows []auditRow
	q := tx.tx.NewSelect().Model(&rows).OrderExpr("?TableAlias.id DESC")
	f.restrict(q)
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("reading audit entries: %w", tx.store.explain(err))
	}
	slices.Reverse(rows)
	out := make([]audit.Entry, len(rows))
	for i, r := range rows {
		e, err := audit.Decode(r.Body)
		switch {
		case errors.Is(err, audit.ErrVersion):
			e = audit.Entry{Index: r.ID, Time: time.UnixMicro(r.At).UTC()}
		case err != nil:
			return nil, fmt.Errorf("audit entry %d: %w: %w; verify the log", r.ID, ErrCorrupt, err)
		}
		out[i] = e
	}
	return out, nil
}

func (f *AuditFilter) restrict(q *bun.SelectQuery) {
	if !f.Since.IsZero() {
		q.Where("?TableAlias.at >= ?", micros(f.Since))
	}
	if !f.Before.IsZero() {
		q.Where("?TableAlias.at < ?", micros(f.Before))
	}
	if f.Action != "" {
		q.Where("(?TableAlias.action = ? OR substr(?TableAlias.action, 1, ?) = ?)", f.Action, len(f.Action)+1, f.Action+".")
	}
	if !f.Object.IsZero() {
		q.Where("(?TableAlias.target = ? OR ?TableAlias.subject = ?)", guidText(f.Object), guidText(f.Object))
	}
	for column, value := range map[string]string{"actor": f.Actor, "record": f.Record, "request": f.Request} {
		if value != "" {
			q.Where("?TableAlias.? = ?", bun.Ident(column), value)
		}
	}
	if f.Phase != 0 {
		q.Where("?TableAlias.phase = ?", f.Phase.String())
	}
	if f.Open {
		q.Where("?TableAlias.phase = ? AND NOT EXISTS (SELECT 1 FROM audit_entries AS o WHERE o.answers = ?TableAlias.id)", audit.Intent.String())
	}
	if f.Below > 0 {
		q.Where("?TableAlias.id < ?", f.Below)
	}
	if f.Limit > 0 {
		q.Limit(int64(f.Limit))
	}
}

// AuditRecord returns one record of the log, [ErrNotFound] if there is none.
func (tx *Tx) AuditRecord(ctx context.Context, index int64) (audit.Record, error) {
	rows, err := tx.AuditRecords(ctx, index, 1)
	if err != nil {
		return audit.Record{}, err
	}
	if len(rows) == 0 || rows[0].Index != index {
		return audit.Record{}, fmt.Errorf("audit entry %d: %w", index, ErrNotFound)
	}
	return rows[0].Record, nil
}
