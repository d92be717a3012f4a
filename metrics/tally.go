package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// tally adds sources up: counts are sums, times are the ones furthest back.
type tally struct {
	Pass
	sources, surging, failing int
}

func newTally() *tally {
	t := &tally{Pass: Pass{
		Counts: map[string]int{}, Findings: map[Finding]int{}, Blocked: map[string]int{},
		Oldest: map[string]time.Time{}, Observed: map[string]time.Time{},
	}}
	for _, v := range drift.Verdicts {
		t.Counts[string(v)] = 0
	}
	for kind, list := range severities {
		for _, s := range list {
			t.Findings[Finding{string(kind), string(s)}] = 0
		}
	}
	for _, r := range reasons {
		t.Blocked[string(r)] = 0
	}
	return t
}

func (t *tally) add(s *source) {
	if t.sources == 0 || s.At.Before(t.At) {
		t.At = s.At
	}
	t.sources++
	if s.Surge {
		t.surging++
	}
	if s.failing {
		t.failing++
	}
	sum(t.Counts, s.Counts)
	sum(t.Findings, s.Findings)
	sum(t.Blocked, s.Blocked)
	earliest(t.Oldest, s.Oldest)
	earliest(t.Observed, s.Observed)
}

func sum[K comparable](total, part map[K]int) {
	for k, n := range part {
		total[k] += n
	}
}

func earliest[K comparable](total, part map[K]time.Time) {
	for k, at := range part {
		if known, ok := total[k]; !ok || at.Before(known) {
			total[k] = at
		}
	}
}

// descriptions are the families of standing, by their names without prefix.
type descriptions map[string]*prometheus.Desc

func describe() descriptions {
	d := descriptions{}
	add := func(name, help string, labels ...string) {
		d[name] = prometheus.NewDesc(namespace+"_"+name, help, labels, nil)
	}
	add("workspaces", "Workspaces by verdict, as the last pass of their source saw them.", "source", "verdict")
	add("workspace_verdict", "Always 1; the labels say how each workspace stands.", "source", "workspace", "verdict")
	add("drift_open", "Findings that stand.", "source", "kind", "severity")
	add("drift_oldest_seconds", "Age of the oldest open drift; 0 where none is open.", "severity")
	add("observation_age_seconds", "Time since the look that is furthest back, of all workspaces that should be seen.", "source", "witness")
	add("last_pass_timestamp_seconds", "When the last pass that succeeded began, in Unix seconds; 0: none has.", "source")
	add("source_failing", "Sources whose last pass could not read them.", "source")
	add("surge", "Sources where too much changed at once, so that acting is held.", "source")
	add("reprovision_blocked", "Drifted workspaces by what keeps from reprovisioning them.", "reason")
	add("pass_interval_seconds", "Time from one pass over a source to the next, as configured.")
	return d
}

// exposition is one scrape.
type exposition struct {
	ch    chan<- prometheus.Metric
	descs descriptions
	now   time.Time
}

func (e *exposition) put(name string, value float64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(e.descs[name], prometheus.GaugeValue, value, labels...)
}

// source tells of one source, or of all of them together.
func (e *exposition) source(label string, t *tally) {
	for verdict, n := range t.Counts {
		e.put("workspaces", float64(n), label, verdict)
	}
	for f, n := range t.Findings {
		e.put("drift_open", float64(n), label, f.Kind, f.Severity)
	}
	for witness, at := range t.Observed {
		e.put("observation_age_seconds", e.age(at), label, witness)
	}
	e.put("last_pass_timestamp_seconds", seconds(t.At), label)
	e.put("source_failing", float64(t.failing), label)
	e.put("surge", float64(t.surging), label)
}

// fleet tells what is told of all sources that this replica holds together.
func (e *exposition) fleet(t *tally) {
	for _, severity := range drift.Severities {
		var age float64
		if at, ok := t.Oldest[string(severity)]; ok {
			age = e.age(at)
		}
		e.put("drift_oldest_seconds", age, string(severity))
	}
	for reason, n := range t.Blocked {
		e.put("reprovision_blocked", float64(n), reason)
	}
}

// age of a moment; clocks of other machines may be ahead of ours.
func (e *exposition) age(at time.Time) float64 { return max(0, e.now.Sub(at).Seconds()) }
