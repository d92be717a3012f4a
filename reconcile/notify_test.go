package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
	"github.com/molecule-ai/billing-reconciler/store"
)

// ear is a sink that keeps what it hears, and answers as it is told.
type ear struct {
	mu     sync.Mutex
	heard  [][]drift.News // messages that were taken
	tried  int
	origin string
	kept   [][]drift.News
	answer func(try int, message []drift.News) error // nil: all is taken
	after  func(message []drift.News)                // what happens between a message and the note of it
}

func (e *ear) Divide(_ time.Time, news []drift.News) (messages [][]drift.News) {
	for i := range news {
		messages = append(messages, news[i:i+1])
	}
	return messages
}

func (e *ear) Post(ctx context.Context, origin string, message []drift.News) error {
	e.mu.Lock()
	e.tried++
	answer, after, try := e.answer, e.after, e.tried
	e.mu.Unlock()
	if answer != nil {
		if err := answer(try, message); err != nil {
			return err
		}
	}
	e.mu.Lock()
	e.heard, e.origin = append(e.heard, message), origin
	e.mu.Unlock()
	if after != nil {
		after(message)
	}
	return ctx.Err()
}

func (e *ear) obey(answer func(try int, message []drift.News) error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answer = answer
}

// events lists the numbers that it heard.
func (e *ear) events() (list []int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, m := range e.heard {
		for _, n := range m {
			list = append(list, n.ID)
		}
	}
	return list
}

func (e *ear) tries() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tried
}

// keeper is an ear that has to hear what stands.
type keeper struct {
	ear
	keeping func() // called for each part that it hears; nil: nothing
}

