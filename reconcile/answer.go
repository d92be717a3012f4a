package reconcile

import (
	"context"
	"slices"
	"time"

	"github.com/molecule-ai/billing-reconciler/store"
)

// answerLooks looks at once at workspaces that somebody asked for: beside a
// pass that may be running, and before it.
func (d *Daemon) answerLooks(ctx context.Context) {
	for tick(ctx, d.wake.looks, pollEvery) {
		byName := map[string]*holder{}
		var names []string
		for _, h := range d.held() {
			byName[h.lease.Source] = h
			names = append(names, h.lease.Source)
		}
		if len(names) == 0 {
			continue
		}
		looks, err := d.store.Looks(ctx, names)
		if err != nil {
			if ctx.Err() == nil {
				d.storeFailed("looks", err)
			}
			continue
		}
		asked := map[string][]store.Look{}
		for _, l := range looks {
			asked[l.Source] = append(asked[l.Source], l)
		}
		for name, list := range asked {
			byName[name].answer(list)
		}
	}
}

// answer looks at the workspaces of requests that are not being answered yet.
func (h *holder) answer(list []store.Look) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.retired || h.ctx.Err() != nil {
		return
	}
	var fresh []store.Look
	for _, l := range list {
		if !h.looking[l.ID] && !h.daemon.pauses.observing(l.Source, l.Workspace) {
			h.looking[l.ID] = true
			fresh = append(fresh, l)
		}
	}
	if len(fresh) > 0 {
		h.work.Go(func() { h.lookAt(fresh) })
	}
}

// retryLook is how long a look that failed (the tenant's database is down, say)
// waits for its next try.
const retryLook = 15 * time.Second

func (h *holder) lookAt(list []store.Look) {
	defer h.answered(list)
	d := h.daemon
	world := d.atlas.enter()
	defer d.atlas.leave(world)
	source, ok := world.source(h.lease.Source)
	if !ok || !h.remember(h.ctx) {
		return
	}
	ctx, stop := context.WithTimeout(h.ctx, world.Limits.PassTimeout)
	defer stop()
	if list = h.listen(ctx, world.World, source, list); len(list) == 0 {
		return
	}
	walk := h.walk(world.World, source)
	walk.Urgent = true
	walk.Gate = nil // a person waits
	ids := map[string]bool{}
	key := NewKey()
	l := &look{key: key}
	for _, one := range list {
		ids[one.Workspace] = true
		l.asked = append(l.asked, one.ID)
	}
	for id := range ids {
		walk.Only = map[string][]string{source.Name: append(walk.Only[source.Name], id)}
	}
	var err error
	if l.result, err = walk.Run(ctx, key); err != nil {
		return
	}
	if l.result.Sources[0].Err != nil {
		d.log.Warn("look failed; tried again later", "source", source.Name, "error", l.result.Sources[0].Err)
		sleep(h.ctx, retryLook)
		return
	}
	h.mu.Lock()
	for id := range ids {
		h.looked[id] = l.result.At
	}
	h.mu.Unlock()
	h.write(ctx, world.World, l)
}

// listen hears first those that a billed call asks about, and gives those that
// are to be looked at.
func (h *holder) listen(ctx context.Context, w *World, source Source, list []store.Look) []store.Look {
	var hits []store.Look
	for _, l := range list {
		if !l.HitAt.IsZero() {
			hits = append(hits, l)
		}
	}
	if len(hits) == 0 {
		return list
	}
	sound := map[int64]bool{}
	var ids []int64
	for _, l := range h.hear(ctx, w, source, hits) {
		sound[l.ID] = true
		ids = append(ids, l.ID)
	}
	if len(ids) > 0 {
		if err := h.daemon.store.DropLooks(ctx, h.lease, ids); err != nil {
			h.fail("looks not dropped", err)
		}
	}
	return slices.DeleteFunc(slices.Clone(list), func(l store.Look) bool { return sound[l.ID] })
}

func (h *holder) answered(list []store.Look) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range list {
		delete(h.looking, l.ID)
	}
	if h.retired {
		signal(h.daemon.wake.keep)
	}
}
