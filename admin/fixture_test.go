package admin_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/molecule-ai/billing-reconciler/admin"
	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/localpg/pgtest"
	"github.com/molecule-ai/billing-reconciler/store"
	"github.com/molecule-ai/billing-reconciler/store/storetest"
)

func TestMain(m *testing.M) { pgtest.MainNoLeaks(m) }

// The tokens of the tests; the planted one is nobody's.
const (
	viewerToken   = "viewer-7f3a"
	operatorToken = "operator-91bd"
	ingestToken   = "ingest-c04e"
)

func sum(token string) [32]byte { return sha256.Sum256([]byte(token)) }

func tokens() []admin.Token {
	return []admin.Token{
		{Name: "dashboards", Role: admin.Viewer, Hash: sha256.Sum256([]byte(viewerToken))},
		{Name: "ops", Role: admin.Operator, Hash: sha256.Sum256([]byte(operatorToken))},
		{Name: "proxy", Role: admin.Ingest, Hash: sha256.Sum256([]byte(ingestToken))},
	}
}

func newStore(t testing.TB) *store.Store {
	t.Helper()
	url := storetest.Database(t)
	return openStore(t, url)
}

func openStore(t testing.TB, url string) *store.Store {
	t.Helper()
	s := storetest.Open(t, url, t.Name())
	return s
}

// served is a server that runs, and who asks it.
type served struct {
	t      testing.TB
	opts   admin.Options
	store  *store.Store
	server *admin.Server
	url    string
	token  string // sent where it is not empty
	log    *lines
	client *http.Client
	stop   func() error // ends it and waits
}

// lines is a log that may be read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// serve runs a server over a fresh database, with the tests' tokens, unless
// change says otherwise; requests are sent as ops.
func serve(t testing.TB, change ...func(*admin.Options)) *served {
	t.Helper()
	w := &served{t: t, log: &lines{}, token: operatorToken}
	opts := admin.Options{Tokens: tokens(), Version: "v1.2.3", SourceNames: func() []string { return []string{"acme", "reno-stars"} },
		Log: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, c := range change {
		c(&opts)
	}
	if opts.Store == nil {
		opts.Store = newStore(t)
	}
	w.opts, w.store = opts, opts.Store
	ln := listen(t, "127.0.0.1:0")
	w.url = "http://" + ln.Addr().String()
	w.run(ln)
	w.client = &http.Client{Transport: &http.Transport{}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(w.client.CloseIdleConnections)
	return w
}

func listen(t testing.TB, addr string) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// run serves on a listener until the test ends or stop is called.
func (w *served) run(ln net.Listener, change ...func(*admin.Server)) {
	w.t.Helper()
	server, err := admin.New(w.opts)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range change {
		c(server)
	}
	w.server = server
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, ln) }()
	w.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	w.t.Cleanup(func() {
		if err := w.stop(); err != nil {
			w.t.Errorf("serve: %v", err)
		}
	})
}

// reply is an answer, read to its end.
type reply struct {
	status int
	header http.Header
	body   string
}

// ask sends a request: "GET /path" or "POST /path {...}", and headers as
// "Name: value".
func (w *served) ask(what string, headers ...string) *reply {
	w.t.Helper()
	return w.send(w.request(what, headers...))
}

func (w *served) request(what string, headers ...string) *http.Request {
	w.t.Helper()
	method, rest, _ := strings.Cut(what, " ")
	path, body, _ := strings.Cut(rest, " ")
	if !strings.HasPrefix(path, "/healthz") && !strings.HasPrefix(path, "/readyz") && !strings.HasPrefix(path, "/metrics") && !strings.HasPrefix(path, "!") {
		path = "/api/v1" + path
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+strings.TrimPrefix(path, "!"), strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if w.token != "" {
		r.Header.Set("Authorization", "Bearer "+w.token)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
		}
		r.Header.Set(name, value)
	}
	return r
}

func (w *served) send(r *http.Request) *reply {
	w.t.Helper()
	answer, err := w.client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return &reply{answer.StatusCode, answer.Header, string(text)}
}

