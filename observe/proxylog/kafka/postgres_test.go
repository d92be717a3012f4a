package kafka_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/internal/localpg/pgtest"
	"github.com/molecule-ai/billing-reconciler/metrics"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
	"github.com/molecule-ai/billing-reconciler/store/storetest"
	"github.com/molecule-ai/billing-reconciler/traffic"
)

func TestMain(m *testing.M) { pgtest.MainNoLeaks(m) }

// both counts in PostgreSQL, and writes down which lines that were, so that it
// can be told which are missing; the sum that is held is PostgreSQL's own.
type both struct {
	proxylog.Counter
	l *ledger
}

func (b both) Count(ctx context.Context, batch *proxylog.Batch) error {
	if err := call(b.l.before); err != nil {
		return err
	}
	if err := b.Counter.Count(ctx, batch); err != nil {
		return err
	}
	b.l.mu.Lock()
	for _, g := range batch.Tally.Groups() {
		b.l.lines[number(g.Address)] += int(g.Billed)
	}
	b.l.changed()
	b.l.mu.Unlock()
	return call(b.l.after)
}

func TestTortureInPostgreSQL(t *testing.T) {
	lines := 50_000
	if testing.Short() {
		lines = 10_000
	}
	url := storetest.Database(t)
	s := storetest.Open(t, url, t.Name())
	l := newLedger().nasty(8)
	torture(t, lines, both{traffic.NewCounter(traffic.Options{Store: s, Metrics: metrics.New("test")}), l}, l)
	db, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(context.WithoutCancel(t.Context())) }()
	// Each line has an address of its own.
	var calls, addresses int
	if err := db.QueryRow(t.Context(), "SELECT sum(billed), count(DISTINCT address) FROM traffic").Scan(&calls, &addresses); err != nil {
		t.Fatal(err)
	}
	if calls != lines || addresses != lines {
		t.Errorf("%d calls of %d addresses in the database, want %d of each", calls, addresses, lines)
	}
}
