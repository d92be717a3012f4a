package reconcile

import (
	"context"
	"slices"
	"time"

	"github.com/molecule-ai/billing-reconciler/store"
)

// keepLeases shows a sign of life every two seconds, and takes and gives up
// sources as the database says.
func (d *Daemon) keepLeases(ctx context.Context) {
	for {
		d.keep(ctx)
		d.beat.Store(time.Now().UnixNano())
		if !tick(ctx, d.wake.keep, heartbeat) {
			return
		}
	}
}

func (d *Daemon) keep(ctx context.Context) {
	bounded, stop := context.WithTimeout(ctx, leaseTTL/2)
	defer stop()
	begun := time.Now()
	d.beating.Lock()
	keeping, err := d.store.Keep(bounded, d.replica, d.wanted(), leaseTTL)
	d.beating.Unlock()
	if err != nil {
		if ctx.Err() == nil {
			d.storeFailed("lease", err)
			d.log.Warn("leases not renewed", "error", err)
			d.expire(time.Now())
		}
		return
	}
	d.health.reached(begun)
	d.take(ctx, keeping.Leases, begun.Add(leaseTTL))
	d.giveUp(ctx, keeping.Excess)
}

// wanted lists the leases to be taken: of the configured sources, of those that
// are to be forgotten, and the fleet's.
func (d *Daemon) wanted() []string {
	want := append(d.configured(), store.Fleet)
	d.mu.Lock()
	defer d.mu.Unlock()
	for name := range d.orphans.adopted {
		if !slices.Contains(want, name) {
			want = append(want, name)
		}
	}
	return want
}

// configured lists the sources of the world in force.
func (d *Daemon) configured() []string {
	world := d.atlas.enter()
	defer d.atlas.leave(world)
	return world.names()
}

// expire lets go of what may be another's by now. Nothing could be written
// about it anyway; this saves looking at it.
func (d *Daemon) expire(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, h := range d.holders {
		if now.After(h.until) {
			d.drop(name, h)
		}
	}
	if d.fleet != nil && now.After(d.health.lastReached().Add(leaseTTL)) {
		d.fleet = nil
		d.metrics.Leader(false)
	}
}

// take begins with new leases and ends with lost ones.
func (d *Daemon) take(ctx context.Context, leases []store.Lease, until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fleet = nil
	held := map[string]bool{}
	var fresh []*holder
	for _, l := range leases {
		if l.Source == store.Fleet {
			d.fleet = &l
			continue
		}
		held[l.Source] = true
		h := d.holders[l.Source]
		if h != nil && h.lease.Token != l.Token {
			d.drop(l.Source, h)
			h = nil
		}
		if h == nil {
			h = newHolder(ctx, d, l)
			d.holders[l.Source] = h
			fresh = append(fresh, h)
		}
		h.until = until
	}
	for name, h := range d.holders {
		if !held[name] {
			d.drop(name, h)
		}
	}
	d.metrics.Leader(d.fleet != nil)
	d.metrics.Leases(len(d.holders))
	if len(fresh) > 0 {
		d.log.Info("sources taken", "count", len(fresh), "held", len(d.holders))
		signal(d.wake.passes)
	}
}

// giveUp hands sources to replicas that have fewer, each when it is idle.
func (d *Daemon) giveUp(ctx context.Context, excess []store.Lease) {
	var idle []store.Lease
	leaving := map[string]bool{}
	d.mu.Lock()
	for _, l := range excess {
		leaving[l.Source] = true
		if l.Source == store.Fleet {
			idle = append(idle, l)
		} else if h := d.holders[l.Source]; h == nil || h.retire() {
			idle = append(idle, l)
			if h != nil {
				d.drop(l.Source, h)
			}
		}
	}
	for name, h := range d.holders {
		if !leaving[name] {
			h.stay()
		}
	}
	d.mu.Unlock()
	if len(idle) == 0 {
		return
	}
	d.log.Info("sources handed over", "count", len(idle))
	if err := d.store.Release(ctx, d.replica, idle); err != nil {
		d.log.Warn("sources not handed over; their leases run out", "error", err)
	}
}

// drop ends a holder; its passes end by their context, and Run waits for them.
// d.mu is held.
func (d *Daemon) drop(name string, h *holder) {
	h.leave()
	d.ending.Go(h.work.Wait)
	delete(d.holders, name)
	d.metrics.Forget(name)
}

func (d *Daemon) dropAll() {
	d.mu.Lock()
	for name, h := range d.holders {
		d.drop(name, h)
	}
	d.mu.Unlock()
	d.ending.Wait()
}

// held lists the holders by the name of their source.
func (d *Daemon) held() []*holder {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]*holder, 0, len(d.holders))
	for _, h := range d.holders {
		list = append(list, h)
	}
	slices.SortFunc(list, func(a, b *holder) int {
		if a.lease.Source < b.lease.Source {
			return -1
		}
		return 1
	})
	return list
}

// leads gives the lease of the fleet, where this replica has it.
func (d *Daemon) leads() (store.Lease, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fleet == nil {
		return store.Lease{}, false
	}
	return *d.fleet, true
}
