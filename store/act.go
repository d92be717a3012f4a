package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// ErrMovedOn tells that an action is no longer in the state in which this may be
// done to it: somebody else works on it, or it has ended.
var ErrMovedOn = errors.New("the action has moved on")

// maxCalls bounds how often the platform is called for one action, where it
// says each time that it has done nothing.
const maxCalls = 5

// Calling writes down, before the platform is called, that it is: with how the
// workspace stands now. Whoever finds the action so later knows that it may have
// been called. ErrMovedOn where the action is not queued any more, or waits: the
// platform was called by another replica, and asked to be left alone.
func (s *Store) Calling(ctx context.Context, id int64, a drift.Attempt, before json.RawMessage) (at time.Time, err error) {
	err = s.change(ctx, "call for action "+strconv.FormatInt(id, 10), func(ctx context.Context, c *Change) error {
		a.CalledAt, at = c.now, c.now
		text, err := json.Marshal(&a)
		if err != nil {
			return err
		}
		tag, err := c.tx.Exec(ctx, "UPDATE actions SET state = 'calling', called_at = $2, calls = calls + 1, attempt = $3::json, before = coalesce($4::json, before) WHERE id = $1::bigint AND state = 'queued' AND coalesce(next_at <= $2, true)",
			id, c.now, string(text), document(before))
		if err == nil && tag.RowsAffected() == 0 {
			return ErrMovedOn
		}
		return err
	})
	return at, err
}

// Called writes down what the platform answered: the action is to be proven, or
// waits to be tried again, or has ended. ErrMovedOn where nobody was calling.
func (s *Store) Called(ctx context.Context, id int64, call drift.Call) (after *Action, err error) {
	err = s.change(ctx, "write what was answered to action "+strconv.FormatInt(id, 10), func(ctx context.Context, c *Change) error {
		if err := c.planAlone(ctx); err != nil {
			return err
		}
		a, err := c.lockAction(ctx, id, ActionCalling)
		if err != nil {
			return err
		}
		a.Attempt.Call = call
		if err := c.called(ctx, a, call); err != nil {
			return err
		}
		after = a
		return nil
	})
	return after, err
}

func (c *Change) called(ctx context.Context, a *Action, call drift.Call) error {
	switch {
	case call.MayHaveActed():
		if err := c.move(ctx, a, ActionProving, string(call.Result)+": "+call.Words, c.now); err != nil {
			return err
		}
		return c.event(ctx, a.event(drift.EventReprovisioned, "", fmt.Sprintf("the platform was called to reprovision it, for %s: %s", a.Cause, call.Words)))
	case (call.Result == drift.CallThrottled || call.Result == drift.CallUnavailable) && a.Calls < maxCalls:
		return c.move(ctx, a, ActionQueued, string(call.Result)+": "+call.Words, c.now.Add(call.RetryAfter))
	case call.Result == drift.CallNoop:
		return c.end(ctx, ending{id: a.ID, from: ActionCalling, outcome: drift.Noop, words: call.Words})
	}
	return c.end(ctx, ending{id: a.ID, from: ActionCalling, outcome: drift.Refused, words: string(call.Result) + ": " + call.Words})
}

// move changes the state of an action that goes on.
func (c *Change) move(ctx context.Context, a *Action, to ActionState, words string, next time.Time) error {
	text, err := json.Marshal(&a.Attempt)
	if err != nil {
		return err
	}
	a.State, a.Words, a.NextAt = to, words, next
	_, err = c.tx.Exec(ctx, "UPDATE actions SET state = $2, words = $3, next_at = $4, attempt = $5::json WHERE id = $1::bigint", a.ID, string(to), clean(words), next, string(text))
	return err
}

// Waits writes down what the proof of an action waits for.
func (s *Store) Waits(ctx context.Context, id int64, words string, next time.Time) error {
	return s.write(ctx, "wait with action "+strconv.FormatInt(id, 10), func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE actions SET words = $2, next_at = $3 WHERE id = $1::bigint AND "+underWay, id, clean(words), orNull(next))
		return err
	})
}

