package main

import (
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
	"github.com/molecule-ai/billing-reconciler/metrics/metricstest"
)

// Nothing that comes out of a daemon holds a secret: its log at its most
// talkative while things fail, its API, its metrics, all that it keeps.
func TestDaemonTellsNoSecret(t *testing.T) {
	t.Parallel()
	w := watch(t, fleetsim.Options{Workspaces: 40, Tenants: 4, Faults: true}, swap("level: debug", "level: debug, format: json"))
	state, err := url.Parse(w.sim.StateURL)
	if err != nil {
		t.Fatal(err)
	}
	platform, aws, database := w.lead(endpoint(w.text, "platform")), w.lead(endpoint(w.text, "ssm")), w.lead(w.sim.Tenants[1].URL)
	port := freePort(t)
	w.alter(swap("127.0.0.1:0", port))
	p := w.start()
	p.at = "http://" + port
	p.ready()
	w.passes(1)
	p.types("pause", "--reason", "a look around", "--for", "5s")
	for _, line := range []interface {
		Refuse(bool)
		Cut()
	}{platform, aws, database} {
		line.Refuse(true)
		line.Cut()
		w.passes(1, w.sim.Tenants[0].Name)
	}
	if !awaits(patience, func() bool { return strings.Contains(p.said(), "source not read") }) {
		t.Error("nothing failed: the log has nothing to be careful about")
	}
	p.rewrite(strings.Replace(w.text, "registry:", "nonsense: {a: 1}\nregistry:", 1))
	p.shows("reconciler_config_reload_success", 0)
	out := map[string]string{"the log": p.said()}
	paths := []string{"/metrics", "/readyz", "/healthz"}
	for _, path := range []string{"status", "workspaces", "drifts", "events", "pauses", "suppressions", "openapi.json", "workspaces/" + fleetsim.IncidentID} {
		paths = append(paths, "/api/v1/"+path)
	}
	for _, id := range w.strings("SELECT id::text FROM drifts") {
		paths = append(paths, "/api/v1/drifts/"+id)
	}
	for _, path := range paths {
		status, body := p.get(path)
		if status != 200 && status != 503 {
			t.Errorf("%s: %d %.200s", path, status, body)
		}
		out[path] = body
	}
	for _, table := range w.strings("SELECT quote_ident(table_name) FROM information_schema.tables WHERE table_schema = 'public'") {
		out["table "+table] = strings.Join(w.strings("SELECT t::text FROM "+table+" t"), "\n")
	}
	if !strings.Contains(out["table states"], fleetsim.IncidentID) || !strings.Contains(out["the log"], `"level":"DEBUG"`) {
		t.Error("this is not all that there is")
	}
	password, _ := state.User.Password()
	for name, text := range out {
		noSecret(t, w.sim, name, text)
		if password != "" && strings.Contains(text, password) {
			t.Errorf("%s holds the password of a database", name)
		}
	}
}

// What the alert rules speak of is what a daemon really exposes.
func TestDaemonExposesWhatAlertsAreMadeOf(t *testing.T) {
	t.Parallel()
	w := watch(t, fleetsim.Options{Workspaces: 8, Tenants: 2})
	w.text += "notify:\n  - webhook: {url: \"http://127.0.0.1:9/\"}\n"
	p := w.start().ready()
	w.passes(1)
	rules, err := os.ReadFile("../../deploy/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, exposition := p.get("/metrics")
	problems, err := metricstest.Check(rules, []byte(exposition))
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Error(problem)
	}
}

// freePort is an address for a daemon that cannot say which it got.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// Nobody reads the daemon's log any more, or its disk is full: it goes on.
func TestDaemonWhoseLogGoesNowhere(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule   string
		stderr func(*testing.T) *os.File
	}{
		{"its reader is gone", func(t *testing.T) *os.File {
			near, far := pipe(t)
			near.Close()
			return far
		}},
		{"its reader sleeps and the pipe is full", func(t *testing.T) *os.File {
			_, far := pipe(t)
			for n := 4096; n > 0; n /= 2 { // to the last byte
				for {
					if err := far.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
						t.Fatal(err)
					}
					if _, err := far.Write(make([]byte, n)); err != nil {
						break
					}
				}
			}
			if err := syscall.SetNonblock(int(far.Fd()), false); err != nil {
				t.Fatal(err)
			}
			return far
		}},
		{"its disk is full", func(t *testing.T) *os.File {
			full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			if err != nil {
				t.Skip("this system has no disk that is always full")
			}
			t.Cleanup(func() { full.Close() })
			return full
		}},
	} {
		t.Run(row.rule, func(t *testing.T) {
			w := watch(t, fleetsim.Options{Workspaces: 4, Tenants: 1})
			port := freePort(t)
			w.alter(swap("127.0.0.1:0", port))
			m := w.breakable()[0]
			p := w.startWith(row.stderr(t))
			p.at = "http://" + port
			w.breaks(m)
			w.opens(m)
			w.passes(2)
			p.ready()
			p.stop()
		})
	}
}

func pipe(t *testing.T) (near, far *os.File) {
	t.Helper()
	near, far, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		near.Close()
		far.Close()
	})
	return near, far
}

// The proxy's log vanishes, or cannot be read: what it said before still
// accuses, and what it no longer says acquits nobody.
func TestDaemonWithoutTheProxyLog(t *testing.T) {
	t.Parallel()
	w := watch(t, fleetsim.Options{Workspaces: 8, Tenants: 1})
	i := 0
	for sample, _ := fleetsim.SampleOf("traffic_alone"); !sample.For(w.sim.Members[i]); i++ {
	}
	m := w.sim.Members[i]
	if err := w.sim.BreakAgo(m, "traffic_alone"); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.opens(m)
	hidden := w.sim.LogPath + ".hidden"
	if err := os.Rename(w.sim.LogPath, hidden); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		rule     string
		do, undo func() error
	}{
		{"it is not there", func() error { return nil }, func() error { return nil }},
		{"it cannot be read", func() error { return os.Mkdir(w.sim.LogPath, 0o700) }, func() error { return os.Remove(w.sim.LogPath) }},
	} {
		if err := row.do(); err != nil {
			t.Fatal(err)
		}
		if !awaits(patience, func() bool {
			accused := w.strings("SELECT id::text FROM states WHERE id::text = $1 AND (document->'traffic'->>'billed')::int > 0 AND document->'traffic'->>'blind_since' <> ''", m.Row.ID)
			others := w.strings("SELECT id::text FROM states WHERE desired_mode = 'byok' AND document->'traffic'->>'error' IS NULL AND id::text <> $1", m.Row.ID)
			return len(accused) == 1 && len(others) == 0
		}) {
			t.Errorf("%s: the documents do not say that traffic is not read: %v", row.rule, w.strings("SELECT coalesce((document->'traffic')::text, 'null') FROM states"))
		}
		w.passes(4) // longer than a drift settles
		w.opens(m)
		w.quiet(1)
		if err := row.undo(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(hidden, w.sim.LogPath); err != nil {
		t.Fatal(err)
	}
	w.passes(3)
	w.opens(m)
	w.mends(m) // a new container: what it has called since is nothing
	w.opens()
	w.quiet(2)
}
