package ssm

import (
	"context"
	"maps"
	"slices"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// batch is instances that share calls, with the callers who wait for each. The
// pool's lock holds all of it.
type batch struct {
	ctx    context.Context
	stop   context.CancelFunc // nobody waits any more
	done   chan struct{}      // nothing of it is under way any more
	urgent bool
	byTag  bool
	who    map[string][]*ask
	counts map[*ask]int // of instances that a caller waits for
}

// newBatch makes a batch of instances and their callers. The caller holds the
// lock.
func newBatch(who map[string][]*ask, urgent bool) *batch {
	b := &batch{done: make(chan struct{}), urgent: urgent, who: who, counts: map[*ask]int{}}
	b.ctx, b.stop = context.WithCancel(context.Background())
	for _, callers := range who {
		for _, a := range callers {
			b.counts[a]++
			a.batches[b] = true
		}
	}
	return b
}

// settle takes an instance out and gives who waited for it. The caller holds
// the lock.
func (b *batch) settle(id string) []*ask {
	callers := b.who[id]
	delete(b.who, id)
	for _, a := range callers {
		if b.counts[a]--; b.counts[a] == 0 {
			delete(a.batches, b)
		}
	}
	return callers
}

// forget takes a caller out; true: nobody is left. The caller holds the lock.
func (b *batch) forget(a *ask) bool {
	for id, callers := range b.who {
		if i := slices.Index(callers, a); i >= 0 {
			if callers = slices.Delete(callers, i, i+1); len(callers) == 0 {
				delete(b.who, id)
			} else {
				b.who[id] = callers
			}
		}
	}
	delete(a.batches, b)
	if len(b.who) > 0 {
		return false
	}
	b.stop()
	return true
}

// waited gives those of the ids that somebody still waits for; all, sorted,
// where none are given.
func (p *Pool) waited(b *batch, ids ...string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(ids) == 0 {
		return slices.Sorted(maps.Keys(b.who))
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return b.who[id] == nil })
}

// settle answers for an instance of a batch, to all who wait for it.
func (p *Pool) settle(b *batch, id string, answer func(*ask) drift.Observation) {
	p.mu.Lock()
	callers := b.settle(id)
	p.mu.Unlock()
	for _, a := range callers {
		a.give(id, answer(a))
	}
}

// giveUp answers for instances of a batch of which nothing will be heard.
func (p *Pool) giveUp(b *batch, ids []string, reason string) {
	for _, id := range ids {
		p.settle(b, id, func(*ask) drift.Observation { return unreachable(reason) })
	}
}

// part takes some of a batch into one of their own; nil: nobody waits for them.
// The caller holds the lock.
func (b *batch) part(ids []string) *batch {
	who := map[string][]*ask{}
	for _, id := range ids {
		if callers := b.settle(id); callers != nil {
			who[id] = callers
		}
	}
	if len(who) == 0 {
		return nil
	}
	return newBatch(who, b.urgent)
}

// queue is instances that wait to share a call, first come first served.
type queue struct {
	order []string
	who   map[string][]*ask
}

func (q *queue) add(id string, a *ask) {
	if q.who == nil {
		q.who = map[string][]*ask{}
	}
	if q.who[id] == nil {
		q.order = append(q.order, id)
	}
	q.who[id] = append(q.who[id], a)
}

// forget takes a caller out.
func (q *queue) forget(a *ask) {
	kept := q.order[:0]
	for _, id := range q.order {
		callers := slices.DeleteFunc(q.who[id], func(other *ask) bool { return other == a })
		if len(callers) == 0 {
			delete(q.who, id)
			continue
		}
		q.who[id] = callers
		kept = append(kept, id)
	}
	q.order = kept
}

// cut takes the first n, or all that there are, as a batch.
func (q *queue) cut(n int, urgent bool) *batch {
	n = min(n, len(q.order))
	who := make(map[string][]*ask, n)
	for _, id := range q.order[:n] {
		who[id] = q.who[id]
		delete(q.who, id)
	}
	q.order = append([]string(nil), q.order[n:]...)
	return newBatch(who, urgent)
}
