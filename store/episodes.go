package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// finding and cause are the stored forms: the words of rows outlive those of
// the code.
type finding struct {
	Kind       drift.Kind     `json:"kind"`
	Severity   drift.Severity `json:"severity"`
	Summary    string         `json:"summary"`
	Evidence   []string       `json:"evidence,omitempty"`
	Remediable bool           `json:"remediable"`
}

type cause struct {
	Code    drift.CauseCode `json:"code"`
	Summary string          `json:"summary"`
}

// writeEpisodes writes new and changed episodes, puts their numbers into their
// events, and gives both.
func writeEpisodes(ctx context.Context, tx pgx.Tx, source string, changes []EpisodeChange) (ids []int64, events []drift.Event, err error) {
	var fresh, old []*EpisodeChange
	for i := range changes {
		if changes[i].ID == 0 {
			fresh = append(fresh, &changes[i])
		} else {
			old = append(old, &changes[i])
		}
	}
	numbers, err := openEpisodes(ctx, tx, source, fresh)
	if err != nil {
		return nil, nil, err
	}
	if err := changeEpisodes(ctx, tx, source, old); err != nil {
		return nil, nil, err
	}
	for i := range changes {
		id := changes[i].ID
		if id == 0 {
			id, numbers = numbers[0], numbers[1:]
		}
		ids = append(ids, id)
		for _, e := range changes[i].Events {
			e.Episode = id
			events = append(events, e)
		}
	}
	return ids, events, nil
}

const (
	episodeArrays = `unnest($2::bigint[], $3::uuid[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[], $8::timestamptz[], $9::timestamptz[],
		$10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::timestamptz[], $17::text[], $18::timestamptz[], $19::int[], $20::text[], $21::text[])
		WITH ORDINALITY AS e(id, workspace, name, opened_at, first_evidence, last_seen_at, clear_since, closed_at, result, severity, kinds, severities, findings, causes,
			announced_at, announced, reminded_at, reminders, opened, latest, place)`

	openSQL = `INSERT INTO drifts (source, workspace, name, opened_at, first_evidence, last_seen_at, clear_since, closed_at, result, severity, kinds, severities, findings, causes,
			announced_at, announced, reminded_at, reminders, opened, latest)
		SELECT $1::text, workspace, name, opened_at, first_evidence, last_seen_at, clear_since, closed_at, result, severity, string_to_array(kinds, ','), string_to_array(severities, ','),
			findings::json, causes::json, announced_at, announced, reminded_at, reminders, opened::json, latest::json
		FROM ` + episodeArrays + ` ORDER BY place RETURNING id`

	changeSQL = `UPDATE drifts d SET name = e.name, last_seen_at = e.last_seen_at, clear_since = e.clear_since, closed_at = e.closed_at, result = e.result,
			severity = e.severity, kinds = string_to_array(e.kinds, ','), severities = string_to_array(e.severities, ','), findings = e.findings::json, causes = e.causes::json,
			announced_at = e.announced_at, announced = e.announced, reminded_at = e.reminded_at, reminders = e.reminders, latest = coalesce(e.latest::json, d.latest)
		FROM ` + episodeArrays + ` WHERE d.id = e.id AND d.source = $1::text AND d.workspace = e.workspace AND d.closed_at IS NULL`
)

func openEpisodes(ctx context.Context, tx pgx.Tx, source string, fresh []*EpisodeChange) ([]int64, error) {
	var ids []int64
	for part := range slices.Chunk(fresh, chunk) {
		args, err := episodeColumns(source, part)
		if err != nil {
			return nil, err
		}
		numbers, err := collect(ctx, tx, pgx.RowTo[int64], openSQL, args...)
		if err != nil {
			return nil, err
		}
		ids = append(ids, numbers...)
	}
	return ids, nil
}

// changeEpisodes changes open episodes. One that is not open any more, or
// another source's, shows that the caller knows the past.
func changeEpisodes(ctx context.Context, tx pgx.Tx, source string, old []*EpisodeChange) error {
	for part := range slices.Chunk(old, chunk) {
		args, err := episodeColumns(source, part)
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, changeSQL, args...)
		if err != nil {
			return err
		}
		if n := tag.RowsAffected(); n != int64(len(part)) {
			return fmt.Errorf("%d of %d drifts to be changed are open: %w", n, len(part), ErrStale)
		}
	}
	return nil
}

