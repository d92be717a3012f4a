package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

// limits bound a transaction on the server, so that a process that is frozen in
// the middle of one keeps its locks for that long and no longer.
type limits struct {
	mode      string
	idle      time.Duration // silence of ours
	statement time.Duration // waiting for locks included
	lock      time.Duration
	whole     time.Duration // by our own clock: the server may not answer at all
}

var (
	// writing: 4 seconds of silence lose a frozen process its lease's row, so
	// that others can take the lease within 20 s of the freeze.
	writing = limits{mode: "READ COMMITTED READ WRITE", idle: 4 * time.Second, statement: 10 * time.Second, lock: 5 * time.Second, whole: 30 * time.Second}
	// applying may go on for long, statement by statement: a first pass over a
	// large source writes all of it.
	applying = limits{mode: writing.mode, idle: writing.idle, statement: 30 * time.Second, lock: writing.lock, whole: 5 * time.Minute}
	// patient is for the changes of people, which wait for actions that are
	// being started (acting).
	patient = limits{mode: "READ COMMITTED READ WRITE", idle: 4 * time.Second, statement: 25 * time.Second, lock: 20 * time.Second, whole: 40 * time.Second}
	// reading sees one moment and holds no locks.
	reading = limits{mode: "REPEATABLE READ READ ONLY", idle: 10 * time.Second, statement: 30 * time.Second, lock: 5 * time.Second, whole: time.Minute}
	// acting is silent while an action is being started.
	acting = limits{mode: "READ COMMITTED READ WRITE", idle: startWithin + 5*time.Second, statement: 25 * time.Second, lock: 25 * time.Second, whole: 45 * time.Second}
)

// begin is one round trip. The limits are the transaction's and not the
// session's: behind a pooler, the session is everybody's.
func (l limits) begin() string {
	return fmt.Sprintf("BEGIN ISOLATION LEVEL %s; SET LOCAL idle_in_transaction_session_timeout = %d; SET LOCAL statement_timeout = %d; SET LOCAL lock_timeout = %d; SET LOCAL jit = off",
		l.mode, l.idle.Milliseconds(), l.statement.Milliseconds(), l.lock.Milliseconds())
}

const tries = 5

// transact runs fn in a transaction, again where the database asks for it: fn
// must begin from nothing each time.
func (s *Store) transact(ctx context.Context, what string, l limits, fn func(context.Context, pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, l.whole)
	defer cancel()
	for try := 1; ; try++ {
		err := s.attempt(ctx, l, fn)
		if err == nil || try == tries || !again(err) {
			return s.wrap(what, err)
		}
		wait := 10 * time.Millisecond << try
		select {
		case <-ctx.Done():
			return s.wrap(what, err)
		case <-time.After(wait/2 + rand.N(wait)): // #nosec G404 -- a pause, no secret
		}
	}
}

func (s *Store) attempt(ctx context.Context, l limits, fn func(context.Context, pgx.Tx) error) error {
	tx, err := s.pool.BeginTx(ctx, pgx.TxOptions{BeginQuery: l.begin()})
	if err != nil {
		return beginError{err}
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = tx.Rollback(ctx) // after a commit: nothing; a connection that cannot roll back is closed by the pool
	}()
	if err := fn(ctx, tx); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// write and read are the two that are used most.
func (s *Store) write(ctx context.Context, what string, fn func(context.Context, pgx.Tx) error) error {
	return s.transact(ctx, what, writing, fn)
}

func (s *Store) read(ctx context.Context, what string, fn func(context.Context, pgx.Tx) error) error {
	return s.transact(ctx, what, reading, fn)
}

// collect runs a query and gives its rows.
func collect[T any](ctx context.Context, tx pgx.Tx, row pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, row)
}

// Numbers of the transaction-level advisory locks. The first is the same for
// all of ours: "recn".
const (
	lockClass = 0x7265636e

	lockSwitch   = 1 // acting shares it, whoever pauses has it alone
	lockHoldings = 2 // whoever learns who holds an address
	lockEvents   = 3 // whoever appends events: taken last, held until the commit
	lockSchema   = 4 // whoever migrates
	lockActions  = 5 // whoever spends a budget of actions, or moves a ramp: before any row of theirs
)

func lock(ctx context.Context, tx pgx.Tx, number int) error {
	_, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1::int, $2::int)", lockClass, number)
	return err
}

func lockShared(ctx context.Context, tx pgx.Tx, number int) error {
	_, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock_shared($1::int, $2::int)", lockClass, number)
	return err
}
