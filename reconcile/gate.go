package reconcile

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// gate bounds how many tenants' databases are read at once. Sources that could
// not be read the last time have a few places of their own, so that those which
// hang hold up none that answers.
type gate struct {
	sound    atomic.Pointer[semaphore.Weighted]
	doubtful *semaphore.Weighted
}

const doubtfulPlaces = 4

func newGate(places int) *gate {
	g := &gate{doubtful: semaphore.NewWeighted(doubtfulPlaces)}
	g.resize(places)
	return g
}

// resize gives other places to those who come from now on.
func (g *gate) resize(places int) {
	g.sound.Store(semaphore.NewWeighted(int64(max(1, places))))
}

// enter waits for a place, at most until ctx ends: what is read then ends by
// itself.
func (g *gate) enter(ctx context.Context, doubtful bool) (leave func()) {
	lane := g.sound.Load()
	if doubtful {
		lane = g.doubtful
	}
	if lane.Acquire(ctx, 1) != nil {
		return func() {}
	}
	return func() { lane.Release(1) }
}
