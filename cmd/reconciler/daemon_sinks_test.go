package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
	"github.com/molecule-ai/billing-reconciler/notify"
)

// What must not be seen anywhere: the webhook's key and address, Slack's address.
const (
	plantedKey   = "PL4NT3D-k3y-of-the-hook"
	plantedHook  = "PL4NT3D-query"
	plantedSlack = "PL4NT3D-services"
)

// hook is a receiver of CloudEvents that kills the daemon that calls it, at some
// messages: half of them when they have arrived, half of them before.
type hook struct {
	*httptest.Server
	t      *testing.T
	mu     sync.Mutex
	bodies map[string]string // by id
	order  []string
	seen   int          // requests, those that count as lost on the way too
	victim *replica     // nil: nobody
	fatal  map[int]bool // requests, from 1; the even ones do not arrive
}

func newHook(t *testing.T, fatal ...int) *hook {
	t.Helper()
	h := &hook{t: t, bodies: map[string]string{}, fatal: map[int]bool{}}
	for _, n := range fatal {
		h.fatal[n] = true
	}
	h.Server = httptest.NewServer(http.HandlerFunc(h.take))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // cut on the way: it has not arrived
	}
	signer, err := standardwebhooks.NewWebhookRaw([]byte(plantedKey))
	if err != nil || signer.Verify(body, r.Header) != nil {
		h.t.Errorf("the signature does not hold: %v", r.Header)
	}
	id := r.Header.Get("webhook-id")
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen++
	if h.fatal[h.seen] && h.victim != nil {
		h.victim.kill()
		h.victim = nil
		if h.seen%2 == 0 {
			return // as if it had been killed before the message left
		}
	}
	if before, again := h.bodies[id]; again && before != string(body) {
		h.t.Errorf("message %s came again as another:\n%s\n%s", id, before, body)
	}
	h.bodies[id] = string(body)
	h.order = append(h.order, id)
	w.WriteHeader(http.StatusNoContent)
}

// kills names the process that the next fatal message ends; gone is when it is.
func (h *hook) kills(p *replica) (gone func() bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.victim = p
	return func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.victim != p
	}
}

// came lists the ids of all messages, doubles among them.
func (h *hook) came() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.order)
}

// tells gives the configuration sinks.
func tells(hookURL, slackURL string) change {
	return swap("alerting: {", fmt.Sprintf(`notify:
  - name: siem
    webhook: { url: "%s/in?token=%s", secret: %q }
  - name: people
    slack: { url: "%s/services/%s" }
alerting: {`, hookURL, plantedHook, plantedKey, slackURL, plantedSlack))
}

// Killed between a message and the note of it, again and again: everything that
// was committed arrives, what comes twice is the same, and one sink being dead
// all the while does not matter to the other. Nothing that comes out says where
// messages go or by which key.
func TestDaemonKilledWhileItTells(t *testing.T) {
	t.Parallel()
	fatal := []int{1, 2, 4}
	h := newHook(t, fatal...)
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://169.254.169.254/"+plantedSlack)
		w.WriteHeader(http.StatusFound)
		_, _ = fmt.Fprint(w, r.URL, plantedSlack)
	}))
	t.Cleanup(echo.Close)
	w := watch(t, fleetsim.Options{Workspaces: 16, Tenants: 2}, tells(h.URL, echo.URL))
	members := w.breakable()[:6]
	p := w.start().ready()
	if !awaits(patience, func() bool { return len(w.strings("SELECT name FROM sinks")) == 2 }) {
		t.Fatal("the sinks are not noted")
	}
	gone := h.kills(p)
	w.breaks(members...)
	for range fatal {
		if !awaits(patience, gone) {
			t.Fatal("nothing is told")
		}
		w.bury(p)
		w.strings("UPDATE sinks SET held_until = clock_timestamp() RETURNING name") // as if the claim's time had passed
		p = w.start()
		gone = h.kills(p)
	}
	w.opens(members...)
	w.mends(members[0])
	all := func() []string {
		return w.strings("SELECT (SELECT id FROM identity) || '.' || id FROM events ORDER BY id")
	}
	missing := func() []string {
		came := h.came()
		return slices.DeleteFunc(all(), func(id string) bool { return slices.Contains(came, id) })
	}
	closed := func() bool { return len(w.events("drift_closed")) > 0 }
	if !awaits(patience, func() bool { return closed() && len(missing()) == 0 }) {
		t.Errorf("never told: %v of %v", missing(), all())
	}
	if came := h.came(); len(came) > len(all())+len(fatal) {
		t.Errorf("%d messages of %d events and %d kills", len(came), len(all()), len(fatal))
	}
	if !awaits(patience, func() bool {
		n, _ := p.metric(`reconciler_notifications_total{result="error",sink="people"}`)
		return n > 0
	}) {
		t.Error("that the other is dead is not counted")
	}
	w.keepsToItself(p)
}

