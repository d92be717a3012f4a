package reconcile

import (
	"context"
	"time"

	"golang.org/x/sync/semaphore"
)

// desk bounds how many sources are read from or written to the state database
// at once. The sources of a round end together, and there may be a thousand:
// were all to wait for a connection at the same time, the heartbeat would wait
// behind them until their leases ran out, and what they saw would be lost.
type desk struct{ places *semaphore.Weighted }

// deskPlaces leaves most of the ten connections of a default configuration to
// heartbeats, pauses, looks and the API. Writes wait for each other anyway,
// where they learn who holds an address.
const deskPlaces = 4

func newDesk() desk { return desk{semaphore.NewWeighted(deskPlaces)} }

// enter waits for a place until ctx ends; ok is false where none came free.
func (d desk) enter(ctx context.Context) (leave func(), ok bool) {
	if d.places.Acquire(ctx, 1) != nil {
		return nil, false
	}
	return func() { d.places.Release(1) }, true
}

// enterWith is enter for who has something to write: where the daemon ends
// meanwhile it waits on for grace. A look that a person waits for goes past the
// passes.
func (d desk) enterWith(ctx context.Context, l *look, grace time.Duration) (leave func(), ok bool) {
	if !l.full {
		return func() {}, true
	}
	if leave, ok := d.enter(ctx); ok {
		return leave, true
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer stop()
	return d.enter(ctx)
}
