package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// migrations are numbered files, applied in order, one transaction each, in SQL
// that both databases understand: BIGINT, TEXT and BYTEA are the types. Columns
// are only ever added; a file that was released never changes.
//
//go:embed migrations/*.sql
var migrations embed.FS

// prepare brings the schema up to date, or says why the database cannot be used
// as it is.
func (s *Store) prepare(ctx context.Context, o Options) error {
	current, target, err := s.versions(ctx)
	switch {
	case err != nil:
		return err
	case current > target:
		return fmt.Errorf("%w: its schema is version %d, this program knows %d", ErrNewer, current, target)
	case current == target:
		return nil
	case !o.Migrate || o.ReadOnly:
		if current == 0 {
			return ErrMissing
		}
		return fmt.Errorf("%w: its schema is version %d, this program needs %d", ErrOlder, current, target)
	}
	p, err := s.migrator()
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("bringing the schema up to date: %w", err)
	}
	return nil
}

// versions returns the schema's version, 0 if there is none, and the newest one
// that this program knows. It changes nothing.
func (s *Store) versions(ctx context.Context) (current, target int64, err error) {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return 0, 0, err
	}
	target = int64(len(files)) // numbered from 1 without gaps, see the test
	tables, err := s.tables(ctx)
	if err != nil {
		return 0, 0, err
	}
	if !tables[versionTable] {
		if s.kind == inFile && len(tables) > 0 {
			return 0, 0, fmt.Errorf("%w: it holds tables of something else", ErrForeign)
		}
		return 0, target, nil
	}
	err = s.read.NewRaw("SELECT COALESCE(MAX(version_id), 0) FROM "+versionTable).Scan(ctx, &current)
	return current, target, err
}

const versionTable = "leastwise_schema"

// tables returns the names of the tables that are there.
func (s *Store) tables(ctx context.Context) (map[string]bool, error) {
	query := "SELECT name FROM sqlite_master WHERE type = 'table'"
	if s.kind == onServer {
		query = "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
	}
	var names []string
	if err := s.read.NewRaw(query).Scan(ctx, &names); err != nil {
		return nil, err
	}
	set := map[string]bool{}
	for _, n := range names {
		set[n] = true
	}
	return set, nil
}

func (s *Store) migrator() (*goose.Provider, error) {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	options := []goose.ProviderOption{goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger())}
	if s.kind == inFile {
		return goose.NewProvider(goose.DialectSQLite3, s.write.DB, dir, options...)
	}
	l, err := lock.NewPostgresSessionLocker() // nodes that start at once
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, s.write.DB, dir, append(options, goose.WithSessionLocker(l))...)
}
