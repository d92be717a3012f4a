package ssm_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim/ssmsim"
	"github.com/molecule-ai/billing-reconciler/observe/ssm"
)

const role = "arn:aws:iam::000000000000:role/reconciler"

func TestEveryCallIsMadeInTheRole(t *testing.T) {
	r := connect(t, ssmsim.Options{}, ssm.Options{})
	pool := ssm.NewPool(r.as(t, role), ssm.Options{Poll: 1}, r.m)
	pool.Observe(t.Context(), command, r.fleet(60), func(id string, o drift.Observation) {
		if o.State != drift.Observed {
			t.Errorf("%s: %s", id, o.Reason)
		}
	})
	if diff := cmp.Diff([]string{role}, r.sim.Roles()); diff != "" {
		t.Errorf("roles (-want +got):\n%s", diff)
	}
	if n := r.sim.Calls()["AssumeRole"]; n != 1 {
		t.Errorf("assumed %d times, want once", n)
	}
}

func TestARoleThatCannotBeAssumed(t *testing.T) {
	r := connect(t, ssmsim.Options{Fail: func(operation string, _ int) *ssmsim.Failure {
		if operation == "AssumeRole" {
			return &ssmsim.Failure{Status: 403, Code: "AccessDenied", Message: "no"}
		}
		return nil
	}}, ssm.Options{})
	r.pool = ssm.NewPool(r.as(t, role), ssm.Options{}, r.m)
	for _, o := range r.observe(t.Context(), t, r.fleet(500)) {
		if !strings.Contains(o.Reason, "the role cannot be assumed (sts:AssumeRole: AccessDenied)") {
			t.Errorf("%q", o.Reason)
		}
	}
	if n := r.sim.Calls()["AssumeRole"]; n > 8 {
		t.Errorf("tried %d times", n)
	}
}

func TestIdentityAndDocument(t *testing.T) {
	r := connect(t, ssmsim.Options{}, ssm.Options{})
	if arn, err := r.client.Identity(t.Context()); err != nil || !strings.HasPrefix(arn, "arn:aws:sts::") {
		t.Errorf("identity: %q, %v", arn, err)
	}
	if err := r.client.Document(t.Context(), ssmsim.RunShellScript); err != nil {
		t.Error(err)
	}
	if err := r.client.Document(t.Context(), "nobodys"); err == nil || !strings.Contains(err.Error(), "there is no document nobodys") {
		t.Errorf("document: %v", err)
	}
}

// The project's own document, with its parameters and with others.
func TestTheOwnDocument(t *testing.T) {
	document, err := os.ReadFile("../../deploy/ssm/billing-probe.json")
	if err != nil {
		t.Fatal(err)
	}
	r := connect(t, ssmsim.Options{}, ssm.Options{})
	if err := r.sim.Register("billing-probe", document); err != nil {
		t.Fatal(err)
	}
	ids := r.fleet(1)
	for _, row := range []struct {
		name       string
		parameters map[string][]string
		says       string
	}{
		{"as it should be", map[string][]string{"Key": {strings.Repeat("0a", 16)}, "Container": {"molecule-workspace"}}, ""},
		{"a container by default", map[string][]string{"Key": {strings.Repeat("0a", 16)}}, ""},
		{"a key that would be code", map[string][]string{"Key": {"$(reboot)"}}, "takes other parameters"},
		{"no key", nil, "takes other parameters"},
		{"unheard of", map[string][]string{"commands": {"reboot"}}, "takes other parameters"},
	} {
		t.Run(row.name, func(t *testing.T) {
			cmd := ssm.Command{Document: "billing-probe", Parameters: row.parameters, Decode: command.Decode}
			r.pool.Observe(t.Context(), cmd, ids, func(_ string, o drift.Observation) {
				if (o.State == drift.Observed) != (row.says == "") || !strings.Contains(o.Reason, row.says) {
					t.Errorf("%s (%s), want %q", o.State, o.Reason, row.says)
				}
			})
		})
	}
}

func TestAddressesRunNothing(t *testing.T) {
	r := connect(t, ssmsim.Options{}, ssm.Options{})
	seen := map[string]drift.Observation{}
	r.pool.Addresses(t.Context(), append(r.fleet(60), id(99), "nonsense"), func(id string, o drift.Observation) { seen[id] = o })
	if len(seen) != 62 || count(seen, drift.NotAsked) != 60 || len(seen[id(3)].Addresses) != 1 {
		t.Errorf("%d answers, %d of them online; %+v", len(seen), count(seen, drift.NotAsked), seen[id(3)])
	}
	if calls := r.sim.Calls(); calls["SendCommand"] != 0 || calls["DescribeInstanceInformation"] != 2 {
		t.Errorf("called %v", calls)
	}
}

// The policy in deploy allows what is called, and no more.
func TestThePolicyIsWhatIsCalled(t *testing.T) {
	text, err := os.ReadFile("../../deploy/ssm/policy.json")
	if err != nil {
		t.Fatal(err)
	}
	var policy struct {
		Statement []struct{ Effect, Action any }
	}
	if err := json.Unmarshal(text, &policy); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, statement := range policy.Statement {
		switch action := statement.Action.(type) {
		case string:
			got[action] = true
		case []any:
			for _, one := range action {
				got[one.(string)] = true
			}
		}
	}
	want := map[string]bool{"ssm:CancelCommand": true, "ssm:DescribeDocument": true}
	for _, operation := range operations {
		want["ssm:"+operation] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("actions (-want +got):\n%s", diff)
	}
}
