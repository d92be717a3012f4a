package kafka_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog/kafka"
)

const topic = "cp-access"

func cluster(t testing.TB, partitions int32, o ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(3), kfake.SeedTopics(partitions, topic), kfake.GroupMinSessionTimeout(time.Millisecond)}, o...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func client(t testing.TB, c *kfake.Cluster, o ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner())}, o...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// line is the nth line: its address is its number.
func line(n int) string {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(n)|10<<24)
	return netip.AddrFrom4(b).String() + ` - - [24/Nov/2026:22:00:00 +0000] "POST /api/v1/internal/llm/anthropic/v1/messages HTTP/1.1" 200 12`
}

func number(a netip.Addr) int {
	b := a.As4()
	return int(binary.BigEndian.Uint32(b[:]) & 0xffffff)
}

// produce puts the lines of from to to (not included) into partitions, each a
// message of its own.
func produce(t testing.TB, cl *kgo.Client, from, to int, partitions int32) {
	t.Helper()
	var records []*kgo.Record
	for n := from; n < to; n++ {
		records = append(records, &kgo.Record{Topic: topic, Partition: int32(n) % partitions, Value: []byte(line(n))})
	}
	if err := cl.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// ledger is a Counter in memory. Its zero value works; with the fields set it is
// nasty.
type ledger struct {
	before  func() error // called before a batch is written; an error: it is not
	after   func() error // called when it is written; an error is told all the same
	reading func() error // called before positions are given
	batches func(*proxylog.Batch)

	mu        sync.Mutex
	positions map[string]proxylog.Position
	lines     map[int]int
	total     int64
	states    []string
	news      chan struct{}
}

func newLedger() *ledger {
	return &ledger{positions: map[string]proxylog.Position{}, lines: map[int]int{}, news: make(chan struct{})}
}

func call(f func() error) error {
	if f == nil {
		return nil
	}
	return f()
}

func (l *ledger) changed() {
	close(l.news)
	l.news = make(chan struct{})
}

func (l *ledger) Positions(_ context.Context, input, prefix string) ([]proxylog.Position, error) {
	if err := call(l.reading); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []proxylog.Position
	for _, key := range slices.Sorted(maps.Keys(l.positions)) {
		if rest, ok := strings.CutPrefix(key, input+"|"); ok && strings.HasPrefix(rest, prefix) {
			p := l.positions[key]
			p.Key = rest
			list = append(list, p)
		}
	}
	return list, nil
}

func (l *ledger) Count(_ context.Context, b *proxylog.Batch) error {
	if l.batches != nil {
		l.batches(b)
	}
	if err := call(l.before); err != nil {
		return err
	}
	if err := l.write(b); err != nil {
		return err
	}
	return call(l.after)
}

func (l *ledger) write(b *proxylog.Batch) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range b.Moves {
		p, ok := l.positions[b.Input+"|"+m.Key]
		if at := p.Offset; ok && at != m.From || !ok && m.From != proxylog.NoPosition {
			return fmt.Errorf("%w: %s", proxylog.ErrMoved, m.Key)
		}
	}
	for _, m := range b.Moves {
		l.positions[b.Input+"|"+m.Key] = proxylog.Position{Offset: m.To, Detail: m.Detail}
	}
	for _, g := range b.Tally.Groups() {
		l.lines[number(g.Address)] += int(g.Billed)
	}
	l.total += b.Tally.Lines
	l.changed()
	return nil
}

func (l *ledger) State(_ context.Context, _ string, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.states = append(l.states, fmt.Sprint(err))
	l.changed()
	return nil
}

// until waits for a condition of the ledger, which is locked meanwhile: for as
// long as lines arrive, and a minute longer, since how many arrive in a minute is
// the machine's affair.
func (l *ledger) until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	late, had := time.After(time.Minute), 0
	for {
		l.mu.Lock()
		done, news, has := ok(), l.news, len(l.lines)
		l.mu.Unlock()
		if done {
			return
		}
		if has > had {
			late, had = time.After(time.Minute), has
		}
		select {
		case <-news:
		case <-late:
			l.mu.Lock()
			defer l.mu.Unlock()
			t.Fatalf("never: %s; %d lines, positions %v, last states %q", what, len(l.lines), l.positions, l.states[max(0, len(l.states)-5):])
		}
	}
}

// has waits until so many lines are counted.
func (l *ledger) has(t testing.TB, n int) {
	t.Helper()
	l.until(t, fmt.Sprintf("%d lines counted", n), func() bool { return len(l.lines) >= n })
}

// told waits for a state.
func (l *ledger) told(t testing.TB, words string) {
	t.Helper()
	l.until(t, "told "+words, func() bool {
		return slices.ContainsFunc(l.states, func(s string) bool { return strings.Contains(s, words) })
	})
}

// exactly holds that the lines from from to to are counted once each, and no
// others.
func (l *ledger) exactly(t testing.TB, from, to int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var missing, doubled []int
	for n := from; n < to; n++ {
		switch l.lines[n] {
		case 0:
			missing = append(missing, n)
		case 1:
		default:
			doubled = append(doubled, n)
		}
	}
	if len(missing) > 0 || len(doubled) > 0 || len(l.lines) != to-from {
		t.Errorf("%d lines are missing, %d are doubled, %d numbers of %d: %.200s; %.200s", len(missing), len(doubled), len(l.lines), to-from, fmt.Sprint(missing), fmt.Sprint(doubled))
	}
}

// nasty makes a ledger fail often, before writing and after.
func (l *ledger) nasty(seed uint64) *ledger {
	var mu sync.Mutex
	dice := rand.New(rand.NewPCG(seed, seed))
	fail := func(percent int, err error) error {
		mu.Lock()
		defer mu.Unlock()
		if dice.IntN(100) < percent {
			return err
		}
		return nil
	}
	l.before = func() error {
		return errors.Join(fail(10, errors.New("connection refused")), fail(5, proxylog.ErrBusy))
	}
	l.after = func() error { return fail(10, errors.New("connection reset at the commit")) }
	l.reading = func() error { return fail(10, errors.New("connection refused")) }
	return l
}

func options(c *kfake.Cluster, counter proxylog.Counter) kafka.Options {
	return kafka.Options{Input: "kafka", Brokers: c.ListenAddrs(), Topic: topic, Group: "reconciler", Counter: counter, Flush: 5 * time.Millisecond}
}

// member is a Consumer that runs until it is ended.
type member struct {
	*kafka.Consumer
	end func()
}

func run(t testing.TB, o kafka.Options) *member {
	t.Helper()
	return start(t, kafka.New(o).Hasten())
}

func start(t testing.TB, c *kafka.Consumer) *member {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	m := &member{Consumer: c}
	m.end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(m.end)
	return m
}
