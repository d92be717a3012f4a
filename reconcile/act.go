package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// The pace of acting.
const (
	actEvery    = 2 * time.Second  // how often it is asked whether there is anything to do
	elsewhere   = 30 * time.Second // until an action of a source that this replica does not have is offered again
	lookRetry   = 15 * time.Second // until a workspace that could not be looked at is looked at again
	callWithin  = 9 * time.Second  // of a call, less than the switch is held for it
	leastAgain  = time.Second
	staleAction = time.Hour // that an action may wait to be looked at, before its call and after
)

// work works on actions while acting is allowed anywhere, or one is under way:
// what has been begun is observed to its end whatever the configuration says by
// then.
func (d *Daemon) work(ctx context.Context) {
	for tick(ctx, nil, actEvery) {
		if !d.busy(ctx) {
			continue
		}
		working, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for tick(working, nil, elsewhere) && d.busy(ctx) {
			}
			stop()
		}()
		err := d.store.Work(working, store.Working{Name: d.replica.ID, Workers: d.opts.Acting.Workers, Timeout: d.opts.Acting.Timeout, Rescue: d.opts.Acting.Rescue, Poll: d.opts.Acting.Poll, Do: d.act})
		stop()
		<-done
		if err != nil && ctx.Err() == nil {
			d.storeFailed("act", err)
			d.log.Warn("actions are not worked on; tried again later", "error", err)
		}
	}
}

// Acting paces the work on actions; zeros are store.Working's.
type Acting struct {
	Workers               int
	Timeout, Rescue, Poll time.Duration
}

// busy tells whether there may be anything to do.
func (d *Daemon) busy(ctx context.Context) bool {
	world := d.atlas.enter()
	allowed := slices.ContainsFunc(world.Sources, func(s Source) bool { return s.Actor != nil })
	d.atlas.leave(world)
	if allowed {
		return true
	}
	n, err := d.store.InFlight(ctx)
	return err == nil && n > 0
}

// turn is one turn at an action.
type turn struct {
	*Daemon
	world  *World
	source Source
	action *store.Action
}

// act takes one turn at an action: it is told no more than its number, and reads
// everything afresh.
func (d *Daemon) act(ctx context.Context, id int64) (again time.Duration, err error) {
	a, err := d.store.Action(ctx, id)
	if err != nil || !a.InFlight() {
		return 0, err
	}
	world := d.atlas.enter()
	defer d.atlas.leave(world)
	source, ok := world.source(a.Source)
	if !ok {
		return elsewhere, nil
	}
	t := &turn{Daemon: d, world: world.World, source: source, action: a}
	switch a.State {
	case store.ActionQueued:
		if wait := time.Until(a.NextAt); wait > 0 {
			return max(wait, leastAgain), nil
		}
		return t.begin(ctx)
	case store.ActionCalling:
		return t.called(ctx, drift.Call{Result: drift.CallUncertain, Words: "whoever was calling is gone, and whether the platform was called is not known"})
	}
	return t.prove(ctx)
}

// begin looks again, and calls the platform where the judgement still stands.
func (t *turn) begin(ctx context.Context) (again time.Duration, err error) {
	j, err := t.look(ctx)
	switch {
	case err != nil && time.Since(t.action.OpenedAt) < staleAction:
		t.log.Warn("workspace not looked at before acting; tried again later", "source", t.action.Source, "workspace", t.action.Workspace, "error", err)
		return lookRetry, t.store.Waits(ctx, t.action.ID, "waits to be looked at: "+err.Error(), time.Now().Add(lookRetry))
	case err != nil:
		return 0, t.end(ctx, store.ActionQueued, drift.Superseded, "it could not be looked at: "+err.Error(), nil)
	}
	document := t.opts.Document(t.world.Policy, j)
	attempt, words, err := t.stands(ctx, j)
	if err != nil {
		return 0, err
	}
	if words != "" {
		return 0, t.end(ctx, store.ActionQueued, drift.Superseded, words, document)
	}
	return t.call(ctx, attempt, document)
}

