package reconcile_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/metrics"
	"github.com/molecule-ai/billing-reconciler/reconcile"
	"github.com/molecule-ai/billing-reconciler/store"
)

// However many sources a round has, few are at the state database at once: the
// heartbeat would wait behind them for a connection until the leases ran out.
func TestFewSourcesAreWrittenAtOnce(t *testing.T) {
	t.Parallel()
	const sources = 40
	s := newSite(t, sources, 1)
	w := s.world()
	w.Limits.SourcesAtOnce = sources
	w.Limits.Interval = time.Minute
	db, err := store.Open(t.Context(), store.Options{URL: drift.Secret(s.url)})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var now, most atomic.Int64
	d := reconcile.New(reconcile.Options{Store: db, Replica: store.Replica{ID: uuid.NewString(), Name: "test", StartedAt: time.Now()},
		Metrics: metrics.New("test"), Log: slog.New(slog.DiscardHandler), World: w,
		Document: func(*drift.Policy, *reconcile.Judged) json.RawMessage { // asked for while the source is settled
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer now.Add(-1)
			wait(t.Context(), 20*time.Millisecond) // for others to come, if they may
			return json.RawMessage("{}")
		}})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	s.walked(1)
	s.eventually("every source is written", func() bool {
		list, err := db.Sources(t.Context())
		written := 0
		for i := range list {
			if !list[i].LastPassAt.IsZero() {
				written++
			}
		}
		return err == nil && written == sources
	})
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := most.Load(); got < 2 || got > 4 {
		t.Errorf("%d sources were written at once, want 2 to 4", got)
	}
}
