package reconcile

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// Settling lets tests settle looks made by hand.
type Settling struct {
	Result   *Result
	Full     bool
	Known    *store.Known
	Surge    drift.Surge
	Alerting drift.Alerting
	Asks     bool
	Doubt    string
	Skip     map[string]bool
	Quiet    bool
}

// Settle gives the outcome.
func (s Settling) Settle() *store.Outcome {
	return (&settling{Source: "reno", Result: s.Result, Full: s.Full, Known: s.Known, Resolver: "r1", Alerting: s.Alerting, Surge: s.Surge, Asks: s.Asks, Doubt: s.Doubt,
		Skip: func(id string) bool { return s.Skip[id] }, Quiet: func(*Judged) bool { return s.Quiet },
		Document: func(j *Judged) json.RawMessage {
			text, _ := json.Marshal(map[string]any{"id": j.Workspace.ID, "verdict": j.Verdict, "reason": j.Reason})
			return text
		}}).settle()
}

// What else is tested by itself.
var (
	Absorb        = absorb
	DigestOf      = digest
	FirstEvidence = firstEvidence
	NewGate       = newGate
)

// Enter enters a gate.
var Enter = (*gate).enter

// LeaseTTL is what a test waits for that wants a lease to run out.
const LeaseTTL = leaseTTL

// Looked counts the looks that a daemon remembers.
func (d *Daemon) Looked() (n int) {
	for _, h := range d.held() {
		h.mu.Lock()
		n += len(h.looked) + len(h.looking)
		h.mu.Unlock()
	}
	return n
}

// Holds lists the sources that a daemon holds.
func (d *Daemon) Holds() (names []string) {
	for _, h := range d.held() {
		names = append(names, h.lease.Source)
	}
	return names
}

// Leads tells whether a daemon does the fleet's chores.
func (d *Daemon) Leads() bool {
	_, leads := d.leads()
	return leads
}

// Orphans lists the sources that a daemon knows to be nobody's, and those of
// them that it is to forget.
func (d *Daemon) Orphans() (noticed, adopted []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.orphans.noticed)), slices.Sorted(maps.Keys(d.orphans.adopted))
}

// Retired counts the sources that are to be handed over.
func (d *Daemon) Retired() (n int) {
	for _, h := range d.held() {
		h.mu.Lock()
		if h.retired {
			n++
		}
		h.mu.Unlock()
	}
	return n
}

// What follows lets a test take the steps of a daemon one by one, in an order of
// its own: none of its loops runs.

// Keep shows a sign of life, and takes and gives up sources.
func (d *Daemon) Keep(ctx context.Context) { d.keep(ctx) }

// Act takes one turn at an action.
func (d *Daemon) Act(ctx context.Context, id int64) (time.Duration, error) { return d.act(ctx, id) }

// WalkNow walks a source; false: another has it.
func (d *Daemon) WalkNow(ctx context.Context, source string) bool {
	h := d.holderOf(source)
	if h != nil {
		h.pass(ctx, NewKey())
	}
	return h != nil
}

// LookNow answers the looks that are asked for at a source; false: another has
// it.
func (d *Daemon) LookNow(ctx context.Context, source string) bool {
	h := d.holderOf(source)
	if h == nil {
		return false
	}
	if list, err := d.store.Looks(ctx, []string{source}); err == nil && len(list) > 0 {
		h.lookAt(list)
	}
	return true
}

func (d *Daemon) holderOf(source string) *holder {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.holders[source]
}

// SeePauses reads what is paused.
func (d *Daemon) SeePauses(ctx context.Context) error {
	list, err := d.store.Pauses(ctx)
	d.pauses.mu.Lock()
	defer d.pauses.mu.Unlock()
	d.pauses.list = list
	return err
}

// Die lets go of everything, and tells nobody.
func (d *Daemon) Die() { d.dropAll() }

// Overtaken is asked right before a call.
var Overtaken = overtaken
