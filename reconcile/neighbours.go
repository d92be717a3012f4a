package reconcile

import (
	"context"
	"net/netip"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// others gives the lives of all workspaces that the pass does not walk. Since
// when they have their addresses is not asked, so that they accuse no one and
// only make calls doubtful. Where they cannot be asked for addresses, somebody
// unknown holds every address that is not unique in the world; one that is, a
// machine has for itself.
func (p *Pass) others(ctx context.Context, walked []Judged) []Life {
	observer, ok := p.Observer.(Neighbours)
	if !ok {
		return stranger(walked)
	}
	var lives []Life
	var targets []Target
	shared := byInstance(walked)
	for _, w := range p.neighbours(ctx, walked) {
		// On a walked workspace's very instance its addresses are theirs too,
		// whatever the inventory knows of them.
		lives = append(lives, Life{Source: w.Source, ID: w.ID, Addresses: shared[w.InstanceID]})
		targets = append(targets, Target{w.Source, w.InstanceID})
	}
	if len(targets) == 0 {
		return nil
	}
	p.progress("look up the addresses of the others", 0, len(targets))
	for i, o := range observer.Neighbours(ctx, targets) {
		if i < len(lives) {
			lives[i].Addresses = slices.Concat(lives[i].Addresses, o.Addresses)
		}
	}
	return lives
}

func byInstance(walked []Judged) map[string][]netip.Addr {
	addresses := map[string][]netip.Addr{}
	for i := range walked {
		w := walked[i].Workspace
		addresses[w.InstanceID] = append(addresses[w.InstanceID], walked[i].Observation.Addresses...)
	}
	return addresses
}

// neighbours reads who else has an instance. Of each only Source, ID and
// InstanceID are kept. A source that cannot be read holds no one up: an address
// is taken for the one's who is known to hold it, as in a full pass.
func (p *Pass) neighbours(ctx context.Context, walked []Judged) []drift.Workspace {
	sources := slices.Concat(p.Sources, p.Others)
	found := make([][]drift.Workspace, len(sources))
	known := map[[2]string]bool{}
	for i := range walked {
		known[[2]string{walked[i].Workspace.Source, walked[i].Workspace.ID}] = true
	}
	var group errgroup.Group
	group.SetLimit(readers)
	for i, source := range sources {
		group.Go(func() error {
			_ = source.Reader.Workspaces(ctx, Selection{}, func(w *drift.Workspace) error {
				if w.InstanceID != "" && w.OnAWS() && !known[[2]string{w.Source, w.ID}] {
					found[i] = append(found[i], drift.Workspace{Source: w.Source, ID: w.ID, InstanceID: w.InstanceID})
				}
				return nil
			})
			return nil
		})
	}
	_ = group.Wait()
	return slices.Concat(found...)
}

// stranger is somebody unknown, who may hold any address that others may have.
func stranger(walked []Judged) []Life {
	var addresses []netip.Addr
	for i := range walked {
		for _, a := range walked[i].Observation.Addresses {
			if a = a.Unmap(); !a.IsGlobalUnicast() || a.IsPrivate() || carrier.Contains(a) {
				addresses = append(addresses, a)
			}
		}
	}
	if addresses == nil {
		return nil
	}
	return []Life{{Addresses: addresses}}
}

// carrier is the shared address space of RFC 6598; VPCs use it as private.
var carrier = netip.MustParsePrefix("100.64.0.0/10")
