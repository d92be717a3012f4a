package reconcile_test

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// An action whose tenant cannot be asked any more is not waited for, for ever;
// and it still is an attempt, since the platform has taken the call.
func TestATenantThatIsAwayHoldsNoBudget(t *testing.T) {
	few(t, "rapid.checks", "100", "2")
	p := newParts(t)
	rapid.Check(t, func(rt *rapid.T) {
		m := p.machine(rt)
		defer func() {
			for _, d := range m.replicas {
				d.Die()
			}
		}()
		d, a := m.replicas[0], m.queued()[0]
		act := func() *store.Action {
			if _, err := d.Act(m.ctx, a.ID); err != nil {
				rt.Fatal(err)
			}
			after, err := p.side.Action(m.ctx, a.ID)
			m.must(err)
			return after
		}
		if got := act(); got.State != store.ActionProving {
			rt.Fatalf("not called: %+v", got)
		}
		m.world.away = errors.New("connection refused")
		if got := act(); got.State != store.ActionProving || !strings.Contains(got.Words, "connection refused") {
			rt.Errorf("not waited for: %s %s %q", got.State, got.Outcome, got.Words)
		}
		m.exec("UPDATE actions SET called_at = called_at - interval '3 hours'")
		if got := act(); got.Outcome != drift.Superseded || !strings.Contains(got.Words, "connection refused") {
			rt.Errorf("waited for still: %s %s %q", got.State, got.Outcome, got.Words)
		}
		st, err := p.side.Recall(m.ctx, &a)
		m.must(err)
		if st.Attempts != 1 || st.InFlight != 0 {
			rt.Errorf("%d attempts, %d under way", st.Attempts, st.InFlight)
		}
	})
}
