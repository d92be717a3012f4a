package traffic

import (
	"context"
	"net/netip"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
	"github.com/molecule-ai/billing-reconciler/store"
)

// Witness tells passes what has been counted. It is a reconcile.Witness, and
// knows the whole fleet's holdings by itself: lives of others need not be given,
// but for those who may hold an address and were never seen.
type Witness struct {
	Store *store.Store
	Grace time.Duration // after a container's start, for calls that were in flight
}

// Traffic implements reconcile.Witness. What cannot be read is in each life's
// own Err: it acquits no one.
func (w *Witness) Traffic(ctx context.Context, lives []reconcile.Life) reconcile.Calls {
	calls := reconcile.Calls{ByLife: make([]drift.Traffic, len(lives))}
	var unseen []netip.Addr // what somebody unknown may hold
	bySource := map[string][]int{}
	for i, l := range lives {
		calls.ByLife[i].Since = l.Since
		if l.ID == "" {
			unseen = append(unseen, l.Addresses...)
			continue
		}
		if l.Paid {
			continue // business, not drift; and there is much of it
		}
		bySource[l.Source] = append(bySource[l.Source], i)
	}
	blind, err := w.Store.Blind(ctx)
	if err != nil {
		calls.Err = err
		return calls
	}
	for source, places := range bySource {
		if err := w.hear(ctx, source, lives, places, unseen, &calls); err != nil {
			calls.Err = err
		}
	}
	for i := range calls.ByLife {
		t := &calls.ByLife[i]
		t.BlindSince, t.BackAt = blind.Since, blind.BackAt
		if t.Billed+t.Rejected == 0 && t.Err == "" {
			t.Err = blind.Problem // what was counted may accuse; what cannot be read acquits no one
		}
	}
	return calls
}

// hear asks about the lives of one source.
func (w *Witness) hear(ctx context.Context, source string, lives []reconcile.Life, places []int, unseen []netip.Addr, calls *reconcile.Calls) error {
	listeners := make([]store.Listener, len(places))
	for i, place := range places {
		l := &lives[place]
		listeners[i] = store.Listener{Workspace: l.ID, Since: l.Since, Addresses: l.Addresses}
	}
	heard, err := w.Store.Hear(ctx, source, listeners, unseen, w.Grace)
	if err != nil {
		for _, place := range places {
			calls.ByLife[place].Err = err.Error()
		}
		return err
	}
	for _, place := range places {
		if h, ok := heard[lives[place].ID]; ok {
			tell(&calls.ByLife[place], &h)
		}
	}
	return nil
}

func tell(t *drift.Traffic, h *store.Heard) {
	t.Billed, t.Rejected, t.PastGrace, t.Ambiguous = int(h.Billed), int(h.Rejected), int(h.PastGrace), int(h.Doubtful)
	t.Named, t.Elsewhere = int(h.Named), int(h.Elsewhere)
	t.First, t.Last = h.First, h.Last
	t.InputTokens, t.OutputTokens = h.Input, h.Output
	if h.Billed > 0 && h.Unpriced == 0 {
		t.CostUSD = &h.CostUSD
	}
}
