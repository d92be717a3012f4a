package traffic_test

import (
	"testing"

	"github.com/molecule-ai/billing-reconciler/internal/localpg/pgtest"
	"github.com/molecule-ai/billing-reconciler/metrics"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
	"github.com/molecule-ai/billing-reconciler/store"
	"github.com/molecule-ai/billing-reconciler/store/storetest"
	"github.com/molecule-ai/billing-reconciler/traffic"
)

func TestMain(m *testing.M) { pgtest.MainNoLeaks(m) }

// database gives a fresh state database.
func database(t testing.TB) string {
	t.Helper()
	return storetest.Database(t)
}

func open(t testing.TB, url string) *store.Store {
	t.Helper()
	s := storetest.Open(t, url, t.Name())
	return s
}

func counter(s *store.Store) *traffic.Counter {
	return traffic.NewCounter(traffic.Options{Store: s, Metrics: metrics.New("test")})
}

var _ proxylog.Counter = (*traffic.Counter)(nil)
