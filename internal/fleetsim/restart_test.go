package fleetsim_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
)

const modeVar = "MOLECULE_LLM_BILLING_MODE_RESOLVED"

// A restart is another instance at other addresses. The platform of the incident
// brings it back wrong, the mended one right. Both kinds of machines do it.
func TestARestartBringsAnotherInstance(t *testing.T) {
	for _, recorded := range []bool{true, false} {
		t.Run(fmt.Sprintf("recorded %t", recorded), func(t *testing.T) {
			sim := restarting(t, fleetsim.Options{Workspaces: 4, Tenants: 1, Recorded: recorded})
			m := sim.Members[0]
			before := sim.Standing(m)
			for round, want := range []drift.Mode{drift.ModePlatformManaged, drift.ModeBYOK} {
				if want == drift.ModeBYOK {
					sim.FixPlatform()
				}
				restart(t, sim, m)
				settled(t, sim)
				now := sim.Standing(m)
				if now.InstanceID == before.InstanceID || now.Public == before.Public || now.Private == before.Private || !now.Started.After(before.Started) || now.Restarts != round+1 {
					t.Errorf("round %d: %+v, before %+v", round, now, before)
				}
				if got := sim.Host(m).Env[modeVar]; got != string(want) || (now.Fault == fleetsim.ReprovisionedEmpty) != (want == drift.ModePlatformManaged) || now.Drains != (want == drift.ModePlatformManaged) {
					t.Errorf("round %d: mode %s, want %s: %+v", round, got, want, now)
				}
				if sim.SSM.Has(before.InstanceID) || !sim.SSM.Has(now.InstanceID) {
					t.Errorf("round %d: the inventory has the old instance, or not the new one", round)
				}
				if out, exit := sim.Run(t.Context(), before.InstanceID, "echo there"); out != "" || exit == 0 {
					t.Errorf("round %d: the old instance answers %q", round, out)
				}
				if out, _ := sim.Run(t.Context(), now.InstanceID, "docker exec molecule-workspace printenv"); !strings.Contains(out, modeVar+"="+string(want)+"\n") {
					t.Errorf("round %d: the new instance answers %q", round, out)
				}
				if got := column(t, m, "instance_id"); got != now.InstanceID || column(t, m, "status") != "online" {
					t.Errorf("round %d: stored: %s, %s", round, got, column(t, m, "status"))
				}
				before = now
			}
		})
	}
}

// Between the two instances: the status says so at once, the old id stays, the
// inventory has neither.
func TestBetweenTheInstances(t *testing.T) {
	sim := restarting(t, fleetsim.Options{Workspaces: 2, Tenants: 1, Recorded: true, Platform: fleetsim.PlatformOptions{Launch: never}})
	m := sim.Members[0]
	old := sim.Standing(m).InstanceID
	restart(t, sim, m)
	if got := column(t, m, "status"); got != "provisioning" {
		t.Errorf("status %s when the call was answered", got)
	}
	until(t, "the old instance goes", func() bool { return !sim.SSM.Has(old) })
	now := sim.Standing(m)
	if got := column(t, m, "instance_id"); got != old || !now.Gone || now.InFlight != 1 || now.InstanceID != old {
		t.Errorf("instance %s: %+v", got, now)
	}
	if n := len(calling(t, sim, m, 20)); n != 0 {
		t.Errorf("%d bytes of traffic of a workspace without an instance", n)
	}
	if err := sim.Break(m, fleetsim.ReprovisionedEmpty); err == nil {
		t.Error("a container was changed that is not there")
	}
	if calls := sim.RestartCalls(); len(calls) != 1 || !calls[0].Ended.IsZero() || fleetsim.MostInFlight(calls) != 1 {
		t.Errorf("%+v", calls)
	}
}

