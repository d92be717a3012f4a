package store

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Apply writes what a look changes: states, drifts, holdings, the source's own
// row, the requests that it answers, and the events of all this, in one
// transaction. It is fenced: where the lease is no longer held nothing is
// written, and the error is ErrFenced. After any other error, too, it may not be
// known what was written (the connection may have broken at the commit): Load
// tells.
func (s *Store) Apply(ctx context.Context, o *Outcome) (applied Applied, err error) {
	if err := o.check(); err != nil {
		return applied, s.wrap("apply what a look found of "+o.Lease.Source, err)
	}
	err = s.transact(ctx, "apply what a look found of "+o.Lease.Source, applying, func(ctx context.Context, tx pgx.Tx) error {
		applied, err = o.apply(ctx, tx)
		return err
	})
	if err != nil {
		return Applied{}, err
	}
	return applied, nil
}

func (o *Outcome) apply(ctx context.Context, tx pgx.Tx) (applied Applied, err error) {
	if err := fence(ctx, tx, o.Lease); err != nil {
		return applied, err
	}
	if o.Err != "" {
		return applied, o.writeFailure(ctx, tx)
	}
	tenancy, err := o.tenancy(ctx, tx)
	if err != nil {
		return applied, err
	}
	if err := writeStates(ctx, tx, o.Lease.Source, o.States); err != nil {
		return applied, err
	}
	if err := dropStates(ctx, tx, o.Lease.Source, o.Gone); err != nil {
		return applied, err
	}
	var events []drift.Event
	if applied.Episodes, events, err = writeEpisodes(ctx, tx, o.Lease.Source, o.Episodes); err != nil {
		return applied, err
	}
	if o.Full {
		if err := o.writePass(ctx, tx); err != nil {
			return applied, err
		}
	}
	if applied.Taken, err = tenancy.write(ctx, tx); err != nil {
		return applied, err
	}
	// After the holdings have been locked: whoever counts has them locked, and
	// asks for looks then.
	if len(o.Looks) > 0 {
		if _, err := tx.Exec(ctx, "DELETE FROM looks WHERE source = $1 AND id = ANY($2::bigint[])", o.Lease.Source, o.Looks); err != nil {
			return applied, err
		}
	}
	applied.Events, err = appendEvents(ctx, tx, append(events, o.Events...)) // last: see there
	return applied, err
}

// check refuses what the database would refuse in words that help less.
func (o *Outcome) check() error {
	opened := map[string]bool{}
	for i := range o.Episodes {
		e := &o.Episodes[i].Episode
		if e.Source != o.Lease.Source {
			return invalid("a drift of source %q", e.Source)
		}
		if e.ID == 0 && opened[e.Workspace] {
			return invalid("two new drifts of workspace %s", e.Workspace)
		}
		opened[e.Workspace] = opened[e.Workspace] || e.ID == 0
	}
	ids := slices.Concat(column(o.States, func(s State) string { return s.ID }), o.Gone, slices.Collect(maps.Keys(o.Holdings)))
	for _, id := range ids {
		if !isUUID(id) {
			return invalid("%q is no workspace's id", id)
		}
	}
	return nil
}

// writeFailure notes that the source could not be read.
func (o *Outcome) writeFailure(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `INSERT INTO sources (name, err, tried_at) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET err = excluded.err, tried_at = excluded.tried_at`, o.Lease.Source, clean(o.Err), o.At)
	return err
}

// writePass notes how a whole pass went. An acceptance is used up by the first
// pass without a surge: while one stands, the pass has not seen it.
func (o *Outcome) writePass(ctx context.Context, tx pgx.Tx) error {
	counts, err := asText(o.Counts)
	if err != nil {
		return err
	}
	var told *time.Time
	for i := range o.Events {
		if k := o.Events[i].Kind; k == drift.EventSurge || k == drift.EventSurgeReminder {
			told = &o.Events[i].At
		}
	}
	var since *time.Time
	if o.Surge != "" {
		since = &o.At
	}
	_, err = tx.Exec(ctx, `INSERT INTO sources AS s (name, last_pass_at, took, err, tried_at, resolver, known, flipped, missing, counts, surge, surge_since, surge_told)
		VALUES ($1, $2, $3::bigint, '', $2, $4, $5::int, $6::int, $7::int, $8::json, $9, $10, $11)
		ON CONFLICT (name) DO UPDATE SET last_pass_at = excluded.last_pass_at, took = excluded.took, err = '', tried_at = excluded.tried_at, resolver = excluded.resolver,
			known = excluded.known, flipped = excluded.flipped, missing = excluded.missing, counts = excluded.counts, surge = excluded.surge,
			surge_since = CASE WHEN excluded.surge <> '' THEN coalesce(s.surge_since, excluded.surge_since) END,
			surge_told = CASE WHEN excluded.surge <> '' THEN coalesce(excluded.surge_told, s.surge_told) END,
			accepted = CASE WHEN excluded.surge <> '' THEN s.accepted END`,
		o.Lease.Source, o.At, o.Took.Microseconds(), clean(o.Resolver), o.Census.Known, o.Census.Flipped, o.Census.Missing, counts, clean(o.Surge), since, told)
	return err
}

