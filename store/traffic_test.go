package store_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// Whatever fails between, a line is counted once: the position decides.
func TestPositionsMoveWithTheCount(t *testing.T) {
	t.Parallel()
	r := newReplica(t, migrated(t), "a")
	at := recent()
	begin := from(call(at, "203.0.113.7"))
	begin.Moves = []store.Move{{Key: "h/1", From: store.NoPosition, To: 100, Detail: []byte(`{"path":"x"}`)}}
	r.counts(begin)
	for name, row := range map[string]struct {
		moves []store.Move
		want  error
	}{
		"given again":                  {begin.Moves, store.ErrMoved},
		"from where it does not stand": {[]store.Move{{Key: "h/1", From: 50, To: 200}}, store.ErrMoved},
		"one of two stands elsewhere":  {[]store.Move{{Key: "h/0", From: store.NoPosition, To: 7}, {Key: "h/1", From: 99, To: 200}}, store.ErrMoved},
		"of another that is not there": {[]store.Move{{Key: "h/2", From: 0, To: 1}}, store.ErrMoved},
	} {
		again := from(call(at, "203.0.113.7"))
		again.Moves = row.moves
		if _, err := r.Count(t.Context(), again, byTenure); !isErr(err, row.want) {
			t.Errorf("%s: %v, want %v", name, err, row.want)
		}
	}
	onward := from(call(at, "203.0.113.7"))
	onward.Moves = []store.Move{{Key: "h/1", From: 100, To: 200}}
	r.counts(onward)
	if diff := cmp.Diff([]string{"203.0.113.7 - 0 2"}, r.trafficRows()); diff != "" {
		t.Errorf("traffic (-want +got):\n%s", diff)
	}
	got, err := r.Positions(t.Context(), "file", "h/")
	r.must(err)
	if diff := cmp.Diff([]store.Position{{Key: "h/1", Offset: 200}}, got); diff != "" {
		t.Errorf("positions (-want +got):\n%s", diff)
	}
	gone := from()
	gone.Moves = []store.Move{{Key: "h/1", From: 200, To: store.NoPosition}}
	r.counts(gone)
	if got, _ = r.Positions(t.Context(), "file", ""); len(got) != 0 {
		t.Errorf("positions %v after the last was removed", got)
	}
}

func TestABatchIsCountedOnce(t *testing.T) {
	t.Parallel()
	r := newReplica(t, migrated(t), "a")
	batch := from(call(recent(), "203.0.113.7"))
	batch.ID = "7f"
	r.counts(batch)
	if _, err := r.Count(t.Context(), batch, byTenure); !isErr(err, store.ErrCounted) {
		t.Errorf("sent again: %v, want %v", err, store.ErrCounted)
	}
	elsewhere := *batch
	elsewhere.Input.Name = "push"
	r.counts(&elsewhere) // the id is the input's own
	if diff := cmp.Diff([]string{"203.0.113.7 - 0 2"}, r.trafficRows()); diff != "" {
		t.Errorf("traffic (-want +got):\n%s", diff)
	}
}

// holds lets a source's workspaces be seen: byok, each with an address since
// then.
func (r *replica) holds(l store.Lease, at time.Time, addresses map[int]string) {
	r.Helper()
	o := &store.Outcome{Lease: l, At: at, Holdings: map[string][]store.Holding{}}
	for n, address := range addresses {
		o.States = append(o.States, state(n, func(s *store.State) { s.DesiredMode = drift.ModeBYOK }))
		o.Holdings[ws(n)] = nil
		if address != "" {
			o.Holdings[ws(n)] = []store.Holding{{Workspace: ws(n), Address: netip.MustParseAddr(address), Since: at}}
		}
	}
	r.apply(o)
}

func TestABilledCallAsksForALook(t *testing.T) {
	t.Parallel()
	r := newReplica(t, migrated(t), "a")
	l := r.leaseOf(source)
	at := recent()
	r.holds(l, at.Add(-time.Hour), map[int]string{1: "203.0.113.1", 2: "203.0.113.2"})
	r.strings("UPDATE states SET desired_mode = 'platform_managed' WHERE id = '" + ws(2) + "' RETURNING name")
	rejected := call(at, "203.0.113.1")
	rejected.Billed, rejected.Rejected, rejected.LastBilled = 0, 1, time.Time{}
	if got := r.counts(from(rejected, call(at, "203.0.113.2"), call(at, "203.0.113.99"))); got.Asked != 0 || len(got.Guarded) != 0 {
		t.Errorf("asked for %d looks by what nobody minds: %v", got.Asked, got.Guarded)
	}
	got := r.counts(from(call(at.Add(time.Second), "203.0.113.1"), call(at, "203.0.113.1")))
	if got.Asked != 1 || !got.Guarded[store.Named{Source: source, Workspace: uuidOf(1)}] {
		t.Errorf("asked for %d looks, guarded %v", got.Asked, got.Guarded)
	}
	looks, err := r.Looks(t.Context(), []string{source})
	r.must(err)
	if len(looks) != 1 || looks[0].Workspace != ws(1) || !looks[0].HitAt.Equal(at) {
		t.Errorf("looks %+v, want one for the call at %s", looks, at)
	}
	r.must(r.DropLooks(t.Context(), l, []int64{looks[0].ID}))
	told := opened(1, 0)
	told.Findings = []drift.Finding{{Kind: drift.ProxyTraffic, Severity: drift.Critical}}
	r.apply(&store.Outcome{Lease: l, At: at, Episodes: []store.EpisodeChange{told}})
	if got := r.counts(from(call(at, "203.0.113.1"))); got.Asked != 0 || len(got.Guarded) != 1 {
		t.Errorf("asked for %d looks though a drift tells of it, guarded %v", got.Asked, got.Guarded)
	}
}

