package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
)

// Options say which database to open, and for what.
type Options struct {
	// Database is the path of an SQLite file, or a URL of PostgreSQL
	// (postgres://user@host/name?sslmode=verify-full) without a password.
	Database string
	// Password of PostgreSQL; if empty, PGPASSWORD and the passfile count.
	Password string
	// Migrate creates what is missing and brings an older database up to date.
	// Without it a missing or older database is refused.
	Migrate bool
	// ReadOnly opens a database for View only.
	ReadOnly bool
	// Exclusive makes this process the owner of an SQLite file: the one that acts
	// on its content. A second owner is refused with ErrInUse until this one has
	// closed the store or died. Nodes on one PostgreSQL share it instead, fenced
	// by generations, and it is ignored there.
	Exclusive bool
	// Wait is how long a transaction waits for its turn, 10 s if zero.
	Wait time.Duration
}

const (
	defaultWait = 10 * time.Second
	readers     = 4 // connections of the read pool on SQLite
	pgConns     = 16
)

// A Store is an open database. It is safe for concurrent use.
type Store struct {
	kind          kind
	write, read   *bun.DB
	owner         *sql.DB // with ownerTx holds the lock of Exclusive; nil without
	ownerTx       *sql.Tx
	path, display string // of SQLite; what errors call the database
}

// A kind is one of the two databases.
type kind uint8

const (
	inFile   kind = iota // SQLite
	onServer             // PostgreSQL
)

// Open opens a database. The errors that callers may test for are those of this
// package.
func Open(ctx context.Context, o Options) (*Store, error) {
	s, err := connect(ctx, o, o.Migrate)
	if err != nil {
		return nil, err
	}
	if err := s.prepare(ctx, o); err != nil {
		return nil, errors.Join(s.openError(err), s.Close())
	}
	return s, nil
}

// connect opens a database whatever its schema is; an SQLite file is created if
// that is asked for.
func connect(ctx context.Context, o Options, create bool) (*Store, error) {
	if o.Wait == 0 {
		o.Wait = defaultWait
	}
	s := &Store{}
	open := s.openSQLite
	if isPostgres(o.Database) {
		open = s.openPostgres
	}
	if err := open(ctx, o, create); err != nil {
		return nil, errors.Join(s.openError(err), s.Close())
	}
	return s, nil
}

func (s *Store) openError(err error) error {
	return fmt.Errorf("opening database %s: %w", s.display, s.explain(err))
}

func isPostgres(name string) bool {
	return strings.HasPrefix(name, "postgres://") || strings.HasPrefix(name, "postgresql://")
}

// openSQLite makes one connection that writes and a pool that reads.
func (s *Store) openSQLite(ctx context.Context, o Options, create bool) error {
	name := strings.TrimPrefix(o.Database, "sqlite:")
	s.kind, s.display = inFile, name
	if name == "" {
		return fmt.Errorf("%w: no database is named", ErrMissing)
	}
	path, err := filepath.Abs(name)
	if err != nil {
		return err
	}
	s.path = path
	if err := makeFile(path, create); err != nil {
		return err
	}
	if o.Exclusive {
		if err := s.own(ctx); err != nil {
			return err
		}
	}
	open := func(conns int, lock string, pragmas ...string) (*bun.DB, error) {
		db, err := sql.Open("sqlite", sqliteDSN(path, o, lock, pragmas))
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(conns)
		db.SetMaxIdleConns(conns)
		return bun.NewDB(db, sqlitedialect.New()), nil
	}
	if s.read, err = open(readers, "deferred", "query_only(1)"); err != nil || o.ReadOnly {
		return err
	}
	s.write, err = open(1, "immediate", "journal_mode(WAL)", "synchronous(FULL)")
	return err
}

