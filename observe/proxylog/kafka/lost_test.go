package kafka_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog/kafka"
)

// commit commits offsets of partitions for the group, as people's tools do.
func commit(t testing.TB, cl *kgo.Client, offsets ...int64) {
	t.Helper()
	request := kmsg.NewPtrOffsetCommitRequest()
	request.Group, request.Generation = "reconciler", -1
	one := kmsg.NewOffsetCommitRequestTopic()
	one.Topic, one.TopicID = topic, topicID(t, cl)
	for n, offset := range offsets {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset = int32(n), offset
		one.Partitions = append(one.Partitions, p)
	}
	request.Topics = append(request.Topics, one)
	answer, err := request.RequestWith(t.Context(), cl)
	if err != nil || answer.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatal(err, answer)
	}
}

func topicID(t testing.TB, cl *kgo.Client) [16]byte {
	t.Helper()
	request := kmsg.NewPtrMetadataRequest()
	one := kmsg.NewMetadataRequestTopic()
	one.Topic = kmsg.StringPtr(topic)
	request.Topics = append(request.Topics, one)
	answer, err := request.RequestWith(t.Context(), cl)
	if err != nil {
		t.Fatal(err)
	}
	return answer.Topics[0].TopicID
}

// grow gives the topic more partitions.
func grow(t testing.TB, cl *kgo.Client, to int32) {
	t.Helper()
	request := kmsg.NewPtrCreatePartitionsRequest()
	one := kmsg.NewCreatePartitionsRequestTopic()
	one.Topic, one.Count = topic, to
	request.Topics = append(request.Topics, one)
	answer, err := request.RequestWith(t.Context(), cl)
	if err != nil || answer.Topics[0].ErrorCode != 0 {
		t.Fatal(err, answer)
	}
}

// What retention took while nobody read is told, once, and the rest is read.
func TestMessagesThatWereDeletedBeforeTheyWereRead(t *testing.T) {
	c := cluster(t, 1)
	cl := client(t, c)
	l := newLedger()
	produce(t, cl, 0, 10, 1)
	m := run(t, options(c, l))
	l.has(t, 10)
	m.end()
	produce(t, cl, 10, 30, 1)
	if err := c.DeleteRecords(topic, 0, 20); err != nil {
		t.Fatal(err)
	}
	m = run(t, options(c, l))
	l.told(t, "10 messages were deleted before they were read: reading goes on at offset 20 and not at 10")
	l.has(t, 20)
	m.end()
	run(t, options(c, l))
	produce(t, cl, 30, 31, 1)
	l.has(t, 21)
	l.mu.Lock()
	defer l.mu.Unlock()
	if said := strings.Count(strings.Join(l.states, "\n"), "were deleted"); said != 1 {
		t.Errorf("told %d times, want once", said)
	}
	for n := range 31 {
		if want := map[bool]int{true: 0, false: 1}[n >= 10 && n < 20]; l.lines[n] != want {
			t.Errorf("line %d: counted %d times, want %d", n, l.lines[n], want)
		}
	}
}

// The same while it is being read: the database is away so long that the
// messages are deleted.
func TestMessagesThatAreDeletedWhileTheyAreRead(t *testing.T) {
	c := cluster(t, 1)
	cl := client(t, c)
	l := newLedger()
	var down atomic.Bool
	l.before = func() error {
		if down.Load() {
			return errors.New("the database is away")
		}
		return nil
	}
	produce(t, cl, 0, 10, 1)
	run(t, options(c, l))
	l.has(t, 10)
	down.Store(true)
	produce(t, cl, 10, 30, 1)
	l.told(t, "the database is away")
	if err := c.DeleteRecords(topic, 0, 20); err != nil {
		t.Fatal(err)
	}
	down.Store(false)
	l.told(t, "10 messages were deleted")
	produce(t, cl, 30, 40, 1)
	l.has(t, 30)
	for n := 20; n < 40; n++ {
		if l.lines[n] != 1 {
			t.Errorf("line %d: counted %d times", n, l.lines[n])
		}
	}
}

// A topic of the same name is another topic, also when it has more messages
// than the one before.
func TestATopicThatIsMadeAnew(t *testing.T) {
	c := cluster(t, 1)
	cl := client(t, c)
	l := newLedger()
	produce(t, cl, 0, 10, 1)
	m := run(t, options(c, l))
	l.has(t, 10)
	m.end()
	if err := c.DeleteTopic(topic); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateTopic(topic, 1, nil); err != nil {
		t.Fatal(err)
	}
	produce(t, client(t, c), 10, 40, 1)
	run(t, options(c, l))
	l.has(t, 40)
	l.told(t, "made anew")
	l.exactly(t, 0, 40)
}

func TestATopicThatIsMadeAnewWhileItIsRead(t *testing.T) {
	c := cluster(t, 1)
	l := newLedger()
	produce(t, client(t, c), 0, 10, 1)
	run(t, options(c, l))
	l.has(t, 10)
	if err := c.DeleteTopic(topic); err != nil {
		t.Fatal(err)
	}
	l.told(t, "UNKNOWN_TOPIC")
	if err := c.CreateTopic(topic, 1, nil); err != nil {
		t.Fatal(err)
	}
	produce(t, client(t, c), 10, 40, 1)
	l.has(t, 40)
	l.exactly(t, 0, 40)
}

func TestTLSAndAPassword(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	c := cluster(t, 1, kfake.TLS(&tls.Config{Certificates: server.TLS.Certificates}), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "reconciler", "s3cret"))
	l := newLedger()
	o := options(c, l)
	o.TLS, o.User, o.Password = true, "reconciler", func() string { return "wrong" }
	m := start(t, kafka.New(o).Hasten().Trust(roots))
	l.told(t, "ask the brokers for topic "+topic) // unlike this one, a real broker says why
	m.end()
	o.Password = func() string { return "s3cret" }
	start(t, kafka.New(o).Hasten().Trust(roots))
	l.told(t, "<nil>")
	l.mu.Lock()
	defer l.mu.Unlock()
	if all := strings.Join(l.states, "\n"); strings.Contains(all, "s3cret") || strings.Contains(all, "wrong") {
		t.Error("a state tells the password: " + all)
	}
}

// The database is away when the group gives the partition. What Kafka has
// committed would be its end, where nothing ever wakes the reader.
func TestAPositionThatCannotBeReadAtFirst(t *testing.T) {
	c := cluster(t, 1)
	cl := client(t, c)
	l := newLedger()
	produce(t, cl, 0, 10, 1)
	commit(t, cl, 10)
	var asked atomic.Int64
	l.reading = func() error {
		if asked.Add(1) <= 3 {
			return errors.New("the database is away")
		}
		return nil
	}
	run(t, options(c, l))
	l.told(t, "the database is away")
	l.has(t, 10)
	l.exactly(t, 0, 10)
}
