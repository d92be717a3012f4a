package reconcile_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
	"github.com/molecule-ai/billing-reconciler/store"
)

// floods writes n events at once, and gives the number of the last of all.
func (s *site) floods(db *store.Store, n int, severity drift.Severity) (last int64) {
	s.Helper()
	s.exec(`INSERT INTO events (at, kind, severity, source, name, summary, by)
		SELECT clock_timestamp(), 'of_tomorrow', $2, 't00', 'n' || n, 'flood', '' FROM generate_series(1, $1::int) n`, n, string(severity))
	s.exec("SELECT pg_notify('reconciler_event', '0')")
	last, err := db.LastEvent(context.Background())
	if err != nil {
		s.Fatal(err)
	}
	return last
}

// number gives what a query finds.
func (s *site) number(sql string, args ...any) (n int64) {
	s.Helper()
	c, err := pgx.Connect(context.Background(), s.url)
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()
	if err := c.QueryRow(context.Background(), sql, args...).Scan(&n); err != nil {
		s.Fatal(err)
	}
	return n
}

// upTo are all numbers from the first to the last.
func upTo(first, last int64) (list []int64) {
	for n := first; n <= last; n++ {
		list = append(list, n)
	}
	return list
}

// What a sink does not want may be any number of events behind the one that it
// does not take: they wait with it, instead of being listed in its row.
func TestTheRowOfADeadSinkStaysSmall(t *testing.T) {
	t.Parallel()
	e := &ear{answer: dead}
	severe := sinkOf("severe", e)
	severe.Least = drift.High
	s := telling(t, severe)
	db := s.another()
	s.start(s.world())
	s.knows(db, "severe")
	s.exec("CREATE FUNCTION hurry() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.next_at = clock_timestamp(); RETURN NEW; END $$")
	s.exec("CREATE TRIGGER hurry BEFORE UPDATE ON sinks FOR EACH ROW EXECUTE FUNCTION hurry()")
	first := s.floods(db, 1, drift.Critical)
	s.floods(db, 5000, "")
	second := s.floods(db, 1, drift.High)
	before := e.tries()
	s.eventually("it is tried often", func() bool { return e.tries() > before+8 })
	if n := s.number("SELECT cardinality(told) FROM sinks"); n > 1000 {
		t.Errorf("%d numbers are in its row", n)
	}
	e.obey(nil)
	s.eventually("it is done with all", func() bool { return s.sinks(db)[0].Waiting == 0 })
	if diff := cmp.Diff([]int64{first, second}, e.events()); diff != "" {
		t.Error(diff)
	}
}

// A sink that takes its time has a thousand events before it when its address
// changes: the rest of them goes to the new one.
func TestAReloadEndsAClaimInItsMiddle(t *testing.T) {
	t.Parallel()
	heard := make(chan struct{}, 1000)
	old, next := &ear{}, &ear{}
	old.after = func([]drift.News) { heard <- struct{}{}; time.Sleep(20 * time.Millisecond) }
	s := telling(t, sinkOf("a", old))
	db := s.another()
	d := s.start(s.world())
	s.knows(db, "a")
	last := s.floods(db, 500, "")
	<-heard
	s.change = func(w *reconcile.World) { w.Sinks = []reconcile.Sink{sinkOf("a", next)} }
	d.Use(s.world())
	s.eventually("all is heard", func() bool { return len(old.events())+len(next.events()) >= int(last) })
	if diff := cmp.Diff(upTo(1, last), slices.Concat(old.events(), next.events())); diff != "" {
		t.Error(diff)
	}
	if n := len(next.events()); n < 250 {
		t.Errorf("the new one heard %d of %d", n, last)
	}
}

// What is kept may be more than is said in one message's time: it is said in
// parts, and the claim is renewed from one to the next.
func TestAllThatStandsIsKeptInParts(t *testing.T) {
	t.Parallel()
	const open = 2500
	s := newSite(t, 0, 0)
	var mu sync.Mutex
	var claims []int64
	e := &keeper{}
	e.keeping = func() {
		mu.Lock()
		defer mu.Unlock()
		claims = append(claims, s.number("SELECT (extract(epoch FROM held_until) * 1e6)::bigint FROM sinks"))
	}
	k := sinkOf("a", e)
	k.Keep = time.Hour
	s.change = func(w *reconcile.World) { w.Sinks = []reconcile.Sink{k} }
	db := s.another()
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.standing(open)
	s.start(s.world())
	s.eventually("it is kept", func() bool { return s.number("SELECT count(*) FROM sinks WHERE kept_at IS NOT NULL") == 1 })
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []string
	for _, part := range e.kept {
		if len(part) > 250 {
			t.Errorf("a part of %d", len(part))
		}
		for _, n := range part {
			all = append(all, n.Workspace)
		}
	}
	slices.Sort(all)
	if len(slices.Compact(all)) != open || len(e.kept) < 10 {
		t.Errorf("%d are kept in %d parts", len(all), len(e.kept))
	}
	if !slices.IsSorted(claims) || len(slices.Compact(claims)) != len(e.kept) {
		t.Errorf("the claim ran until %v", claims)
	}
}

// What is new is told when it is, also where what stands has just been kept.
func TestKeepingDelaysNoNews(t *testing.T) {
	t.Parallel()
	var took []time.Duration
	for range 3 {
		e := &keeper{}
		k := sinkOf("a", e)
		k.Keep = time.Hour
		s := newSite(t, 0, 0)
		s.change = func(w *reconcile.World) { w.Sinks = []reconcile.Sink{k} }
		db := s.another()
		d := s.start(s.world())
		s.eventually("it is kept", func() bool {
			return len(s.sinks(db)) == 1 && s.number("SELECT count(*) FROM sinks WHERE kept_at IS NOT NULL") == 1
		})
		begun := time.Now()
		s.hears(&e.ear, s.happens(db, 1))
		took = append(took, time.Since(begun))
		d.stop()
	}
	if best := slices.Min(took); best > 2*time.Second { // it asks anew every five, told or not
		t.Errorf("told after %v", took)
	}
}

// standing opens so many drifts of which was told.
func (s *site) standing(n int) {
	s.Helper()
	s.exec(`INSERT INTO drifts (source, workspace, name, opened_at, first_evidence, result, severity, kinds, severities, findings, causes, announced_at, announced, reminders)
		SELECT 't00', ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'n' || n, now(), now(), '', 'high', '{mode_mismatch}', '{high}', '[]', '[]', now(), 'high', 0
		FROM generate_series(1, $1::int) n`, n)
}