// End ends an action that is in the given state, and moves the ramp of its
// cause by how it ended. ErrMovedOn where it is in another.
func (s *Store) End(ctx context.Context, id int64, from ActionState, outcome drift.Outcome, words string, after json.RawMessage) (events []drift.Event, err error) {
	err = s.transact(ctx, "end action "+strconv.FormatInt(id, 10), patient, func(ctx context.Context, tx pgx.Tx) error {
		c, err := newChange(ctx, tx)
		if err != nil {
			return err
		}
		if err := c.planAlone(ctx); err != nil {
			return err
		}
		if err := c.end(ctx, ending{id, from, outcome, words, after}); err != nil {
			return err
		}
		events, err = c.tell(ctx)
		return err
	})
	return events, err
}

type ending struct {
	id      int64
	from    ActionState
	outcome drift.Outcome
	words   string
	after   json.RawMessage
}

// end ends an action, while nobody else plans.
func (c *Change) end(ctx context.Context, e ending) error {
	a, err := c.lockAction(ctx, e.id, e.from)
	if err != nil {
		return err
	}
	_, err = c.tx.Exec(ctx, "UPDATE actions SET state = 'ended', ended_at = $2, outcome = $3, words = $4, after = $5::json, next_at = NULL WHERE id = $1::bigint",
		e.id, c.now, string(e.outcome), clean(e.words), document(e.after))
	if err != nil {
		return err
	}
	if !a.OpenedAt.IsZero() {
		if err := c.finish(ctx, a, e.outcome, e.words); err != nil {
			return err
		}
	}
	kind, severity := endEvent(e.outcome)
	if kind == "" || e.outcome == drift.Superseded && a.By == "" {
		return nil
	}
	words := e.words
	if e.outcome.Stops() {
		words = fmt.Sprintf("%s: %s; nothing more is tried for cause %s until it is approved or its inputs change", e.outcome, e.words, a.Cause)
	}
	return c.event(ctx, a.event(kind, severity, words))
}

// finish moves the ramp of the action's cause.
func (c *Change) finish(ctx context.Context, a *Action, o drift.Outcome, words string) error {
	key := a.Cause
	if a.Mode == drift.RemediateDryRun {
		key = dryRamp + a.Cause
	}
	r, err := c.loadRamp(ctx, key)
	if err != nil {
		return err
	}
	running := r.Stopped == ""
	r.Finish(a.Lap, o, fmt.Sprintf("action %d at %s was %s: %s", a.ID, a.Name, o, words), c.now)
	if running && r.Stopped != "" {
		r.Source, r.Workspace, r.Inputs = a.Source, a.Workspace, a.Inputs
	}
	return c.saveRamp(ctx, r)
}

// endEvent is what an outcome is told as; "": not at all.
func endEvent(o drift.Outcome) (drift.EventKind, drift.Severity) {
	switch o {
	case drift.Cured, drift.CuredUnproven:
		return drift.EventCured, ""
	case drift.Ineffective:
		return drift.EventIneffective, drift.Critical
	case drift.Worse:
		return drift.EventWorse, drift.Critical
	case drift.Lost:
		return drift.EventLost, drift.High
	case drift.Refused, drift.Noop, drift.NotApplied:
		return drift.EventNotReprovisioned, drift.Medium
	case drift.Blocked, drift.Superseded:
		return drift.EventBlocked, ""
	case drift.WouldHave:
	}
	return "", ""
}

func (a *Action) event(kind drift.EventKind, severity drift.Severity, words string) drift.Event {
	return drift.Event{Kind: kind, Severity: severity, Source: a.Source, Workspace: a.Workspace, Name: a.Name, Episode: a.Episode, Summary: fmt.Sprintf("action %d: %s", a.ID, words), By: a.By}
}

// lockAction gives an action that is in one of the given states, which nobody
// else can change until the end of the transaction.
func (c *Change) lockAction(ctx context.Context, id int64, from ...ActionState) (*Action, error) {
	list, err := collect(ctx, c.tx, scanAction, actionSelect+" WHERE a.id = $1::bigint FOR UPDATE", id)
	switch {
	case err != nil:
		return nil, err
	case len(list) == 0:
		return nil, ErrNotFound
	case !slices.Contains(from, list[0].State):
		return nil, ErrMovedOn
	}
	return &list[0], nil
}
