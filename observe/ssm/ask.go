package ssm

import (
	"context"
	"regexp"
	"slices"
	"sync"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// ask is one caller's question. It makes sure that everybody whom the caller
// asked about is answered, and once. Calls are shared with other callers; an
// answer waits here until the caller takes it, so that a slow one holds up
// nobody else.
type ask struct {
	pool     *Pool
	cmd      Command
	campaign *campaign // nil: the inventory alone is asked, and no observation counted
	ctx      context.Context
	halt     context.CancelCauseFunc // ends the question, when nothing further can succeed

	// The pool's lock holds these.
	upstream int             // ids of which the inventory has not told yet
	batches  map[*batch]bool // in which something of ours is waited for

	mu    sync.Mutex
	open  map[string]bool
	known map[string]instance
	ready []answer
	wake  chan struct{} // something became ready
}

type answer struct {
	id string
	o  drift.Observation
}

// instanceID is AWS's pattern: one other id would fail the call of 50.
var instanceID = regexp.MustCompile(`^(i-([0-9a-f]{8}|[0-9a-f]{17})|mi-[0-9a-f]{17})$`)

// expect notes the ids and answers those that are none. It gives the others,
// sorted: the same fleet gives the same batches.
func (a *ask) expect(ids []string) []string {
	var good, bad []string
	for _, id := range ids {
		if a.open[id] {
			continue
		}
		a.open[id] = true
		if instanceID.MatchString(id) {
			good = append(good, id)
		} else {
			bad = append(bad, id)
		}
	}
	a.giveUp(bad, "not an instance id")
	slices.Sort(good)
	return good
}

// deliver hands over answers until there are no more, or the question ends.
func (a *ask) deliver(each func(string, drift.Observation)) {
	for {
		ready, over := a.take()
		for i := range ready {
			each(ready[i].id, ready[i].o)
		}
		if over {
			return
		}
		select {
		case <-a.wake:
		case <-a.ctx.Done():
			return
		}
	}
}

// take gives what is ready, and whether nothing more will come.
func (a *ask) take() (ready []answer, over bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ready, a.ready = a.ready, nil
	return ready, len(a.open) == 0
}

// note keeps what the inventory says of an instance, for its observation.
func (a *ask) note(id string, i instance) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known[id] = i
}

func (a *ask) give(id string, o drift.Observation) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.open[id] {
		return
	}
	delete(a.open, id)
	if o.At.IsZero() {
		o.At = a.pool.opts.Now()
	}
	if i, ok := a.known[id]; ok {
		o = i.fill(o)
	}
	if a.campaign != nil {
		a.pool.metrics.Observations.WithLabelValues("container", o.State.String()).Inc()
	}
	a.ready = append(a.ready, answer{id, o})
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *ask) giveUp(ids []string, reason string) {
	for _, id := range ids {
		a.give(id, unreachable(reason))
	}
}

func (a *ask) left() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	ids := make([]string, 0, len(a.open))
	for id := range a.open {
		ids = append(ids, id)
	}
	return ids
}

func unreachable(reason string) drift.Observation {
	return drift.Observation{State: drift.Unreachable, Reason: reason}
}
