package objects_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/internal/localpg/pgtest"
	"github.com/molecule-ai/billing-reconciler/metrics"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
	"github.com/molecule-ai/billing-reconciler/store/storetest"
	"github.com/molecule-ai/billing-reconciler/traffic"
)

func TestMain(m *testing.M) { pgtest.MainNoLeaks(m) }

// lossy loses every fifth answer of the Counter.
type lossy struct {
	proxylog.Counter
	n *atomic.Int64
}

func (l lossy) Count(ctx context.Context, b *proxylog.Batch) error {
	err := l.Counter.Count(ctx, b)
	if err == nil && l.n.Add(1)%5 == 0 {
		return errors.New("connection reset at the commit")
	}
	return err
}

func TestTortureInPostgreSQL(t *testing.T) {
	number, each := 100, 500
	if testing.Short() {
		number = 40
	}
	lines := number * each
	url := storetest.Database(t)
	s := storetest.Open(t, url, t.Name())
	torture(t, newCloud(t), number, each, lossy{traffic.NewCounter(traffic.Options{Store: s, Metrics: metrics.New("test")}), &atomic.Int64{}})
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