func (e *keeper) Keep(_ context.Context, _ string, standing []drift.News) error {
	if e.keeping != nil {
		e.keeping()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kept = append(e.kept, standing)
	return nil
}

// answered is an error as a Notifier gives it.
type answered struct {
	refused bool
	after   time.Duration
}

func (a answered) Error() string             { return "post to x.test: no" }
func (a answered) Refused() bool             { return a.refused }
func (a answered) RetryAfter() time.Duration { return a.after }

var errDead = errors.New("post to x.test: connection refused")

func dead(int, []drift.News) error { return errDead }

// telling is a site without tenants whose daemons tell some sinks.
func telling(t *testing.T, sinks ...reconcile.Sink) *site {
	t.Helper()
	s := newSite(t, 0, 0)
	s.change = func(w *reconcile.World) { w.Sinks = slices.Clone(sinks) }
	return s
}

func sinkOf(name string, n reconcile.Notifier) reconcile.Sink {
	return reconcile.Sink{Name: name, Kind: "webhook", Least: drift.Low, Backoff: time.Millisecond, Notifier: n}
}

// knows waits until the sinks are noted: what happens from now on is told.
func (s *site) knows(db *store.Store, names ...string) {
	s.Helper()
	s.eventually("the sinks are noted", func() bool { return len(s.sinks(db)) == len(names) })
}

func (s *site) sinks(db *store.Store) []store.Sink {
	s.Helper()
	list, err := db.Sinks(context.Background())
	if err != nil {
		s.Fatal(err)
	}
	return list
}

// happens writes n events, and gives the numbers of all so far.
func (s *site) happens(db *store.Store, n int) (all []int64) {
	s.Helper()
	for range n {
		_, err := db.Suppress(context.Background(), store.Suppression{Source: "t00", Reason: "r", By: "b", ExpiresAt: time.Now().Add(time.Hour)})
		if err != nil {
			s.Fatal(err)
		}
	}
	for _, e := range s.events(db) {
		all = append(all, e.ID)
	}
	return all
}

func (s *site) hears(e *ear, want []int64) {
	s.Helper()
	s.eventually(fmt.Sprintf("all of %v is heard", want), func() bool {
		heard := e.events()
		return !slices.ContainsFunc(want, func(id int64) bool { return !slices.Contains(heard, id) })
	})
}

func TestADeadSinkHoldsUpNoOther(t *testing.T) {
	a, b := &ear{answer: dead}, &ear{}
	s := telling(t, sinkOf("a", a), sinkOf("b", b))
	db := s.another()
	s.start(s.world())
	s.knows(db, "a", "b")
	all := s.happens(db, 5)
	s.hears(b, all)
	s.eventually("the dead one is tried again", func() bool { return a.tries() > 3 })
	if got := a.events(); len(got) > 0 {
		t.Errorf("it heard %v", got)
	}
	if k := s.sinks(db)[0]; k.Err != errDead.Error() || k.FailingSince.IsZero() || k.Waiting != 5 {
		t.Errorf("%+v", k)
	}
	a.obey(nil)
	s.hears(a, all)
	for name, e := range map[string]*ear{"a": a, "b": b} {
		if diff := cmp.Diff(all, e.events()); diff != "" { // in order, and once
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// One that hangs is waited for by nobody but its own courier.
func TestASinkThatHangsHoldsUpNoOther(t *testing.T) {
	released := make(chan struct{})
	a, b := &ear{answer: func(int, []drift.News) error { <-released; return errDead }}, &ear{}
	s := telling(t, sinkOf("a", a), sinkOf("b", b))
	db := s.another()
	d := s.start(s.world())
	s.knows(db, "a", "b")
	s.hears(b, s.happens(db, 3))
	d.Use(s.world()) // a reload does not wait either
	s.hears(b, s.happens(db, 3))
	close(released)
}

func TestTwoReplicasTellOnce(t *testing.T) {
	e := &ear{}
	s := telling(t, sinkOf("a", e))
	db := s.another()
	s.start(s.world())
	s.start(s.world())
	s.knows(db, "a")
	var all []int64
	for range 10 {
		all = s.happens(db, 5)
	}
	s.hears(e, all)
	if diff := cmp.Diff(all, e.events()); diff != "" {
		t.Error(diff)
	}
}

// What ends between a message and the note of it is told again, by the same
// numbers, and nothing else is lost.
func TestADoubleIsTheSameAndNothingIsLost(t *testing.T) {
	e := &ear{}
	s := telling(t, sinkOf("a", e))
	db := s.another()
	var once sync.Once
	e.after = func([]drift.News) {
		once.Do(func() { s.exec("UPDATE sinks SET token = nextval('lease_tokens'), held_until = clock_timestamp()") }) // as another replica does that takes over
	}
	s.start(s.world())
	s.knows(db, "a")
	all := s.happens(db, 3)
	s.hears(e, all)
	got := e.events()
	if len(got) != len(all)+1 || got[0] != got[1] {
		t.Errorf("heard %v, want the first of %v twice and the others once", got, all)
	}
	if e.origin == "" {
		t.Error("the numbers are nobody's")
	}
}

func TestARefusedMessageIsPassedOverAfterSomeTries(t *testing.T) {
	e := &ear{}
	s := telling(t, sinkOf("a", e))
	db := s.another()
	var bad int64
	e.obey(func(_ int, m []drift.News) error {
		if bad == 0 {
			bad = m[0].ID
		}
		if m[0].ID == bad {
			return answered{refused: true}
		}
		return nil
	})
	s.start(s.world())
	s.knows(db, "a")
	all := s.happens(db, 3)
	s.hears(e, all[1:])
	s.eventually("it is noted", func() bool { k := s.sinks(db)[0]; return k.Waiting == 0 })
	if k := s.sinks(db)[0]; k.Dropped != 1 || k.Err != "" || e.tries() != 8+2 {
		t.Errorf("%d tries, %+v", e.tries(), k)
	}
	if diff := cmp.Diff(all[1:], e.events()); diff != "" {
		t.Error(diff)
	}
}

// Not taken is not refused: it is tried for ever.
func TestAMessageThatIsOnlyNotTakenIsNeverPassedOver(t *testing.T) {
	e := &ear{answer: func(try int, _ []drift.News) error {
		if try <= 20 {
			return answered{}
		}
		return nil
	}}
	s := telling(t, reconcile.Sink{Name: "a", Kind: "webhook", Backoff: time.Nanosecond, Notifier: e})
	db := s.another()
	s.start(s.world())
	s.knows(db, "a")
	s.exec("CREATE FUNCTION hurry() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.next_at = clock_timestamp(); RETURN NEW; END $$")
	s.exec("CREATE TRIGGER hurry BEFORE UPDATE ON sinks FOR EACH ROW EXECUTE FUNCTION hurry()")
	all := s.happens(db, 2)
	s.hears(e, all)
	if k := s.sinks(db)[0]; k.Dropped != 0 {
		t.Errorf("%+v", k)
	}
}

func TestRetryAfterIsHonouredAcrossRestarts(t *testing.T) {
	e := &ear{answer: func(int, []drift.News) error { return answered{after: 20 * time.Minute} }}
	s := telling(t, sinkOf("a", e))
	db := s.another()
	d := s.start(s.world())
	s.knows(db, "a")
	before := time.Now()
	s.happens(db, 1)
	s.eventually("it is refused", func() bool { return s.sinks(db)[0].Tries == 1 })
	d.stop()
	e.obey(nil)
	s.start(s.world())
	s.happens(db, 1)
	s.eventually("the other runs", func() bool {
		r, err := db.Replicas(context.Background(), time.Minute)
		return err == nil && len(r) == 1
	})
	if k := s.sinks(db)[0]; k.NextAt.Before(before.Add(20*time.Minute)) || len(e.events()) > 0 {
		t.Errorf("%+v", k)
	}
	s.exec("UPDATE sinks SET next_at = clock_timestamp()")
	s.hears(e, s.happens(db, 0))
}

func TestASinkHearsNothingBelowWhatItWants(t *testing.T) {
	all, severe := &ear{}, &ear{}
	high := sinkOf("severe", severe)
	high.Least = drift.High
	s := telling(t, sinkOf("all", all), high)
	db := s.another()
	s.start(s.world())
	s.knows(db, "all", "severe")
	s.hears(all, s.happens(db, 3)) // of no severity
	s.eventually("the others are done with", func() bool { return s.sinks(db)[1].Waiting == 0 })
	if got := severe.events(); len(got) > 0 {
		t.Errorf("it heard %v", got)
	}
}

// An opened drift, its end, and what stands in between.
func TestWhatStandsIsKept(t *testing.T) {
	e := &keeper{}
	k := sinkOf("a", e)
	k.Keep = 20 * time.Millisecond
	s := newSite(t, 1, 2)
	s.change = func(w *reconcile.World) { w.Sinks = []reconcile.Sink{k} }
	db := s.another()
	s.start(s.world())
	s.knows(db, "a")
	lately := func() []drift.News {
		e.mu.Lock()
		defer e.mu.Unlock()
		if len(e.kept) == 0 {
			return nil
		}
		return e.kept[len(e.kept)-1]
	}
	s.with(func() { s.drained[ws(1)] = true })
	s.eventually("it is told that the drift stands", func() bool { n := lately(); return len(n) == 1 && n[0].Workspace == ws(1) && n[0].Episode != 0 })
	s.with(func() { s.drained[ws(1)] = false })
	s.eventually("and that it does not", func() bool { return len(lately()) == 0 })
	s.eventually("its beginning and its end are told", func() bool { return len(e.events()) >= 2 })
}

// A configuration that comes while the daemon runs names other sinks.
func TestANewSinkIsToldFromTheReloadOn(t *testing.T) {
	a, b := &ear{}, &ear{}
	s := telling(t, sinkOf("a", a))
	db := s.another()
	d := s.start(s.world())
	s.knows(db, "a")
	before := s.happens(db, 2)
	s.hears(a, before)
	s.change = func(w *reconcile.World) { w.Sinks = []reconcile.Sink{sinkOf("b", b)} }
	d.Use(s.world())
	s.knows(db, "a", "b")
	after := s.happens(db, 2)
	s.hears(b, after[2:])
	if diff := cmp.Diff(after[2:], b.events()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(before, a.events()); diff != "" {
		t.Error(diff)
	}
}
