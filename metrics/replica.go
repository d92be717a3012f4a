package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Paused sets how many pauses are in force, by the kind of their scope (all,
// source, workspace); a kind that is not in the map has none. It is to be
// called while they last, by every replica.
func (m *Metrics) Paused(byScope map[string]int) {
	for _, scope := range scopes {
		m.paused.WithLabelValues(scope).Set(float64(byScope[scope]))
	}
}

// Leader says whether this replica does what one does for all. One that does
// not any more has nothing to say of the fleet.
func (m *Metrics) Leader(yes bool) {
	m.leader.Set(number(yes))
	if !yes {
		m.unblind()
		m.strays.Set(0)
	}
}

// Leases says how many sources' leases this replica holds, the fleet's own
// (the leader's) not counted.
func (m *Metrics) Leases(n int) { m.leases.Set(float64(n)) }

// Reloaded says how reading the configuration ended, the first time too.
func (m *Metrics) Reloaded(ok bool, at time.Time) {
	m.reloadOK.Set(number(ok))
	if ok {
		m.reloadedAt.Set(seconds(at))
	}
}

// StoreError counts a failed operation of the reconciler's own database by one
// of StoreOperations; by "other" where it is none of them.
func (m *Metrics) StoreError(operation string) {
	if !slices.Contains(StoreOperations, operation) {
		operation = other
	}
	m.storeErrors.WithLabelValues(operation).Inc()
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// seconds since 1970, 0 for the zero time: never.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

func touch(c *prometheus.CounterVec) func(...string) {
	return func(words ...string) { c.WithLabelValues(words...) }
}

// Reprovisioned counts a reprovision that ended, by how: a drift.Outcome.
func (m *Metrics) Reprovisioned(outcome string) { m.reprovisions.WithLabelValues(outcome).Inc() }
