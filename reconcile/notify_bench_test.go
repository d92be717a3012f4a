package reconcile_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/notify"
	"github.com/molecule-ai/billing-reconciler/reconcile"
)

// hook is a webhook's other side.
func hook(b *testing.B, answer http.HandlerFunc) reconcile.Notifier {
	b.Helper()
	server := httptest.NewServer(answer)
	b.Cleanup(server.Close)
	w, err := notify.NewWebhook(notify.Options{URL: drift.Secret(server.URL)}, "a key")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(w.Close)
	return w
}

// BenchmarkEventsTold is how fast a webhook that is well is told, by one of two
// replicas that walk two sources meanwhile: alone, and beside one that hangs and
// one that asks for patience. Both are measured in turns, for the machine may
// have others to serve.
func BenchmarkEventsTold(b *testing.B) {
	const events, turns = 2000, 3
	var heard, hung atomic.Int64
	well := sinkOf("well", hook(b, func(http.ResponseWriter, *http.Request) { heard.Add(1) }))
	hangs := sinkOf("hangs", hook(b, func(_ http.ResponseWriter, q *http.Request) {
		_, _ = io.Copy(io.Discard, q.Body) // only then does the server see that the other side is gone
		hung.Add(1)
		defer hung.Add(-1)
		<-q.Context().Done()
	}))
	busy := sinkOf("busy", hook(b, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	s := newSite(b, 2, 2)
	s.change = func(w *reconcile.World) { w.Sinks = []reconcile.Sink{well, hangs, busy} }
	db := s.another()
	one, two := s.start(s.world()), s.start(s.world())
	s.knows(db, "busy", "hangs", "well")
	var took [2]time.Duration
	for b.Loop() {
		for turn := range 2 * turns {
			beside := turn % 2
			s.change = func(w *reconcile.World) { w.Sinks = []reconcile.Sink{well, hangs, busy}[:1+2*beside] }
			one.Use(s.world())
			two.Use(s.world())
			if beside > 0 {
				s.eventually("one hangs", func() bool { return hung.Load() > 0 })
			}
			want := heard.Load() + events
			begun := time.Now()
			s.floods(db, events, drift.High)
			s.eventually("all is told", func() bool { return heard.Load() >= want })
			took[beside] += time.Since(begun)
		}
	}
	n := float64(b.N * turns * events)
	b.ReportMetric(n/took[0].Seconds(), "events/s-alone")
	b.ReportMetric(n/took[1].Seconds(), "events/s-beside")
	b.ReportMetric(took[1].Seconds()/took[0].Seconds(), "beside/alone")
}
