package traffic

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/molecule-ai/billing-reconciler/metrics"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
	"github.com/molecule-ai/billing-reconciler/store"
)

// Input says how an input is known.
type Input struct {
	Host        string        // whose files it reads; "": it is all replicas'
	SilentAfter time.Duration // without a line for so long it counts as blind; 0: it may be silent
}

// Options are what a Counter is made of.
type Options struct {
	Store   *store.Store
	Metrics *metrics.Metrics
	Log     *slog.Logger
	Input   func(name string) Input // nil: of none is anything known
	AtOnce  int                     // transactions under way at once, each on a connection; 0: 3
	Waiting int                     // groups of calls that may wait besides; beyond, who brings more is busy. 0: 400,000
}

const (
	defaultAtOnce  = 3
	defaultWaiting = 400_000
)

// Counter counts for good, in our own PostgreSQL. It is a proxylog.Counter.
type Counter struct {
	Options
	places  *semaphore.Weighted
	waiting atomic.Int64
}

// NewCounter makes a Counter. It owns nothing that must be ended.
func NewCounter(o Options) *Counter {
	if o.AtOnce <= 0 {
		o.AtOnce = defaultAtOnce
	}
	if o.Waiting <= 0 {
		o.Waiting = defaultWaiting
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Input == nil {
		o.Input = func(string) Input { return Input{} }
	}
	return &Counter{Options: o, places: semaphore.NewWeighted(int64(o.AtOnce))}
}

// Named gives an input as the store knows it.
func (c *Counter) Named(name string) store.Input {
	in := c.Input(name)
	return store.Input{Name: name, Host: in.Host, SilentAfter: in.SilentAfter}
}

// Positions implements proxylog.Counter.
func (c *Counter) Positions(ctx context.Context, input, prefix string) ([]proxylog.Position, error) {
	stored, err := c.Store.Positions(ctx, input, prefix)
	if err != nil {
		return nil, err
	}
	positions := make([]proxylog.Position, len(stored))
	for i, p := range stored {
		positions[i] = proxylog.Position(p)
	}
	return positions, nil
}

// State implements proxylog.Counter.
func (c *Counter) State(ctx context.Context, input string, problem error) error {
	words := ""
	if problem != nil {
		words = problem.Error()
	}
	return c.Store.ReportInput(ctx, c.Named(input), words)
}

// Count implements proxylog.Counter.
func (c *Counter) Count(ctx context.Context, b *proxylog.Batch) error {
	groups := b.Tally.Groups()
	weight := int64(len(groups)) + 1
	if c.waiting.Add(weight) > int64(c.Waiting) && weight <= int64(c.Waiting) {
		c.waiting.Add(-weight)
		return proxylog.ErrBusy
	}
	defer c.waiting.Add(-weight)
	if err := c.places.Acquire(ctx, 1); err != nil {
		return err
	}
	defer c.places.Release(1)
	counting := c.counting(b, groups)
	counted, err := c.Store.Count(ctx, counting, Attribute)
	switch {
	case errors.Is(err, store.ErrMoved):
		return fmt.Errorf("%w (input %s)", proxylog.ErrMoved, b.Input)
	case errors.Is(err, store.ErrCounted):
		return fmt.Errorf("%w (input %s)", proxylog.ErrCounted, b.Input)
	case err != nil:
		c.Metrics.StoreError("count")
		return err
	}
	c.show(b, counting, &counted)
	return nil
}

func (c *Counter) counting(b *proxylog.Batch, groups []proxylog.Group) *store.Counting {
	out := &store.Counting{Input: c.Named(b.Input), ID: b.ID, Lines: b.Tally.Lines, Unread: b.Tally.NotUnderstood, Newest: b.Tally.Newest}
	for _, m := range b.Moves {
		out.Moves = append(out.Moves, store.Move(m))
	}
	out.Calls = make([]store.Calls, len(groups))
	for i := range groups {
		g := &groups[i]
		out.Calls[i] = store.Calls{Bucket: g.Bucket, Address: g.Address, Named: g.Workspace, Operation: int16(g.Operation), Class: int16(g.Class), // #nosec G115 -- five, and at most 9
			Billed: g.Billed, Rejected: g.Rejected, Input: g.Input, Output: g.Output, Untold: g.Untold, CostUSD: g.CostUSD, Unpriced: g.Unpriced,
			First: g.First, Last: g.Last, LastBilled: g.LastBilled}
	}
	return out
}

// show counts in the metrics what has been counted for good.
func (c *Counter) show(b *proxylog.Batch, counting *store.Counting, counted *store.Counted) {
	m := c.Metrics
	m.LogLines.WithLabelValues(b.Input, "understood").Add(float64(counting.Lines - counting.Unread))
	m.LogLines.WithLabelValues(b.Input, "not_understood").Add(float64(counting.Unread))
	drained := map[string]float64{}
	for i := range counting.Calls {
		calls, owner := &counting.Calls[i], counted.Owners[i]
		by := attributionWords[owner.Kind]
		m.ProxyHits.WithLabelValues(by, "billed").Add(float64(calls.Billed))
		m.ProxyHits.WithLabelValues(by, "rejected").Add(float64(calls.Rejected))
		if owner.Source != "" && counted.Guarded[store.Named{Source: owner.Source, Workspace: owner.Workspace}] {
			drained[owner.Source] += calls.CostUSD
		}
	}
	for source, usd := range drained {
		m.Drained(source, usd)
	}
	if counted.Asked > 0 {
		c.Log.Info("billed calls that should not be", "input", b.Input, "workspaces", counted.Asked)
	}
}

var attributionWords = map[store.AttributionKind]string{
	store.Nobodys: "unattributed", store.Doubtful: "ambiguous", store.ByAddress: "attributed", store.ByName: "attributed",
}
