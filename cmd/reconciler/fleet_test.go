package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
	"github.com/molecule-ai/billing-reconciler/internal/localpg/pgtest"
)

// fleet starts a simulated fleet on the tests' PostgreSQL.
func fleet(t testing.TB, opts fleetsim.Options) *fleetsim.Sim {
	t.Helper()
	opts.Server = pgtest.Server(t)
	sim, err := fleetsim.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return sim
}

// realRegistry is the platform's own registry where there is one, else the
// project's example.
func realRegistry() string { return os.Getenv("REAL_REGISTRY") }

// reconciler runs the program as main does.
func reconciler(t *testing.T, sim *fleetsim.Sim, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, talk bytes.Buffer
	env := func(name string) (string, bool) {
		switch name {
		case "RECONCILER_CONFIG":
			return sim.ConfigPath, true
		case "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY":
			return "test", true
		}
		return os.LookupEnv(name)
	}
	code = run(context.WithoutCancel(t.Context()), args, env, &out, &talk)
	return code, out.String(), talk.String()
}

// document is as much of the JSON of check as tests look at.
type document struct {
	Workspaces []struct {
		ID       string
		Verdict  drift.Verdict
		Observed struct {
			State, Reason string
			Credentials   []struct{ Name, Where, Owner string }
		}
		Findings []struct {
			Kind     drift.Kind
			Severity drift.Severity
			Summary  string
		}
		Cause *struct {
			Code drift.CauseCode
		}
		Traffic struct{ Billed, Rejected, Ambiguous int }
		Desired struct {
			Mode, Source string
		}
	}
	Summary struct {
		Workspaces, Drifted, Unknown, Skipped int

		InSync int `json:"in_sync"`
	}
}

// check runs the command and reads its JSON.
func check(t *testing.T, sim *fleetsim.Sim, args ...string) (int, *document) {
	t.Helper()
	code, out, talk := reconciler(t, sim, append([]string{"check", "-o", "json"}, args...)...)
	noSecret(t, sim, "check", out+talk)
	var doc document
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatalf("check: exit %d, %v\nstdout: %.2000s\nstderr: %.2000s", code, err, out, talk)
	}
	if talk != "" {
		t.Logf("stderr: %.2000s", talk)
	}
	return code, &doc
}

func (d *document) kinds(id string) []drift.Kind {
	list := []drift.Kind{}
	for i := range d.Workspaces {
		if d.Workspaces[i].ID == id {
			for _, f := range d.Workspaces[i].Findings {
				list = append(list, f.Kind)
			}
		}
	}
	return list
}

// noSecret fails where any planted value stands in a text.
func noSecret(t *testing.T, sim *fleetsim.Sim, name, text string) {
	t.Helper()
	for _, secret := range sim.Planted() {
		if strings.Contains(text, secret) {
			t.Errorf("%s holds the secret %q", name, secret)
		}
	}
}
