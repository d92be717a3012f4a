package ssm_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim/ssmsim"
	"github.com/molecule-ai/billing-reconciler/metrics"
	"github.com/molecule-ai/billing-reconciler/observe/ssm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// canned answers for every instance without running anything.
type canned string

func (c canned) Run(context.Context, string, string) (string, int) { return string(c), 0 }

// refused is an instance on which the script fails.
type refused struct{}

func (refused) Run(context.Context, string, string) (string, int) { return "planted-secret", 7 }

type rig struct {
	sim  *ssmsim.Sim
	pool *ssm.Pool
	m    *metrics.Metrics
}

// connect starts an endpoint and a pool that speaks to it by HTTP.
func connect(t testing.TB, sim ssmsim.Options, opts ssm.Options) *rig {
	t.Helper()
	if sim.Runner == nil {
		sim.Runner = canned("good")
	}
	r := &rig{sim: ssmsim.New(sim), m: metrics.New("test")}
	server := httptest.NewServer(r.sim)
	client, err := ssm.Connect(t.Context(), ssm.Account{Region: "us-east-1", Endpoint: server.URL}, r.m)
	if err != nil {
		t.Fatal(err)
	}
	if opts.Poll == 0 {
		opts.Poll = 20 * time.Millisecond
	}
	if opts.Rate == 0 {
		opts.Rate = 1000
	}
	r.pool = ssm.NewPool(client, opts, r.m)
	t.Cleanup(func() {
		server.Close()
		r.sim.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return r
}

func id(n int) string { return fmt.Sprintf("i-%017x", n) }

func (r *rig) fleet(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = id(i)
		r.sim.Set(ssmsim.Instance{ID: ids[i], IP: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), Tags: map[string]string{"Role": "workspace"}})
	}
	return ids
}

var command = ssm.Command{Document: ssmsim.RunShellScript, Parameters: map[string][]string{"commands": {"true"}},
	Decode: func(stdout string) drift.Observation {
		if stdout != "good" {
			return drift.Observation{State: drift.Unreachable, Reason: "cut"}
		}
		return drift.Observation{State: drift.Observed}
	}}

// observe holds what every test needs: everybody answered, nobody twice.
func (r *rig) observe(ctx context.Context, t testing.TB, ids []string) map[string]drift.Observation {
	t.Helper()
	seen := map[string]drift.Observation{}
	r.pool.Observe(ctx, command, ids, func(id string, o drift.Observation) {
		if _, twice := seen[id]; twice {
			t.Errorf("%s answered twice", id)
		}
		if o.State != drift.Observed && o.Reason == "" {
			t.Errorf("%s: %s without a reason", id, o.State)
		}
		if o.At.IsZero() {
			t.Errorf("%s: no time", id)
		}
		seen[id] = o
	})
	for _, id := range ids {
		if _, answered := seen[id]; !answered {
			t.Errorf("%s not answered", id)
		}
	}
	return seen
}

func count(seen map[string]drift.Observation, state drift.State) (n int) {
	for _, o := range seen {
		if o.State == state {
			n++
		}
	}
	return n
}

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

// One instance that went between inventory and command fails its whole batch;
// the others are answered all the same.
func TestABadIDCostsNobodyElseAnAnswer(t *testing.T) {
	var r *rig
	gone := []string{id(7), id(30)}
	r = connect(t, ssmsim.Options{Fail: func(operation string, n int) *ssmsim.Failure {
		if operation == "SendCommand" && n == 1 {
			for _, g := range gone {
				r.sim.Remove(g)
			}
		}
		return nil
	}}, ssm.Options{})
	seen := r.observe(t.Context(), t, r.fleet(50))
	if n := count(seen, drift.Observed); n != 48 {
		t.Errorf("%d observed, want 48", n)
	}
	for _, g := range gone {
		if !strings.Contains(seen[g].Reason, "InvalidInstanceId") {
			t.Errorf("%s: %q", g, seen[g].Reason)
		}
	}
	if sends := r.sim.Calls()["SendCommand"]; sends > 26 {
		t.Errorf("%d calls to find two of 50", sends)
	}
}

func TestThrottlingDropsNothing(t *testing.T) {
	limits := map[string]float64{"SendCommand": 4, "ListCommands": 4, "ListCommandInvocations": 4, "DescribeInstanceInformation": 4}
	r := connect(t, ssmsim.Options{Rate: limits}, ssm.Options{Rate: 20})
	if n := count(r.observe(t.Context(), t, r.fleet(400)), drift.Observed); n != 400 {
		t.Errorf("%d observed, want 400", n)
	}
}

