package ssm

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"golang.org/x/sync/errgroup"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// The pause between polls grows by half, up to eight times the first.
const slowestPoll = 8

// listFor is what a list may take when a command is overdue already.
const listFor = 5 * time.Second

// collect asks, at a growing distance, which commands are finished, and fetches
// the answers of those. One poller for all commands keeps the calls few.
func (c *campaign) collect(ctx context.Context, sent <-chan struct{}) {
	wait := c.pool.opts.Poll
	sending := true
	for {
		flights := c.underWay()
		if len(flights) == 0 {
			if !sending {
				return
			}
			select {
			case <-sent:
				sending = false
			case <-c.launched:
			case <-ctx.Done():
				return
			}
			continue
		}
		if !pause(ctx, wait) {
			return
		}
		wait = min(wait*3/2, slowestPoll*c.pool.opts.Poll)
		c.look(ctx, flights)
	}
}

// look fetches what is finished, and what is overdue whether finished or not.
func (c *campaign) look(ctx context.Context, flights []*flight) {
	err := c.listInTime(ctx, flights)
	now := c.pool.opts.Now()
	var group errgroup.Group
	group.SetLimit(callers)
	for _, f := range flights {
		overdue := now.After(f.deadline)
		if !f.finished && !overdue {
			continue
		}
		group.Go(func() error {
			c.fetch(ctx, f, overdue)
			return nil
		})
	}
	_ = group.Wait()
	if err != nil && isFinal(err) {
		c.halt(halted(reason(ctx, opList, c.cmd.Document, err)))
	}
}

// listInTime lists until the first deadline: from then on its answers are to be
// had without knowing what is finished.
func (c *campaign) listInTime(ctx context.Context, flights []*flight) error {
	left := c.pool.opts.Timeout
	for _, f := range flights {
		left = min(left, f.deadline.Sub(c.pool.opts.Now()))
	}
	ctx, done := context.WithTimeout(ctx, max(left, listFor))
	defer done()
	return c.list(ctx, flights)
}

// list notes which of the flights have ended on every instance. Commands of
// others are in the list too; it is read until all of ours were seen or it
// ends. One that is not visible yet is not finished.
func (c *campaign) list(ctx context.Context, flights []*flight) error {
	mine := map[string]*flight{}
	for _, f := range flights {
		if !f.finished {
			mine[f.id] = f
		}
	}
	after := flights[0].sent.Add(-time.Minute)
	in := &ssm.ListCommandsInput{MaxResults: aws.Int32(pageSize), Filters: []types.CommandFilter{
		{Key: types.CommandFilterKeyInvokedAfter, Value: aws.String(after.UTC().Format("2006-01-02T15:04:05Z"))},
		{Key: types.CommandFilterKeyDocumentName, Value: aws.String(c.cmd.Document)}}}
	for len(mine) > 0 {
		out, err := call(ctx, c.pool, opList, func(ctx context.Context) (*ssm.ListCommandsOutput, error) { return c.pool.api.ListCommands(ctx, in) })
		if err != nil {
			return err
		}
		for i := range out.Commands {
			command := &out.Commands[i]
			if f := mine[aws.ToString(command.CommandId)]; f != nil {
				delete(mine, f.id)
				f.targets = int(command.TargetCount)
				// How many a tag has is not known before the end.
				f.finished = ended(string(command.Status)) || !f.byTag && int(command.CompletedCount) >= f.asked
			}
		}
		if in.NextToken = out.NextToken; aws.ToString(in.NextToken) == "" {
			break
		}
	}
	return nil
}

// ended tells whether a command or invocation will not change any more.
func ended(status string) bool {
	switch status {
	case "Pending", "InProgress", "Delayed", "Cancelling", "":
		return false
	}
	return true
}

