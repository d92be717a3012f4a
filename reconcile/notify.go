package reconcile

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// Sink is somebody who is told of events.
type Sink struct {
	Name     string // of no other sink; its cursor is kept by it
	Kind     string // webhook, slack, ...
	Least    drift.Severity
	Settle   time.Duration // how long events are collected from when the first is noticed
	Keep     time.Duration // how often it is told what stands; 0: never. The Notifier is a Keeper then
	Backoff  time.Duration // from a first failure to the next try, doubling from one to the next. 0: a second
	Notifier Notifier
}

// Notifier speaks to a sink. An error of Post and Keep is without secrets; it
// may have a method Refused, true where the sink will never take this message
// though it takes others, and a method RetryAfter, which asks for patience.
type Notifier interface {
	// Divide makes messages of news, in the order in which to post them. Every
	// piece of news is in one of them, and in no other.
	Divide(now time.Time, news []drift.News) [][]drift.News
	// Post sends one of these messages. It may be sent again, for it is not known
	// whether one that was cut off has arrived; origin is the database that the
	// numbers of events are of, a uuid.
	Post(ctx context.Context, origin string, message []drift.News) error
}

// Keeper is a Notifier that has to hear again and again what stands.
type Keeper interface {
	Keep(ctx context.Context, origin string, standing []drift.News) error
}

// The pace of telling.
const (
	claimFor    = 45 * time.Second // after which another replica may tell a sink that ours was telling
	postWithin  = 15 * time.Second // one message
	sinksEvery  = 5 * time.Second  // for what notices tell sooner
	backoff     = time.Second
	backoffMost = 5 * time.Minute
	patience    = time.Hour // no Retry-After beyond it is believed

	// refusalsMost is how often one message is refused until it is passed over:
	// minutes, since what refuses may just be being replaced.
	refusalsMost = 8
)

// deliver tells the sinks of the world in force, each on its own so that a dead
// one holds up no other. What ends a courier of an earlier world is its own
// message; the claim keeps the next one from telling the same sink meanwhile.
func (d *Daemon) deliver(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	for ctx.Err() == nil {
		world := d.atlas.enter()
		walking, end := context.WithCancel(ctx)
		var these sync.WaitGroup
		for i := range world.Sinks {
			c := &courier{Daemon: d, sink: &world.Sinks[i]}
			these.Go(func() { c.run(ctx, walking) })
		}
		all.Go(func() {
			these.Wait()
			d.atlas.leave(world)
		})
		d.watchSinks(ctx, world.Sinks)
		end()
	}
}

// watchSinks notes which sinks there are and shows how they are, until another
// world is in force.
func (d *Daemon) watchSinks(ctx context.Context, sinks []Sink) {
	kinds := map[string]string{}
	for i := range sinks {
		kinds[sinks[i].Name] = sinks[i].Kind
	}
	d.metrics.Sinks(slices.Sorted(maps.Keys(kinds)))
	for {
		if err := d.store.UseSinks(ctx, kinds); err != nil {
			d.sinkTrouble(ctx, "sinks not noted", err)
		}
		d.bell.ring()
		for range noteEvery / watchEvery {
			d.showSinks(ctx)
			timer := time.NewTimer(watchEvery)
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-d.wake.sinks:
				timer.Stop()
				return
			case <-timer.C:
			}
		}
	}
}

const (
	watchEvery = 10 * time.Second
	noteEvery  = 6 * watchEvery
)

func (d *Daemon) showSinks(ctx context.Context) {
	sinks, err := d.store.Sinks(ctx)
	if err != nil {
		d.sinkTrouble(ctx, "sinks not read", err)
		return
	}
	for i := range sinks {
		d.metrics.SinkBehind(sinks[i].Name, sinks[i].Behind(time.Now()))
	}
}

func (d *Daemon) sinkTrouble(ctx context.Context, what string, err error) {
	if ctx.Err() == nil && !errors.Is(err, store.ErrFenced) {
		d.storeFailed("notify", err)
		d.log.Warn(what+"; tried again", "error", err)
	}
}

// courier tells one sink.
type courier struct {
	*Daemon
	sink *Sink
}

