package ssm_test

import (
	"strings"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim/ssmsim"
	"github.com/molecule-ai/billing-reconciler/observe/ssm"
)

func TestTagTargets(t *testing.T) {
	r := connect(t, ssmsim.Options{}, ssm.Options{Tag: "Role=workspace"})
	ids := r.fleet(120)
	r.sim.Set(ssmsim.Instance{ID: ids[5]}) // without the tag
	seen := r.observe(t.Context(), t, ids)
	if n := count(seen, drift.Observed); n != 119 {
		t.Errorf("%d observed, want 119", n)
	}
	if !strings.Contains(seen[ids[5]].Reason, "does not carry the tag") {
		t.Errorf("%q", seen[ids[5]].Reason)
	}
	if sends := r.sim.Calls()["SendCommand"]; sends != 1 {
		t.Errorf("%d commands sent, want 1", sends)
	}
}

// A command by tag runs on everything that carries it; for a few instances
// that is not worth it.
func TestAFewAreAskedByIDThoughATagIsGiven(t *testing.T) {
	r := connect(t, ssmsim.Options{}, ssm.Options{Tag: "Role=workspace"})
	ids := r.fleet(300)[:50]
	if n := count(r.observe(t.Context(), t, ids), drift.Observed); n != 50 {
		t.Errorf("%d observed, want 50", n)
	}
	if n := r.sim.Calls()["ListCommandInvocations"]; n != 1 {
		t.Errorf("%d pages of answers, want 1", n)
	}
}

func TestNobodyCarriesTheTag(t *testing.T) {
	r := connect(t, ssmsim.Options{}, ssm.Options{Tag: "Role=agent"})
	for _, o := range r.observe(t.Context(), t, r.fleet(60)) {
		if o.State != drift.Unreachable || !strings.Contains(o.Reason, "does not carry the tag Role=agent") {
			t.Errorf("%s %q", o.State, o.Reason)
		}
	}
}

// 2,000 instances of every kind, late and in short pages, by ids and by tag.
func TestAMixedFleet(t *testing.T) {
	for _, tag := range []string{"", "Role=workspace"} {
		t.Run("tag "+tag, func(t *testing.T) {
			t.Parallel()
			r := connect(t, ssmsim.Options{Parallel: 50, Hide: 100 * time.Millisecond, Short: true}, ssm.Options{Tag: tag, Timeout: 5 * time.Second})
			ids := r.fleet(2000)
			want := map[string]drift.State{}
			for n, i := range ids {
				want[i] = r.afflict(n, i)
			}
			seen := r.observe(t.Context(), t, ids)
			for _, i := range ids {
				if seen[i].State != want[i] {
					t.Errorf("%s: %s (%s), want %s", i, seen[i].State, seen[i].Reason, want[i])
				}
			}
		})
	}
}

// afflict gives every other instance a fault, by its number.
func (r *rig) afflict(n int, id string) drift.State {
	i := ssmsim.Instance{ID: id, Tags: map[string]string{"Role": "workspace"}}
	state := drift.Unreachable
	switch n % 14 {
	case 1:
		r.sim.Remove(id)
		return state
	case 3:
		i.Ping = "ConnectionLost"
	case 5:
		i.Platform, state = "Windows", drift.Unsupported
	case 7:
		i.Status, i.Details = "TimedOut", "DeliveryTimedOut"
	case 9:
		i.Status, i.Details = "Failed", "Undeliverable"
	case 11:
		i.Status, i.Details, state = "Failed", "InvalidPlatform", drift.Unsupported
	default:
		state = drift.Observed
	}
	r.sim.Set(i)
	return state
}
