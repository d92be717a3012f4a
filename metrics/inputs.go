package metrics

import (
	"slices"
	"time"
)

// Drained counts what billed calls of a source's workspaces cost that the
// platform must not pay for, in US dollars, as far as it is known.
func (m *Metrics) Drained(source string, usd float64) {
	m.drained.WithLabelValues(m.standing.label(source)).Add(usd)
}

// Inputs makes the series of the configured inputs, at zero, and forgets the
// gauges of others.
func (m *Metrics) Inputs(names []string) {
	m.inputs.Store(&names)
	m.lag.Reset()
	m.lineAt.Reset()
	m.blind.Reset()
	for _, name := range names {
		m.lag.WithLabelValues(name)
		m.lineAt.WithLabelValues(name)
		m.blind.WithLabelValues(name)
		m.LogLines.WithLabelValues(name, "understood")
		m.LogLines.WithLabelValues(name, "not_understood")
	}
}

// Lag says how far the counting of an input is behind its reading.
func (m *Metrics) Lag(input string, behind time.Duration) {
	m.lag.WithLabelValues(input).Set(behind.Seconds())
}

// LineCame says when a line last came from an input, on whatever host.
func (m *Metrics) LineCame(input string, at time.Time) {
	if names := m.inputs.Load(); names != nil && slices.Contains(*names, input) {
		m.lineAt.WithLabelValues(input).Set(seconds(at))
	}
}

// Blind says whether an input shows nothing though it should. One that is not
// configured here is ignored: another replica may know it.
func (m *Metrics) Blind(input string, yes bool) {
	if names := m.inputs.Load(); names != nil && slices.Contains(*names, input) {
		m.blind.WithLabelValues(input).Set(number(yes))
	}
}

func (m *Metrics) unblind() {
	if names := m.inputs.Load(); names != nil {
		for _, name := range *names {
			m.blind.WithLabelValues(name).Set(0)
		}
	}
}

// Strays says how many billed calls of the last while are nobody's.
func (m *Metrics) Strays(billed int64) { m.strays.Set(float64(billed)) }
