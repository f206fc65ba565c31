package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/leastwise/leastwise/internal/audit"
)

// ErrOccupied reports a database that holds something already: a restore never
// overwrites.
var ErrOccupied = errors.New("the database is not empty")

// generationLeap is by how much a restore moves the generation of every fence on: more than any
// database counted after the backup was taken, so that whatever was in flight then
// is stale.
const generationLeap = 1 << 32

// Restore reads a backup into the database that o names, which must hold nothing
// yet; it is created and its schema is made that of the backup, then today's. The
// rows, and an entry of the audit log that says that they were restored, are
// written in one transaction: by is that entry, whose Digest is set to the hash of
// the backup. The generations of fences move on, so that actions that were planned on the
// original database are stale; those of grants and schedules stay as they were. Sessions and API tokens are not kept: one
// that was revoked after the backup would be good again.
func Restore(ctx context.Context, o Options, r io.Reader, by audit.Entry) (info BackupInfo, err error) {
	in, err := openBackup(r)
	if err != nil {
		return info, err
	}
	defer in.close()
	o.Migrate, o.Exclusive, o.ReadOnly = false, true, false
	s, err := openEmpty(ctx, o, in.head.Schema)
	if err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	info = BackupInfo{Schema: in.head.Schema, Taken: in.head.Taken}
	err = s.Update(ctx, func(ctx context.Context, tx *Tx) error {
		if err := in.load(ctx, tx, &info); err != nil {
			return err
		}
		if _, err := tx.tx.ExecContext(ctx, "UPDATE fences SET generation = generation + ?", int64(generationLeap)); err != nil {
			return err
		}
		if err := tx.endSessions(ctx); err != nil {
			return err
		}
		if info.Entries, err = tx.AuditHead(ctx); err != nil {
			return err
		}
		sum, err := hex.DecodeString(info.SHA256)
		if err != nil {
			return err
		}
		by.Digest = [32]byte(sum)
		_, err = audit.Append(ctx, tx, by)
		return err
	})
	if err != nil {
		return info, fmt.Errorf("restoring into database %s: %w", s, err)
	}
	return info, s.prepare(ctx, Options{Migrate: true})
}

// endSessions deletes what lets somebody in without a password or second factor.
func (tx *Tx) endSessions(ctx context.Context) error {
	there, err := tx.has(ctx, "operator_records")
	if err != nil || !there {
		return err
	}
	_, err = tx.tx.ExecContext(ctx, "DELETE FROM operator_records WHERE kind IN ('session', 'token', 'ceremony')")
	return err
}

// openEmpty opens a database that holds nothing and gives it the schema of that
// version.
func openEmpty(ctx context.Context, o Options, schema int64) (*Store, error) {
	s, err := connect(ctx, o, true)
	if err != nil {
		return nil, err
	}
	err = func() error {
		current, target, err := s.versions(ctx)
		switch {
		case err != nil:
			return err
		case schema > target:
			return fmt.Errorf("%w: the backup's schema is version %d, this program knows %d", ErrNewer, schema, target)
		case current > schema:
			return fmt.Errorf("%w: its schema is version %d, the backup's %d", ErrOccupied, current, schema)
		}
		if err := s.checkEmpty(ctx); err != nil {
			return err
		}
		p, err := s.migrator()
		if err != nil {
			return err
		}
		_, err = p.UpTo(ctx, schema)
		return err
	}()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("preparing database %s: %w", s, s.explain(err)), s.Close())
	}
	return s, nil
}

// backupReader reads the lines of a backup.
type backupReader struct {
	zstd  *zstd.Decoder
	lines *bufio.Scanner
	line  int
	raw   []byte
	sum   hash.Hash
	head  backupHead
	ended bool
}

func openBackup(r io.Reader) (*backupReader, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBackup, err)
	}
	b := &backupReader{zstd: z, lines: bufio.NewScanner(z), sum: sha256.New()}
	b.lines.Buffer(nil, maxBackupLine)
	if err := b.next(&b.head); err != nil || b.head.Version < 1 || b.head.Schema < 1 {
		b.close()
		return nil, fmt.Errorf("%w: its first line does not say so", ErrBackup)
	}
	if b.head.Version != backupVersion {
		b.close()
		return nil, fmt.Errorf("%w: the backup is of version %d, this program knows %d", ErrNewer, b.head.Version, backupVersion)
	}
	return b, nil
}

func (b *backupReader) close() { b.zstd.Close() }

// scan reads a line; it is part of the hash as soon as the next one is read.
func (b *backupReader) scan() error {
	if b.raw != nil {
		b.sum.Write(b.raw)
		b.sum.Write([]byte{'\n'})
	}
	if !b.lines.Scan() {
		if err := b.lines.Err(); err != nil {
			return fmt.Errorf("%w: after line %d: %w", ErrBackup, b.line, err)
		}
		return fmt.Errorf("%w: it ends after line %d", ErrBackup, b.line)
	}
	b.line++
	b.raw = b.lines.Bytes()
	return nil
}

