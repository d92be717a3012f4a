package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/config"
	"github.com/molecule-ai/billing-reconciler/metrics"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
	"github.com/molecule-ai/billing-reconciler/reconcile"
)

// logWitness reads the configured log files whole, for one pass.
type logWitness struct {
	files   []config.LogFile
	options proxylog.ReadOptions
	billed  proxylog.Statuses
	grace   time.Duration
	metrics *metrics.Metrics
	counted *growth
}

// growth lets a log that is read whole, again and again, be counted once: only
// what has come since the last reading counts. Of a log that is shorter than it
// was, all is new.
type growth struct {
	mu   sync.Mutex
	last map[[2]string]int64
}

func newGrowth() *growth { return &growth{last: map[[2]string]int64{}} }

func (g *growth) add(counter *prometheus.CounterVec, a, b string, total int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := [2]string{a, b}
	grown := total - g.last[key]
	if grown < 0 {
		grown = total
	}
	g.last[key] = total
	counter.WithLabelValues(a, b).Add(float64(grown))
}

// newLogWitness gives nil where no log file is configured: then nobody reads
// traffic, and the documents say so by null.
func newLogWitness(cfg *config.Config, m *metrics.Metrics, counted *growth) (*logWitness, error) {
	w := &logWitness{grace: cfg.Observe.TrafficGrace.Duration, metrics: m, counted: counted}
	for _, l := range cfg.Observe.Logs {
		if l.File != nil {
			w.files = append(w.files, *l.File)
		}
	}
	if len(w.files) == 0 {
		return nil, nil
	}
	var patterns []string
	for _, p := range cfg.Proxy.BilledStatuses {
		patterns = append(patterns, string(p))
	}
	var err error
	if w.billed, err = proxylog.ParseStatuses(patterns); err != nil {
		return nil, fmt.Errorf("proxy.billed_statuses: %w", err)
	}
	for _, c := range cfg.Proxy.TrustedProxies {
		w.options.Proxies = append(w.options.Proxies, c.Prefix)
	}
	return w, nil
}

// Traffic implements reconcile.Witness.
func (w *logWitness) Traffic(ctx context.Context, lives []reconcile.Life) reconcile.Calls {
	ledger := w.ledger(lives)
	var calls reconcile.Calls
	var counts [3][2]int // by attribution; rejected, billed
	for _, f := range w.files {
		format, err := proxylog.ParseFormat(string(f.Format))
		if err != nil {
			calls.Err = fmt.Errorf("observe.logs: %s: %w", f.Path, err)
			continue
		}
		options := w.options
		options.Format = format
		stats, err := proxylog.Read(ctx, []string{string(f.Path)}, options, func(h *proxylog.Hit) {
			attribution, _ := ledger.Add(h)
			if w.billed.Has(h.Status) {
				counts[attribution][1]++
			} else {
				counts[attribution][0]++
			}
		})
		calls.Lines += stats.Lines
		calls.Skipped += stats.NotUnderstood
		if err != nil {
			calls.Err = fmt.Errorf("read the proxy log: %w", err)
		}
	}
	w.counted.add(w.metrics.LogLines, "file", "understood", calls.Lines-calls.Skipped)
	w.counted.add(w.metrics.LogLines, "file", "not_understood", calls.Skipped)
	for a, n := range counts {
		by := proxylog.Attribution(a).String() // #nosec G115 -- three
		w.counted.add(w.metrics.ProxyHits, by, "rejected", int64(n[0]))
		w.counted.add(w.metrics.ProxyHits, by, "billed", int64(n[1]))
	}
	w.answer(ledger, lives, &calls)
	return calls
}

// ledger knows who held which address: since the container's start where that
// is known, and perhaps at any time where it is not.
func (w *logWitness) ledger(lives []reconcile.Life) *proxylog.Ledger {
	holdings := make([]proxylog.Holding, 0, 2*len(lives))
	named := make([]proxylog.Named, 0, len(lives))
	starts := make(map[string]time.Time, len(lives))
	for _, l := range lives {
		key := lifeKey(l)
		named = append(named, proxylog.Named{ID: l.ID, Workspace: key})
		starts[key] = l.Since
		for _, a := range l.Addresses {
			holdings = append(holdings, proxylog.Holding{Addr: a, Workspace: key, From: l.Since, Uncertain: l.Since.IsZero()})
		}
	}
	return proxylog.NewLedger(proxylog.NewHolders(holdings, named), starts, proxylog.LedgerOptions{Billed: w.billed, Grace: w.grace})
}

func lifeKey(l reconcile.Life) string { return l.Source + "/" + l.ID }

// strays is how many unattributed addresses are named.
const strays = 10

func (w *logWitness) answer(ledger *proxylog.Ledger, lives []reconcile.Life, calls *reconcile.Calls) {
	calls.ByLife = make([]drift.Traffic, len(lives))
	for i, l := range lives {
		calls.ByLife[i] = ledger.Traffic(lifeKey(l))
		if calls.Err != nil && calls.ByLife[i].PastGrace == 0 {
			// What was read may accuse; what was not read must not acquit.
			calls.ByLife[i] = drift.Traffic{Since: l.Since, Err: calls.Err.Error()}
		}
	}
	list, beyond := ledger.Strays()
	calls.Unattributed.Billed, calls.Unattributed.Rejected = int(beyond.Billed), int(beyond.Rejected)
	for i, s := range list {
		calls.Unattributed.Billed += int(s.Billed)
		calls.Unattributed.Rejected += int(s.Rejected)
		if i < strays {
			calls.Unattributed.Addresses = append(calls.Unattributed.Addresses, reconcile.AddressCount{Addr: s.Addr, Billed: int(s.Billed), Rejected: int(s.Rejected)})
		}
	}
}