// column makes an array of one field of all rows.
func column[R, V any](rows []R, field func(R) V) []V {
	values := make([]V, len(rows))
	for i, r := range rows {
		values[i] = field(r)
	}
	return values
}

func episodeColumns(source string, changes []*EpisodeChange) ([]any, error) {
	findings, causes := make([]string, len(changes)), make([]string, len(changes))
	for i, c := range changes {
		var err error
		if findings[i], err = asText(storedFindings(c.Findings)); err != nil {
			return nil, err
		}
		if causes[i], err = asText(storedCauses(c.Causes)); err != nil {
			return nil, err
		}
	}
	type change = *EpisodeChange
	return []any{
		source,
		column(changes, func(c change) int64 { return c.ID }),
		column(changes, func(c change) string { return c.Workspace }),
		column(changes, func(c change) string { return clean(c.Name) }),
		column(changes, func(c change) time.Time { return c.OpenedAt }),
		column(changes, func(c change) time.Time { return firstTime(c.FirstEvidence, c.OpenedAt) }),
		column(changes, func(c change) *time.Time { return orNull(c.LastSeenAt) }),
		column(changes, func(c change) *time.Time { return orNull(c.ClearSince) }),
		column(changes, func(c change) *time.Time { return orNull(c.ClosedAt) }),
		column(changes, func(c change) string { return string(c.Result) }),
		column(changes, func(c change) string { return string(c.Severity) }),
		column(changes, func(c change) string {
			return words(column(c.Findings, func(f drift.Finding) drift.Kind { return f.Kind }))
		}),
		column(changes, func(c change) string {
			return words(column(c.Findings, func(f drift.Finding) drift.Severity { return f.Severity }))
		}),
		findings, causes,
		column(changes, func(c change) *time.Time { return orNull(c.AnnouncedAt) }),
		column(changes, func(c change) string { return string(c.Announced) }),
		column(changes, func(c change) *time.Time { return orNull(c.RemindedAt) }),
		column(changes, func(c change) int { return c.Reminders }),
		column(changes, func(c change) *string { return document(c.Opened) }),
		column(changes, func(c change) *string { return document(c.Latest) }),
	}, nil
}

func firstTime(a, b time.Time) time.Time {
	if a.IsZero() {
		return b
	}
	return a
}

func storedFindings(list []drift.Finding) []finding {
	return column(list, func(f drift.Finding) finding {
		return finding{f.Kind, f.Severity, f.Summary, f.Evidence, f.Remediable}
	})
}

func storedCauses(list []drift.Cause) []cause {
	return column(list, func(c drift.Cause) cause { return cause(c) })
}

const episodeSelect = `d.id, d.source, d.workspace::text, d.name, d.opened_at, d.first_evidence, d.last_seen_at, d.clear_since, d.closed_at, d.result, d.severity,
	d.findings, d.causes, d.announced_at, d.announced, d.reminded_at, d.reminders`

// episodeRow receives what episodeSelect selects.
type episodeRow struct {
	drift.Episode
	lastSeen, clearSince, closed, announced, reminded *time.Time
	findings, causes                                  []byte
}

func (r *episodeRow) targets() []any {
	e := &r.Episode
	return []any{
		&e.ID, &e.Source, &e.Workspace, &e.Name, &e.OpenedAt, &e.FirstEvidence, &r.lastSeen, &r.clearSince, &r.closed, &e.Result, &e.Severity,
		&r.findings, &r.causes, &r.announced, &e.Announced, &r.reminded, &e.Reminders,
	}
}

func (r *episodeRow) episode() (drift.Episode, error) {
	e := r.Episode
	e.OpenedAt, e.FirstEvidence = e.OpenedAt.UTC(), e.FirstEvidence.UTC()
	e.LastSeenAt, e.ClearSince, e.ClosedAt = orZero(r.lastSeen), orZero(r.clearSince), orZero(r.closed)
	e.AnnouncedAt, e.RemindedAt = orZero(r.announced), orZero(r.reminded)
	var findings []finding
	if err := json.Unmarshal(r.findings, &findings); err != nil {
		return e, fmt.Errorf("drift %d: findings: %w", e.ID, err)
	}
	for _, f := range findings {
		e.Findings = append(e.Findings, drift.Finding(f))
	}
	var causes []cause
	if err := json.Unmarshal(r.causes, &causes); err != nil {
		return e, fmt.Errorf("drift %d: causes: %w", e.ID, err)
	}
	for _, c := range causes {
		e.Causes = append(e.Causes, drift.Cause(c))
	}
	return e, nil
}
