package store

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Evidence is all that is known of one drift, as of one moment.
type Evidence struct {
	Drift
	Calls        []HourCalls // of its workspace, from the first evidence to its end
	Actions      []Action    // for it, or wanted of its workspace meanwhile
	Events       []drift.Event
	Suppressions []PastSuppression // of any of its findings, in force at some time of it
	Quiet        []HourCalls       // those of Calls while any of the suppressions was in force
}

// HourCalls are the calls of a workspace within an hour (a day, where they are
// older than a month) that are alike.
type HourCalls struct {
	Hour        time.Time // the beginning
	Operation   int16
	Class       int16 // status / 100; 0: none was sent
	Attribution AttributionKind

	Billed, Rejected int64
	Edge             int64 // of both, at most so many lie outside of the time that was asked for: they were counted together with some that lie within
	Input, Output    int64 // tokens of billed calls, as far as lines tell
	Untold           int64 // billed calls whose tokens no line tells
	CostUSD          float64
	Unpriced         int64 // billed calls whose cost is not known, and not in CostUSD
	First, Last      time.Time
}

// PastSuppression is a suppression, in force or over.
type PastSuppression struct {
	Suppression
	EndedAt time.Time   // zero: it is in force
	Calls   []HourCalls // of the drift's workspace meanwhile
}

