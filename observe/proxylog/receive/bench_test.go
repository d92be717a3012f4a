package receive_test

import (
	"context"
	"net/http/httptest"
	"testing"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// sink counts nothing.
type sink struct{}

func (sink) Positions(context.Context, string, string) ([]proxylog.Position, error) { return nil, nil }
func (sink) Count(context.Context, *proxylog.Batch) error                           { return nil }
func (sink) State(context.Context, string, error) error                             { return nil }

// BenchmarkPush is a push of 5,000 lines of 50 addresses, from its handler's
// call to its answer; MB/s are of the body as sent.
func BenchmarkPush(b *testing.B) {
	var lines []string
	for n := range 5000 {
		lines = append(lines, numbered(n%50))
	}
	h := routes(receiver(sink{}))
	for _, f := range forms {
		b.Run(f.name, func(b *testing.B) {
			push := f.make(b, lines, 1)
			b.SetBytes(int64(len(push.body)))
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, push.request("http://localhost"))
				if w.Code/100 != 2 {
					b.Fatal(w.Code, w.Body)
				}
			}
			b.ReportMetric(float64(b.N)*5000/b.Elapsed().Seconds(), "lines/s")
		})
	}
}
