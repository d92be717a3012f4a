package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// startWithin bounds the start of an action; Pause waits for it.
const startWithin = 10 * time.Second

// PausedError carries the pause that forbids an action. It is an ErrPaused.
type PausedError struct{ Pause }

func (e *PausedError) Error() string {
	return fmt.Sprintf("paused for %s by %s: %s", e.Scope.words(), e.By, e.Reason)
}

// Unwrap makes it an ErrPaused.
func (e *PausedError) Unwrap() error { return ErrPaused }

// Acting runs start, which begins an action on a workspace, unless something in
// force pauses acting for it: then it gives a *PausedError. While start runs,
// for 10 seconds at most, nobody can pause anything; whoever wants to waits, and
// no further start goes ahead of them.
//
// The switch is an advisory lock and not a row, because rows let those who share
// a lock pass by the one who waits to have it alone, for ever if they are many.
func (s *Store) Acting(ctx context.Context, source, workspace string, start func(ctx context.Context) error) error {
	select {
	case s.calls <- struct{}{}:
		defer func() { <-s.calls }()
	case <-ctx.Done():
		return s.wrap("act", ctx.Err())
	}
	tx, err := s.pool.BeginTx(ctx, pgx.TxOptions{BeginQuery: acting.begin()})
	if err != nil {
		return s.wrap("act", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = tx.Rollback(ctx) // it has written nothing
	}()
	if err := lockShared(ctx, tx, lockSwitch); err != nil {
		return s.wrap("act", err)
	}
	until := time.Now().Add(startWithin) // from here on: whoever is frozen from now on loses the switch, and does not start
	pauses, err := collect(ctx, tx, scanPause, pauseSelect+` WHERE (expires_at IS NULL OR expires_at > clock_timestamp())
		AND (kind = 'all' OR source = $1 AND (kind = 'source' OR workspace = $2)) ORDER BY kind LIMIT 1`, source, strings.ToLower(workspace))
	if err != nil {
		return s.wrap("act", err)
	}
	if len(pauses) > 0 {
		return &PausedError{pauses[0]}
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	return start(ctx)
}