// stands tells why the judgement does not stand any more; "": it does. How the
// workspace stands now is what it is compared with afterwards.
func (t *turn) stands(ctx context.Context, j *Judged) (attempt drift.Attempt, words string, err error) {
	a := t.action
	attempt = attemptAt(j)
	if drift.InputsDigest(j.Workspace, &j.Desired, t.world.ResolverID) != a.Inputs {
		return attempt, "the inputs have changed since it was decided", nil
	}
	st, err := t.store.Recall(ctx, a)
	if err != nil {
		return attempt, "", err
	}
	remedy := t.source.Remedy
	if t.source.Actor == nil {
		remedy.Mode = drift.RemediateOff
	}
	history := &drift.History{Agreeing: max(1, remedy.Confirmations), Forced: a.Forced, AtRequest: a.By != "", Ramp: &st.Ramp}
	recall(history, st)
	if words := overtaken(a, &st.Ramp); words != "" {
		return attempt, words, nil
	}
	st.Ramp.Opened = 0 // its place in the wave has been taken
	history.Paused, history.PausedUntil = t.pauses.acting(a.Source, a.Workspace)
	if err := t.past(ctx, history, j); err != nil {
		return attempt, "", err
	}
	attempt.Gap = st.Pulse.Gap
	verdict := drift.Judge(&drift.Case{Facts: &j.Facts, Policy: t.world.Policy, Verdict: j.Verdict, Findings: j.Findings, Platform: t.source.Platform != nil,
		Remedy: &remedy, Now: time.Now(), History: history})
	switch cause := drift.CauseKey(j.Causes, j.Findings); {
	case verdict.Rule != drift.RuleGo:
		return attempt, string(verdict.Rule) + ": " + verdict.Words, nil
	case cause != a.Cause && a.By == "":
		return attempt, "the cause is another by now: " + cause, nil
	}
	return attempt, "", nil
}

// overtaken tells why the ramp of its cause no longer carries an action that was
// decided before; "": it does. What was decided before a person let a cause begin
// again is no part of what begins: the canary is to be alone.
func overtaken(a *store.Action, r *drift.Ramp) string {
	switch {
	case r.Stopped != "":
		return string(drift.RuleIneffective) + ": nothing more is tried for cause " + r.Cause + ": " + r.Stopped
	case r.Lap != a.Lap:
		return "its cause has begun again, or gone on, since it was decided"
	}
	return ""
}