// next reads a line into v.
func (b *backupReader) next(v any) error {
	if err := b.scan(); err != nil {
		return err
	}
	return b.parse(v)
}

func (b *backupReader) parse(v any) error {
	dec := json.NewDecoder(bytes.NewReader(b.raw))
	dec.UseNumber()
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("%w: line %d: %w", ErrBackup, b.line, err)
	}
	return nil
}

// load inserts all rows and checks the end of the backup.
func (b *backupReader) load(ctx context.Context, tx *Tx, info *BackupInfo) error {
	for _, t := range slices.Backward(tables()) {
		if ok, err := tx.has(ctx, t); err != nil || !ok {
			if err != nil {
				return err
			}
			continue
		}
		if _, err := tx.SQL().ExecContext(ctx, "DELETE FROM "+t); err != nil { // what migrations put in
			return err
		}
	}
	if err := b.scan(); err != nil {
		return err
	}
	for !b.ended {
		var t backupTable
		if err := b.parse(&t); err != nil {
			return err
		}
		rows, err := b.rows(ctx, tx, t)
		if err != nil {
			return err
		}
		info.Rows += rows
	}
	var end backupEnd
	if err := b.parse(&end); err != nil {
		return err
	}
	info.SHA256 = hex.EncodeToString(b.sum.Sum(nil))
	if end.Rows != info.Rows || end.SHA256 != info.SHA256 {
		return fmt.Errorf("%w: line %d: it has %d rows with hash %s, and should have %d with %s", ErrBackup, b.line, info.Rows, info.SHA256, end.Rows, end.SHA256)
	}
	if b.lines.Scan() || b.lines.Err() != nil {
		return fmt.Errorf("%w: something follows its end", ErrBackup)
	}
	return nil
}

// has reports whether the schema has a table: one of an older version may not.
func (tx *Tx) has(ctx context.Context, table string) (bool, error) {
	query := "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
	if tx.store.kind == onServer {
		query = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = ?"
	}
	var n int
	err := tx.tx.NewRaw(query, table).Scan(ctx, &n)
	return n > 0, err
}

// rows inserts the rows of a table; afterwards the current line is the one after.
func (b *backupReader) rows(ctx context.Context, tx *Tx, t backupTable) (n int64, err error) {
	insert, err := b.prepare(ctx, tx, t)
	if err != nil {
		return 0, err
	}
	defer func() { _ = insert.Close() }()
	for ; ; n++ {
		if err := b.scan(); err != nil {
			return n, err
		}
		if b.raw[0] != '[' {
			b.ended = bytes.HasPrefix(b.raw, []byte(`{"rows"`))
			return n, nil
		}
		var cells []json.RawMessage
		if err := b.parse(&cells); err != nil {
			return n, err
		}
		values := make([]any, len(cells))
		for i, c := range cells {
			if values[i], err = stored(c); err != nil {
				return n, fmt.Errorf("%w: line %d, value %d: %w", ErrBackup, b.line, i+1, err)
			}
		}
		if len(values) != len(t.Columns) {
			return n, fmt.Errorf("%w: line %d: %d values in %d columns", ErrBackup, b.line, len(values), len(t.Columns))
		}
		if _, err := insert.ExecContext(ctx, values...); err != nil {
			return n, fmt.Errorf("line %d, table %s: %w", b.line, t.Table, tx.store.explain(err))
		}
	}
}

// prepare makes the statement that inserts a row, if table and columns are ones
// that the schema has.
func (b *backupReader) prepare(ctx context.Context, tx *Tx, t backupTable) (*sql.Stmt, error) {
	if !slices.Contains(tables(), t.Table) {
		return nil, fmt.Errorf("%w: line %d: there is no table %.40q", ErrBackup, b.line, t.Table)
	}
	have, err := tx.columns(ctx, t.Table)
	if err != nil {
		return nil, err
	}
	marks := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		if !slices.Contains(have, c) || slices.Contains(t.Columns[:i], c) {
			return nil, fmt.Errorf("%w: line %d: table %s has no column %.40q, or it is there twice", ErrBackup, b.line, t.Table, c)
		}
		marks[i] = "?"
		if tx.store.kind == onServer {
			marks[i] = fmt.Sprintf("$%d", i+1)
		}
	}
	return tx.SQL().PrepareContext(ctx, "INSERT INTO "+t.Table+" ("+strings.Join(t.Columns, ", ")+") VALUES ("+strings.Join(marks, ", ")+")")
}

// stored returns a value as the database takes it.
func stored(cell json.RawMessage) (any, error) {
	switch {
	case len(cell) > 0 && cell[0] == '"':
		var s string
		err := json.Unmarshal(cell, &s)
		return s, err
	case len(cell) > 0 && cell[0] == '{':
		var b backupBytes
		if err := json.Unmarshal(cell, &b); err != nil {
			return nil, err
		}
		if b.Bytes == nil {
			b.Bytes = []byte{}
		}
		return b.Bytes, nil
	}
	return strconv.ParseInt(string(cell), 10, 64)
}