func TestCallsAreAttributedAnew(t *testing.T) {
	t.Parallel()
	r := newReplica(t, migrated(t), "a")
	l := r.leaseOf(source)
	at := recent()
	named := call(at, "203.0.113.50")
	named.Named = uuidOf(3)
	r.counts(from(call(at, "203.0.113.1"), call(at, "203.0.113.1"), call(at.Add(-30*time.Minute), "203.0.113.1"), named))
	r.holds(l, at.Add(-10*time.Minute), map[int]string{1: "203.0.113.1", 3: ""})
	moved, more, err := r.Reattribute(t.Context(), 24*time.Hour, byTenure)
	r.must(err)
	want := []string{"203.0.113.1 - 0 1", "203.0.113.1 acme/01 2 2", "203.0.113.50 acme/03 3 1"}
	if diff := cmp.Diff(want, r.trafficRows()); diff != "" || moved != 2 || more {
		t.Errorf("moved %d, more %t; traffic (-want +got):\n%s", moved, more, diff)
	}
	if looks, _ := r.Looks(t.Context(), []string{source}); len(looks) != 2 {
		t.Errorf("%d looks asked for, want one for each workspace", len(looks))
	}
	if moved, _, _ = r.Reattribute(t.Context(), 24*time.Hour, byTenure); moved != 0 {
		t.Errorf("moved %d again", moved)
	}
	r.holds(l, at.Add(time.Second), map[int]string{1: ""}) // it holds it no more: since then
	r.counts(from(call(at.Add(2*time.Second), "203.0.113.1")))
	if diff := cmp.Diff(append([]string{want[0], "203.0.113.1 - 0 1"}, want[1:]...), r.trafficRows()); diff != "" {
		t.Errorf("traffic (-want +got):\n%s", diff)
	}
}

// Of a row that began before the container did, no more than one call is sure to
// be of its present life.
func TestHearingCountsThePresentLife(t *testing.T) {
	t.Parallel()
	r := newReplica(t, migrated(t), "a")
	l := r.leaseOf(source)
	start := time.Now().UTC().Truncate(5 * time.Minute).Add(-time.Hour)
	r.holds(l, start.Add(-time.Hour), map[int]string{1: "203.0.113.1", 2: "203.0.113.2", 3: "203.0.113.3"})
	for name, row := range map[string]struct {
		calls []time.Duration // after the start of the life
		want  store.Heard
	}{
		"nothing":                {nil, store.Heard{}},
		"of the life before":     {[]time.Duration{-30 * time.Minute, -10 * time.Minute}, store.Heard{}},
		"within the grace":       {[]time.Duration{time.Minute}, store.Heard{Billed: 1, Unpriced: 1, First: start.Add(time.Minute), Last: start.Add(time.Minute)}},
		"past the grace":         {[]time.Duration{3 * time.Minute, 9 * time.Minute}, store.Heard{Billed: 2, PastGrace: 2, Unpriced: 2, First: start.Add(3 * time.Minute), Last: start.Add(9 * time.Minute)}},
		"a row across the grace": {[]time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute}, store.Heard{Billed: 3, PastGrace: 1, Unpriced: 3, First: start.Add(time.Minute), Last: start.Add(4 * time.Minute)}},
	} {
		t.Run(name, func(t *testing.T) {
			r.strings("DELETE FROM traffic RETURNING 1::text")
			var calls []store.Calls
			for _, d := range row.calls {
				calls = append(calls, call(start.Add(d), "203.0.113.1"))
			}
			r.counts(from(calls...))
			heard, err := r.Hear(t.Context(), source, []store.Listener{{Workspace: ws(1), Since: start}, {Workspace: ws(2), Since: start}}, nil, 2*time.Minute)
			r.must(err)
			if diff := cmp.Diff(row.want, heard[ws(1)]); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if heard[ws(2)] != (store.Heard{}) {
				t.Errorf("another heard %+v", heard[ws(2)])
			}
		})
	}
	t.Run("a row across the start", func(t *testing.T) {
		r.strings("DELETE FROM traffic RETURNING 1::text")
		life := start.Add(2 * time.Minute)
		r.counts(from(call(start.Add(time.Minute), "203.0.113.1"), call(start.Add(3*time.Minute), "203.0.113.1"), call(start.Add(4*time.Minute+time.Second), "203.0.113.1")))
		heard, err := r.Hear(t.Context(), source, []store.Listener{{Workspace: ws(1), Since: life}}, nil, 2*time.Minute)
		r.must(err)
		if h := heard[ws(1)]; h.Billed != 1 || h.PastGrace != 1 || !h.First.Equal(life) {
			t.Errorf("%+v, want one call, past the grace, from the start on", h)
		}
	})
	t.Run("named, from elsewhere", func(t *testing.T) {
		r.strings("DELETE FROM traffic RETURNING 1::text")
		home, away := call(start.Add(10*time.Minute), "203.0.113.1"), call(start.Add(10*time.Minute), "198.51.100.9")
		home.Named, away.Named = uuidOf(1), uuidOf(1)
		r.counts(from(home, away))
		heard, err := r.Hear(t.Context(), source, []store.Listener{{Workspace: ws(1), Since: start}}, nil, 2*time.Minute)
		r.must(err)
		if h := heard[ws(1)]; h.Billed != 2 || h.Named != 2 || h.Elsewhere != 1 {
			t.Errorf("%+v, want two named, one of them from elsewhere", h)
		}
	})
}

