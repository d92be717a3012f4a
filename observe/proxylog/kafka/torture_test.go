package kafka_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// freezer is a Counter that can be stopped in the middle of a call, as the whole
// process might be.
type freezer struct {
	proxylog.Counter
	freeze  atomic.Bool
	frozen  chan struct{} // closed when a batch is held
	once    sync.Once
	thaw    chan struct{}
	refused atomic.Int64
}

func newFreezer(c proxylog.Counter) *freezer {
	return &freezer{Counter: c, frozen: make(chan struct{}), thaw: make(chan struct{})}
}

func (f *freezer) Count(ctx context.Context, b *proxylog.Batch) error {
	if f.freeze.Load() {
		f.once.Do(func() { close(f.frozen) })
		<-f.thaw
	}
	err := f.Counter.Count(ctx, b)
	if err != nil {
		f.refused.Add(1)
	}
	return err
}

// A member that was frozen with a batch in its hands, thrown out of the group,
// and woken when another one has counted the lines.
func TestAZombie(t *testing.T) {
	c := cluster(t, 1)
	cl := client(t, c)
	l := newLedger()
	z := newFreezer(l)
	zombie := run(t, options(c, z))
	produce(t, cl, 0, 10, 1)
	l.has(t, 10)
	z.freeze.Store(true)
	produce(t, cl, 10, 20, 1)
	<-z.frozen
	run(t, options(c, l))
	l.has(t, 20)
	produce(t, cl, 20, 30, 1)
	l.has(t, 30)
	z.freeze.Store(false)
	close(z.thaw)
	waitFor(t, "the zombie is refused", func() bool { return z.refused.Load() > 0 })
	produce(t, cl, 30, 40, 1)
	l.has(t, 40)
	zombie.end()
	produce(t, cl, 40, 50, 1)
	l.has(t, 50)
	l.exactly(t, 0, 50)
}

// What one member is refused for one partition does not hold up the others.
func TestARivalForOnePartition(t *testing.T) {
	c := cluster(t, 3)
	cl := client(t, c)
	l := newLedger()
	// The rival is quicker with every batch that has something of partition 0.
	var rival atomic.Int64
	l.batches = func(b *proxylog.Batch) {
		for _, m := range b.Moves {
			if m.Key == topic+"/0" && rival.Load() < 40 {
				rival.Add(1)
				l.mu.Lock()
				l.positions["kafka|"+m.Key] = proxylog.Position{Offset: m.From + 1, Detail: m.Detail}
				l.mu.Unlock()
			}
		}
	}
	produce(t, cl, 0, 3000, 3)
	run(t, options(c, l))
	l.until(t, "all is read", func() bool {
		for n := range 3 {
			if l.positions[fmt.Sprintf("kafka|%s/%d", topic, n)].Offset != 1000 {
				return false
			}
		}
		return true
	})
	for n := range 3000 {
		if n%3 != 0 && l.lines[n] != 1 {
			t.Fatalf("line %d was counted %d times", n, l.lines[n])
		}
	}
	if len(l.lines) < 2900 || rival.Load() != 40 {
		t.Errorf("%d lines; the rival was quicker %d times", len(l.lines), rival.Load())
	}
}

// torture has members come and go at random, some of them frozen for a while,
// while lines are produced, until all are counted: for as long as the count
// grows, and a minute longer.
func torture(t *testing.T, lines int, counter proxylog.Counter, counted func() int) {
	const partitions = 6
	c := cluster(t, partitions)
	cl := client(t, c)
	produced := make(chan struct{})
	go func() {
		defer close(produced)
		for n := 0; n < lines; n += 1000 {
			produce(t, cl, n, min(n+1000, lines), partitions)
			time.Sleep(15 * time.Millisecond) // so that there is something to produce while members come and go
		}
	}()
	dice := rand.New(rand.NewPCG(1, 2))
	var members []*member
	var freezers []*freezer
	join := func() {
		z := newFreezer(counter)
		o := options(c, z)
		o.MaxGroups = 500 + dice.IntN(3000)
		members, freezers = append(members, run(t, o)), append(freezers, z)
	}
	join()
	join()
	changes := 0
	for alive := true; alive; changes++ {
		select {
		case <-produced:
			alive = false
		case <-time.After(time.Duration(20+dice.IntN(150)) * time.Millisecond):
		}
		n := dice.IntN(len(members))
		switch what := dice.IntN(3); {
		case what == 0 && len(members) < 3:
			join()
		case what == 1 && len(members) > 1:
			end := members[n].end
			go end()
			members, freezers = append(members[:n], members[n+1:]...), append(freezers[:n], freezers[n+1:]...)
		case what == 2:
			z := freezers[n]
			if z.freeze.CompareAndSwap(false, true) {
				time.AfterFunc(time.Duration(500+dice.IntN(2000))*time.Millisecond, func() { z.freeze.Store(false); close(z.thaw) })
				freezers[n] = &freezer{} // frozen once
				freezers[n].freeze.Store(true)
			}
		}
	}
	late, had := time.Now().Add(time.Minute), 0
	for n := counted(); n < lines; n = counted() {
		if n > had {
			late, had = time.Now().Add(time.Minute), n
		}
		if time.Now().After(late) {
			t.Fatalf("%d of %d lines are counted, and no more for a minute", n, lines)
		}
		time.Sleep(20 * time.Millisecond)
	}
	for _, m := range members {
		m.end()
	}
	t.Logf("%d lines, %d changes of members", lines, changes)
}

func TestTorture(t *testing.T) {
	lines := 200_000
	if testing.Short() {
		lines = 20_000
	}
	l := newLedger().nasty(7)
	torture(t, lines, l, func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.lines)
	})
	l.exactly(t, 0, lines)
}
