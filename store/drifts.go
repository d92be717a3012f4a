package store

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Drift is an episode as the API shows it.
type Drift struct {
	drift.Episode // LastSeenAt is always set
	Snapshot
	Suppressed bool // it is open, and all that accuses is suppressed now
}

// DriftFilter says which drifts. Its zero value is the first page of all, the
// newest first.
type DriftFilter struct {
	Open      *bool
	Source    string
	Workspace string         // id
	Severity  drift.Severity // the worst of its findings
	Kind      drift.Kind     // of a finding
	Since     time.Time      // open then or later
	After     string         // a cursor that a page ended with
	Limit     int            // 0: 100; at most 1,000
}

// Drifts gives a page of drifts, the newest first, and the cursor of the next
// page, "" after the last.
func (s *Store) Drifts(ctx context.Context, f DriftFilter) (drifts []Drift, next string, err error) {
	where, err := f.where()
	if err != nil {
		return nil, "", s.wrap("read drifts", err)
	}
	limit := bounded(f.Limit)
	err = s.read(ctx, "read drifts", func(ctx context.Context, tx pgx.Tx) error {
		drifts, err = readDrifts(ctx, tx, where.sql()+" ORDER BY d.id DESC LIMIT "+strconv.Itoa(limit+1), where.args...)
		return err
	})
	if len(drifts) > limit {
		drifts = drifts[:limit]
		next = cursor(strconv.FormatInt(drifts[limit-1].ID, 10))
	}
	return drifts, next, err
}

func (f *DriftFilter) where() (w conditions, err error) {
	switch {
	case f.Open != nil && *f.Open:
		w.plain("d.closed_at IS NULL")
	case f.Open != nil:
		w.plain("d.closed_at IS NOT NULL")
	}
	if f.Source != "" {
		w.add("d.source = $", f.Source)
	}
	if f.Workspace != "" {
		w.add("d.workspace = ANY($::uuid[])", onlyUUIDs([]string{f.Workspace}))
	}
	if f.Severity != "" {
		w.add("d.severity = $", string(f.Severity))
	}
	if f.Kind != "" {
		w.add("$ = ANY(d.kinds)", string(f.Kind))
	}
	if !f.Since.IsZero() {
		w.add("(d.closed_at IS NULL OR d.closed_at >= $)", f.Since)
	}
	err = w.before("d.id", f.After)
	return w, err
}

// Drift gives one drift; ErrNotFound where there is none of that number.
func (s *Store) Drift(ctx context.Context, id int64) (*Drift, error) {
	var one *Drift
	err := s.read(ctx, "read drift "+strconv.FormatInt(id, 10), func(ctx context.Context, tx pgx.Tx) error {
		list, err := readDrifts(ctx, tx, " WHERE d.id = $1::bigint", id)
		if err == nil && len(list) == 0 {
			return ErrNotFound
		}
		if err == nil {
			one = &list[0]
		}
		return err
	})
	return one, err
}

func readDrifts(ctx context.Context, tx pgx.Tx, where string, args ...any) ([]Drift, error) {
	drifts, err := collect(ctx, tx, scanDrift, "SELECT "+episodeSelect+`, d.opened, d.latest, (SELECT so.last_pass_at FROM sources so WHERE so.name = d.source)
		FROM drifts d`+where, args...)
	if err != nil {
		return nil, err
	}
	quiet, err := suppressions(ctx, tx, "")
	for i := range drifts {
		drifts[i].Suppressed = suppressed(&drifts[i].Episode, quiet)
	}
	return drifts, err
}

func scanDrift(row pgx.CollectableRow) (d Drift, err error) {
	var r episodeRow
	var opened, latest []byte
	var pass *time.Time
	if err := row.Scan(append(r.targets(), &opened, &latest, &pass)...); err != nil {
		return d, err
	}
	if d.Episode, err = r.episode(); err != nil {
		return d, err
	}
	d.Opened, d.Latest = json.RawMessage(opened), json.RawMessage(latest)
	if d.LastSeenAt.IsZero() {
		d.LastSeenAt = orZero(pass)
	}
	if d.LastSeenAt.Before(d.OpenedAt) {
		d.LastSeenAt = d.OpenedAt
	}
	return d, nil
}

// suppressed tells whether somebody has accepted all that accuses.
func suppressed(e *drift.Episode, quiet []Suppression) bool {
	accused := false
	for _, f := range e.Findings {
		if !f.Kind.Accuses() {
			continue
		}
		accused = true
		if !slices.ContainsFunc(quiet, func(p Suppression) bool { return p.covers(e.Source, strings.ToLower(e.Workspace), f.Kind) }) {
			return false
		}
	}
	return accused && e.Open()
}

// OpenFinding counts findings of open drifts that are alike.
type OpenFinding struct {
	Source   string
	Kind     drift.Kind
	Severity drift.Severity
	Count    int
}

// OpenFindings counts the findings of the drifts that are open in some sources,
// and gives when the oldest of these drifts was opened, by severity.
func (s *Store) OpenFindings(ctx context.Context, sources []string) (counts []OpenFinding, oldest map[drift.Severity]time.Time, err error) {
	err = s.read(ctx, "count open drifts", func(ctx context.Context, tx pgx.Tx) error {
		counts, err = collect(ctx, tx, pgx.RowToStructByPos[OpenFinding], `SELECT d.source, f.kind, f.severity, count(*)
			FROM drifts d, unnest(d.kinds, d.severities) AS f(kind, severity)
			WHERE d.closed_at IS NULL AND d.source = ANY($1::text[]) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3`, sources)
		if err != nil {
			return err
		}
		_, oldest, err = openDrifts(ctx, tx, " AND source = ANY($1::text[])", sources)
		return err
	})
	return counts, oldest, err
}

// OpenDrifts counts the open drifts by severity, and gives when the oldest was
// opened; zero: there is none.
func (s *Store) OpenDrifts(ctx context.Context) (counts map[drift.Severity]int, oldest time.Time, err error) {
	err = s.read(ctx, "count open drifts", func(ctx context.Context, tx pgx.Tx) error {
		var opened map[drift.Severity]time.Time
		counts, opened, err = openDrifts(ctx, tx, "")
		oldest = time.Time{}
		for _, at := range opened {
			if oldest.IsZero() || at.Before(oldest) {
				oldest = at
			}
		}
		return err
	})
	return counts, oldest, err
}

func openDrifts(ctx context.Context, tx pgx.Tx, which string, args ...any) (map[drift.Severity]int, map[drift.Severity]time.Time, error) {
	counts, oldest := map[drift.Severity]int{}, map[drift.Severity]time.Time{}
	rows, err := tx.Query(ctx, "SELECT severity, count(*), min(opened_at) FROM drifts WHERE closed_at IS NULL"+which+" GROUP BY severity", args...)
	if err != nil {
		return nil, nil, err
	}
	var severity drift.Severity
	var n int
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&severity, &n, &at}, func() error {
		counts[severity], oldest[severity] = n, at.UTC()
		return nil
	})
	return counts, oldest, err
}
