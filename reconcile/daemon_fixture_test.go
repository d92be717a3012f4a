package reconcile_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/metrics"
	"github.com/molecule-ai/billing-reconciler/reconcile"
	"github.com/molecule-ai/billing-reconciler/store"
	"github.com/molecule-ai/billing-reconciler/store/storetest"
)

// ws gives the id of the n-th workspace.
func ws(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

// site is a fleet in memory that daemons walk: its tenants, and what their
// containers say.
type site struct {
	testing.TB
	url string

	mu        sync.Mutex
	tenants   map[string][]string // workspaces by source
	drained   map[string]bool     // containers as in the incident
	addresses map[string][]string
	instances map[string]string // of workspaces that have another than i-<id>
	walks     map[string]int    // whole readings that have ended, by source
	reading   map[string]int    // that are under way
	overlaps  int
	read      func(ctx context.Context, source string)                // called for each whole reading; nil: nothing
	looked    func(ctx context.Context, targets []reconcile.Target)   // after the answers are there; nil: nothing
	resolve   func(w *drift.Workspace, d drift.Desired) drift.Desired // another registry; nil: the usual
	witness   reconcile.Witness                                       //
	attribute store.Attributor                                        // nil: no log is counted
	orphan    time.Duration                                           // how long an orphan is waited for; 0: two seconds
	change    func(*reconcile.World)                                  // of every world that is made
}

// newSite has n tenants of size workspaces, named t00 on.
func newSite(t testing.TB, n, size int) *site {
	t.Helper()
	s := &site{TB: t, tenants: map[string][]string{}, drained: map[string]bool{}, addresses: map[string][]string{}, instances: map[string]string{}, walks: map[string]int{}, reading: map[string]int{}}
	s.url = storetest.Database(t)
	for i := range n {
		for k := range size {
			name := fmt.Sprintf("t%02d", i)
			s.tenants[name] = append(s.tenants[name], ws(100*i+k))
		}
	}
	return s
}

// with changes the fleet.
func (s *site) with(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

type tenant struct {
	*site
	name string
}

func (t tenant) Workspaces(ctx context.Context, sel reconcile.Selection, yield func(*drift.Workspace) error) error {
	whole := len(sel.IDs) == 0
	t.mu.Lock()
	list, before, instances := slices.Clone(t.tenants[t.name]), t.read, maps.Clone(t.instances)
	if whole {
		if t.reading[t.name]++; t.reading[t.name] > 1 {
			t.overlaps++
		}
	}
	t.mu.Unlock()
	if whole {
		if before != nil {
			before(ctx, t.name)
		}
		defer t.with(func() { t.reading[t.name]--; t.walks[t.name]++ })
	}
	for _, id := range list {
		w := workspace(t.name, id)
		w.InstanceID = cmp.Or(instances[id], w.InstanceID)
		if !whole && !slices.Contains(sel.IDs, id) {
			continue
		}
		if err := yield(&w); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Observe implements reconcile.Observer.
func (s *site) Observe(ctx context.Context, _ drift.Key, targets []reconcile.Target) []drift.Observation {
	answers := make([]drift.Observation, len(targets))
	s.mu.Lock()
	for i, t := range targets {
		id := t.InstanceID[2:]
		if answers[i] = fine(s.addresses[id]...); s.drained[id] {
			answers[i] = drained(s.addresses[id]...)
		}
		answers[i].At = time.Now()
	}
	after := s.looked
	s.mu.Unlock()
	if after != nil {
		after(ctx, targets)
	}
	return answers
}

// registry is the usual resolver with another opinion.
type registry struct {
	resolver
	resolve func(w *drift.Workspace, d drift.Desired) drift.Desired
}

func (r registry) Desired(w *drift.Workspace) drift.Desired {
	d := r.resolver.Desired(w)
	if r.resolve != nil {
		d = r.resolve(w, d)
	}
	return d
}

// world is a configuration of all tenants, or of those named.
func (s *site) world(names ...string) *reconcile.World {
	s.Helper()
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(s.tenants))
	}
	p := pass(s)
	w := &reconcile.World{Resolver: registry{resolve: s.resolve}, ResolverID: "r1", Observer: s, Witness: s.witness, Policy: p.Policy,
		Limits: reconcile.Limits{Interval: 100 * time.Millisecond, PassTimeout: time.Minute, SourcesAtOnce: 2, Surge: drift.Surge{Percent: 20, AtLeast: 5}}}
	for _, name := range names {
		w.Sources = append(w.Sources, reconcile.Source{Name: name, Reader: tenant{s, name}})
	}
	if s.change != nil {
		s.change(w)
	}
	return w
}

// daemon is one replica that runs.
type daemon struct {
	*reconcile.Daemon
	db   *store.Store
	stop func() // and wait
}

func (s *site) start(w *reconcile.World) *daemon {
	s.Helper()
	db, err := store.Open(context.Background(), store.Options{URL: drift.Secret(s.url), Name: "daemon"})
	if err != nil {
		s.Fatal(err)
	}
	d := &daemon{db: db, Daemon: reconcile.New(reconcile.Options{Store: db, Replica: store.Replica{ID: uuid.NewString(), Name: "test", Version: "test", StartedAt: time.Now()},
		Metrics: metrics.New("test"), Log: slog.New(slog.DiscardHandler), World: w, OrphanAfter: cmp.Or(s.orphan, 2*time.Second), Attribute: s.attribute,
		Document: func(_ *drift.Policy, j *reconcile.Judged) json.RawMessage {
			text, _ := json.Marshal(map[string]any{"id": j.Workspace.ID, "verdict": j.Verdict, "reason": j.Reason})
			return text
		}})}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	d.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				s.Errorf("run: %v", err)
			}
		case <-time.After(20 * time.Second):
			s.Error("the daemon does not end")
		}
		db.Close()
	})
	s.Cleanup(d.stop)
	return d
}

