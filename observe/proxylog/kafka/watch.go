package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// watch tells the Counter how the input is, until ctx ends. A partition that
// nobody can read shows in what the brokers say of the topic, whoever holds it.
func (r *reading) watch(ctx context.Context) {
	ticker := time.NewTicker(r.timing.state)
	defer ticker.Stop()
	for {
		t, problem := r.describe(ctx)
		if problem == nil {
			problem = t.unread
		}
		if problem == nil {
			problem = r.recent()
		}
		if ctx.Err() != nil {
			return
		}
		if err := r.Counter.State(ctx, r.Input, problem); err != nil && ctx.Err() == nil {
			r.Log.Warn("the input's state is not told", "input", r.Input, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-r.woken:
		}
	}
}

// troubled notes a problem of reading. It is one for as long as it comes again.
func (r *reading) troubled(err error) {
	t := &r.trouble
	t.Lock()
	defer t.Unlock()
	if t.err == nil || t.err.Error() != err.Error() {
		select {
		case r.woken <- struct{}{}:
		default:
		}
	}
	t.err, t.at = err, time.Now()
}

// recent is a problem that there was lately.
func (r *reading) recent() error {
	t := &r.trouble
	t.Lock()
	defer t.Unlock()
	if time.Since(t.at) > max(r.timing.state, 2*r.timing.retry) {
		t.err = nil
	}
	return t.err
}

// topic is what the brokers say of it.
type topic struct {
	id         topicID
	partitions []int32
	unread     error // which partitions cannot be read; nil: none
}

// describe asks the brokers.
func (r *reading) describe(ctx context.Context) (t topic, err error) {
	ctx, end := context.WithTimeout(ctx, r.timing.answer)
	defer end()
	request := kmsg.NewPtrMetadataRequest()
	asked := kmsg.NewMetadataRequestTopic()
	asked.Topic = kmsg.StringPtr(r.Topic)
	request.Topics = append(request.Topics, asked)
	answer, err := request.RequestWith(ctx, r.client)
	if err != nil {
		return t, fmt.Errorf("ask the brokers for topic %s: %w%s", r.Topic, err, r.spoken.lately())
	}
	if len(answer.Topics) != 1 {
		return t, fmt.Errorf("ask the brokers for topic %s: they tell of %d topics", r.Topic, len(answer.Topics))
	}
	told := &answer.Topics[0]
	if err := kerr.ErrorForCode(told.ErrorCode); err != nil {
		return t, fmt.Errorf("topic %s: %w", r.Topic, err)
	}
	t.id = told.TopicID
	for _, p := range told.Partitions {
		t.partitions = append(t.partitions, p.Partition)
		if p.Leader < 0 {
			t.unread = errors.Join(t.unread, fmt.Errorf("topic %s, partition %d: %w", r.Topic, p.Partition, kerr.LeaderNotAvailable))
		}
	}
	return t, nil
}

// What offsets can be asked for, in place of a time.
const (
	latest   = -1
	earliest = -2
)

// offsets asks the brokers for offsets of partitions. Those that come with an
// error are good.
func (r *reading) offsets(ctx context.Context, partitions []int32, at int64) (map[int32]int64, error) {
	request := kmsg.NewPtrListOffsetsRequest()
	request.ReplicaID = -1
	request.IsolationLevel = 1 // read committed, as messages are
	asked := kmsg.NewListOffsetsRequestTopic()
	asked.Topic = r.Topic
	for _, n := range partitions {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp, p.CurrentLeaderEpoch = n, at, -1
		asked.Partitions = append(asked.Partitions, p)
	}
	request.Topics = append(request.Topics, asked)
	found := map[int32]int64{}
	var problem error
	for _, shard := range r.client.RequestSharded(ctx, request) {
		if shard.Err != nil {
			problem = errors.Join(problem, fmt.Errorf("offsets of topic %s: %w", r.Topic, shard.Err))
			continue
		}
		for _, told := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range told.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					problem = errors.Join(problem, fmt.Errorf("offsets of topic %s, partition %d: %w", r.Topic, p.Partition, err))
					continue
				}
				found[p.Partition] = p.Offset
			}
		}
	}
	return found, problem
}
