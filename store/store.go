package store

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Options say which database, and how it is used.
type Options struct {
	// URL is a connection string, a URL or key=value words. It needs no more
	// than transactions, so a pooler in transaction mode may be in between.
	URL drift.Secret
	// MaxConns bounds the connections, the one of Listen and those of Migrate
	// apart. 0: 10.
	MaxConns int32
	// Name is shown in pg_stat_activity. "": billing-reconciler.
	Name string
	// Log is told of lost connections. nil: nobody is.
	Log *slog.Logger
}

// Store is our own PostgreSQL. Safe for concurrent use.
type Store struct {
	pool   *pgxpool.Pool
	config *pgx.ConnConfig // of a connection of its own, for Listen and Migrate
	log    *slog.Logger
	calls  chan struct{} // has room for the actions that may be started at once: each keeps a connection meanwhile
}

const (
	defaultConns   = 10
	defaultName    = "billing-reconciler"
	connectTimeout = 5 * time.Second
	pingTimeout    = 5 * time.Second
)

// Open prepares to use the database. It connects to nothing, so that a daemon
// can start before its database does; an error means that the URL is wrong.
func Open(ctx context.Context, opts Options) (*Store, error) {
	config, err := pgxpool.ParseConfig(opts.URL.Reveal())
	if err != nil || opts.URL == "" { // the error's text may hold parts of the URL, and so the password
		return nil, errors.New("state database: not a connection string: write postgres://user:password@host:5432/database")
	}
	configure(config, opts)
	s := &Store{config: config.ConnConfig.Copy(), log: opts.Log}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.calls = make(chan struct{}, max(1, config.MaxConns/3))
	if s.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, s.wrap("open the state database", err)
	}
	return s, nil
}

// configure makes connections fit for a pooler in transaction mode: there are
// no start-up parameters that it would refuse, and no prepared statement
// outlives a transaction. Limits are set in each transaction.
func configure(config *pgxpool.Config, opts Options) {
	conn := config.ConnConfig
	conn.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn.StatementCacheCapacity, conn.DescriptionCacheCapacity = 0, 0
	conn.RuntimeParams["application_name"] = defaultName
	if opts.Name != "" {
		conn.RuntimeParams["application_name"] = opts.Name
	}
	if conn.ConnectTimeout == 0 {
		conn.ConnectTimeout = connectTimeout
	}
	config.MaxConns = defaultConns
	if opts.MaxConns > 0 {
		config.MaxConns = opts.MaxConns
	}
	config.MinConns = 0
	config.MaxConnIdleTime = 5 * time.Minute
}

// Close ends the connections; it waits for what is under way.
func (s *Store) Close() { s.pool.Close() }

// Ping tells, within 5 seconds, whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return s.wrap("ping the state database", s.pool.Ping(ctx))
}
