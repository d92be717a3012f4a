package metrics_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/molecule-ai/billing-reconciler/metrics"
)

// What is exposed, in each state that a replica can be in.
func TestExposition(t *testing.T) {
	for _, row := range []struct {
		file string // of testdata
		opts []metrics.Option
		make func(*metrics.Metrics)
	}{
		{"new.prom", nil, func(*metrics.Metrics) {}},
		{"configured.prom", nil, func(m *metrics.Metrics) { m.Sources([]string{"reno"}) }},
		{"held.prom", nil, func(m *metrics.Metrics) { m.Sources([]string{"reno"}); m.Hold("reno", metrics.Pass{}) }},
		{"passed.prom", nil, func(m *metrics.Metrics) { asTheDaemon(m, "reno") }},
		{"forgotten.prom", nil, func(m *metrics.Metrics) { asTheDaemon(m, "reno"); m.Forget("reno") }},
		{"all.prom", []metrics.Option{metrics.WithPerSource(false)}, func(m *metrics.Metrics) {
			asTheDaemon(m, "reno", "mill", "yard")
			m.Pass("mill", found(noon.Add(-time.Hour), 10))
			m.Pass("yard", metrics.Pass{Failed: true})
		}},
		{"workspaces.prom", []metrics.Option{metrics.WithPerWorkspace(true)}, func(m *metrics.Metrics) { asTheDaemon(m, "reno") }},
	} {
		t.Run(row.file, func(t *testing.T) {
			m, _ := ticking(row.opts...)
			row.make(m)
			golden(t, row.file, ours(t, m))
			families, err := m.Registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			problems, err := promlint.NewWithMetricFamilies(families).Lint()
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range problems {
				t.Errorf("%s: %s", p.Metric, p.Text)
			}
		})
	}
}

// However large the fleet, and however many the sources without per_source: at
// most 500 series, those of the Go and process collectors among them.
func TestBudget(t *testing.T) {
	const most = 500
	everything := func(m *metrics.Metrics, sources ...string) int {
		asTheDaemon(m, sources...)
		for _, w := range []string{"traffic", "read_endpoint"} {
			for _, r := range []string{"ok", "error"} {
				m.Observations.WithLabelValues(w, r).Inc()
			}
		}
		for _, in := range []string{"push", "kafka"} {
			for _, r := range []string{"understood", "not_understood"} {
				m.LogLines.WithLabelValues(in, r).Inc()
			}
		}
		n := 0
		for line := range strings.Lines(scrape(t, m)) {
			if !strings.HasPrefix(line, "#") {
				n++
			}
		}
		return n
	}

	one, _ := ticking()
	p := found(noon, 2500)
	for i := range 10_000 {
		p.Verdicts[fmt.Sprintf("workspace-%d", i)] = "drifted"
	}
	one.Pass("reno", p)
	if n := everything(one, "reno"); n > most {
		t.Errorf("one source of 10,000 workspaces: got %d series, want at most %d", n, most)
	} else {
		t.Logf("one source of 10,000 workspaces: %d series", n)
	}

	many, _ := ticking(metrics.WithPerSource(false))
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprintf("tenant-%d", i))
	}
	if n := everything(many, names...); n > most {
		t.Errorf("1,000 sources: got %d series, want at most %d", n, most)
	} else {
		t.Logf("1,000 sources: %d series", n)
	}
}
