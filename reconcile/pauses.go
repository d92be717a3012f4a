package reconcile

import (
	"context"
	"sync"
	"time"

	"github.com/molecule-ai/billing-reconciler/store"
)

// pauses is what is paused, as this replica last read it. Passes go by it;
// acting asks the database itself, each time.
type pauses struct {
	mu   sync.RWMutex
	list []store.Pause
}

// observing tells whether passes over a source are stopped; with a workspace,
// whether looking at it is.
func (p *pauses) observing(source, workspace string) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	now := time.Now()
	for i := range p.list {
		one := &p.list[i]
		if one.Observing && (one.ExpiresAt == nil || now.Before(*one.ExpiresAt)) && covers(one.Scope, source, workspace) {
			return true
		}
	}
	return false
}

// acting tells, in words, why acting on a workspace is paused, and until when;
// "": it is not. Who acts asks the database.
func (p *pauses) acting(source, workspace string) (words string, until time.Time) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for i := range p.list {
		one := &p.list[i]
		if (one.ExpiresAt == nil || time.Now().Before(*one.ExpiresAt)) && covers(one.Scope, source, workspace) {
			if one.ExpiresAt != nil {
				until = *one.ExpiresAt
			}
			return "paused by " + one.By + ": " + one.Reason, until
		}
	}
	return "", time.Time{}
}

// observingWorkspace tells whether looking at a workspace is stopped by a pause
// of its own.
func (p *pauses) observingWorkspace(source, workspace string) bool {
	p.mu.RLock()
	none := len(p.list) == 0
	p.mu.RUnlock()
	return !none && p.observing(source, workspace)
}

func covers(s store.Scope, source, workspace string) bool {
	switch s.Kind {
	case store.ScopeAll:
		return true
	case store.ScopeSource:
		return s.Source == source
	}
	return workspace != "" && s.Workspace == workspace && s.Source == source
}

// counts gives how many pauses there are by scope.
func (p *pauses) counts() map[string]int {
	p.mu.RLock()
	defer p.mu.RUnlock()
	n := map[string]int{string(store.ScopeAll): 0, string(store.ScopeSource): 0, string(store.ScopeWorkspace): 0}
	for i := range p.list {
		n[string(p.list[i].Kind)]++
	}
	return n
}

// watchPauses reads the pauses when a notice comes, and every second in case
// none does, and ends the passes that they stop.
func (d *Daemon) watchPauses(ctx context.Context) {
	for {
		list, err := d.store.Pauses(ctx)
		if err == nil {
			d.pauses.mu.Lock()
			changed := len(list) != len(d.pauses.list)
			d.pauses.list = list
			d.pauses.mu.Unlock()
			d.metrics.Paused(d.pauses.counts())
			for _, h := range d.held() {
				if d.pauses.observing(h.lease.Source, "") {
					h.interrupt()
				}
			}
			if changed {
				signal(d.wake.passes)
				signal(d.wake.looks)
			}
		} else if ctx.Err() == nil {
			d.storeFailed("pauses", err)
		}
		if !tick(ctx, d.wake.pauses, pollEvery) {
			return
		}
	}
}
