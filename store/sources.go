package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
)

const sourceSelect = `SELECT s.name, s.last_pass_at, s.took, s.err, s.tried_at, s.resolver, s.known, s.flipped, s.missing, s.counts,
	s.surge, s.surge_since, s.surge_told, s.accepted, r.id::text, r.name, r.version, r.started_at, r.seen_at
	FROM (SELECT coalesce(so.name, le.source) AS name, last_pass_at, coalesce(took, 0) AS took, coalesce(err, '') AS err, tried_at, coalesce(resolver, '') AS resolver,
			coalesce(known, 0) AS known, coalesce(flipped, 0) AS flipped, coalesce(missing, 0) AS missing, coalesce(counts, '{}'::json) AS counts,
			coalesce(surge, '') AS surge, surge_since, surge_told, accepted, holder
		FROM sources so FULL JOIN leases le ON le.source = so.name) s
	LEFT JOIN replicas r ON r.id = s.holder`

func scanSource(row pgx.CollectableRow) (s SourceState, err error) {
	var lastPass, tried, since, told, accepted, started, seen *time.Time
	var id, name, version *string
	var took int64
	var counts []byte
	err = row.Scan(&s.Name, &lastPass, &took, &s.Err, &tried, &s.Resolver, &s.Census.Known, &s.Census.Flipped, &s.Census.Missing, &counts,
		&s.Surge, &since, &told, &accepted, &id, &name, &version, &started, &seen)
	if err != nil {
		return s, err
	}
	s.LastPassAt, s.TriedAt, s.SurgeSince, s.SurgeTold, s.Accepted = orZero(lastPass), orZero(tried), orZero(since), orZero(told), orZero(accepted)
	s.Took = time.Duration(took) * time.Microsecond
	if id != nil {
		s.Holder = &Replica{ID: *id, Name: orEmpty(name), Version: orEmpty(version), StartedAt: orZero(started), SeenAt: orZero(seen)}
	}
	if err := json.Unmarshal(counts, &s.Counts); err != nil {
		return s, fmt.Errorf("counts of source %s: %w", s.Name, err)
	}
	if len(s.Counts) == 0 {
		s.Counts = nil
	}
	return s, nil
}

// Sources gives how every source stands, by name: those that have been looked
// at, and those that somebody wants to look at.
func (s *Store) Sources(ctx context.Context) (sources []SourceState, err error) {
	err = s.read(ctx, "read the sources", func(ctx context.Context, tx pgx.Tx) error {
		sources, err = collect(ctx, tx, scanSource, sourceSelect+" WHERE s.name <> $1 ORDER BY s.name", Fleet)
		return err
	})
	return sources, err
}

// Source gives how one source, or the Fleet, stands; ErrNotFound where nobody
// has heard of it.
func (s *Store) Source(ctx context.Context, name string) (state SourceState, err error) {
	err = s.read(ctx, "read source "+name, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, sourceSelect+" WHERE s.name = $1", name)
		if err != nil {
			return err
		}
		state, err = pgx.CollectExactlyOneRow(rows, scanSource)
		return found(err)
	})
	return state, err
}

// Accepted gives when an operator accepted the surge that stands in a source,
// or in the Fleet; zero where nobody has.
func (s *Store) Accepted(ctx context.Context, source string) (at time.Time, err error) {
	err = s.read(ctx, "read what was accepted in "+source, func(ctx context.Context, tx pgx.Tx) error {
		list, err := collect(ctx, tx, pgx.RowTo[*time.Time], "SELECT accepted FROM sources WHERE name = $1", source)
		at = time.Time{}
		if len(list) > 0 {
			at = orZero(list[0])
		}
		return err
	})
	return at, err
}

// Accept says that what changed at once in a source, or in the Fleet, is meant.
// The next pass believes it, and uses the acceptance up. ErrNoSurge where
// nothing is to be accepted.
func (s *Store) Accept(ctx context.Context, source, by, reason string) error {
	return s.change(ctx, "accept a surge", func(ctx context.Context, c *Change) error { return c.Accept(ctx, source, by, reason) })
}

// Accept is Store.Accept within the change.
func (c *Change) Accept(ctx context.Context, source, by, reason string) error {
	if by == "" || reason == "" {
		return invalid("to accept a surge needs a reason, and who accepts it")
	}
	surges, err := collect(ctx, c.tx, pgx.RowTo[string], "UPDATE sources SET accepted = $2 WHERE name = $1 AND surge <> '' RETURNING surge", source, c.now)
	switch {
	case err != nil:
		return err
	case len(surges) == 0:
		return ErrNoSurge
	}
	c.note(ChannelSwitch, source)
	of := source
	if source == Fleet {
		of = ""
	}
	return c.event(ctx, drift.Event{Kind: drift.EventSurgeAccepted, Source: of, By: clean(by), Summary: clean("accepted: " + surges[0] + ": " + reason)})
}

// Agreement counts how much of the fleet has been read under one resolver by
// the passes of the time within, leaving one source out ("": none). A source that
// was walked once, and of which nothing was known before, has as many workspaces
// as that pass has judged.
func (s *Store) Agreement(ctx context.Context, resolver, except string, within time.Duration) (a Agreement, err error) {
	err = s.read(ctx, "read how the fleet agrees", func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT coalesce(sum(size), 0)::int, coalesce(sum(size) FILTER (WHERE resolver = $1), 0)::int, coalesce(sum(flipped) FILTER (WHERE resolver = $1), 0)::int
			FROM (SELECT *, greatest(known, (SELECT sum(n::int) FROM json_each_text(counts) AS c(verdict, n) WHERE verdict <> 'skipped')) AS size FROM sources) s WHERE last_pass_at > clock_timestamp() - make_interval(secs => $2) AND name <> $3 AND name <> $4`,
			resolver, seconds(within), Fleet, except).Scan(&a.Workspaces, &a.Read, &a.Flipped)
	})
	return a, err
}
