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
	found := map[string]*metrics.Pass{}
	for _, s := range result.Sources {
		found[s.Name] = &metrics.Pass{
			At: result.At, Took: result.Took, Failed: s.Err != nil,
			Counts: map[string]int{}, Findings: map[metrics.Finding]int{}, Blocked: map[string]int{},
			Verdicts: map[string]string{},
		}
	}
	for i := range result.Workspaces {
		if j := &result.Workspaces[i]; found[j.Workspace.Source] != nil {
			count(found[j.Workspace.Source], j)
		}
	}
	for name, p := range found {
		m.Pass(name, *p)
	}
}

// count adds a workspace to what is told of its source.
func count(p *metrics.Pass, j *Judged) {
	p.Counts[string(j.Verdict)]++
	p.Verdicts[j.Workspace.ID] = string(j.Verdict)
	for _, f := range j.Findings {
		p.Findings[metrics.Finding{Kind: string(f.Kind), Severity: string(f.Severity)}]++
	}
	if j.Verdict == drift.Drifted && j.Judgement.Rule != drift.RuleGo {
		p.Blocked[string(j.Judgement.Rule)]++
	}
}