// Whom the platform does not restart it leaves as he is.
func TestDeclinedRestarts(t *testing.T) {
	sim := restarting(t, fleetsim.Options{Workspaces: 12, Tenants: 2, Recorded: true, Platform: fleetsim.PlatformOptions{Fixed: true}})
	var of []*fleetsim.Member // the first tenant's, but for the incident
	for _, m := range sim.Members[1:] {
		if m.Tenant == sim.Tenants[0] {
			of = append(of, m)
		}
	}
	child, mother, grandmother, removed, mock := of[0], of[1], of[2], of[3], of[4]
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(sim.SetParent(t.Context(), child, mother))
	must(sim.SetParent(t.Context(), mother, grandmother))
	must(sim.SetParent(t.Context(), grandmother, child)) // it must end there, too
	must(sim.SetStatus(t.Context(), grandmother, "paused"))
	must(sim.SetStatus(t.Context(), removed, "removed"))
	query(t, mock.Tenant, "UPDATE workspaces SET runtime = 'mock' WHERE id = $1", mock.Row.ID)
	other := sim.Tenants[1]
	path := func(id string) string { return "/workspaces/" + id + "/restart" }
	rows := []struct {
		name   string
		tenant *fleetsim.Tenant
		method string
		path   string
		header []string
		status int
		body   string
		called bool // it stands in the log
	}{
		{"an ancestor is paused, however far up", child.Tenant, "POST", path(child.Row.ID), nil, 409, `{"error":"an ancestor is paused"}`, true},
		{"removed", removed.Tenant, "POST", path(removed.Row.ID), nil, 404, `{"error":"workspace not found"}`, true},
		{"unknown", removed.Tenant, "POST", path("00000000-0000-4000-8000-000000000000"), nil, 404, `{"error":"workspace not found"}`, true},
		{"another tenant's", other, "POST", path(child.Row.ID), nil, 404, `{"error":"workspace not found"}`, true},
		{"no id", other, "POST", path("x"), nil, 400, `{"error":"invalid workspace id"}`, true},
		{"nothing to restart", mock.Tenant, "POST", path(mock.Row.ID), nil, 200, `{"status":"noop"}`, true},
		{"another organisation", other, "POST", path(child.Row.ID), []string{"X-Molecule-Org-Id", "org-x"}, 404, "", true},
		{"no organisation", other, "POST", path(child.Row.ID), []string{"X-Molecule-Org-Id", ""}, 400, `{"code":"TENANT_ORG_HEADER_REQUIRED"}`, true},
		{"no token", other, "POST", path(child.Row.ID), []string{"Authorization", ""}, 401, `{"error":"unauthorized"}`, true},
		{"another token", other, "POST", path(child.Row.ID), []string{"Authorization", "Bearer x"}, 401, `{"error":"unauthorized"}`, true},
		{"another method", other, "GET", path(child.Row.ID), nil, 404, "404 page not found", false},
		{"another route", other, "POST", "/workspaces/" + child.Row.ID, nil, 404, "404 page not found", false},
	}
	called := 0
	for _, row := range rows {
		status, body := ask(t, sim, row.tenant, row.method, row.path, row.header...)
		if status != row.status || body != row.body {
			t.Errorf("%s: %d %q, want %d %q", row.name, status, body, row.status, row.body)
		}
		if row.called {
			called++
		}
	}
	calls := sim.RestartCalls()
	if len(calls) != called || fleetsim.MostInFlight(calls) != 0 {
		t.Errorf("%d calls, want %d; %d in flight", len(calls), called, fleetsim.MostInFlight(calls))
	}
	for _, m := range sim.Members {
		if s := sim.Standing(m); s.Restarts != 0 || s.Gone {
			t.Errorf("%s was touched: %+v", m.Row.Name, s)
		}
	}
	must(sim.SetStatus(t.Context(), grandmother, "online"))
	query(t, grandmother.Tenant, "UPDATE workspaces SET parent_id = NULL WHERE id = $1", grandmother.Row.ID)
	must(sim.SetStatus(t.Context(), child, "paused"))
	restart(t, sim, child) // one's own pause is no obstacle: it wakes
	settled(t, sim)
	if got := column(t, child, "status"); got != "online" {
		t.Errorf("woken: %s", got)
	}
}

