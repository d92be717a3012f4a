package store

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// What Count refuses.
var (
	// ErrMoved: a position is not where the batch begins; nothing was written.
	ErrMoved = errors.New("the input's position has moved: somebody else has counted these lines")
	// ErrCounted: a batch of this id was counted before; nothing was written.
	ErrCounted = errors.New("the batch was counted before")
)

// counting may read and write for long where a backlog is counted.
var counting = limits{mode: writing.mode, idle: 20 * time.Second, statement: 60 * time.Second, lock: 20 * time.Second, whole: 2 * time.Minute}

// Count writes a batch's calls, the positions behind it and what it says of its
// input, in one transaction: that is what makes every line count once. Whose the
// calls are is decided within it, while nobody can change who holds which
// address; what is learned later is put right by Reattribute.
//
// A billed call of a workspace that the platform must not pay for asks for a
// look at it in the same transaction, unless an open drift tells of it already.
func (s *Store) Count(ctx context.Context, c *Counting, attribute Attributor) (counted Counted, err error) {
	err = s.transact(ctx, "count the calls of "+c.Input.Name, counting, func(ctx context.Context, tx pgx.Tx) error {
		counted, err = c.write(ctx, tx, attribute)
		return err
	})
	return counted, err
}

func (c *Counting) write(ctx context.Context, tx pgx.Tx, attribute Attributor) (counted Counted, err error) {
	if err := c.move(ctx, tx); err != nil {
		return counted, err
	}
	if len(c.Calls) > 0 {
		if err := lockShared(ctx, tx, lockHoldings); err != nil {
			return counted, err
		}
		owner, err := owners(ctx, tx, c.Calls, attribute)
		if err != nil {
			return counted, err
		}
		rows := make([]row, len(c.Calls))
		counted.Owners = make([]Owner, len(c.Calls))
		for i := range c.Calls {
			counted.Owners[i] = owner(&c.Calls[i])
			rows[i] = row{&c.Calls[i], counted.Owners[i]}
		}
		if err := writeRows(ctx, tx, rows); err != nil {
			return counted, err
		}
		if counted.Guarded, counted.Asked, err = alarm(ctx, tx, rows); err != nil {
			return counted, err
		}
	}
	return counted, c.note(ctx, tx)
}

// move moves the positions, or refuses.
func (c *Counting) move(ctx context.Context, tx pgx.Tx) error {
	b := &pgx.Batch{}
	if c.ID != "" {
		b.Queue("INSERT INTO batches (input, id) VALUES ($1, $2) ON CONFLICT DO NOTHING", c.Input.Name, clean(c.ID))
	}
	moves := slices.SortedFunc(slices.Values(c.Moves), func(a, b Move) int { return cmp.Compare(a.Key, b.Key) })
	for _, m := range moves {
		switch {
		case m.From == NoPosition:
			b.Queue(`INSERT INTO positions (input, key, "offset", detail) VALUES ($1, $2, $3::bigint, $4::json) ON CONFLICT DO NOTHING`, c.Input.Name, m.Key, m.To, document(m.Detail))
		case m.To == NoPosition:
			b.Queue(`DELETE FROM positions WHERE input = $1 AND key = $2 AND "offset" = $3::bigint`, c.Input.Name, m.Key, m.From)
		default:
			b.Queue(`UPDATE positions SET "offset" = $4::bigint, detail = $5::json, moved_at = clock_timestamp() WHERE input = $1 AND key = $2 AND "offset" = $3::bigint`,
				c.Input.Name, m.Key, m.From, m.To, document(m.Detail))
		}
	}
	if b.Len() == 0 {
		return nil
	}
	results := tx.SendBatch(ctx, b)
	var refused error
	for i := range b.Len() {
		tag, err := results.Exec()
		switch {
		case err != nil:
			return firstOf(err, results.Close())
		case tag.RowsAffected() > 0:
		case i == 0 && c.ID != "":
			refused = firstOf(refused, ErrCounted)
		default:
			refused = firstOf(refused, ErrMoved)
		}
	}
	return firstOf(results.Close(), refused)
}

// note says of the input that lines have come.
func (c *Counting) note(ctx context.Context, tx pgx.Tx) error {
	if c.Lines == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `INSERT INTO inputs AS i (input, host, line_at, newest_at, lines, unread, silent_after) VALUES ($1, $2, clock_timestamp(), $3, $4::bigint, $5::bigint, make_interval(secs => $6))
		ON CONFLICT (input, host) DO UPDATE SET started_at = CASE WHEN `+unheard+` THEN clock_timestamp() ELSE i.started_at END, seen_at = clock_timestamp(), line_at = clock_timestamp(), newest_at = greatest(i.newest_at, excluded.newest_at),
			lines = i.lines + excluded.lines, unread = i.unread + excluded.unread, silent_after = excluded.silent_after`,
		c.Input.Name, c.Input.Host, orNull(c.Newest), c.Lines, c.Unread, seconds(c.Input.SilentAfter))
	return err
}

// owners reads all that is known of the calls' addresses and names. The
// holdings are locked against change, shared, until the transaction ends.
func owners(ctx context.Context, tx pgx.Tx, calls []Calls, attribute Attributor) (func(*Calls) Owner, error) {
	addresses, named := map[netip.Addr]bool{}, map[UUID]bool{}
	for i := range calls {
		if c := &calls[i]; c.Named != (UUID{}) {
			named[c.Named] = true
		} else if c.Address.IsValid() {
			addresses[c.Address] = true
		}
	}
	held, err := tenures(ctx, tx, slices.Collect(maps.Keys(addresses)))
	if err != nil {
		return nil, err
	}
	known, err := nameds(ctx, tx, slices.Collect(maps.Keys(named)))
	if err != nil {
		return nil, err
	}
	return attribute(held, known), nil
}

// tenures gives who has held addresses, ever as far as it is known.
func tenures(ctx context.Context, tx pgx.Tx, addresses []netip.Addr) ([]Tenure, error) {
	if len(addresses) == 0 {
		return nil, nil
	}
	return collect(ctx, tx, func(r pgx.CollectableRow) (t Tenure, err error) {
		var prefix netip.Prefix
		var until *time.Time
		err = r.Scan(&prefix, &t.Source, &t.Workspace, &t.From, &until)
		t.Address, t.From, t.Until = prefix.Addr(), t.From.UTC(), orZero(until)
		return t, err
	}, "SELECT address, source, workspace, lower(during), upper(during) FROM holdings WHERE address = ANY($1::inet[])", pgx.QueryExecModeDescribeExec, addresses)
}

// nameds gives the workspaces of ids.
func nameds(ctx context.Context, tx pgx.Tx, ids []UUID) ([]Named, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return collect(ctx, tx, func(r pgx.CollectableRow) (n Named, err error) {
		return n, r.Scan(&n.Source, &n.Workspace)
	}, "SELECT source, id FROM states WHERE id = ANY($1::uuid[])", pgx.QueryExecModeDescribeExec, ids)
}
