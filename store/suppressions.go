package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Suppress keeps quiet about findings until a time that must be given.
func (s *Store) Suppress(ctx context.Context, p Suppression) (suppressed Suppression, err error) {
	err = s.change(ctx, "suppress", func(ctx context.Context, c *Change) error {
		suppressed, err = c.Suppress(ctx, p)
		return err
	})
	return suppressed, err
}

// Suppress is Store.Suppress within the change.
func (c *Change) Suppress(ctx context.Context, p Suppression) (Suppression, error) {
	p.At, p.Reason, p.By, p.Workspace = c.now, clean(p.Reason), clean(p.By), strings.ToLower(p.Workspace)
	if err := p.check(); err != nil {
		return p, err
	}
	err := c.tx.QueryRow(ctx, `INSERT INTO suppressions (source, workspace, kind, reason, by, at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id`, p.Source, textOrNull(p.Workspace), string(p.Kind), p.Reason, p.By, p.At, p.ExpiresAt).Scan(&p.ID)
	if err != nil {
		return p, err
	}
	words := fmt.Sprintf("%s suppressed until %s: %s", p.words(), p.ExpiresAt.UTC().Format(time.RFC3339), p.Reason)
	return p, c.suppression(ctx, &p, drift.EventSuppressed, p.By, words)
}

// Unsuppress ends a suppression; was is false where there is none of that
// number in force.
func (s *Store) Unsuppress(ctx context.Context, id int64, by string) (was bool, err error) {
	err = s.change(ctx, "unsuppress", func(ctx context.Context, c *Change) error {
		was, err = c.Unsuppress(ctx, id, by)
		return err
	})
	return was, err
}

// Unsuppress is Store.Unsuppress within the change.
func (c *Change) Unsuppress(ctx context.Context, id int64, by string) (was bool, err error) {
	if by == "" {
		return false, invalid("who ends the suppression must be said")
	}
	ended, err := collect(ctx, c.tx, scanSuppression, "DELETE FROM suppressions WHERE id = $1::bigint AND expires_at > $2 RETURNING "+suppressionColumns, id, c.now)
	if err != nil || len(ended) == 0 {
		return false, err
	}
	p := &ended[0]
	return true, c.suppression(ctx, p, drift.EventUnsuppressed, by, p.words()+" told of again: "+p.Reason)
}

func (c *Change) suppression(ctx context.Context, p *Suppression, kind drift.EventKind, by, words string) error {
	c.note(ChannelSwitch, p.Source)
	return c.event(ctx, drift.Event{Kind: kind, Source: p.Source, Workspace: p.Workspace, By: by, Summary: words})
}

// Suppressions gives what is in force now, of a source, or "" of all, by
// number.
func (s *Store) Suppressions(ctx context.Context, source string) (list []Suppression, err error) {
	err = s.read(ctx, "read the suppressions", func(ctx context.Context, tx pgx.Tx) error {
		list, err = suppressions(ctx, tx, source)
		return err
	})
	return list, err
}

func suppressions(ctx context.Context, tx pgx.Tx, source string) ([]Suppression, error) {
	return collect(ctx, tx, scanSuppression, "SELECT "+suppressionColumns+` FROM suppressions
		WHERE expires_at > clock_timestamp() AND ($1::text = '' OR source = $1::text) ORDER BY id`, source)
}

const suppressionColumns = "id, source, workspace::text, kind, reason, by, at, expires_at"

func scanSuppression(row pgx.CollectableRow) (p Suppression, err error) {
	var workspace *string
	err = row.Scan(&p.ID, &p.Source, &workspace, &p.Kind, &p.Reason, &p.By, &p.At, &p.ExpiresAt)
	p.Workspace, p.At, p.ExpiresAt = orEmpty(workspace), p.At.UTC(), p.ExpiresAt.UTC()
	return p, err
}

func (c *Change) expireSuppressions(ctx context.Context) error {
	ended, err := collect(ctx, c.tx, scanSuppression, "DELETE FROM suppressions WHERE expires_at <= $1 RETURNING "+suppressionColumns, c.now)
	if err != nil {
		return err
	}
	for i := range ended {
		p := &ended[i]
		words := fmt.Sprintf("%s told of again, the suppression by %s has run out: %s", p.words(), p.By, p.Reason)
		if err := c.suppression(ctx, p, drift.EventSuppressionEnded, "", words); err != nil {
			return err
		}
	}
	return nil
}

func (p *Suppression) check() error {
	switch {
	case p.Source == "":
		return invalid("a suppression needs a source")
	case p.Workspace != "" && !isUUID(p.Workspace):
		return invalid("%q is no workspace's id", p.Workspace)
	case p.Reason == "" || p.By == "":
		return invalid("a suppression needs a reason, and who wants it")
	case !p.ExpiresAt.After(p.At):
		return invalid("a suppression needs an end that is still to come")
	}
	return nil
}

// covers tells whether findings of a kind are kept quiet.
func (p *Suppression) covers(source, workspace string, kind drift.Kind) bool {
	return p.Source == source && (p.Workspace == "" || p.Workspace == workspace) && (p.Kind == "" || p.Kind == kind)
}

func (p *Suppression) words() string {
	what, where := "every finding", "source "+p.Source
	if p.Kind != "" {
		what = string(p.Kind)
	}
	if p.Workspace != "" {
		where = "workspace " + p.Workspace + " of " + p.Source
	}
	return what + " of " + where + " is"
}

// Expire removes the pauses and suppressions that have run out; each says so in
// one event. It is done under the lease of the fleet, by one for all.
func (s *Store) Expire(ctx context.Context, fleet Lease) (events []drift.Event, err error) {
	err = s.write(ctx, "expire", func(ctx context.Context, tx pgx.Tx) error {
		if err := fence(ctx, tx, fleet); err != nil {
			return err
		}
		c, err := newChange(ctx, tx)
		if err != nil {
			return err
		}
		if err := c.expirePauses(ctx, ""); err != nil {
			return err
		}
		if err := c.expireSuppressions(ctx); err != nil {
			return err
		}
		events, err = c.tell(ctx)
		return err
	})
	return events, err
}
