package store

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite" // its init registers the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Errors of the database and its surroundings.
var (
	ErrMissing       = errors.New("there is no database")
	ErrForeign       = errors.New("not a database of leastwise")
	ErrOlder         = errors.New("the database is of an older version of leastwise")
	ErrNewer         = errors.New("the database is of a newer version of leastwise")
	ErrInUse         = errors.New("another process owns the database")
	ErrSettings      = errors.New("the database's settings")
	ErrFull          = errors.New("no space is left for the database")
	ErrBusy          = errors.New("the database is locked by somebody else")
	ErrReadOnly      = errors.New("the database cannot be written")
	ErrCorrupt       = errors.New("the database is damaged")
	ErrUnreachable   = errors.New("the database cannot be reached")
	ErrCommitUnknown = errors.New("the connection was lost while a transaction ended, so that it may or may not have been kept")
)

// Errors of what is stored.
var (
	ErrNotFound = errors.New("not found")
	ErrStale    = errors.New("superseded by a later generation")
	ErrManaged  = errors.New("managed by another part of leastwise")
	ErrTooMany  = errors.New("too many are kept of this account")
)

// A cause is an error of the environment with what the driver said about it.
type cause struct {
	kind error
	err  error
}

func (c *cause) Error() string   { return fmt.Sprintf("%v (%v)", c.kind, c.err) }
func (c *cause) Unwrap() []error { return []error{c.kind, c.err} }

// explain gives an error of a driver the kind that callers test for.
func (s *Store) explain(err error) error {
	if err == nil {
		return nil
	}
	var done *cause
	if errors.As(err, &done) {
		return err
	}
	if k := kindOf(err); k != nil {
		return &cause{k, err}
	}
	return err
}

func kindOf(err error) error {
	var (
		lite *sqlite.Error
		pg   *pgconn.PgError
		conn *pgconn.ConnectError
		op   *net.OpError
	)
	switch {
	case errors.As(err, &lite):
		return sqliteKind(lite.Code())
	case errors.As(err, &pg):
		return postgresKind(pg.Code)
	case errors.As(err, &conn), errors.As(err, &op), errors.Is(err, driver.ErrBadConn):
		return ErrUnreachable
	case errors.Is(err, fs.ErrPermission):
		return ErrReadOnly
	}
	return nil
}

// sqliteKind maps result codes; the low byte is the primary code.
func sqliteKind(code int) error {
	switch code & 0xFF {
	case sqlite3.SQLITE_FULL:
		return ErrFull
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return ErrBusy
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return ErrReadOnly
	case sqlite3.SQLITE_CORRUPT:
		return ErrCorrupt
	case sqlite3.SQLITE_NOTADB:
		return ErrForeign
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR:
		return ErrUnreachable
	}
	return nil
}

// postgresKind maps SQLSTATE classes and codes.
func postgresKind(state string) error {
	switch {
	case state == "53100":
		return ErrFull
	case state == "55P03", strings.HasPrefix(state, "40"):
		return ErrBusy
	case state == "25006":
		return ErrReadOnly
	case state == "42501":
		return ErrSettings
	case strings.HasPrefix(state, "XX"):
		return ErrCorrupt
	case strings.HasPrefix(state, "08"), strings.HasPrefix(state, "57P"), strings.HasPrefix(state, "28"), state == "3D000", state == "53300":
		return ErrUnreachable
	}
	return nil
}
