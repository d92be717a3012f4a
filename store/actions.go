package store

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// ActionState is how far an action has come.
type ActionState string

// The states, in their order.
const (
	ActionRequested ActionState = "requested" // a person wants it; it is not judged yet, or waits for what passes
	ActionQueued    ActionState = "queued"    // decided, its budget spent; nothing is called yet
	ActionCalling   ActionState = "calling"   // the platform is being called, or was, and nobody knows how that ended
	ActionProving   ActionState = "proving"   // called; it is being observed what came of it
	ActionEnded     ActionState = "ended"
)

// Action is one reprovision: wanted, under way, or over.
type Action struct {
	ID        int64
	Source    string
	Workspace string // id
	Name      string // of the workspace
	Episode   int64  // the drift; 0: none
	Cause     string // what it proves something about: drift.CauseKey
	Inputs    string // drift.InputsDigest when it was decided
	Lap       int    // of the cause's ramp
	State     ActionState
	Mode      drift.RemediateMode // dry_run: nothing is called
	By        string              // the person's token; "": nobody but ourselves
	Reason    string
	Forced    bool
	CreatedAt time.Time
	OpenedAt  time.Time // when its budget was spent; zero: it was not
	CalledAt  time.Time // zero: nothing was called
	EndedAt   time.Time // zero: it has not ended
	NextAt    time.Time // when it is next looked at; zero: not known
	Calls     int       // how often the platform was called: more than once only where it had surely done nothing
	Attempt   drift.Attempt
	Outcome   drift.Outcome // "" until it has ended
	Words     string
	Before    json.RawMessage // the workspace's document when it was decided; nil: none
	After     json.RawMessage // and when it ended
}

// InFlight tells whether the workspace may not have another one.
func (a *Action) InFlight() bool {
	return a.State == ActionQueued || a.State == ActionCalling || a.State == ActionProving
}

const (
	actionColumns = `a.id, a.source, a.workspace::text, a.name, a.episode, a.cause, a.inputs, a.lap, a.state, a.mode, a.by, a.reason, a.forced,
		a.created_at, a.opened_at, a.called_at, a.ended_at, a.next_at, a.calls, a.attempt, a.outcome, a.words, a.before, a.after`
	actionSelect = "SELECT " + actionColumns + " FROM actions a"
	underWay     = "state IN ('queued', 'calling', 'proving')"
)

func scanAction(row pgx.CollectableRow) (a Action, err error) {
	var episode *int64
	var opened, called, ended, next *time.Time
	var attempt, before, after []byte
	err = row.Scan(&a.ID, &a.Source, &a.Workspace, &a.Name, &episode, &a.Cause, &a.Inputs, &a.Lap, &a.State, &a.Mode, &a.By, &a.Reason, &a.Forced,
		&a.CreatedAt, &opened, &called, &ended, &next, &a.Calls, &attempt, &a.Outcome, &a.Words, &before, &after)
	if err != nil {
		return a, err
	}
	if episode != nil {
		a.Episode = *episode
	}
	a.CreatedAt, a.OpenedAt, a.CalledAt, a.EndedAt, a.NextAt = a.CreatedAt.UTC(), orZero(opened), orZero(called), orZero(ended), orZero(next)
	a.Before, a.After = before, after
	if attempt != nil {
		err = json.Unmarshal(attempt, &a.Attempt)
	}
	return a, err
}

// ActionFilter says which actions. Its zero value is the first page of all, the
// newest first.
type ActionFilter struct {
	Source    string
	Workspace string // id
	Episode   int64  // of a drift; 0: of any
	State     ActionState
	InFlight  bool // only those under way
	Outcome   drift.Outcome
	After     string // a cursor that a page ended with
	Limit     int    // 0: 100; at most 1,000
}

