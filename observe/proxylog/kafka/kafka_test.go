package kafka_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog/kafka"
)

func TestEachLineIsCountedOnce(t *testing.T) {
	c := cluster(t, 6)
	cl := client(t, c)
	l := newLedger()
	produce(t, cl, 0, 1000, 6)
	run(t, options(c, l))
	l.has(t, 1000)
	produce(t, cl, 1000, 2000, 6)
	l.has(t, 2000)
	l.told(t, "<nil>")
	l.exactly(t, 0, 2000)
}

// Old brokers have no topic ids, and speak older forms of everything.
func TestBrokersOf2018(t *testing.T) {
	c := cluster(t, 3, kfake.MaxVersions(kversion.V2_0_0()))
	l := newLedger()
	produce(t, client(t, c), 0, 100, 3)
	m := run(t, options(c, l))
	l.has(t, 50)
	m.end()
	produce(t, client(t, c), 100, 200, 3)
	run(t, options(c, l))
	l.has(t, 200)
	l.exactly(t, 0, 200)
}

func TestWhatAMessageMayHold(t *testing.T) {
	c := cluster(t, 1)
	cl := client(t, c)
	l := newLedger()
	for _, value := range []string{line(0), line(1) + "\n", line(2) + "\n" + line(3), line(4) + "\r\n\r\n" + line(5) + "\r\n", "", "\n \n", "what is this\n" + line(6)} {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Key: []byte("a tombstone")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	run(t, options(c, l))
	l.until(t, "all is read", func() bool { return l.positions["kafka|"+topic+"/0"].Offset == 8 })
	l.exactly(t, 0, 7)
	if l.total != 8 {
		t.Errorf("%d lines, want 8", l.total)
	}
}

// A position that is stored is not read again, and what Kafka has committed for
// the group decides nothing.
func TestPositionsDecideAndNotKafka(t *testing.T) {
	c := cluster(t, 2)
	cl := client(t, c)
	l := newLedger()
	produce(t, cl, 0, 100, 2)
	m := run(t, options(c, l))
	l.has(t, 100)
	m.end()
	commit(t, cl, 3, 60)
	produce(t, cl, 100, 200, 2)
	run(t, options(c, l))
	l.has(t, 200)
	l.exactly(t, 0, 200)
}

func TestFromTheEnd(t *testing.T) {
	c := cluster(t, 2)
	cl := client(t, c)
	l := newLedger()
	produce(t, cl, 0, 100, 2)
	o := options(c, l)
	o.From = kafka.End
	m := run(t, o)
	// Both ends are stored before the first line is read.
	l.until(t, "positions", func() bool { return len(l.positions) == 2 })
	m.end()
	produce(t, cl, 100, 200, 2)
	run(t, o)
	l.has(t, 100)
	l.exactly(t, 100, 200)
}

// A partition that is added later has no lines from before.
func TestFromTheEndIsNoExcuseForNewPartitions(t *testing.T) {
	c := cluster(t, 1)
	cl := client(t, c)
	l := newLedger()
	o := options(c, l)
	o.From = kafka.End
	m := run(t, o)
	l.until(t, "positions", func() bool { return len(l.positions) == 1 })
	m.end()
	grow(t, cl, 2)
	produce(t, client(t, c), 0, 100, 2)
	run(t, o)
	l.has(t, 100)
	l.exactly(t, 0, 100)
}

func TestAbortedTransactionsAreNoLines(t *testing.T) {
	c := cluster(t, 1)
	l := newLedger()
	tx := client(t, c, kgo.TransactionalID("proxy"))
	for n, how := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit, kgo.TryAbort} {
		if err := tx.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		produce(t, tx, n*10, n*10+10, 1)
		if err := tx.EndTransaction(t.Context(), how); err != nil {
			t.Fatal(err)
		}
	}
	m := run(t, options(c, l))
	l.until(t, "all is read, marks too", func() bool { return l.positions["kafka|"+topic+"/0"].Offset == 44 })
	if len(l.lines) != 20 {
		t.Errorf("%d lines, want those of two transactions, 20", len(l.lines))
	}
	waitFor(t, "no lag", func() bool { behind, oldest := m.Lag(); return behind == 0 && oldest == 0 })
}

func TestTheLag(t *testing.T) {
	c := cluster(t, 1)
	l := newLedger()
	var down atomic.Bool
	down.Store(true)
	l.before = func() error {
		if down.Load() {
			return errors.New("the database is away")
		}
		return nil
	}
	before := time.Now().Add(-time.Hour)
	for n := range 10 {
		if err := client(t, c).ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte(line(n)), Timestamp: before.Add(time.Duration(n) * time.Minute)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	m := run(t, options(c, l))
	waitFor(t, "ten behind, an hour", func() bool {
		behind, oldest := m.Lag()
		return behind == 10 && oldest >= time.Hour && oldest < time.Hour+time.Minute*2
	})
	l.told(t, "the database is away")
	down.Store(false)
	l.has(t, 10)
	waitFor(t, "none behind", func() bool { behind, oldest := m.Lag(); return behind == 0 && oldest == 0 })
	l.until(t, "all right again", func() bool { return l.states[len(l.states)-1] == "<nil>" })
	l.exactly(t, 0, 10)
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

// A Counter that has no room gets what was read when it has; nothing more is
// read meanwhile.
func TestABusyCounter(t *testing.T) {
	c := cluster(t, 1)
	l := newLedger()
	var refused atomic.Int64
	l.before = func() error {
		if refused.Add(1) < 10 {
			return proxylog.ErrBusy
		}
		return nil
	}
	produce(t, client(t, c), 0, 5000, 1)
	o := options(c, l)
	o.MaxGroups = 100
	run(t, o)
	l.has(t, 5000)
	l.exactly(t, 0, 5000)
}

func TestATopicThatIsNotThere(t *testing.T) {
	c := cluster(t, 1)
	l := newLedger()
	o := options(c, l)
	o.Topic = "nobodys"
	run(t, o)
	l.told(t, "topic nobodys: UNKNOWN_TOPIC_OR_PARTITION")
}

func TestBrokersThatDoNotAnswer(t *testing.T) {
	c := cluster(t, 1)
	l := newLedger()
	m := run(t, options(c, l))
	produce(t, client(t, c), 0, 10, 1)
	l.has(t, 10)
	c.Close()
	l.told(t, "ask the brokers for topic "+topic)
	begun := time.Now()
	m.end()
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it took %s to end", took)
	}
}

func TestOptionsThatAreNone(t *testing.T) {
	for says, o := range map[string]kafka.Options{
		"no brokers":        {Topic: topic, Group: "g"},
		"no topic":          {Brokers: []string{"b:1"}, Group: "g"},
		"no consumer group": {Brokers: []string{"b:1"}, Topic: topic},
	} {
		if err := kafka.New(o).Run(context.Background()); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}
