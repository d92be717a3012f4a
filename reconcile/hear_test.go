package reconcile_test

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
	"github.com/molecule-ai/billing-reconciler/store"
)

// counted is a witness that tells what the database has counted.
type counted struct{ db *store.Store }

func (c counted) Traffic(ctx context.Context, lives []reconcile.Life) reconcile.Calls {
	calls := reconcile.Calls{ByLife: make([]drift.Traffic, len(lives))}
	for i, l := range lives {
		heard, err := c.db.Hear(ctx, l.Source, []store.Listener{{Workspace: l.ID, Since: l.Since}}, nil, 0)
		h := heard[l.ID]
		calls.ByLife[i] = drift.Traffic{Since: l.Since, Billed: int(h.Billed), PastGrace: int(h.PastGrace), First: h.First, Last: h.Last}
		calls.Err = err
	}
	return calls
}

// holder attributes calls to whoever has held their address last.
func holder(tenures []store.Tenure, _ []store.Named) func(*store.Calls) store.Owner {
	return func(c *store.Calls) (o store.Owner) {
		for _, t := range tenures {
			if t.Address == c.Address {
				o = store.Owner{Kind: store.ByAddress, Source: t.Source, Workspace: t.Workspace}
			}
		}
		return o
	}
}

// billed counts a billed call from an address, made now.
func (s *site) billed(db *store.Store, address string) {
	s.Helper()
	at := time.Now().UTC()
	c := store.Calls{Bucket: at.Truncate(5 * time.Minute), Address: netip.MustParseAddr(address), Operation: 1, Class: 2, Billed: 1, First: at, Last: at, LastBilled: at}
	if _, err := db.Count(s.Context(), &store.Counting{Input: store.Input{Name: "file"}, Calls: []store.Calls{c}, Lines: 1}, holder); err != nil {
		s.Fatal(err)
	}
}

// listening is a site of one tenant whose daemon has walked it once and will not
// again.
func listening(t *testing.T, platformPays *atomic.Bool) (s *site, db *store.Store, looks *atomic.Int64) {
	t.Helper()
	s = newSite(t, 1, 2)
	s.resolve = func(w *drift.Workspace, d drift.Desired) drift.Desired {
		if platformPays.Load() {
			return managed("01")(w, d)
		}
		return d
	}
	s.addresses[ws(0)], s.addresses[ws(1)] = []string{"203.0.113.1"}, []string{"203.0.113.2"}
	db = s.another()
	s.witness, s.attribute = counted{db}, holder
	s.change = func(w *reconcile.World) { w.Limits.Interval = time.Hour }
	s.start(s.world())
	s.eventually("a pass is written", func() bool { return s.lastPass(db, "t00") })
	looks = &atomic.Int64{}
	return s, db, looks
}

// A billed call is told of before anybody has looked at the container again; a
// look follows.
func TestABilledCallIsToldAtOnce(t *testing.T) {
	t.Parallel()
	s, db, looks := listening(t, &atomic.Bool{})
	told := make(chan struct{})
	s.with(func() {
		s.looked = func(ctx context.Context, _ []reconcile.Target) {
			looks.Add(1)
			select {
			case <-told:
			case <-ctx.Done():
			}
		}
	})
	s.billed(db, "203.0.113.1")
	s.eventually("the drift is told, though the look hangs", func() bool { return s.told(db)[drift.EventDriftOpened] == 1 })
	close(told)
	s.eventually("the look is answered", func() bool {
		waiting, err := db.Looks(t.Context(), []string{"t00"})
		return err == nil && len(waiting) == 0
	})
	if n := looks.Load(); n != 1 {
		t.Errorf("%d looks at containers, want one", n)
	}
	s.billed(db, "203.0.113.1")
	s.billed(db, "203.0.113.1")
	time.Sleep(300 * time.Millisecond) // nothing is to come of it
	if n, got := looks.Load(), s.told(db); n != 1 || got[drift.EventDriftOpened] != 1 || len(got) != 1 {
		t.Errorf("%d looks, told %v; a drift that is open is not opened again", n, got)
	}
	e := s.events(db)[0]
	if e.Workspace != ws(0) || e.Severity != drift.Critical {
		t.Errorf("told %+v", e)
	}
	s.sound(db)
}

// Whoever may call by now, as its tenant says at once, is not accused by what
// was known before, and no machine is looked at for it.
func TestABilledCallIsHeldAgainstWhatHoldsNow(t *testing.T) {
	t.Parallel()
	var platformPays atomic.Bool
	s, db, looks := listening(t, &platformPays)
	s.with(func() {
		s.looked = func(context.Context, []reconcile.Target) { looks.Add(1) }
	})
	platformPays.Store(true)
	s.billed(db, "203.0.113.1")
	s.eventually("the request is dropped", func() bool {
		waiting, err := db.Looks(t.Context(), []string{"t00"})
		return err == nil && len(waiting) == 0
	})
	if n, got := looks.Load(), s.told(db); n != 0 || len(got) != 0 {
		t.Errorf("%d looks, told %v", n, got)
	}
}

