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
	if p.LookFor > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, p.LookFor)
		defer stop()
	}
	answers := p.observer().Observe(ctx, key, targets)
	for target, i := range asked {
		workspaces[i].learn(answers, target, p.now(), p.memory(workspaces[i].Workspace).SeenAt)
	}
}

// learn takes the answer for a target; what was not answered is not known.
// How long nothing has been learned counts from the last time that its container
// was seen, and where there never was one, from its agent's last sign of life.
func (j *Judged) learn(answers []drift.Observation, target int, now, seen time.Time) {
	if target >= len(answers) {
		j.Observation.Reason = "the observer gave no answer"
		return
	}
	o := answers[target]
	j.Observation = o
	if seen.IsZero() {
		seen = o.LastPing
	}
	if o.State == drift.Unreachable && !seen.IsZero() {
		j.Unseen = max(0, now.Sub(seen))
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

// observer gives the one that goes before others, where somebody waits and
// there is such a one.
func (p *Pass) observer() Observer {
	if hurried, ok := p.Observer.(Hurried); ok && p.Urgent {
		return hurried.Urgently()
	}
	return p.Observer
}