func TestNoProvisionerNoRestart(t *testing.T) {
	sim := restarting(t, fleetsim.Options{Workspaces: 1, Recorded: true, Platform: fleetsim.PlatformOptions{NoProvisioner: true}})
	m := sim.Members[0]
	if status, _ := ask(t, sim, m.Tenant, "POST", "/workspaces/"+m.Row.ID+"/restart"); status != 503 || sim.Standing(m).Restarts != 0 {
		t.Errorf("%d, %+v", status, sim.Standing(m))
	}
}

// Two calls for one workspace are two full cycles, one after the other.
func TestTwoRestartsAreTwoCycles(t *testing.T) {
	sim := restarting(t, fleetsim.Options{Workspaces: 2, Tenants: 1, Recorded: true})
	m := sim.Members[1]
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { restart(t, sim, m) })
	}
	both.Wait()
	settled(t, sim)
	if s := sim.Standing(m); s.Restarts != 2 || s.InFlight != 0 {
		t.Errorf("%+v", s)
	}
	for _, c := range sim.RestartCalls() {
		if !c.Acted || c.Outcome != "online" || c.ID != m.Row.ID || c.Tenant != m.Tenant.Name {
			t.Errorf("%+v", c)
		}
	}
	if got := column(t, m, "status"); got != "online" {
		t.Error(got)
	}
}

// A workspace at the proxy goes on calling it; one that was mended calls from
// its new address whom it must, and one without an instance nobody.
func TestTrafficOfARestartedWorkspace(t *testing.T) {
	sim := restarting(t, fleetsim.Options{Workspaces: 2, Tenants: 1, Recorded: true})
	m := sim.Members[0]
	for _, step := range []struct {
		name   string
		do     func()
		drains bool
	}{
		{"the incident's platform", func() {}, true},
		{"the mended one", sim.FixPlatform, false},
	} {
		step.do()
		restart(t, sim, m)
		settled(t, sim)
		text := calling(t, sim, m, 40)
		from := sim.Standing(m).Public.String() + " "
		if n := strings.Count(text, `"POST /api/v1/internal/llm/anthropic/v1/messages?beta`); (n == 40) != step.drains || n != 0 && !step.drains {
			t.Errorf("%s: %d of 40 calls are billable", step.name, n)
		}
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, from) {
				t.Errorf("%s: not from its new address: %s", step.name, line)
			}
		}
	}
}

// calling has a member call n times, and gives what the proxy has logged of it.
func calling(t *testing.T, sim *fleetsim.Sim, m *fleetsim.Member, n int) string {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 1))
	before, err := os.ReadFile(sim.LogPath)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		if err := sim.CallNow(m, random); err != nil {
			t.Fatal(err)
		}
	}
	after, err := os.ReadFile(sim.LogPath)
	if err != nil {
		t.Fatal(err)
	}
	return string(after[len(before):])
}

// The live fleet goes on while its workspaces are restarted.
func TestALiveFleetIsRestarted(t *testing.T) {
	sim := restarting(t, fleetsim.Options{Workspaces: 60, Tenants: 3, Recorded: true, Faults: true})
	defer sim.Live(t.Context())()
	random := rand.New(rand.NewPCG(2, 2))
	var all sync.WaitGroup
	for _, m := range sim.Members {
		all.Go(func() { ask(t, sim, m.Tenant, "POST", "/workspaces/"+m.Row.ID+"/restart") })
		_ = sim.CallNow(m, random)
		_ = sim.Planted()
	}
	all.Wait()
	settled(t, sim)
	if n := len(sim.RestartCalls()); n != len(sim.Members) {
		t.Errorf("%d calls, want %d", n, len(sim.Members))
	}
}
