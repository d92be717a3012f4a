package reconcile

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// holder is a source whose lease this replica has: nobody else writes about it,
// so what was read of it once is known until the lease is lost.
type holder struct {
	daemon *Daemon
	lease  store.Lease
	until  time.Time // when the lease runs out, by our clock; guarded by Daemon.mu
	taken  time.Time // when this replica got it
	ctx    context.Context
	end    context.CancelFunc
	work   sync.WaitGroup

	mu       sync.Mutex // of what follows
	due      bool
	stopPass context.CancelCauseFunc // nil: no pass is running
	retired  bool
	doubtful bool                 // it could not be read the last time
	walked   bool                 // by this replica, since it has the lease
	looked   map[string]time.Time // when workspaces were last looked at by themselves
	looking  map[int64]bool       // requests under way
	sights   witnessed
	glimpses map[string]glimpse // by workspace

	settle   sync.Mutex            // one outcome at a time
	agreeing map[string]*agreement // by workspace that has drifted; guarded by settle
	planned  bool                  // judgements may be written; guarded by settle
	memory   sync.RWMutex          // of known
	known    *store.Known          // nil: to be loaded
}

// witnessed is when each witness last spoke for the whole source.
type witnessed struct{ traffic, readEndpoint time.Time }

func newHolder(ctx context.Context, d *Daemon, l store.Lease) *holder {
	h := &holder{daemon: d, lease: l, taken: time.Now(), due: true, looked: map[string]time.Time{}, looking: map[int64]bool{}, glimpses: map[string]glimpse{}, agreeing: map[string]*agreement{}, planned: true}
	h.ctx, h.end = context.WithCancel(ctx)
	return h
}

// postpone makes a pass due again that had nowhere to write: it begins as soon
// as the database answers.
func (h *holder) postpone(err error) {
	if store.Unreachable(err) {
		h.makeDue()
	}
}

func (h *holder) makeDue() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.due = true
}

// retire lets nothing new begin; true: nothing is under way, the lease can go.
func (h *holder) retire() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.retired = true
	return h.stopPass == nil && len(h.looking) == 0
}

// stay takes a retirement back: whoever was to have the source has gone again,
// or has got another.
func (h *holder) stay() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.retired = false
}

// leave ends what is under way, and lets nothing new begin.
func (h *holder) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end()
}

// startPass begins a pass where one is due and none is running.
func (h *holder) startPass(ctx context.Context, key drift.Key) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.due || h.stopPass != nil || h.retired || h.ctx.Err() != nil || ctx.Err() != nil {
		return
	}
	passing, stop := context.WithCancelCause(h.ctx)
	h.due, h.stopPass = false, stop
	h.work.Go(func() {
		defer h.passed()
		h.pass(passing, key)
	})
}

func (h *holder) passed() {
	h.mu.Lock()
	h.stopPass(nil)
	h.stopPass = nil
	awaited := h.retired
	h.mu.Unlock()
	signal(h.daemon.wake.passes)
	if awaited {
		signal(h.daemon.wake.keep)
	}
}

var errTooLong = errors.New("the pass took too long (observe.pass_timeout)")

var errPaused = errors.New("observing is paused")

// interrupt ends a pass under way because of a pause; what it saw is dropped,
// and it is due again when the pause is over.
func (h *holder) interrupt() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopPass != nil {
		h.stopPass(errPaused)
		h.due = true
	}
}

// pass walks the source once and writes what it found.
func (h *holder) pass(ctx context.Context, key drift.Key) {
	d, name := h.daemon, h.lease.Source
	world := d.atlas.enter()
	defer d.atlas.leave(world)
	source, ok := world.source(name)
	if !ok {
		h.bury(ctx)
		return
	}
	if !h.remember(ctx) || h.isFresh(world.Limits.Interval) {
		return
	}
	ctx, stop := context.WithTimeoutCause(ctx, world.Limits.PassTimeout+passSlack, errTooLong)
	defer stop()
	walk := h.walk(world.World, source)
	result, err := walk.Run(ctx, key)
	switch {
	case err == nil:
	case errors.Is(context.Cause(ctx), errTooLong):
		result = &Result{At: walk.Now(), Took: time.Since(walk.Now()), Sources: []SourceResult{{Name: name, Err: errTooLong}}}
	default:
		return // ended from outside: nothing is known of it, and nothing changed
	}
	h.conclude(&result.Sources[0])
	h.write(ctx, world.World, &look{result: result, key: key, full: true})
}

