package ssm_test

import (
	"context"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim/ssmsim"
	"github.com/molecule-ai/billing-reconciler/observe/ssm"
)

func TestTheTimeLimitEndsTheCommand(t *testing.T) {
	r := connect(t, ssmsim.Options{}, ssm.Options{Timeout: 100 * time.Millisecond})
	ids := r.fleet(3)
	r.sim.Set(ssmsim.Instance{ID: ids[0], Never: true})
	if n := count(r.observe(t.Context(), t, ids), drift.Observed); n != 2 {
		t.Errorf("%d observed, want the 2 that answered", n)
	}
	if n := r.sim.Cancelled(); n != 1 {
		t.Errorf("%d commands cancelled, want 1", n)
	}
}

func TestCancelAnswersAllAndStopsCommands(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := connect(t, ssmsim.Options{Fail: func(operation string, n int) *ssmsim.Failure {
		if operation == "ListCommands" && n == 2 {
			cancel()
		}
		return nil
	}}, ssm.Options{})
	ids := r.fleet(70)
	for _, i := range ids {
		r.sim.Set(ssmsim.Instance{ID: i, Never: true})
	}
	if n := count(r.observe(ctx, t, ids), drift.Unreachable); n != 70 {
		t.Errorf("%d unreachable, want 70", n)
	}
	if n := r.sim.Cancelled(); n != 2 {
		t.Errorf("%d commands cancelled, want 2", n)
	}
}

// The answer of a SendCommand that is under way is waited for: only it has the
// id by which the command can be cancelled.
func TestCancelWhileSending(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := connect(t, ssmsim.Options{Fail: func(operation string, _ int) *ssmsim.Failure {
		if operation == "SendCommand" {
			cancel()
		}
		return nil
	}}, ssm.Options{})
	ids := r.fleet(3)
	for _, i := range ids {
		r.sim.Set(ssmsim.Instance{ID: i, Never: true})
	}
	for _, o := range r.observe(ctx, t, ids) {
		if o.Reason != "interrupted before an answer came" {
			t.Errorf("%q", o.Reason)
		}
	}
	if n := r.sim.Cancelled(); n != 1 {
		t.Errorf("%d commands cancelled, want 1", n)
	}
}

// An ended look says nothing of instances that it did not ask about.
func TestCancelDuringInventory(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := connect(t, ssmsim.Options{Fail: func(string, int) *ssmsim.Failure {
		cancel()
		return nil
	}}, ssm.Options{})
	for _, o := range r.observe(ctx, t, r.fleet(500)) {
		if o.State != drift.Unreachable || o.Reason != "interrupted before an answer came" {
			t.Errorf("%s %q", o.State, o.Reason)
		}
	}
}

func TestAlreadyCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := connect(t, ssmsim.Options{}, ssm.Options{})
	if n := count(r.observe(ctx, t, r.fleet(120)), drift.Unreachable); n != 120 {
		t.Errorf("%d unreachable, want 120", n)
	}
	if calls := r.sim.Calls(); len(calls) != 0 {
		t.Errorf("called %v", calls)
	}
}
