package main

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
)

// One fault a workspace: each is found, each for what it is, and nobody else is
// accused.
func TestEveryFaultIsFoundAndNobodyElse(t *testing.T) {
	for _, globals := range []drift.Owner{drift.OwnerCustomer, drift.OwnerPlatform} {
		t.Run(string(globals), func(t *testing.T) {
			sim := fleet(t, fleetsim.Options{Workspaces: 90, Tenants: 3, Registry: realRegistry(), Each: true, Globals: globals})
			code, doc := check(t, sim)
			if code != exitDrift {
				t.Errorf("exit %d, want %d", code, exitDrift)
			}
			seen := map[fleetsim.Fault]bool{}
			for i := range doc.Workspaces {
				w := &doc.Workspaces[i]
				m := sim.Member(w.ID)
				sample, broken := fleetsim.SampleOf(m.Fault)
				seen[m.Fault] = true
				want := fleetsim.Sample{Verdict: drift.InSync, State: drift.Observed}
				if broken {
					want = sample
				}
				if diff := cmp.Diff(want.Want, doc.kinds(w.ID), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%q on %s %s: findings (-want +got):\n%s", m.Fault, *m.Row.Runtime, m.Desired.Model, diff)
				}
				if got := w.Observed.State; got != want.ExpectedState().String() {
					t.Errorf("%q: state %s (%s), want %s", m.Fault, got, w.Observed.Reason, want.ExpectedState())
				}
				if w.Verdict != want.ExpectedVerdict() {
					t.Errorf("%q on %s %s: verdict %s, want %s", m.Fault, *m.Row.Runtime, m.Desired.Model, w.Verdict, want.ExpectedVerdict())
				}
				if want.Cause != "" && (w.Cause == nil || w.Cause.Code != want.Cause) {
					t.Errorf("%q: cause %+v, want %s", m.Fault, w.Cause, want.Cause)
				}
			}
			for _, s := range fleetsim.Samples {
				if !seen[s.Fault] {
					t.Errorf("fault %q found no workspace to be on", s.Fault)
				}
			}
		})
	}
}

// What the platform's own server emits when it does everything right is never
// accused: every runtime and provider of the registry, both policies.
func TestGoodEnvironmentsAreNeverAccused(t *testing.T) {
	for _, globals := range []drift.Owner{drift.OwnerCustomer, drift.OwnerPlatform} {
		t.Run(string(globals), func(t *testing.T) {
			sim := fleet(t, fleetsim.Options{Workspaces: 150, Tenants: 3, Registry: realRegistry(), EveryOffer: true, Globals: globals})
			code, doc := check(t, sim)
			if code != exitOK {
				t.Errorf("exit %d", code)
			}
			for i := range doc.Workspaces {
				w := &doc.Workspaces[i]
				m := sim.Member(w.ID)
				if len(w.Findings) > 0 || w.Verdict != drift.InSync {
					t.Errorf("%s %s (%s): %s %v %s", *m.Row.Runtime, m.Desired.Model, m.Desired.Provider, w.Verdict, w.Findings, w.Observed.Reason)
				}
			}
			if !slices.ContainsFunc(sim.Members, func(m *fleetsim.Member) bool { return m.Desired.Mode == drift.ModeDisabled }) {
				t.Error("no disabled workspace among them")
			}
		})
	}
}
