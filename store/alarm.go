package store

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// alarm finds the workspaces among those with billed calls that the platform
// must not pay for, and asks for a look at each of which no open drift tells
// already. Whoever holds the source's lease hears of it at once.
func alarm(ctx context.Context, tx pgx.Tx, rows []row) (guarded map[Named]bool, asked int, err error) {
	billed := billedOf(rows)
	if len(billed) == 0 {
		return nil, 0, nil
	}
	suspects := make([]Named, 0, len(billed))
	for n := range billed {
		suspects = append(suspects, n)
	}
	slices.SortFunc(suspects, func(a, b Named) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), bytes.Compare(a.Workspace[:], b.Workspace[:]))
	})
	wrong, err := collect(ctx, tx, func(r pgx.CollectableRow) (n Named, err error) {
		return n, r.Scan(&n.Source, &n.Workspace)
	}, `SELECT n.source, n.id FROM unnest($1::text[], $2::uuid[]) AS n(source, id) JOIN states s ON s.source = n.source AND s.id = n.id
		WHERE s.desired_mode IN ('byok', 'disabled') ORDER BY 1, 2`, pgx.QueryExecModeDescribeExec,
		column(suspects, func(n Named) string { return n.Source }), column(suspects, func(n Named) UUID { return n.Workspace }))
	if err != nil || len(wrong) == 0 {
		return nil, 0, err
	}
	guarded = make(map[Named]bool, len(wrong))
	for _, n := range wrong {
		guarded[n] = true
	}
	sources, err := collect(ctx, tx, pgx.RowTo[string], `INSERT INTO looks AS l (source, workspace, reason, by, at, hit_at)
		SELECT n.source, n.id, 'a billed call', 'traffic', clock_timestamp(), n.at FROM unnest($1::text[], $2::uuid[], $3::timestamptz[]) AS n(source, id, at)
		WHERE NOT EXISTS (SELECT FROM drifts d WHERE d.source = n.source AND d.workspace = n.id AND d.closed_at IS NULL AND 'proxy_traffic' = ANY(d.kinds))
		ON CONFLICT (source, workspace) DO UPDATE SET hit_at = least(l.hit_at, excluded.hit_at) RETURNING source`, pgx.QueryExecModeDescribeExec,
		column(wrong, func(n Named) string { return n.Source }), column(wrong, func(n Named) UUID { return n.Workspace }),
		column(wrong, func(n Named) time.Time { return billed[n] }))
	if err != nil {
		return nil, 0, err
	}
	for _, source := range slices.Compact(slices.Sorted(slices.Values(sources))) {
		if err := notify(ctx, tx, ChannelLook, source); err != nil {
			return nil, 0, err
		}
	}
	return guarded, len(sources), nil
}

// billedOf gives the workspaces with billed calls, and when the first was.
func billedOf(rows []row) map[Named]time.Time {
	billed := map[Named]time.Time{}
	for i := range rows {
		r := &rows[i]
		if r.Source == "" || r.Billed == 0 {
			continue
		}
		n := Named{r.Source, r.Workspace}
		if first, known := billed[n]; !known || r.First.Before(first) {
			billed[n] = r.First
		}
	}
	return billed
}
