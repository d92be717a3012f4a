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

// unreliable counts in PostgreSQL, with a ledger's failures before and after.
type unreliable struct {
	proxylog.Counter
	l *ledger
}

func (u unreliable) Count(ctx context.Context, batch *proxylog.Batch) error {
	if err := call(u.l.before); err != nil {
		return err
	}
	if err := u.Counter.Count(ctx, batch); err != nil {
		return err
	}
	return call(u.l.after)
}

func TestTortureInPostgreSQL(t *testing.T) {
	lines := 50_000
	if testing.Short() {
		lines = 10_000
	}
	url := storetest.Database(t)
	s := storetest.Open(t, url, t.Name())
	db, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(context.WithoutCancel(t.Context())) }()
	// Each line has an address of its own. The database alone knows what was
	// committed: who is stopped in the middle of a commit is told of an error.
	counted := func() (calls, addresses int) {
		t.Helper()
		if err := db.QueryRow(t.Context(), "SELECT coalesce(sum(billed), 0), count(DISTINCT address) FROM traffic").Scan(&calls, &addresses); err != nil {
			t.Fatal(err)
		}
		return calls, addresses
	}
	counter := traffic.NewCounter(traffic.Options{Store: s, Metrics: metrics.New("test")})
	torture(t, lines, unreliable{counter, newLedger().nasty(8)}, func() int {
		_, addresses := counted()
		return addresses
	})
	if calls, addresses := counted(); calls != lines || addresses != lines {
		t.Errorf("%d calls of %d addresses in the database, want %d of each", calls, addresses, lines)
	}
}
