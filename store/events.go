package store

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
)

const (
	defaultLimit = 100
	maxLimit     = 1000
)

func bounded(limit int) int {
	if limit <= 0 {
		return defaultLimit
	}
	return min(limit, maxLimit)
}

// appendEvents writes events and gives them with their numbers. It must be the
// last that a transaction does: the lock makes numbers grow in the order of the
// commits, so that a reader who has seen one has seen all before it, and is held
// until the commit.
func appendEvents(ctx context.Context, tx pgx.Tx, events []drift.Event) ([]drift.Event, error) {
	if len(events) == 0 {
		return nil, nil
	}
	events = slices.Clone(events)
	next := 0
	b := &pgx.Batch{}
	b.Queue("SELECT pg_advisory_xact_lock($1::int, $2::int)", lockClass, lockEvents)
	b.Queue(`INSERT INTO events (at, kind, severity, source, workspace, name, episode, summary, by)
		SELECT at, kind, severity, source, workspace, name, episode, summary, by
		FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::bigint[], $8::text[], $9::text[])
			WITH ORDINALITY AS e(at, kind, severity, source, workspace, name, episode, summary, by, place)
		ORDER BY place RETURNING id`, eventColumns(events)...).Query(func(rows pgx.Rows) error {
		for ; rows.Next(); next++ {
			if err := rows.Scan(&events[next].ID); err != nil {
				return err
			}
		}
		return rows.Err()
	})
	b.Queue("SELECT pg_notify($1::text, currval(pg_get_serial_sequence('events', 'id'))::text)", channelPrefix+ChannelEvent)
	return events, tx.SendBatch(ctx, b).Close()
}

func eventColumns(events []drift.Event) []any {
	at, kind, severity, source := make([]time.Time, len(events)), make([]string, len(events)), make([]string, len(events)), make([]string, len(events))
	workspace, name, episode := make([]*string, len(events)), make([]string, len(events)), make([]*int64, len(events))
	summary, by := make([]string, len(events)), make([]string, len(events))
	for i := range events {
		e := &events[i]
		at[i], kind[i], severity[i], source[i] = e.At, string(e.Kind), string(e.Severity), e.Source
		workspace[i], name[i], summary[i], by[i] = textOrNull(e.Workspace), clean(e.Name), clean(e.Summary), clean(e.By)
		if e.Episode != 0 {
			episode[i] = &e.Episode
		}
	}
	return []any{at, kind, severity, source, workspace, name, episode, summary, by}
}

// EventFilter says which events. Its zero value is all of them, the oldest
// first, as many as fit.
type EventFilter struct {
	After, Before int64 // numbers, both excluded; 0: no bound
	Kinds         []drift.EventKind
	Source        string
	Workspace     string
	Severity      drift.Severity // at least; events of no severity are left out then
	Descending    bool
	Limit         int // 0: 100; at most 1,000
}

// Events gives the events that match, by number.
func (s *Store) Events(ctx context.Context, f EventFilter) (events []drift.Event, err error) {
	where, args := f.where()
	order := " ORDER BY id"
	if f.Descending {
		order += " DESC"
	}
	err = s.read(ctx, "read events", func(ctx context.Context, tx pgx.Tx) error {
		events, err = collect(ctx, tx, scanEvent, `SELECT id, at, kind, severity, source, workspace::text, name, episode, summary, by
			FROM events`+where+order+" LIMIT "+strconv.Itoa(bounded(f.Limit)), args...)
		return err
	})
	return events, err
}

func (f *EventFilter) where() (string, []any) {
	var w conditions
	if f.After > 0 {
		w.add("id > $::bigint", f.After)
	}
	if f.Before > 0 {
		w.add("id < $::bigint", f.Before)
	}
	if len(f.Kinds) > 0 {
		kinds := make([]string, len(f.Kinds))
		for i, k := range f.Kinds {
			kinds[i] = string(k)
		}
		w.add("kind = ANY($::text[])", kinds)
	}
	if f.Source != "" {
		w.add("source = $::text", f.Source)
	}
	if f.Workspace != "" {
		w.add("workspace::text = $::text", strings.ToLower(f.Workspace))
	}
	if f.Severity != "" {
		w.add("severity = ANY($::text[])", atLeast(f.Severity))
	}
	return w.sql(), w.args
}

// atLeast lists the severities that are no less bad.
func atLeast(s drift.Severity) []string {
	var worse []string
	for _, v := range drift.Severities {
		worse = append(worse, string(v))
		if v == s {
			return worse
		}
	}
	return []string{string(s)} // no severity of ours: nothing matches
}

func scanEvent(row pgx.CollectableRow) (e drift.Event, err error) {
	var workspace *string
	var episode *int64
	err = row.Scan(&e.ID, &e.At, &e.Kind, &e.Severity, &e.Source, &workspace, &e.Name, &episode, &e.Summary, &e.By)
	e.At, e.Workspace = e.At.UTC(), orEmpty(workspace)
	if episode != nil {
		e.Episode = *episode
	}
	return e, err
}

// LastEvent gives the number of the newest event; 0: there is none.
func (s *Store) LastEvent(ctx context.Context) (id int64, err error) {
	err = s.read(ctx, "read the last event", func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, "SELECT coalesce(max(id), 0) FROM events").Scan(&id)
	})
	return id, err
}
