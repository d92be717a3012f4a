package reconcile

import (
	"fmt"
	"sync"
	"time"

	"github.com/molecule-ai/billing-reconciler/store"
)

// health is what readiness is judged by.
type health struct {
	mu    sync.Mutex
	ok    time.Time // the database's last answer
	err   error     // of the last call that failed since; nil: none did
	since time.Time // of the first failure since ok
}

func (h *health) reached(at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ok, h.err, h.since = at, nil, time.Time{}
}

// away tells whether the database was not there when it was last asked.
func (h *health) away() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err != nil && store.Unreachable(h.err)
}

func (h *health) failed(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		h.since = time.Now()
	}
	h.err = err
}

// storeFailed notes that a call of the database failed. The operation is one of
// metrics.StoreOperations.
func (d *Daemon) storeFailed(operation string, err error) {
	d.health.failed(err)
	d.metrics.StoreError(operation)
}

func (h *health) lastReached() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ok
}

// readyFor is how long the database may be silent before the daemon says that
// it is not ready: a restart of it takes a few seconds.
const readyFor = 3 * heartbeat

// Problems says what keeps the daemon from being ready, in words; none: it is.
func (d *Daemon) Problems() []string {
	var problems []string
	d.health.mu.Lock()
	ok, err, since := d.health.ok, d.health.err, d.health.since
	d.health.mu.Unlock()
	switch {
	case ok.IsZero() && err == nil:
		problems = append(problems, "the state database has not answered yet")
	case err != nil && time.Since(ok) > readyFor:
		problems = append(problems, fmt.Sprintf("the state database has not answered since %s: %v", since.UTC().Format(time.RFC3339), err))
	}
	limit := 3 * d.atlas.limits().Interval
	for _, h := range d.held() {
		if late := h.late(limit); late != "" && !d.pauses.observing(h.lease.Source, "") {
			problems = append(problems, late)
		}
	}
	return problems
}

// late says that the last pass over a source is too old. One that ended because
// its tenant could not be read counts: the replica does its work, and to take it
// out of service would help nobody. A metric and an alert tell of the tenant.
func (h *holder) late(limit time.Duration) string {
	h.memory.RLock()
	defer h.memory.RUnlock()
	last := h.taken
	what := "has not been walked since this replica took it at"
	if h.known != nil && h.known.Source.LastPassAt.After(last) {
		last, what = h.known.Source.LastPassAt, "was last walked at"
	}
	if h.known != nil && h.known.Source.TriedAt.After(last) {
		last = h.known.Source.TriedAt
	}
	if time.Since(last) <= limit {
		return ""
	}
	return fmt.Sprintf("source %s %s %s", h.lease.Source, what, last.UTC().Format(time.RFC3339))
}

// Alive tells whether the daemon's own loops go round: a watchdog asks.
func (d *Daemon) Alive() bool {
	beat := d.beat.Load()
	return beat == 0 || time.Since(time.Unix(0, beat)) < 2*leaseTTL
}
