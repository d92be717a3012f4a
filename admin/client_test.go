package admin_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/molecule-ai/billing-reconciler/admin"
	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// api is a client of the server.
func (w *served) api(t *testing.T) *admin.Client {
	t.Helper()
	return client(t, admin.ClientOptions{Server: w.url, Token: drift.Secret(w.token)})
}

func client(t *testing.T, opts admin.ClientOptions) *admin.Client {
	t.Helper()
	c, err := admin.NewClient(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestClientSpeaksAllOfIt(t *testing.T) {
	w, h, at := fleet(t)
	c, ctx := w.api(t), t.Context()
	if s := must[*admin.Status](t)(c.Status(ctx)); len(s.Sources) != 2 {
		t.Errorf("status: %+v", s)
	}
	one := must[*admin.WorkspaceName](t)(c.Find(ctx, "Agent 1", ""))
	if one.ID != idOf(1) || one.Source != "reno-stars" {
		t.Errorf("find: %+v", one)
	}
	if _, err := c.Find(ctx, "0000", ""); err == nil || !strings.Contains(err.Error(), "any of 3") || !strings.Contains(err.Error(), idOf(3)) {
		t.Errorf("an ambiguous term: %v", err)
	}
	if _, err := c.Find(ctx, "nobody", ""); err == nil {
		t.Error("a term of nobody's is found")
	}
	if doc := must[admin.Workspace](t)(c.Workspace(ctx, one.ID, one.Source)); !strings.Contains(string(doc), "Agent 1") {
		t.Errorf("workspace: %s", doc)
	}
	drifts := must[*admin.Drifts](t)(c.Drifts(ctx, admin.DriftQuery{Open: "true", Since: at, Kind: drift.ModeMismatch}))
	if len(drifts.Drifts) != 1 {
		t.Fatalf("drifts: %+v", drifts)
	}
	if d := must[*admin.DriftDetail](t)(c.Drift(ctx, drifts.Drifts[0].ID)); d.Workspace != one.ID {
		t.Errorf("drift: %+v", d)
	}
	if l := must[*store.Look](t)(c.Look(ctx, one.ID, "", "because")); l.Reason != "because" {
		t.Errorf("look: %+v", l)
	}
	scope := admin.ScopeRequest{Scope: store.ScopeSource, Source: "acme"}
	must[*store.Pause](t)(c.Pause(ctx, admin.PauseRequest{ScopeRequest: scope, Reason: "r", For: "2h"}))
	if p := must[*admin.Pauses](t)(c.Pauses(ctx)); len(p.Pauses) != 1 {
		t.Errorf("pauses: %+v", p)
	}
	if r := must[*admin.Resumed](t)(c.Resume(ctx, admin.ResumeRequest{ScopeRequest: scope})); !r.Resumed {
		t.Errorf("resume: %+v", r)
	}
	s := must[*store.Suppression](t)(c.Suppress(ctx, admin.SuppressRequest{Workspace: one.ID, Reason: "r", For: "1d"}))
	if all := must[*admin.Suppressions](t)(c.Suppressions(ctx, "reno-stars")); len(all.Suppressions) != 1 {
		t.Errorf("suppressions: %+v", all)
	}
	if err := c.Unsuppress(ctx, s.ID); err != nil {
		t.Error(err)
	}
	h.pass(at.Add(1), "acme", nil, func(o *store.Outcome) { o.Surge = "too much" })
	if err := c.Accept(ctx, "acme", "meant"); err != nil {
		t.Error(err)
	}
	events := must[*admin.Events](t)(c.Events(ctx, admin.EventQuery{EventFilter: admin.EventFilter{Kinds: []string{"paused", "resumed"}}, Order: "desc", Limit: 10}))
	if len(events.Events) != 2 || events.Events[0].Kind != drift.EventResumed {
		t.Errorf("events: %+v", events)
	}
}

func TestClientErrorsSayWhatToDo(t *testing.T) {
	w := serve(t)
	for rule, c := range map[string]struct {
		token, words string
		status       int
	}{
		"no token":    {"", "Authorization", 401},
		"a wrong one": {"guess", "admin.tokens", 401},
		"a viewer's":  {viewerToken, "role operator", 403},
	} {
		_, err := w.as(c.token).api(t).Pause(t.Context(), admin.PauseRequest{ScopeRequest: admin.ScopeRequest{Scope: store.ScopeAll}, Reason: "r"})
		var refused *admin.ProblemError
		if !errors.As(err, &refused) || refused.Status != c.status || !strings.Contains(err.Error(), c.words) || c.token != "" && strings.Contains(err.Error(), c.token) {
			t.Errorf("%s: got %v", rule, err)
		}
	}
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	if _, err := client(t, admin.ClientOptions{Server: other.URL}).Status(t.Context()); err == nil || !strings.Contains(err.Error(), "address of a reconciler") {
		t.Errorf("another server: got %v", err)
	}
	for _, server := range []string{"", "ftp://x", "http://", "http://u:p@x"} {
		if _, err := admin.NewClient(admin.ClientOptions{Server: server}); err == nil {
			t.Errorf("%q: taken", server)
		}
	}
}

// An answer that is lost on its way does not make a change happen twice.
func TestClientSendsAChangeAgainUnderItsKey(t *testing.T) {
	w, _, _ := fleet(t)
	var sent atomic.Int64
	lossy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		inner, err := http.NewRequestWithContext(r.Context(), r.Method, w.url+r.RequestURI, r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		inner.Header = r.Header.Clone()
		got := w.send(inner)
		if sent.Add(1) == 1 {
			conn, _, err := rw.(http.Hijacker).Hijack()
			if err == nil {
				err = conn.(*net.TCPConn).Close() // done, and nobody hears of it
			}
			if err != nil {
				t.Error(err)
			}
			return
		}
		rw.WriteHeader(got.status)
		_, _ = rw.Write([]byte(got.body))
	}))
	defer lossy.Close()
	s, err := client(t, admin.ClientOptions{Server: lossy.URL, Token: operatorToken}).Suppress(t.Context(), admin.SuppressRequest{Source: "acme", Reason: "r", For: "1h"})
	if err != nil || s.ID == 0 || sent.Load() != 2 {
		t.Fatalf("got %+v, %v after %d tries", s, err, sent.Load())
	}
	if all := decode[admin.Suppressions](t, w.ask("GET /suppressions")); len(all.Suppressions) != 1 {
		t.Errorf("got %d suppressions, want 1", len(all.Suppressions))
	}
}