// Actions gives a page of actions, the newest first, and the cursor of the next
// page, "" after the last.
func (s *Store) Actions(ctx context.Context, f ActionFilter) (actions []Action, next string, err error) {
	where, err := f.where()
	if err != nil {
		return nil, "", s.wrap("read actions", err)
	}
	limit := bounded(f.Limit)
	err = s.read(ctx, "read actions", func(ctx context.Context, tx pgx.Tx) error {
		actions, err = collect(ctx, tx, scanAction, actionSelect+where.sql()+" ORDER BY a.id DESC LIMIT "+strconv.Itoa(limit+1), where.args...)
		return err
	})
	if len(actions) > limit {
		actions = actions[:limit]
		next = cursor(strconv.FormatInt(actions[limit-1].ID, 10))
	}
	return actions, next, err
}

func (f *ActionFilter) where() (w conditions, err error) {
	if f.Source != "" {
		w.add("a.source = $", f.Source)
	}
	if f.Workspace != "" {
		w.add("a.workspace = ANY($::uuid[])", onlyUUIDs([]string{f.Workspace}))
	}
	if f.Episode != 0 {
		w.add("a.episode = $::bigint", f.Episode)
	}
	if f.State != "" {
		w.add("a.state = $", string(f.State))
	}
	if f.InFlight {
		w.plain("a." + underWay)
	}
	if f.Outcome != "" {
		w.add("a.outcome = $", string(f.Outcome))
	}
	err = w.before("a.id", f.After)
	return w, err
}

// Action gives one action; ErrNotFound where there is none of that number.
func (s *Store) Action(ctx context.Context, id int64) (a *Action, err error) {
	err = s.read(ctx, "read action "+strconv.FormatInt(id, 10), func(ctx context.Context, tx pgx.Tx) error {
		list, err := collect(ctx, tx, scanAction, actionSelect+" WHERE a.id = $1::bigint", id)
		if err == nil && len(list) == 0 {
			return ErrNotFound
		}
		if err == nil {
			a = &list[0]
		}
		return err
	})
	return a, err
}

// Requested gives the actions of a source that persons want and that wait to be
// judged, the oldest first.
func (s *Store) Requested(ctx context.Context, source string) (actions []Action, err error) {
	err = s.read(ctx, "read requested actions", func(ctx context.Context, tx pgx.Tx) error {
		actions, err = collect(ctx, tx, scanAction, actionSelect+" WHERE a.source = $1 AND a.state = 'requested' ORDER BY a.id", source)
		return err
	})
	return actions, err
}

// StoredJudgement is what keeps from acting about a workspace, as was last
// judged.
type StoredJudgement struct {
	Source, Workspace string
	drift.Judgement
	Since time.Time // that the rule holds
}

// Judgements gives what was last judged of a source's workspaces, or with ids
// of those.
func (s *Store) Judgements(ctx context.Context, source string, ids []string) (list []StoredJudgement, err error) {
	err = s.read(ctx, "read judgements", func(ctx context.Context, tx pgx.Tx) error {
		list, err = collect(ctx, tx, scanJudgement, judgementSelect+` WHERE source = $1 AND ($2::uuid[] IS NULL OR workspace = ANY($2::uuid[])) ORDER BY workspace`, source, uuidsOrNull(ids))
		return err
	})
	return list, err
}

const judgementSelect = "SELECT source, workspace::text, rule, words, next_at, since FROM judgements"

func uuidsOrNull(ids []string) []string {
	if ids == nil {
		return nil
	}
	return onlyUUIDs(ids)
}

func scanJudgement(row pgx.CollectableRow) (j StoredJudgement, err error) {
	var next *time.Time
	err = row.Scan(&j.Source, &j.Workspace, &j.Rule, &j.Words, &next, &j.Since)
	j.Next, j.Since = orZero(next), j.Since.UTC()
	return j, err
}

// InFlight counts the actions under way, of all sources.
func (s *Store) InFlight(ctx context.Context) (n int, err error) {
	err = s.read(ctx, "count actions", func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, "SELECT count(*) FROM actions WHERE "+underWay).Scan(&n)
	})
	return n, err
}
