package store

import (
	"bytes"
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// row is a row of traffic: calls, and whose they are.
type row struct {
	*Calls
	Owner
}

func (r *row) compare(o *row) int {
	return cmp.Or(r.Bucket.Compare(o.Bucket), r.Address.Compare(o.Address), cmp.Compare(r.Source, o.Source),
		bytes.Compare(r.Workspace[:], o.Workspace[:]), cmp.Compare(r.Kind, o.Kind), cmp.Compare(r.Operation, o.Operation), cmp.Compare(r.Class, o.Class))
}

// merge adds what has the same key up. The rows come out in the order of the
// key, in which all lock them, so that nobody waits in a circle.
func merge(rows []row) []row {
	rows = slices.SortedFunc(slices.Values(rows), func(a, b row) int { return a.compare(&b) })
	out := rows[:0]
	for _, r := range rows {
		if n := len(out); n > 0 && out[n-1].compare(&r) == 0 {
			sum := *out[n-1].Calls
			sum.add(r.Calls)
			out[n-1].Calls = &sum
			continue
		}
		out = append(out, r)
	}
	return out
}

func (c *Calls) add(o *Calls) {
	c.Billed += o.Billed
	c.Rejected += o.Rejected
	c.Input += o.Input
	c.Output += o.Output
	c.Untold += o.Untold
	c.CostUSD += o.CostUSD
	c.Unpriced += o.Unpriced
	if o.First.Before(c.First) {
		c.First = o.First
	}
	if o.Last.After(c.Last) {
		c.Last = o.Last
	}
	if o.LastBilled.After(c.LastBilled) {
		c.LastBilled = o.LastBilled
	}
}

// rowsAtOnce is how many rows a statement is given as arrays. More are copied
// into a table of their own first, which takes half the time.
const rowsAtOnce = 1000

const (
	rowKey    = "bucket, address, source, workspace, attribution, operation, class"
	rowValues = "billed, rejected, input_tokens, output_tokens, untold, cost_usd, unpriced, first_at, last_at, last_billed"

	// addUp lets what is written add to what is there.
	addUp = ` ON CONFLICT (` + rowKey + `) DO UPDATE SET
		billed = t.billed + excluded.billed, rejected = t.rejected + excluded.rejected, input_tokens = t.input_tokens + excluded.input_tokens,
		output_tokens = t.output_tokens + excluded.output_tokens, untold = t.untold + excluded.untold, cost_usd = t.cost_usd + excluded.cost_usd,
		unpriced = t.unpriced + excluded.unpriced, first_at = least(t.first_at, excluded.first_at), last_at = greatest(t.last_at, excluded.last_at),
		last_billed = greatest(t.last_billed, excluded.last_billed)`
)

// writeRows adds rows to what is there.
func writeRows(ctx context.Context, tx pgx.Tx, rows []row) error {
	if rows = merge(rows); len(rows) > rowsAtOnce {
		return copyRows(ctx, tx, rows)
	}
	_, err := tx.Exec(ctx, `INSERT INTO traffic AS t (`+rowKey+`, `+rowValues+`)
		SELECT * FROM unnest($1::timestamptz[], $2::inet[], $3::text[], $4::uuid[], $5::smallint[], $6::smallint[], $7::smallint[],
			$8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::float8[], $14::bigint[], $15::timestamptz[], $16::timestamptz[], $17::timestamptz[])`+addUp,
		pgx.QueryExecModeDescribeExec,
		column(rows, func(r row) time.Time { return r.Bucket }),
		column(rows, func(r row) netip.Addr { return orUnspecified(r.Address) }),
		column(rows, func(r row) string { return r.Source }),
		column(rows, func(r row) UUID { return r.Workspace }),
		column(rows, func(r row) int16 { return int16(r.Kind) }),
		column(rows, func(r row) int16 { return r.Operation }),
		column(rows, func(r row) int16 { return r.Class }),
		column(rows, func(r row) int64 { return r.Billed }),
		column(rows, func(r row) int64 { return r.Rejected }),
		column(rows, func(r row) int64 { return r.Input }),
		column(rows, func(r row) int64 { return r.Output }),
		column(rows, func(r row) int64 { return r.Untold }),
		column(rows, func(r row) float64 { return r.CostUSD }),
		column(rows, func(r row) int64 { return r.Unpriced }),
		column(rows, func(r row) time.Time { return r.First }),
		column(rows, func(r row) time.Time { return r.Last }),
		column(rows, func(r row) *time.Time { return orNull(r.LastBilled) }))
	return err
}

// copyRows goes by a table that lives as long as the transaction.
func copyRows(ctx context.Context, tx pgx.Tx, rows []row) error {
	if _, err := tx.Exec(ctx, "CREATE TEMPORARY TABLE traffic_copied (LIKE traffic) ON COMMIT DROP"); err != nil {
		return err
	}
	columns := strings.Split(rowKey+", "+rowValues, ", ")
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"traffic_copied"}, columns, pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
		r := &rows[i]
		return []any{r.Bucket, orUnspecified(r.Address), r.Source, r.Workspace, int16(r.Kind), r.Operation, r.Class,
			r.Billed, r.Rejected, r.Input, r.Output, r.Untold, r.CostUSD, r.Unpriced, r.First, r.Last, orNull(r.LastBilled)}, nil
	}))
	if err != nil {
		return err
	}
	// In the order in which they were copied, which is that of the key.
	if _, err := tx.Exec(ctx, "INSERT INTO traffic AS t ("+rowKey+", "+rowValues+") SELECT "+rowKey+", "+rowValues+" FROM traffic_copied"+addUp); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "DROP TABLE traffic_copied")
	return err
}

// orUnspecified stands for no address in a key, where NULL cannot.
func orUnspecified(a netip.Addr) netip.Addr {
	if !a.IsValid() {
		return netip.IPv6Unspecified()
	}
	return a
}
