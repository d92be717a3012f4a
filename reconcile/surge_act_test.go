package reconcile_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// queued breaks all workspaces, and has it decided what to do about those of the
// first source.
func (m *machine) queued() []store.Action {
	if m.world.remedy.Approval {
		m.Skip("nothing is queued without a person")
	}
	m.breakAll()
	m.replicas[0].Keep(m.ctx)
	for range 4 {
		m.replicas[0].WalkNow(m.ctx, "t00")
	}
	list, _, err := m.side.Actions(m.ctx, store.ActionFilter{State: store.ActionQueued})
	if err != nil || len(list) == 0 {
		m.Fatalf("nothing is queued: %v", err)
	}
	return list
}

// What was decided before the inputs became suspect is not done once they are:
// of the source itself, or of the whole fleet.
func TestASurgeHoldsWhatIsQueued(t *testing.T) {
	few(t, "rapid.checks", "100", "4")
	p := newParts(t)
	rapid.Check(t, func(rt *rapid.T) {
		m := p.machine(rt)
		suspect := oneOf(rt, "suspect", []string{"t00", store.Fleet})
		list := m.queued()
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
