package store

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Pause stops acting, and observing where p says so, within p's scope. It waits
// for the actions that are just being started; once it has returned none is, and
// none starts. Pausing a scope again replaces the reason and the end.
func (s *Store) Pause(ctx context.Context, p Pause) (paused Pause, err error) {
	err = s.change(ctx, "pause", func(ctx context.Context, c *Change) error {
		paused, err = c.Pause(ctx, p)
		return err
	})
	return paused, err
}

// Pause is Store.Pause within the change.
func (c *Change) Pause(ctx context.Context, p Pause) (Pause, error) {
	if err := c.turn(ctx); err != nil {
		return Pause{}, err
	}
	p.At, p.Reason, p.By = c.now, clean(p.Reason), clean(p.By)
	scope, err := p.check()
	if err != nil {
		return Pause{}, err
	}
	p.Scope = scope
	if err := c.expirePauses(ctx, " AND kind = $2 AND source = $3 AND workspace = $4", string(p.Kind), p.Source, p.Workspace); err != nil {
		return Pause{}, err
	}
	_, err = c.tx.Exec(ctx, `INSERT INTO pauses (kind, source, workspace, observing, reason, by, at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (kind, source, workspace) DO UPDATE SET observing = excluded.observing, reason = excluded.reason, by = excluded.by, at = excluded.at, expires_at = excluded.expires_at`,
		string(p.Kind), p.Source, p.Workspace, p.Observing, p.Reason, p.By, p.At, p.ExpiresAt)
	if err != nil {
		return Pause{}, err
	}
	return p, c.switched(ctx, p.Scope, drift.EventPaused, p.By, p.words())
}

// Resume ends the pause of this very scope; was is false where there was none
// in force. Pauses of wider scopes stay.
func (s *Store) Resume(ctx context.Context, scope Scope, by, reason string) (was bool, err error) {
	err = s.change(ctx, "resume", func(ctx context.Context, c *Change) error {
		was, err = c.Resume(ctx, scope, by, reason)
		return err
	})
	return was, err
}

// Resume is Store.Resume within the change.
func (c *Change) Resume(ctx context.Context, scope Scope, by, reason string) (was bool, err error) {
	if err := c.turn(ctx); err != nil {
		return false, err
	}
	if scope, err = scope.check(); err != nil {
		return false, err
	}
	if by == "" {
		return false, invalid("who resumes must be said")
	}
	tag, err := c.tx.Exec(ctx, "DELETE FROM pauses WHERE kind = $1 AND source = $2 AND workspace = $3 AND (expires_at IS NULL OR expires_at > $4)",
		string(scope.Kind), scope.Source, scope.Workspace, c.now)
	if err != nil || tag.RowsAffected() == 0 {
		return false, err
	}
	words := "acting was resumed for " + scope.words()
	if reason != "" {
		words += ": " + reason
	}
	return true, c.switched(ctx, scope, drift.EventResumed, by, words)
}

// turn takes the switch alone, and looks at the clock once it has it.
func (c *Change) turn(ctx context.Context) error {
	if err := lock(ctx, c.tx, lockSwitch); err != nil {
		return err
	}
	return c.look(ctx)
}

// switched notes what happened to a pause.
func (c *Change) switched(ctx context.Context, scope Scope, kind drift.EventKind, by, words string) error {
	c.note(ChannelSwitch, cmp.Or(scope.Source, Fleet))
	return c.event(ctx, drift.Event{Kind: kind, Source: scope.Source, Workspace: scope.Workspace, By: by, Summary: words})
}

// Pauses gives what is in force now, by the database's clock.
func (s *Store) Pauses(ctx context.Context) (pauses []Pause, err error) {
	err = s.read(ctx, "read the pauses", func(ctx context.Context, tx pgx.Tx) error {
		pauses, err = collect(ctx, tx, scanPause, pauseSelect+" WHERE expires_at IS NULL OR expires_at > clock_timestamp() ORDER BY kind, source, workspace")
		return err
	})
	return pauses, err
}

const (
	pauseColumns = "kind, source, workspace, observing, reason, by, at, expires_at"
	pauseSelect  = "SELECT " + pauseColumns + " FROM pauses"
)

func scanPause(row pgx.CollectableRow) (p Pause, err error) {
	err = row.Scan(&p.Kind, &p.Source, &p.Workspace, &p.Observing, &p.Reason, &p.By, &p.At, &p.ExpiresAt)
	p.At = p.At.UTC()
	if p.ExpiresAt != nil {
		end := p.ExpiresAt.UTC()
		p.ExpiresAt = &end
	}
	return p, err
}

// expirePauses removes pauses that have run out, of those that a condition
// with its arguments from $2 on names; each says so in an event.
func (c *Change) expirePauses(ctx context.Context, which string, args ...any) error {
	ended, err := collect(ctx, c.tx, scanPause, "DELETE FROM pauses WHERE expires_at <= $1"+which+" RETURNING "+pauseColumns, append([]any{c.now}, args...)...)
	if err != nil {
		return err
	}
	for _, p := range ended {
		words := fmt.Sprintf("the pause of %s by %s has run out: %s", p.Scope.words(), p.By, p.Reason)
		if err := c.switched(ctx, p.Scope, drift.EventPauseExpired, "", words); err != nil {
			return err
		}
	}
	return nil
}

// check gives the scope in the usual writing, or says what it lacks.
func (s Scope) check() (Scope, error) {
	s.Workspace = strings.ToLower(s.Workspace)
	switch s.Kind {
	case ScopeAll:
		return Scope{Kind: ScopeAll}, nil
	case ScopeSource:
		if s.Source != "" {
			return Scope{Kind: ScopeSource, Source: s.Source}, nil
		}
		return s, invalid("the scope needs a source")
	case ScopeWorkspace:
		if s.Source != "" && isUUID(s.Workspace) {
			return s, nil
		}
		return s, invalid("the scope needs a source and a workspace's id")
	}
	return s, invalid("a scope is all, source or workspace, not %q", s.Kind)
}

func (s Scope) words() string {
	switch s.Kind {
	case ScopeSource:
		return "source " + s.Source
	case ScopeWorkspace:
		return "workspace " + s.Workspace + " of " + s.Source
	}
	return "everything"
}

func (p *Pause) check() (Scope, error) {
	switch {
	case p.Reason == "" || p.By == "":
		return p.Scope, invalid("a pause needs a reason, and who wants it")
	case p.ExpiresAt != nil && !p.ExpiresAt.After(p.At):
		return p.Scope, invalid("the pause would end before it begins")
	}
	return p.Scope.check()
}

func (p *Pause) words() string {
	what, until := "acting", "until it is resumed"
	if p.Observing {
		what = "acting and observing"
	}
	if p.ExpiresAt != nil {
		until = "until " + p.ExpiresAt.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("%s was paused for %s %s: %s", what, p.Scope.words(), until, p.Reason)
}
