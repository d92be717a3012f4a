package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// pulseOver is over how long the calls of a workspace tell how it usually calls.
const pulseOver = 24 * time.Hour

// records is what our own tables tell of the candidates of a plan, and what the
// plan has done since.
type records struct {
	room drift.Room
	dry  int                // told by dry runs within the last hour, which spend nothing but their own
	by   map[string]*record // by workspace
}

// record is what is written of one workspace.
type record struct {
	inFlight int64
	past     []past    // its actions that ended, of those that count
	approval time.Time // the last; zero: none
	approved bool      // it has not run out
	pulse    drift.Pulse
	dry      map[string]bool // inputs with which a dry run has been told of its open drift
}

type past struct {
	inputs  string
	cause   string
	outcome drift.Outcome
	at      time.Time
}

func (r *records) of(workspace string) *record {
	if one := r.by[workspace]; one != nil {
		return one
	}
	one := &record{}
	if r.by == nil {
		r.by = map[string]*record{}
	}
	r.by[workspace] = one
	return one
}

// opened counts what the plan itself has opened; id 0: a dry run.
func (r *records) opened(workspace string, id int64, now time.Time) {
	if id == 0 {
		r.dry++
		return
	}
	r.room.LastHour++
	if r.room.HourFreeAt.IsZero() {
		r.room.HourFreeAt = now.Add(time.Hour)
	}
	r.room.InFlight++
	r.room.OfSource++
	r.of(workspace).inFlight = id
}

// attempts counts the attempts with the same inputs since a time, and since the
// last that cured.
func (r *record) attempts(inputs string, since time.Time) (n int, last time.Time) {
	for _, p := range r.past { // the newest first
		if p.outcome == drift.Cured || p.outcome == drift.CuredUnproven || !p.at.After(since) || p.inputs != inputs {
			break
		}
		if n++; last.IsZero() {
			last = p.at
		}
	}
	return n, last
}

func (l *planner) read(ctx context.Context) error {
	ids := column(l.Candidates, func(c Candidate) string { return c.Workspace })
	if err := l.records.readRoom(ctx, l.Change, l.Lease.Source, l.Workspaces); err != nil {
		return err
	}
	var err error
	if l.tier, err = l.readCanaries(ctx, l.Candidates); err != nil {
		return err
	}
	return l.records.readWorkspaces(ctx, l.Change, l.Lease.Source, ids)
}

// readRoom counts what is spent. What was opened and came to nothing before the
// platform was called has spent nothing; what was given up after the platform may
// have acted has.
func (r *records) readRoom(ctx context.Context, c *Change, source string, workspaces int) error {
	var oldest *time.Time
	r.room.Workspaces = workspaces
	err := c.tx.QueryRow(ctx, `SELECT count(*) FILTER (WHERE `+underWay+`), count(*) FILTER (WHERE `+underWay+` AND source = $1),
			count(*) FILTER (WHERE spent), min(opened_at) FILTER (WHERE spent), count(*) FILTER (WHERE outcome = 'would_have')
		FROM (SELECT *, opened_at > $2::timestamptz - interval '1 hour'
				AND (outcome NOT IN ('superseded', 'blocked', 'would_have') OR `+mayHaveActed+`) AS spent FROM actions
			WHERE `+underWay+` OR opened_at > $2::timestamptz - interval '1 hour') a`, source, c.now).
		Scan(&r.room.InFlight, &r.room.OfSource, &r.room.LastHour, &oldest, &r.dry)
	if oldest != nil {
		r.room.HourFreeAt = oldest.UTC().Add(time.Hour)
	}
	return err
}

// mayHaveActed tells that the platform may have restarted the workspace, however
// the action ended: given up without knowing, it still is an attempt.
const mayHaveActed = "coalesce(attempt->'Call'->>'result', '') IN ('accepted', 'uncertain')"

// recordKept is how far back attempts count.
const recordKept = 30 * 24 * time.Hour

