package store

import (
	"context"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Load reads what the holder of a lease needs to know of its source, all of one
// moment; ErrFenced where the lease is not held any more. It takes no lock:
// should the lease be lost afterwards, Apply will refuse.
func (s *Store) Load(ctx context.Context, l Lease) (*Known, error) {
	var known *Known
	err := s.read(ctx, "load source "+l.Source, func(ctx context.Context, tx pgx.Tx) error {
		known = &Known{States: map[string]KnownState{}, Episodes: map[string]drift.Episode{}, Holdings: map[string][]Holding{}}
		if err := stillHeld(ctx, tx, l); err != nil {
			return err
		}
		for _, part := range []func(context.Context, pgx.Tx, string) error{known.loadStates, known.loadEpisodes, known.loadHoldings, known.loadSource} {
			if err := part(ctx, tx, l.Source); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return known, nil
}

func (k *Known) loadStates(ctx context.Context, tx pgx.Tx, source string) error {
	rows, err := tx.Query(ctx, "SELECT id::text, digest, desired_mode, observed, observed_at, overrides FROM states WHERE source = $1", source)
	if err != nil {
		return err
	}
	var id string
	var digest []byte
	var st KnownState
	var observed *time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &digest, &st.DesiredMode, &st.Observed, &observed, &st.Overrides}, func() error {
		st.ObservedAt = orZero(observed)
		copy(st.Digest[:], digest)
		if len(st.Overrides) == 0 {
			st.Overrides = nil
		}
		k.States[id] = st
		st.Overrides = nil
		return nil
	})
	return err
}

func (k *Known) loadEpisodes(ctx context.Context, tx pgx.Tx, source string) error {
	episodes, err := collect(ctx, tx, func(row pgx.CollectableRow) (drift.Episode, error) {
		var r episodeRow
		if err := row.Scan(r.targets()...); err != nil {
			return r.Episode, err
		}
		return r.episode()
	}, "SELECT "+episodeSelect+" FROM drifts d WHERE source = $1 AND closed_at IS NULL", source)
	for _, e := range episodes {
		k.Episodes[e.Workspace] = e
	}
	return err
}

func (k *Known) loadHoldings(ctx context.Context, tx pgx.Tx, source string) error {
	rows, err := tx.Query(ctx, "SELECT workspace::text, address, lower(during) FROM holdings WHERE source = $1 AND upper_inf(during) ORDER BY address", source)
	if err != nil {
		return err
	}
	var h Holding
	var prefix netip.Prefix
	_, err = pgx.ForEachRow(rows, []any{&h.Workspace, &prefix, &h.Since}, func() error {
		k.Holdings[h.Workspace] = append(k.Holdings[h.Workspace], Holding{Workspace: h.Workspace, Address: prefix.Addr(), Since: h.Since.UTC()})
		return nil
	})
	return err
}

func (k *Known) loadSource(ctx context.Context, tx pgx.Tx, source string) error {
	list, err := collect(ctx, tx, scanSource, sourceSelect+" WHERE s.name = $1", source)
	k.Source = SourceState{Name: source}
	if len(list) > 0 {
		k.Source = list[0]
	}
	return err
}
