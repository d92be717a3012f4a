package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Keeping is what a heartbeat found.
type Keeping struct {
	Leases   []Lease   // all that the replica holds now, by name
	Excess   []Lease   // of those, which to give up: Release them once what runs under them has ended
	Replicas []Replica // the living ones, by id
}

// Keep is a heartbeat. It says that r lives, buries the replicas that were not
// heard of for ttl, frees their leases, takes free ones among want up to r's
// fair share, and says which are too many. Everything goes by the database's
// clock. It waits for nobody: a lease's row that is locked by an Apply under way
// is left for the next time.
//
// A lease is held as long as its holder's row in replicas lives, so a heartbeat
// writes one row however many leases there are.
func (s *Store) Keep(ctx context.Context, r Replica, want []string, ttl time.Duration) (Keeping, error) {
	var k Keeping
	err := s.write(ctx, "keep the leases", func(ctx context.Context, tx pgx.Tx) error {
		k = Keeping{}
		if err := beat(ctx, tx, r, want, ttl); err != nil {
			return err
		}
		var err error
		if k.Replicas, err = living(ctx, tx); err != nil {
			return err
		}
		if err := takeShare(ctx, tx, r, want, len(k.Replicas), ttl); err != nil {
			return err
		}
		return k.read(ctx, tx, r, want)
	})
	return k, err
}

// beat writes the heartbeat and clears away the dead. The row of a dead one is
// deleted by whoever takes over in the transaction that takes over: should it
// wake now, its own heartbeat waits for that and finds its leases gone.
func beat(ctx context.Context, tx pgx.Tx, r Replica, want []string, ttl time.Duration) error {
	b := &pgx.Batch{}
	b.Queue(`INSERT INTO replicas (id, name, version, started_at, seen_at, wanted) VALUES ($1, $2, $3, $4, clock_timestamp(), $5::int)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, version = excluded.version, started_at = excluded.started_at, seen_at = excluded.seen_at, wanted = excluded.wanted`,
		r.ID, clean(r.Name), clean(r.Version), r.StartedAt, len(want))
	b.Queue(`DELETE FROM replicas WHERE id IN (
		SELECT id FROM replicas WHERE seen_at < clock_timestamp() - make_interval(secs => $1) FOR UPDATE SKIP LOCKED)`, seconds(ttl))
	b.Queue(`UPDATE leases SET holder = NULL, token = nextval('lease_tokens'), since = clock_timestamp() WHERE source IN (
		SELECT source FROM leases l WHERE holder IS NOT NULL AND NOT EXISTS (SELECT FROM replicas r WHERE r.id = l.holder) ORDER BY source FOR NO KEY UPDATE SKIP LOCKED)`)
	b.Queue(`INSERT INTO leases (source) SELECT DISTINCT w FROM unnest($1::text[]) w
		WHERE NOT EXISTS (SELECT FROM leases l WHERE l.source = w) ORDER BY w ON CONFLICT DO NOTHING`, want)
	return tx.SendBatch(ctx, b).Close()
}

// takeShare takes free leases: up to r's share of them, the whole divided by
// those who live. One that nobody has taken for as long as a dead replica is
// waited for is taken beyond the share too, for the others may not want it:
// their configuration may be older or newer than ours.
func takeShare(ctx context.Context, tx pgx.Tx, r Replica, want []string, alive int, ttl time.Duration) error {
	tag, err := tx.Exec(ctx, `WITH held AS (SELECT count(*) AS n FROM leases WHERE holder = $1 AND source = ANY($2::text[])),
		ordinary AS (SELECT source FROM leases WHERE holder IS NULL AND source = ANY($2::text[])
			ORDER BY since, source LIMIT greatest(0, $3::bigint - (SELECT n FROM held)) FOR NO KEY UPDATE SKIP LOCKED),
		orphaned AS (SELECT source FROM leases WHERE holder IS NULL AND source = ANY($2::text[]) AND since < clock_timestamp() - make_interval(secs => $4)
			FOR NO KEY UPDATE SKIP LOCKED)
		UPDATE leases SET holder = $1, token = nextval('lease_tokens'), since = clock_timestamp()
		WHERE source IN (SELECT source FROM ordinary UNION SELECT source FROM orphaned)`,
		r.ID, want, share(len(want), alive), seconds(ttl))
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	return notify(ctx, tx, ChannelLease, "")
}

// share is how many leases are a replica's fair part: rounded up, so that all
// parts together are enough.
func share(leases, replicas int) int {
	return (leases + max(1, replicas) - 1) / max(1, replicas)
}

