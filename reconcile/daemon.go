package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/metrics"
	"github.com/molecule-ai/billing-reconciler/store"
)

// The pace of a daemon with its own database.
const (
	leaseTTL  = 15 * time.Second // from a holder's last sign of life to its sources being anybody's
	heartbeat = 2 * time.Second
	pollEvery = time.Second      // for what notices tell sooner
	writeFor  = 20 * time.Second // that ending does not wait longer for what is being written
)

// Daemon is one replica: it walks the sources whose leases it holds, again and
// again, and writes down what it finds. Any number of replicas may run on one
// database.
type Daemon struct {
	store   *store.Store
	replica store.Replica
	metrics *metrics.Metrics
	log     *slog.Logger
	opts    Options

	atlas     atlas
	gate      *gate
	desk      desk
	strangers strangers
	pauses    pauses
	wake      struct{ keep, looks, pauses, passes, sinks chan struct{} }
	bell      bell // rings when there is something to tell

	mu      sync.Mutex
	holders map[string]*holder // by source
	fleet   *store.Lease       // nil: another replica does the chores
	orphans orphans
	round   round
	health  health
	beat    atomic.Int64   // of the keeper, in Unix nanoseconds
	beating sync.Mutex     // held while a heartbeat is under way; taken before mu
	ending  sync.WaitGroup // what runs under holders that were dropped
}

// Options are what a daemon is made of.
type Options struct {
	Store    *store.Store
	Replica  store.Replica
	Metrics  *metrics.Metrics
	Log      *slog.Logger
	Document func(*drift.Policy, *Judged) json.RawMessage // the API's workspace
	World    *World
	// Attribute decides whose calls are; nil: no log is counted.
	Attribute store.Attributor
	// OrphanAfter is how long nobody has the lease of a source, which nobody has
	// configured then, until it is forgotten, twelve intervals at least. 0: an hour.
	OrphanAfter time.Duration
	Acting      Acting
	OnReady     func() // called once, when the database has answered for the first time; nil: nobody waits
}

// New makes a daemon; Run starts it.
func New(opts Options) *Daemon {
	d := &Daemon{store: opts.Store, replica: opts.Replica, metrics: opts.Metrics, log: opts.Log, opts: opts, holders: map[string]*holder{}}
	for _, c := range []*chan struct{}{&d.wake.keep, &d.wake.looks, &d.wake.pauses, &d.wake.passes, &d.wake.sinks} {
		*c = make(chan struct{}, 1)
	}
	d.gate, d.desk = newGate(opts.World.Limits.SourcesAtOnce), newDesk()
	d.Use(opts.World)
	return d
}

// Use puts another configuration in force: passes that have begun end in the
// world that they began in.
func (d *Daemon) Use(w *World) {
	d.atlas.use(w)
	d.gate.resize(w.Limits.SourcesAtOnce)
	d.metrics.Sources(w.names())
	d.metrics.Interval(w.Limits.Interval)
	signal(d.wake.keep)
	signal(d.wake.passes)
	signal(d.wake.sinks)
}

// Run walks until ctx ends. Then nothing new is begun, looks under way are given
// up (they have changed nothing), what is being written is finished, and the
// leases are given back. It returns nil then, and an error only where going on
// makes no sense: the database's schema is newer than this program.
func (d *Daemon) Run(ctx context.Context) error {
	defer d.atlas.close()
	if err := d.awaitStore(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	if d.opts.OnReady != nil {
		d.opts.OnReady()
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, loop := range []func(context.Context){d.listen, d.keepLeases, d.watchPauses, d.runRounds, d.answerLooks, d.chores, d.deliver, d.work} {
		group.Go(func() error {
			loop(ctx)
			return nil
		})
	}
	_ = group.Wait()
	d.dropAll()
	return d.depart()
}

// depart gives everything back at once, so that the others need not wait for
// the leases to run out.
func (d *Daemon) depart() error {
	ctx, stop := context.WithTimeout(context.Background(), writeFor)
	defer stop()
	if err := d.store.Depart(ctx, d.replica); err != nil {
		d.log.Warn("leases not given back; they run out", "error", err)
	}
	return nil
}

// awaitStore waits until the database answers and has the schema that this
// program knows.
func (d *Daemon) awaitStore(ctx context.Context) error {
	for wait := 200 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := d.store.Check(ctx)
		if errors.Is(err, store.ErrOlderSchema) {
			err = d.migrate(ctx)
		}
		if err == nil {
			d.health.reached(time.Now())
			return nil
		}
		if ctx.Err() != nil {
			return nil
		}
		if !store.Unreachable(err) {
			return err
		}
		d.health.failed(err)
		d.log.Warn("state database not reachable", "error", err, "retry_in", wait)
		if !sleep(ctx, wait) {
			return nil
		}
	}
}

// migrate brings the schema up to what this program knows; of several replicas
// that start at once, one does and the others wait.
func (d *Daemon) migrate(ctx context.Context) error {
	applied, err := d.store.Migrate(ctx)
	if len(applied) > 0 {
		d.log.Info("state database migrated", "applied", applied)
	}
	return err
}

// listen hears of what other replicas and people change. What it misses, the
// polls find.
func (d *Daemon) listen(ctx context.Context) {
	_ = d.store.Listen(ctx, func(n store.Notice) {
		switch n.Channel {
		case store.ChannelSwitch:
			signal(d.wake.pauses)
			signal(d.wake.passes)
		case store.ChannelLook:
			signal(d.wake.looks)
		case store.ChannelLease:
			signal(d.wake.keep)
		case store.ChannelEvent:
			d.bell.ring()
		default:
			d.bell.ring()
			signal(d.wake.pauses)
			signal(d.wake.looks)
		}
	})
}

// signal wakes a loop that is, or will be, waiting.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// sleep waits; false: ctx has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// tick waits for a signal, or for the time to pass; false: ctx has ended.
func tick(ctx context.Context, wake <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wake:
	case <-timer.C:
	}
	return ctx.Err() == nil
}
