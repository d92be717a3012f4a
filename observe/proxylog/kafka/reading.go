package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// reading is one Run. The group changes what is held only while nothing is
// being done with it: from a poll until AllowRebalance it waits. Only what is
// newly given comes at any time, hence the mutex.
type reading struct {
	*Consumer
	ctx    context.Context // Run's
	client *kgo.Client
	parser *proxylog.Parser

	mu       sync.Mutex
	held     map[int32]*partition
	gathered map[int32]*gathering // by partition, or all under together
	alone    bool                 // each partition is counted by itself
	full     bool                 // the Counter is busy: nothing more is read before it has taken what is gathered
	failures int                  // one after the other
	again    time.Time            // after a failure: when what failed is tried again
	wake     context.CancelFunc   // ends the poll that is under way, or has been
	shown    time.Time            // when offsets were committed to Kafka
	seen     topicID              // which the client reads
	outdated bool                 // and the topic is another one by now, of which it does not learn

	spoken  *speaker
	trouble struct {
		sync.Mutex
		err error
		at  time.Time
	}
	woken chan struct{} // there is other trouble than before
}

// together is the key of what all partitions have gathered.
const together = -1

// partition is one that the group has given to this member.
type partition struct {
	stored   int64 // where the Counter has it; proxylog.NoPosition: nowhere
	next     int64 // offset behind what was read
	astray   bool  // what is in memory may not be what is stored: the position is to be read
	diverged int64 // the log has changed from this offset on; noOffset: it has not
	topic    topicID
	end      int64     // offset behind the last message that may be read, as far as it is known
	seen     time.Time // of the newest message that was read; when it was given, before
	waits    time.Time // of the oldest message that was read and is not counted; zero: none
}

// gathering is a batch that grows.
type gathering struct {
	tally *proxylog.Tally
	to    map[int32]int64 // offsets behind what was read, by partition
	began time.Time
	read  time.Time
}

const (
	pollRecords  = 20_000 // at once
	commitsEvery = 5 * time.Second
	shortest     = 50 * time.Millisecond // pause after something failed
)

// turn reads and counts once.
func (r *reading) turn(ctx context.Context) {
	fetched := r.poll(ctx)
	r.mu.Lock()
	err := r.work(ctx, fetched)
	r.note()
	if err == nil {
		r.failures = 0
	} else {
		r.again = time.Now().Add(min(shortest<<min(r.failures, 12), r.timing.retry))
		r.failures++
	}
	pause := time.Duration(0)
	if r.stuck() {
		pause = time.Until(r.again)
	}
	r.mu.Unlock()
	r.client.AllowRebalance()
	if err != nil && ctx.Err() == nil {
		r.Log.Warn("log lines are not counted yet", "input", r.Input, "error", err)
		r.troubled(err)
	}
	wait(ctx, pause)
}

// stuck tells that there is nothing to be read before what failed has been tried
// again.
func (r *reading) stuck() bool {
	if r.full {
		return true
	}
	for _, p := range r.held {
		if !p.astray {
			return false
		}
	}
	return len(r.held) > 0
}

func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// poll waits for messages, at most until there is something else to do. It keeps
// the group from changing what is held, also where it gives nothing.
func (r *reading) poll(ctx context.Context) kgo.Fetches {
	r.mu.Lock()
	until := r.due()
	if r.astray() && (until.IsZero() || r.again.Before(until)) {
		until = r.again
	}
	if r.stuck() {
		until = time.Unix(1, 0) // a poll whose time is over takes nothing
	}
	ctx, r.wake = context.WithCancel(ctx)
	defer r.wake()
	r.mu.Unlock()
	if !until.IsZero() {
		var end context.CancelFunc
		ctx, end = context.WithDeadline(ctx, until)
		defer end()
	}
	return r.client.PollRecords(ctx, pollRecords)
}

// due is when what is gathered is to be counted; zero: there is nothing.
func (r *reading) due() (due time.Time) {
	for _, g := range r.gathered {
		if at := g.began.Add(r.Flush); due.IsZero() || at.Before(due) {
			due = at
		}
	}
	return due
}

func (r *reading) work(ctx context.Context, fetched kgo.Fetches) error {
	err := r.take(ctx, fetched)
	if due := r.due(); !due.IsZero() && (r.full || !time.Now().Before(due)) {
		err = errors.Join(err, r.count(ctx))
	}
	if err == nil && r.astray() && !time.Now().Before(r.again) {
		err = r.replace(ctx)
	}
	return err
}

