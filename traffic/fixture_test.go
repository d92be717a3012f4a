package traffic_test

import (
	"context"
	"testing"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/localpg/pgtest"
	"github.com/molecule-ai/billing-reconciler/metrics"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
	"github.com/molecule-ai/billing-reconciler/store"
	"github.com/molecule-ai/billing-reconciler/traffic"
)

func TestMain(m *testing.M) { pgtest.MainNoLeaks(m) }

// database gives a fresh state database.
func database(t testing.TB) string {
	t.Helper()
	return pgtest.NewDatabaseFrom(t, "state", func(ctx context.Context, url string) error {
		s, err := store.Open(ctx, store.Options{URL: drift.Secret(url)})
		if err != nil {
			return err
		}
		defer s.Close()
		_, err = s.Migrate(ctx)
		return err
	})
}

func open(t testing.TB, url string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: drift.Secret(url), Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func counter(s *store.Store) *traffic.Counter {
	return traffic.NewCounter(traffic.Options{Store: s, Metrics: metrics.New("test")})
}

var _ proxylog.Counter = (*traffic.Counter)(nil)
