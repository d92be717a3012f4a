package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Candidate is a workspace about which something might be done.
type Candidate struct {
	Workspace string // id
	Name      string
	Episode   int64
	Cause     string // drift.CauseKey
	Inputs    string // drift.InputsDigest
	Severity  drift.Severity
	Mode      drift.RemediateMode
	Attempt   drift.Attempt // how it stands: StartedAt, Instance, Kinds
	Before    json.RawMessage
	Request   int64 // the action that a person wants; 0: none
	Canary    bool  // the platform's own word for those that go first
	// Judge decides by what our own records tell. It is pure, and called while
	// nobody else plans.
	Judge func(*Standing) drift.Judgement
}

// Standing is what our own records tell of a candidate.
type Standing struct {
	InFlight int64 // action under way; 0: none
	Attempts int   // with the same inputs, since the last that cured or a person's approval
	EndedAt  time.Time
	Ramp     drift.Ramp
	Room     drift.Room
	Approved bool
	Pulse    drift.Pulse
	Told     bool   // a dry run has told of this drift with these inputs
	First    string // which workspace, of those that are to go first, is waited for with the cause's canary; "": none
}

// Planning is what a look at a source gives to decide about.
type Planning struct {
	Lease      Lease
	Full       bool // every workspace was looked at: judgements of others are forgotten
	Workspaces int  // that the source has
	Candidates []Candidate
	Clear      []string // workspaces of which nothing is to be judged
}

// Planned is what came of a plan.
type Planned struct {
	Judgements []drift.Judgement // of the candidates, in their order
	Events     []drift.Event
	Opened     []int64 // actions
}

// Plan judges the candidates one after another, opens an action for each that
// may go on, and queues it, all in one transaction in which nobody else plans:
// no budget can be spent twice. It is fenced.
func (s *Store) Plan(ctx context.Context, p *Planning) (planned Planned, err error) {
	err = s.transact(ctx, "plan for "+p.Lease.Source, applying, func(ctx context.Context, tx pgx.Tx) error {
		if err := fence(ctx, tx, p.Lease); err != nil {
			return err
		}
		c, err := newChange(ctx, tx)
		if err != nil {
			return err
		}
		if err := c.planAlone(ctx); err != nil {
			return err
		}
		l := &planner{Change: c, store: s, Planning: p, ramps: map[string]*drift.Ramp{}}
		if err := l.run(ctx); err != nil {
			return err
		}
		planned = l.planned
		planned.Events, err = c.tell(ctx)
		return err
	})
	if err != nil {
		return Planned{}, err
	}
	return planned, nil
}

// planAlone lets nobody else spend a budget or move a ramp until the end of the
// transaction, and looks at the clock once it has that.
func (c *Change) planAlone(ctx context.Context) error {
	if err := lock(ctx, c.tx, lockActions); err != nil {
		return err
	}
	return c.look(ctx)
}

// planner is a plan under way.
type planner struct {
	*Change
	*Planning
	store   *Store
	records records
	ramps   map[string]*drift.Ramp // by cause, as far as they were needed
	tier    canaries
	planned Planned
}

func (l *planner) run(ctx context.Context) error {
	if len(l.Candidates) > 0 {
		if err := l.read(ctx); err != nil {
			return err
		}
	}
	judged := make([]StoredJudgement, 0, len(l.Candidates))
	for i := range l.Candidates {
		c := &l.Candidates[i]
		ramp, err := l.ramp(ctx, c)
		if err != nil {
			return err
		}
		j := c.Judge(l.standing(c, ramp))
		l.tier.note(l.Lease.Source, c, j, l.now)
		l.planned.Judgements = append(l.planned.Judgements, j)
		judged = append(judged, StoredJudgement{l.Lease.Source, c.Workspace, j, l.now})
		if err := l.follow(ctx, c, ramp, j); err != nil {
			return err
		}
	}
	return l.writeJudgements(ctx, judged)
}

// follow does what was judged.
func (l *planner) follow(ctx context.Context, c *Candidate, ramp *drift.Ramp, j drift.Judgement) error {
	switch {
	case j.Rule != drift.RuleGo && c.Request != 0:
		return l.answerRequest(ctx, c, j)
	case j.Rule != drift.RuleGo, c.Request == 0 && l.standing(c, ramp).Told:
		return nil
	case c.Mode == drift.RemediateDryRun:
		return l.wouldHave(ctx, c, ramp)
	}
	return l.open(ctx, c, ramp)
}

// passing are rules that a request waits for, since they pass by themselves.
var passing = map[drift.Rule]bool{drift.RuleSettling: true, drift.RuleResolverChanged: true, drift.RuleCanaryPending: true, drift.RuleOverBudget: true, drift.RuleUnknown: true}

func (l *planner) answerRequest(ctx context.Context, c *Candidate, j drift.Judgement) error {
	if passing[j.Rule] {
		_, err := l.tx.Exec(ctx, "UPDATE actions SET words = $2, next_at = $3 WHERE id = $1::bigint AND state = 'requested'", c.Request, "waits: "+j.Words, orNull(j.Next))
		return err
	}
	return l.end(ctx, ending{id: c.Request, outcome: drift.Blocked, words: string(j.Rule) + ": " + j.Words, from: ActionRequested})
}

