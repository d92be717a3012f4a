package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Retention says for how long what is over is kept; 0: for ever.
type Retention struct {
	Events   time.Duration // those that belong to no drift; from when they happened
	Drifts   time.Duration // with their events; from when they were closed
	Holdings time.Duration // from when they ended
	Traffic  time.Duration // from the time of the calls
	Batch    int           // rows of a kind that one call deletes at most; 0: 5,000
}

const (
	retainBatch = 5000

	// lookKept is how long a request waits to be answered: longer, and nobody
	// looks at its source any more.
	lookKept = 24 * time.Hour

	// approvalKept is how long an approval that has run out is kept: it tells
	// since when attempts count.
	approvalKept = 30 * 24 * time.Hour

	// batchKept is how long a batch that is sent again is recognised: longer than
	// a queue keeps what it could not hand over (SQS: 14 days).
	batchKept = 15 * 24 * time.Hour
)

// Retain deletes what has been kept for long enough, a bounded number of rows
// at a time; more says that there are more. A drift and its events go together,
// and never while it is open. It is done under the lease of the fleet.
func (s *Store) Retain(ctx context.Context, fleet Lease, r Retention) (deleted map[string]int64, more bool, err error) {
	batch := r.Batch
	if batch <= 0 {
		batch = retainBatch
	}
	err = s.write(ctx, "delete what is old", func(ctx context.Context, tx pgx.Tx) error {
		deleted, more = map[string]int64{}, false
		if err := fence(ctx, tx, fleet); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "SELECT set_config('reconciler.retention', 'on', true)"); err != nil {
			return err
		}
		for _, step := range r.steps() {
			if step.keep <= 0 {
				continue
			}
			var n int64
			if err := tx.QueryRow(ctx, step.sql, seconds(step.keep), batch).Scan(&n); err != nil {
				return err
			}
			deleted[step.what] += n
			more = more || n >= int64(batch)
		}
		return nil
	})
	return deleted, more, err
}

// step deletes rows that are older than $1 seconds, $2 at most, and counts them.
type step struct {
	what string
	keep time.Duration
	sql  string
}

func (r *Retention) steps() []step {
	return []step{
		{"drifts", r.Drifts, `WITH old AS (SELECT id FROM drifts WHERE closed_at < clock_timestamp() - make_interval(secs => $1) ORDER BY closed_at LIMIT $2::bigint),
			told AS (DELETE FROM events WHERE episode IN (SELECT id FROM old)),
			gone AS (DELETE FROM drifts WHERE id IN (SELECT id FROM old) RETURNING 1) SELECT count(*) FROM gone`},
		{"actions", r.Drifts, `WITH gone AS (DELETE FROM actions WHERE id IN
			(SELECT id FROM actions WHERE ended_at < clock_timestamp() - make_interval(secs => $1) ORDER BY ended_at LIMIT $2::bigint) RETURNING 1) SELECT count(*) FROM gone`},
		{"suppressions", r.Drifts, `WITH gone AS (DELETE FROM suppressions_ended WHERE id IN
			(SELECT id FROM suppressions_ended WHERE ended_at < clock_timestamp() - make_interval(secs => $1) ORDER BY ended_at LIMIT $2::bigint) RETURNING 1) SELECT count(*) FROM gone`},
		{"approvals", approvalKept, `WITH gone AS (DELETE FROM approvals WHERE (source, workspace) IN
			(SELECT source, workspace FROM approvals WHERE expires_at < clock_timestamp() - make_interval(secs => $1) LIMIT $2::bigint) RETURNING 1) SELECT count(*) FROM gone`},
		{"events", r.Events, `WITH gone AS (DELETE FROM events WHERE id IN
			(SELECT id FROM events WHERE episode IS NULL AND at < clock_timestamp() - make_interval(secs => $1) ORDER BY at LIMIT $2::bigint) RETURNING 1) SELECT count(*) FROM gone`},
		{"holdings", r.Holdings, `WITH gone AS (DELETE FROM holdings WHERE id IN
			(SELECT id FROM holdings WHERE NOT upper_inf(during) AND upper(during) < clock_timestamp() - make_interval(secs => $1) LIMIT $2::bigint) RETURNING 1) SELECT count(*) FROM gone`},
		{"traffic", r.Traffic, `WITH gone AS (DELETE FROM traffic WHERE ctid = ANY(ARRAY(
			SELECT ctid FROM traffic WHERE bucket < clock_timestamp() - make_interval(secs => $1) ORDER BY bucket LIMIT $2::bigint)) RETURNING 1) SELECT count(*) FROM gone`},
		{"batches", batchKept, `WITH gone AS (DELETE FROM batches WHERE (input, id) IN
			(SELECT input, id FROM batches WHERE at < clock_timestamp() - make_interval(secs => $1) LIMIT $2::bigint FOR UPDATE SKIP LOCKED) RETURNING 1) SELECT count(*) FROM gone`},
		// Those of streams that are pushed (package receive), of which there is no end; others are needed for ever.
		{"streams", batchKept, `WITH gone AS (DELETE FROM positions WHERE (input, key) IN
			(SELECT input, key FROM positions WHERE key LIKE 'stream/%' AND moved_at < clock_timestamp() - make_interval(secs => $1) LIMIT $2::bigint FOR UPDATE SKIP LOCKED) RETURNING 1) SELECT count(*) FROM gone`},
		{"answers", answerKept, `WITH gone AS (DELETE FROM answers WHERE (principal, key) IN
			(SELECT principal, key FROM answers WHERE at < clock_timestamp() - make_interval(secs => $1) LIMIT $2::bigint FOR UPDATE SKIP LOCKED) RETURNING 1) SELECT count(*) FROM gone`},
		{"looks", lookKept, `WITH gone AS (DELETE FROM looks WHERE id IN
			(SELECT id FROM looks WHERE at < clock_timestamp() - make_interval(secs => $1) LIMIT $2::bigint FOR UPDATE SKIP LOCKED) RETURNING 1) SELECT count(*) FROM gone`},
	}
}
