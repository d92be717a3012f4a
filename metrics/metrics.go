// Package metrics declares every instrument of the reconciler in one place.
// Labels are bounded by configuration, never by what the fleet or a log says.
package metrics

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics is one set of instruments with a registry of its own, so that tests
// and several reconcilers in a process do not share series.
type Metrics struct {
	Registry *prometheus.Registry

	// Workspaces counts workspaces by {source, verdict} as the last pass saw them.
	Workspaces *prometheus.GaugeVec
	// DriftOpen counts findings that stand, by {source, kind, severity}.
	DriftOpen *prometheus.GaugeVec
	// ProxyHits counts calls read from proxy logs by {attribution, result}.
	ProxyHits *prometheus.CounterVec
	// Observations counts looks by {witness, result}.
	Observations *prometheus.CounterVec
	// AWSRequests counts calls of the AWS API by {operation, result}: ok, throttled, error.
	AWSRequests *prometheus.CounterVec
	// PassSeconds times passes by {source}.
	PassSeconds *prometheus.HistogramVec
	// LastPass is the end of the last pass by {source}, in Unix seconds.
	LastPass *prometheus.GaugeVec
	// LogLines counts log lines by {input, result}: understood, not_understood.
	LogLines *prometheus.CounterVec
}

// New registers all instruments in a registry of their own, with the Go and
// process collectors and build_info for version.
func New(version string) *Metrics {
	m := &Metrics{
		Registry:     prometheus.NewRegistry(),
		Workspaces:   gauge("workspaces", "Workspaces by verdict, as the last pass of their source saw them.", "source", "verdict"),
		DriftOpen:    gauge("drift_open", "Findings that stand.", "source", "kind", "severity"),
		ProxyHits:    counter("proxy_hits_total", "LLM calls read from proxy logs, by how they were attributed and whether they were billed.", "attribution", "result"),
		Observations: counter("observations_total", "Looks at workspaces, by witness and result.", "witness", "result"),
		AWSRequests:  counter("aws_requests_total", "AWS API calls, every retry counted, by operation and result.", "operation", "result"),
		PassSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "pass_seconds", Help: "Duration of passes over a source.",
			Buckets:                     []float64{.1, .5, 1, 5, 15, 60, 300, 900},
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
		}, []string{"source"}),
		LastPass: gauge("last_pass_timestamp_seconds", "When the last pass over a source ended, in Unix seconds.", "source"),
		LogLines: counter("log_lines_total", "Proxy log lines read, by input and whether they were understood.", "input", "result"),
	}
	build := gauge("build_info", "Always 1; the labels say what runs.", "version", "go_version")
	build.WithLabelValues(version, runtime.Version()).Set(1)
	m.Registry.MustRegister(m.Workspaces, m.DriftOpen, m.ProxyHits, m.Observations, m.AWSRequests, m.PassSeconds,
		m.LastPass, m.LogLines, build, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

const namespace = "reconciler"

func gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}
