package ssm_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/observe/ssm"
)

// The budget of calls and time at the pace of real life: 5 calls a second, and
// probes that run for seconds. BenchmarkCalls counts over HTTP.
func TestTheBudget(t *testing.T) {
	for _, row := range []struct {
		workspaces int
		running    time.Duration // of the probe
		within     time.Duration // for 10,000: 40 s that the limit dictates, and a quarter
	}{
		{50, 4 * time.Second, 10 * time.Second},
		{1000, 4 * time.Second, 20 * time.Second},
		{10_000, 4 * time.Second, 50 * time.Second},
		{10_000, 100 * time.Millisecond, 50 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			f, began := newFake(), time.Now()
			f.running = row.running
			if n := count(f.rig(ssm.Options{}).observe(t.Context(), t, ids(row.workspaces)), drift.Observed); n != row.workspaces {
				t.Errorf("%d observed of %d", n, row.workspaces)
			}
			took, calls := time.Since(began), 0
			for _, list := range f.calls {
				calls += len(list)
			}
			t.Logf("%d workspaces: %d calls, %.4f each, in %s", row.workspaces, calls, float64(calls)/float64(row.workspaces), took)
			if took > row.within {
				t.Errorf("took %s, want %s at most", took, row.within)
			}
			if polls := len(f.calls["ListCommands"]); polls > 20 {
				t.Errorf("%d polls, want one every few seconds", polls)
			}
			if row.workspaces >= 1000 && float64(calls) > 0.065*float64(row.workspaces) {
				t.Errorf("%d calls for %d workspaces", calls, row.workspaces)
			}
		})
	}
}
