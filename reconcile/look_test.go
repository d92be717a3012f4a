package reconcile_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
)

// Who has nothing to be looked at is not asked, and has a reason; the answers
// for the others are each their own.
func TestWhoIsLookedAt(t *testing.T) {
	p := pass(t, source("reno", "removed", "a", "asleep", "platform", "external"), source("acme", "elsewhere", "b", "aws"))
	reno, acme := rows(p.Sources[0]).workspaces, rows(p.Sources[1]).workspaces
	reno[0].Status = "removed"
	reno[2].InstanceID = ""
	reno[3].Kind = "platform"
	reno[4].Runtime = ptr("external")
	acme[0].ComputeProvider = "hetzner"
	acme[2].ComputeProvider = "aws"
	look := &observer{answers: map[string]drift.Observation{
		"i-a": {State: drift.NotRunning, Reason: "the container is stopped", At: now}, "i-b": drained(),
	}}
	p.Observer = look
	result := run(t, p)

	targets := []reconcile.Target{{Source: "reno", InstanceID: "i-a"}, {Source: "acme", InstanceID: "i-b"}, {Source: "acme", InstanceID: "i-aws"}}
	if diff := cmp.Diff(targets, look.targets); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	if look.key != key {
		t.Errorf("key %q, want the pass's", look.key)
	}
	type seen struct {
		State   drift.State
		Reason  string
		Looked  bool
		Verdict drift.Verdict
	}
	want := map[string]seen{
		"removed":   {drift.NotAsked, "removed", false, drift.Skipped},
		"platform":  {drift.NotAsked, "platform workspace", false, drift.Skipped},
		"external":  {drift.NotAsked, "runtime without a container of ours", false, drift.Skipped},
		"asleep":    {drift.NotRunning, "no instance", true, drift.Unknown},
		"elsewhere": {drift.Unsupported, "compute provider hetzner", true, drift.Unknown},
		"a":         {drift.NotRunning, "the container is stopped", true, drift.Unknown},
		"b":         {drift.Observed, "", true, drift.Drifted},
		"aws":       {drift.Observed, "", true, drift.InSync},
	}
	got := map[string]seen{}
	for i := range result.Workspaces {
		j := &result.Workspaces[i]
		got[j.Workspace.ID] = seen{j.Observation.State, j.Observation.Reason, !j.Observation.At.IsZero(), j.Verdict}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("observations (-want +got):\n%s", diff)
	}
}

// Law 1: an answer that did not come is not the neighbour's, and not in sync.
func TestObserverThatDropsAnswers(t *testing.T) {
	p := pass(t, source("reno", "a", "b"))
	p.Observer = &observer{drop: 1}
	result := run(t, p)
	if j := judged(t, result, "a"); j.Verdict != drift.InSync {
		t.Errorf("a: %s", j.Verdict)
	}
	if j := judged(t, result, "b"); j.Verdict != drift.Unknown || j.Observation.Reason == "" || j.Reason != j.Observation.Reason {
		t.Errorf("b: %s (%s), %+v", j.Verdict, j.Reason, j.Observation)
	}
}

func TestNobodyToLookAt(t *testing.T) {
	p := pass(t, source("reno", "a"))
	rows(p.Sources[0]).workspaces[0].InstanceID = ""
	look := &observer{drop: -1} // would panic if it were asked
	p.Observer = look
	if j := judged(t, run(t, p), "a"); j.Verdict != drift.Unknown {
		t.Errorf("got %s", j.Verdict)
	}
}

// How long nothing was learned shows by the agent's last sign of life; by a
// container that was seen, or a clock that is ahead, it does not.
func TestUnobservedTooLong(t *testing.T) {
	lost := func(ping time.Time) drift.Observation {
		return drift.Observation{State: drift.Unreachable, Reason: "ConnectionLost", LastPing: ping}
	}
	recent := fine()
	recent.LastPing = now.Add(-time.Hour)
	for id, row := range map[string]struct {
		answer drift.Observation
		want   []drift.Kind
		unseen time.Duration
	}{
		"long":    {lost(now.Add(-time.Hour)), []drift.Kind{drift.UnobservedTooLong}, time.Hour},
		"briefly": {lost(now.Add(-time.Minute)), []drift.Kind{}, time.Minute},
		"ahead":   {lost(now.Add(time.Hour)), []drift.Kind{}, 0},
		"never":   {lost(time.Time{}), []drift.Kind{}, 0},
		"seen":    {recent, []drift.Kind{}, 0},
	} {
		p := pass(t, source("reno", id))
		p.Observer = &observer{answers: map[string]drift.Observation{"i-" + id: row.answer}}
		j := judged(t, run(t, p), id)
		if diff := cmp.Diff(row.want, kinds(j)); diff != "" || j.Unseen != row.unseen {
			t.Errorf("%s: unseen %s, findings (-want +got):\n%s", id, j.Unseen, diff)
		}
	}
}
