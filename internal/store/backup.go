package store

import (
	"bufio"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
)

// ErrBackup reports a file that is not a backup, or one that is damaged or cut
// short; the text says where. Nothing of it is kept.
var ErrBackup = errors.New("not a sound backup")

const (
	backupVersion = 1
	maxBackupLine = 64 << 20 // bytes of one row
)

// tables are all tables of leastwise, those that others refer to first. The version
// table is not among them: a backup says its version itself.
func tables() []string {
	return []string{"audit_entries", "audit_head", "audit_checkpoints", "fences", "runs", "run_populations", "run_findings", "schedules", "grants", "grant_holdings", "grant_notices", "journal_entries", "deliveries", "replies", "operator_records"}
}

// A backupHead is the first line of a backup.
type backupHead struct {
	Version int       `json:"leastwise-backup"`
	Schema  int64     `json:"schema"` // version of the schema
	Taken   time.Time `json:"taken"`
}

// A backupTable is the line before the rows of a table.
type backupTable struct {
	Table   string   `json:"table"`
	Columns []string `json:"columns"`
}

// A backupEnd is the last line.
type backupEnd struct {
	Rows   int64  `json:"rows"`
	SHA256 string `json:"sha256"` // of all lines before
}

// A backupBytes is a value of type BYTEA; integers and text stand for themselves.
type backupBytes struct {
	Bytes []byte `json:"b"`
}

// A BackupInfo says what a backup holds.
type BackupInfo struct {
	Schema  int64     `json:"schema"`
	Taken   time.Time `json:"taken"`
	Rows    int64     `json:"rows"`
	Entries int64     `json:"audit_entries"`
	SHA256  string    `json:"sha256"` // of the backup's content, which its last line repeats
}

// Backup writes everything in the database, as it is at one moment, in a form that
// [Store.Restore] reads into either database. Others go on reading and writing
// meanwhile. now is when it is taken.
//
// The form is lines of JSON inside one zstd frame: what it is; for each table its
// name and columns, then its rows; and at the end how many rows and the hash of all
// lines. Tables of libraries, job queues for example, are not in it.
func (s *Store) Backup(ctx context.Context, w io.Writer, now time.Time) (info BackupInfo, err error) {
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return info, err
	}
	b := &backupWriter{w: bufio.NewWriter(z), sum: sha256.New()}
	err = s.View(ctx, func(ctx context.Context, tx *Tx) error {
		var version int64
		if err := tx.tx.NewRaw("SELECT MAX(version_id) FROM "+versionTable).Scan(ctx, &version); err != nil {
			return err
		}
		if info.Entries, err = tx.AuditHead(ctx); err != nil {
			return err
		}
		info.Schema, info.Taken = version, now.UTC().Truncate(time.Microsecond)
		if err := b.line(backupHead{backupVersion, version, info.Taken}); err != nil {
			return err
		}
		for _, t := range tables() {
			if err := b.table(ctx, tx, t); err != nil {
				return fmt.Errorf("table %s: %w", t, err)
			}
		}
		return nil
	})
	if err != nil {
		return info, fmt.Errorf("backing up database %s: %w", s, err)
	}
	info.Rows, info.SHA256 = b.rows, hex.EncodeToString(b.sum.Sum(nil))
	if err := errors.Join(b.line(backupEnd{info.Rows, info.SHA256}), b.w.Flush(), z.Close()); err != nil {
		return info, fmt.Errorf("writing the backup: %w", err)
	}
	return info, nil
}

type backupWriter struct {
	w    *bufio.Writer
	sum  hash.Hash
	rows int64
}

func (b *backupWriter) line(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	raw = append(raw, '\n')
	b.sum.Write(raw)
	_, err = b.w.Write(raw)
	return err
}

// table writes a table with its rows in the order of its primary key, so that equal
// content gives equal bytes.
func (b *backupWriter) table(ctx context.Context, tx *Tx, name string) error {
	columns, err := tx.columns(ctx, name)
	if err != nil {
		return err
	}
	if err := b.line(backupTable{name, columns}); err != nil {
		return err
	}
	list := strings.Join(columns, ", ")
	rows, err := tx.SQL().QueryContext(ctx, "SELECT "+list+" FROM "+name+" ORDER BY "+list)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // what matters is rows.Err
	values, places := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		places[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(places...); err != nil {
			return err
		}
		for i, v := range values {
			if values[i], err = portable(v); err != nil {
				return fmt.Errorf("column %s: %w", columns[i], err)
			}
		}
		if err := b.line(values); err != nil {
			return err
		}
		b.rows++
	}
	return rows.Err()
}

// portable returns a value as it is written.
func portable(v any) (any, error) {
	switch v := v.(type) {
	case int64:
		return v, nil
	case string:
		if !utf8.ValidString(v) {
			return nil, fmt.Errorf("%w: text that is not UTF-8", ErrCorrupt)
		}
		return v, nil
	case []byte:
		return backupBytes{v}, nil
	}
	return nil, fmt.Errorf("%w: a value of type %T", ErrCorrupt, v)
}

// columns returns the names of a table's columns in their order.
func (tx *Tx) columns(ctx context.Context, table string) ([]string, error) {
	rows, err := tx.SQL().QueryContext(ctx, "SELECT * FROM "+table+" WHERE 1 = 0")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // what matters is rows.Err
	names, err := rows.Columns()
	return names, errors.Join(err, rows.Err())
}

// checkEmpty returns ErrOccupied if the database holds anything that a restore would
// destroy.
func (s *Store) checkEmpty(ctx context.Context) error {
	have, err := s.tables(ctx)
	if err != nil {
		return err
	}
	for _, t := range tables() {
		if t == "audit_head" || !have[t] {
			continue
		}
		var n int64
		err := s.read.NewRaw("SELECT 1 FROM "+t+" LIMIT 1").Scan(ctx, &n)
		if err == nil {
			return ErrOccupied
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
	}
	return nil
}
