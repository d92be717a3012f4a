package reconcile

import (
	"encoding/json"

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
