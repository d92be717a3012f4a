package reconcile_test

import (
	"maps"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
	"github.com/molecule-ai/billing-reconciler/store"
)

// Hundreds of passes with churn: after each step those who are drifted are those
// who should be, and everything that was told is told once. Nothing grows.
func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("many passes")
	}
	t.Parallel()
	s := newSite(t, 10, 20)
	s.change = func(w *reconcile.World) { w.Limits.Interval, w.Limits.SourcesAtOnce = 20*time.Millisecond, 8 }
	d := s.start(s.world())
	db := s.another()
	draw := rand.New(rand.NewPCG(1, 2))
	model := &model{site: s, db: db, counts: map[drift.EventKind]int{}}
	settled := 0
	for step := range 50 {
		model.step(draw)
		s.walked(1)
		if step == 20 {
			runtime.GC()
			settled = runtime.NumGoroutine()
		}
	}
	s.eventually("goroutines are as many as before", func() bool { return runtime.NumGoroutine() <= settled+20 })
	s.walked(2)
	if n := d.Looked(); n > 200 {
		t.Errorf("%d looks are remembered", n)
	}
	passes := 0
	s.with(func() {
		for _, n := range s.walks {
			passes += n
		}
	})
	if passes < 500 {
		t.Errorf("only %d passes", passes)
	}
	if diff := cmp.Diff(model.counts, s.told(db)); diff != "" {
		t.Errorf("told in %d passes (-want +got):\n%s", passes, diff)
	}
	s.sound(db)
}

// model says who is drifted, and what should have been told.
type model struct {
	*site
	db     *store.Store
	counts map[drift.EventKind]int
	next   int
}

// step changes a few workspaces and waits until the daemon has seen it.
func (m *model) step(draw *rand.Rand) {
	m.with(func() {
		for name, list := range m.tenants {
			id := list[draw.IntN(len(list))]
			switch draw.IntN(4) {
			case 0: // mended, or broken
				m.toggle(id)
			case 1: // gone, and another in its place
				m.next++
				if m.drained[id] {
					m.toggle(id)
				}
				fresh := []string{ws(100_000 + m.next)}
				for _, other := range list {
					if other != id {
						fresh = append(fresh, other)
					}
				}
				m.tenants[name] = fresh
			}
		}
	})
	m.eventually("the drifted are those who should be", func() bool {
		yes := true
		open, _, err := m.db.Drifts(m.Context(), store.DriftFilter{Open: &yes, Limit: 1000})
		got := map[string]bool{}
		for i := range open {
			got[open[i].Workspace] = true
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		return err == nil && maps.Equal(got, m.drained)
	})
}

func (m *model) toggle(id string) {
	if m.drained[id] {
		delete(m.drained, id)
		m.counts[drift.EventDriftClosed]++
		return
	}
	m.drained[id] = true
	m.counts[drift.EventDriftOpened]++
}