// writeStates writes the states that are new or differ from what is there: in
// the order of their ids, as everywhere, so that nobody waits in a circle.
func writeStates(ctx context.Context, tx pgx.Tx, source string, states []State) error {
	states = slices.SortedFunc(slices.Values(states), func(a, b State) int { return strings.Compare(a.ID, b.ID) })
	for part := range slices.Chunk(states, chunk) {
		if err := writeSorted(ctx, tx, source, part); err != nil {
			return err
		}
	}
	return nil
}

// chunk is how many rows a statement writes: what takes us long to send would
// pass for the silence of a frozen process.
const chunk = 2000

func writeSorted(ctx context.Context, tx pgx.Tx, source string, states []State) error {
	_, err := tx.Exec(ctx, `INSERT INTO states (source, id, name, status, verdict, kinds, desired_mode, overrides, observed, observed_at, digest, document)
		SELECT $1::text, n.id, n.name, n.status, n.verdict, string_to_array(n.kinds, ','), n.desired_mode, string_to_array(n.overrides, ','), n.observed, n.observed_at, n.digest, n.document::json
		FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::boolean[], $10::timestamptz[], $11::bytea[], $12::text[])
			AS n(id, name, status, verdict, kinds, desired_mode, overrides, observed, observed_at, digest, document)
		WHERE NOT EXISTS (SELECT FROM states s WHERE s.source = $1::text AND s.id = n.id AND s.digest = n.digest)
		ON CONFLICT (source, id) DO UPDATE SET name = excluded.name, status = excluded.status, verdict = excluded.verdict, kinds = excluded.kinds,
			desired_mode = excluded.desired_mode, overrides = excluded.overrides, observed = excluded.observed, observed_at = excluded.observed_at,
			digest = excluded.digest, document = excluded.document`,
		pgx.QueryExecModeDescribeExec, // one more round trip, and documents go as they are in place of quoted
		source,
		column(states, func(s State) string { return s.ID }),
		column(states, func(s State) string { return clean(s.Name) }),
		column(states, func(s State) string { return clean(s.Status) }),
		column(states, func(s State) string { return string(s.Verdict) }),
		column(states, func(s State) string { return words(s.Kinds) }),
		column(states, func(s State) string { return string(s.DesiredMode) }),
		column(states, func(s State) string { return words(s.Overrides) }),
		column(states, func(s State) bool { return s.Observed }),
		column(states, func(s State) *time.Time { return orNull(s.ObservedAt) }),
		column(states, func(s State) []byte { return s.Digest[:] }),
		column(states, func(s State) string { return string(s.Document) }))
	return err
}

func dropStates(ctx context.Context, tx pgx.Tx, source string, gone []string) error {
	if len(gone) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, "DELETE FROM states WHERE source = $1 AND id = ANY($2::uuid[])", source, gone)
	return err
}

// Forget removes what is left of a source that is no longer configured: its
// states, its own row and its lease. Its drifts must have ended first, else it
// is ErrStale; they and the events stay for as long as they are kept. Holdings
// end.
func (s *Store) Forget(ctx context.Context, l Lease) error {
	return s.write(ctx, "forget source "+l.Source, func(ctx context.Context, tx pgx.Tx) error {
		if err := fence(ctx, tx, l); err != nil {
			return err
		}
		var open bool
		if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM drifts WHERE source = $1 AND closed_at IS NULL)", l.Source).Scan(&open); err != nil || open {
			return firstOf(err, ErrStale)
		}
		if err := endAll(ctx, tx, l.Source); err != nil {
			return err
		}
		for _, sql := range []string{"DELETE FROM states WHERE source = $1", "DELETE FROM looks WHERE source = $1", "DELETE FROM sources WHERE name = $1", "DELETE FROM leases WHERE source = $1"} {
			if _, err := tx.Exec(ctx, sql, l.Source); err != nil {
				return err
			}
		}
		return nil
	})
}

// endAll ends the holdings of a source.
func endAll(ctx context.Context, tx pgx.Tx, source string) error {
	if err := lock(ctx, tx, lockHoldings); err != nil {
		return err
	}
	ending, err := collect(ctx, tx, scanHolding, holdingSelect+" WHERE h.source = $1 AND upper_inf(h.during)", source)
	if err != nil {
		return err
	}
	var now time.Time
	if err := tx.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&now); err != nil {
		return err
	}
	if err := endHoldings(ctx, tx, ending, now); err != nil {
		return err
	}
	return doubt(ctx, tx, ending, nil)
}