// fetch reads the invocations of a command and answers for those that ended.
// A list that is short is waited for; once overdue, who has not answered is
// given up.
func (c *campaign) fetch(ctx context.Context, f *flight, overdue bool) {
	in := &ssm.ListCommandInvocationsInput{CommandId: aws.String(f.id), Details: true, MaxResults: aws.Int32(pageSize)}
	seen := 0
	for {
		out, err := call(ctx, c.pool, opInvocations, func(ctx context.Context) (*ssm.ListCommandInvocationsOutput, error) {
			return c.pool.api.ListCommandInvocations(ctx, in)
		})
		if err != nil {
			c.unread(ctx, f, overdue, err)
			return
		}
		for i := range out.CommandInvocations {
			seen++
			c.take(f, &out.CommandInvocations[i], overdue)
		}
		if in.NextToken = out.NextToken; aws.ToString(in.NextToken) == "" {
			break
		}
	}
	switch {
	case len(f.open) == 0 && f.finished:
		c.land(f)
	case f.byTag && f.finished && seen >= f.targets:
		c.abandon(ctx, f, "its instance does not carry the tag "+c.pool.opts.Tag+" (observe.ssm.targets)")
	case overdue:
		c.abandon(ctx, f, fmt.Sprintf("no answer within %s", c.pool.opts.Timeout))
	}
}

// unread notes that the answers of a command could not be read. What may pass
// is tried again at the next look, until the command is overdue.
func (c *campaign) unread(ctx context.Context, f *flight, overdue bool, err error) {
	why := reason(ctx, opInvocations, c.cmd.Document, err)
	switch {
	case isFinal(err):
		c.halt(halted(why))
	case overdue && ctx.Err() == nil:
		c.abandon(ctx, f, why)
	}
}

// abandon answers for all that a flight still owes, and ends it.
func (c *campaign) abandon(ctx context.Context, f *flight, reason string) {
	for id := range f.open {
		c.answers.give(id, unreachable(reason))
	}
	clear(f.open)
	if f.finished {
		c.land(f)
		return
	}
	c.cancel(ctx, f)
}

// take answers for one instance, if its invocation has ended.
func (c *campaign) take(f *flight, inv *types.CommandInvocation, overdue bool) {
	id := aws.ToString(inv.InstanceId)
	if !f.open[id] || !ended(string(inv.Status)) && !overdue {
		return
	}
	delete(f.open, id)
	o := c.read(inv)
	for i := range inv.CommandPlugins {
		if at := aws.ToTime(inv.CommandPlugins[i].ResponseFinishDateTime); !at.IsZero() {
			o.At = at.UTC()
		}
	}
	c.answers.give(id, o)
}

// read gives the observation that an invocation amounts to. What a failed
// command printed is nobody's to read: it may be anything.
func (c *campaign) read(inv *types.CommandInvocation) drift.Observation {
	details := aws.ToString(inv.StatusDetails)
	if details == "" {
		details = string(inv.Status)
	}
	switch {
	case inv.Status == types.CommandInvocationStatusSuccess && len(inv.CommandPlugins) > 0:
		return c.decode(aws.ToString(inv.CommandPlugins[0].Output))
	case inv.Status == types.CommandInvocationStatusSuccess:
		return unreachable("the command succeeded and left no output")
	case details == "InvalidPlatform":
		return drift.Observation{State: drift.Unsupported, Reason: "the document does not run on the instance's platform (InvalidPlatform)"}
	}
	words := statusWords[details]
	if words == "" {
		words = "the command did not succeed"
	}
	if inv.Status == types.CommandInvocationStatusFailed && len(inv.CommandPlugins) > 0 {
		words = fmt.Sprintf("%s, exit code %d", words, inv.CommandPlugins[0].ResponseCode)
	}
	return unreachable(words + " (" + details + ")")
}

// decode reads what an instance printed. Its owner may have made it print
// anything; should that find a hole in the decoder, the others are looked at all
// the same.
func (c *campaign) decode(stdout string) (o drift.Observation) {
	defer func() {
		if recover() != nil { // not said: it may quote what was printed
			o = unreachable("its answer broke the decoder: please report this as a bug")
		}
	}()
	return c.cmd.Decode(stdout)
}

// statusWords says what a status means, by its details.
var statusWords = map[string]string{
	"Pending":           "the command was not started in time",
	"InProgress":        "the command did not end in time",
	"Delayed":           "the command could not be delivered in time",
	"Cancelled":         "the command was cancelled",
	"Cancelling":        "the command was cancelled",
	"TimedOut":          "the command was not delivered in time",
	"DeliveryTimedOut":  "the command was not delivered in time",
	"ExecutionTimedOut": "the command ran too long",
	"Failed":            "the command failed",
	"Undeliverable":     "the command could not be delivered: no such instance, or its agent does not answer",
	"Terminated":        "the command was ended before it reached the instance: too many errors elsewhere",
	"AccessDenied":      "the instance may not run the command: see its instance profile",
}