func TestRollupLosesNoCall(t *testing.T) {
	t.Parallel()
	r := newReplica(t, migrated(t), "a")
	fleet := r.leaseOf(store.Fleet)
	now := time.Now().UTC().Truncate(24 * time.Hour)
	var calls []store.Calls
	for i := range 24 * 12 * 3 { // three days of buckets
		calls = append(calls, call(now.Add(-time.Duration(i)*5*time.Minute), fmt.Sprintf("203.0.113.%d", i%3)))
	}
	r.counts(from(calls...))
	for more := true; more; {
		var err error
		_, more, err = r.Rollup(t.Context(), fleet, 24*time.Hour, 48*time.Hour)
		r.must(err)
	}
	got := r.strings("SELECT format('%s %s', count(*) < 24 * 12 + 24 * 3 * 3 + 3 * 3 + 20, sum(billed)) FROM traffic")
	if want := fmt.Sprintf("t %d", len(calls)); len(got) != 1 || got[0] != want {
		t.Errorf("after adding up: %v, want %q", got, want)
	}
	if bad := r.strings("SELECT bucket::text FROM traffic WHERE bucket > first_at OR bucket + interval '1 day' <= last_at"); len(bad) > 0 {
		t.Errorf("rows outside their bucket: %v", bad)
	}
}

func TestCallsOfNobodyAreTold(t *testing.T) {
	t.Parallel()
	r := newReplica(t, migrated(t), "a")
	fleet := r.leaseOf(store.Fleet)
	alarm := store.StrayAlarm{Above: 1, Within: time.Hour}
	watch := func() (kinds []drift.EventKind) {
		t.Helper()
		_, events, err := r.WatchStrays(context.Background(), fleet, alarm)
		r.must(err)
		for _, e := range events {
			kinds = append(kinds, e.Kind)
		}
		return kinds
	}
	at := recent()
	r.counts(from(call(at, "203.0.113.1")))
	if got := watch(); got != nil {
		t.Errorf("told %v of one call", got)
	}
	r.counts(from(call(at, "203.0.113.2")))
	alarm.Settle = 10 * time.Minute
	if got := watch(); got != nil {
		t.Errorf("told %v of calls whose address may be learned yet", got)
	}
	alarm.Settle = 0
	if got := watch(); len(got) != 1 || got[0] != drift.EventUnattributed {
		t.Errorf("told %v of two", got)
	}
	if got := watch(); got != nil {
		t.Errorf("told %v again", got)
	}
	alarm.Above = 2
	if got := watch(); len(got) != 1 || got[0] != drift.EventUnattributedOver {
		t.Errorf("told %v when they are allowed", got)
	}
}

// Whose calls are is decided while nobody learns who holds an address: who
// counts waits for what is being learned.
func TestCountingWaitsForWhatIsBeingLearned(t *testing.T) {
	r, _ := one(t)
	learning := conn(t, r.url)
	tx, err := learning.Begin(t.Context())
	r.must(err)
	_, err = tx.Exec(t.Context(), "SELECT pg_advisory_xact_lock(x'7265636e'::int, 2)")
	r.must(err)
	_, err = tx.Exec(t.Context(), "INSERT INTO holdings (source, workspace, address, during, exclusive) VALUES ($1, $2::uuid, '203.0.113.7', tstzrange($3, NULL), true)", source, ws(1), t0)
	r.must(err)
	counted := make(chan store.Counted, 1)
	go func() {
		c, err := r.Count(context.Background(), from(call(recent(), "203.0.113.7")), byTenure)
		if err != nil {
			t.Error(err)
		}
		counted <- c
	}()
	eventually(t, "the count waits, or is over", func() bool {
		return len(counted) > 0 || len(r.strings("SELECT 'x' FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")) > 0
	})
	r.must(tx.Commit(t.Context()))
	diff(t, []store.Owner{{Kind: store.ByAddress, Source: source, Workspace: uuidOf(1)}}, (<-counted).Owners)
}
