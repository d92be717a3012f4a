package objects

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

const (
	longestPause  = time.Minute
	doubled       = 6         // times that a pause doubles
	leftFor       = time.Hour // a message that was received too often, if nothing takes it away
	deletedWithin = 30 * time.Second
)

// receive works on one message after the other, until ctx ends. A message is
// received when it can be worked on, so that it does not age here.
func (r *Reader) receive(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; {
		out, err := r.SQS.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &r.Queue, MaxNumberOfMessages: 1, WaitTimeSeconds: seconds(r.timing.poll), VisibilityTimeout: seconds(r.Visibility),
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameApproximateReceiveCount, types.MessageSystemAttributeNameSentTimestamp}})
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			err = fmt.Errorf("receive from %s: %w", r.Queue, err)
			r.Log.Warn("the queue cannot be read", "input", r.Input, "error", err)
			r.state.received(err)
			wait(ctx, min(r.timing.retry<<min(failures, doubled), longestPause))
			failures++
			continue
		}
		failures = 0
		r.state.received(nil)
		for i := range out.Messages {
			r.handle(ctx, read(&out.Messages[i]))
		}
	}
}

func seconds(d time.Duration) int32 { return int32(max(d/time.Second, 1)) } // #nosec G115 -- 12 h at most, as SQS has it

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// handle counts what a message tells of, and deletes it then.
func (r *Reader) handle(ctx context.Context, m *message) {
	r.lag.begin(m)
	defer r.lag.end(m)
	err := r.hidden(ctx, m, func(ctx context.Context) error { return r.count(ctx, m) })
	switch {
	case err == nil:
		r.remove(ctx, m)
	case ctx.Err() != nil:
		// Another one shall have it at once.
		r.hide(context.WithoutCancel(ctx), m, 0)
	case m.received >= r.Receives:
		r.Log.Error("a message is left to the queue's redrive policy", "input", r.Input, "received", m.received, "error", err)
		r.state.failed(err)
		r.hide(ctx, m, leftFor)
	default:
		r.Log.Warn("a message will be tried again", "input", r.Input, "received", m.received, "error", err)
		r.state.failed(err)
		r.hide(ctx, m, min(r.timing.retry<<min(m.received-1, doubled), longestPause))
	}
}

// count counts all objects of a message.
func (r *Reader) count(ctx context.Context, m *message) error {
	list, err := parse(m.body)
	if err != nil {
		return err
	}
	for _, o := range list {
		b, err := r.batch(ctx, o)
		if err != nil {
			return err
		}
		if err := r.give(ctx, b); err != nil {
			return fmt.Errorf("count %s: %w", o, err)
		}
	}
	return nil
}

// tries is how often a batch is given to the Counter before its object is left
// to be read again.
const tries = 5

// give gives a batch until it is counted, which its id makes harmless.
func (r *Reader) give(ctx context.Context, b *proxylog.Batch) (err error) {
	for n := range tries {
		err = r.Counter.Count(ctx, b)
		if err == nil || errors.Is(err, proxylog.ErrCounted) {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		wait(ctx, min(r.timing.retry<<n, longestPause))
	}
	return err
}

// hidden keeps a message from others while work is done on it.
func (r *Reader) hidden(ctx context.Context, m *message, work func(context.Context) error) error {
	ctx, end := context.WithCancel(ctx)
	var prolonging sync.WaitGroup
	prolonging.Go(func() {
		ticker := time.NewTicker(r.Visibility / 3)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				r.hide(ctx, m, r.Visibility)
			}
		}
	})
	defer prolonging.Wait()
	defer end()
	return work(ctx)
}

// hide hides a message for so long from now on. If that fails, it comes again
// sooner or later than it should, no more.
func (r *Reader) hide(ctx context.Context, m *message, d time.Duration) {
	ctx, end := context.WithTimeout(ctx, deletedWithin)
	defer end()
	_, err := r.SQS.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: &r.Queue, ReceiptHandle: m.receipt, VisibilityTimeout: int32(d / time.Second)}) // #nosec G115 -- an hour at most
	if err != nil && ctx.Err() == nil {
		r.Log.Warn("a message's visibility cannot be changed", "input", r.Input, "error", err)
	}
}

// remove deletes a message, also when ctx has ended meanwhile. If that fails, it
// comes again and is found to be counted.
func (r *Reader) remove(ctx context.Context, m *message) {
	ctx, end := context.WithTimeout(context.WithoutCancel(ctx), deletedWithin)
	defer end()
	if _, err := r.SQS.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: aws.String(r.Queue), ReceiptHandle: m.receipt}); err != nil {
		r.Log.Warn("a message that is done with cannot be deleted", "input", r.Input, "error", err)
	}
}