func (r *records) readWorkspaces(ctx context.Context, c *Change, source string, ids []string) error {
	b := &pgx.Batch{}
	var id string
	var number int64
	each := func(targets []any, row func()) func(pgx.Rows) error {
		return func(rows pgx.Rows) error {
			_, err := pgx.ForEachRow(rows, targets, func() error { row(); return nil })
			return err
		}
	}
	b.Queue("SELECT workspace::text, id FROM actions WHERE source = $1 AND workspace = ANY($2::uuid[]) AND "+underWay, source, ids).
		Query(each([]any{&id, &number}, func() { r.of(id).inFlight = number }))
	var p past
	var lapEpisode *int64
	b.Queue(`SELECT workspace::text, inputs, cause, outcome, ended_at, episode FROM actions WHERE source = $1 AND workspace = ANY($2::uuid[]) AND state = 'ended'
			AND (outcome NOT IN ('superseded', 'blocked') OR `+mayHaveActed+`) AND ended_at > $3 ORDER BY id DESC`, source, ids, c.now.Add(-recordKept)).
		Query(each([]any{&id, &p.inputs, &p.cause, &p.outcome, &p.at, &lapEpisode}, func() { r.of(id).remember(p, lapEpisode) }))
	var at time.Time
	var stands bool
	b.Queue("SELECT workspace::text, at, expires_at > $3 FROM approvals WHERE source = $1 AND workspace = ANY($2::uuid[])", source, ids, c.now).
		Query(each([]any{&id, &at, &stands}, func() { r.of(id).approval, r.of(id).approved = at.UTC(), stands }))
	var calls int64
	var first, last time.Time
	var usd float64
	b.Queue(`SELECT workspace::text, sum(billed), min(first_at), max(coalesce(last_billed, last_at)), sum(cost_usd) FROM traffic
			WHERE source = $1 AND workspace = ANY($2::uuid[]) AND bucket > $3 AND attribution >= 2 AND billed > 0 GROUP BY workspace`, source, ids, c.now.Add(-pulseOver)).
		Query(each([]any{&id, &calls, &first, &last, &usd}, func() { r.of(id).pulse = pulse(calls, first.UTC(), last.UTC(), usd, c.now) }))
	return c.tx.SendBatch(ctx, b).Close()
}

// remember takes down an action that is over. A dry run is none that counts.
func (r *record) remember(p past, episode *int64) {
	if p.outcome != drift.WouldHave {
		p.at = p.at.UTC()
		r.past = append(r.past, p)
		return
	}
	if r.dry == nil {
		r.dry = map[string]bool{}
	}
	r.dry[dryKey(p.inputs, episode)] = true
}

// pulse tells how calls usually come, by their number between the first and the
// last.
func pulse(calls int64, first, last time.Time, usd float64, now time.Time) drift.Pulse {
	p := drift.Pulse{Last: last}
	span := last.Sub(first)
	if calls > 1 && span > 0 {
		p.Gap = span / time.Duration(calls-1)
	}
	if hours := max(now.Sub(first).Hours(), 1); calls > 0 {
		p.PerHour, p.USD = float64(calls)/hours, usd/hours
	}
	return p
}

// Recall gives what our own records tell of the workspace of an action, itself
// apart.
func (s *Store) Recall(ctx context.Context, a *Action) (st *Standing, err error) {
	err = s.read(ctx, "recall "+a.Workspace, func(ctx context.Context, tx pgx.Tx) error {
		c, err := newChange(ctx, tx)
		if err != nil {
			return err
		}
		var r records
		if err := r.readWorkspaces(ctx, c, a.Source, []string{a.Workspace}); err != nil {
			return err
		}
		ramp, err := c.loadRamp(ctx, a.Cause)
		if err != nil {
			return err
		}
		st = r.of(a.Workspace).standing(c, a.Cause, a.Inputs)
		st.Ramp = *ramp
		if st.InFlight == a.ID {
			st.InFlight = 0
		}
		return nil
	})
	return st, err
}

// standing is what is written of the workspace itself.
func (r *record) standing(c *Change, ramp, inputs string) *Standing {
	st := &Standing{InFlight: r.inFlight, Approved: r.approved, Pulse: r.pulse}
	since := r.approval
	if at := c.rearmed[ramp]; at.After(since) {
		since = at
	}
	st.Attempts, st.EndedAt = r.attempts(inputs, since)
	return st
}
