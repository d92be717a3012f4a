package desired

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Source is a tenant's database.
type Source struct {
	Name string
	// Database is a connection string, a URL or key=value words. pgx's own
	// pool_max_conns and the like may stand in it.
	Database drift.Secret
	// EncryptionKey is the platform's SECRETS_ENCRYPTION_KEY: base64 of 32
	// bytes, or 32 raw bytes. Without one, encrypted rows cannot be read.
	EncryptionKey drift.Secret
	// StatementTimeout bounds each query, the time taken by yield included.
	// Zero: a minute.
	StatementTimeout time.Duration
}

const defaultStatementTimeout = time.Minute

// Reader reads one tenant's database. It only reads: everything runs in READ
// ONLY transactions with a statement time-out. Safe for concurrent use.
type Reader struct {
	source string
	pool   *pgxpool.Pool
	sealed *opener
	limits string // the statement that sets a transaction's limits

	// pooled is set once a pooler has refused readOnlyParameter.
	pooled atomic.Bool
}

// readOnlyParameter makes a whole connection read-only. It goes as a start-up
// parameter and never as SET: behind a pooler that shares connections, SET
// would stay on the server's connection and make the tenant's own writes fail.
const readOnlyParameter = "default_transaction_read_only"

// Open prepares to read a source. It connects to nothing, so that an
// unreachable tenant is found out where it is read, and alone; an error means
// that the source's configuration is wrong.
func Open(ctx context.Context, src Source) (*Reader, error) {
	sealed, err := newOpener(src.EncryptionKey)
	if err != nil {
		return nil, fmt.Errorf("source %s: encryption key: %w", src.Name, err)
	}
	config, err := pgxpool.ParseConfig(src.Database.Reveal())
	if err != nil { // its text may hold parts of the string, and so the password
		return nil, fmt.Errorf("source %s: database: not a connection string: write postgres://user:password@host:5432/database", src.Name)
	}
	r := &Reader{source: src.Name, sealed: sealed, limits: limits(src.StatementTimeout)}
	r.configure(config)
	if r.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, r.wrap("open", err)
	}
	return r, nil
}

// Close ends the reader's connections; it waits for reads that are under way.
func (r *Reader) Close() { r.pool.Close() }

// configure makes connections fit for poolers in transaction mode: no prepared
// statement outlives a transaction, and readOnlyParameter is left out once it
// has been refused.
func (r *Reader) configure(config *pgxpool.Config) {
	conn := config.ConnConfig
	conn.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn.StatementCacheCapacity, conn.DescriptionCacheCapacity = 0, 0
	conn.RuntimeParams["client_encoding"] = "UTF8"
	if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "billing-reconciler"
	}
	if conn.ConnectTimeout == 0 {
		conn.ConnectTimeout = 10 * time.Second
	}
	config.MaxConnIdleTime = time.Minute
	config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
		if r.pooled.Load() {
			delete(c.RuntimeParams, readOnlyParameter)
		} else {
			c.RuntimeParams[readOnlyParameter] = "on"
		}
		return nil
	}
}

// limits gives the statement that bounds a transaction. Compiling queries just
// in time costs more than it saves on ones as plain as ours.
func limits(timeout time.Duration) string {
	if timeout <= 0 {
		timeout = defaultStatementTimeout
	}
	return "SET LOCAL statement_timeout = " + strconv.FormatInt(max(1, timeout.Milliseconds()), 10) + "; SET LOCAL jit = off"
}

// read runs fn in a read-only transaction: what fn reads is of one moment.
// Errors of fn are wrapped as having happened while doing what.
func (r *Reader) read(ctx context.Context, what string, fn func(pgx.Tx) error) error {
	tx, err := r.begin(ctx)
	if err != nil {
		return r.wrap(what, err)
	}
	defer r.rollback(ctx, tx)
	if _, err := tx.Exec(ctx, r.limits, pgx.QueryExecModeSimpleProtocol); err != nil {
		return r.wrap(what, err)
	}
	return r.wrap(what, fn(tx))
}

func (r *Reader) begin(ctx context.Context) (pgx.Tx, error) {
	readOnly := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	tx, err := r.pool.BeginTx(ctx, readOnly)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == codeProtocolViolation {
		r.pooled.Store(true)
		tx, err = r.pool.BeginTx(ctx, readOnly)
	}
	return tx, err
}

// rollback ends a transaction that has nothing to commit, also when ctx has
// ended.
func (r *Reader) rollback(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = tx.Rollback(ctx) // a connection that cannot roll back is closed by the pool
}
