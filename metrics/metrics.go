// Package metrics declares every instrument of the reconciler in one place.
// Labels are bounded by configuration and by words of our own, never by what
// the fleet or a log says. A series that can be known is there from the start,
// at zero; one that nobody measures is left out: docs/metrics.md says which.
//
// What a replica says of a source it says only while it holds the source's
// lease, so that replicas never contradict each other: gauges go with the
// lease, counters stay.
package metrics

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics is one set of instruments with a registry of its own, so that tests
// and several reconcilers in a process do not share series.
type Metrics struct {
	Registry *prometheus.Registry

	// ProxyHits counts calls read from proxy logs by {attribution, result}.
	ProxyHits *prometheus.CounterVec
	// Observations counts looks by {witness, result}.
	Observations *prometheus.CounterVec
	// AWSRequests counts calls of the AWS API by {operation, result}: ok, throttled, error.
	AWSRequests *prometheus.CounterVec
	// LogLines counts log lines by {input, result}: understood, not_understood.
	LogLines *prometheus.CounterVec

	reprovisions  *prometheus.CounterVec   // by result
	passSeconds   *prometheus.HistogramVec // by source
	sourceErrors  *prometheus.CounterVec   // by source
	driftOpened   *prometheus.CounterVec   // by source, severity
	driftClosed   *prometheus.CounterVec   // by result
	detection     prometheus.Histogram
	storeErrors   *prometheus.CounterVec // by operation
	paused        *prometheus.GaugeVec   // by scope
	leader        prometheus.Gauge
	leases        prometheus.Gauge
	sources       prometheus.Gauge
	reloadOK      prometheus.Gauge
	reloadedAt    prometheus.Gauge
	drained       *prometheus.CounterVec // by source
	notifications *prometheus.CounterVec // by sink, result
	lag           *prometheus.GaugeVec   // by input
	lineAt        *prometheus.GaugeVec   // by input
	blind         *prometheus.GaugeVec   // by input
	sinkBehind    *prometheus.GaugeVec   // by sink
	strays        prometheus.Gauge
	inputs        atomic.Pointer[[]string] // the configured ones
	sinks         atomic.Pointer[[]string] // the configured ones

	standing *standing // all that is known of the sources that this replica holds
}

// Option chooses how New makes the instruments.
type Option func(*options)

type options struct {
	perSource, perWorkspace bool
	now                     func() time.Time
}

// WithPerSource tells whether every source has series of its own; by default it
// has. Without, the label source is "all": counts are summed over the sources,
// ages are the greatest, and the last pass is the one furthest back.
func WithPerSource(yes bool) Option { return func(o *options) { o.perSource = yes } }

// WithPerWorkspace tells whether every workspace has a series too, however many
// there are; by default none has.
func WithPerWorkspace(yes bool) Option { return func(o *options) { o.perWorkspace = yes } }

// WithClock sets what ages are measured by at a scrape; by default time.Now.
func WithClock(now func() time.Time) Option { return func(o *options) { o.now = now } }

// New registers all instruments in a registry of their own, with the Go and
// process collectors and build_info for version.
func New(version string, opts ...Option) *Metrics {
	o := options{perSource: true, now: time.Now}
	for _, set := range opts {
		set(&o)
	}
	m := &Metrics{Registry: prometheus.NewRegistry(), standing: newStanding(o)}
	m.counters()
	m.gauges()
	m.histograms()
	build := gauges("build_info", "Always 1; the labels say what runs.", "version", "go_version")
	build.WithLabelValues(version, runtime.Version()).Set(1)
	m.Registry.MustRegister(m.ProxyHits, m.Observations, m.AWSRequests, m.LogLines, m.notifications, m.reprovisions,
		m.passSeconds, m.sourceErrors, m.driftOpened, m.driftClosed, m.detection, m.storeErrors, m.paused, m.leader, m.leases,
		m.sources, m.reloadOK, m.reloadedAt, m.drained, m.lag, m.lineAt, m.blind, m.sinkBehind, m.strays, build, m.standing,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.zero()
	return m
}

func (m *Metrics) counters() {
	m.ProxyHits = counters("proxy_hits_total", "LLM calls read from proxy logs, by how they were attributed and whether they were billed.", "attribution", "result")
	m.Observations = counters("observations_total", "Looks at workspaces, by witness and result.", "witness", "result")
	m.AWSRequests = counters("aws_requests_total", "AWS API calls, every retry counted, by operation and result.", "operation", "result")
	m.LogLines = counters("log_lines_total", "Proxy log lines read, by input and whether they were understood.", "input", "result")
	m.notifications = counters("notifications_total", "Messages to people and systems, by sink and result.", "sink", "result")
	m.reprovisions = counters("reprovisions_total", "Reprovisions that ended, by result.", "result")
	m.sourceErrors = counters("source_errors_total", "Passes that could not read their source.", "source")
	m.driftOpened = counters("drift_opened_total", "Drifts that opened, by their severity then.", "source", "severity")
	m.driftClosed = counters("drift_closed_total", "Drifts that ended, by how.", "result")
	m.drained = counters("drained_usd_total", "Known cost of billed calls of workspaces that the platform must not pay for, in US dollars.", "source")
	m.storeErrors = counters("store_errors_total", "Operations of the reconciler's own database that failed.", "operation")
}

func (m *Metrics) gauges() {
	m.paused = gauges("paused", "Pauses in force, by what they are for.", "scope")
	m.leader = gauge("leader", "1 while this replica does what one does for all.")
	m.leases = gauge("leases_held", "Sources whose lease this replica holds.")
	m.sources = gauge("sources", "Sources in this replica's configuration.")
	m.lag = gauges("log_lag_seconds", "Time since the oldest line that is known and not counted yet; 0: all are.", "input")
	m.lineAt = gauges("log_last_line_timestamp_seconds", "When a line last came from the input, in Unix seconds; 0: none has.", "input")
	m.blind = gauges("log_blind", "1 while the input cannot be read, has no reader or is silent for too long; told by the leader.", "input")
	m.sinkBehind = gauges("notifications_behind_seconds", "How long the sink has failed, or an event has waited for it; 0: neither. Every replica says the same.", "sink")
	m.strays = gauge("unattributed_calls", "Billed calls of the last while from addresses that no workspace held; told by the leader.")
	m.reloadOK = gauge("config_reload_success", "0 while the configuration in force is older than the file, because the file was refused.")
	m.reloadedAt = gauge("config_last_reload_success_timestamp_seconds", "When the configuration in force was read, in Unix seconds.")
}

func (m *Metrics) histograms() {
	m.passSeconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: "pass_seconds", Help: "Duration of passes over a source that succeeded.",
		Buckets:                     []float64{.1, .5, 1, 5, 15, 60, 300, 900},
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
	}, []string{"source"})
	m.detection = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: namespace, Name: "detection_seconds", Help: "From the first wrong evidence of a drift to its event.",
		Buckets:                     []float64{.1, .25, .5, 1, 5, 15, 60, 120, 300, 600, 900, 1800, 3600, 14400},
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
	})
}

const namespace = "reconciler"

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
}

func gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}
