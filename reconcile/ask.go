package reconcile

import (
	"context"
	"math/rand/v2"

	"golang.org/x/sync/errgroup"

	"github.com/molecule-ai/billing-reconciler/drift"
)

const (
	askedAtOnce = 64 // platforms: one that hangs holds up no other
	askers      = 4  // workspaces of one platform asked about at once
	sample      = 20 // workspaces of a source that are asked about though nothing is wrong with them
)

// askPlatforms asks the read endpoints where something was found, and for a
// sample that moves on with time, within each source's budget; judges again
// those that were answered; and then says what may be done about all.
func (p *Pass) askPlatforms(ctx context.Context, result *Result) {
	var group errgroup.Group
	group.SetLimit(askedAtOnce)
	begin := 0
	for i, source := range p.Sources {
		mine := result.Workspaces[begin : begin+result.Sources[i].Workspaces]
		begin += len(mine)
		group.Go(func() error {
			if source.Platform != nil {
				p.ask(ctx, source.Platform, p.choose(mine, source.Asks))
			}
			for j := range mine {
				p.decide(&mine[j], &source)
			}
			return nil
		})
	}
	_ = group.Wait()
}

func (p *Pass) ask(ctx context.Context, platform Platform, chosen []*Judged) {
	var group errgroup.Group
	group.SetLimit(askers)
	for _, j := range chosen {
		group.Go(func() error {
			answer := platform.ReadMode(ctx, j.Workspace.ID)
			j.ReadEndpoint = &answer
			p.judge(j)
			return nil
		})
	}
	_ = group.Wait()
}

// choose picks the workspaces to ask about: those with findings first, and those
// whose drift may rest on what the endpoint said last time; then the sample; all of them where the operator named them.
func (p *Pass) choose(workspaces []Judged, budget int) []*Judged {
	var found, quiet []*Judged
	for i := range workspaces {
		switch j := &workspaces[i]; {
		case j.Verdict == drift.Skipped:
		case len(j.Findings) > 0 || p.Only != nil || p.memory(j.Workspace).Drifted:
			found = append(found, j)
		default:
			quiet = append(quiet, j)
		}
	}
	// A stretch from anywhere: passes come at a steady interval, and a step of
	// their own would meet the same workspaces for ever in a fleet of the wrong
	// size. The second of the pass decides, so that a pass can be repeated.
	draw := rand.New(rand.NewPCG(uint64(p.now().Unix()), 0)) // #nosec G404 G115 -- a sample, not a secret
	chosen := stretch(found, budget, draw)
	return append(chosen, stretch(quiet, min(sample, budget-len(chosen)), draw)...)
}

// stretch takes n of a list, in a row and around its end; all where n is more.
func stretch(list []*Judged, n int, draw *rand.Rand) []*Judged {
	if n >= len(list) {
		return list
	}
	taken := make([]*Judged, 0, max(0, n))
	for begin := draw.IntN(len(list)); len(taken) < n; begin++ {
		taken = append(taken, list[begin%len(list)])
	}
	return taken
}