// wouldHave records what would have been done: as if it had cured.
func (l *planner) wouldHave(ctx context.Context, c *Candidate, ramp *drift.Ramp) error {
	id, err := l.insert(ctx, c, ramp, ActionEnded)
	if err != nil {
		return err
	}
	ramp.Opened++
	ramp.Finish(ramp.Lap, drift.Cured, "", l.now)
	l.ramps[rampKey(c)] = ramp
	l.records.opened(c.Workspace, 0, l.now)
	l.planned.Opened = append(l.planned.Opened, id)
	if err := l.saveRamp(ctx, ramp); err != nil {
		return err
	}
	return l.event(ctx, drift.Event{Kind: drift.EventWouldReprovision, Severity: c.Severity, Source: l.Lease.Source, Workspace: c.Workspace, Name: c.Name, Episode: c.Episode,
		Summary: "would have been reprovisioned, for " + c.Cause + " (dry run: nothing was called)"})
}

// open spends the budget and queues the action.
func (l *planner) open(ctx context.Context, c *Candidate, ramp *drift.Ramp) error {
	id, err := l.insert(ctx, c, ramp, ActionQueued)
	if err != nil {
		return err
	}
	ramp.Opened++
	l.ramps[rampKey(c)] = ramp
	l.records.opened(c.Workspace, id, l.now)
	l.planned.Opened = append(l.planned.Opened, id)
	if err := l.saveRamp(ctx, ramp); err != nil {
		return err
	}
	return l.store.enqueue(ctx, l.tx, id)
}

func (l *planner) insert(ctx context.Context, c *Candidate, ramp *drift.Ramp, state ActionState) (id int64, err error) {
	attempt := c.Attempt
	attempt.Gap = l.records.of(c.Workspace).pulse.Gap
	text, err := json.Marshal(&attempt)
	if err != nil {
		return 0, err
	}
	var outcome, words string
	var ended *time.Time
	if state == ActionEnded {
		outcome, words, ended = string(drift.WouldHave), "dry run: nothing was called", &l.now
	}
	if c.Request != 0 {
		err = l.tx.QueryRow(ctx, `UPDATE actions SET state = $2, episode = $3::bigint, cause = $4, inputs = $5, lap = $6::int, mode = $7, opened_at = $8, ended_at = $9, attempt = $10::json, outcome = $11,
			words = $12, before = $13::json, next_at = NULL WHERE id = $1::bigint AND state = 'requested' RETURNING id`,
			c.Request, string(state), numberOrNull(c.Episode), clean(c.Cause), c.Inputs, ramp.Lap, string(c.Mode), l.now, ended, string(text), outcome, words, document(c.Before)).Scan(&id)
		return id, err
	}
	err = l.tx.QueryRow(ctx, `INSERT INTO actions (source, workspace, name, episode, cause, inputs, lap, state, mode, by, reason, forced, created_at, opened_at, ended_at, attempt, outcome, words, before)
		VALUES ($1, $2::uuid, $3, $4::bigint, $5, $6, $7::int, $8, $9, '', '', false, $10, $10, $11, $12::json, $13, $14, $15::json) RETURNING id`,
		l.Lease.Source, c.Workspace, clean(c.Name), numberOrNull(c.Episode), clean(c.Cause), c.Inputs, ramp.Lap, string(state), string(c.Mode), l.now, ended,
		string(text), outcome, words, document(c.Before)).Scan(&id)
	return id, err
}

func numberOrNull(n int64) *int64 {
	if n == 0 {
		return nil
	}
	return &n
}

// writeJudgements keeps what holds of each candidate, where that has changed.
func (l *planner) writeJudgements(ctx context.Context, judged []StoredJudgement) error {
	source := l.Lease.Source
	kept := column(judged, func(j StoredJudgement) string { return j.Workspace })
	if _, err := l.tx.Exec(ctx, "DELETE FROM judgements WHERE source = $1 AND (workspace = ANY($2::uuid[]) OR $3::boolean AND NOT workspace = ANY($4::uuid[]))",
		source, append([]string{}, l.Clear...), l.Full, kept); err != nil {
		return err
	}
	if len(judged) == 0 {
		return nil
	}
	_, err := l.tx.Exec(ctx, `INSERT INTO judgements AS j (source, workspace, rule, words, next_at, since, cause, canary)
		SELECT $1, * FROM unnest($2::uuid[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::text[], $8::boolean[])
		ON CONFLICT (source, workspace) DO UPDATE SET rule = excluded.rule, words = excluded.words, next_at = excluded.next_at,
			since = CASE WHEN j.rule = excluded.rule THEN j.since ELSE excluded.since END, cause = excluded.cause, canary = excluded.canary
		WHERE (j.rule, j.words, j.next_at, j.cause, j.canary) IS DISTINCT FROM (excluded.rule, excluded.words, excluded.next_at, excluded.cause, excluded.canary)`,
		source, kept,
		column(judged, func(j StoredJudgement) string { return string(j.Rule) }),
		column(judged, func(j StoredJudgement) string { return clean(j.Words) }),
		column(judged, func(j StoredJudgement) *time.Time { return orNull(j.Next) }),
		column(judged, func(j StoredJudgement) time.Time { return j.Since }),
		column(l.Candidates, func(c Candidate) string { return clean(rampKey(&c)) }),
		column(l.Candidates, func(c Candidate) bool { return c.Canary }))
	return err
}
