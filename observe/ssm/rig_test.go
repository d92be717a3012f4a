package ssm_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsssm "github.com/aws/aws-sdk-go-v2/service/ssm"
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
	sim    *ssmsim.Sim
	url    string
	client *ssm.Client
	pool   *ssm.Pool
	m      *metrics.Metrics
	decode func(string) drift.Observation // nil: command's
}

// connect starts an endpoint and a pool that speaks to it by HTTP.
func connect(t testing.TB, sim ssmsim.Options, opts ssm.Options) *rig {
	t.Helper()
	if sim.Runner == nil {
		sim.Runner = canned("good")
	}
	r := &rig{sim: ssmsim.New(sim), m: metrics.New("test")}
	server := httptest.NewServer(r.sim)
	r.url = server.URL
	r.client = r.as(t, "")
	if opts.Poll == 0 {
		opts.Poll = 20 * time.Millisecond
	}
	if opts.Rate == 0 {
		opts.Rate = 1000
	}
	r.pool = ssm.NewPool(r.client, opts, r.m)
	t.Cleanup(func() {
		server.Close()
		r.sim.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return r
}

// as connects in a role; "" is nobody's in particular.
func (r *rig) as(t testing.TB, role string) *ssm.Client {
	t.Helper()
	client, err := ssm.Connect(t.Context(), ssm.Account{Region: "us-east-1", Endpoint: r.url, RoleARN: role}, r.m)
	if err != nil {
		t.Fatal(err)
	}
	return client
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
	seen, cmd := map[string]drift.Observation{}, command
	if r.decode != nil {
		cmd.Decode = r.decode
	}
	r.pool.Observe(ctx, cmd, ids, func(id string, o drift.Observation) {
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

// counted reads the counter of AWS requests.
func (r *rig) counted(t testing.TB, operation, result string) int {
	t.Helper()
	families, err := r.m.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, series := range family.GetMetric() {
			if l := series.GetLabel(); family.GetName() == "reconciler_aws_requests_total" && l[0].GetValue() == operation && l[1].GetValue() == result {
				return int(series.GetCounter().GetValue())
			}
		}
	}
	return 0
}

// send is somebody else's command.
func (r *rig) send(t testing.TB, id string) {
	_, err := r.client.SendCommand(context.WithoutCancel(t.Context()), &awsssm.SendCommandInput{DocumentName: aws.String(ssmsim.RunShellScript), InstanceIds: []string{id},
		Parameters: command.Parameters})
	if err != nil {
		t.Error(err)
	}
}
