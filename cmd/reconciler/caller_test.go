package main

import (
	"io"
	"os"
	"strings"
	"testing"

	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
	"github.com/molecule-ai/billing-reconciler/metrics"
)

// There is somebody who can call a platform only where that is enforced, and in
// the daemon: no command, no dry run and no other mode has one at all.
func TestThereIsACallerOnlyWhereActingIsEnforced(t *testing.T) {
	t.Parallel()
	sim := fleet(t, fleetsim.Options{Workspaces: 4, Tenants: 2, Recorded: true})
	plain, err := os.ReadFile(sim.ConfigPath)
	if err != nil {
		t.Fatal(err)
	}
	first := sim.Tenants[0].Name
	for _, row := range []struct {
		name, mode, own string // own: of the first tenant
		need            need
		first, second   bool
	}{
		{"nothing said", "", "", forDaemon, false, false},
		{"off", "off", "", forDaemon, false, false},
		{"a dry run", "dry_run", "", forDaemon, false, false},
		{"enforced", "enforce", "", forDaemon, true, true},
		{"enforced, and one tenant is off", "enforce", "off", forDaemon, false, true},
		{"enforced, and one tenant is a dry run", "enforce", "dry_run", forDaemon, false, true},
		{"off, and one tenant is enforced", "off", "enforce", forDaemon, true, false},
		{"a command", "enforce", "enforce", forCheck, false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			text := string(plain)
			if row.mode != "" {
				text += "remediate: {mode: " + row.mode + "}\n"
			}
			if row.own != "" {
				text = strings.Replace(text, "  - name: "+first+"\n", "  - name: "+first+"\n    remediate: {mode: "+row.own+"}\n", 1)
			}
			file := sim.ConfigPath + "." + strings.ReplaceAll(row.name, " ", "_")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			a := &app{env: simulated(file), stdout: io.Discard, stderr: io.Discard}
			if err := a.setUp(); err != nil {
				t.Fatal(err)
			}
			cfg, err := a.load()
			if err != nil {
				t.Fatal(err)
			}
			w, err := a.openConfig(t.Context(), cfg, opening{row.need, metrics.New("test")})
			if err != nil {
				t.Fatal(err)
			}
			defer w.close()
			for _, s := range w.sources {
				want := row.second
				if s.Name == first {
					want = row.first
				}
				if s.Platform == nil || (s.Actor != nil) != want {
					t.Errorf("%s: a caller is there: %v, want %v", s.Name, s.Actor != nil, want)
				}
			}
		})
	}
}
