package reconcile

import (
	"context"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// A source that no replica has configured any more keeps nothing open for ever:
// whoever leads takes it, once it has seen for long that nobody has its lease,
// ends its drifts, and forgets it. It takes long because a configuration reaches
// the replicas one after the other, and a tenant that is removed by mistake comes
// back. The lease tells, and not the last pass: whoever has a source configured
// holds its lease, also while its passes are paused.
const (
	orphanAfter   = time.Hour
	orphanTurns   = 12 // intervals
	orphanLookups = 60 // within the time that it takes
)

// orphans are the sources to be forgotten, and since when those that nobody has
// are known. Guarded by Daemon.mu.
type orphans struct {
	adopted map[string]bool
	noticed map[string]time.Time
}

// orphanAfter is how long nobody may have a source until it is forgotten.
func (d *Daemon) orphanAfter() time.Duration {
	after := d.opts.OrphanAfter
	if after <= 0 {
		after = orphanAfter
	}
	return max(after, orphanTurns*d.atlas.limits().Interval)
}

// adopt looks for sources that nobody has. The next heartbeats take their
// leases, and what would be their passes forgets them.
func (d *Daemon) adopt(ctx context.Context) {
	if time.Since(d.health.lastReached()) > leaseTTL {
		d.abandon() // who had what meanwhile was not seen
		return
	}
	sources, err := d.store.Sources(ctx)
	if err != nil {
		d.chore(ctx, "find orphans", err)
		return
	}
	configured := map[string]bool{}
	for _, name := range d.configured() {
		configured[name] = true
	}
	old := time.Now().Add(-d.orphanAfter())
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.orphans
	d.orphans = orphans{map[string]bool{}, map[string]time.Time{}}
	for i := range sources {
		s := &sources[i]
		if configured[s.Name] || s.Holder != nil && s.Holder.ID != d.replica.ID {
			continue
		}
		since := before.since(s)
		d.orphans.noticed[s.Name] = since
		if since.Before(old) {
			d.orphans.adopted[s.Name] = true
		}
	}
	if len(d.orphans.adopted) > len(before.adopted) {
		signal(d.wake.keep)
	}
}

// since is from when on nobody is known to have a source: from when that was
// noticed, which says more than the last pass, before which and long after it
// somebody may have had it who is just starting anew.
func (o *orphans) since(s *store.SourceState) time.Time {
	noticed, ok := o.noticed[s.Name]
	if !ok {
		return time.Now()
	}
	for _, walked := range []time.Time{s.LastPassAt, s.TriedAt} { // between two looks of ours
		if walked.After(noticed) {
			noticed = walked
		}
	}
	return noticed
}

// abandon leaves the orphans to whoever leads now.
func (d *Daemon) abandon() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.orphans = orphans{}
}

func (d *Daemon) adopted(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.orphans.adopted[name]
}

// bury ends the drifts of an orphan and forgets it; what fails is tried again in
// a later round.
func (h *holder) bury(ctx context.Context) {
	d := h.daemon
	if !d.adopted(h.lease.Source) {
		return // it is only being handed over
	}
	h.settle.Lock()
	defer h.settle.Unlock()
	ctx, stop := context.WithTimeout(ctx, writeFor)
	defer stop()
	applied, err := h.endDrifts(ctx)
	if err == nil {
		var events []drift.Event
		events, err = d.store.Abandon(ctx, h.lease)
		applied.Events = append(applied.Events, events...)
	}
	if err == nil {
		d.disown(h.lease.Source)
		err = d.store.Forget(ctx, h.lease)
	}
	for _, e := range applied.Events {
		d.tell(e)
	}
	if err != nil {
		h.fail("orphan not forgotten", err)
		return
	}
	d.log.Info("source forgotten: it is not configured any more", "source", h.lease.Source, "drifts_ended", len(applied.Episodes))
	signal(d.wake.keep)
}

// endDrifts ends the open drifts of a source, and forgets its workspaces.
func (h *holder) endDrifts(ctx context.Context) (store.Applied, error) {
	known, err := h.daemon.store.Load(ctx, h.lease)
	if err != nil {
		return store.Applied{}, err
	}
	at := time.Now().UTC().Truncate(time.Microsecond)
	s := &settling{Source: h.lease.Source, Known: known, out: &store.Outcome{Lease: h.lease, At: at}}
	for id := range known.States {
		s.out.Gone = append(s.out.Gone, id)
	}
	for id, e := range known.Episodes {
		s.advance(&drift.Sight{Source: h.lease.Source, Workspace: id, Name: e.Name, At: at, Before: s.before(id), Gone: drift.SourceRemoved}, nil)
	}
	if len(s.out.Gone)+len(s.out.Episodes) == 0 {
		return store.Applied{}, nil
	}
	applied, err := h.daemon.store.Apply(ctx, s.out)
	if err != nil {
		return store.Applied{}, err
	}
	for i := range s.out.Episodes {
		h.count(&s.out.Episodes[i])
	}
	return applied, nil
}

// disown takes an orphan off the list of what is wanted; once it returns no
// heartbeat is under way that would make its lease anew.
func (d *Daemon) disown(name string) {
	d.beating.Lock()
	defer d.beating.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.orphans.adopted, name)
}