// passSlack is what a pass may take beyond the time to look at containers: for
// the tenant's database, the logs and the platform, which are bounded by
// themselves.
const passSlack = 5 * time.Minute

// isFresh tells whether another replica has just walked the source, so that a
// lease that changes hands does not double its calls.
func (h *holder) isFresh(interval time.Duration) bool {
	h.mu.Lock()
	walked := h.walked
	h.mu.Unlock()
	h.memory.RLock()
	defer h.memory.RUnlock()
	return !walked && h.known != nil && time.Since(h.known.Source.LastPassAt) < interval/2
}

// walk prepares a pass over this source alone.
func (h *holder) walk(w *World, source Source) *Pass {
	d := h.daemon
	begun := time.Now().UTC().Truncate(time.Microsecond) // as exact as the database is
	return &Pass{Sources: []Source{source}, Resolver: w.Resolver, Previous: w.Previous, Observer: w.Observer, Witness: w.Witness,
		Policy: w.Policy, Credentials: w.Credentials, Now: func() time.Time { return begun }, LookFor: w.Limits.PassTimeout,
		Memory: h.memoryOf, Strangers: d.strangersOf(h.ctx, w), Learn: h.learn,
		Gate: func(ctx context.Context) func() { return d.gate.enter(ctx, h.isDoubtful()) }}
}

func (h *holder) isDoubtful() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.doubtful
}

// conclude remembers whether the source could be read.
func (h *holder) conclude(r *SourceResult) {
	h.mu.Lock()
	h.doubtful, h.walked = r.Err != nil, true
	h.mu.Unlock()
	if r.Err != nil {
		h.daemon.log.Warn("source not read", "source", r.Name, "error", r.Err)
	}
}

// memoryOf implements Pass.Memory.
func (h *holder) memoryOf(_, id string) (m Memory) {
	h.memory.RLock()
	defer h.memory.RUnlock()
	if h.known == nil {
		return m
	}
	st := h.known.States[id]
	m.SeenAt = st.ObservedAt
	if st.Observed {
		m.SeenAt = h.known.Source.LastPassAt
	}
	_, m.Drifted = h.known.Episodes[id]
	for _, o := range st.Overrides {
		m.Overrides = append(m.Overrides, drift.Mode(o))
	}
	return m
}

// remember loads what the database knows, where that is not known already: not
// while something is being written, which would be missing in it.
func (h *holder) remember(ctx context.Context) bool {
	if h.remembers() {
		return true
	}
	h.settle.Lock() // before a place at the desk, as in write
	defer h.settle.Unlock()
	leave, ok := h.daemon.desk.enter(ctx)
	if !ok {
		return false
	}
	defer leave()
	if h.remembers() {
		return true
	}
	known, err := h.daemon.store.Load(ctx, h.lease)
	if err != nil {
		h.fail("state not loaded", err)
		h.postpone(err)
		return false
	}
	h.memory.Lock()
	h.known = known
	h.memory.Unlock()
	h.daemon.metrics.Hold(h.lease.Source, inherited(known))
	return true
}

func (h *holder) remembers() bool {
	h.memory.RLock()
	defer h.memory.RUnlock()
	return h.known != nil
}

func (h *holder) forget() {
	h.memory.Lock()
	h.known = nil
	h.memory.Unlock()
}

// fail says what kept a source's state from being read or written, and lets go
// of a source that is another's by now.
func (h *holder) fail(what string, err error) {
	switch {
	case errors.Is(err, store.ErrFenced):
		h.daemon.log.Warn("lease lost", "source", h.lease.Source)
		h.end()
		signal(h.daemon.wake.keep)
	case h.ctx.Err() == nil:
		h.daemon.storeFailed("apply", err)
		h.daemon.log.Warn(what, "source", h.lease.Source, "error", err)
	}
}
