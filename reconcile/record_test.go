package reconcile_test

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/metrics"
	"github.com/molecule-ai/billing-reconciler/reconcile"
)

// series reads the gauges of a name, by their labels' values.
func series(t *testing.T, m *metrics.Metrics, name string) map[string]float64 {
	t.Helper()
	families, err := m.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "reconciler_"+name {
			continue
		}
		for _, s := range f.GetMetric() {
			var labels string
			for _, l := range s.GetLabel() {
				labels += l.GetName() + "=" + l.GetValue() + " "
			}
			got[labels] = s.GetGauge().GetValue()
		}
	}
	return got
}

// nonzero leaves out what is there only to say that there is none of it.
func nonzero(series map[string]float64) map[string]float64 {
	maps.DeleteFunc(series, func(_ string, value float64) bool { return value == 0 })
	return series
}

func TestRecord(t *testing.T) {
	m := metrics.New("test")
	bad := source("lost", "c")
	p := pass(t, source("reno", "a", "b"), bad)
	p.Observer = &observer{answers: map[string]drift.Observation{"i-b": drained(), "i-c": drained()}}
	first := run(t, p)
	reconcile.Record(m, first)
	verdicts := map[string]float64{
		"source=reno verdict=drifted ": 1, "source=reno verdict=unknown ": 0, "source=reno verdict=in_sync ": 1, "source=reno verdict=skipped ": 0,
		"source=lost verdict=drifted ": 1, "source=lost verdict=unknown ": 0, "source=lost verdict=in_sync ": 0, "source=lost verdict=skipped ": 0,
	}
	if diff := cmp.Diff(verdicts, series(t, m, "workspaces")); diff != "" {
		t.Errorf("workspaces (-want +got):\n%s", diff)
	}
	open := nonzero(series(t, m, "drift_open"))
	if len(open) != 8 || open["kind=mode_mismatch severity=critical source=reno "] != 1 {
		t.Errorf("drift_open: %v", open)
	}

	// b is mended; lost cannot be read: its series keep what was last known.
	p.Observer, p.Now = &observer{}, func() time.Time { return now.Add(time.Minute) }
	rows(bad).err = errors.New("refused")
	reconcile.Record(m, run(t, p))
	verdicts["source=reno verdict=drifted "], verdicts["source=reno verdict=in_sync "] = 0, 2
	if diff := cmp.Diff(verdicts, series(t, m, "workspaces")); diff != "" {
		t.Errorf("mended: workspaces (-want +got):\n%s", diff)
	}
	for labels := range open {
		if strings.HasSuffix(labels, "source=reno ") {
			delete(open, labels)
		}
	}
	if diff := cmp.Diff(open, nonzero(series(t, m, "drift_open"))); diff != "" {
		t.Errorf("mended: drift_open (-want +got):\n%s", diff)
	}
	failing := map[string]float64{"source=reno ": 0, "source=lost ": 1}
	if diff := cmp.Diff(failing, series(t, m, "source_failing")); diff != "" {
		t.Errorf("failing (-want +got):\n%s", diff)
	}
	last := map[string]float64{"source=reno ": float64(now.Unix() + 60), "source=lost ": float64(now.Unix())}
	if diff := cmp.Diff(last, series(t, m, "last_pass_timestamp_seconds")); diff != "" {
		t.Errorf("last pass (-want +got):\n%s", diff)
	}

	blocked := map[string]float64{}
	for _, rule := range drift.Rules {
		blocked["reason="+string(rule)+" "] = 0
	}
	for _, rule := range []drift.Rule{drift.RuleGo, drift.RuleNoDrift, drift.RuleOutOfScope} { // these keep nobody from mending a drift
		delete(blocked, "reason="+string(rule)+" ")
	}
	blocked["reason=no_platform "] = 1 // what was last known of lost
	if diff := cmp.Diff(blocked, series(t, m, "reprovision_blocked")); diff != "" {
		t.Errorf("blocked (-want +got):\n%s", diff)
	}

	// A look at one workspace says nothing of how many there are.
	before := maps.Clone(series(t, m, "workspaces"))
	p.Only = map[string][]string{"reno": {"a"}}
	reconcile.Record(m, run(t, p))
	if diff := cmp.Diff(before, series(t, m, "workspaces")); diff != "" {
		t.Errorf("partial: workspaces (-want +got):\n%s", diff)
	}
}
