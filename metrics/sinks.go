package metrics

import (
	"slices"
	"time"
)

// notified are the ways for a message to end: it was taken; not taken, and is
// tried again; refused as it is, and is tried again; refused for good.
var notified = []string{"ok", "error", "refused", "dropped"}

// Sinks makes the series of the configured sinks, at zero, and forgets the
// gauges of others.
func (m *Metrics) Sinks(names []string) {
	m.sinks.Store(&names)
	m.sinkBehind.Reset()
	for _, name := range names {
		m.sinkBehind.WithLabelValues(name)
		for _, result := range notified {
			m.notifications.WithLabelValues(name, result)
		}
	}
}

// Notified counts a message to a sink: ok, error, refused or dropped.
func (m *Metrics) Notified(sink, result string) {
	m.notifications.WithLabelValues(sink, result).Inc()
}

// SinkBehind says how long a sink has failed or an event has waited for it. One
// that is not configured here is ignored: another replica may know it.
func (m *Metrics) SinkBehind(sink string, behind time.Duration) {
	if names := m.sinks.Load(); names != nil && slices.Contains(*names, sink) {
		m.sinkBehind.WithLabelValues(sink).Set(behind.Seconds())
	}
}
