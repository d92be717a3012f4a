package store

import (
	"context"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"
)

// Hear gives what the logs tell of workspaces of a source, each in its present
// life. Grace is for calls that were in flight while a container was replaced.
//
// Calls that were attributed by one of the addresses in unseen are doubtful: they
// may be somebody's whom nobody has seen yet.
//
// Calls are counted five minutes together, or longer where they are old: of such
// a row that began before the life did, no more is counted than is sure to
// belong to it, which is one call.
func (s *Store) Hear(ctx context.Context, source string, listeners []Listener, unseen []netip.Addr, grace time.Duration) (heard map[string]Heard, err error) {
	if len(listeners) == 0 {
		return map[string]Heard{}, nil
	}
	err = s.read(ctx, "read the traffic of "+source, func(ctx context.Context, tx pgx.Tx) error {
		heard = make(map[string]Heard, len(listeners))
		if err := hearOwn(ctx, tx, heard, source, listeners, unseen, grace); err != nil {
			return err
		}
		if err := hearUnseen(ctx, tx, heard, source, listeners, unseen); err != nil {
			return err
		}
		return hearShared(ctx, tx, heard, listeners)
	})
	return heard, err
}

// coarsest is the longest that a row of traffic spans.
const coarsest = "interval '1 day'"

func hearOwn(ctx context.Context, tx pgx.Tx, heard map[string]Heard, source string, listeners []Listener, unseen []netip.Addr, grace time.Duration) error {
	rows, err := tx.Query(ctx, `SELECT l.id::text,
			sum(CASE WHEN t.first_at >= l.since THEN t.billed WHEN t.last_billed >= l.since THEN 1 ELSE 0 END)::bigint,
			sum(CASE WHEN t.first_at >= l.since THEN t.rejected WHEN t.billed = 0 THEN 1 ELSE 0 END)::bigint,
			sum(CASE WHEN t.first_at > l.since + g.grace THEN t.billed WHEN t.last_billed > l.since + g.grace THEN 1 ELSE 0 END)::bigint,
			sum(CASE WHEN t.attribution <> 3 THEN 0 WHEN t.first_at >= l.since THEN t.billed WHEN t.last_billed >= l.since THEN 1 ELSE 0 END)::bigint,
			sum(CASE WHEN t.attribution = 3 AND t.billed > 0 AND NOT EXISTS (SELECT FROM holdings h WHERE h.source = t.source AND h.workspace = t.workspace AND h.address = t.address)
				THEN CASE WHEN t.first_at >= l.since THEN t.billed WHEN t.last_billed >= l.since THEN 1 ELSE 0 END ELSE 0 END)::bigint,
			coalesce(sum(t.input_tokens) FILTER (WHERE t.first_at >= l.since), 0)::bigint,
			coalesce(sum(t.output_tokens) FILTER (WHERE t.first_at >= l.since), 0)::bigint,
			coalesce(sum(t.cost_usd) FILTER (WHERE t.first_at >= l.since), 0),
			sum(CASE WHEN t.first_at >= l.since THEN t.unpriced WHEN t.last_billed >= l.since THEN 1 ELSE 0 END)::bigint,
			min(greatest(t.first_at, l.since)), max(t.last_at)
		FROM unnest($2::uuid[], $3::timestamptz[]) AS l(id, since) CROSS JOIN (SELECT make_interval(secs => $4)) AS g(grace)
		JOIN traffic t ON t.source = $1 AND t.workspace = l.id AND t.bucket > l.since - `+coarsest+` AND t.last_at >= l.since
			AND (t.attribution <> 2 OR t.address <> ALL($5::inet[]))
		GROUP BY l.id`, pgx.QueryExecModeDescribeExec, source,
		column(listeners, func(l Listener) string { return l.Workspace }),
		column(listeners, func(l Listener) time.Time { return everSince(l.Since) }), seconds(grace), append([]netip.Addr{}, unseen...))
	if err != nil {
		return err
	}
	var id string
	var h Heard
	_, err = pgx.ForEachRow(rows, []any{&id, &h.Billed, &h.Rejected, &h.PastGrace, &h.Named, &h.Elsewhere, &h.Input, &h.Output, &h.CostUSD, &h.Unpriced, &h.First, &h.Last}, func() error {
		h.First, h.Last = h.First.UTC(), h.Last.UTC()
		heard[id] = h
		return nil
	})
	return err
}

// hearUnseen adds the calls that only an address tells of which somebody unseen
// may hold as well.
func hearUnseen(ctx context.Context, tx pgx.Tx, heard map[string]Heard, source string, listeners []Listener, unseen []netip.Addr) error {
	if len(unseen) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, `SELECT l.id::text, sum(CASE WHEN t.first_at >= l.since THEN t.billed + t.rejected ELSE 1 END)::bigint
		FROM unnest($2::uuid[], $3::timestamptz[]) AS l(id, since)
		JOIN traffic t ON t.source = $1 AND t.workspace = l.id AND t.attribution = 2 AND t.address = ANY($4::inet[]) AND t.bucket > l.since - `+coarsest+` AND t.last_at >= l.since
		GROUP BY l.id`, pgx.QueryExecModeDescribeExec, source,
		column(listeners, func(l Listener) string { return l.Workspace }),
		column(listeners, func(l Listener) time.Time { return everSince(l.Since) }), unseen)
	return doubtful(heard, rows, err)
}

// doubtful adds what a query counts by workspace.
func doubtful(heard map[string]Heard, rows pgx.Rows, err error) error {
	if err != nil {
		return err
	}
	var id string
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&id, &n}, func() error {
		h := heard[id]
		h.Doubtful += n
		heard[id] = h
		return nil
	})
	return err
}

// hearShared adds the calls from addresses that several hold: they may be
// anybody's of those.
func hearShared(ctx context.Context, tx pgx.Tx, heard map[string]Heard, listeners []Listener) error {
	var ids []string
	var addresses []netip.Addr
	var sinces []time.Time
	for _, l := range listeners {
		for _, a := range l.Addresses {
			ids, addresses, sinces = append(ids, l.Workspace), append(addresses, a), append(sinces, everSince(l.Since))
		}
	}
	if len(ids) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, `SELECT l.id::text, sum(CASE WHEN t.first_at >= l.since THEN t.billed + t.rejected ELSE 1 END)::bigint
		FROM unnest($1::uuid[], $2::inet[], $3::timestamptz[]) AS l(id, address, since)
		JOIN traffic t ON t.attribution = 1 AND t.address = l.address AND t.bucket > l.since - `+coarsest+` AND t.last_at >= l.since
		GROUP BY l.id`, pgx.QueryExecModeDescribeExec, ids, addresses, sinces)
	return doubtful(heard, rows, err)
}

// everSince is a time that can be subtracted from, and before all others.
func everSince(t time.Time) time.Time {
	if t.IsZero() {
		return time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return t
}
