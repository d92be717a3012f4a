package ssm_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim/ssmsim"
	"github.com/molecule-ai/billing-reconciler/observe/ssm"
)

func TestEveryStatus(t *testing.T) {
	for _, row := range []struct {
		name     string
		instance ssmsim.Instance
		state    drift.State
		says     string
	}{
		{"success", ssmsim.Instance{}, drift.Observed, ""},
		{"connection lost", ssmsim.Instance{Ping: "ConnectionLost", LastPing: time.Now().Add(-time.Hour)}, drift.Unreachable, "ConnectionLost"},
		{"inactive", ssmsim.Instance{Ping: "Inactive"}, drift.Unreachable, "Inactive"},
		{"windows", ssmsim.Instance{Platform: "Windows"}, drift.Unsupported, "Windows"},
		{"cancelled", ssmsim.Instance{Status: "Cancelled", Details: "Cancelled"}, drift.Unreachable, "Cancelled"},
		{"timed out", ssmsim.Instance{Status: "TimedOut", Details: "TimedOut"}, drift.Unreachable, "TimedOut"},
		{"delivery timed out", ssmsim.Instance{Status: "TimedOut", Details: "DeliveryTimedOut"}, drift.Unreachable, "DeliveryTimedOut"},
		{"execution timed out", ssmsim.Instance{Status: "TimedOut", Details: "ExecutionTimedOut"}, drift.Unreachable, "ran too long"},
		{"failed", ssmsim.Instance{Status: "Failed", Details: "Failed"}, drift.Unreachable, "exit code"},
		{"undeliverable", ssmsim.Instance{Status: "Failed", Details: "Undeliverable"}, drift.Unreachable, "Undeliverable"},
		{"terminated", ssmsim.Instance{Status: "Failed", Details: "Terminated"}, drift.Unreachable, "Terminated"},
		{"access denied", ssmsim.Instance{Status: "Failed", Details: "AccessDenied"}, drift.Unreachable, "AccessDenied"},
		{"invalid platform", ssmsim.Instance{Status: "Failed", Details: "InvalidPlatform"}, drift.Unsupported, "InvalidPlatform"},
		{"never ends", ssmsim.Instance{Never: true}, drift.Unreachable, "did not end in time"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := connect(t, ssmsim.Options{}, ssm.Options{Timeout: 300 * time.Millisecond})
			row.instance.ID = id(1)
			r.sim.Set(row.instance)
			o := r.observe(t.Context(), t, []string{id(1)})[id(1)]
			if o.State != row.state || !strings.Contains(o.Reason, row.says) {
				t.Errorf("%s (%s), want %s with %q", o.State, o.Reason, row.state, row.says)
			}
			if o.LastPing.IsZero() {
				t.Error("the agent's last sign of life is missing")
			}
		})
	}
}

func TestMissingAndMalformed(t *testing.T) {
	r := connect(t, ssmsim.Options{}, ssm.Options{})
	ids := append(r.fleet(3), id(99), "not-an-id", "i-XYZ", "")
	seen := r.observe(t.Context(), t, append(ids, ids...))
	if n := count(seen, drift.Observed); n != 3 {
		t.Errorf("%d observed, want 3", n)
	}
	if o := seen[id(99)]; o.State != drift.Unreachable || !strings.Contains(o.Reason, "not in the SSM inventory") {
		t.Errorf("missing: %+v", o)
	}
	if o := seen[id(1)]; len(o.Addresses) != 1 || o.Addresses[0] != netip.MustParseAddr("10.0.0.1") {
		t.Errorf("addresses: %v", o.Addresses)
	}
}

func TestCutOutputIsNoAnswer(t *testing.T) {
	r := connect(t, ssmsim.Options{Runner: canned(strings.Repeat("good", 1000))}, ssm.Options{})
	if o := r.observe(t.Context(), t, r.fleet(1))[id(0)]; o.State != drift.Unreachable || o.Reason != "cut" {
		t.Errorf("%+v", o)
	}
}

func TestWhatAFailedScriptPrintedIsNobodysToRead(t *testing.T) {
	r := connect(t, ssmsim.Options{Runner: refused{}}, ssm.Options{})
	if o := r.observe(t.Context(), t, r.fleet(1))[id(0)]; !strings.Contains(o.Reason, "exit code 7") || strings.Contains(o.Reason, "planted") {
		t.Errorf("%q", o.Reason)
	}
}
