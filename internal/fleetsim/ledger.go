package fleetsim

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// ledger is a tenant's database in the platform's own hands: whoever reads it
// beside us may have other rights, or go by a line that is cut.
type ledger struct {
	url   string
	old   bool
	key   drift.Secret
	slots chan struct{} // of all tenants together: a fleet may have a thousand

	mu     sync.Mutex
	pool   *pgxpool.Pool
	closed bool
}

// again is how long a write waits that the database did not take.
const again = 50 * time.Millisecond

func (l *ledger) open() (*pgxpool.Pool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pool != nil || l.closed {
		return l.pool, l.over()
	}
	config, err := pgxpool.ParseConfig(l.url)
	if err != nil {
		return nil, err
	}
	config.MaxConns, config.MaxConnIdleTime, config.HealthCheckPeriod = 2, 2*time.Second, time.Second
	config.ConnConfig.RuntimeParams["application_name"] = "simulated platform"
	config.ConnConfig.RuntimeParams["synchronous_commit"] = "off"
	l.pool, err = pgxpool.NewWithConfig(context.Background(), config)
	return l.pool, err
}

func (l *ledger) over() error {
	if l.closed {
		return errors.New("the fleet has ended")
	}
	return nil
}

func (l *ledger) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.pool != nil {
		l.pool.Close()
	}
}

// use lends a connection's worth of the database.
func (l *ledger) use(ctx context.Context, f func(*pgxpool.Pool) error) error {
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-l.slots }()
	pool, err := l.open()
	if err != nil {
		return err
	}
	return f(pool)
}

// insist uses the database until it is there again, or ctx ends: what was begun
// is brought to its end.
func (l *ledger) insist(ctx context.Context, f func(*pgxpool.Pool) error) error {
	for {
		err := l.use(ctx, f)
		if err == nil || ctx.Err() != nil || answered(err) {
			return err
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// answered tells an error that the database is sure of from its being away:
// classes 08, 53 and 57 are connections, resources and operators.
func answered(err error) bool {
	var said *pgconn.PgError
	if errors.As(err, &said) {
		return !slices.Contains([]string{"08", "53", "57"}, said.Code[:2])
	}
	return errors.Is(err, pgx.ErrNoRows)
}

// set changes a member's row. The assignments are constants of this package;
// their arguments begin with $2.
func (l *ledger) set(ctx context.Context, m *Member, assignments string, args ...any) error {
	return l.insist(ctx, func(pool *pgxpool.Pool) error {
		_, err := pool.Exec(ctx, "UPDATE workspaces SET updated_at = now(), "+assignments+" WHERE id = $1", append([]any{m.Row.ID}, args...)...)
		return err
	})
}

// standing is what decides whether a restart begins.
type standing struct {
	status, runtime string
	pausedAbove     bool
}

// look gives a workspace's standing; nil: there is no such workspace.
func (l *ledger) look(ctx context.Context, id string) (*standing, error) {
	var s standing
	err := l.use(ctx, func(pool *pgxpool.Pool) error {
		// UNION, not UNION ALL: it ends though somebody is his own grandfather.
		return pool.QueryRow(ctx, `WITH RECURSIVE above AS (
				SELECT parent_id FROM workspaces WHERE id = $1
				UNION SELECT w.parent_id FROM workspaces w JOIN above ON w.id = above.parent_id)
			SELECT coalesce(status::text, ''), coalesce(runtime, ''),
				EXISTS (SELECT FROM workspaces w JOIN above ON w.id = above.parent_id WHERE w.status = 'paused')
			FROM workspaces WHERE id = $1`, id).Scan(&s.status, &s.runtime, &s.pausedAbove)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", id, err)
	}
	return &s, nil
}

// facts are what the platform provisions from.
type facts struct {
	runtime      string // NULL: the default one
	override     *string
	own, globals map[string]string
	unreadable   []string // keys of what does not open
}

func (l *ledger) facts(ctx context.Context, id string) (*facts, error) {
	override := "llm_billing_mode"
	if l.old {
		override = "NULL::text"
	}
	f := &facts{}
	err := l.insist(ctx, func(pool *pgxpool.Pool) error {
		*f = facts{own: map[string]string{}, globals: map[string]string{}}
		if err := pool.QueryRow(ctx, "SELECT coalesce(runtime, 'claude-code'), "+override+" FROM workspaces WHERE id = $1", id).Scan(&f.runtime, &f.override); err != nil {
			return err
		}
		rows, err := pool.Query(ctx, `SELECT true, key, encrypted_value, encryption_version FROM workspace_secrets WHERE workspace_id = $1
			UNION ALL SELECT false, key, encrypted_value, encryption_version FROM global_secrets`, id)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if err := f.add(rows, l.key); err != nil {
				return err
			}
		}
		return rows.Err()
	})
	return f, err
}

// add takes a row in.
func (f *facts) add(row pgx.Rows, key drift.Secret) error {
	var own bool
	var name string
	var stored []byte
	var version int
	if err := row.Scan(&own, &name, &stored, &version); err != nil {
		return err
	}
	value, err := opened(stored, version, key)
	switch {
	case err != nil:
		f.unreadable = append(f.unreadable, name)
	case own:
		f.own[name] = value
	default:
		f.globals[name] = value
	}
	return nil
}

// opened decrypts a stored value: AES-256-GCM, the nonce first.
func opened(stored []byte, version int, key drift.Secret) (string, error) {
	if version == 0 {
		return string(stored), nil
	}
	raw, err := base64.StdEncoding.DecodeString(key.Reveal())
	if err != nil {
		return "", err
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return "", err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return "", err
	}
	if len(stored) < gcm.NonceSize() {
		return "", errors.New("too short")
	}
	plain, err := gcm.Open(nil, stored[:gcm.NonceSize()], stored[gcm.NonceSize():], nil)
	return string(plain), err
}
