package store

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// tenancy is what an Outcome says about addresses, compared with what is stored
// before anything is written.
type tenancy struct {
	source string
	at     time.Time
	seen   map[string]bool // workspaces whose addresses were seen
	ending []held          // theirs that they were seen without
	fresh  []held          // theirs that are new
}

// tenancy compares. It reads before the states and the source are written,
// because they tell when what ends was last seen.
func (o *Outcome) tenancy(ctx context.Context, tx pgx.Tx) (*tenancy, error) {
	t := &tenancy{source: o.Lease.Source, at: o.At, seen: map[string]bool{}}
	type place struct {
		workspace string
		address   netip.Addr
	}
	now := map[place]time.Time{}
	for _, id := range o.Gone {
		t.seen[id] = true
	}
	for id, list := range o.Holdings {
		t.seen[id] = true
		for _, h := range list {
			since := h.Since
			if since.IsZero() {
				since = o.At
			}
			now[place{id, plain(h.Address)}] = since.UTC().Truncate(time.Microsecond)
		}
	}
	present, err := t.present(ctx, tx)
	if err != nil {
		return nil, err
	}
	var ending []int64
	for _, h := range present {
		p := place{h.workspace, h.address}
		if _, still := now[p]; still {
			delete(now, p)
		} else if t.seen[h.workspace] {
			ending = append(ending, h.id)
		}
	}
	for p, since := range now {
		t.fresh = append(t.fresh, held{source: t.source, workspace: p.workspace, address: p.address, since: since, confirmed: o.At})
	}
	if len(ending) > 0 {
		t.ending, err = collect(ctx, tx, scanHolding, holdingSelect+" WHERE h.id = ANY($1::bigint[])", ending)
	}
	return t, err
}

// fewWorkspaces are asked for by their ids; where it is more, the whole source
// is read.
const fewWorkspaces = 1000

// present gives the holdings of the seen workspaces that have not ended: no more
// of them than number, workspace and address.
func (t *tenancy) present(ctx context.Context, tx pgx.Tx) ([]held, error) {
	if len(t.seen) == 0 {
		return nil, nil
	}
	sql, args := "SELECT id, workspace::text, address FROM holdings WHERE source = $1 AND upper_inf(during)", []any{t.source}
	if len(t.seen) <= fewWorkspaces {
		ids := make([]string, 0, len(t.seen))
		for id := range t.seen {
			ids = append(ids, id)
		}
		sql, args = sql+" AND workspace = ANY($2::uuid[])", append(args, ids)
	}
	return collect(ctx, tx, func(row pgx.CollectableRow) (h held, err error) {
		var prefix netip.Prefix
		err = row.Scan(&h.id, &h.workspace, &prefix)
		h.address = prefix.Addr()
		return h, err
	}, sql, args...)
}

// write writes what changed of who holds which address, and gives the
// workspaces of the source that have lost one to another since the last time.
// The source's row and states have been written: a whole pass has confirmed the
// holdings of all that it saw.
func (t *tenancy) write(ctx context.Context, tx pgx.Tx) (taken []string, err error) {
	if len(t.ending)+len(t.fresh) > 0 {
		if err := lock(ctx, tx, lockHoldings); err != nil {
			return nil, err
		}
	}
	if err := endHoldings(ctx, tx, t.ending, t.at); err != nil {
		return nil, err
	}
	if err := t.learn(ctx, tx); err != nil {
		return nil, err
	}
	if err := doubt(ctx, tx, t.ending, t.fresh); err != nil {
		return nil, err
	}
	taken, err = collect(ctx, tx, pgx.RowTo[string], "UPDATE holdings SET taken = false WHERE source = $1 AND taken RETURNING workspace::text", t.source)
	slices.Sort(taken)
	return slices.Compact(taken), err
}

