package reconcile

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// learn writes who was seen to hold which address as soon as it was seen, before
// the walk asks whose the calls in the log are: those that were counted while
// nobody knew become somebody's now, and not at the next pass.
func (h *holder) learn(ctx context.Context, seen []Judged) {
	h.settle.Lock() // before a place at the desk, as in write
	defer h.settle.Unlock()
	if h.known == nil {
		return // what is to be written will be read first
	}
	out := &store.Outcome{Lease: h.lease, At: time.Now().UTC().Truncate(time.Microsecond), Holdings: map[string][]store.Holding{}}
	for i := range seen {
		if held, news := heldBy(&seen[i], h.known); news {
			out.Holdings[seen[i].Workspace.ID] = held
		}
	}
	if len(out.Holdings) == 0 {
		return
	}
	leave, ok := h.daemon.desk.enter(ctx)
	if !ok {
		return
	}
	defer leave()
	applied, err := h.daemon.store.Apply(ctx, out)
	if err != nil {
		h.forget()
		h.fail("addresses not written", err)
		return
	}
	h.memory.Lock()
	absorb(h.known, out, &applied)
	h.memory.Unlock()
	h.daemon.reattribute(ctx)
}

// heldBy gives the addresses that a workspace was seen with; news tells whether
// they are others than are known.
func heldBy(j *Judged, known *store.Known) (held []store.Holding, news bool) {
	o := &j.Observation
	if o.State != drift.Observed || o.StartedAt.IsZero() {
		return nil, false
	}
	since := o.StartedAt.UTC().Truncate(time.Microsecond)
	for _, a := range o.Addresses {
		held = append(held, store.Holding{Workspace: j.Workspace.ID, Address: a.Unmap(), Since: since})
	}
	slices.SortFunc(held, func(a, b store.Holding) int { return netip.Addr.Compare(a.Address, b.Address) })
	return held, !slices.Equal(held, known.Holdings[j.Workspace.ID])
}

// reattributeFor is how far back it may be learned late who held an address; so
// long, at least, calls are counted five minutes together.
const reattributeFor = 24 * time.Hour

// reattribute puts right whose calls are that were counted before it was known.
// What it does not come to, the next does.
func (d *Daemon) reattribute(ctx context.Context) {
	if d.opts.Attribute == nil {
		return
	}
	for more := true; more && ctx.Err() == nil; {
		var moved int
		var err error
		if moved, more, err = d.store.Reattribute(ctx, reattributeFor, d.opts.Attribute); err != nil {
			if ctx.Err() == nil {
				d.storeFailed("count", err)
				d.log.Warn("calls not attributed anew; tried again later", "error", err)
			}
			return
		}
		if moved > 0 {
			d.log.Debug("calls attributed anew", "rows", moved)
			signal(d.wake.looks)
		}
	}
}
