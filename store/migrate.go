package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

const (
	versionTable = "reconciler_schema"

	// migrateWithin bounds the wait for another replica that migrates, and the
	// migration itself.
	migrateWithin = 10 * time.Minute
)

// Migrate brings the schema to the version of this program and gives the names
// of the migrations that it applied. Replicas that start at once wait for each
// other. A newer schema is refused: migrations only ever add, so that a version
// goes on working beside the next one, but it cannot know more than that.
func (s *Store) Migrate(ctx context.Context) (applied []string, err error) {
	waiting := limits{mode: "READ COMMITTED READ WRITE", statement: migrateWithin, lock: migrateWithin, whole: migrateWithin}
	err = s.transact(ctx, "migrate the state database", waiting, func(ctx context.Context, tx pgx.Tx) error {
		// A transaction's lock and not a session's, which a pooler would lose.
		if err := lock(ctx, tx, lockSchema); err != nil {
			return err
		}
		if have, want, err := versions(ctx, tx); err != nil || have > want {
			return firstOf(err, ErrNewerSchema)
		}
		applied, err = s.goose(ctx)
		return err
	})
	return applied, err
}

// firstOf gives the first error that there is.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// goose applies what is missing, on a connection of its own.
func (s *Store) goose(ctx context.Context) (applied []string, err error) {
	db := stdlib.OpenDB(*s.config)
	defer func() { err = firstOf(err, db.Close()) }()
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true), goose.WithSlog(s.log), goose.WithGoMigrations(s.riverMigration()))
	if err != nil {
		return nil, err
	}
	results, err := provider.Up(ctx)
	for _, r := range results {
		name := path.Base(r.Source.Path)
		if r.Source.Path == "" { // the one in Go
			name = fmt.Sprintf("%05d_river", r.Source.Version)
		}
		applied = append(applied, name)
	}
	return applied, err
}

// Check tells whether this program can work with the schema: ErrOlderSchema or
// ErrNewerSchema where not.
func (s *Store) Check(ctx context.Context) error {
	have, want, err := s.SchemaVersion(ctx)
	switch {
	case err != nil:
		return err
	case have < want:
		return fmt.Errorf("version %d, want %d: %w", have, want, ErrOlderSchema)
	case have > want:
		return fmt.Errorf("version %d, want %d: %w", have, want, ErrNewerSchema)
	}
	return nil
}

// SchemaVersion gives the version of the database's schema, 0 where there is
// none yet, and the one that this program knows.
func (s *Store) SchemaVersion(ctx context.Context) (have, want int64, err error) {
	err = s.read(ctx, "read the schema's version", func(ctx context.Context, tx pgx.Tx) error {
		have, want, err = versions(ctx, tx)
		return err
	})
	return have, want, err
}

func versions(ctx context.Context, tx pgx.Tx) (have, want int64, err error) {
	if want, err = newest(); err != nil {
		return 0, 0, err
	}
	var there bool
	if err := tx.QueryRow(ctx, "SELECT to_regclass($1::text) IS NOT NULL", versionTable).Scan(&there); err != nil || !there {
		return 0, want, err
	}
	err = tx.QueryRow(ctx, "SELECT coalesce(max(version_id), 0) FROM "+versionTable+" WHERE is_applied").Scan(&have)
	return have, want, err
}

// newest gives the greatest number of the embedded migrations.
func newest() (int64, error) {
	files, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("no migrations are built in: %w", firstOf(err, fs.ErrNotExist))
	}
	number, _, _ := strings.Cut(path.Base(slices.Max(files)), "_")
	return strconv.ParseInt(number, 10, 64)
}
