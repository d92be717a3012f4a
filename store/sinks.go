package store

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Sink is somebody who is told of events, and how telling goes. The events that
// are committed are its queue, and its cursor says how far it has come.
type Sink struct {
	Name         string
	Kind         string
	Holder       string    // the name of the replica that is telling it; "": none is now
	Waiting      int64     // events that it was not told yet, those that it does not want included; 10,000 means as many or more
	OldestAt     time.Time // when the oldest of them happened; zero: there is none
	Tries        int       // failures in a row
	Err          string    // the last of them, without secrets; "": none
	FailingSince time.Time // zero: it does not fail
	NextAt       time.Time // not tried before
	DeliveredAt  time.Time // of the last message; zero: none was
	Dropped      int64     // events that it refused for good
	SeenAt       time.Time // when a replica last had it configured
}

// Behind is for how long the sink has failed or an event has waited for it; 0:
// neither.
func (k *Sink) Behind(now time.Time) (longest time.Duration) {
	for _, since := range []time.Time{k.FailingSince, k.OldestAt} {
		if !since.IsZero() {
			longest = max(longest, now.Sub(since))
		}
	}
	return longest
}

// sinkKept is how long the cursor of a sink is kept that nobody has configured:
// a holiday's worth. One that is configured again later begins anew.
const sinkKept = 7 * 24 * time.Hour

// UseSinks notes which sinks a replica has configured, by name, with their
// kinds. One that is new begins with the next event, not with history. What
// nobody has had configured for a week is forgotten.
func (s *Store) UseSinks(ctx context.Context, kinds map[string]string) error {
	var names, words []string
	for name, kind := range kinds {
		names, words = append(names, name), append(words, kind)
	}
	return s.write(ctx, "note the sinks", func(ctx context.Context, tx pgx.Tx) error {
		b := &pgx.Batch{}
		b.Queue(`INSERT INTO sinks AS k (name, kind, cursor)
			SELECT n.name, n.kind, (SELECT coalesce(max(id), 0) FROM events) FROM unnest($1::text[], $2::text[]) AS n(name, kind) ORDER BY n.name
			ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, seen_at = clock_timestamp()`, names, words)
		b.Queue("DELETE FROM sinks WHERE seen_at < clock_timestamp() - make_interval(secs => $1)", seconds(sinkKept))
		return tx.SendBatch(ctx, b).Close()
	})
}

// Sinks gives all that are known, by name.
func (s *Store) Sinks(ctx context.Context) (sinks []Sink, err error) {
	err = s.read(ctx, "read how the sinks are", func(ctx context.Context, tx pgx.Tx) error {
		sinks, err = collect(ctx, tx, scanSink, `SELECT name, kind, CASE WHEN held_until > clock_timestamp() THEN holder ELSE '' END,
			(SELECT count(*) FROM (SELECT FROM events e WHERE e.id > k.cursor AND e.id <> ALL(k.told) LIMIT 10000) AS waiting),
			(SELECT e.at FROM events e WHERE e.id > k.cursor AND e.id <> ALL(k.told) ORDER BY e.id LIMIT 1),
			tries, err, failing_since, next_at, delivered_at, dropped, seen_at FROM sinks k ORDER BY name`)
		return err
	})
	return sinks, err
}

func scanSink(row pgx.CollectableRow) (k Sink, err error) {
	var oldest, failing, delivered *time.Time
	err = row.Scan(&k.Name, &k.Kind, &k.Holder, &k.Waiting, &oldest, &k.Tries, &k.Err, &failing, &k.NextAt, &delivered, &k.Dropped, &k.SeenAt)
	k.OldestAt, k.FailingSince, k.NextAt, k.DeliveredAt, k.SeenAt = orZero(oldest), orZero(failing), k.NextAt.UTC(), orZero(delivered), k.SeenAt.UTC()
	return k, err
}

// Standing gives, as news of when it began, what stands now and was told of:
// the open drifts that are not suppressed, and what is wrong with sources,
// inputs and the whole fleet. The worst is first, then the oldest.
func (s *Store) Standing(ctx context.Context) (standing []drift.News, err error) {
	err = s.read(ctx, "read what stands", func(ctx context.Context, tx pgx.Tx) error {
		if standing, err = standingDrifts(ctx, tx); err != nil {
			return err
		}
		fleet, err := collect(ctx, tx, func(row pgx.CollectableRow) (n drift.News, err error) {
			err = row.Scan(&n.Kind, &n.Severity, &n.Source, &n.Name, &n.At, &n.Summary)
			n.At = n.At.UTC()
			return n, err
		}, standingFleet)
		standing = append(standing, fleet...)
		return err
	})
	slices.SortStableFunc(standing, func(a, b drift.News) int {
		return slices.Index(drift.Severities, a.Severity) - slices.Index(drift.Severities, b.Severity)
	})
	return standing, err
}

// standingFleet is what the events of its kinds say, read where it is kept.
const standingFleet = `SELECT 'desired_surge' AS kind, 'high', CASE WHEN name = '*' THEN '' ELSE name END AS source, '' AS name, surge_since AS at, surge
		FROM sources WHERE surge <> '' AND surge_since IS NOT NULL AND accepted IS NULL
	UNION ALL SELECT 'input_blind', 'high', '', input || CASE WHEN host = '' THEN '' ELSE ' on ' || host END, blind_since, CASE WHEN err <> '' THEN 'it cannot be read: ' || err ELSE 'no line comes' END
		FROM inputs WHERE blind_since IS NOT NULL
	UNION ALL SELECT kind, 'medium', '', subject, since, words FROM alarms
	ORDER BY kind, source, name`

func standingDrifts(ctx context.Context, tx pgx.Tx) (standing []drift.News, err error) {
	open, err := collect(ctx, tx, func(row pgx.CollectableRow) (e drift.Episode, err error) {
		var r episodeRow
		if err := row.Scan(r.targets()...); err != nil {
			return e, err
		}
		return r.episode()
	}, "SELECT "+episodeSelect+" FROM drifts d WHERE d.closed_at IS NULL AND d.announced_at IS NOT NULL ORDER BY d.id")
	if err != nil {
		return nil, err
	}
	quiet, err := suppressions(ctx, tx, "")
	for i := range open {
		if e := &open[i]; !suppressed(e, quiet) {
			standing = append(standing, e.News())
		}
	}
	return standing, err
}