// keepsToItself looks for what was planted in all that comes out of a daemon.
func (w *watched) keepsToItself(p *replica) {
	w.t.Helper()
	var shown strings.Builder
	if exit := run(w.t.Context(), []string{"config", "show", "--config", p.config}, os.LookupEnv, &shown, &shown); exit != exitOK || !strings.Contains(shown.String(), "siem") {
		w.t.Errorf("config show: exit %d", exit)
	}
	out := map[string]string{"the log": p.said(), "config show": shown.String()}
	for _, path := range []string{"/metrics", "/readyz", "/api/v1/status", "/api/v1/events"} {
		_, out[path] = p.get(path)
	}
	for _, table := range w.strings("SELECT quote_ident(table_name) FROM information_schema.tables WHERE table_schema = 'public'") {
		out["table "+table] = strings.Join(w.strings("SELECT t::text FROM "+table+" t"), "\n")
	}
	if !strings.Contains(out["the log"], "sink not told") || !strings.Contains(out["table sinks"], "redirect") {
		w.t.Error("nothing failed: there is nothing to be careful about")
	}
	for name, text := range out {
		for _, secret := range []string{plantedKey, plantedHook, plantedSlack} {
			if strings.Contains(text, secret) {
				w.t.Errorf("%s holds %s", name, secret)
			}
		}
	}
}

// tried types `notify test`, and gives what came of it.
func tried(t *testing.T, config, sink string) (out, talk string, exit int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "reconciler.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr strings.Builder
	exit = run(t.Context(), []string{"notify", "test", sink, "--config", file}, func(string) (string, bool) { return "", false }, &stdout, &stderr)
	return stdout.String(), stderr.String(), exit
}

func TestNotifyTest(t *testing.T) {
	h := newHook(t)
	gone := httptest.NewServer(nil)
	gone.Close()
	text := fmt.Sprintf(`registry: r.yaml
sources: [{ name: reno, database: "postgres://x" }]
policy: { global_secrets: platform }
proxy: { endpoints: ["https://proxy.example"] }
notify:
  - { name: siem, webhook: { url: "%s/in?token=%s", secret: %q } }
  - slack: { url: "%s/services/%s" }
  - slack: { url: "%s/services/%s" }
  - { name: metadata, alertmanager: { url: "http://169.254.169.254" } }
`, h.URL, plantedHook, plantedKey, gone.URL, plantedSlack, gone.URL, plantedSlack)
	host := strings.ReplaceAll(strings.TrimPrefix(gone.URL, "http://"), ":", "-")
	for _, c := range []struct {
		rule, sink, out, talk string
		exit                  int
	}{
		{rule: "taken", sink: "siem", out: "siem: taken in"},
		{rule: "named by kind and host", sink: "slack-" + host, talk: "connection refused", exit: exitFailed},
		{rule: "the second of these by its place", sink: "slack-" + host + "-3", talk: "connection refused", exit: exitFailed},
		{rule: "link-local", sink: "metadata", talk: "allow_link_local", exit: exitFailed},
		{rule: "unknown", sink: "nobody", talk: "there are: siem, slack-" + host, exit: exitFailed},
	} {
		out, talk, exit := tried(t, text, c.sink)
		if !strings.Contains(out, c.out) || !strings.Contains(talk, c.talk) || exit != c.exit {
			t.Errorf("%s: exit %d, %q, %q", c.rule, exit, out, talk)
		}
		if strings.Contains(out+talk, "PL4NT3D") {
			t.Errorf("%s: a secret: %q, %q", c.rule, out, talk)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if body := h.bodies[h.order[0]]; !strings.Contains(body, notify.TypePrefix+"test") || !strings.Contains(body, string(drift.Low)) {
		t.Errorf("it does not say that it is a test: %s", body)
	}
}
