package reconcile_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// What was decided before the inputs became suspect is not done once they are:
// of the source itself, or of the whole fleet.
func TestASurgeHoldsWhatIsQueued(t *testing.T) {
	few(t, "rapid.checks", "100", "4")
	p := newParts(t)
	rapid.Check(t, func(rt *rapid.T) {
		m := p.machine(rt)
		for _, b := range m.world.boxes {
			b.env = envManaged
		}
		if m.world.remedy.Approval {
			rt.Skip("nothing is queued without a person")
		}
		suspect := oneOf(rt, "suspect", []string{"t00", store.Fleet})
		m.replicas[0].Keep(m.ctx)
		for range 4 {
			m.replicas[0].WalkNow(m.ctx, "t00")
		}
		list, _, err := p.side.Actions(m.ctx, store.ActionFilter{State: store.ActionQueued})
		if err != nil || len(list) == 0 {
			rt.Fatalf("nothing is queued: %v", err)
		}
		m.exec(fmt.Sprintf("INSERT INTO sources (name, surge, surge_since) VALUES ('%s', 'half of it flipped', now()) ON CONFLICT (name) DO UPDATE SET surge = excluded.surge, surge_since = excluded.surge_since", suspect))
		for _, a := range list {
			if _, err := m.replicas[0].Act(m.ctx, a.ID); err != nil {
				rt.Fatal(err)
			}
			after, err := p.side.Action(m.ctx, a.ID)
			if err != nil || after.Outcome != drift.Superseded || !strings.HasPrefix(after.Words, string(drift.RuleSurge)) || !after.CalledAt.IsZero() {
				rt.Errorf("%s is suspect, and action %d: %s %s %q, called at %s (%v)", suspect, a.ID, after.State, after.Outcome, after.Words, after.CalledAt, err)
			}
		}
		for _, d := range m.replicas {
			d.Die()
		}
	})
}
