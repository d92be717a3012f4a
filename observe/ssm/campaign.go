package ssm

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	halt    context.CancelCauseFunc // ends the look, when nothing further can succeed
	refused atomic.Int32            // instances that the role may send nothing to
	flown   atomic.Int32            // commands that were sent

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
	asked    int             // how many instances it was meant for
	open     map[string]bool // those that owe an answer
	targets  int             // how many instances AWS counts; 0: not known yet
	finished bool            // on every instance
}

// run sends to all and returns when everybody has answered or been given up.
// Whom nobody could be asked about, since ctx ended, has no answer yet.
func (c *campaign) run(ctx context.Context, online []string) {
	if len(online) == 0 {
		return
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if c.pool.opts.Tag != "" && len(online) > batchSize {
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
		group.Go(func() error {
			c.sendBatch(ctx, batch)
			return nil
		})
	}
	_ = group.Wait()
}

// sendBatch sends to a batch. Where an instance fails it, parts are tried until
// the bad ones stand alone. It holds a place only for its own call, never while
// it waits for one: campaigns that share few places can't lock each other out.
func (c *campaign) sendBatch(ctx context.Context, batch []string) {
	if !c.pool.board(ctx) {
		return
	}
	out, err := c.send(ctx, &ssm.SendCommandInput{InstanceIds: batch})
	if err == nil {
		c.launch(out, batch, false)
		return
	}
	c.pool.leave()
	if one, other := split(batch, err); one != nil {
		c.sendBatch(ctx, one)
		c.sendBatch(ctx, other)
		return
	}
	c.fail(ctx, batch, err)
}

// sendByTag sends once, to all that carry the tag.
func (c *campaign) sendByTag(ctx context.Context, ids []string) {
	if !c.pool.board(ctx) {
		return
	}
	name, value, _ := strings.Cut(c.pool.opts.Tag, "=")
	out, err := c.send(ctx, &ssm.SendCommandInput{Targets: []types.Target{{Key: aws.String("tag:" + name), Values: []string{value}}}})
	if err == nil {
		c.launch(out, ids, true)
		return
	}
	c.pool.leave()
	c.fail(ctx, ids, err)
}

// hopeless is after how many refused instances, while no command could be sent
// at all, the rest is not tried one by one.
const hopeless = 10

// fail answers for instances to which nothing could be sent.
func (c *campaign) fail(ctx context.Context, ids []string, err error) {
	why := reason(ctx, opSend, c.cmd.Document, err)
	switch {
	case isDenial(err) && isAboutInstances(err, ids):
		why = "not allowed to call ssm:SendCommand on the instance: does it carry the tag that the role's policy demands? (deploy/ssm)"
		if c.refused.Add(1) >= hopeless && c.flown.Load() == 0 {
			c.halt(halted(why))
		}
	case code(err) == invalidInstance:
		why = "SSM does not take the instance (InvalidInstanceId): stopped or terminated since the inventory"
	case isFinal(err):
		c.halt(halted(why))
	}
	c.answers.giveUp(ids, why)
}

// sendGrace is how long the answer of a SendCommand is waited for though the
// look has ended: the command may run, and only its answer has the id by which
// it can be cancelled.
const sendGrace = 2 * time.Second

func (c *campaign) send(ctx context.Context, in *ssm.SendCommandInput) (*types.Command, error) {
	in.DocumentName = aws.String(c.cmd.Document)
	in.Parameters = c.cmd.Parameters
	in.TimeoutSeconds = aws.Int32(deliverFor)
	in.MaxConcurrency, in.MaxErrors = aws.String("100%"), aws.String("100%") // one failure must not stop the others
	in.Comment = aws.String("billing-reconciler: look, change nothing")
	out, err := call(ctx, c.pool, opSend, func(ctx context.Context) (*ssm.SendCommandOutput, error) {
		ctx, done := lingering(ctx, sendGrace)
		defer done()
		return c.pool.api.SendCommand(ctx, in)
	})
	if err != nil {
		return nil, err
	}
	if out.Command == nil || aws.ToString(out.Command.CommandId) == "" {
		return nil, errNoCommand
	}
	return out.Command, nil
}

var errNoCommand = errors.New("the answer names no command")

func (c *campaign) launch(command *types.Command, ids []string, byTag bool) {
	now := c.pool.opts.Now()
	f := &flight{id: *command.CommandId, sent: now, deadline: now.Add(c.pool.opts.Timeout), byTag: byTag, asked: len(ids), open: make(map[string]bool, len(ids))}
	if command.RequestedDateTime != nil {
		f.sent = *command.RequestedDateTime
	}
	for _, id := range ids {
		f.open[id] = true
	}
	c.flown.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flights[f.id] = f
	select {
	case c.launched <- struct{}{}:
	default:
	}
}

// land takes a flight whose instances have all answered off the list, and
// gives its place to the next.
func (c *campaign) land(f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, under := c.flights[f.id]; under {
		delete(c.flights, f.id)
		c.pool.leave()
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
