package main

import (
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
	"github.com/molecule-ai/billing-reconciler/reconcile"
)

// Sources that are walked side by side, under one key, share commands; an
// urgent look shares none and waits for nobody.
func TestSourcesOfARoundShareCommands(t *testing.T) {
	sim := fleet(t, fleetsim.Options{Workspaces: 12, Tenants: 4, Recorded: true})
	a := &app{env: simulated(sim.ConfigPath), stdout: io.Discard, stderr: io.Discard}
	if err := a.setUp(); err != nil {
		t.Fatal(err)
	}
	w, err := a.open(t.Context(), forDesired)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	if err := w.openGathering(t.Context(), 500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	targets := map[string][]reconcile.Target{}
	for _, m := range sim.Members {
		targets[m.Tenant.Name] = append(targets[m.Tenant.Name], reconcile.Target{Source: m.Tenant.Name, InstanceID: m.Row.InstanceID})
	}
	o := w.observer.(*observer)
	key := drift.Key(strings.Repeat("0a", 16))
	look := func(o reconcile.Observer, targets []reconcile.Target) {
		for i, seen := range o.Observe(t.Context(), key, targets) {
			if seen.State != drift.Observed {
				t.Errorf("%s: %s (%s)", targets[i].InstanceID, seen.State, seen.Reason)
			}
		}
	}
	var sources sync.WaitGroup
	for _, of := range targets {
		sources.Go(func() { look(o, of) })
	}
	sources.Wait()
	if calls := sim.SSM.Calls(); calls["SendCommand"] != 1 || calls["DescribeInstanceInformation"] != 1 {
		t.Errorf("four sources called %v, want one inventory and one command", calls)
	}
	first := sim.Members[0]
	one := []reconcile.Target{{Source: first.Tenant.Name, InstanceID: first.Row.InstanceID}}
	look(o.urgently(), one)
	if calls := sim.SSM.Calls(); calls["SendCommand"] != 2 {
		t.Errorf("called %v, want a command more", calls)
	}
	if seen := o.urgently().Neighbours(t.Context(), one); seen[0].State != drift.NotAsked || len(seen[0].Addresses) == 0 {
		t.Errorf("neighbour: %+v", seen[0])
	}
	if cmd, err := o.urgently().command(key); err != nil || !cmd.Urgent {
		t.Errorf("the urgent command is not: %v", err)
	}
	if cmd, err := o.command(drift.Key(strings.Repeat("0b", 16))); err != nil || !strings.Contains(cmd.Parameters["commands"][0], strings.Repeat("0b", 16)) {
		t.Errorf("another key's command has not that key: %v", err)
	}
}
