package fleetsim_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
	"github.com/molecule-ai/billing-reconciler/internal/localpg/pgtest"
)

// never is longer than a test.
const never = time.Hour

// restarting starts a fleet whose platform takes no time for anything that is
// not said.
func restarting(t testing.TB, opts fleetsim.Options) *fleetsim.Sim {
	t.Helper()
	for _, d := range []*time.Duration{&opts.Platform.Stop, &opts.Platform.Launch, &opts.Platform.Register} {
		if *d == 0 {
			*d = -1
		}
	}
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

// ask sends one request as the platform demands it; status 0: it was cut.
func ask(t testing.TB, sim *fleetsim.Sim, tenant *fleetsim.Tenant, method, path string, header ...string) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return askWithin(ctx, t, sim, tenant, method, path, header...)
}

func askWithin(ctx context.Context, t testing.TB, sim *fleetsim.Sim, tenant *fleetsim.Tenant, method, path string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, sim.PlatformURL(tenant)+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+sim.AdminToken())
	req.Header.Set("X-Molecule-Org-Id", fleetsim.OrgOf(tenant.Name))
	for i := 0; i < len(header); i += 2 {
		req.Header.Del(header[i])
		if header[i+1] != "" {
			req.Header.Set(header[i], header[i+1])
		}
	}
	req.Close = true
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(text))
}

// restart calls for a restart that must be taken.
func restart(t testing.TB, sim *fleetsim.Sim, m *fleetsim.Member) {
	t.Helper()
	if status, body := ask(t, sim, m.Tenant, "POST", "/workspaces/"+m.Row.ID+"/restart"); status != 200 || body != `{"status":"provisioning"}` {
		t.Fatalf("%s: %d %s", m.Row.ID, status, body)
	}
}

func settled(t testing.TB, sim *fleetsim.Sim, members ...*fleetsim.Member) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := sim.Settled(ctx, members...); err != nil {
		t.Fatal(err)
	}
}

// until waits for what happens by itself.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !f() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("in vain: %s", what)
		}
	}
}

// query asks a tenant's database for one text, or changes it.
func query(t testing.TB, tenant *fleetsim.Tenant, sql string, args ...any) (text string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), tenant.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if strings.HasPrefix(sql, "SELECT") {
		err = conn.QueryRow(t.Context(), sql, args...).Scan(&text)
	} else {
		_, err = conn.Exec(t.Context(), sql, args...)
	}
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return text
}

func column(t testing.TB, m *fleetsim.Member, name string) string {
	t.Helper()
	return query(t, m.Tenant, "SELECT coalesce("+name+"::text, '') FROM workspaces WHERE id = $1", m.Row.ID)
}

func tenantConn(t testing.TB, tenant *fleetsim.Tenant) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), tenant.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}