// take gathers what was fetched.
func (r *reading) take(ctx context.Context, fetched kgo.Fetches) (err error) {
	now := time.Now()
	fetched.EachPartition(func(f kgo.FetchTopicPartition) {
		p := r.held[f.Partition]
		if problem := f.Err; problem != nil {
			err = errors.Join(err, r.failed(p, problem))
		}
		if p == nil {
			return
		}
		p.end = max(p.end, f.LastStableOffset)
		for _, m := range f.Records {
			// A message that was fetched before the position was read again is
			// read with those that belong before it.
			if p.astray {
				return
			}
			if m.Offset < p.next { // the topic was made anew
				p.astray = true
				return
			}
			g := r.gather(f.Partition, p, m, now)
			if !r.full && g.tally.Len() >= r.MaxGroups {
				err = errors.Join(err, r.count(ctx))
			}
		}
	})
	return err
}

// gather adds a message's lines.
func (r *reading) gather(n int32, p *partition, m *kgo.Record, now time.Time) *gathering {
	key := int32(together)
	if r.alone {
		key = n
	}
	g := r.gathered[key]
	if g == nil {
		g = &gathering{tally: proxylog.NewTally(r.Tally), to: map[int32]int64{}, began: now}
		r.gathered[key] = g
	}
	if !m.Attrs.IsControl() {
		text := m.Value
		text = text[g.tally.Feed(r.parser, text):]
		if len(bytes.TrimSpace(text)) > 0 {
			g.tally.Line(r.parser, text)
		}
		if p.waits.IsZero() || m.Timestamp.Before(p.waits) {
			p.waits = m.Timestamp
		}
	}
	p.next, p.seen = m.Offset+1, m.Timestamp
	g.to[n], g.read = p.next, now
	return g
}

// failed tells what follows from a problem of a partition, or of the group
// where there is none.
func (r *reading) failed(p *partition, problem error) error {
	if errors.Is(problem, context.DeadlineExceeded) || errors.Is(problem, context.Canceled) || errors.Is(problem, kgo.ErrClientClosed) {
		return nil
	}
	if p == nil {
		return fmt.Errorf("read topic %s: %w", r.Topic, problem)
	}
	p.astray = true
	var loss *kgo.ErrDataLoss
	if errors.As(problem, &loss) {
		p.diverged = loss.ResetTo
	}
	if gone(problem) {
		return nil // where to go on is told there
	}
	return fmt.Errorf("read topic %s: %w", r.Topic, problem)
}

// count counts all that is gathered.
func (r *reading) count(ctx context.Context) (err error) {
	wasAlone := r.alone
	r.full, r.alone = false, false
	for key, g := range r.gathered {
		problem := r.Counter.Count(ctx, r.batch(g))
		if errors.Is(problem, proxylog.ErrBusy) {
			r.full, r.alone = true, wasAlone
			err = errors.Join(err, fmt.Errorf("count lines of topic %s: %w", r.Topic, problem))
			continue
		}
		delete(r.gathered, key)
		if problem == nil {
			r.counted(ctx, g)
			continue
		}
		for n := range g.to {
			r.held[n].astray = true
		}
		if errors.Is(problem, proxylog.ErrMoved) {
			// Whose partition it was is not known, and whoever races us for it
			// shall not hold up the others.
			r.alone = true
			r.Log.Info("another member has counted these lines; going on behind them", "input", r.Input, "topic", r.Topic)
			continue
		}
		err = errors.Join(err, fmt.Errorf("count lines of topic %s: %w", r.Topic, problem))
	}
	return err
}

func (r *reading) batch(g *gathering) *proxylog.Batch {
	b := &proxylog.Batch{Input: r.Input, Tally: g.tally, Read: g.read}
	for n, to := range g.to {
		p := r.held[n]
		b.Moves = append(b.Moves, proxylog.Move{Key: r.key(n), From: p.stored, To: to, Detail: p.topic.detail()})
	}
	return b
}

func (r *reading) counted(ctx context.Context, g *gathering) {
	show := map[int32]kgo.EpochOffset{}
	for n, to := range g.to {
		p := r.held[n]
		p.stored, p.waits = to, time.Time{}
		show[n] = kgo.EpochOffset{Epoch: -1, Offset: to}
	}
	// For people's tools only; nothing follows from an answer.
	if now := time.Now(); now.Sub(r.shown) >= commitsEvery {
		r.shown = now
		r.client.CommitOffsets(ctx, map[string]map[int32]kgo.EpochOffset{r.Topic: show}, nil)
	}
}