// run tells the sink what is new until walking ends; ctx cuts off what is being
// posted.
func (c *courier) run(ctx, walking context.Context) {
	idle := sinksEvery
	if c.sink.Keep > 0 {
		idle = min(idle, c.sink.Keep)
	}
	for walking.Err() == nil {
		rung := c.bell.next()
		wait := c.turn(ctx, walking)
		if wait > 0 {
			rung = nil // nothing new can be told before
		} else {
			wait = idle
		}
		timer := time.NewTimer(min(wait, sinksEvery)) // the row may say otherwise by then
		select {
		case <-walking.Done():
		case <-rung:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// atOnce is a wait after which there is more to do already.
const atOnce = time.Nanosecond

// turn tells the sink what there is, if it is ours to tell; wait says when to
// try again; 0: when there is something new.
func (c *courier) turn(ctx, walking context.Context) (wait time.Duration) {
	k, wait, err := c.store.ClaimSink(ctx, store.SinkClaim{Sink: c.sink.Name, Holder: c.replica.Name, For: claimFor, Settle: c.sink.Settle, Keep: c.sink.Keep})
	if err != nil {
		c.sinkTrouble(ctx, "sink not claimed", err)
		return pollEvery
	}
	if k == nil {
		return wait
	}
	if wait, err = c.tell(ctx, walking, k); err != nil {
		c.sinkTrouble(ctx, "not noted what was told, so that it may be told again", err)
		return pollEvery
	}
	if wait == 0 && k.More {
		return atOnce
	}
	return wait
}

// sift gives what the sink wants to hear, and the numbers of all else.
func (c *courier) sift(k *store.Claimed) (wanted []drift.News, others []int64) {
	for i := range k.News {
		if k.News[i].Reaches(c.sink.Least) {
			wanted = append(wanted, k.News[i])
		} else {
			others = append(others, k.News[i].ID)
		}
	}
	return wanted, others
}

// tell posts the messages one after the other, until one fails. What the sink
// does not want is noted with the first that it takes, and not before: it would
// be listed in the row for as long as none is taken.
func (c *courier) tell(ctx, walking context.Context, k *store.Claimed) (time.Duration, error) {
	wanted, others := c.sift(k)
	if len(wanted) == 0 && walking.Err() == nil {
		if err := c.note(ctx, k, store.Telling{Events: others}); err != nil {
			return 0, err
		}
	}
	for _, message := range c.sink.Notifier.Divide(time.Now(), wanted) {
		if walking.Err() != nil {
			break
		}
		failed, err := c.post(ctx, k, func(ctx context.Context) error { return c.sink.Notifier.Post(ctx, k.Origin, message) })
		switch {
		case err != nil:
			return 0, err
		case failed == nil:
			c.metrics.Notified(c.sink.Name, "ok")
			err = c.note(ctx, k, store.Telling{Events: append(numbers(message), others...), Delivered: true})
			others, k.Tries, k.Refusals = nil, 0, 0
		case failed.refused && k.Refusals+1 >= refusalsMost:
			err = c.drop(ctx, k, message, failed)
		default:
			return c.fail(ctx, k, failed)
		}
		if err != nil {
			return 0, err
		}
	}
	if walking.Err() != nil { // the rest is for the world that follows, which may have another address for it, or no such sink
		return 0, c.leave(ctx, k, false)
	}
	return c.keep(ctx, k)
}

// keptAtOnce is how much of what stands is said in one message's time.
const keptAtOnce = 250

// keep gives the sink up, after it was told what stands where it is to be: in
// parts, for that may be more than is said in one message's time.
func (c *courier) keep(ctx context.Context, k *store.Claimed) (time.Duration, error) {
	keeper, keeps := c.sink.Notifier.(Keeper)
	if !k.Keeping || !keeps {
		return 0, c.leave(ctx, k, false)
	}
	standing, err := c.store.Standing(ctx)
	if err != nil {
		return 0, err
	}
	standing = slices.DeleteFunc(standing, func(n drift.News) bool { return !n.Reaches(c.sink.Least) })
	for said := 0; said == 0 || said < len(standing); said += keptAtOnce {
		part := standing[said:min(said+keptAtOnce, len(standing))]
		failed, err := c.post(ctx, k, func(ctx context.Context) error { return keeper.Keep(ctx, k.Origin, part) })
		switch {
		case err != nil:
			return 0, err
		case failed != nil:
			return c.fail(ctx, k, failed)
		}
		if err := c.note(ctx, k, store.Telling{}); err != nil { // the claim goes on
			return 0, err
		}
	}
	return 0, c.leave(ctx, k, true)
}

func (c *courier) note(ctx context.Context, k *store.Claimed, t store.Telling) error {
	return c.settle(ctx, func(ctx context.Context) error { return c.store.TellSink(ctx, k, t) })
}

// leave gives the sink up. Kept: it was told what stands.
func (c *courier) leave(ctx context.Context, k *store.Claimed, kept bool) error {
	return c.settle(ctx, func(ctx context.Context) error { return c.store.LeaveSink(ctx, k, kept) })
}

// failure is why a message was not taken.
type failure struct {
	words   string
	refused bool
	after   time.Duration // asked for
}

// post sends a message while the claim holds: whoever was frozen for longer
// must not begin to tell what another has told since. An error is no failure of
// the sink's.
func (c *courier) post(ctx context.Context, k *store.Claimed, send func(context.Context) error) (*failure, error) {
	if time.Until(k.Until) < postWithin {
		return nil, errors.Join(store.ErrFenced, c.leave(ctx, k, false))
	}
	bounded, stop := context.WithTimeout(ctx, postWithin)
	defer stop()
	err := send(bounded)
	switch {
	case err == nil:
		return nil, nil
	case ctx.Err() != nil: // we end; it is told again by whoever comes next
		return nil, errors.Join(ctx.Err(), c.leave(ctx, k, false))
	}
	f := &failure{words: err.Error()}
	var refusal interface{ Refused() bool }
	if errors.As(err, &refusal) {
		f.refused = refusal.Refused()
	}
	var patient interface{ RetryAfter() time.Duration }
	if errors.As(err, &patient) {
		f.after = min(patient.RetryAfter(), patience)
	}
	return f, nil
}

// settle writes what was done, also when we are told to end.
func (c *courier) settle(ctx context.Context, write func(context.Context) error) error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), writeFor)
	defer stop()
	return write(ctx)
}

