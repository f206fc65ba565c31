// Package storetest gives tests real databases: an SQLite file, and a database on a
// PostgreSQL server of the tests' own, from Debian's package, which listens on a
// Unix socket in a temporary folder and on no network, and runs as an unprivileged
// user.
//
// A package whose tests use it has
//
//	func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }
//
// which stops the server in the end. Where PostgreSQL is not installed its half of
// a test is skipped and says so, or fails under LEASTWISE_REQUIRE_LAB=1: see
// package need.
package storetest

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/lab/need"
)

// A DB is an empty database for one test.
type DB struct {
	Name   string // as in store.Options: a path or a URL
	driver string
}

// IsSQLite reports which of the two it is.
func (d DB) IsSQLite() bool { return d.driver == "sqlite" }

// Each runs a test on both databases.
func Each(t *testing.T, test func(*testing.T, DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { test(t, Postgres(t)) })
}

// Stores runs a test with an open, migrated store on both databases.
func Stores(t *testing.T, test func(*testing.T, *store.Store)) {
	t.Helper()
	Each(t, func(t *testing.T, d DB) { test(t, d.Open(t)) })
}

// SQLite returns the name of a file that is not there yet.
func SQLite(t testing.TB) DB {
	t.Helper()
	return SQLiteAt(t.TempDir())
}

// SQLiteAt is SQLite in a given folder.
func SQLiteAt(dir string) DB { return DB{filepath.Join(dir, "leastwise.db"), "sqlite"} }

// Postgres returns a new database, which is dropped with the test.
func Postgres(t testing.TB) DB {
	t.Helper()
	s, err := theServer.start()
	if err != nil {
		need.Missing(t, err)
	}
	name, err := s.create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.drop(name); err != nil {
			t.Error(err)
		}
	})
	return DB{s.url(name), "pgx"}
}

// Open returns the database as a store that is migrated, and closed with the test.
func (d DB) Open(t testing.TB) *store.Store {
	t.Helper()
	return d.OpenWith(t, store.Options{Migrate: true})
}

// OpenWith is Open with other options; Database is set.
func (d DB) OpenWith(t testing.TB, o store.Options) *store.Store {
	t.Helper()
	o.Database = d.Name
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Exec changes the database behind the store's back, as whoever can write to it
// might. It must change at least one row unless the statement is about the schema.
func (d DB) Exec(t testing.TB, query string) {
	t.Helper()
	db, err := sql.Open(d.driver, d.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(t.Context(), query); err != nil {
		t.Fatal(fmt.Errorf("%s: %w", query, err))
	}
}
