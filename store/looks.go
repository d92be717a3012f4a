package store

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// RequestLook asks whoever holds the source's lease to look at a workspace now.
// While a request for the workspace is waiting, another one is the same.
func (s *Store) RequestLook(ctx context.Context, l Look) (waiting Look, err error) {
	err = s.change(ctx, "request a look", func(ctx context.Context, c *Change) error {
		waiting, err = c.RequestLook(ctx, l)
		return err
	})
	return waiting, err
}

// RequestLook is Store.RequestLook within the change.
func (c *Change) RequestLook(ctx context.Context, l Look) (Look, error) {
	l.Workspace = strings.ToLower(l.Workspace)
	if l.Source == "" || !isUUID(l.Workspace) {
		return l, invalid("a look needs a source and a workspace's id")
	}
	c.note(ChannelLook, l.Source)
	rows, err := c.tx.Query(ctx, `INSERT INTO looks AS l (source, workspace, reason, by, at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (source, workspace) DO UPDATE SET at = l.at RETURNING `+lookColumns, l.Source, l.Workspace, clean(l.Reason), clean(l.By), c.now)
	if err != nil {
		return l, err
	}
	return pgx.CollectExactlyOneRow(rows, scanLook)
}

// Looks gives the requests that wait in these sources, the oldest first.
func (s *Store) Looks(ctx context.Context, sources []string) (looks []Look, err error) {
	err = s.read(ctx, "read the requested looks", func(ctx context.Context, tx pgx.Tx) error {
		looks, err = collect(ctx, tx, scanLook, "SELECT "+lookColumns+" FROM looks WHERE source = ANY($1::text[]) ORDER BY id", sources)
		return err
	})
	return looks, err
}

// DropLooks takes requests away that have turned out to need no look. It is
// fenced.
func (s *Store) DropLooks(ctx context.Context, l Lease, ids []int64) error {
	return s.write(ctx, "drop looks", func(ctx context.Context, tx pgx.Tx) error {
		if err := fence(ctx, tx, l); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "DELETE FROM looks WHERE source = $1 AND id = ANY($2::bigint[])", l.Source, ids)
		return err
	})
}

const lookColumns = "id, source, workspace::text, reason, by, at, hit_at"

func scanLook(row pgx.CollectableRow) (l Look, err error) {
	var hit *time.Time
	err = row.Scan(&l.ID, &l.Source, &l.Workspace, &l.Reason, &l.By, &l.At, &hit)
	l.At, l.HitAt = l.At.UTC(), orZero(hit)
	return l, err
}
