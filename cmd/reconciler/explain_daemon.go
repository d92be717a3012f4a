package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/report"
)

// daemonTimeout is how long explain waits for a daemon that may not be there.
const daemonTimeout = 2 * time.Second

// daemonView is what the daemon has judged of a workspace.
type daemonView struct {
	URL       string         // whom was asked
	Workspace string         // id; "": none answered, or it does not know the workspace
	Action    *report.Action // nil: nothing was judged with what the daemon alone knows
	InFlight  *int64
}

// askDaemon asks a running daemon what it has judged of a workspace, beside the
// look that is taken meanwhile. That none answers is no failure: explain needs
// none.
func (r *remote) askDaemon(ctx context.Context, term string) <-chan daemonView {
	answer := make(chan daemonView, 1)
	go func() {
		ctx, stop := context.WithTimeout(ctx, daemonTimeout)
		defer stop()
		answer <- r.daemonView(ctx, term)
	}()
	return answer
}

func (r *remote) daemonView(ctx context.Context, term string) (v daemonView) {
	c, err := r.client()
	if err != nil {
		return v
	}
	defer c.Close()
	v.URL = c.URL()
	w, err := r.find(ctx, c, term)
	if err != nil {
		return v
	}
	doc, err := c.Workspace(ctx, w.ID, w.Source)
	if err != nil {
		return v
	}
	var known struct {
		ID       string         `json:"id"`
		Action   *report.Action `json:"action"`
		InFlight *int64         `json:"in_flight"`
	}
	if json.Unmarshal(doc, &known) != nil {
		return v
	}
	v.Workspace, v.InFlight = known.ID, known.InFlight
	if known.Action != nil && known.Action.Since != nil { // else it is what a look gave, and we have just looked
		v.Action = known.Action
	}
	return v
}

// of gives the view where it is of this workspace.
func (v daemonView) of(id string) daemonView {
	if v.Workspace != id {
		return daemonView{URL: v.URL}
	}
	return v
}

// daemon says what the daemon has judged, since one look does not know it.
func (x *explainer) daemon(v daemonView) {
	switch {
	case v.Action != nil:
		x.head("DAEMON", pick(v.Action.Rule == drift.RuleGo, "reprovision", "none: "+string(v.Action.Rule))+", since "+v.Action.Since.UTC().Format(time.RFC3339))
		x.line("  %s", printable(v.Action.Summary))
		if v.Action.Next != nil {
			x.line("  asked again %s", v.Action.Next.UTC().Format(time.RFC3339))
		}
	case v.Workspace != "":
		x.head("DAEMON", "it has judged nothing about this workspace")
	default:
		x.head("DAEMON", "none answered"+pick(v.URL == "", "", " at "+v.URL)+", or it does not know this workspace")
	}
	if v.InFlight != nil {
		x.line("  action %d is under way: reconciler actions %d", *v.InFlight, *v.InFlight)
	}
	if v.Action == nil {
		x.line("  pauses, confirmations, attempts, budgets, canaries and approvals are the daemon's: this look knows none of them")
	}
}