// fail notes that a message was not taken; wait is until it is tried again.
func (c *courier) fail(ctx context.Context, k *store.Claimed, f *failure) (wait time.Duration, err error) {
	result := "error"
	if f.refused {
		result = "refused"
	}
	wait = c.pause(k.Tries, f.after)
	c.metrics.Notified(c.sink.Name, result)
	c.log.Warn("sink not told", "sink", c.sink.Name, "error", f.words, "tries", k.Tries+1, "retry_in", wait.Round(time.Millisecond))
	return wait, c.settle(ctx, func(ctx context.Context) error {
		return c.store.SinkFailed(ctx, k, store.SinkFailure{Err: f.words, Refused: f.refused, Retry: wait})
	})
}

// drop passes over a message that the sink will not take.
func (c *courier) drop(ctx context.Context, k *store.Claimed, message []drift.News, f *failure) error {
	events := numbers(message)
	c.metrics.Notified(c.sink.Name, "dropped")
	c.log.Error("sink refused a message for good; it is told what comes next", "sink", c.sink.Name, "error", f.words, "tries", k.Refusals+1,
		"first_event", events[0], "last_event", events[len(events)-1], "events", len(events))
	k.Tries, k.Refusals = 0, 0
	return c.note(ctx, k, store.Telling{Events: events, Dropped: true})
}

// pause is how long to wait after some failures in a row: twice as long from
// one to the next, by chance a little less so that replicas and sinks do not
// march in step, and never less than was asked for.
func (c *courier) pause(tries int, asked time.Duration) time.Duration {
	first, most := c.sink.Backoff, backoffMost
	if first <= 0 {
		first = backoff
	}
	if c.sink.Keep > 0 {
		most = min(most, c.sink.Keep)
	}
	wait := min(first<<min(tries, 20), most)
	wait = wait/2 + rand.N(wait/2+1)                     // #nosec G404 -- a pause, no secret
	return max(wait, asked+rand.N(asked/10+1), atOnce+1) // #nosec G404 -- the same
}

func numbers(news []drift.News) []int64 {
	ids := make([]int64, len(news))
	for i := range news {
		ids[i] = news[i].ID
	}
	return ids
}

// bell wakes all who wait for it.
type bell struct {
	mu   sync.Mutex
	rung chan struct{} // closed by the next ring; nil: nobody waits
}

// next gives what the next ring closes.
func (b *bell) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rung == nil {
		b.rung = make(chan struct{})
	}
	return b.rung
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rung != nil {
		close(b.rung)
		b.rung = nil
	}
}
