package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
	"github.com/molecule-ai/billing-reconciler/internal/tcpfault"
	"github.com/molecule-ai/billing-reconciler/store"
)

// watched is a simulated fleet that daemons watch, each a process of its own,
// and a view of their database that passes by whatever stands between.
type watched struct {
	t       testing.TB
	sim     *fleetsim.Sim
	program string // to run
	text    string // of the configuration
	db      *pgxpool.Pool
	store   *store.Store
	runs    int // processes started
}

// watch makes a fleet of recorded machines, of which nothing is wrong, and a
// configuration that makes haste. Changes to its text come last.
func watch(t testing.TB, opts fleetsim.Options, changes ...change) *watched {
	t.Helper()
	opts.Recorded, opts.Listen = true, "127.0.0.1:0"
	if opts.Interval == 0 {
		opts.Interval = time.Second // the least that is allowed
	}
	w := &watched{t: t, sim: fleet(t, opts), program: filepath.Join(programDir(t), "reconciler")}
	text, err := os.ReadFile(w.sim.ConfigPath)
	if err != nil {
		t.Fatal(err)
	}
	w.text = string(text)
	w.look(w.sim.StateURL)
	w.alter(swap("alerting: {settle: 5s}", "alerting: {settle: 1s}\nlog: {level: debug}"), swap("observe:\n", "observe:\n  pass_timeout: 1m\n"), swap("  ssm: {", "  ssm: {gather: 0s, rate: 100, "))
	w.alter(changes...)
	return w
}

// look opens the view of the state database.
func (w *watched) look(at string) {
	w.t.Helper()
	var err error
	if w.db, err = pgxpool.New(w.t.Context(), at); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.db.Close)
	if w.store, err = store.Open(w.t.Context(), store.Options{URL: drift.Secret(at), Name: "test"}); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.store.Close)
}

// change alters the text of a configuration, or says what it misses there.
type change func(text string) (string, error)

func swap(from, to string) change {
	return func(text string) (string, error) {
		if !strings.Contains(text, from) {
			return "", fmt.Errorf("the configuration has no %q", from)
		}
		return strings.ReplaceAll(text, from, to), nil
	}
}

func (w *watched) alter(changes ...change) {
	w.t.Helper()
	for _, c := range changes {
		text, err := c(w.text)
		if err != nil {
			w.t.Fatal(err)
		}
		w.text = text
	}
}

// lead puts a faulty line between the daemons and the server that a URL of the
// configuration names.
func (w *watched) lead(through string) *tcpfault.Line {
	w.t.Helper()
	u, err := url.Parse(through)
	if err != nil {
		w.t.Fatal(err)
	}
	line, err := tcpfault.Open(w.t.Context(), u.Host)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := line.Close(); err != nil {
			w.t.Error(err)
		}
	})
	near := *u
	near.Host = line.Addr()
	w.alter(swap(through, near.String()))
	return line
}

// breakable lists the members that a fault can be put on.
func (w *watched) breakable() (list []*fleetsim.Member) {
	for _, m := range w.sim.Members {
		if faultFor(m) != "" {
			list = append(list, m)
		}
	}
	return list
}

// faultFor is a fault that makes sense for a member; "": none of these does.
func faultFor(m *fleetsim.Member) fleetsim.Fault {
	for _, f := range []fleetsim.Fault{"mode_says_disabled", "managed_says_byok"} {
		if sample, _ := fleetsim.SampleOf(f); sample.For(m) {
			return f
		}
	}
	return ""
}

func (w *watched) breaks(members ...*fleetsim.Member) {
	w.t.Helper()
	for _, m := range members {
		if err := w.sim.Break(m, faultFor(m)); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *watched) mends(members ...*fleetsim.Member) {
	w.t.Helper()
	for _, m := range members {
		if err := w.sim.Mend(m); err != nil {
			w.t.Fatal(err)
		}
	}
}

// ids lists those of members, sorted, as open drifts are listed.
func ids(members ...*fleetsim.Member) []string {
	list := []string{}
	for _, m := range members {
		list = append(list, m.Row.ID)
	}
	slices.Sort(list)
	return list
}

// open lists the workspaces with an open drift, sorted; nil: it could not be
// read.
func (w *watched) open() []string {
	return w.strings("SELECT workspace::text FROM drifts WHERE closed_at IS NULL ORDER BY 1")
}

// strings gives the texts that a query of the state database finds; nil: it has
// no such tables yet, or is not there.
func (w *watched) strings(sql string, args ...any) []string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	rows, err := w.db.Query(ctx, sql, args...)
	if err != nil {
		return nil
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil
	}
	return list
}

