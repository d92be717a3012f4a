package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// What waits in memory to be read is bounded by these: one answer of each
// broker, packed as it was sent. (To bound the brokers that are asked at once is
// no way: those that have nothing to say would keep the others waiting.)
const (
	fetchBytes     = 4 << 20
	partitionBytes = 1 << 20
	unpackedBytes  = 64 << 20 // of one batch of messages
)

// join makes the client, which goes to its group at once: where that is quick,
// it gives partitions before there is a client to ask about them with. So what it
// calls back waits.
func (r *reading) join() (err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.client, err = r.connect()
	return err
}

// connect makes the client.
func (r *reading) connect() (*kgo.Client, error) {
	r.spoken = &speaker{log: r.Log.With("input", r.Input), said: map[string]time.Time{}}
	o := []kgo.Opt{
		kgo.ClientID("billing-reconciler"), kgo.SeedBrokers(r.Brokers...), kgo.ConsumeTopics(r.Topic), kgo.ConsumerGroup(r.Group),
		kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		// The positions decide, and nothing may decide instead of them.
		kgo.AdjustFetchOffsetsFn(r.assigned), kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.OnPartitionsRevoked(r.revoked), kgo.OnPartitionsLost(r.lost),
		// Lines of transactions that were aborted are none. The marks of
		// transactions are read so as to move on behind them.
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.FetchMaxBytes(fetchBytes), kgo.FetchMaxPartitionBytes(partitionBytes), kgo.MaxDecompressBatchBytes(unpackedBytes),
		kgo.WithLogger(r.spoken),
	}
	if r.TLS {
		o = append(o, kgo.DialTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: r.roots}))
	}
	if r.User != "" {
		o = append(o, kgo.SASL(scram.Sha512(func(context.Context) (scram.Auth, error) {
			return scram.Auth{User: r.User, Pass: r.Password()}, nil
		})))
	}
	if t := r.timing; t.session > 0 {
		o = append(o, kgo.SessionTimeout(t.session), kgo.HeartbeatInterval(t.heartbeat), kgo.RebalanceTimeout(t.rebalance))
	}
	client, err := kgo.NewClient(o...)
	if err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	return client, nil
}

// speaker lets the client speak in our log, of what is wrong, and remembers why
// it could not connect: its errors do not tell.
type speaker struct {
	log *slog.Logger

	mu   sync.Mutex
	said map[string]time.Time
	last string
	at   time.Time
}

// seldom is how often the same is said at most.
const seldom = 30 * time.Second

// Level implements kgo.Logger.
func (*speaker) Level() kgo.LogLevel { return kgo.LogLevelWarn }

// Log implements kgo.Logger.
func (s *speaker) Log(level kgo.LogLevel, said string, facts ...any) {
	s.remember(said, facts)
	how := slog.LevelWarn
	if level == kgo.LogLevelError {
		how = slog.LevelError
	}
	if s.new(said) {
		s.log.Log(context.Background(), how, "the kafka client says", "said", said, slog.Group("facts", facts...))
	}
}

func (s *speaker) remember(said string, facts []any) {
	for i := 0; i+1 < len(facts); i += 2 {
		err, ok := facts[i+1].(error)
		if !ok || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			continue
		}
		s.mu.Lock()
		s.last, s.at = fmt.Sprintf("%s: %s", said, err), time.Now()
		s.mu.Unlock()
	}
}

// new tells whether something was not said a short time ago.
func (s *speaker) new(said string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.said[said]) >= seldom {
		s.said[said] = now
		return true
	}
	return false
}

// lately is what was said of an error a short time ago.
func (s *speaker) lately() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == "" || time.Since(s.at) > seldom {
		return ""
	}
	return " (" + s.last + ")"
}
