package objects_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog/objects"
)

// line is the nth line: its address is its number.
func line(n int) string {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(n)|10<<24)
	return `https 2026-11-24T22:00:00.123456Z app/proxy/0 ` + netip.AddrFrom4(b).String() +
		`:2817 10.0.0.9:80 0.086 0.048 0.037 200 200 0 57 "POST https://proxy:443/api/v1/internal/llm/anthropic/v1/messages HTTP/1.1" "curl/7.46.0" - - arn:aws:elasticloadbalancing:x "Root=1-58" "-" "-" 1 2026-11-24T22:00:00.000000Z "forward" "-" "-" "10.0.0.9:80" "200" "-" "-"` + "\n"
}

func lines(from, to int) string {
	var b strings.Builder
	for n := from; n < to; n++ {
		b.WriteString(line(n))
	}
	return b.String()
}

// ledger is a Counter in memory.
type ledger struct {
	before func() error // an error: the batch is not written
	after  func() error // an error is told though the batch is written

	mu     sync.Mutex
	ids    map[string]int // how often a batch was given
	lines  map[int]int
	total  int64
	unread int64
	states []string
}

func newLedger() *ledger { return &ledger{ids: map[string]int{}, lines: map[int]int{}} }

func (l *ledger) Positions(context.Context, string, string) ([]proxylog.Position, error) {
	return nil, nil
}

func (l *ledger) Count(_ context.Context, b *proxylog.Batch) error {
	if l.before != nil {
		if err := l.before(); err != nil {
			return err
		}
	}
	if err := l.write(b); err != nil {
		return err
	}
	if l.after != nil {
		return l.after()
	}
	return nil
}

func (l *ledger) write(b *proxylog.Batch) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ids[b.ID]++; l.ids[b.ID] > 1 {
		return proxylog.ErrCounted
	}
	for _, g := range b.Tally.Groups() {
		a := g.Address.As4()
		l.lines[int(binary.BigEndian.Uint32(a[:])&0xffffff)] += int(g.Billed)
	}
	l.total, l.unread = l.total+b.Tally.Lines, l.unread+b.Tally.NotUnderstood
	return nil
}

func (l *ledger) State(_ context.Context, _ string, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.states = append(l.states, fmt.Sprint(err))
	return nil
}

func (l *ledger) exactly(t testing.TB, n int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range n {
		if l.lines[i] != 1 {
			t.Fatalf("line %d was counted %d times", i, l.lines[i])
		}
	}
	if len(l.lines) != n {
		t.Errorf("%d lines were counted, want %d", len(l.lines), n)
	}
}

func (l *ledger) told(words string) func() bool {
	return func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return slices.ContainsFunc(l.states, func(s string) bool { return strings.Contains(s, words) })
	}
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(90 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

func options(t testing.TB, c *cloud, counter proxylog.Counter) objects.Options {
	clients := c.clients(t, true)
	return objects.Options{Input: "sqs", SQS: clients.SQS, S3: clients.S3, Queue: c.URL + "/0/queue", Format: proxylog.ALB, Counter: counter}
}

func run(t testing.TB, o objects.Options) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	r := objects.New(o).Hasten()
	go func() { done <- r.Run(ctx) }()
	end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(end)
	return end
}

func TestWhatMessagesTell(t *testing.T) {
	c := newCloud(t)
	l := newLedger()
	key := "AWSLogs/0/elasticloadbalancing/a b+c/ü%.log.gz"
	c.put("plain.log", []byte(lines(0, 10)))
	c.put(key, packed(lines(10, 20)))
	c.put("old.log@v1", []byte(lines(20, 30)))
	c.put("old.log", []byte("what is this\n"+lines(30, 40)))
	c.put("two.log", []byte(lines(40, 50)))
	c.send(event(record("plain.log", "")))
	c.send(wrapped(event(record(url.QueryEscape(key), ""), record("old.log", "v1"))))
	c.send(event(record("old.log", "")))
	c.send(event(record("two.log", "")))
	c.send(event(record("two.log", ""))) // announced twice
	c.send(`{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-11-24T22:00:00.000Z","Bucket":"logs","RequestId":"x","HostId":"y"}`)
	c.send(wrapped(`{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"logs"}`))
	c.send(event(strings.Replace(record("gone.log", ""), "ObjectCreated:Put", "ObjectRemoved:Delete", 1)))
	for _, other := range []string{"AWSLogs/0/ELBAccessLogTestFile", "AWSLogs/", "AWSLogs/0/conn_log.0_x.log.gz"} {
		c.send(event(record(other, "")))
	}
	run(t, options(t, c, l))
	waitFor(t, "every message is deleted", func() bool { return c.left() == 0 })
	l.exactly(t, 50)
	if l.total != 51 || l.unread != 1 {
		t.Errorf("%d lines, %d of them not understood; want 51 and 1", l.total, l.unread)
	}
	for _, id := range []string{"logs/old.log@v1", "logs/" + key + "@"} {
		found := false
		for got := range l.ids {
			found = found || strings.HasPrefix(got, id)
		}
		if !found {
			t.Errorf("no batch %s: %v", id, l.ids)
		}
	}
	waitFor(t, "all is right", l.told("<nil>"))
}