// as is the same server, asked with another token.
func (w *served) as(token string) *served {
	other := *w
	other.token = token
	return &other
}

// want holds an answer to a status; a refusal must be a problem document.
func (r *reply) want(t testing.TB, status int) *reply {
	t.Helper()
	if r.status != status {
		t.Fatalf("got status %d, want %d: %s", r.status, status, r.body)
	}
	if status < 400 {
		return r
	}
	var problem struct {
		Status        int
		Title, Detail string
	}
	if err := json.Unmarshal([]byte(r.body), &problem); err != nil || r.header.Get("Content-Type") != "application/problem+json" ||
		problem.Status != status || problem.Title == "" || problem.Detail == "" {
		t.Fatalf("status %d without a whole problem document (%s): %s", status, r.header.Get("Content-Type"), r.body)
	}
	return r
}

// says holds an answer to some words of it.
func (r *reply) says(t testing.TB, words ...string) *reply {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(r.body, word) {
			t.Fatalf("the answer lacks %q: %s", word, r.body)
		}
	}
	return r
}

func decode[T any](t testing.TB, r *reply) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.want(t, r.status).body), &v); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
	return v
}

// holder writes what passes would.
type holder struct {
	t      testing.TB
	store  *store.Store
	leases map[string]store.Lease
}

func newHolder(t testing.TB, s *store.Store, sources ...string) *holder {
	t.Helper()
	h := &holder{t, s, map[string]store.Lease{}}
	r := store.Replica{ID: uuid.NewString(), Name: "host-1", Version: "v1.2.3", StartedAt: time.Now()}
	kept, err := s.Keep(t.Context(), r, sources, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range kept.Leases {
		h.leases[l.Source] = l
	}
	return h
}

// workspace is one that a pass found; findings make it drifted.
func workspace(source string, n int, kinds ...drift.Kind) store.State {
	id := idOf(n)
	s := store.State{ID: id, Name: fmt.Sprintf("Agent %d", n), Status: "online", Verdict: drift.InSync, DesiredMode: drift.ModeBYOK, Observed: true,
		Document: json.RawMessage(fmt.Sprintf(`{"source":%q,"id":%q,"name":"Agent %d","observed":{"state":"observed","at":null,"mode":"byok"},"new_in_a_later_version":1}`, source, id, n)),
		Kinds:    []string{}, Overrides: []string{}}
	for _, k := range kinds {
		s.Verdict = drift.Drifted
		s.Kinds = append(s.Kinds, string(k))
	}
	hash := sum(fmt.Sprint(s))
	s.Digest = store.Digest(hash[:16])
	return s
}

func idOf(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

// pass writes a full look at a source at a time.
func (h *holder) pass(at time.Time, source string, states []store.State, more ...func(*store.Outcome)) store.Applied {
	h.t.Helper()
	o := &store.Outcome{Lease: h.leases[source], At: at, Took: 1500 * time.Millisecond, Full: true, Resolver: "r", States: states, Counts: map[drift.Verdict]int{}}
	for i := range states {
		o.Counts[states[i].Verdict]++
	}
	for _, m := range more {
		m(o)
	}
	applied, err := h.store.Apply(h.t.Context(), o)
	if err != nil {
		h.t.Fatal(err)
	}
	return applied
}

// opening is the episode of a workspace that drifted at a time.
func opening(at time.Time, source string, s *store.State) store.EpisodeChange {
	a := &drift.Alerting{}
	var findings []drift.Finding
	for _, k := range s.Kinds {
		findings = append(findings, drift.Finding{Kind: drift.Kind(k), Severity: drift.Critical, Summary: "it is wrong", Evidence: []string{"a fact"}})
	}
	e, events := a.Advance(nil, &drift.Sight{Source: source, Workspace: s.ID, Name: s.Name, At: at, Verdict: drift.Drifted, Seen: true, Findings: findings,
		Causes: []drift.Cause{{Code: "model_empty", Summary: "the model is empty"}}})
	return store.EpisodeChange{Episode: *e, Snapshot: store.Snapshot{Opened: s.Document, Latest: s.Document}, Events: events}
}