func TestLateAndShortLists(t *testing.T) {
	r := connect(t, ssmsim.Options{Hide: 150 * time.Millisecond, Short: true}, ssm.Options{})
	if n := count(r.observe(t.Context(), t, r.fleet(120)), drift.Observed); n != 120 {
		t.Errorf("%d observed, want 120", n)
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

func TestPassingFaultsAreRepeated(t *testing.T) {
	var failed atomic.Int32
	r := connect(t, ssmsim.Options{Fail: func(_ string, n int) *ssmsim.Failure {
		if n == 1 {
			failed.Add(1)
			return &ssmsim.Failure{Status: 500, Code: "InternalServerError"}
		}
		if n == 2 {
			return &ssmsim.Failure{} // the connection is cut
		}
		return nil
	}}, ssm.Options{})
	if n := count(r.observe(t.Context(), t, r.fleet(30)), drift.Observed); n != 30 || failed.Load() == 0 {
		t.Errorf("%d observed of 30, %d calls failed", n, failed.Load())
	}
}

func TestDeniedSaysWhatToAllow(t *testing.T) {
	for _, operation := range []string{"DescribeInstanceInformation", "SendCommand", "ListCommands", "ListCommandInvocations"} {
		t.Run(operation, func(t *testing.T) {
			r := connect(t, ssmsim.Options{Fail: func(called string, _ int) *ssmsim.Failure {
				if called == operation {
					return &ssmsim.Failure{Status: 400, Code: "AccessDeniedException", Message: "no"}
				}
				return nil
			}}, ssm.Options{})
			for _, o := range r.observe(t.Context(), t, r.fleet(3)) {
				if o.State != drift.Unreachable || !strings.Contains(o.Reason, "not allowed to call ssm:"+operation) {
					t.Errorf("%s: %q", o.State, o.Reason)
				}
			}
		})
	}
}

func TestUnknownDocument(t *testing.T) {
	r := connect(t, ssmsim.Options{}, ssm.Options{})
	cmd := command
	cmd.Document = "nobodys"
	r.pool.Observe(t.Context(), cmd, r.fleet(1), func(_ string, o drift.Observation) {
		if !strings.Contains(o.Reason, "there is no document nobodys") {
			t.Errorf("%q", o.Reason)
		}
	})
}

func TestTheTimeLimitEndsTheCommand(t *testing.T) {
	r := connect(t, ssmsim.Options{}, ssm.Options{Timeout: 100 * time.Millisecond})
	ids := r.fleet(3)
	r.sim.Set(ssmsim.Instance{ID: ids[0], Never: true})
	if n := count(r.observe(t.Context(), t, ids), drift.Observed); n != 2 {
		t.Errorf("%d observed, want the 2 that answered", n)
	}
}

func TestCancelAnswersAllAndStopsCommands(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := connect(t, ssmsim.Options{Fail: func(operation string, n int) *ssmsim.Failure {
		if operation == "ListCommands" && n == 2 {
			cancel()
		}
		return nil
	}}, ssm.Options{})
	ids := r.fleet(70)
	for _, i := range ids {
		r.sim.Set(ssmsim.Instance{ID: i, Never: true})
	}
	if n := count(r.observe(ctx, t, ids), drift.Unreachable); n != 70 {
		t.Errorf("%d unreachable, want 70", n)
	}
	if n := r.sim.Cancelled(); n != 2 {
		t.Errorf("%d commands cancelled, want 2", n)
	}
}

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

func BenchmarkCalls(b *testing.B) {
	for name, opts := range map[string]ssm.Options{"by_id": {}, "by_tag": {Tag: "Role=workspace"}} {
		b.Run(name, func(b *testing.B) {
			opts.Poll = time.Second
			r := connect(b, ssmsim.Options{}, opts)
			ids := r.fleet(1000)
			for b.Loop() {
				r.sim.Forget()
				if n := count(r.observe(b.Context(), b, ids), drift.Observed); n != 1000 {
					b.Fatalf("%d observed of 1000", n)
				}
				calls := 0
				for _, n := range r.sim.Calls() {
					calls += n
				}
				b.ReportMetric(float64(calls)/1000, "calls/workspace")
			}
		})
	}
}
