package store_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/localpg/pgtest"
	"github.com/molecule-ai/billing-reconciler/store"
	"github.com/molecule-ai/billing-reconciler/store/storetest"
)

func TestMain(m *testing.M) { pgtest.MainNoLeaks(m) }

const (
	source = "acme"
	ttl    = 15 * time.Second
)

var (
	t0   = time.Date(2026, 5, 28, 18, 0, 0, 0, time.UTC)
	same = cmp.Options{cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })}
)

// ws gives the id of the n-th workspace.
func ws(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

// min0 gives the n-th minute of the tests' time.
func min0(n int) time.Time { return t0.Add(time.Duration(n) * time.Minute) }

func migrated(t testing.TB) string {
	t.Helper()
	return storetest.Database(t)
}

func open(t testing.TB, url string) *store.Store {
	t.Helper()
	s := storetest.Open(t, url, t.Name())
	return s
}

// replica is a store with a heartbeat, as a daemon is one.
type replica struct {
	*store.Store
	testing.TB
	url string
	me  store.Replica
}

func newReplica(t testing.TB, url, name string) *replica {
	t.Helper()
	return &replica{open(t, url), t, url, store.Replica{ID: uuid.NewString(), Name: name, Version: "test", StartedAt: t0}}
}

func (r *replica) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *replica) keep(want ...string) store.Keeping {
	r.Helper()
	k, err := r.Keep(r.Context(), r.me, want, ttl)
	r.must(err)
	return k
}

// one gives a fresh database with one replica that holds a lease of source.
func one(t testing.TB) (*replica, store.Lease) {
	t.Helper()
	r := newReplica(t, migrated(t), "one")
	return r, r.keep(source).Leases[0]
}

func (r *replica) apply(o *store.Outcome) store.Applied {
	r.Helper()
	a, err := r.Apply(r.Context(), o)
	r.must(err)
	return a
}

func (r *replica) load(l store.Lease) *store.Known {
	r.Helper()
	k, err := r.Load(r.Context(), l)
	r.must(err)
	return k
}

func (r *replica) sound() {
	r.Helper()
	broken, err := r.Invariants(r.Context())
	r.must(err)
	for _, b := range broken {
		r.Error(b)
	}
}

// state is a state of a workspace, with a digest of its own.
func state(n int, change func(*store.State)) store.State {
	s := store.State{ID: ws(n), Name: fmt.Sprintf("Agent %d", n), Status: "online", Verdict: drift.InSync, Kinds: []string{}, DesiredMode: drift.ModeBYOK,
		Observed: true, Document: json.RawMessage(fmt.Sprintf(`{"source": "acme", "id": %q}`, ws(n)))}
	if change != nil {
		change(&s)
	}
	sum := sha256.Sum256(fmt.Append(nil, s))
	copy(s.Digest[:], sum[:])
	return s
}

func drifted(s *store.State) { s.Verdict, s.Kinds = drift.Drifted, []string{"mode_mismatch"} }

// pass is a whole pass over source, at a minute.
func pass(l store.Lease, at int, change func(*store.Outcome)) *store.Outcome {
	o := &store.Outcome{Lease: l, At: min0(at), Took: time.Second, Full: true, Resolver: "r1", Counts: map[drift.Verdict]int{drift.InSync: 1}}
	if change != nil {
		change(o)
	}
	return o
}

// opened is a new drift of a workspace that is told of.
func opened(n, at int) store.EpisodeChange {
	e := drift.Episode{Source: source, Workspace: ws(n), Name: fmt.Sprintf("Agent %d", n), OpenedAt: min0(at), FirstEvidence: min0(at - 1), Severity: drift.Critical,
		Findings:    []drift.Finding{{Kind: drift.ModeMismatch, Severity: drift.Critical, Summary: "the platform pays", Evidence: []string{"a", "b"}, Remediable: true}},
		Causes:      []drift.Cause{{Code: drift.ModelEmpty, Summary: "no model"}},
		AnnouncedAt: min0(at), Announced: drift.Critical}
	return store.EpisodeChange{Episode: e, Snapshot: store.Snapshot{Opened: json.RawMessage(`{"at": "the opening"}`)},
		Events: []drift.Event{{At: min0(at), Kind: drift.EventDriftOpened, Severity: drift.Critical, Source: source, Workspace: ws(n), Name: e.Name, Summary: "opened"}}}
}

// closed is its end.
func closed(e drift.Episode, at int) store.EpisodeChange {
	e.ClosedAt, e.Result, e.LastSeenAt = min0(at), drift.Resolved, min0(at-1)
	return store.EpisodeChange{Episode: e, Events: []drift.Event{{At: min0(at), Kind: drift.EventDriftClosed, Severity: e.Severity, Source: source, Workspace: e.Workspace, Name: e.Name, Summary: "closed"}}}
}

// conn is a connection past the store, to look and to disturb.
func conn(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec // TEST_DATABASE_URL may lead through a pooler
	c, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// eventually waits until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never came to be: %s", what)
		}
	}
}

func diff(t testing.TB, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got, same); d != "" {
		t.Error(d)
	}
}

func collectText(rows pgx.Rows) ([]string, error) { return pgx.CollectRows(rows, pgx.RowTo[string]) }

// serverDir is a directory that the server's user can reach; TempDir's is not.
func serverDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "store-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
