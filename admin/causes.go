package admin

import (
	"context"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// Ramp is how far the reprovisions of one cause have proven themselves: the
// first is alone, then two, four, eight follow, each wave once the one before is
// proven.
type Ramp struct {
	Cause      string              `json:"cause" doc:"A cause's code; without a cause the kinds of what was found, with + between."`
	Mode       drift.RemediateMode `json:"mode" enum:"dry_run,enforce" doc:"dry_run: what dry runs have gone through, where all is taken to go well. It proves nothing for enforce."`
	Wave       int                 `json:"wave" doc:"1: the canary, which is alone."`
	Size       int                 `json:"size" doc:"How many the wave has."`
	Opened     int                 `json:"opened" doc:"Of the wave: begun, and not come to nothing."`
	Proven     int                 `json:"proven" doc:"Of those: cured by container and by the proxy's log."`
	Waits      *string             `json:"waits" doc:"What the next one waits for; null: for nothing."`
	Stopped    *string             `json:"stopped" doc:"Why nothing more is tried for it, anywhere; null: it goes on."`
	StoppedBy  *StoppedBy          `json:"stopped_by" doc:"Whose reprovision has stopped it; where its inputs change, the cause begins again."`
	EndedAt    *time.Time          `json:"ended_at" doc:"When the platform was last called for it and that had come to an end."`
	ApprovedAt *time.Time          `json:"approved_at" doc:"When a person last let it go on; null: never."`
}

// StoppedBy names a workspace.
type StoppedBy struct {
	Source    string `json:"source"`
	Workspace string `json:"workspace" doc:"Its id."`
}

// Causes lists the causes about which something was ever done.
type Causes struct {
	Causes []Ramp `json:"causes"`
}

func (s *Server) listCauses(ctx context.Context, _ *struct{}) (*body[Causes], error) {
	causes, err := s.causes(ctx)
	if err != nil {
		return nil, s.failed(ctx, "list causes", err)
	}
	return answerWith(Causes{causes}), nil
}

func (s *Server) causes(ctx context.Context) ([]Ramp, error) {
	ramps, err := s.opts.Store.Ramps(ctx)
	causes := make([]Ramp, 0, len(ramps))
	now := time.Now()
	for i := range ramps {
		causes = append(causes, toCause(&ramps[i], now))
	}
	return causes, err
}

func toCause(from *store.Ramp, now time.Time) Ramp {
	r := from.Ramp
	mode := drift.RemediateEnforce
	name, dry := from.Of()
	if dry {
		mode = drift.RemediateDryRun
	}
	r.Cause = name
	r.Rest(now) // as the next plan will find it
	c := Ramp{Cause: name, Mode: mode, Wave: r.Wave + 1, Size: r.Size(), Opened: r.Opened, Proven: r.Proven, Waits: optional(r.Waits()), Stopped: optional(r.Stopped),
		EndedAt: moment(r.EndedAt), ApprovedAt: moment(from.ApprovedAt)}
	if r.Stopped != "" {
		c.StoppedBy = &StoppedBy{r.Source, r.Workspace}
	}
	return c
}