// eventually waits until something holds.
func (s *site) eventually(what string, holds func() bool) {
	s.Helper()
	for end := time.Now().Add(40 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			s.Fatalf("it never came to be: %s", what)
		}
	}
}

// walked waits for n more whole readings of sources (all where none is named),
// and for one to be written.
func (s *site) walked(n int, names ...string) {
	s.Helper()
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(s.tenants))
	}
	s.mu.Lock()
	before := maps.Clone(s.walks)
	s.mu.Unlock()
	for _, name := range names {
		s.eventually("another pass over "+name, func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.walks[name] >= before[name]+n
		})
	}
}

// events gives what was told, oldest first, of some kinds.
func (s *site) events(db *store.Store, kinds ...drift.EventKind) []drift.Event {
	s.Helper()
	list, err := db.Events(context.Background(), store.EventFilter{Kinds: kinds, Limit: 1000})
	if err != nil {
		s.Fatal(err)
	}
	return list
}

// told counts events by kind.
func (s *site) told(db *store.Store) map[drift.EventKind]int {
	s.Helper()
	counts := map[drift.EventKind]int{}
	for _, e := range s.events(db) {
		counts[e.Kind]++
	}
	return counts
}

// sound wants the invariants to hold.
func (s *site) sound(db *store.Store) {
	s.Helper()
	broken, err := db.Invariants(context.Background())
	if err != nil {
		s.Fatal(err)
	}
	for _, b := range broken {
		s.Error(b)
	}
}

// another is a store beside the daemons'.
func (s *site) another() *store.Store {
	s.Helper()
	db, err := store.Open(context.Background(), store.Options{URL: drift.Secret(s.url), Name: "test"})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(db.Close)
	return db
}

// exec runs SQL past the store.
func (s *site) exec(sql string, args ...any) {
	s.Helper()
	c, err := pgx.Connect(context.Background(), s.url)
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()
	if _, err := c.Exec(context.Background(), sql, args...); err != nil {
		s.Fatal(err)
	}
}

// lastPass tells whether a pass over a source has been written.
func (s *site) lastPass(db *store.Store, source string) bool {
	state, err := db.Source(context.Background(), source)
	return err == nil && !state.LastPassAt.IsZero()
}
