package fleetsim_test

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/molecule-ai/billing-reconciler/desired/tenantschema"
	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
	"github.com/molecule-ai/billing-reconciler/platform"
)

func actor(t *testing.T, sim *fleetsim.Sim, tenant *fleetsim.Tenant) *platform.Actor {
	t.Helper()
	c, err := platform.New(platform.Options{Source: tenant.Name, URL: sim.PlatformURL(tenant), AdminToken: drift.Secret(sim.AdminToken()),
		OrgID: fleetsim.OrgOf(tenant.Name), RequestsPerMinute: 60_000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return platform.NewActor(c)
}

// Every way that a restart can go wrong, as the real caller sees it: where it
// says that nothing was done, nothing was, and never is anything done twice.
func TestFatesOfACall(t *testing.T) {
	sim := restarting(t, fleetsim.Options{Workspaces: 10, Tenants: 1, Recorded: true, Platform: fleetsim.PlatformOptions{Fixed: true, PerMinute: 60_000}})
	for i, row := range []struct {
		fate    fleetsim.Nasty
		want    drift.CallResult
		acted   bool
		outcome string
	}{
		{fleetsim.NotNasty, drift.CallAccepted, true, "online"},
		{fleetsim.NastyDown, drift.CallUnavailable, false, ""},
		{fleetsim.NastyCut, drift.CallUncertain, false, ""},
		{fleetsim.NastyCutAfter, drift.CallUncertain, true, "online"},
		{fleetsim.NastyHang, drift.CallUncertain, true, "online"},
		{fleetsim.NastyFail, drift.CallUncertain, true, "online"},
		{fleetsim.NastyGarble, drift.CallUncertain, true, "online"},
		{fleetsim.NastyLost, drift.CallAccepted, true, "failed"},
		{fleetsim.NastyWorse, drift.CallAccepted, true, "online"},
		{fleetsim.NastyThrottle, drift.CallThrottled, false, ""},
	} {
		m := sim.Members[i]
		old := sim.Standing(m)
		sim.NextRestarts(m, row.fate)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if row.fate == fleetsim.NastyHang {
			go func() { // gives up once the platform has the call
				until(t, "the call arrives", func() bool { return sim.Standing(m).InFlight > 0 })
				cancel()
			}()
		}
		got := actor(t, sim, m.Tenant).Restart(ctx, m.Row.ID)
		cancel()
		settled(t, sim)
		calls := sim.RestartCalls()
		last := calls[len(calls)-1]
		if got.Result != row.want || len(calls) != i+1 || last.Acted != row.acted || last.Outcome != row.outcome || last.Acted && !got.MayHaveActed() {
			t.Errorf("%s: %+v; %d calls, %+v", row.fate, got, len(calls), last)
		}
		now := sim.Standing(m)
		if renewed := now.InstanceID != old.InstanceID; renewed != (row.outcome == "online") || now.Gone != (row.outcome == "failed") {
			t.Errorf("%s: %+v, before %+v", row.fate, now, old)
		}
		if (now.Fault != "") != (row.fate == fleetsim.NastyWorse) {
			t.Errorf("%s: comes back with %q", row.fate, now.Fault)
		}
		if lost := column(t, m, "status") == "failed" && column(t, m, "last_sample_error") != ""; lost != (row.fate == fleetsim.NastyLost) {
			t.Errorf("%s: %s, %q", row.fate, column(t, m, "status"), column(t, m, "last_sample_error"))
		}
	}
}

// What the product foresees and what the platform does are written twice. Over
// every choice that customers have, one has to be the other.
func TestRefusalsAreThoseThatAreForeseen(t *testing.T) {
	for _, globals := range []drift.Owner{drift.OwnerPlatform, drift.OwnerCustomer} {
		t.Run(string(globals), func(t *testing.T) {
			sim := restarting(t, fleetsim.Options{Workspaces: 240, Tenants: 3, Recorded: true, EveryOffer: true, Faults: true, Globals: globals,
				Platform: fleetsim.PlatformOptions{Fixed: true, PerMinute: 60_000}})
			foreseen := map[string]bool{}
			for _, m := range sim.Members {
				if m.Spoilt != "" {
					foreseen[m.Row.ID] = true // the rows in memory are whole
					continue
				}
				w, d := m.Workspace(), m.Desired
				foreseen[m.Row.ID] = len(drift.Refusals(sim.Policy, w, &d)) > 0
			}
			for _, m := range sim.Members {
				restart(t, sim, m)
			}
			settled(t, sim)
			refused := 0
			for _, c := range sim.RestartCalls() {
				if (c.Outcome == "failed") != foreseen[c.ID] {
					m := sim.Member(c.ID)
					t.Errorf("%s: %s, foreseen %t: %s: %+v %v", c.ID, c.Outcome, foreseen[c.ID], column(t, m, "last_sample_error"), m.Desired, m.Secrets)
				}
				if c.Outcome == "failed" {
					refused++
				}
			}
			if refused == 0 || refused == len(sim.Members) {
				t.Errorf("%d of %d are refused: nothing is shown", refused, len(sim.Members))
			}
		})
	}
}

// Each refusal, from what is stored at the time of the restart. The old instance
// is gone by then: the agent is dead until somebody helps.
func TestARefusedRestartKillsTheAgent(t *testing.T) {
	const byKey = "DELETE FROM workspace_secrets WHERE workspace_id = $1 AND key = "
	for _, row := range []struct {
		name  string
		opts  fleetsim.PlatformOptions
		store []string // $1: the workspace
		want  string
	}{
		{"nothing wrong", fleetsim.PlatformOptions{Fixed: true}, nil, ""},
		{"no credential", fleetsim.PlatformOptions{Fixed: true}, []string{byKey + "'CLAUDE_CODE_OAUTH_TOKEN'"}, "MISSING_BYOK_CREDENTIAL"},
		{"an empty credential", fleetsim.PlatformOptions{Fixed: true}, []string{"UPDATE workspace_secrets SET encrypted_value = '', encryption_version = 0 WHERE workspace_id = $1 AND key = 'CLAUDE_CODE_OAUTH_TOKEN'"}, "MISSING_BYOK_CREDENTIAL"},
		{"the incident's platform looks for none", fleetsim.PlatformOptions{}, []string{byKey + "'CLAUDE_CODE_OAUTH_TOKEN'"}, ""},
		{"an override needs one on either", fleetsim.PlatformOptions{}, []string{byKey + "'CLAUDE_CODE_OAUTH_TOKEN'", "UPDATE workspaces SET llm_billing_mode = 'byok' WHERE id = $1"}, "MISSING_BYOK_CREDENTIAL"},
		{"no model", fleetsim.PlatformOptions{Fixed: true}, []string{byKey + "'MODEL'"}, "MISSING_MODEL"},
		{"none is needed where all is off", fleetsim.PlatformOptions{Fixed: true}, []string{byKey + "'MODEL'", "UPDATE workspaces SET llm_billing_mode = 'disabled' WHERE id = $1"}, ""},
		{"a tenant's model will do", fleetsim.PlatformOptions{Fixed: true}, []string{byKey + "'MODEL'", "INSERT INTO global_secrets (key, encrypted_value, encryption_version) SELECT 'MODEL', 'opus', 0 WHERE $1::uuid IS NOT NULL"}, ""},
		{"no proxy", fleetsim.PlatformOptions{NoProxy: true}, nil, "MISSING_PLATFORM_PROXY"},
		{"none is needed for byok", fleetsim.PlatformOptions{NoProxy: true, Fixed: true}, nil, ""},
		{"a secret that does not open", fleetsim.PlatformOptions{}, []string{"UPDATE workspace_secrets SET encrypted_value = 'x', encryption_version = 1 WHERE workspace_id = $1 AND key = 'MODEL'"}, "decrypt MODEL: message authentication failed"},
		{"a global one that does not open", fleetsim.PlatformOptions{}, []string{"UPDATE global_secrets SET encrypted_value = repeat('x', 99)::bytea, encryption_version = 1 WHERE $1::uuid IS NOT NULL"}, "decrypt SENTRY_DSN: message authentication failed"},
		{"an operator's token", fleetsim.PlatformOptions{}, []string{"INSERT INTO global_secrets (key, encrypted_value, encryption_version) SELECT 'GH_TOKEN', 'x', 0 WHERE $1::uuid IS NOT NULL"}, "OPERATOR_SECRET: GH_TOKEN"},
		{"and any of this prefix", fleetsim.PlatformOptions{}, []string{"INSERT INTO global_secrets (key, encrypted_value, encryption_version) SELECT 'MOLECULE_OPERATOR_X', 'x', 0 WHERE $1::uuid IS NOT NULL"}, "OPERATOR_SECRET: MOLECULE_OPERATOR_X"},
		{"unless the workspace has its own", fleetsim.PlatformOptions{}, []string{"INSERT INTO global_secrets (key, encrypted_value, encryption_version) SELECT 'GH_TOKEN', 'x', 0 WHERE $1::uuid IS NOT NULL",
			"INSERT INTO workspace_secrets (workspace_id, key, encrypted_value, encryption_version) VALUES ($1, 'GH_TOKEN', 'y', 0)"}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			sim := restarting(t, fleetsim.Options{Workspaces: 1, Recorded: true, Platform: row.opts})
			m := sim.Members[0]
			for _, statement := range row.store {
				query(t, m.Tenant, statement, m.Row.ID)
			}
			old := sim.Standing(m).InstanceID
			restart(t, sim, m)
			settled(t, sim)
			now := sim.Standing(m)
			if got := column(t, m, "last_sample_error"); got != row.want || now.Gone != (row.want != "") || (column(t, m, "status") == "failed") != now.Gone {
				t.Errorf("%q, want %q: %s, %+v", got, row.want, column(t, m, "status"), now)
			}
			if now.Gone && (sim.SSM.Has(old) || column(t, m, "instance_id") != old || sim.Host(m).Env != nil) {
				t.Errorf("dead, and: in the inventory %t, instance %s, %v", sim.SSM.Has(old), column(t, m, "instance_id"), sim.Host(m))
			}
		})
	}
}

// A restart derives from what is stored then, whoever has stored it.
func TestARestartTakesInWhatIsStored(t *testing.T) {
	sim := restarting(t, fleetsim.Options{Workspaces: 1, Recorded: true, Platform: fleetsim.PlatformOptions{Fixed: true}})
	m := sim.Members[0]
	if err := tenantschema.PutSecret(t.Context(), tenantConn(t, m.Tenant), tenantschema.Secret{Workspace: m.Row.ID, Key: "XAI_API_KEY", Value: []byte("another-secret"), EncryptionKey: m.Tenant.Key}); err != nil {
		t.Fatal(err)
	}
	query(t, m.Tenant, "UPDATE workspaces SET llm_billing_mode = 'platform_managed', active_tasks = 0 WHERE id = $1", m.Row.ID)
	if err := sim.SetActiveTasks(t.Context(), m, 7); err != nil {
		t.Fatal(err)
	}
	for _, want := range []drift.Mode{drift.ModePlatformManaged, drift.ModeBYOK} {
		restart(t, sim, m)
		settled(t, sim)
		if got := sim.Host(m).Env[modeVar]; got != string(want) {
			t.Errorf("mode %s, want %s", got, want)
		}
		query(t, m.Tenant, "UPDATE workspaces SET llm_billing_mode = NULL WHERE id = $1", m.Row.ID)
	}
	host := sim.Host(m)
	if host.Env["XAI_API_KEY"]+host.Secrets["XAI_API_KEY"] != "another-secret" || column(t, m, "active_tasks") != "7" {
		t.Errorf("%v %v, %s tasks", host.Env, host.Secrets, column(t, m, "active_tasks"))
	}
}

// The log of calls is the platform's own, and outlives who called.
func TestTheLogOfCalls(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls.jsonl")
	var all []fleetsim.RestartCall
	for range 2 { // two fleets one after another
		sim := restarting(t, fleetsim.Options{Workspaces: 12, Tenants: 2, Recorded: true, Seed: 4, Platform: fleetsim.PlatformOptions{LogPath: path,
			Dice: map[fleetsim.Nasty]float64{fleetsim.NastyDown: 0.3, fleetsim.NastyLost: 0.3, fleetsim.NastyFail: 0.3}}})
		for _, m := range sim.Members {
			ask(t, sim, m.Tenant, "POST", "/workspaces/"+m.Row.ID+"/restart")
		}
		settled(t, sim)
		answers := map[string]int{}
		for _, c := range sim.RestartCalls() {
			answers[fmt.Sprint(c.Status, c.Outcome)]++
			all = append(all, c)
		}
		if len(answers) < 3 {
			t.Errorf("the dice fell one way: %v", answers)
		}
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = file.WriteString(`{"number":`) // cut by kill -9
	_ = file.Close()
	got, err := fleetsim.ReadRestartCalls(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all, got, cmp.Comparer(time.Time.Equal)); diff != "" {
		t.Errorf("calls (-kept +read):\n%s", diff)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(text, []byte("tenant"), []byte("\n"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := fleetsim.ReadRestartCalls(path); err == nil {
		t.Error("a line that is cut in the middle was read")
	}
}

// A workspace that its customer deletes meanwhile is a restart that ends.
func TestARestartOfWhatIsDeletedMeanwhileEnds(t *testing.T) {
	sim := restarting(t, fleetsim.Options{Workspaces: 2, Tenants: 1, Recorded: true})
	m := sim.Members[0]
	sim.NextRestarts(m, fleetsim.NastyHang)
	ctx, giveUp := context.WithCancel(t.Context())
	var caller sync.WaitGroup
	caller.Go(func() { askWithin(ctx, t, sim, m.Tenant, "POST", "/workspaces/"+m.Row.ID+"/restart") })
	until(t, "the call arrives", func() bool { return sim.Standing(m).InFlight > 0 })
	query(t, m.Tenant, "DELETE FROM workspaces WHERE id = $1", m.Row.ID)
	giveUp()
	caller.Wait()
	settled(t, sim)
	if c := sim.RestartCalls()[0]; c.Outcome != "failed" {
		t.Errorf("%+v", c)
	}
	if err := sim.SetStatus(t.Context(), sim.Members[1], "nonsense"); err == nil {
		t.Error("a status was set that there is not")
	}
}

// A database that breaks connections off in the middle holds a restart up, and
// ends none.
func TestARestartOutlivesItsConnections(t *testing.T) {
	sim := restarting(t, fleetsim.Options{Workspaces: 20, Tenants: 1, Recorded: true, Platform: fleetsim.PlatformOptions{Fixed: true, Launch: 20 * time.Millisecond, Register: 20 * time.Millisecond}})
	for _, m := range sim.Members {
		restart(t, sim, m)
	}
	until(t, "all have ended", func() bool {
		query(t, sim.Tenants[0], "DO $$ BEGIN PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'simulated platform' AND datname = current_database(); END $$")
		for _, c := range sim.RestartCalls() {
			if c.Ended.IsZero() {
				return false
			}
		}
		return true
	})
	for _, m := range sim.Members {
		if got, end := column(t, m, "status"), sim.Standing(m); (got == "failed") != end.Gone || got == "provisioning" {
			t.Errorf("%s: %+v", got, end)
		}
	}
}

func TestMostInFlight(t *testing.T) {
	at := func(n int) time.Time { return time.Unix(int64(n), 0) }
	call := func(from, to int, acted bool) fleetsim.RestartCall {
		c := fleetsim.RestartCall{At: at(from), Acted: acted}
		if to > 0 {
			c.Ended = at(to)
		}
		return c
	}
	for _, row := range []struct {
		name  string
		calls []fleetsim.RestartCall
		want  int
	}{
		{"none", nil, 0},
		{"what did not act is not in flight", []fleetsim.RestartCall{call(1, 0, false)}, 0},
		{"one after another", []fleetsim.RestartCall{call(1, 2, true), call(2, 3, true)}, 1},
		{"side by side", []fleetsim.RestartCall{call(1, 4, true), call(2, 3, true), call(3, 5, true)}, 2},
		{"what has not ended is still", []fleetsim.RestartCall{call(1, 0, true), call(9, 0, true), call(2, 3, true)}, 2},
	} {
		if got := fleetsim.MostInFlight(row.calls); got != row.want {
			t.Errorf("%s: %d, want %d", row.name, got, row.want)
		}
	}
}

// AWS gives an address to somebody else as soon as it is free.
func TestAddressesAreRecycled(t *testing.T) {
	sim := restarting(t, fleetsim.Options{Workspaces: 2, Tenants: 1, Recorded: true, Platform: fleetsim.PlatformOptions{Recycle: true}})
	first, second := sim.Members[0], sim.Members[1]
	old := sim.Standing(first).Public
	for _, m := range []*fleetsim.Member{first, second} {
		restart(t, sim, m)
		settled(t, sim)
	}
	if got := sim.Standing(second).Public; got != old || sim.Standing(first).Public == old {
		t.Errorf("the second has %s, the first had %s and has %s", got, old, sim.Standing(first).Public)
	}
}

// A big fleet, all of it at once, and a part once more: everybody has an instance
// and addresses of his own in the end.
func TestABigFleetIsRestarted(t *testing.T) {
	workspaces := 2000
	if testing.Short() {
		workspaces = 300
	}
	sim := restarting(t, fleetsim.Options{Workspaces: workspaces, Tenants: 20, Recorded: true,
		Platform: fleetsim.PlatformOptions{PerMinute: 1_000_000, Launch: 20 * time.Millisecond}})
	again := workspaces / 10
	for _, members := range [][]*fleetsim.Member{sim.Members, sim.Members[:again]} {
		var callers errgroup.Group
		callers.SetLimit(16)
		for _, m := range members {
			callers.Go(func() error { restart(t, sim, m); return nil })
		}
		_ = callers.Wait()
	}
	settled(t, sim)
	instances, addresses := map[string]bool{}, map[netip.Addr]bool{}
	for i, m := range sim.Members {
		s, restarts := sim.Standing(m), 1
		if i < again {
			restarts = 2
		}
		instances[s.InstanceID], addresses[s.Public], addresses[s.Private] = true, true, true
		if s.Restarts != restarts || !s.Gone && !sim.SSM.Has(s.InstanceID) {
			t.Errorf("%+v", s)
		}
	}
	if len(instances) != workspaces || len(addresses) != 2*workspaces {
		t.Errorf("%d instances, %d addresses", len(instances), len(addresses))
	}
	if calls := sim.RestartCalls(); len(calls) != workspaces+again {
		t.Errorf("%d calls", len(calls))
	}
}

// An end with restarts under way, and calls that hang, is an end.
func TestAFleetEndsInTheMiddle(t *testing.T) {
	var hanging sync.WaitGroup
	t.Cleanup(hanging.Wait) // after the fleet has ended
	sim := restarting(t, fleetsim.Options{Workspaces: 3, Tenants: 1, Recorded: true, Platform: fleetsim.PlatformOptions{Stop: never}})
	hung := sim.Members[0]
	sim.NextRestarts(hung, fleetsim.NastyHang)
	restart(t, sim, sim.Members[1])
	hanging.Go(func() {
		// Not the test's context, which ends before the fleet does.
		askWithin(context.Background(), t, sim, hung.Tenant, "POST", "/workspaces/"+hung.Row.ID+"/restart")
	})
	until(t, "it hangs", func() bool { return sim.Standing(hung).InFlight > 0 })
}
