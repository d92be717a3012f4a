package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
	"github.com/molecule-ai/billing-reconciler/internal/localpg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

var incidentKinds = []drift.Kind{drift.ModeMismatch, drift.RoutedToProxy, drift.CredentialNotDelivered,
	drift.PlatformCredentialExposed, drift.ProxyTraffic}

// The incident of 2026-05-28 from end to end: PostgreSQL, the SSM protocol, the
// probe in a real shell, a log file. It is found, named, gone once mended, and
// back once the container is what it was.
func TestIncident(t *testing.T) {
	sim := fleet(t, fleetsim.Options{Workspaces: 8, Tenants: 2})
	incident := sim.Members[0]

	code, doc := check(t, sim)
	if code != exitOK || doc.Summary.InSync != 8 {
		t.Fatalf("before: exit %d, %+v", code, doc.Summary)
	}
	for round := range 2 {
		if err := sim.BreakAgo(incident, fleetsim.ReprovisionedEmpty); err != nil {
			t.Fatal(err)
		}
		code, doc = check(t, sim)
		if code != exitDrift || doc.Summary.Drifted != 1 || doc.Summary.InSync != 7 {
			t.Fatalf("broken, round %d: exit %d, %+v", round, code, doc.Summary)
		}
		if diff := cmp.Diff(incidentKinds, doc.kinds(fleetsim.IncidentID)); diff != "" {
			t.Errorf("findings (-want +got):\n%s", diff)
		}
		for i := range doc.Workspaces {
			w := &doc.Workspaces[i]
			if w.ID == fleetsim.IncidentID && (w.Cause == nil || w.Cause.Code != drift.ModelEmpty) {
				t.Errorf("cause: %+v, want model_empty", w.Cause)
			}
		}
		if err := sim.Mend(incident); err != nil {
			t.Fatal(err)
		}
		if code, doc = check(t, sim); code != exitOK || doc.Summary.InSync != 8 {
			t.Fatalf("mended, round %d: exit %d, %+v: %v", round, code, doc.Summary, doc.kinds(fleetsim.IncidentID))
		}
	}
}

func TestExplainIncident(t *testing.T) {
	sim := fleet(t, fleetsim.Options{Workspaces: 4, Tenants: 1})
	if err := sim.BreakAgo(sim.Members[0], fleetsim.ReprovisionedEmpty); err != nil {
		t.Fatal(err)
	}
	for _, term := range []string{fleetsim.IncidentID, "6b66de8d", "Marketing Agent"} {
		code, out, talk := reconciler(t, sim, "explain", term)
		if code != exitOK {
			t.Fatalf("explain %s: exit %d: %s", term, code, talk)
		}
		for _, want := range []string{"byok (anthropic-oauth)", "workspace_secrets.MODEL", "MOLECULE_LLM_BILLING_MODE_RESOLVED=platform_managed",
			"mode_mismatch", "proxy_traffic", "model_empty", "the platform's proxy", "remediation is off"} {
			if !strings.Contains(out, want) {
				t.Errorf("explain %s does not say %q:\n%s", term, want, out)
			}
		}
		noSecret(t, sim, "explain", out+talk)
	}
	if code, _, talk := reconciler(t, sim, "explain", "nobody"); code != exitFailed || !strings.Contains(talk, "no workspace") {
		t.Errorf("unknown workspace: exit %d, %s", code, talk)
	}
}
