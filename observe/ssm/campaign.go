package ssm

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"golang.org/x/sync/errgroup"
)

// campaign is one command, sent to many instances in batches and collected.
type campaign struct {
	pool    *Pool
	cmd     Command
	answers *answers

	mu       sync.Mutex
	flights  map[string]*flight // by command id
	launched chan struct{}      // something was added to flights
}

// flight is one SendCommand under way.
type flight struct {
	id       string
	sent     time.Time // by AWS's clock
	deadline time.Time // by ours
	byTag    bool
	open     map[string]bool // instances that owe an answer
	targets  int             // how many instances AWS counts; 0: not known yet
	finished bool            // on every instance
}

// run sends to all and returns when everybody has answered or been given up.
func (c *campaign) run(ctx context.Context, online []string) {
	if len(online) == 0 {
		return
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if c.pool.opts.Tag != "" {
			c.sendByTag(ctx, online)
		} else {
			c.sendAll(ctx, online)
		}
	}()
	c.collect(ctx, sent)
	<-sent
	c.cancel(ctx) // what was sent while we stopped looking
}

func (c *campaign) sendAll(ctx context.Context, ids []string) {
	var group errgroup.Group
	group.SetLimit(callers)
	for batch := range slices.Chunk(ids, batchSize) {
		select {
		case c.pool.flights <- struct{}{}:
		case <-ctx.Done():
			continue // answered as interrupted
		}
		group.Go(func() error {
			c.sendBatch(ctx, batch)
			return nil
		})
	}
	_ = group.Wait()
}

// sendBatch sends to a batch, for which a place among the flights is taken.
// Where one bad id fails it, halves are tried until the bad ones stand alone.
func (c *campaign) sendBatch(ctx context.Context, batch []string) {
	out, err := c.send(ctx, &ssm.SendCommandInput{InstanceIds: batch})
	switch {
	case err == nil:
		c.launch(out, batch, false)
		return
	case code(err) != "InvalidInstanceId":
		c.giveUp(batch, explain(opSend, c.cmd.Document, err))
	case len(batch) == 1:
		c.giveUp(batch, "SSM does not take the instance (InvalidInstanceId): stopped or terminated since the inventory")
	default:
		half := len(batch) / 2
		c.sendBatch(ctx, batch[:half:half])
		select {
		case c.pool.flights <- struct{}{}:
			c.sendBatch(ctx, batch[half:])
		case <-ctx.Done():
		}
		return
	}
	<-c.pool.flights
}

// sendByTag sends once, to all that carry the tag.
func (c *campaign) sendByTag(ctx context.Context, ids []string) {
	select {
	case c.pool.flights <- struct{}{}:
	case <-ctx.Done():
		return
	}
	name, value, _ := strings.Cut(c.pool.opts.Tag, "=")
	out, err := c.send(ctx, &ssm.SendCommandInput{Targets: []types.Target{{Key: aws.String("tag:" + name), Values: []string{value}}}})
	if err != nil {
		c.giveUp(ids, explain(opSend, c.cmd.Document, err))
		<-c.pool.flights
		return
	}
	c.launch(out, ids, true)
}

func (c *campaign) send(ctx context.Context, in *ssm.SendCommandInput) (*ssm.SendCommandOutput, error) {
	in.DocumentName = aws.String(c.cmd.Document)
	in.Parameters = c.cmd.Parameters
	in.TimeoutSeconds = aws.Int32(deliverFor)
	in.MaxConcurrency, in.MaxErrors = aws.String("100%"), aws.String("100%") // one failure must not stop the others
	in.Comment = aws.String("billing-reconciler: look, change nothing")
	return call(ctx, c.pool, opSend, func(ctx context.Context) (*ssm.SendCommandOutput, error) { return c.pool.api.SendCommand(ctx, in) })
}

func (c *campaign) launch(out *ssm.SendCommandOutput, ids []string, byTag bool) {
	f := &flight{deadline: c.pool.opts.Now().Add(c.pool.opts.Timeout), byTag: byTag, open: make(map[string]bool, len(ids))}
	f.id, f.sent = aws.ToString(out.Command.CommandId), aws.ToTime(out.Command.RequestedDateTime)
	for _, id := range ids {
		f.open[id] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flights[f.id] = f
	select {
	case c.launched <- struct{}{}:
	default:
	}
}

func (c *campaign) giveUp(ids []string, reason string) {
	for _, id := range ids {
		c.answers.give(id, unreachable(reason))
	}
}

// land takes a flight whose instances have all answered off the list, and
// gives its place to the next.
func (c *campaign) land(f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, under := c.flights[f.id]; under {
		delete(c.flights, f.id)
		<-c.pool.flights
	}
}

func (c *campaign) underWay() []*flight {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]*flight, 0, len(c.flights))
	for _, f := range c.flights {
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b *flight) int { return a.sent.Compare(b.sent) })
	return list
}

// cancelFor bounds how long a stop takes.
const cancelFor = 5 * time.Second

// cancel stops commands that nobody waits for any more. It has a little time
// of its own, since ctx has ended as a rule.
func (c *campaign) cancel(ctx context.Context, only ...*flight) {
	flights := only
	if only == nil {
		flights = c.underWay()
	}
	if len(flights) == 0 {
		return
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelFor)
	defer stop()
	var group errgroup.Group
	group.SetLimit(callers)
	for _, f := range flights {
		group.Go(func() error {
			_, _ = call(ctx, c.pool, opCancel, func(ctx context.Context) (*ssm.CancelCommandOutput, error) {
				return c.pool.api.CancelCommand(ctx, &ssm.CancelCommandInput{CommandId: aws.String(f.id)})
			}) // it only reads; one that goes on does no harm
			c.land(f)
			return nil
		})
	}
	_ = group.Wait()
}
