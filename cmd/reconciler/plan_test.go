package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
)

func TestDesiredPlanAndDoctor(t *testing.T) {
	sim := fleet(t, fleetsim.Options{Workspaces: 6, Tenants: 2})
	code, out, talk := reconciler(t, sim, "desired", "-o", "json")
	var doc struct {
		Workspaces []struct {
			Verdict, Observed any
			Desired           struct{ Mode string }
		}
	}
	if err := json.Unmarshal([]byte(out), &doc); code != exitOK || err != nil || len(doc.Workspaces) != 6 || doc.Workspaces[0].Verdict != nil {
		t.Errorf("desired: exit %d, %v, %d workspaces: %s", code, err, len(doc.Workspaces), talk)
	}

	registry, err := os.ReadFile(filepath.Join(sim.Dir, "providers.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if code, out, _ := reconciler(t, sim, "plan", "--registry", filepath.Join(sim.Dir, "providers.yaml")); code != exitOK {
		t.Errorf("plan with the same registry: exit %d: %s", code, out)
	}
	without := filepath.Join(sim.Dir, "without.yaml")
	if err := os.WriteFile(without, []byte(strings.ReplaceAll(string(registry), "[sonnet, opus, haiku]", "[sonnet]")), 0o600); err != nil {
		t.Fatal(err)
	}
	// The prefix still matches opus: nobody flips.
	if code, out, _ := reconciler(t, sim, "plan", "--registry", without); code != exitOK {
		t.Errorf("plan where the prefix still matches: exit %d: %s", code, out)
	}
	gone := strings.ReplaceAll(strings.ReplaceAll(string(registry), "[sonnet, opus, haiku]", "[sonnet]"), "^(sonnet|opus|haiku)$", "^sonnet$")
	if err := os.WriteFile(without, []byte(gone), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, _ = reconciler(t, sim, "plan", "--registry", without)
	if code != exitDrift || !strings.Contains(out, "Marketing Agent") {
		t.Errorf("plan without opus: exit %d: %s", code, out)
	}
	if code, _, talk := reconciler(t, sim, "plan"); code != exitFailed || !strings.Contains(talk, "--registry") {
		t.Errorf("plan of nothing: exit %d: %s", code, talk)
	}

	code, out, talk = reconciler(t, sim, "doctor")
	if code != exitOK || strings.Contains(out, "failed") || !strings.Contains(out, "the read endpoint answers") {
		t.Errorf("doctor: exit %d: %s%s", code, out, talk)
	}
	noSecret(t, sim, "doctor", out+talk)
	sim.SSM.Close()
	if err := os.Remove(sim.LogPath); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := reconciler(t, sim, "doctor"); code != exitFailed || !strings.Contains(out, "no such file") {
		t.Errorf("doctor without a log: exit %d: %s", code, out)
	}
}
