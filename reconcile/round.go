package reconcile

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	mathrand "math/rand/v2"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// round is a time at which the sources of a replica are due together. They
// share a fingerprint key, so that their instances can be asked in the same
// batches: a thousand small tenants cost as many calls as a large one.
type round struct {
	key  drift.Key
	next time.Time
}

// runRounds makes every source due once an interval, and starts those that are
// due and idle. A source whose pass is still running at the next round begins
// again when it has ended: passes over one source never overlap.
func (d *Daemon) runRounds(ctx context.Context) {
	for {
		d.startDue(ctx, time.Now())
		if !tick(ctx, d.wake.passes, d.untilRound()) {
			return
		}
	}
}

func (d *Daemon) untilRound() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return min(max(time.Until(d.round.next), 10*time.Millisecond), pollEvery)
}

func (d *Daemon) startDue(ctx context.Context, now time.Time) {
	if d.health.away() {
		return // what a pass would find could not be written
	}
	d.mu.Lock()
	begins := len(d.holders) > 0 && !now.Before(d.round.next)
	if begins {
		d.round = round{key: NewKey(), next: now.Add(jittered(d.atlas.limits().Interval))}
	}
	key := d.round.key
	d.mu.Unlock()
	for _, h := range d.held() {
		if begins {
			h.makeDue()
		}
		if key != "" && !d.pauses.observing(h.lease.Source, "") {
			h.startPass(ctx, key)
		}
	}
}

// jittered is within a tenth of the interval, so that replicas and deployments
// do not stay in step.
func jittered(interval time.Duration) time.Duration {
	return interval - interval/10 + mathrand.N(interval/5+1) // #nosec G404 -- a pace, not a secret
}

// NewKey draws a fingerprint key that nobody keeps.
func NewKey() drift.Key {
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails: crypto/rand ends the program instead
	return drift.Key(hex.EncodeToString(key[:]))
}
