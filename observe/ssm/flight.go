package ssm

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// flight is one command under way.
type flight struct {
	campaign *campaign
	batch    *batch
	id       string
	sent     time.Time // by AWS's clock
	launched time.Time // by ours
	asked    int       // how many instances it was meant for
	news     chan struct{}
	late     []func() // answers that are held back until the command is cancelled

	// The poller writes these, under the pool's lock.
	finished bool // on every instance
	targets  int  // how many instances AWS counts, once it is finished
	counted  int  // how many instances have ended
	stalled  stall
}

// collect fetches the answers when the poller has news of the command, or it is
// overdue, and goes on until nobody waits for one.
func (f *flight) collect() {
	deadline := time.NewTimer(f.campaign.pool.opts.Timeout)
	defer deadline.Stop()
	for {
		overdue := false
		select {
		case <-f.batch.ctx.Done():
			if !f.isFinished() {
				f.cancel()
			}
			return
		case <-f.news:
		case <-deadline.C:
			overdue = true
		}
		if f.fetch(overdue) {
			return
		}
		select {
		case <-f.news: // older than what was fetched
		default:
		}
	}
}

func (f *flight) isFinished() bool {
	f.campaign.pool.mu.Lock()
	defer f.campaign.pool.mu.Unlock()
	return f.finished
}

// land gives the command's place to the next.
func (f *flight) land() {
	p := f.campaign.pool
	p.mu.Lock()
	p.untrack(f)
	p.mu.Unlock()
	p.places.leave()
}

// fetch reads the invocations of a command and answers for those that ended.
// A list that is short is waited for; once overdue, who has not answered is
// given up. True: the command is over, for us.
func (f *flight) fetch(overdue bool) (over bool) {
	p := f.campaign.pool
	finished := f.isFinished()
	in := &ssm.ListCommandInvocationsInput{CommandId: aws.String(f.id), Details: true, MaxResults: aws.Int32(pageSize)}
	seen, running := 0, 0
	for {
		out, err := call(f.batch.ctx, p, f.batch.urgent, opInvocations, func(ctx context.Context) (*ssm.ListCommandInvocationsOutput, error) {
			return p.api.ListCommandInvocations(ctx, in)
		})
		if err != nil {
			return f.unread(overdue, finished, err)
		}
		for i := range out.CommandInvocations {
			seen++
			if !ended(string(out.CommandInvocations[i].Status)) {
				running++
			}
			f.take(&out.CommandInvocations[i], overdue)
		}
		if in.NextToken = out.NextToken; aws.ToString(in.NextToken) == "" {
			break
		}
	}
	finished = finished || !f.batch.byTag && running == 0 && seen >= f.asked
	switch {
	case overdue:
		f.abandon(finished, fmt.Sprintf("no answer within %s", p.opts.Timeout))
	case f.batch.byTag && finished && seen >= f.targets:
		f.abandon(finished, "its instance does not carry the tag "+p.opts.Tag+" (observe.ssm.targets)")
	case len(p.waited(f.batch)) > 0:
		return false
	case !finished:
		f.cancel() // those who wait for the rest have left
	}
	return true
}

// unread notes that the answers of a command could not be read. What may pass
// is tried again at the next look, until the command is overdue.
func (f *flight) unread(overdue, finished bool, err error) (over bool) {
	why := explain(opInvocations, f.campaign.cmd.Document, err)
	switch {
	case f.batch.ctx.Err() != nil:
		return false
	case isFinal(err):
		f.campaign.pool.halt(why, sendsCommands)
		return false
	case overdue:
		f.abandon(finished, why)
	}
	return overdue
}

// abandon ends a command and answers for all that it still owes.
func (f *flight) abandon(finished bool, reason string) {
	if !finished {
		f.cancel()
	}
	for _, answer := range f.late {
		answer()
	}
	f.campaign.pool.giveUp(f.batch, f.campaign.pool.waited(f.batch), reason)
}

// take answers for one instance, if its invocation has ended. When overdue the
// answer is held back: who is the last to be answered goes, and the command
// must be cancelled before.
func (f *flight) take(inv *types.CommandInvocation, overdue bool) {
	id := aws.ToString(inv.InstanceId)
	if !ended(string(inv.Status)) && !overdue {
		return
	}
	if !overdue {
		f.campaign.pool.settle(f.batch, id, func(a *ask) drift.Observation { return observation(a.cmd, inv) })
		return
	}
	kept := *inv
	f.late = append(f.late, func() {
		f.campaign.pool.settle(f.batch, id, func(a *ask) drift.Observation { return observation(a.cmd, &kept) })
	})
}
