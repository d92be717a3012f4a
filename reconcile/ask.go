package reconcile

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/molecule-ai/billing-reconciler/drift"
)

const (
	askers = 4  // read endpoints asked at once, over all tenants
	sample = 20 // workspaces of a source that are asked though nothing is wrong with them
)

// askPlatforms asks the read endpoint where something was found, and for a
// sample that moves on with time, within each source's budget; then judges
// again those that were answered.
func (p *Pass) askPlatforms(ctx context.Context, result *Result) {
	var group errgroup.Group
	group.SetLimit(askers)
	begin := 0
	for i, source := range p.Sources {
		mine := result.Workspaces[begin : begin+result.Sources[i].Workspaces]
		begin += len(mine)
		if source.Platform != nil {
			for _, j := range p.choose(mine, source.Asks) {
				group.Go(func() error {
					answer := source.Platform.ReadMode(ctx, j.Workspace.ID)
					j.ReadEndpoint = &answer
					p.judge(j)
					return nil
				})
			}
		}
	}
	_ = group.Wait()
	begin = 0
	for i, source := range p.Sources {
		mine := result.Workspaces[begin : begin+result.Sources[i].Workspaces]
		begin += len(mine)
		for j := range mine {
			p.decide(&mine[j], source.Platform != nil)
		}
	}
}

// choose picks the workspaces to ask about: those with findings first, then the
// sample; all of them where the operator named them.
func (p *Pass) choose(workspaces []Judged, budget int) []*Judged {
	var chosen []*Judged
	take := func(j *Judged) {
		if len(chosen) < budget {
			chosen = append(chosen, j)
		}
	}
	var quiet []*Judged
	for i := range workspaces {
		switch j := &workspaces[i]; {
		case j.Verdict == drift.Skipped:
		case len(j.Findings) > 0 || p.Only != nil:
			take(j)
		default:
			quiet = append(quiet, j)
		}
	}
	n := min(sample, len(quiet))
	for i := range n {
		// Consecutive minutes ask consecutive stretches, so that all have their turn.
		at := (int(p.Now().Unix()/60)*n + i) % len(quiet)
		take(quiet[at])
	}
	return chosen
}
