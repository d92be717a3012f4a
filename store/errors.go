package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// What callers tell apart.
var (
	// ErrFenced: the lease is no longer held; nothing was written, and whoever
	// tried must forget what it knows of the source.
	ErrFenced = errors.New("the lease is no longer held")
	// ErrStale: what the caller knows is not what the database holds; nothing
	// was written, and Load tells how it stands.
	ErrStale = errors.New("what is known of the source is out of date")
	// ErrNewerSchema: a newer version has migrated the database.
	ErrNewerSchema = errors.New("the schema of the state database is newer than this version knows: upgrade the reconciler")
	// ErrOlderSchema: the database is to be migrated first.
	ErrOlderSchema = errors.New("the schema of the state database is older than this version: run `reconciler migrate`")
	// ErrKeyReused: an idempotency key was used for another request before.
	ErrKeyReused = errors.New("the idempotency key was used for another request")
	// ErrPaused: something in force pauses acting.
	ErrPaused = errors.New("paused")
	// ErrNotFound: there is no such thing.
	ErrNotFound = errors.New("not found")
	// ErrNoSurge: there is nothing to accept.
	ErrNoSurge = errors.New("no surge stands: there is nothing to accept")
	// ErrInvalid: the caller's words cannot be taken.
	ErrInvalid = errors.New("invalid")
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// SQLSTATEs that something depends on.
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
)

// remedies say what to do about errors of PostgreSQL, by SQLSTATE.
var remedies = map[string]string{
	"28P01": "check the password of the state database",
	"28000": "let this role in: pg_hba.conf, or the role's LOGIN",
	"3D000": "create the database, or check its name",
	"42501": "the role must own the tables, or be granted them",
	"42P01": "run `reconciler migrate`",
	"42703": "run `reconciler migrate`",
	"53300": "raise the server's or the role's connection limit, or lower state.max_connections",
	"53100": "the disk of the state database is full",
	"57014": "look at what slows the state database down",
	"57P03": "wait for the server to finish starting",
	"25006": "the server is a standby: point state.database to the primary",
	"55P03": "look at what holds locks in the state database (pg_stat_activity)",
}

// away are SQLSTATEs of a server that is not there for us, but may be soon.
var away = map[string]bool{
	"57P01": true, // ended by an administrator, or shut down
	"57P02": true, // crashed
	"57P03": true, // starting
	"53300": true, // too many connections
	"25P03": true, // we were silent in a transaction for too long
	"25006": true, // a standby, which may be promoted
}

// Unreachable tells whether an error means that the database is not there now,
// so that to wait and to try again is all that can be done.
func Unreachable(err error) bool {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return away[server.Code] || strings.HasPrefix(server.Code, "08")
	}
	var network net.Error
	var connect *pgconn.ConnectError
	return errors.As(err, &connect) || errors.As(err, &network) || pgconn.Timeout(err) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded)
}

// wrap names what was being done, and adds what may help.
func (s *Store) wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		c := s.config
		what = fmt.Sprintf("%s: connect to %s:%d/%s as %s", what, c.Host, c.Port, c.Database, c.User)
		err = reduced{connect}
	}
	var server *pgconn.PgError
	if errors.As(err, &server) && remedies[server.Code] != "" {
		return fmt.Errorf("%s: %w: %s", what, err, remedies[server.Code])
	}
	return fmt.Errorf("%s: %w", what, err)
}

// reduced is a ConnectError without the words that wrap has said better.
type reduced struct{ *pgconn.ConnectError }

func (r reduced) Error() string {
	if inner := r.ConnectError.Unwrap(); inner != nil {
		return inner.Error()
	}
	return r.ConnectError.Error()
}

func (r reduced) Unwrap() error { return r.ConnectError }

// again tells whether a transaction that failed so did nothing, and may do
// better when tried again.
func again(err error) bool {
	var begin beginError
	if errors.As(err, &begin) { // not where nobody answers: whoever waits for the database does so with patience
		var connect *pgconn.ConnectError
		return !errors.As(err, &connect) && !pgconn.Timeout(err) && !errors.Is(err, context.Canceled)
	}
	var server *pgconn.PgError
	return errors.As(err, &server) && (server.Code == serializationFailure || server.Code == deadlockDetected)
}

// beginError is of a transaction that could not begin: a connection of the pool
// that the server had closed. Nothing was done.
type beginError struct{ error }

func (e beginError) Unwrap() error { return e.error }

// found says in our words that no row was there.
func found(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNotFound
	}
	return err
}
