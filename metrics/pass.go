package metrics

import (
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Pass is what one pass over a source found. Verdicts, kinds, severities and
// rules are drift's words.
type Pass struct {
	At     time.Time     // when it began
	Took   time.Duration //
	Failed bool          // the source could not be read: nothing below counts, what was known stands
	Surge  bool          // the inputs are suspect, and acting is held

	Counts   map[string]int       // workspaces by verdict
	Findings map[Finding]int      // those that stand, of every workspace
	Oldest   map[string]time.Time // when the oldest open drift of a severity opened; none: not in the map
	Observed map[string]time.Time // the look furthest back, of workspaces that should be seen; a witness that is not asked is not in the map
	Blocked  map[string]int       // drifted workspaces, by the rule that keeps from reprovisioning them
	Verdicts map[string]string    // by workspace id; shown only WithPerWorkspace
}

// Finding is what findings are counted by.
type Finding struct {
	Kind     string
	Severity string
}

// Sources says which sources are configured. Their counters are there from now
// on; all series of those that are no longer configured go.
func (m *Metrics) Sources(names []string) {
	gone := m.standing.configure(names)
	m.sources.Set(float64(len(names)))
	if !m.standing.perSource {
		return
	}
	for _, name := range names {
		m.zeroSource(name)
	}
	for _, name := range gone {
		m.passSeconds.DeleteLabelValues(name)
		m.sourceErrors.DeleteLabelValues(name)
		m.drained.DeleteLabelValues(name)
		m.driftOpened.DeletePartialMatch(prometheus.Labels{"source": name})
	}
}

// Hold says that this replica has got the lease of a source, and what is known
// of it from before (At: the last pass that succeeded; the zero Pass where
// nothing is), so that nothing seems mended while a lease changes hands.
func (m *Metrics) Hold(source string, known Pass) {
	m.standing.set(source, known)
}

// Pass says what a pass over a source found. One over some of its workspaces is
// not to be told. A source that is not configured is ignored: its last pass
// may end after it was removed.
func (m *Metrics) Pass(source string, p Pass) {
	if !m.standing.configured(source) {
		return
	}
	if p.Failed {
		m.standing.fail(source)
		m.sourceErrors.WithLabelValues(m.standing.label(source)).Inc()
		return
	}
	m.standing.set(source, p)
	m.passSeconds.WithLabelValues(m.standing.label(source)).Observe(p.Took.Seconds())
}

// Forget says that the lease of a source went elsewhere: this replica says
// nothing more of it. What it counted stays.
func (m *Metrics) Forget(source string) { m.standing.forget(source) }

// Interval sets the time from one pass over a source to the next, which alert
// rules measure silence by.
func (m *Metrics) Interval(d time.Duration) { m.standing.every(d) }

// Opened counts a drift that has opened, and the time from its first wrong
// evidence to its event.
func (m *Metrics) Opened(source string, severity string, detection time.Duration) {
	if !m.standing.configured(source) {
		return
	}
	m.driftOpened.WithLabelValues(m.standing.label(source), severity).Inc()
	m.detection.Observe(max(0, detection.Seconds()))
}

// Closed counts a drift that has ended.
func (m *Metrics) Closed(result string) {
	m.driftClosed.WithLabelValues(result).Inc()
}

func (p Pass) clone() Pass {
	p.Counts, p.Findings, p.Oldest = maps.Clone(p.Counts), maps.Clone(p.Findings), maps.Clone(p.Oldest)
	p.Observed, p.Blocked, p.Verdicts = maps.Clone(p.Observed), maps.Clone(p.Blocked), maps.Clone(p.Verdicts)
	return p
}
