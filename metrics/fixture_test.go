package metrics_test

import (
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/metrics"
)

var update = flag.Bool("update", false, "write the golden files anew")

// clock is what ages are measured by.
type clock struct{ now time.Time }

func (c *clock) read() time.Time { return c.now }

var noon = time.Date(2026, 5, 28, 12, 0, 0, 0, time.UTC)

// ticking gives metrics whose ages are measured from noon.
func ticking(opts ...metrics.Option) (*metrics.Metrics, *clock) {
	c := &clock{noon}
	m := metrics.New("1.2.3", append(opts, metrics.WithClock(c.read))...)
	m.Inputs([]string{"file"})
	m.Sinks([]string{"slack"})
	return m, c
}

// found is a pass that found a bit of everything, with n of each.
func found(at time.Time, n int) metrics.Pass {
	p := metrics.Pass{
		At: at, Took: 7 * time.Second, Surge: true,
		Counts: map[string]int{}, Findings: map[metrics.Finding]int{},
		Oldest: map[string]time.Time{}, Observed: map[string]time.Time{},
		Blocked: map[string]int{"off": n}, Verdicts: map[string]string{},
	}
	for _, v := range drift.Verdicts {
		p.Counts[string(v)] = n
		p.Verdicts[fmt.Sprintf("6b66de8d-%s", v)] = string(v)
	}
	for _, f := range everyFinding {
		p.Findings[f] = n
	}
	for i, s := range drift.Severities {
		p.Oldest[string(s)] = at.Add(-time.Duration(i+1) * time.Hour)
	}
	for i, w := range []string{metrics.Container, metrics.Traffic, metrics.ReadEndpoint} {
		p.Observed[w] = at.Add(-time.Duration(i+1) * time.Minute)
	}
	return p
}

// everyFinding is what Compare can find.
var everyFinding = []metrics.Finding{
	{string(drift.ModeMismatch), string(drift.Critical)}, {string(drift.ModeMismatch), string(drift.High)}, {string(drift.RoutedToProxy), string(drift.Critical)},
	{string(drift.RoutedDirect), string(drift.High)}, {string(drift.CredentialNotSupplied), string(drift.High)}, {string(drift.CredentialNotDelivered), string(drift.High)},
	{string(drift.PlatformCredentialExposed), string(drift.Critical)}, {string(drift.ForeignCredential), string(drift.Medium)}, {string(drift.ModelMismatch), string(drift.Medium)},
	{string(drift.ProxyTraffic), string(drift.Critical)}, {string(drift.PathsDiverge), string(drift.High)}, {string(drift.Underivable), string(drift.Low)},
	{string(drift.UnobservedTooLong), string(drift.Medium)},
}

// asTheDaemon tells m everything that a daemon with these sources does.
func asTheDaemon(m *metrics.Metrics, sources ...string) {
	m.Sources(sources)
	m.Interval(5 * time.Minute)
	m.Reloaded(true, noon)
	m.Leader(true)
	m.Leases(len(sources))
	for _, name := range sources {
		m.Hold(name, metrics.Pass{})
		m.Pass(name, found(noon, 2))
	}
	m.Paused(map[string]int{"source": 1})
	m.Opened(sources[0], "critical", 40*time.Second)
	m.Closed("resolved")
	m.StoreError("apply")
}

// scrape gives what /metrics answers.
func scrape(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(m.Registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}).
		ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	if answer.Code != 200 {
		t.Fatalf("scrape: %s", answer.Body)
	}
	return answer.Body.String()
}

var goVersion = regexp.MustCompile(`go_version="[^"]*"`)

// ours is a scrape without the Go and process collectors, and without what
// depends on who built it.
func ours(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	var kept []string
	for _, line := range strings.SplitAfter(scrape(t, m), "\n") {
		if strings.Contains(line, "reconciler_") {
			kept = append(kept, goVersion.ReplaceAllString(line, `go_version="go"`))
		}
	}
	return strings.Join(kept, "")
}

// value gives the line of a series, its name without prefix.
func value(t *testing.T, m *metrics.Metrics, series string) string {
	t.Helper()
	for line := range strings.Lines(ours(t, m)) {
		if v, ok := strings.CutPrefix(line, "reconciler_"+series+" "); ok {
			return strings.TrimSpace(v)
		}
	}
	return "absent"
}

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v: go test ./metrics -update writes it", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; go test ./metrics -update):\n%s", name, diff)
	}
}