// Evidence gives all that is known of a drift; ErrNotFound where there is none
// of that number.
func (s *Store) Evidence(ctx context.Context, id int64) (e *Evidence, err error) {
	err = s.read(ctx, "read the evidence of drift "+strconv.FormatInt(id, 10), func(ctx context.Context, tx pgx.Tx) error {
		list, err := readDrifts(ctx, tx, " WHERE d.id = $1::bigint", id)
		if err == nil && len(list) == 0 {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		e = &Evidence{Drift: list[0]}
		for _, part := range []func(context.Context, pgx.Tx) error{e.readCalls, e.readActions, e.readEvents, e.readSuppressions} {
			if err := part(ctx, tx); err != nil {
				return err
			}
		}
		return nil
	})
	return e, err
}

// forever stands for the end of a drift that is open.
var forever = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

func (e *Evidence) until() time.Time { return firstTime(e.ClosedAt, forever) }

func (e *Evidence) readCalls(ctx context.Context, tx pgx.Tx) (err error) {
	e.Calls, err = hourCalls(ctx, tx, e.Source, e.Workspace, e.FirstEvidence, e.until())
	return err
}

// hourCalls gives the calls that are surely a workspace's. A sum of costs in
// binary would depend on the order of the rows.
func hourCalls(ctx context.Context, tx pgx.Tx, source, workspace string, from, until time.Time) ([]HourCalls, error) {
	return collect(ctx, tx, func(row pgx.CollectableRow) (c HourCalls, err error) {
		err = row.Scan(&c.Hour, &c.Operation, &c.Class, &c.Attribution, &c.Billed, &c.Rejected, &c.Edge, &c.Input, &c.Output, &c.Untold, &c.CostUSD, &c.Unpriced, &c.First, &c.Last)
		c.Hour, c.First, c.Last = c.Hour.UTC(), c.First.UTC(), c.Last.UTC()
		return c, err
	}, `SELECT date_trunc('hour', bucket, 'UTC') AS hour, operation, class, attribution, sum(billed)::bigint, sum(rejected)::bigint,
			coalesce(sum(billed + rejected) FILTER (WHERE first_at < $3 OR last_at >= $4), 0)::bigint,
			sum(input_tokens)::bigint, sum(output_tokens)::bigint, sum(untold)::bigint, sum(cost_usd::numeric)::float8, sum(unpriced)::bigint, min(first_at), max(last_at)
		FROM traffic WHERE source = $1 AND workspace = $2::uuid AND attribution >= 2 AND bucket > $3::timestamptz - interval '1 day' AND bucket < $4::timestamptz
			AND last_at >= $3 AND first_at < $4
		GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4`, source, workspace, from, until)
}

// meanwhile holds rows that name no drift to its workspace and time.
const meanwhile = " = $1::bigint OR episode IS NULL AND source = $2 AND workspace = $3::uuid AND "

func (e *Evidence) readActions(ctx context.Context, tx pgx.Tx) (err error) {
	e.Actions, err = collect(ctx, tx, scanAction, actionSelect+" WHERE episode"+meanwhile+"created_at >= $4 AND created_at <= $5 ORDER BY id",
		e.ID, e.Source, e.Workspace, e.OpenedAt, e.until())
	return err
}

func (e *Evidence) readEvents(ctx context.Context, tx pgx.Tx) (err error) {
	e.Events, err = collect(ctx, tx, scanEvent, `SELECT id, at, kind, severity, source, workspace::text, name, episode, summary, by FROM events
		WHERE episode`+meanwhile+"at >= $4 AND at <= $5 ORDER BY id", e.ID, e.Source, e.Workspace, e.OpenedAt, e.until())
	return err
}

func (e *Evidence) readSuppressions(ctx context.Context, tx pgx.Tx) error {
	all, err := collect(ctx, tx, scanPast, `SELECT * FROM (SELECT `+suppressionColumns+`, CASE WHEN expires_at <= clock_timestamp() THEN expires_at END AS ended_at FROM suppressions
			UNION ALL SELECT `+suppressionColumns+`, ended_at FROM suppressions_ended) p
		WHERE source = $1 AND (workspace IS NULL OR workspace = $2) AND at < $4 AND coalesce(ended_at, expires_at) > $3 ORDER BY id`,
		e.Source, e.Workspace, e.FirstEvidence, e.until())
	if err != nil {
		return err
	}
	var spans [][2]time.Time
	for _, p := range all {
		if !slices.ContainsFunc(e.Findings, func(f drift.Finding) bool { return p.Kind == "" || p.Kind == f.Kind }) {
			continue
		}
		span := [2]time.Time{later(p.At, e.FirstEvidence), earlier(firstTime(p.EndedAt, forever), e.until())}
		if p.Calls, err = hourCalls(ctx, tx, e.Source, e.Workspace, span[0], span[1]); err != nil {
			return err
		}
		e.Suppressions, spans = append(e.Suppressions, p), append(spans, span)
	}
	for _, span := range union(spans) {
		calls, err := hourCalls(ctx, tx, e.Source, e.Workspace, span[0], span[1])
		if err != nil {
			return err
		}
		e.Quiet = append(e.Quiet, calls...)
	}
	return nil
}

func scanPast(row pgx.CollectableRow) (p PastSuppression, err error) {
	var workspace *string
	var ended *time.Time
	err = row.Scan(&p.ID, &p.Source, &workspace, &p.Kind, &p.Reason, &p.By, &p.At, &p.ExpiresAt, &ended)
	p.Workspace, p.At, p.ExpiresAt, p.EndedAt = orEmpty(workspace), p.At.UTC(), p.ExpiresAt.UTC(), orZero(ended)
	return p, err
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// union joins times that overlap, so that none is counted twice.
func union(spans [][2]time.Time) (joined [][2]time.Time) {
	slices.SortFunc(spans, func(a, b [2]time.Time) int { return cmp.Or(a[0].Compare(b[0]), a[1].Compare(b[1])) })
	for _, s := range spans {
		if n := len(joined); n > 0 && !s[0].After(joined[n-1][1]) {
			joined[n-1][1] = later(joined[n-1][1], s[1])
			continue
		}
		joined = append(joined, s)
	}
	return joined
}

// Price is what the calls cost that somebody keeps quiet about.
type Price struct {
	Billed   int64   // calls that the platform pays for and should not
	Unpriced int64   // of them, whose cost is not known, and not in CostUSD
	CostUSD  float64 // dollars
}

// Prices gives what the drifts that suppressions in force cover have cost since
// each began, by its number. Calls of workspaces that the platform is to pay for
// are business, and not counted; nor are those before a drift's first evidence.
func (s *Store) Prices(ctx context.Context) (prices map[int64]Price, err error) {
	err = s.read(ctx, "price the suppressions", func(ctx context.Context, tx pgx.Tx) error {
		prices = map[int64]Price{}
		rows, err := tx.Query(ctx, `SELECT p.id, sum(t.billed)::bigint, sum(t.unpriced)::bigint, sum(t.cost_usd::numeric)::float8
			FROM suppressions p
			JOIN drifts d ON d.source = p.source AND (p.workspace IS NULL OR d.workspace = p.workspace) AND (p.kind = '' OR p.kind = ANY(d.kinds)) AND (d.closed_at IS NULL OR d.closed_at > p.at)
			JOIN states s ON s.source = d.source AND s.id = d.workspace AND s.desired_mode <> 'platform_managed'
			JOIN traffic t ON t.source = d.source AND t.workspace = d.workspace AND t.attribution >= 2 AND t.bucket > greatest(p.at, d.first_evidence) - interval '1 day'
				AND t.last_at >= greatest(p.at, d.first_evidence) AND (d.closed_at IS NULL OR t.first_at < d.closed_at)
			WHERE p.expires_at > clock_timestamp() GROUP BY p.id`)
		if err != nil {
			return err
		}
		var id int64
		var one Price
		_, err = pgx.ForEachRow(rows, []any{&id, &one.Billed, &one.Unpriced, &one.CostUSD}, func() error { prices[id] = one; return nil })
		return err
	})
	return prices, err
}
