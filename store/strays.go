package store

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Stray is what came from an address that no workspace held.
type Stray struct {
	Address  netip.Addr `json:"address"` // not valid: none that could be read
	Billed   int64      `json:"billed"`
	Rejected int64      `json:"rejected"`
}

// StrayAlarm says when calls that are nobody's are told of.
type StrayAlarm struct {
	Above  int64 // billed calls, and more than one in a hundred of all; negative: never
	Within time.Duration
	Settle time.Duration // calls are nobody's only after so long: it may be learned yet who holds an address
}

// strayAddresses is how many addresses an event names.
const strayAddresses = 5

// strayShare: fewer than one in so many are no alarm; the internet calls at
// every door.
const strayShare = 100

// Strays gives the calls of the last while that are nobody's: all of them, and
// the addresses with most billed ones, at most limit.
func (s *Store) Strays(ctx context.Context, within time.Duration, limit int) (all Stray, list []Stray, err error) {
	err = s.read(ctx, "read which calls are nobody's", func(ctx context.Context, tx pgx.Tx) error {
		all, list, err = strays(ctx, tx, within, 0, limit)
		return err
	})
	return all, list, err
}

func strays(ctx context.Context, tx pgx.Tx, within, settle time.Duration, limit int) (all Stray, list []Stray, err error) {
	const recent = "FROM traffic WHERE bucket >= clock_timestamp() - make_interval(secs => $1) AND last_at < clock_timestamp() - make_interval(secs => $2) AND attribution = 0"
	if err := tx.QueryRow(ctx, "SELECT coalesce(sum(billed), 0)::bigint, coalesce(sum(rejected), 0)::bigint "+recent, seconds(within), seconds(settle)).Scan(&all.Billed, &all.Rejected); err != nil {
		return all, nil, err
	}
	list, err = collect(ctx, tx, func(r pgx.CollectableRow) (s Stray, err error) {
		var prefix netip.Prefix
		err = r.Scan(&prefix, &s.Billed, &s.Rejected)
		if a := prefix.Addr(); a != netip.IPv6Unspecified() {
			s.Address = a
		}
		return s, err
	}, "SELECT address, sum(billed)::bigint, sum(rejected)::bigint "+recent+" GROUP BY address ORDER BY 2 DESC, 3 DESC, 1 LIMIT $3::bigint", seconds(within), seconds(settle), limit)
	return all, list, err
}

// WatchStrays tells once where more billed calls than allowed are nobody's, and
// once when they are no more; all is how many there are. It is done under the
// lease of the fleet.
func (s *Store) WatchStrays(ctx context.Context, fleet Lease, a StrayAlarm) (all Stray, events []drift.Event, err error) {
	err = s.write(ctx, "watch the calls that are nobody's", func(ctx context.Context, tx pgx.Tx) error {
		events = nil
		if err := fence(ctx, tx, fleet); err != nil {
			return err
		}
		var list []Stray
		if all, list, err = strays(ctx, tx, a.Within, a.Settle, strayAddresses); err != nil {
			return err
		}
		events, err = a.turn(ctx, tx, all, list)
		if err != nil {
			return err
		}
		events, err = appendEvents(ctx, tx, events)
		return err
	})
	return all, events, err
}

// turn raises the alarm, or ends it, where that is new.
func (a *StrayAlarm) turn(ctx context.Context, tx pgx.Tx, all Stray, list []Stray) ([]drift.Event, error) {
	now, err := clock(ctx, tx)
	if err != nil {
		return nil, err
	}
	e := drift.Event{At: now, Kind: drift.EventUnattributed, Severity: drift.Medium}
	sql, args := `INSERT INTO alarms (kind, subject, since, told_at, words) VALUES ($1, '', $2, $2, $3) ON CONFLICT DO NOTHING`, []any{string(drift.EventUnattributed), now}
	var billed int64
	if err := tx.QueryRow(ctx, "SELECT coalesce(sum(billed), 0)::bigint FROM traffic WHERE bucket >= clock_timestamp() - make_interval(secs => $1)", seconds(a.Within)).Scan(&billed); err != nil {
		return nil, err
	}
	if a.Above >= 0 && all.Billed > a.Above && all.Billed*strayShare > billed {
		e.Summary = fmt.Sprintf("%d billed calls within %s came from addresses that no workspace held: %s", all.Billed, a.Within, addressWords(list))
		args = append(args, e.Summary)
	} else {
		e.Kind, e.Severity = drift.EventUnattributedOver, drift.Low
		e.Summary = fmt.Sprintf("%d billed calls within %s are nobody's: no more than allowed", all.Billed, a.Within)
		sql, args = "DELETE FROM alarms WHERE kind = $1 AND subject = ''", args[:1]
	}
	tag, err := tx.Exec(ctx, sql, args...)
	if err != nil || tag.RowsAffected() == 0 {
		return nil, err
	}
	return []drift.Event{e}, nil
}

func addressWords(list []Stray) string {
	words := make([]string, 0, len(list))
	for _, s := range list {
		name := "none that can be read"
		if s.Address.IsValid() {
			name = s.Address.String()
		}
		words = append(words, fmt.Sprintf("%s (%d)", name, s.Billed))
	}
	return strings.Join(words, ", ")
}
