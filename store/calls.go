package store

import (
	"context"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"
)

// CallRow is what was counted of one workspace, from one address, together.
type CallRow struct {
	Bucket      time.Time       `json:"bucket"` // the beginning of five minutes; of an hour or a day where it is old
	Address     *netip.Addr     `json:"address"`
	Attribution AttributionKind `json:"-"`
	Operation   int16           `json:"-"`
	Class       int16           `json:"class"` // status / 100; 0: none was sent
	Billed      int64           `json:"billed"`
	Rejected    int64           `json:"rejected"`
	Input       int64           `json:"input_tokens"`
	Output      int64           `json:"output_tokens"`
	CostUSD     *float64        `json:"cost_usd"` // nil: not known of all
	First       time.Time       `json:"first"`
	Last        time.Time       `json:"last"`
}

// CallRows gives what was counted of a workspace between two times, the oldest
// first, at most limit rows from the first after a bucket on.
func (s *Store) CallRows(ctx context.Context, source, workspace string, since, until time.Time, limit int) (rows []CallRow, err error) {
	err = s.read(ctx, "read the calls of "+workspace, func(ctx context.Context, tx pgx.Tx) error {
		rows, err = collect(ctx, tx, scanCallRow, `SELECT bucket, address, attribution, operation, class, billed, rejected, input_tokens, output_tokens,
				CASE WHEN unpriced = 0 AND billed > 0 THEN cost_usd END, first_at, last_at
			FROM traffic WHERE source = $1 AND workspace = $2::uuid AND bucket >= $3::timestamptz AND bucket < $4::timestamptz ORDER BY `+rowKey+` LIMIT $5::bigint`,
			source, workspace, since, until, limit)
		return err
	})
	return rows, err
}

func scanCallRow(row pgx.CollectableRow) (c CallRow, err error) {
	var prefix netip.Prefix
	err = row.Scan(&c.Bucket, &prefix, &c.Attribution, &c.Operation, &c.Class, &c.Billed, &c.Rejected, &c.Input, &c.Output, &c.CostUSD, &c.First, &c.Last)
	if a := prefix.Addr(); a != netip.IPv6Unspecified() {
		c.Address = &a
	}
	c.Bucket, c.First, c.Last = c.Bucket.UTC(), c.First.UTC(), c.Last.UTC()
	return c, err
}