// events lists what was told of kinds that begin so, in order.
func (w *watched) events(kind string) []string {
	return w.strings("SELECT kind || ' ' || coalesce(workspace::text, source) FROM events WHERE kind LIKE $1 ORDER BY id", kind+"%")
}

// opens waits until exactly these members have an open drift.
func (w *watched) opens(members ...*fleetsim.Member) {
	w.t.Helper()
	want := ids(members...)
	if !awaits(patience, func() bool { return slices.Equal(w.open(), want) }) {
		w.t.Fatalf("open drifts (-want +got):\n%s", cmp.Diff(want, w.open()))
	}
}

// passes waits until every source, or those named, have been walked anew that
// often.
func (w *watched) passes(n int, sources ...string) {
	w.t.Helper()
	want := len(sources)
	if want == 0 {
		want = len(w.sim.Tenants)
	}
	for range n {
		since := w.now()
		var walked []string
		if !awaits(patience, func() bool {
			walked = w.strings("SELECT name FROM sources WHERE name <> '*' AND (cardinality($2::text[]) = 0 OR name = ANY($2)) AND last_pass_at > $1", since, orNone(sources))
			return len(walked) == want
		}) {
			w.t.Fatalf("only %v were walked since %s, want %d sources", walked, since, want)
		}
	}
}

func orNone(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (w *watched) now() (now time.Time) {
	w.t.Helper()
	if err := w.db.QueryRow(context.Background(), "SELECT clock_timestamp()").Scan(&now); err != nil {
		w.t.Fatal(err)
	}
	return now
}

// holds checks what must always hold: the store's own invariants, and that
// nobody was told of two openings of one workspace without an end between, or
// of an end without its opening.
func (w *watched) holds() {
	w.t.Helper()
	broken, err := w.store.Invariants(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, line := range broken {
		w.t.Error("invariant: " + line)
	}
	told := map[string]bool{}
	for _, line := range w.events("drift_") {
		kind, id, _ := strings.Cut(line, " ")
		switch {
		case kind == string(drift.EventDriftOpened) && told[id], kind == string(drift.EventDriftClosed) && !told[id]:
			w.t.Errorf("workspace %s: %s was told twice in a row:\n%s", id, kind, strings.Join(w.events("drift_"), "\n"))
		case kind == string(drift.EventDriftOpened):
			told[id] = true
		case kind == string(drift.EventDriftClosed):
			told[id] = false
		}
	}
	var now []string
	for id, open := range told {
		if open {
			now = append(now, id)
		}
	}
	slices.Sort(now)
	if diff := cmp.Diff(orNone(w.open()), orNone(now)); diff != "" {
		w.t.Errorf("open by the events, against the open drifts (-drifts +events):\n%s", diff)
	}
}

// bury makes the database believe that it has not heard of processes that are
// dead for longer than a lease lives: that wait is another test's.
func (w *watched) bury(p *replica) {
	w.t.Helper()
	if _, err := w.db.Exec(context.Background(), "UPDATE replicas SET seen_at = seen_at - interval '1 hour' WHERE name LIKE '%/' || $1", fmt.Sprint(p.pid())); err != nil {
		w.t.Fatal(err)
	}
}

// patience bounds every wait for what must come: long, because what is waited
// for is no promise of speed, and the machine may have others to serve.
const patience = 3 * time.Minute

// awaits waits until a condition holds; false: it did not in time.
func awaits(atMost time.Duration, condition func() bool) bool {
	deadline := time.Now().Add(atMost)
	for {
		if condition() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(20 * time.Millisecond)
	}
}
