package reconcile

import (
	"context"
	"log/slog"
	"maps"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/metrics"
	"github.com/molecule-ai/billing-reconciler/store"
)

// written shows what has been written: in the log, in the metrics.
func (h *holder) written(l *look, out *store.Outcome, applied *store.Applied) {
	d := h.daemon
	for _, e := range applied.Events {
		d.tell(e)
	}
	for i := range out.Episodes {
		h.count(&out.Episodes[i])
	}
	if !l.hearsay && out.Err == "" {
		h.remind(l)
	}
	if !l.full {
		return
	}
	if out.Err != "" {
		d.metrics.Pass(h.lease.Source, metrics.Pass{At: out.At, Took: out.Took, Failed: true})
		return
	}
	d.log.Debug("source walked", "source", h.lease.Source, "workspaces", len(l.result.Workspaces), "seconds", out.Took.Seconds(),
		"states_written", len(out.States), "episodes_written", len(out.Episodes))
	h.metrics(l.result, out)
}

func (h *holder) count(c *store.EpisodeChange) {
	m, source := h.daemon.metrics, h.lease.Source
	for _, e := range c.Events {
		if e.Kind == drift.EventDriftOpened {
			m.Opened(source, string(c.Severity), time.Since(c.FirstEvidence))
		}
	}
	if !c.Open() {
		m.Closed(string(c.Result))
	}
}

// tell logs an event. Its words are constant, so that it can be searched for.
func (d *Daemon) tell(e drift.Event) {
	level := slog.LevelInfo
	if e.Severity == drift.Critical || e.Severity == drift.High {
		level = slog.LevelWarn
	}
	d.log.Log(context.Background(), level, "event", "kind", e.Kind, "severity", e.Severity, "source", e.Source, "workspace", e.Workspace,
		"name", e.Name, "drift", e.Episode, "event", e.ID, "summary", e.Summary)
}

// metrics shows a whole pass.
func (h *holder) metrics(r *Result, out *store.Outcome) {
	p := metrics.Pass{At: out.At, Took: out.Took, Counts: map[string]int{}, Findings: map[metrics.Finding]int{}, Blocked: map[string]int{},
		Verdicts: map[string]string{}, Observed: h.ages(r), Surge: out.Surge != ""}
	for i := range r.Workspaces {
		count(&p, &r.Workspaces[i])
	}
	h.memory.RLock()
	defer h.memory.RUnlock()
	if h.known == nil {
		return
	}
	drifts(&p, h.known)
	h.daemon.metrics.Pass(h.lease.Source, p)
}

// drifts counts the findings that stand by the open drifts: one that could not
// be looked at again, or is settling, is as open as one that was just seen.
func drifts(p *metrics.Pass, known *store.Known) {
	p.Oldest = map[string]time.Time{}
	maps.DeleteFunc(p.Findings, func(f metrics.Finding, _ int) bool { return drift.Kind(f.Kind).Accuses() })
	for _, e := range known.Episodes {
		for _, f := range e.Findings {
			if f.Kind.Accuses() {
				p.Findings[metrics.Finding{Kind: string(f.Kind), Severity: string(f.Severity)}]++
			}
		}
		if old, ok := p.Oldest[string(e.Severity)]; !ok || e.OpenedAt.Before(old) {
			p.Oldest[string(e.Severity)] = e.OpenedAt
		}
	}
}

// inherited is what is known of a source that another replica has walked, so
// that nothing seems mended while a lease changes hands.
func inherited(known *store.Known) metrics.Pass {
	p := metrics.Pass{At: known.Source.LastPassAt, Took: known.Source.Took, Counts: map[string]int{}, Findings: map[metrics.Finding]int{}, Surge: known.Source.Surge != ""}
	for v, n := range known.Source.Counts {
		p.Counts[string(v)] = n
	}
	drifts(&p, known)
	return p
}

// ages gives, by witness, the time of the oldest observation that is still the
// newest of its workspace; zero where one was never seen. What should not be
// running has none.
func (h *holder) ages(r *Result) map[string]time.Time {
	ages := map[string]time.Time{}
	h.mu.Lock()
	if r.Traffic != nil && r.Traffic.Err == nil {
		h.sights.traffic = r.At
	}
	for i := range r.Workspaces {
		if e := r.Workspaces[i].ReadEndpoint; e != nil && e.Err == "" {
			h.sights.readEndpoint = r.At
		}
	}
	if r.Traffic != nil {
		ages["traffic"] = h.sights.traffic
	}
	if !h.sights.readEndpoint.IsZero() {
		ages["read_endpoint"] = h.sights.readEndpoint
	}
	h.mu.Unlock()
	for i := range r.Workspaces {
		j := &r.Workspaces[i]
		if !j.Workspace.ShouldRun() || !j.Workspace.OnAWS() {
			continue
		}
		at := j.Observation.At
		if j.Observation.State != drift.Observed {
			at = h.memoryOf("", j.Workspace.ID).SeenAt
		}
		if oldest, ok := ages["container"]; !ok || at.Before(oldest) {
			ages["container"] = at
		}
	}
	return ages
}
