package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// approve is a person's word about a workspace.
func (r *replica) approve(workspace int) {
	r.Helper()
	_, err := r.Approve(r.Context(), store.Approval{Source: source, Workspace: ws(workspace), Reason: "it is fixed", By: "ops", ExpiresAt: time.Now().Add(time.Hour)})
	r.must(err)
}

// drifting makes workspaces 1 and 2 drift for the same cause.
func (r *replica) drifting(l store.Lease) {
	r.Helper()
	r.apply(pass(l, 1, func(o *store.Outcome) {
		o.States = []store.State{state(1, drifted), state(2, drifted)}
		o.Episodes = []store.EpisodeChange{opened(1, 1), opened(2, 1)}
	}))
}

// Where every workspace takes a person's word, the word for the second comes
// while the first is still out: it is no proof of the first.
func TestApprovalVouchesForNothingUnderWay(t *testing.T) {
	r, l := one(t)
	r.drifting(l)
	canary := r.plan(l, candidates(remedy, 1)).Opened[0]
	r.approve(2)
	if p := r.plan(l, candidates(remedy, 2, 3)); len(p.Opened) != 0 || p.Judgements[0].Rule != drift.RuleCanaryPending {
		t.Fatalf("%d were opened beside the canary: %v", len(p.Opened), rulesOf(p))
	}
	r.through(canary, drift.CuredUnproven)
	if p := r.plan(l, candidates(remedy, 2, 3)); len(p.Opened) != 0 {
		t.Fatal("the canary is unproven, and others follow")
	}
	r.approve(2)
	if p := r.plan(l, candidates(remedy, 2, 3, 4)); len(p.Opened) != 2 {
		t.Errorf("vouched for, and %d follow, want 2: %v", len(p.Opened), rulesOf(p))
	}
	r.sound()
}

// Inputs that have changed let the cause go on with the workspace that stopped
// it, and for nobody else until something is opened there.
func TestChangedInputsLetOnlyThatWorkspaceGoOn(t *testing.T) {
	r, l := one(t)
	r.through(r.plan(l, candidates(remedy, 1)).Opened[0], drift.Ineffective)
	held := candidates(remedy, 1, 2)
	held[0].Inputs = "i2"
	held[0].Judge = func(*store.Standing) drift.Judgement { return drift.Judgement{Rule: drift.RuleSurge, Words: "doubted"} }
	if p := r.plan(l, held); len(p.Opened) != 0 || p.Judgements[1].Rule != drift.RuleIneffective {
		t.Fatalf("doubted inputs let others go on: %v", rulesOf(p))
	}
	if p := r.plan(l, candidates(remedy, 1, 2)); len(p.Opened) != 0 {
		t.Fatalf("the inputs are as they were, and it goes on: %v", rulesOf(p))
	}
	changed := candidates(remedy, 2, 1, 3)
	changed[1].Inputs = "i2"
	p := r.plan(l, changed)
	if len(p.Opened) != 1 || p.Judgements[1].Rule != drift.RuleGo || p.Judgements[2].Rule != drift.RuleCanaryPending {
		t.Errorf("%v", rulesOf(p))
	}
}

// What was given up after the platform may have acted has spent its budget.
func TestWhatWasCalledIsSpentWhateverCameOfIt(t *testing.T) {
	r, l := one(t)
	tight := remedy
	tight.PerHour = 1
	r.through(r.plan(l, candidates(tight, 1)).Opened[0], drift.Superseded)
	if p := r.plan(l, candidates(tight, 2)); len(p.Opened) != 0 || p.Judgements[0].Rule != drift.RuleOverBudget {
		t.Errorf("%v", rulesOf(p))
	}
}

// An action that is not over keeps its place in the queue though a turn at it
// came too late: whoever has moved it on may be gone.
func TestATurnThatCameTooLateLosesNoPlaceInTheQueue(t *testing.T) {
	r, l := one(t)
	id := r.plan(l, candidates(remedy, 1)).Opened[0]
	ctx, stop := context.WithCancel(t.Context())
	turns := make(chan struct{}, 9)
	var all sync.WaitGroup
	all.Go(func() {
		if err := r.Work(ctx, store.Working{Name: "late", Poll: 20 * time.Millisecond, Do: func(context.Context, int64) (time.Duration, error) {
			turns <- struct{}{}
			return 0, store.ErrMovedOn
		}}); err != nil {
			t.Error(err)
		}
	})
	<-turns
	stop()
	all.Wait()
	r.sound()
	if a, err := r.Action(t.Context(), id); err != nil || !a.InFlight() {
		t.Errorf("%+v, %v", a, err)
	}
}

// A turn that began before another was told to wait does not call before that.
func TestNobodyCallsWhileThePlatformAskedToBeLeftAlone(t *testing.T) {
	r, l := one(t)
	id := r.plan(l, candidates(remedy, 1)).Opened[0]
	_, err := r.Calling(t.Context(), id, drift.Attempt{}, nil)
	r.must(err)
	_, err = r.Called(t.Context(), id, drift.Call{Result: drift.CallThrottled, RetryAfter: time.Minute})
	r.must(err)
	if _, err := r.Calling(t.Context(), id, drift.Attempt{}, nil); !errors.Is(err, store.ErrMovedOn) {
		t.Errorf("called again at once: %v", err)
	}
}

// Attempts in vain count while the inputs are the same, until one has cured or a
// person has spoken.
func TestAttemptsAreCounted(t *testing.T) {
	r, l := one(t)
	r.drifting(l)
	twice := remedy
	twice.Attempts, twice.Backoff = 2, 0
	plan := func(of drift.Remedy, inputs string) store.Planned {
		t.Helper()
		c := candidates(of, 1)
		c[0].Inputs = inputs
		return r.plan(l, c)
	}
	for i, step := range []struct {
		inputs  string
		outcome drift.Outcome // "": attempts are spent
		before  func()
	}{
		{"i1", drift.NotApplied, nil}, {"i1", drift.Refused, nil}, {"i1", "", nil},
		{"i2", drift.NotApplied, nil}, {"i2", drift.Cured, nil}, {"i2", drift.Noop, nil}, {"i2", drift.NotApplied, nil}, {"i2", "", nil},
		{"i2", drift.NotApplied, func() { r.approve(1) }},
	} {
		if step.before != nil {
			step.before()
		}
		p := plan(twice, step.inputs)
		switch {
		case step.outcome != "" && len(p.Opened) == 1:
			r.through(p.Opened[0], step.outcome)
		case step.outcome != "" || p.Judgements[0].Rule != drift.RuleAttemptsSpent:
			t.Fatalf("step %d: %v", i, rulesOf(p))
		}
	}
	if p := plan(remedy, "i2"); p.Judgements[0].Rule != drift.RuleCoolingDown {
		t.Errorf("right after an attempt in vain: %v", rulesOf(p))
	}
}

// What a plan itself opens counts at once.
func TestOnePlanSpendsNoMoreThanAnHourHas(t *testing.T) {
	r, l := one(t)
	r.strings("INSERT INTO ramps VALUES ('model_empty', 10, 10, 0, 0, '', NULL, '', '', '', NULL, now()) RETURNING cause") // it has proven itself
	tight := remedy
	tight.InFlight, tight.PerHour = 10, 2
	if p := r.plan(l, candidates(tight, 1, 2, 3, 4)); len(p.Opened) != 2 || p.Judgements[2].Rule != drift.RuleOverBudget {
		t.Errorf("%d were opened, want 2: %v", len(p.Opened), rulesOf(p))
	}
}