// What can never be counted stays in the queue, is told, and holds up nothing.
func TestWhatCanNotBeCounted(t *testing.T) {
	broken := packed(lines(100, 140))
	for _, row := range []struct{ rule, message, says string }{
		{"no object", event(record("nowhere.log", "")), "get s3://logs/nowhere.log"},
		{"garbage in gzip's clothes", event(record("garbage.gz", "")), "read log: s3://logs/garbage.gz"},
		{"a gzip that ends early", event(record("short.gz", "")), "read log: s3://logs/short.gz"},
		{"too many groups", event(record("large.log", "")), "read s3://logs/large.log: it has more than 50 groups"},
		{"no JSON", "hello", "no notification of S3's"},
		{"another JSON", `{"hello":"world"}`, "it has no Records"},
		{"a name that is none", event(record("%zz", "")), "whose name cannot be read"},
	} {
		t.Run(row.rule, func(t *testing.T) {
			c := newCloud(t)
			l := newLedger()
			c.put("garbage.gz", []byte("\x1f\x8bgarbage that is none of gzip's"))
			c.put("short.gz", broken[:len(broken)-20])
			c.put("large.log", []byte(lines(100, 200)))
			c.put("good.log", []byte(lines(0, 10)))
			c.send(row.message)
			c.send(event(record("good.log", "")))
			o := options(t, c, l)
			o.MaxGroups, o.Concurrency = 50, 1
			end := run(t, o)
			waitFor(t, "it is told", l.told(row.says))
			waitFor(t, "the other one is counted", func() bool { return c.left() == 1 })
			waitFor(t, "it is left to the queue", func() bool {
				c.mu.Lock()
				defer c.mu.Unlock()
				m := c.messages[0]
				return m.received == 5 && time.Until(m.visible) > 30*time.Minute
			})
			end()
			l.exactly(t, 10)
		})
	}
}

// An object takes longer than a message is hidden at a time.
func TestAMessageIsHiddenWhileItIsWorkedOn(t *testing.T) {
	c := newCloud(t)
	l := newLedger()
	c.slow = 2500 * time.Millisecond
	c.put("slow.log", []byte(lines(0, 10)))
	c.send(event(record("slow.log", "")))
	o := options(t, c, l)
	o.Visibility = time.Second
	run(t, o)
	waitFor(t, "it is counted", func() bool { return c.left() == 0 })
	l.exactly(t, 10)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.messages[0].received != 1 || c.extended < 2 {
		t.Errorf("received %d times, prolonged %d times", c.messages[0].received, c.extended)
	}
}

// A body that stops coming does not hold a worker for ever.
func TestABodyThatStalls(t *testing.T) {
	c := newCloud(t)
	l := newLedger()
	c.slow = time.Hour
	c.put("stalled.log", []byte(lines(0, 10)))
	c.send(event(record("stalled.log", "")))
	o := options(t, c, l)
	o.Stalled = 50 * time.Millisecond
	run(t, o)
	waitFor(t, "it is told", l.told("nothing comes of the object any more"))
	c.mu.Lock()
	c.slow = 0
	c.mu.Unlock()
	waitFor(t, "it is counted", func() bool { return c.left() == 0 })
	l.exactly(t, 10)
}

func TestAQueueThatDoesNotAnswer(t *testing.T) {
	c := newCloud(t)
	l := newLedger()
	c.percent["ReceiveMessage"] = 100
	run(t, options(t, c, l))
	waitFor(t, "it is told", l.told("receive from "+c.URL+"/0/queue"))
	c.mu.Lock()
	c.percent["ReceiveMessage"] = 0
	c.mu.Unlock()
	c.put("good.log", []byte(lines(0, 10)))
	c.send(event(record("good.log", "")))
	waitFor(t, "it is counted", func() bool { return c.left() == 0 })
	waitFor(t, "all is right", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.states[len(l.states)-1] == "<nil>" })
}

func TestNoQueue(t *testing.T) {
	if err := objects.New(objects.Options{}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no queue") {
		t.Errorf("%v", err)
	}
}

// torture fails everything that can fail, over and over, with two consumers, one
// of which is ended and begun again.
func torture(t *testing.T, c *cloud, number, each int, counter proxylog.Counter) {
	var records []string
	for n := range number {
		key, text := fmt.Sprintf("AWSLogs/%d.log", n), lines(n*each, (n+1)*each)
		if n%2 == 0 {
			key += ".gz"
			c.put(key, packed(text))
		} else {
			c.put(key, []byte(text))
		}
		if records = append(records, record(key, "")); len(records) > n%3 {
			body := event(records...)
			if n%5 == 0 {
				body = wrapped(body)
			}
			c.send(body)
			if n%7 == 0 {
				c.send(body)
			}
			records = nil
		}
	}
	if records != nil {
		c.send(event(records...))
	}
	for what, percent := range map[string]int{"ReceiveMessage": 10, "DeleteMessage": 30, "reported": 20, "ChangeMessageVisibility": 20, "GetObject": 20, "cut": 15, "twice": 20} {
		c.percent[what] = percent
	}
	o := options(t, c, counter)
	o.Visibility, o.Receives = time.Second, 1000
	run(t, o)
	end := run(t, o)
	for c.left() > 0 {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("the test ends")
		}
		end()
		end = run(t, o)
	}
}

func TestTorture(t *testing.T) {
	number, each := 200, 500
	if testing.Short() {
		number = 60
	}
	c, l := newCloud(t), newLedger()
	var mu sync.Mutex
	dice := rand.New(rand.NewPCG(5, 6))
	fail := func(percent int, err error) func() error {
		return func() error {
			mu.Lock()
			defer mu.Unlock()
			if dice.IntN(100) < percent {
				return err
			}
			return nil
		}
	}
	l.before, l.after = fail(15, proxylog.ErrBusy), fail(15, errors.New("connection reset at the commit"))
	torture(t, c, number, each, l)
	l.exactly(t, number*each)
	c.mu.Lock()
	defer c.mu.Unlock()
	t.Logf("%d objects in %d messages; calls: %v", number, len(c.messages), c.calls)
}
