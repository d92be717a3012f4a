package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Adopt queues again what nobody works on any more: actions under way whose turn
// a replica had that has died since, or whose place in the queue is lost. It is
// done under the lease of the fleet. Should the turn end after all, it finds
// the action moved on.
func (s *Store) Adopt(ctx context.Context, fleet Lease) (adopted []int64, err error) {
	err = s.write(ctx, "adopt actions", func(ctx context.Context, tx pgx.Tx) error {
		if err := fence(ctx, tx, fleet); err != nil {
			return err
		}
		adopted, err = collect(ctx, tx, pgx.RowTo[int64], `SELECT a.id FROM actions a WHERE a.`+underWay+` AND NOT EXISTS (
			SELECT FROM river_job j WHERE j.args @> jsonb_build_object('action', a.id) AND j.finalized_at IS NULL
			AND (j.state <> 'running' OR j.attempted_by[cardinality(j.attempted_by)] IN (SELECT id::text FROM replicas)))
			ORDER BY a.id LIMIT 100`)
		if err != nil {
			return err
		}
		for _, id := range adopted {
			if err := s.enqueue(ctx, tx, id); err != nil {
				return err
			}
		}
		return nil
	})
	return adopted, err
}

// Abandon ends what is wanted or under way of a source that nobody has configured
// any more: nobody can look at what came of it, and it must not hold a budget and
// the ramp of its cause for ever. It is fenced.
func (s *Store) Abandon(ctx context.Context, l Lease) (events []drift.Event, err error) {
	err = s.transact(ctx, "abandon the actions of "+l.Source, patient, func(ctx context.Context, tx pgx.Tx) error {
		if err := fence(ctx, tx, l); err != nil {
			return err
		}
		c, err := newChange(ctx, tx)
		if err != nil {
			return err
		}
		if err := c.planAlone(ctx); err != nil {
			return err
		}
		left, err := collect(ctx, tx, scanAction, actionSelect+" WHERE a.source = $1 AND a.state <> 'ended' ORDER BY a.id", l.Source)
		if err != nil {
			return err
		}
		for i := range left {
			e := ending{id: left[i].ID, from: left[i].State, outcome: drift.Superseded, words: "its source is not configured any more"}
			if e.from == ActionRequested {
				e.outcome = drift.Blocked
			}
			if err := c.end(ctx, e); err != nil {
				return err
			}
		}
		events, err = c.tell(ctx)
		return err
	})
	return events, err
}
