package receive_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/log"
	sdk "go.opentelemetry.io/otel/sdk/log"
)

// flaky hands requests on, and fails every nth answer after that by a status
// that is sent again. (A connection that is cut is the end to this exporter.)
func flaky(next http.Handler, nth int64) (http.Handler, *atomic.Int64) {
	var requests, failed atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := requests.Add(1)
		if n%nth > 0 {
			next.ServeHTTP(w, r)
			return
		}
		failed.Add(1)
		next.ServeHTTP(httptest.NewRecorder(), r) // counted, and the sender does not learn it
		w.Header().Set("Retry-After", "0")
		w.WriteHeader([]int{429, 502, 503, 504}[n/nth%4])
	}), &failed
}

// TestOpenTelemetrysExporter: the SDK's own exporter, with gzip, whose answers
// are lost after its records were counted; every line is counted once.
func TestOpenTelemetrysExporter(t *testing.T) {
	const total = 20_000
	l := newLedger(nil)
	handler, failed := flaky(routes(receiver(l)), 4)
	server := httptest.NewServer(handler)
	defer server.Close()
	var lost atomic.Pointer[error]
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { lost.Store(&err) }))
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	exporter, err := otlploghttp.New(t.Context(), otlploghttp.WithEndpointURL(server.URL+"/v1/logs"), otlploghttp.WithCompression(otlploghttp.GzipCompression),
		otlploghttp.WithHTTPClient(&http.Client{Transport: transport, Timeout: 10 * time.Second}),
		otlploghttp.WithRetry(otlploghttp.RetryConfig{Enabled: true, InitialInterval: time.Millisecond, MaxInterval: 20 * time.Millisecond, MaxElapsedTime: time.Minute}))
	if err != nil {
		t.Fatal(err)
	}
	provider := sdk.NewLoggerProvider(sdk.WithProcessor(sdk.NewBatchProcessor(exporter, sdk.WithMaxQueueSize(2*total), sdk.WithExportMaxBatchSize(256), sdk.WithExportInterval(time.Millisecond))))
	logger := provider.Logger("proxy")
	for n := range total {
		logger.Emit(t.Context(), record(n))
	}
	if err := provider.Shutdown(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	if err := lost.Load(); err != nil {
		t.Fatalf("the exporter gave up: %v", *err)
	}
	exact(t, l.by, total)
	if failed.Load() < 5 {
		t.Errorf("only %d answers failed", failed.Load())
	}
}

// record tells of the nth call as a line or, every third, by attributes.
func record(n int) log.Record {
	var r log.Record
	r.SetTimestamp(noon.Add(time.Duration(n) * time.Millisecond))
	switch n % 3 {
	case 0:
		r.SetBody(attribute.StringValue(numbered(n)))
	case 1:
		r.SetBody(attribute.StringValue("request completed"))
		r.AddAttributes(attribute.String("http.request.method", "POST"), attribute.String("url.path", callPath), attribute.Int("http.response.status_code", 200), attribute.String("client.address", fmt.Sprint(address(n))))
	case 2:
		r.SetBody(attribute.MapValue(attribute.String("method", "POST"), attribute.String("uri", callPath), attribute.Int("status", 200), attribute.String("remote_ip", fmt.Sprint(address(n)))))
	}
	return r
}