// doubt has the calls of addresses attributed anew whose holders have changed:
// since a new holding began, or since one that has ended was last confirmed.
func doubt(ctx context.Context, tx pgx.Tx, ended, fresh []held) error {
	since := map[netip.Addr]time.Time{}
	earlier := func(a netip.Addr, t time.Time) {
		if known, ok := since[a]; !ok || t.Before(known) {
			since[a] = t
		}
	}
	for _, h := range ended {
		earlier(h.address, h.confirmed)
	}
	for _, h := range fresh {
		earlier(h.address, h.since)
	}
	if len(since) == 0 {
		return nil
	}
	addresses := make([]netip.Addr, 0, len(since))
	for a := range since {
		addresses = append(addresses, a)
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	_, err := tx.Exec(ctx, `INSERT INTO reattributions AS r (address, since) SELECT * FROM unnest($1::inet[], $2::timestamptz[])
		ON CONFLICT (address) DO UPDATE SET since = least(r.since, excluded.since)`, pgx.QueryExecModeDescribeExec,
		addresses, column(addresses, func(a netip.Addr) time.Time { return since[a] }))
	return err
}

// learn takes the new holdings in, one after the other.
func (t *tenancy) learn(ctx context.Context, tx pgx.Tx) error {
	if len(t.fresh) == 0 {
		return nil
	}
	slices.SortFunc(t.fresh, func(a, b held) int {
		return cmp.Or(a.address.Compare(b.address), a.since.Compare(b.since), strings.Compare(a.workspace, b.workspace))
	})
	byAddress := map[netip.Addr][]held{}
	addresses := column(t.fresh, func(h held) netip.Addr { return h.address })
	stored, err := collect(ctx, tx, scanHolding, holdingSelect+" WHERE h.address = ANY($1::inet[]) ORDER BY h.id", slices.Compact(addresses))
	if err != nil {
		return err
	}
	for _, h := range stored {
		if h.until.IsZero() && h.source == t.source && t.seen[h.workspace] {
			h.confirmed = t.at
		}
		byAddress[h.address] = append(byAddress[h.address], h)
	}
	for _, h := range t.fresh {
		byAddress[h.address] = learn(h, byAddress[h.address])
	}
	var changed []held
	for _, list := range byAddress {
		changed = append(changed, slices.DeleteFunc(list, func(h held) bool { return !h.changed })...)
	}
	slices.SortFunc(changed, func(a, b held) int {
		return cmp.Or(cmp.Compare(a.id, b.id), a.address.Compare(b.address), strings.Compare(a.workspace, b.workspace))
	})
	return writeChanged(ctx, tx, changed)
}

// writeChanged changes the stored ones first, so that the new ones find room.
func writeChanged(ctx context.Context, tx pgx.Tx, changed []held) error {
	n := 0
	for n < len(changed) && changed[n].id == 0 {
		n++
	}
	fresh, old := changed[:n], changed[n:]
	b := &pgx.Batch{}
	if len(old) > 0 {
		b.Queue(`UPDATE holdings h SET during = tstzrange(lower(h.during), n.until), confirmed = n.confirmed, exclusive = n.exclusive, taken = h.taken OR n.taken
			FROM unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[], $4::boolean[], $5::boolean[]) AS n(id, until, confirmed, exclusive, taken) WHERE h.id = n.id`,
			column(old, func(h held) int64 { return h.id }),
			column(old, func(h held) *time.Time { return orNull(h.until) }),
			column(old, func(h held) *time.Time {
				if h.until.IsZero() {
					return nil // it goes on being confirmed by every pass
				}
				return &h.confirmed
			}),
			column(old, func(h held) bool { return h.exclusive }),
			column(old, func(h held) bool { return h.taken }))
	}
	for fresh := range slices.Chunk(fresh, chunk) {
		b.Queue(`INSERT INTO holdings (source, workspace, address, during, exclusive)
			SELECT source, workspace, address, tstzrange(since, NULL), exclusive
			FROM unnest($1::text[], $2::uuid[], $3::inet[], $4::timestamptz[], $5::boolean[]) AS n(source, workspace, address, since, exclusive)`,
			column(fresh, func(h held) string { return h.source }),
			column(fresh, func(h held) string { return h.workspace }),
			column(fresh, func(h held) netip.Addr { return h.address }),
			column(fresh, func(h held) time.Time { return h.since }),
			column(fresh, func(h held) bool { return h.exclusive }))
	}
	return tx.SendBatch(ctx, b).Close()
}

// endHoldings ends holdings at a time. One that would have begun later never
// was.
func endHoldings(ctx context.Context, tx pgx.Tx, ending []held, at time.Time) error {
	if len(ending) == 0 {
		return nil
	}
	slices.SortFunc(ending, func(a, b held) int { return cmp.Compare(a.id, b.id) })
	ids := column(ending, func(h held) int64 { return h.id })
	confirmed := column(ending, func(h held) time.Time { return h.confirmed })
	b := &pgx.Batch{}
	b.Queue("DELETE FROM holdings WHERE id = ANY($1::bigint[]) AND lower(during) >= $2::timestamptz", ids, at)
	b.Queue(`UPDATE holdings h SET during = tstzrange(lower(h.during), $3::timestamptz), confirmed = least(n.confirmed, $3::timestamptz)
		FROM unnest($1::bigint[], $2::timestamptz[]) AS n(id, confirmed) WHERE h.id = n.id AND upper_inf(h.during)`, ids, confirmed, at)
	return tx.SendBatch(ctx, b).Close()
}

// confirmed is when a holding was last seen: by the last pass over its source
// where that saw the workspace, else when the workspace was last seen, and at
// least when it began.
const holdingSelect = `SELECT h.id, h.source, h.workspace::text, h.address, lower(h.during), upper(h.during), h.exclusive,
	CASE WHEN upper_inf(h.during) THEN greatest(lower(h.during), CASE WHEN st.observed THEN so.last_pass_at ELSE st.observed_at END)
		ELSE coalesce(h.confirmed, upper(h.during)) END
	FROM holdings h LEFT JOIN states st ON st.source = h.source AND st.id = h.workspace LEFT JOIN sources so ON so.name = h.source`

func scanHolding(row pgx.CollectableRow) (h held, err error) {
	var until *time.Time
	var prefix netip.Prefix
	err = row.Scan(&h.id, &h.source, &h.workspace, &prefix, &h.since, &until, &h.exclusive, &h.confirmed)
	h.address, h.since, h.until, h.confirmed = prefix.Addr(), h.since.UTC(), orZero(until), h.confirmed.UTC()
	return h, err
}
