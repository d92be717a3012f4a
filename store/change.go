package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Change is what a person changes, within one transaction: each method writes
// what it changes, who did it and why. Store has the same methods, each a
// transaction of its own.
type Change struct {
	tx      pgx.Tx
	now     time.Time // of the database
	events  []drift.Event
	notices map[[2]string]bool   // channel and payload
	rearmed map[string]time.Time // when a person last let a cause go on, of those that were read
}

// change runs fn in a transaction, then writes the events of what it did.
func (s *Store) change(ctx context.Context, what string, fn func(context.Context, *Change) error) error {
	return s.transact(ctx, what, patient, func(ctx context.Context, tx pgx.Tx) error {
		c, err := newChange(ctx, tx)
		if err != nil {
			return err
		}
		if err := fn(ctx, c); err != nil {
			return err
		}
		_, err = c.tell(ctx)
		return err
	})
}

func newChange(ctx context.Context, tx pgx.Tx) (*Change, error) {
	c := &Change{tx: tx, notices: map[[2]string]bool{}}
	return c, c.look(ctx)
}

// look asks the database's clock, which all that expires goes by. It is asked
// again once a lock was waited for.
func (c *Change) look(ctx context.Context) error {
	err := c.tx.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&c.now)
	c.now = c.now.UTC()
	return err
}

// tell writes the notices and, last of all, the events.
func (c *Change) tell(ctx context.Context) ([]drift.Event, error) {
	for n := range c.notices {
		if err := notify(ctx, c.tx, n[0], n[1]); err != nil {
			return nil, err
		}
	}
	return appendEvents(ctx, c.tx, c.events)
}

func (c *Change) note(channel, payload string) { c.notices[[2]string{channel, payload}] = true }

// event takes down what happened, with the workspace's name where it is known.
func (c *Change) event(ctx context.Context, e drift.Event) error {
	e.At = c.now
	if e.Workspace != "" {
		names, err := collect(ctx, c.tx, pgx.RowTo[string], "SELECT name FROM states WHERE source = $1 AND id = $2", e.Source, e.Workspace)
		if err != nil {
			return err
		}
		if len(names) > 0 {
			e.Name = names[0]
		}
	}
	c.events = append(c.events, e)
	return nil
}
