package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// key is a partition's position's.
func (r *reading) key(n int32) string { return r.Topic + "/" + strconv.Itoa(int(n)) }

// placedWithin bounds the time in which the group waits for a position.
const placedWithin = 20 * time.Second

// gone tells whether a position is to be read again because the topic does not
// have what it should.
func gone(problem error) bool {
	var loss *kgo.ErrDataLoss
	return errors.Is(problem, kerr.OffsetOutOfRange) || errors.As(problem, &loss)
}

// astray tells whether there are partitions whose positions are to be read.
func (r *reading) astray() bool {
	for _, p := range r.held {
		if p.astray {
			return true
		}
	}
	return false
}

// replace lets partitions that have gone astray go on where they are stored.
func (r *reading) replace(ctx context.Context) error {
	var strays []int32
	for n, p := range r.held {
		if p.astray {
			strays = append(strays, n)
		}
	}
	placed, err := r.place(ctx, strays)
	offsets := map[int32]kgo.EpochOffset{}
	for n, at := range placed {
		offsets[n] = kgo.EpochOffset{Epoch: -1, Offset: at}
	}
	if len(offsets) > 0 {
		r.client.SetOffsets(map[string]map[int32]kgo.EpochOffset{r.Topic: offsets})
	}
	return err
}

// place reads partitions' positions and tells where reading goes on. Those that
// come with an error are good.
func (r *reading) place(ctx context.Context, list []int32) (map[int32]int64, error) {
	ctx, end := context.WithTimeout(ctx, placedWithin)
	defer end()
	t, err := r.describe(ctx)
	if err != nil {
		return nil, err
	}
	if r.seen != (topicID{}) && r.seen != t.id {
		r.outdated = true
	}
	r.seen = t.id
	stored, err := r.positions(ctx, t)
	if err != nil {
		return nil, err
	}
	first, err := r.offsets(ctx, list, earliest)
	last, problem := r.offsets(ctx, list, latest)
	err = errors.Join(err, problem)
	placed := map[int32]int64{}
	for _, n := range list {
		was, read := stored[n]
		from, known := first[n]
		to, both := last[n]
		if !known || !both {
			continue
		}
		f := facts{stored: was.Offset, was: topicOf(was.Detail), is: t.id, first: from, end: to, diverged: r.held[n].diverged}
		if !read {
			f.stored = proxylog.NoPosition
		}
		at, problem := r.settle(ctx, n, f)
		if problem != nil {
			err = errors.Join(err, problem)
			continue
		}
		placed[n] = at
	}
	return placed, err
}

// settle places one partition. A position that the topic does not have any more
// is moved at once, so that what has happened is told once.
func (r *reading) settle(ctx context.Context, n int32, f facts) (int64, error) {
	at, happened := f.begin()
	if happened != "" {
		problem := fmt.Errorf("topic %s, partition %d: %s", r.Topic, n, happened)
		move := proxylog.Move{Key: r.key(n), From: f.stored, To: at, Detail: f.is.detail()}
		if err := r.Counter.Count(ctx, &proxylog.Batch{Input: r.Input, Tally: proxylog.NewTally(r.Tally), Moves: []proxylog.Move{move}, Read: time.Now()}); err != nil {
			return 0, fmt.Errorf("move the position of %w: %w", problem, err)
		}
		f.stored = at
		r.Log.Error("messages of the topic are gone", "input", r.Input, "error", problem)
		if err := r.Counter.State(ctx, r.Input, problem); err != nil {
			r.Log.Warn("the input's state is not told", "input", r.Input, "error", err)
		}
	}
	waits := time.Time{}
	if was := r.held[n]; was.stored == f.stored {
		waits = was.waits // what was read before was not counted
	}
	r.held[n] = &partition{stored: f.stored, next: at, diverged: noOffset, topic: f.is, end: f.end, seen: time.Now(), waits: waits}
	return at, nil
}

// positions reads those of the topic's partitions. Where the input is started
// for the first time at the end, the ends of all partitions are stored before
// the first of them is read, in one transaction: whoever comes next goes on
// there, and a partition that has none was added later.
func (r *reading) positions(ctx context.Context, t topic) (map[int32]proxylog.Position, error) {
	stored, err := r.stored(ctx)
	if err != nil || len(stored) > 0 || r.From != End {
		return stored, err
	}
	ends, err := r.offsets(ctx, t.partitions, latest)
	if err != nil {
		return nil, err
	}
	b := &proxylog.Batch{Input: r.Input, Tally: proxylog.NewTally(r.Tally), Read: time.Now()}
	for n, end := range ends {
		b.Moves = append(b.Moves, proxylog.Move{Key: r.key(n), From: proxylog.NoPosition, To: end, Detail: t.id.detail()})
	}
	if err := r.Counter.Count(ctx, b); err != nil && !errors.Is(err, proxylog.ErrMoved) {
		return nil, fmt.Errorf("store the ends of topic %s: %w", r.Topic, err)
	}
	return r.stored(ctx)
}

func (r *reading) stored(ctx context.Context) (map[int32]proxylog.Position, error) {
	list, err := r.Counter.Positions(ctx, r.Input, r.Topic+"/")
	if err != nil {
		return nil, fmt.Errorf("positions of topic %s: %w", r.Topic, err)
	}
	stored := map[int32]proxylog.Position{}
	for _, p := range list {
		n, err := strconv.ParseInt(p.Key[len(r.Topic)+1:], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("positions of topic %s: %q is no partition's", r.Topic, p.Key)
		}
		stored[int32(n)] = p
	}
	return stored, nil
}