// sqliteDSN has the settings of every connection: SQLite keeps most of them per
// connection, so they belong here and nowhere else.
func sqliteDSN(path string, o Options, lock string, pragmas []string) string {
	q := url.Values{"_txlock": {lock}, "mode": {"rw"}}
	if o.ReadOnly {
		q.Set("mode", "ro")
	}
	pragmas = append(pragmas, fmt.Sprintf("busy_timeout(%d)", o.Wait.Milliseconds()), "foreign_keys(1)", "trusted_schema(0)", "cell_size_check(1)")
	for _, p := range pragmas {
		q.Add("_pragma", p)
	}
	return fileURL(path) + "?" + q.Encode()
}

func fileURL(path string) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/…
	}
	return (&url.URL{Scheme: "file", Path: path}).String()
}

// makeFile makes sure that there is a file, readable by its owner only.
func makeFile(path string, create bool) error {
	fi, err := os.Stat(path)
	switch {
	case err == nil && fi.IsDir():
		return fmt.Errorf("%w: it is a folder", ErrForeign)
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case !create:
		return ErrMissing
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil // somebody else was faster
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// own takes the lock that makes this process the owner: an exclusive transaction
// on a second, empty database beside the first. The operating system ends it with
// the process, however that ends.
func (s *Store) own(ctx context.Context) error {
	db, err := sql.Open("sqlite", fileURL(s.path+"-owner")+"?_pragma=busy_timeout(0)&_txlock=exclusive")
	if err != nil {
		return err
	}
	s.owner = db
	db.SetMaxOpenConns(1)
	s.ownerTx, err = db.BeginTx(context.WithoutCancel(ctx), nil) // lives as long as the store
	if err != nil {
		if errors.Is(s.explain(err), ErrBusy) {
			return ErrInUse
		}
		return fmt.Errorf("becoming its owner: %w", err)
	}
	return nil
}

// openPostgres makes one pool for everything.
func (s *Store) openPostgres(ctx context.Context, o Options, _ bool) error {
	s.kind, s.display = onServer, "of PostgreSQL"
	u, err := url.Parse(o.Database)
	if err != nil {
		return fmt.Errorf("%w: not a URL", ErrSettings) // the text might hold a password
	}
	s.display = (&url.URL{Scheme: u.Scheme, User: url.User(u.User.Username()), Host: u.Host, Path: u.Path}).String()
	if _, has := u.User.Password(); has || u.Query().Has("password") {
		return fmt.Errorf("%w: a password has no place in the URL; use the passfile (PGPASSFILE), PGPASSWORD or a password file", ErrSettings)
	}
	cfg, err := pgx.ParseConfig(o.Database)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSettings, err)
	}
	if o.Password != "" {
		cfg.Password = o.Password
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = o.Wait
	}
	for name, value := range map[string]string{
		"application_name": "leastwise", "timezone": "UTC", "lock_timeout": millis(o.Wait),
		"idle_in_transaction_session_timeout": millis(6 * o.Wait),
	} {
		if _, set := cfg.RuntimeParams[name]; !set {
			cfg.RuntimeParams[name] = value
		}
	}
	db := stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(pgConns)
	db.SetMaxIdleConns(pgConns)
	s.read = bun.NewDB(db, pgdialect.New())
	if !o.ReadOnly {
		s.write = s.read
	}
	return db.PingContext(ctx)
}

func millis(d time.Duration) string { return fmt.Sprint(d.Milliseconds()) }

// Close ends the store. Transactions that are still running lose their connection.
func (s *Store) Close() error {
	var errs []error
	if s.write != nil && s.write != s.read {
		errs = append(errs, s.write.Close())
	}
	if s.read != nil {
		errs = append(errs, s.read.Close())
	}
	if s.owner != nil {
		if s.ownerTx != nil {
			errs = append(errs, s.ownerTx.Rollback()) // else Close leaves its connection
		}
		errs = append(errs, s.owner.Close())
	}
	return errors.Join(errs...)
}

// String names the database, without a password.
func (s *Store) String() string { return s.display }