// A call that was counted while nobody knew who held its address becomes
// somebody's in the very pass that learns it, and is told once.
func TestALateLearnedHolderIsAccusedOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1, 2)
	s.addresses[ws(0)] = []string{"203.0.113.1"}
	db := s.another()
	s.witness, s.attribute = counted{db}, holder
	s.billed(db, "203.0.113.1")
	var looks atomic.Int64
	s.looked = func(context.Context, []reconcile.Target) { looks.Add(1) }
	s.change = func(w *reconcile.World) { w.Limits.Interval = time.Hour }
	s.start(s.world())
	s.eventually("it is told", func() bool { return s.told(db)[drift.EventDriftOpened] == 1 })
	s.eventually("nothing is asked for any more", func() bool {
		waiting, err := db.Looks(t.Context(), []string{"t00"})
		return err == nil && len(waiting) == 0
	})
	if n := looks.Load(); n > 2 {
		t.Errorf("looked %d times, want the pass and at most one look", n)
	}
	if got := s.told(db); got[drift.EventDriftOpened] != 1 || len(got) != 1 {
		t.Errorf("told %v", got)
	}
	s.sound(db)
}

// A container that nobody has seen yet is not accused by what was known of the
// one before, nor spared the look.
func TestABilledCallOfAnotherInstanceIsLookedAt(t *testing.T) {
	t.Parallel()
	s, db, looks := listening(t, &atomic.Bool{})
	release := make(chan struct{})
	s.with(func() {
		s.instances[ws(0)] = "i-another"
		s.looked = func(ctx context.Context, targets []reconcile.Target) {
			if len(targets) == 1 && targets[0].InstanceID == "i-another" {
				looks.Add(1)
			}
			select {
			case <-release:
			case <-ctx.Done():
			}
		}
	})
	s.billed(db, "203.0.113.1")
	s.eventually("it is looked at", func() bool { return looks.Load() == 1 })
	if got := s.told(db); len(got) != 0 {
		t.Errorf("told %v before it was looked at", got)
	}
	close(release)
	s.eventually("the drift is told", func() bool { return s.told(db)[drift.EventDriftOpened] == 1 })
	s.sound(db)
}

// slow is a witness that keeps its answer about several until it may give it.
type slow struct {
	counted
	asked, goOn chan struct{}
	armed       atomic.Bool
}

func (w *slow) Traffic(ctx context.Context, lives []reconcile.Life) reconcile.Calls {
	calls := w.counted.Traffic(ctx, lives)
	if len(lives) > 1 && w.armed.CompareAndSwap(true, false) {
		close(w.asked)
		select {
		case <-w.goOn:
		case <-ctx.Done():
		}
	}
	return calls
}

// A pass that has asked the log before a call came does not end the drift that
// the call has opened.
func TestAPassThatAskedTheLogBeforeTakesNothingBack(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1, 2)
	s.addresses[ws(0)], s.addresses[ws(1)] = []string{"203.0.113.1"}, []string{"203.0.113.2"}
	db := s.another()
	w := &slow{counted: counted{db}, asked: make(chan struct{}), goOn: make(chan struct{})}
	s.witness, s.attribute = w, holder
	release := make(chan struct{})
	s.looked = func(ctx context.Context, targets []reconcile.Target) {
		if len(targets) == 1 { // the look that follows the call
			select {
			case <-release:
			case <-ctx.Done():
			}
		}
	}
	s.start(s.world())
	s.eventually("a pass is written", func() bool { return s.lastPass(db, "t00") })
	w.armed.Store(true)
	<-w.asked
	s.billed(db, "203.0.113.1")
	s.eventually("the drift is told", func() bool { return s.told(db)[drift.EventDriftOpened] == 1 })
	close(w.goOn)
	s.walked(2)
	close(release)
	if got := s.told(db); got[drift.EventDriftOpened] != 1 || len(got) != 1 {
		t.Errorf("told %v, want the drift once, and no end of it", got)
	}
	s.sound(db)
}

// The pass that learns who held an address accuses by the calls from there
// itself: no look is waited for.
func TestThePassThatLearnsAHolderAccusesIt(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1, 2)
	s.addresses[ws(0)] = []string{"203.0.113.1"}
	db := s.another()
	s.witness, s.attribute = counted{db}, holder
	s.billed(db, "203.0.113.1")
	var seen atomic.Int64
	told := make(chan struct{})
	s.looked = func(ctx context.Context, targets []reconcile.Target) {
		if len(targets) > 1 {
			seen.Store(time.Now().UnixMicro())
			return
		}
		select {
		case <-told:
		case <-ctx.Done():
		}
	}
	s.change = func(w *reconcile.World) { w.Limits.Interval = time.Hour }
	s.start(s.world())
	s.eventually("it is told", func() bool { return s.told(db)[drift.EventDriftOpened] == 1 })
	close(told)
	if e := s.events(db)[0]; e.At.UnixMicro() > seen.Load() {
		t.Errorf("it is told of as seen at %s, the pass had seen the container at %s", e.At, time.UnixMicro(seen.Load()).UTC())
	}
}
