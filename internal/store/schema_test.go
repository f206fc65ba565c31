package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// Migrations are numbered from 1 without a gap, use only the types that mean the
// same on both databases, and make exactly the tables that a backup holds.
func TestMigrationsArePortableAndComplete(t *testing.T) {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	table := regexp.MustCompile(`(?m)^CREATE TABLE (\w+) \(`)
	column := regexp.MustCompile(`(?m)^(?:\t|ALTER TABLE \w+ ADD COLUMN )([a-z_]+)\s+(\S+)\s+NOT NULL`)
	lines := regexp.MustCompile(`(?m)^\t[a-z_]+ .*$`)
	var made []string
	for i, name := range files {
		if want := fmt.Sprintf("migrations/%05d_", i+1); !bytes.HasPrefix([]byte(name), []byte(want)) {
			t.Errorf("%s does not begin with %s", name, want)
		}
		text, err := migrations.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range table.FindAllSubmatch(text, -1) {
			made = append(made, string(m[1]))
		}
		columns := column.FindAllSubmatch(text, -1)
		if n := len(lines.FindAll(text, -1)); n > len(columns) {
			t.Errorf("%s: %d lines of columns, %d columns that are NOT NULL", name, n, len(columns))
		}
		for _, m := range columns {
			if !slices.Contains([]string{"BIGINT", "TEXT", "BYTEA"}, string(m[2])) {
				t.Errorf("%s: column %s has type %s", name, m[1], m[2])
			}
		}
	}
	slices.Sort(made)
	if have := slices.Sorted(slices.Values(tables())); !slices.Equal(made, have) {
		t.Errorf("migrations make %v, backups hold %v", made, have)
	}
}

// What PostgreSQL says maps to the same errors as what SQLite says; of SQLite's
// each is provoked in other tests, of PostgreSQL's some cannot be here.
func TestStatesOfPostgresAreToldApart(t *testing.T) {
	for state, want := range map[string]error{
		"53100": ErrFull, "55P03": ErrBusy, "40001": ErrBusy, "25006": ErrReadOnly, "XX001": ErrCorrupt,
		"57P01": ErrUnreachable, "08006": ErrUnreachable, "3D000": ErrUnreachable, "28P01": ErrUnreachable, "53300": ErrUnreachable,
		"42501": ErrSettings, "23505": nil,
	} {
		err := (&Store{kind: onServer}).explain(fmt.Errorf("writing: %w", &pgconn.PgError{Code: state, Message: "from the server"}))
		if want != nil && !errors.Is(err, want) || want == nil && kindOf(err) != nil {
			t.Errorf("%s: %v, want %v", state, err, want)
		}
	}
}

// Ending gives lines of a backup their last line, for tests that change some.
func Ending(lines string, rows int64) string {
	sum := sha256.Sum256([]byte(lines))
	return fmt.Sprintf(`%s{"rows":%d,"sha256":"%s"}`+"\n", lines, rows, hex.EncodeToString(sum[:]))
}
