package ssm

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// fly takes a batch all the way: it waits for a place, sends the command, and
// stays with it until everybody has been answered or has left.
func (c *campaign) fly(b *batch) {
	defer close(b.done)
	defer b.stop()
	f := c.launch(b)
	c.sent()
	if f == nil {
		return
	}
	f.collect()
	f.land()
}

// sent notes that a batch is not to be sent any more.
func (c *campaign) sent() {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	c.sending--
	c.pool.awaken()
}

// launch sends to a batch; nil: nothing is under way. Where an instance fails
// it, parts are tried until the bad ones stand alone. A place is held only for
// the batch's own call, never while parts wait for one: those who share few
// places can't lock each other out.
func (c *campaign) launch(b *batch) *flight {
	p := c.pool
	if !p.places.take(b.ctx, b.urgent) {
		return nil
	}
	ids := p.waited(b)
	if len(ids) == 0 {
		p.places.leave()
		return nil
	}
	command, err := c.request(b, ids)
	if err == nil {
		return c.takeOff(b, command, len(ids))
	}
	p.places.leave()
	if one, other := split(ids, err); one != nil && !b.byTag {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, ids := range [][]string{one, other} {
			if part := b.part(ids); part != nil {
				c.send(part)
			}
		}
		return nil
	}
	c.fail(b, ids, err)
	return nil
}

func (c *campaign) takeOff(b *batch, command *types.Command, asked int) *flight {
	p := c.pool
	f := &flight{campaign: c, batch: b, id: *command.CommandId, sent: p.opts.Now(), launched: time.Now(), asked: asked, news: make(chan struct{}, 1)}
	if command.RequestedDateTime != nil {
		f.sent = *command.RequestedDateTime
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c.flown++
	p.track(f)
	return f
}

// hopeless is after how many refused instances, while no command could be sent
// at all, the rest is not tried one by one.
const hopeless = 10

// fail answers for instances to which nothing could be sent.
func (c *campaign) fail(b *batch, ids []string, err error) {
	why, all := explain(opSend, c.cmd.Document, err), false
	switch {
	case isDenial(err) && isAboutInstances(err, ids):
		why = "not allowed to call ssm:SendCommand on the instance: does it carry the tag that the role's policy demands? (deploy/ssm)"
		c.pool.mu.Lock()
		c.refused++
		all = c.refused >= hopeless && c.flown == 0
		c.pool.mu.Unlock()
	case code(err) == invalidInstance:
		why = "SSM does not take the instance (InvalidInstanceId): stopped or terminated since the inventory"
	case isFinal(err):
		all = true
	}
	c.pool.giveUp(b, ids, why)
	if all {
		c.pool.halt(why, func(a *ask) bool { return a.campaign == c })
	}
}

// sendGrace is how long the answer of a SendCommand is waited for though nobody
// waits for the batch any more: the command may run, and only its answer has
// the id by which it can be cancelled.
const sendGrace = 2 * time.Second

func (c *campaign) request(b *batch, ids []string) (*types.Command, error) {
	in := &ssm.SendCommandInput{
		DocumentName:   aws.String(c.cmd.Document),
		Parameters:     c.cmd.Parameters,
		TimeoutSeconds: aws.Int32(deliverFor),
		MaxConcurrency: aws.String("100%"),
		MaxErrors:      aws.String("100%"), // one failure must not stop the others
		Comment:        aws.String("billing-reconciler: look, change nothing"),
	}
	if b.byTag {
		name, value, _ := strings.Cut(c.pool.opts.Tag, "=")
		in.Targets = []types.Target{{Key: aws.String("tag:" + name), Values: []string{value}}}
	} else {
		in.InstanceIds = ids
	}
	out, err := call(b.ctx, c.pool, b.urgent, opSend, func(ctx context.Context) (*ssm.SendCommandOutput, error) {
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

// cancelFor bounds how long a stop takes.
const cancelFor = 5 * time.Second

// cancel stops a command that nobody waits for any more.
func (f *flight) cancel() {
	ctx, stop := context.WithTimeout(context.Background(), cancelFor)
	defer stop()
	_, _ = call(ctx, f.campaign.pool, f.batch.urgent, opCancel, func(ctx context.Context) (*ssm.CancelCommandOutput, error) {
		return f.campaign.pool.api.CancelCommand(ctx, &ssm.CancelCommandInput{CommandId: aws.String(f.id)})
	}) // it only reads; one that goes on does no harm
}
