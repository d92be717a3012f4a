package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
	"github.com/molecule-ai/billing-reconciler/store"
)

// hasty lets a simulated platform provision in no time, so to speak.
var hasty = fleetsim.PlatformOptions{Stop: 50 * time.Millisecond, Launch: 100 * time.Millisecond, Register: 50 * time.Millisecond}

// enforcing is a configuration that acts, and takes little for a proof.
func enforcing(budgets string) change {
	return func(text string) (string, error) {
		return text + "remediate:\n  mode: enforce\n  backoff: 1s\n  quiet: 0s\n  " + budgets +
			"\n  proof: {settle: 0s, unapplied: 5s, lost_after: 1m, silence_at_least: 1s, silence_at_most: 2s}\n", nil
	}
}

// actions gives all there are, the oldest first.
func (w *watched) actions() []store.Action {
	w.t.Helper()
	list, _, err := w.store.Actions(w.t.Context(), store.ActionFilter{Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	slices.Reverse(list)
	return list
}

// acted counts the restarts that the platform really did, by workspace.
func acted(calls []fleetsim.RestartCall) map[string]int {
	n := map[string]int{}
	for _, c := range calls {
		if c.Acted {
			n[c.ID]++
		}
	}
	return n
}

// The incident: the platform has the bug, so that a restart changes nothing. One
// canary finds that out, and nobody else is touched. The platform is mended, a
// person approves, and the fleet follows in waves.
func TestDaemonMendsTheIncident(t *testing.T) {
	t.Parallel()
	w := watch(t, fleetsim.Options{Workspaces: 40, Tenants: 2, Platform: hasty})
	w.alter(enforcing("max_in_flight: 16\n  max_per_hour: 1000\n  max_fleet_percent: 100"))
	broken := w.guarded(9)
	for _, m := range broken {
		if err := w.sim.Break(m, fleetsim.ReprovisionedEmpty); err != nil {
			t.Fatal(err)
		}
		if err := w.sim.Log.Call(time.Now(), m.Public, true, 200); err != nil {
			t.Fatal(err)
		}
	}
	w.start()
	w.opens(broken...)
	if !awaits(patience, func() bool {
		return len(w.strings("SELECT 1::text FROM events WHERE kind = 'reprovision_ineffective'")) == 1
	}) {
		t.Fatalf("no ineffective canary: %+v", w.actions())
	}
	w.passes(4)
	if calls := w.sim.RestartCalls(); len(calls) != 1 {
		t.Fatalf("%d calls, want the canary's alone: %+v", len(calls), calls)
	}
	canary := w.actions()[0]
	if canary.Outcome != drift.Ineffective || canary.Cause != "model_empty" || canary.Attempt.Call.Result != drift.CallAccepted {
		t.Errorf("the canary: %+v", canary)
	}
	if told := w.strings("SELECT severity || ' ' || summary FROM events WHERE kind = 'reprovision_ineffective'")[0]; !strings.HasPrefix(told, "critical ") || !strings.Contains(told, "model_empty") {
		t.Errorf("told: %s", told)
	}
	if rules := w.strings("SELECT DISTINCT rule FROM judgements"); !slices.Equal(rules, []string{string(drift.RuleIneffective)}) {
		t.Errorf("the others are judged %v", rules)
	}

	w.sim.FixPlatform()
	if _, err := w.store.Approve(t.Context(), store.Approval{Source: broken[0].Tenant.Name, Workspace: broken[0].Row.ID, Reason: "the platform is fixed", By: "ops", ExpiresAt: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if !awaits(2*patience, func() bool { return len(w.open()) == 0 }) {
		t.Errorf("still drifted: %v; actions %+v", w.open(), w.actions())
	}
	w.rest()
	w.waves(1, 2, 4)
	for id, n := range acted(w.sim.RestartCalls()) {
		want := 1
		if id == canary.Workspace {
			want = 2
		}
		if n != want {
			t.Errorf("%s was restarted %d times, want %d", id, n, want)
		}
	}
	w.holds()
}

// rest waits until no action is under way.
func (w *watched) rest() {
	w.t.Helper()
	if !awaits(patience, func() bool { n, err := w.store.InFlight(w.t.Context()); return err == nil && n == 0 }) {
		w.t.Errorf("actions are under way still: %+v", w.actions())
	}
}

// waves checks that no action after the first was begun before the wave before
// it had been cured whole, by the times that the database wrote.
func (w *watched) waves(sizes ...int) {
	w.t.Helper()
	list := slices.DeleteFunc(w.actions(), func(a store.Action) bool { return a.Outcome == drift.Ineffective || a.CalledAt.IsZero() })
	for _, a := range list {
		if a.Outcome != drift.Cured {
			w.t.Errorf("action %d: %s: %s", a.ID, a.Outcome, a.Words)
		}
	}
	for _, size := range sizes {
		if len(list) <= size {
			return
		}
		wave, rest := list[:size], list[size:]
		var proven time.Time
		for _, a := range wave {
			if a.EndedAt.After(proven) {
				proven = a.EndedAt
			}
		}
		for _, a := range rest {
			if a.OpenedAt.Before(proven) {
				w.t.Errorf("action %d was opened at %s, before the wave of %d was proven at %s", a.ID, a.OpenedAt, size, proven)
			}
		}
		list = rest
	}
}
