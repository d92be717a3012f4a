package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Rollup adds up what is older than fine by the hour, and what is older than
// hourly by the day, a bounded number of rows at a time; more says that there
// are more. What was counted stays counted. It is done under the lease of the
// fleet.
func (s *Store) Rollup(ctx context.Context, fleet Lease, fine, hourly time.Duration) (rolled int64, more bool, err error) {
	err = s.transact(ctx, "add traffic up", counting, func(ctx context.Context, tx pgx.Tx) error {
		rolled, more = 0, false
		if err := fence(ctx, tx, fleet); err != nil {
			return err
		}
		for _, step := range []struct {
			unit  string
			older time.Duration
		}{{"hour", fine}, {"day", hourly}} {
			var n int64
			if err := tx.QueryRow(ctx, rollup, step.unit, seconds(step.older), rollupBatch).Scan(&n); err != nil {
				return err
			}
			rolled += n
			more = more || n >= rollupBatch
		}
		return nil
	})
	return rolled, more, err
}

const rollupBatch = 5000

// rollup moves rows to the beginning of their hour or day. One that is there
// already stays.
const rollup = `WITH old AS (SELECT ` + rowKey + ` FROM traffic
		WHERE bucket < date_trunc($1::text, clock_timestamp() - make_interval(secs => $2), 'UTC') AND bucket <> date_trunc($1::text, bucket, 'UTC') ORDER BY ` + rowKey + ` LIMIT $3::bigint),
	gone AS (DELETE FROM traffic t USING old o WHERE (t.bucket, t.address, t.source, t.workspace, t.attribution, t.operation, t.class) = (o.bucket, o.address, o.source, o.workspace, o.attribution, o.operation, o.class)
		RETURNING t.*),
	added AS (INSERT INTO traffic AS t (` + rowKey + `, ` + rowValues + `)
		SELECT date_trunc($1::text, bucket, 'UTC'), address, source, workspace, attribution, operation, class, sum(billed), sum(rejected), sum(input_tokens), sum(output_tokens), sum(untold),
			sum(cost_usd), sum(unpriced), min(first_at), max(last_at), max(last_billed) FROM gone GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1, 2, 3, 4, 5, 6, 7
		` + addUp + `)
	SELECT count(*) FROM gone`
