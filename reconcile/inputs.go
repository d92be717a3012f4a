package reconcile

import (
	"context"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// What was counted is kept five minutes together for so long, then by the hour,
// then by the day.
const (
	fineFor   = 48 * time.Hour
	hourlyFor = 30 * 24 * time.Hour
)

// A new instance's address is known after a pass, which takes its time.
const (
	strayTurns = 2  // intervals
	strayPart  = 15 // of what a pass may take at most
)

// watchInputs tells of inputs that have gone blind, and shows how they are.
func (d *Daemon) watchInputs(ctx context.Context, lease store.Lease) {
	if d.opts.Attribute == nil {
		return
	}
	events, err := d.store.WatchInputs(ctx, lease)
	if err != nil {
		d.chore(ctx, "watch the inputs", err)
		return
	}
	d.tellAll(events)
	inputs, err := d.store.Inputs(ctx)
	if err != nil {
		d.chore(ctx, "watch the inputs", err)
		return
	}
	blind, came := map[string]bool{}, map[string]time.Time{}
	for _, in := range inputs {
		blind[in.Name] = blind[in.Name] || !in.BlindSince.IsZero()
		if in.LineAt.After(came[in.Name]) {
			came[in.Name] = in.LineAt
		}
	}
	for name, yes := range blind {
		d.metrics.Blind(name, yes)
		d.metrics.LineCame(name, came[name])
	}
}

// watchStrays tells of calls that are nobody's.
func (d *Daemon) watchStrays(ctx context.Context, lease store.Lease) {
	if d.opts.Attribute == nil {
		return
	}
	world := d.atlas.enter()
	defer d.atlas.leave(world)
	if !d.strangers.allSeen(ctx, d, world.World) {
		return // whoever was not seen yet may be who calls
	}
	alarm := world.Limits.Strays
	alarm.Settle = strayTurns*world.Limits.Interval + world.Limits.PassTimeout/strayPart
	all, events, err := d.store.WatchStrays(ctx, lease, alarm)
	if err != nil {
		d.chore(ctx, "watch strays", err)
		return
	}
	d.metrics.Strays(all.Billed)
	d.tellAll(events)
}

// rollup adds up what is old, a bounded number of rows at a time.
func (d *Daemon) rollup(ctx context.Context, lease store.Lease) {
	for more := true; more; {
		var err error
		if _, more, err = d.store.Rollup(ctx, lease, fineFor, hourlyFor); err != nil {
			d.chore(ctx, "add traffic up", err)
			return
		}
		if more && !sleep(ctx, pollEvery) {
			return
		}
	}
}

func (d *Daemon) tellAll(events []drift.Event) {
	for _, e := range events {
		d.tell(e)
	}
}