// past adds to the history what the source's own row and its drifts tell.
func (t *turn) past(ctx context.Context, h *drift.History, j *Judged) error {
	for _, name := range []string{store.Fleet, t.action.Source} {
		s, err := t.store.Source(ctx, name)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if s.Surge != "" && s.Accepted.IsZero() {
			h.Surge = s.Surge
		}
	}
	quiet, err := t.suppressed(ctx, t.action.Source, time.Now())
	if err != nil {
		return err
	}
	h.Suppressed = j.Verdict == drift.Drifted && quiet(j)
	if t.action.Episode == 0 {
		return nil
	}
	episode, err := t.store.Drift(ctx, t.action.Episode)
	if err == nil {
		h.OpenedAt = episode.OpenedAt
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// call calls the platform once, unless acting is paused.
func (t *turn) call(ctx context.Context, attempt drift.Attempt, document json.RawMessage) (again time.Duration, err error) {
	at, err := t.store.Calling(ctx, t.action.ID, attempt, document)
	if err != nil {
		return 0, err
	}
	answer := drift.Call{Result: drift.CallUnavailable, Words: "the platform was not called"}
	// A call that is being made when the daemon ends is made to its end: cut, nobody
	// would know what it did.
	err = t.store.Acting(context.WithoutCancel(ctx), t.action.Source, t.action.Workspace, func(ctx context.Context) error {
		ctx, stop := context.WithTimeout(ctx, callWithin)
		defer stop()
		deadline, _ := ctx.Deadline()
		if late := time.Now().After(deadline); late || ctx.Err() != nil {
			return context.DeadlineExceeded // frozen until now: somebody else may have taken over
		}
		if err := t.mayCall(ctx, at); err != nil {
			return err
		}
		answer = t.source.Actor.Restart(ctx, t.action.Workspace)
		return nil
	})
	if errors.Is(err, store.ErrMovedOn) {
		return 0, err
	}
	if errors.Is(err, store.ErrPaused) || errors.Is(err, errOvertaken) {
		return 0, t.end(context.WithoutCancel(ctx), store.ActionCalling, drift.Superseded, err.Error(), document)
	}
	if err != nil && answer.Result == drift.CallUnavailable {
		answer.Words += ": " + err.Error()
	}
	return t.called(context.WithoutCancel(ctx), answer)
}

var errOvertaken = errors.New("overtaken")

// mayCall asks once more, with the switch held, what others may have written
// while this turn waited for it, or was frozen: whether the call that was begun
// then is still this turn's to make, and is not settled by observing already; and
// whether its cause still goes on.
func (t *turn) mayCall(ctx context.Context, begun time.Time) error {
	a, err := t.store.Action(ctx, t.action.ID)
	switch {
	case err != nil:
		return err
	case a.State != store.ActionCalling || !a.CalledAt.Equal(begun):
		return store.ErrMovedOn
	}
	st, err := t.store.Recall(ctx, a)
	if err != nil {
		return err
	}
	if words := overtaken(a, &st.Ramp); words != "" {
		return fmt.Errorf("%w: %s", errOvertaken, words)
	}
	return nil
}

// called writes the platform's answer down, whoever waits for it.
func (t *turn) called(ctx context.Context, answer drift.Call) (again time.Duration, err error) {
	ctx, stop := context.WithTimeout(ctx, writeFor)
	defer stop()
	after, err := t.store.Called(ctx, t.action.ID, answer)
	if err != nil {
		return 0, err
	}
	t.log.Warn("platform called", "action", after.ID, "source", after.Source, "workspace", after.Workspace, "result", answer.Result, "answer", answer.Words)
	if after.InFlight() {
		return max(time.Until(after.NextAt), leastAgain), nil
	}
	t.metrics.Reprovisioned(string(after.Outcome))
	return 0, nil
}

// prove observes what came of the call.
func (t *turn) prove(ctx context.Context) (again time.Duration, err error) {
	a := t.action
	j, err := t.look(ctx)
	if err != nil && time.Since(a.CalledAt) > t.source.Remedy.LostAfter+patienceWith(err) {
		return 0, t.end(ctx, store.ActionProving, drift.Superseded, "what came of it cannot be seen any more: "+err.Error(), nil)
	}
	if err != nil {
		return lookRetry, t.store.Waits(ctx, a.ID, "waits to be looked at: "+err.Error(), time.Now().Add(lookRetry))
	}
	now := time.Now()
	progress := t.source.Remedy.Prove(&a.Attempt, now, &j.Facts, j.Verdict, j.Findings)
	if progress.Words != a.Words {
		t.askLook(ctx, "action "+fmt.Sprint(a.ID)+": "+progress.Words)
	}
	if progress.Outcome != "" {
		return 0, t.end(ctx, store.ActionProving, progress.Outcome, progress.Words, t.opts.Document(t.world.Policy, j))
	}
	return max(progress.Next.Sub(now), leastAgain), t.store.Waits(ctx, a.ID, progress.Words, progress.Next)
}

// patienceWith is for how long, beyond the time in which a workspace must be back,
// it is looked for in vain until its place in the budgets is given free: not at
// all where the list is there without it; where that cannot be read, that is the
// tenant's trouble, and may pass.
func patienceWith(err error) time.Duration {
	if errors.Is(err, errGone) {
		return 0
	}
	return staleAction
}

// askLook lets whoever holds the source see what has changed.
func (t *turn) askLook(ctx context.Context, why string) {
	if _, err := t.store.RequestLook(ctx, store.Look{Source: t.action.Source, Workspace: t.action.Workspace, Reason: why}); err != nil {
		t.log.Warn("look not asked for; the next pass sees it", "source", t.action.Source, "workspace", t.action.Workspace, "error", err)
	}
}

func (t *turn) end(ctx context.Context, from store.ActionState, o drift.Outcome, words string, document json.RawMessage) error {
	events, err := t.store.End(ctx, t.action.ID, from, o, words, document)
	if err != nil {
		return err
	}
	t.metrics.Reprovisioned(string(o))
	for _, e := range events {
		t.tell(e)
	}
	return nil
}

var errGone = errors.New("the workspace is not in its tenant's list")

// look looks at the one workspace, as a pass would, and writes nothing.
func (t *turn) look(ctx context.Context) (*Judged, error) {
	a := t.action
	memory := Memory{Drifted: true}
	if row, err := t.store.Workspace(ctx, a.Source, a.Workspace); err == nil {
		for _, o := range row.Overrides {
			memory.Overrides = append(memory.Overrides, drift.Mode(o))
		}
	}
	w := t.world
	walk := &Pass{Sources: []Source{t.source}, Resolver: w.Resolver, Previous: w.Previous, Observer: w.Observer, Witness: w.Witness, Policy: w.Policy,
		Credentials: w.Credentials, Only: map[string][]string{a.Source: {a.Workspace}}, LookFor: w.Limits.PassTimeout, Urgent: true,
		Memory: func(_, _ string) Memory { return memory }, Strangers: t.strangersOf(ctx, w)}
	result, err := walk.Run(ctx, NewKey())
	switch {
	case err != nil:
		return nil, err
	case result.Sources[0].Err != nil:
		return nil, result.Sources[0].Err
	case len(result.Workspaces) != 1:
		return nil, errGone
	}
	return &result.Workspaces[0], nil
}