// read gives the leases that r holds, and which of them are too many: those that
// it does not want, and as many over its share as other replicas lack.
func (k *Keeping) read(ctx context.Context, tx pgx.Tx, r Replica, want []string) error {
	type held struct {
		Lease
		since time.Time
	}
	mine, err := collect(ctx, tx, func(row pgx.CollectableRow) (h held, err error) {
		return h, row.Scan(&h.Source, &h.Token, &h.since)
	}, "SELECT source, token, since FROM leases WHERE holder = $1 ORDER BY source", r.ID)
	if err != nil {
		return err
	}
	var wanted []held
	for _, h := range mine {
		k.Leases = append(k.Leases, h.Lease)
		if slices.Contains(want, h.Source) {
			wanted = append(wanted, h)
		} else {
			k.Excess = append(k.Excess, h.Lease)
		}
	}
	over := len(wanted) - share(len(want), len(k.Replicas))
	if over <= 0 {
		return nil
	}
	lacking, err := lack(ctx, tx, r, share(len(want), len(k.Replicas)))
	if err != nil {
		return err
	}
	slices.SortStableFunc(wanted, func(a, b held) int { return a.since.Compare(b.since) }) // the newest may be one that nobody else wants
	for _, h := range wanted[:min(over, lacking)] {
		k.Excess = append(k.Excess, h.Lease)
	}
	slices.SortFunc(k.Excess, func(a, b Lease) int { return strings.Compare(a.Source, b.Source) })
	return nil
}

// lack counts the leases that the other replicas would still take. A replica
// with enough gives none away to nobody.
func lack(ctx context.Context, tx pgx.Tx, r Replica, share int) (n int, err error) {
	err = tx.QueryRow(ctx, `SELECT coalesce(sum(greatest(0, least(r.wanted, $2::int) - (SELECT count(*) FROM leases l WHERE l.holder = r.id))), 0)::int
		FROM replicas r WHERE r.id <> $1`, r.ID, share).Scan(&n)
	return n, err
}

// Release frees leases at once; others take them in their next Keep. What was
// begun under them can write nothing afterwards. Leases that are no longer r's
// are none of its business and left alone.
func (s *Store) Release(ctx context.Context, r Replica, leases []Lease) error {
	sources, tokens := make([]string, len(leases)), make([]int64, len(leases))
	for i, l := range leases {
		sources[i], tokens[i] = l.Source, l.Token
	}
	return s.write(ctx, "release leases", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE leases l SET holder = NULL, token = nextval('lease_tokens'), since = clock_timestamp()
			FROM unnest($2::text[], $3::bigint[]) AS mine(source, token)
			WHERE l.source = mine.source AND l.token = mine.token AND l.holder = $1`, r.ID, sources, tokens)
		if err != nil {
			return err
		}
		return notify(ctx, tx, ChannelLease, "")
	})
}

// Depart frees all that r holds and forgets it: it ends in good order.
func (s *Store) Depart(ctx context.Context, r Replica) error {
	return s.write(ctx, "depart", func(ctx context.Context, tx pgx.Tx) error {
		for _, sql := range []string{
			"UPDATE leases SET holder = NULL, token = nextval('lease_tokens'), since = clock_timestamp() WHERE holder = $1",
			"DELETE FROM replicas WHERE id = $1",
		} {
			if _, err := tx.Exec(ctx, sql, r.ID); err != nil {
				return err
			}
		}
		return notify(ctx, tx, ChannelLease, "")
	})
}

// Replicas gives those that were heard of within ttl, by id.
func (s *Store) Replicas(ctx context.Context, ttl time.Duration) (replicas []Replica, err error) {
	err = s.read(ctx, "read the replicas", func(ctx context.Context, tx pgx.Tx) error {
		replicas, err = collect(ctx, tx, scanReplica, replicaColumns+" WHERE seen_at >= clock_timestamp() - make_interval(secs => $1) ORDER BY id", seconds(ttl))
		return err
	})
	return replicas, err
}

const replicaColumns = "SELECT id::text, name, version, started_at, seen_at FROM replicas"

func scanReplica(row pgx.CollectableRow) (r Replica, err error) {
	err = row.Scan(&r.ID, &r.Name, &r.Version, &r.StartedAt, &r.SeenAt)
	r.StartedAt, r.SeenAt = r.StartedAt.UTC(), r.SeenAt.UTC()
	return r, err
}

// living gives the replicas that are not buried.
func living(ctx context.Context, tx pgx.Tx) ([]Replica, error) {
	return collect(ctx, tx, scanReplica, replicaColumns+" ORDER BY id")
}

// fence locks the lease's row until the transaction ends, so that nobody can
// take the lease while it lives, and refuses one that has been taken before.
func fence(ctx context.Context, tx pgx.Tx, l Lease) error {
	tokens, err := collect(ctx, tx, pgx.RowTo[int64], "SELECT token FROM leases WHERE source = $1 FOR NO KEY UPDATE", l.Source)
	return fenced(l, tokens, err)
}

// stillHeld is fence without the lock, for a transaction that only reads.
func stillHeld(ctx context.Context, tx pgx.Tx, l Lease) error {
	tokens, err := collect(ctx, tx, pgx.RowTo[int64], "SELECT token FROM leases WHERE source = $1 AND holder IS NOT NULL", l.Source)
	return fenced(l, tokens, err)
}

func fenced(l Lease, tokens []int64, err error) error {
	switch {
	case err != nil:
		return err
	case len(tokens) != 1 || tokens[0] != l.Token:
		return fmt.Errorf("lease %q, token %d: %w", l.Source, l.Token, ErrFenced)
	}
	return nil
}
