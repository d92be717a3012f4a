package reconcile

import (
	"context"
	"errors"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// How often the one replica that does the fleet's chores does them.
const (
	expireEvery = 2 * time.Second
	surgeEvery  = 10 * time.Second
	straysEvery = 30 * time.Second
	adoptEvery  = 5 * time.Second
	retainEvery = 10 * time.Minute
	retainBatch = 5000
)

// chores does what concerns no single source, while this replica has the lease
// of the fleet: what has expired says so, what is old goes, and a flip of the
// whole fleet is told of once.
func (d *Daemon) chores(ctx context.Context) {
	var surged, strayed, retained, searched, adopted time.Time
	for tick(ctx, nil, expireEvery) {
		lease, leads := d.leads()
		if !leads {
			d.abandon()
			continue
		}
		if time.Since(searched) >= d.orphanAfter()/orphanLookups {
			searched = time.Now()
			d.adopt(ctx)
		}
		d.expirePauses(ctx, lease)
		d.watchInputs(ctx, lease)
		d.reattribute(ctx)
		if time.Since(adopted) >= adoptEvery {
			adopted = time.Now()
			d.adoptActions(ctx, lease)
		}
		if time.Since(strayed) >= straysEvery {
			strayed = time.Now()
			d.watchStrays(ctx, lease)
		}
		if time.Since(surged) >= surgeEvery {
			surged = time.Now()
			d.fleetSurge(ctx, lease)
		}
		if time.Since(retained) >= retainEvery {
			retained = time.Now()
			d.retain(ctx, lease)
			d.rollup(ctx, lease)
		}
	}
}

func (d *Daemon) expirePauses(ctx context.Context, lease store.Lease) {
	events, err := d.store.Expire(ctx, lease)
	if err != nil {
		d.chore(ctx, "expire", err)
		return
	}
	late, err := d.store.ExpireRequests(ctx, lease)
	if err != nil {
		d.chore(ctx, "expire requests", err)
		return
	}
	for _, e := range append(events, late...) {
		d.tell(e)
	}
}

// adoptActions lets somebody else work on what a replica that is gone was
// working on.
func (d *Daemon) adoptActions(ctx context.Context, lease store.Lease) {
	adopted, err := d.store.Adopt(ctx, lease)
	if err != nil {
		d.chore(ctx, "adopt actions", err)
		return
	}
	if len(adopted) > 0 {
		d.log.Info("actions adopted", "actions", adopted)
	}
}

// retain deletes what is older than it is kept, a bounded number at a time, so
// that nobody waits for it.
func (d *Daemon) retain(ctx context.Context, lease store.Lease) {
	keep := d.atlas.limits().Retention
	for more := true; more; {
		var err error
		_, more, err = d.store.Retain(ctx, lease, store.Retention{Events: keep.Events, Drifts: keep.Drifts, Holdings: keep.Addresses, Traffic: keep.Traffic, Batch: retainBatch})
		if err != nil {
			d.chore(ctx, "retain", err)
			return
		}
		if more && !sleep(ctx, pollEvery) {
			return
		}
	}
}

func (d *Daemon) chore(ctx context.Context, what string, err error) {
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, store.ErrFenced):
		signal(d.wake.keep) // another replica does them now
	default:
		d.storeFailed("maintain", err)
		d.log.Warn("chore failed; tried again later", "chore", what, "error", err)
	}
}

// fleetSurge tells, once for all, that so many modes flipped over the whole
// fleet that they are not believed.
func (d *Daemon) fleetSurge(ctx context.Context, lease store.Lease) {
	world := d.atlas.enter()
	defer d.atlas.leave(world)
	limits := world.Limits
	known, err := d.store.Load(ctx, lease)
	if err != nil {
		d.chore(ctx, "fleet surge", err)
		return
	}
	a, err := d.store.Agreement(ctx, world.ResolverID, "", limits.recent())
	if err != nil {
		d.chore(ctx, "fleet surge", err)
		return
	}
	s := &settling{Known: known, Alerting: limits.Alerting, Result: &Result{At: time.Now().UTC().Truncate(time.Microsecond)}}
	s.out = &store.Outcome{Lease: lease, At: s.Result.At, Full: true, Resolver: world.ResolverID}
	if limits.Surge.Exceeded(a.Flipped, a.Workspaces) {
		s.inputs = limits.Surge.Words(drift.Census{Known: a.Workspaces, Flipped: a.Flipped}) + ", over the whole fleet"
		if !known.Source.Accepted.IsZero() {
			return // accepted; the sources are believing it, pass by pass
		}
	}
	s.surge()
	if len(s.out.Events) == 0 && (known.Source.Accepted.IsZero() || a.Flipped > 0) {
		return
	}
	s.out.Surge = s.inputs
	applied, err := d.store.Apply(ctx, s.out)
	if err != nil {
		d.chore(ctx, "fleet surge", err)
		return
	}
	for _, e := range applied.Events {
		d.tell(e)
	}
}
