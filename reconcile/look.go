package reconcile

import (
	"context"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// observe looks at every workspace that has something to look at, and gives
// the others the reason why nobody looked.
func (p *Pass) observe(ctx context.Context, key drift.Key, workspaces []Judged) {
	var targets []Target
	var asked []int
	for i := range workspaces {
		w, o := workspaces[i].Workspace, &workspaces[i].Observation
		*o = p.unasked(w)
		switch {
		case o.State != drift.NotAsked:
			o.At = p.now() // the database itself has just said so
		case o.Reason == "":
			targets = append(targets, Target{w.Source, w.InstanceID})
			asked = append(asked, i)
		}
	}
	if len(targets) == 0 {
		return
	}
	p.progress("observe", 0, len(targets))
	answers := p.Observer.Observe(ctx, key, targets)
	for target, i := range asked {
		workspaces[i].learn(answers, target, p.now())
	}
}

// learn takes the answer for a target; what was not answered is not known.
func (j *Judged) learn(answers []drift.Observation, target int, now time.Time) {
	if target >= len(answers) {
		j.Observation.Reason = "the observer gave no answer"
		return
	}
	o := answers[target]
	j.Observation = o
	if o.State == drift.Unreachable && !o.LastPing.IsZero() {
		j.Unseen = max(0, now.Sub(o.LastPing))
	}
}

// unasked says why there is nothing to look at; without a reason there is.
func (p *Pass) unasked(w *drift.Workspace) drift.Observation {
	switch {
	case w.Scope() != drift.InScope:
		return drift.Observation{Reason: string(w.Scope())}
	case !w.OnAWS():
		return drift.Observation{State: drift.Unsupported, Reason: "compute provider " + w.ComputeProvider}
	case w.InstanceID == "":
		return drift.Observation{State: drift.NotRunning, Reason: "no instance"}
	case p.Observer == nil:
		return drift.Observation{Reason: "no way to look into containers is configured"}
	}
	return drift.Observation{}
}
