package main

import (
	"context"
	"fmt"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/config"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
	"github.com/molecule-ai/billing-reconciler/reconcile"
)

// logWitness reads the configured log files whole, for one pass.
type logWitness struct {
	files   []config.LogFile
	options proxylog.ReadOptions
	tally   *proxylog.TallyOptions
	grace   time.Duration
}

// newLogWitness gives nil where no log file is configured: then nobody reads
// traffic, and the documents say so by null.
func newLogWitness(cfg *config.Config) (*logWitness, error) {
	w := &logWitness{grace: cfg.Observe.TrafficGrace.Duration}
	for _, l := range cfg.Observe.Logs {
		if l.File != nil {
			w.files = append(w.files, *l.File)
		}
	}
	if len(w.files) == 0 {
		return nil, nil
	}
	tally, err := tallyOptions(cfg)
	if err != nil {
		return nil, err
	}
	w.tally, w.options.Proxies = tally, tally.Proxies
	return w, nil
}

// Traffic implements reconcile.Witness.
func (w *logWitness) Traffic(ctx context.Context, lives []reconcile.Life) reconcile.Calls {
	ledger := w.ledger(lives)
	var calls reconcile.Calls
	for _, f := range w.files {
		format, err := proxylog.ParseFormat(string(f.Format))
		if err != nil {
			calls.Err = fmt.Errorf("observe.logs: %s: %w", f.Path, err)
			continue
		}
		options := w.options
		options.Format = format
		stats, err := proxylog.Read(ctx, []string{string(f.Path)}, options, func(h *proxylog.Hit) { ledger.Add(h) })
		calls.Lines += stats.Lines
		calls.Skipped += stats.NotUnderstood
		if err != nil {
			calls.Err = fmt.Errorf("read the proxy log: %w", err)
		}
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
	return proxylog.NewLedger(proxylog.NewHolders(holdings, named), starts, proxylog.LedgerOptions{Billed: w.tally.Billed, Prices: w.tally.Prices, Grace: w.grace})
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
