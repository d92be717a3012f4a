package store

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// addressesAtOnce bounds what one Reattribute takes on.
const addressesAtOnce = 500

// Reattribute decides anew whose calls are, where it was learned late who held
// their address or who bears the name in them, as far back as window. More says
// that there is more to do. What a billed call brings about it brings about here
// too: a look is asked for, unless a drift tells of it already. Which of several
// replicas does it does not matter.
func (s *Store) Reattribute(ctx context.Context, window time.Duration, attribute Attributor) (moved int, more bool, err error) {
	err = s.transact(ctx, "attribute calls anew", counting, func(ctx context.Context, tx pgx.Tx) error {
		moved, more = 0, false
		if err := lockShared(ctx, tx, lockHoldings); err != nil {
			return err
		}
		rows, taken, err := misattributed(ctx, tx, window)
		if err != nil || len(rows) == 0 {
			more = taken == addressesAtOnce
			return err
		}
		more = taken == addressesAtOnce
		moved, err = reattribute(ctx, tx, rows, attribute)
		return err
	})
	return moved, more, err
}

// misattributed takes the addresses that wait, and gives the rows that may have
// to move, locked in the order of the key.
func misattributed(ctx context.Context, tx pgx.Tx, window time.Duration) (rows []row, taken int, err error) {
	type stale struct {
		address netip.Addr
		since   time.Time
	}
	waiting, err := collect(ctx, tx, func(r pgx.CollectableRow) (w stale, err error) {
		var prefix netip.Prefix
		err = r.Scan(&prefix, &w.since)
		w.address = prefix.Addr()
		return w, err
	}, `DELETE FROM reattributions WHERE address IN (SELECT address FROM reattributions ORDER BY address LIMIT $1 FOR UPDATE SKIP LOCKED) RETURNING address, since`, addressesAtOnce)
	if err != nil {
		return nil, 0, err
	}
	if len(waiting) > 0 {
		since := waiting[0].since
		for _, w := range waiting {
			if w.since.Before(since) {
				since = w.since
			}
		}
		rows, err = collect(ctx, tx, scanRow, rowSelect+` WHERE bucket >= greatest($1::timestamptz, clock_timestamp() - make_interval(secs => $2)) - interval '5 minutes'
			AND address = ANY($3::inet[]) AND attribution <= 2 AND (attribution = 2 OR workspace = $4::uuid) ORDER BY `+rowKey+" FOR UPDATE",
			pgx.QueryExecModeDescribeExec, since, seconds(window), column(waiting, func(w stale) netip.Addr { return w.address }), UUID{})
		if err != nil {
			return nil, 0, err
		}
	}
	named, err := collect(ctx, tx, scanRow, rowSelect+` WHERE attribution = 0 AND workspace <> '00000000-0000-0000-0000-000000000000' AND bucket >= clock_timestamp() - make_interval(secs => $1)
		AND workspace IN (SELECT id FROM states) ORDER BY `+rowKey+" LIMIT 5000 FOR UPDATE", seconds(window))
	return append(rows, named...), len(waiting), err
}

const rowSelect = "SELECT " + rowKey + ", " + rowValues + " FROM traffic"

func scanRow(r pgx.CollectableRow) (out row, err error) {
	c := &Calls{}
	var prefix netip.Prefix
	var billed *time.Time
	err = r.Scan(&c.Bucket, &prefix, &out.Source, &out.Workspace, &out.Kind, &c.Operation, &c.Class, &c.Billed, &c.Rejected, &c.Input, &c.Output, &c.Untold,
		&c.CostUSD, &c.Unpriced, &c.First, &c.Last, &billed)
	if a := prefix.Addr(); a != netip.IPv6Unspecified() {
		c.Address = a
	}
	if out.Kind != ByAddress {
		c.Named = out.Workspace
	}
	c.Bucket, c.First, c.Last, c.LastBilled = c.Bucket.UTC(), c.First.UTC(), c.Last.UTC(), orZero(billed)
	out.Calls = c
	return out, err
}

// reattribute moves the rows whose owner is another by now.
func reattribute(ctx context.Context, tx pgx.Tx, rows []row, attribute Attributor) (moved int, err error) {
	calls := make([]Calls, len(rows))
	for i := range rows {
		calls[i] = *rows[i].Calls
	}
	owner, err := owners(ctx, tx, calls, attribute)
	if err != nil {
		return 0, err
	}
	var old, fresh []row
	for _, r := range rows {
		if now := owner(r.Calls); now != r.Owner {
			old = append(old, r)
			fresh = append(fresh, row{r.Calls, now})
		}
	}
	if len(old) == 0 {
		return 0, nil
	}
	for part := range slices.Chunk(old, rowsAtOnce) {
		if _, err := tx.Exec(ctx, `DELETE FROM traffic t USING unnest($1::timestamptz[], $2::inet[], $3::text[], $4::uuid[], $5::smallint[], $6::smallint[], $7::smallint[]) AS n(`+rowKey+`)
			WHERE (t.bucket, t.address, t.source, t.workspace, t.attribution, t.operation, t.class) = (n.bucket, n.address, n.source, n.workspace, n.attribution, n.operation, n.class)`,
			pgx.QueryExecModeDescribeExec,
			column(part, func(r row) time.Time { return r.Bucket }),
			column(part, func(r row) netip.Addr { return orUnspecified(r.Address) }),
			column(part, func(r row) string { return r.Source }),
			column(part, func(r row) UUID { return r.Workspace }),
			column(part, func(r row) int16 { return int16(r.Kind) }),
			column(part, func(r row) int16 { return r.Operation }),
			column(part, func(r row) int16 { return r.Class })); err != nil {
			return 0, err
		}
	}
	moved = len(fresh)
	if err := writeRows(ctx, tx, fresh); err != nil {
		return 0, err
	}
	_, _, err = alarm(ctx, tx, fresh)
	return moved, err
}
