package store

import (
	"context"

	"github.com/jackc/pgx/v5"
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
