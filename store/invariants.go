package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// invariants are what must hold between any two transactions, whatever was
// killed when: each query gives what breaks its rule.
var invariants = []struct{ rule, sql string }{
	{"a workspace has at most one open drift",
		"SELECT source || ' ' || workspace::text FROM drifts WHERE closed_at IS NULL GROUP BY source, workspace HAVING count(*) > 1"},
	{"a workspace has one state",
		"SELECT source || ' ' || id::text FROM states GROUP BY source, id HAVING count(*) > 1"},
	{"an event of a drift has its drift",
		"SELECT 'event ' || e.id FROM events e WHERE e.episode IS NOT NULL AND NOT EXISTS (SELECT FROM drifts d WHERE d.id = e.episode)"},
	{"an event tells of the workspace of its drift",
		"SELECT 'event ' || e.id FROM events e JOIN drifts d ON d.id = e.episode WHERE e.source <> d.source OR e.workspace IS DISTINCT FROM d.workspace"},
	{"an event that tells of a drift names it",
		"SELECT 'event ' || id FROM events WHERE kind LIKE 'drift\\_%' AND episode IS NULL"},
	{"a drift that was announced has one event of its opening, another has none",
		"SELECT 'drift ' || d.id FROM drifts d WHERE (SELECT count(*) FROM events e WHERE e.episode = d.id AND e.kind = 'drift_opened') <> (d.announced_at IS NOT NULL)::int"},
	{"a drift that was announced and is closed has one event of its end, another has none",
		"SELECT 'drift ' || d.id FROM drifts d WHERE (SELECT count(*) FROM events e WHERE e.episode = d.id AND e.kind = 'drift_closed') <> (d.announced_at IS NOT NULL AND d.closed_at IS NOT NULL)::int"},
	{"an open drift is of a workspace that has a state",
		"SELECT 'drift ' || d.id FROM drifts d WHERE d.closed_at IS NULL AND NOT EXISTS (SELECT FROM states s WHERE s.source = d.source AND s.id = d.workspace)"},
	{"an address has one exclusive holder, or several that are not",
		"SELECT host(address) FROM holdings WHERE upper_inf(during) GROUP BY address HAVING bool_or(exclusive) AND count(*) > 1"},
	{"a workspace has at most one action under way",
		"SELECT source || ' ' || workspace::text FROM actions WHERE " + underWay + " GROUP BY source, workspace HAVING count(*) > 1"},
	{"an action under way has a budget and is queued",
		"SELECT 'action ' || a.id FROM actions a WHERE " + underWay + " AND (opened_at IS NULL OR NOT EXISTS (SELECT FROM river_job j WHERE j.args->>'action' = a.id::text AND j.finalized_at IS NULL))"},
	{"a dry run calls nothing",
		"SELECT 'action ' || id FROM actions WHERE mode = 'dry_run' AND called_at IS NOT NULL"},
	{"an action that the platform may have acted on has one event of that, another has none",
		"SELECT 'action ' || a.id FROM actions a WHERE state IN ('proving', 'ended') AND called_at IS NOT NULL AND outcome IN ('', 'cured', 'cured_unproven', 'ineffective', 'worse', 'lost') AND (SELECT count(*) FROM events e WHERE e.kind = 'reprovision_started' AND e.source = a.source AND e.workspace = a.workspace AND e.summary LIKE 'action ' || a.id || ':%') <> 1"},
}

// brokenAtMost bounds what is told of one rule.
const brokenAtMost = " LIMIT 10"

// Invariants checks what must always hold, and gives a line for each thing that
// does not. It reads every drift and event, and is for tests and for doubt.
func (s *Store) Invariants(ctx context.Context) (broken []string, err error) {
	err = s.read(ctx, "check the invariants", func(ctx context.Context, tx pgx.Tx) error {
		broken = nil
		for _, i := range invariants {
			found, err := collect(ctx, tx, pgx.RowTo[string], i.sql+brokenAtMost)
			if err != nil {
				return err
			}
			for _, what := range found {
				broken = append(broken, i.rule+": "+what)
			}
		}
		return nil
	})
	return broken, err
}
