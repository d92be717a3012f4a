package reconcile

import (
	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/metrics"
)

// Record shows a pass in the metrics. Series of a source that could not be read
// keep their last values, what was not seen has not changed; and so do all
// after a pass over some workspaces.
func Record(m *metrics.Metrics, result *Result) {
	if result.Partial {
		return
	}
	type finding struct {
		source   string
		kind     drift.Kind
		severity drift.Severity
	}
	verdicts := map[string]map[drift.Verdict]int{}
	open := map[finding]int{}
	for i := range result.Workspaces {
		j := &result.Workspaces[i]
		if verdicts[j.Workspace.Source] == nil {
			verdicts[j.Workspace.Source] = map[drift.Verdict]int{}
		}
		verdicts[j.Workspace.Source][j.Verdict]++
		for _, f := range j.Findings {
			open[finding{j.Workspace.Source, f.Kind, f.Severity}]++
		}
	}
	for _, s := range result.Sources {
		if s.Err != nil {
			continue
		}
		for _, v := range drift.Verdicts {
			m.Workspaces.WithLabelValues(s.Name, string(v)).Set(float64(verdicts[s.Name][v]))
		}
		m.DriftOpen.DeletePartialMatch(map[string]string{"source": s.Name})
		m.PassSeconds.WithLabelValues(s.Name).Observe(result.Took.Seconds())
		m.LastPass.WithLabelValues(s.Name).Set(float64(result.At.Unix()))
	}
	for f, n := range open {
		m.DriftOpen.WithLabelValues(f.source, string(f.kind), string(f.severity)).Set(float64(n))
	}
}
