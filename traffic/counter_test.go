package traffic_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
	"github.com/molecule-ai/billing-reconciler/traffic"
)

// blocker keeps everybody from counting until it rolls back.
type blocker struct {
	*testing.T
	conn *pgx.Conn
}

func block(t *testing.T, url string) *blocker {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	b := &blocker{t, conn}
	b.exec("BEGIN; LOCK TABLE traffic IN EXCLUSIVE MODE")
	return b
}

func (b *blocker) exec(sql string) {
	b.Helper()
	if _, err := b.conn.Exec(b.Context(), sql); err != nil {
		b.Fatal(err)
	}
}

// waiting is how many transactions wait for it.
func (b *blocker) waiting() (n int) {
	b.Helper()
	if err := b.conn.QueryRow(b.Context(), "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'traffic'::regclass AND database = (SELECT oid FROM pg_database WHERE datname = current_database())").Scan(&n); err != nil {
		b.Fatal(err)
	}
	return n
}

// waitsFor waits until so many wait.
func (b *blocker) waitsFor(n int) {
	b.Helper()
	for end := time.Now().Add(20 * time.Second); b.waiting() < n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			b.Fatalf("%d wait, want %d", b.waiting(), n)
		}
	}
}

// Whoever brings more than can wait is told so, and nothing is written of it.
func TestCounterIsBounded(t *testing.T) {
	t.Parallel()
	url := database(t)
	s := open(t, url)
	c := traffic.NewCounter(traffic.Options{Store: s, Metrics: counter(s).Metrics, Waiting: 4, AtOnce: 1})
	b := block(t, url)
	first := make(chan error, 1)
	go func() {
		first <- c.Count(t.Context(), &proxylog.Batch{Input: "big", Tally: tallied(called("203.0.113.1", ""), called("203.0.113.2", ""), called("203.0.113.3", ""))})
	}()
	small := func() error {
		return c.Count(t.Context(), &proxylog.Batch{Input: "file", Tally: tallied(called("203.0.113.1", ""))})
	}
	b.waitsFor(1)
	for range 3 { // who is turned away takes no room
		if err := small(); !errors.Is(err, proxylog.ErrBusy) {
			t.Errorf("while four are under way: %v, want %v", err, proxylog.ErrBusy)
		}
	}
	b.exec("ROLLBACK")
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	if err := small(); err != nil {
		t.Errorf("after it: %v", err)
	}
	if all, _, err := s.Strays(t.Context(), time.Hour, 1); err != nil || all.Billed != 4 {
		t.Errorf("%d billed, want 4 (%v)", all.Billed, err)
	}
}

// No more transactions are under way than may be at once; the others hold no
// connection.
func TestCounterCountsFewAtOnce(t *testing.T) {
	t.Parallel()
	url := database(t)
	s := open(t, url)
	c := traffic.NewCounter(traffic.Options{Store: s, Metrics: counter(s).Metrics, AtOnce: 2})
	b := block(t, url)
	const inputs = 4
	ended := make(chan error, inputs)
	for range inputs {
		go func() {
			ended <- c.Count(context.Background(), &proxylog.Batch{Input: "file", Tally: tallied(called("203.0.113.1", ""))})
		}()
	}
	b.waitsFor(2)
	time.Sleep(300 * time.Millisecond) // nobody is to join them
	if n := b.waiting(); n != 2 {
		t.Errorf("%d transactions are under way, want 2", n)
	}
	b.exec("ROLLBACK")
	for range inputs {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// A batch that is larger than all that may wait would wait for ever: it goes on.
func TestCounterTakesWhatIsLargerThanItsBound(t *testing.T) {
	t.Parallel()
	s := open(t, database(t))
	c := traffic.NewCounter(traffic.Options{Store: s, Metrics: counter(s).Metrics, Waiting: 2})
	if err := c.Count(t.Context(), &proxylog.Batch{Input: "file", Tally: tallied(called("203.0.113.1", ""), called("203.0.113.2", ""), called("203.0.113.3", ""))}); err != nil {
		t.Error(err)
	}
}
