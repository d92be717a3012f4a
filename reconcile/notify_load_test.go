package reconcile_test

import (
	"context"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
	"github.com/molecule-ai/billing-reconciler/store"
)

// hanging takes a message and never says so, until it is let go or the message
// is given up.
type hanging struct {
	ear
	goOn chan struct{}
}

func (h *hanging) Post(ctx context.Context, origin string, message []drift.News) error {
	select {
	case <-h.goOn:
		return h.ear.Post(ctx, origin, message)
	default:
	}
	h.mu.Lock()
	h.tried++
	h.mu.Unlock()
	select {
	case <-h.goOn:
		return errDead // this one is lost
	case <-ctx.Done():
		return ctx.Err()
	}
}

// crowd is two replicas that tell three sinks: one that is well, one that hangs
// and one that asks for patience. Each has its own end of the one that hangs.
type crowd struct {
	*site
	db     *store.Store
	well   *ear
	busy   *ear
	hung   [2]*hanging
	goOn   chan struct{}
	daemon [2]*daemon
}

func newCrowd(t testing.TB) *crowd {
	t.Helper()
	c := &crowd{site: newSite(t, 2, 2), well: &ear{}, goOn: make(chan struct{})}
	c.busy = &ear{answer: func(int, []drift.News) error { return answered{after: time.Hour} }}
	c.db = c.another()
	for i := range c.daemon {
		c.hung[i] = &hanging{goOn: c.goOn}
		c.change = func(w *reconcile.World) {
			w.Sinks = []reconcile.Sink{sinkOf("busy", c.busy), sinkOf("hung", c.hung[i]), sinkOf("well", c.well)}
		}
		c.daemon[i] = c.start(c.world())
	}
	c.knows(c.db, "busy", "hung", "well")
	return c
}

// teller is which of the replicas is telling the sink that hangs.
func (c *crowd) teller() (i int) {
	c.Helper()
	before := [2]int{c.hung[0].tries(), c.hung[1].tries()}
	c.eventually("one of them tries the sink that hangs", func() bool {
		for i = range c.hung {
			if c.hung[i].tries() > before[i] {
				return true
			}
		}
		return false
	})
	return i
}

// connected counts the connections of the daemons, and those that have kept a
// transaction open for a second.
func (c *crowd) connected() (all, long int64) {
	const of = " FROM pg_stat_activity WHERE application_name = 'daemon' AND datname = current_database()"
	return c.number("SELECT count(*)" + of), c.number("SELECT count(*)" + of + " AND xact_start < clock_timestamp() - interval '1 second'")
}

// hearsAll waits for so many events, however long they take as long as they come.
func (c *crowd) hearsAll(e *ear, n int) {
	c.Helper()
	for heard := 0; heard < n; heard = len(e.events()) {
		c.eventually("more is heard", func() bool { return len(e.events()) >= min(heard+200, n) })
	}
}

// Ten thousand events wait, for a sink that hangs and one that asks for an hour
// of patience too. The one that is well hears each of them, once and in order,
// what is found is found and told meanwhile, nothing piles up, and a replica that
// ends with a message in its hand leaves the sink to the other.
func TestTenThousandWaitWhileASinkHangs(t *testing.T) {
	events := 10_000
	if testing.Short() {
		events = 2000
	}
	c := newCrowd(t)
	c.floods(c.db, 1, drift.High)
	first := c.teller()
	before := runtime.NumGoroutine()
	last := c.floods(c.db, events-1, drift.High)

	c.with(func() { c.drained[ws(1)] = true })
	c.eventually("a drift opens meanwhile", func() bool { return len(c.events(c.db, drift.EventDriftOpened)) == 1 })
	c.walked(5)
	c.hearsAll(c.well, int(last)+1)
	all := upTo(1, last+1)
	if diff := cmp.Diff(all, c.well.events()); diff != "" {
		t.Errorf("the one that is well heard others than all, once, in order:\n%.2000s", diff)
	}
	if conns, long := c.connected(); conns > 2*(10+1) || long > 0 {
		t.Errorf("%d connections, %d long transactions", conns, long)
	}
	if now := runtime.NumGoroutine(); now > before+20 {
		t.Errorf("%d goroutines, %d before", now, before)
	}
	if n := c.number("SELECT max(cardinality(told)) FROM sinks"); n > 0 {
		t.Errorf("%d numbers are noted beyond a cursor, though all is told in order", n)
	}
	if n := c.busy.tries(); n > 1 {
		t.Errorf("it asked for an hour, and was tried %d times", n)
	}

	begun := time.Now()
	c.daemon[first].stop()
	if took := time.Since(begun); took > 10*time.Second { // less than a message has
		t.Errorf("it ended after %s", took)
	}
	other := c.hung[1-first]
	tries := other.tries()
	c.eventually("the other tells it", func() bool { return other.tries() > tries })
	if took := time.Since(begun); took > 40*time.Second { // less than a claim lasts
		t.Errorf("the other tells it after %s", took)
	}
	close(c.goOn)
	c.hearsAll(&other.ear, len(all))
	if diff := cmp.Diff(all, slices.Concat(c.hung[first].events(), other.events())); diff != "" {
		t.Errorf("the one that hung heard others than all, once, in order:\n%.2000s", diff)
	}
	c.sound(c.db)
}
