package ssm

import (
	"context"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/metrics"
)

// API is what is called of AWS Systems Manager.
type API interface {
	DescribeInstanceInformation(context.Context, *ssm.DescribeInstanceInformationInput, ...func(*ssm.Options)) (*ssm.DescribeInstanceInformationOutput, error)
	SendCommand(context.Context, *ssm.SendCommandInput, ...func(*ssm.Options)) (*ssm.SendCommandOutput, error)
	ListCommands(context.Context, *ssm.ListCommandsInput, ...func(*ssm.Options)) (*ssm.ListCommandsOutput, error)
	ListCommandInvocations(context.Context, *ssm.ListCommandInvocationsInput, ...func(*ssm.Options)) (*ssm.ListCommandInvocationsOutput, error)
	CancelCommand(context.Context, *ssm.CancelCommandInput, ...func(*ssm.Options)) (*ssm.CancelCommandOutput, error)
}

// Command is what is run on instances, and how its output is read. Callers
// whose document and parameters are equal share what is sent.
type Command struct {
	Document   string
	Parameters map[string][]string
	// Urgent is for a few instances that a person waits for: it shares nothing
	// with what is not urgent, waits for no company, and overtakes what waits.
	Urgent bool
	// Decode reads what the command printed. It must recognise an output that
	// was cut: AWS keeps 2,500 characters. It is called for several at once.
	Decode func(stdout string) drift.Observation
}

// Options tune a Pool. The zero value suits an account with AWS's defaults.
type Options struct {
	Tag      string        // "Name=value": address instances by this tag where more than 50 are asked about; "": by their ids
	Rate     float64       // calls a second of each operation, while AWS does not throttle; default 5
	InFlight int           // commands that may be under way at once, of 50 instances each; default 100. Urgent ones may exceed it by 4
	Gather   time.Duration // how long instances wait for those of other callers to fill a call of 50; 0: not at all; at most 5 times that
	Timeout  time.Duration // from sending a command to giving up on its answers; default 2 minutes
	Poll     time.Duration // first pause before asking for results; grows to eight times; default 1 s
	Now      func() time.Time
}

// Pool is one account, region and role: the limits of AWS hold for these, so
// all sources that share them share a Pool. Safe for concurrent use, which is
// what it is for: those who ask at one time share calls.
type Pool struct {
	api      API
	opts     Options
	metrics  *metrics.Metrics
	limiters map[string]*limiter
	places   *line // a place for every command that may be under way
	work     sync.WaitGroup
	nudge    chan struct{} // tells the poller that what it waits for has changed

	mu        sync.Mutex
	closed    bool
	asks      map[*ask]bool
	inventory map[bool]*gathering // by urgency
	campaigns map[string]*campaign
	flights   map[*flight]bool
	pace      pace
}

// What AWS allows in one call, and what we allow ourselves.
const (
	batchSize   = 50
	pageSize    = 50
	callers     = 16 // calls of one operation under way at once
	spare       = 4  // places kept for the urgent, everywhere
	deliverFor  = 60
	maxInFlight = 100 // 5 a second that take up to 20 s; AWS names no limit
)

// NewPool makes a pool over an API; see Connect for AWS's own. It owns nothing
// that must be ended but what is under way: see Close.
func NewPool(api API, opts Options, m *metrics.Metrics) *Pool {
	if opts.Rate <= 0 {
		opts.Rate = 5
	}
	if opts.InFlight <= 0 {
		opts.InFlight = maxInFlight
	}
	if opts.Timeout <= 0 {
		opts.Timeout = 2 * time.Minute
	}
	if opts.Poll <= 0 {
		opts.Poll = time.Second
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	p := &Pool{api: api, opts: opts, metrics: m, limiters: map[string]*limiter{}, places: newLine(opts.InFlight, spare), nudge: make(chan struct{}, 1),
		asks: map[*ask]bool{}, campaigns: map[string]*campaign{}, flights: map[*flight]bool{}}
	p.inventory = map[bool]*gathering{false: {pool: p, wait: opts.Gather}, true: {pool: p, urgent: true}}
	for _, operation := range []string{opInventory, opSend, opList, opInvocations, opCancel} {
		p.limiters[operation] = newLimiter(opts.Rate)
	}
	return p
}

// Observe runs the command on the instances and calls each once for every
// distinct id, in any order but never at the same time. It returns when all
// are answered. Where ctx ends before, the rest is answered as not seen, and
// commands are cancelled where no other caller waits for them.
func (p *Pool) Observe(ctx context.Context, cmd Command, ids []string, each func(id string, o drift.Observation)) {
	p.answer(ctx, ids, each, &ask{pool: p, cmd: cmd, campaign: p.join(cmd)})
}

// Addresses asks the inventory alone: what is known of instances without
// running anything on them. Observations are NotAsked where one is online.
func (p *Pool) Addresses(ctx context.Context, ids []string, each func(id string, o drift.Observation)) {
	p.answer(ctx, ids, each, &ask{pool: p})
}

// UrgentAddresses is Addresses for a few instances that a person waits for.
func (p *Pool) UrgentAddresses(ctx context.Context, ids []string, each func(id string, o drift.Observation)) {
	p.answer(ctx, ids, each, &ask{pool: p, cmd: Command{Urgent: true}})
}

func (p *Pool) answer(ctx context.Context, ids []string, each func(string, drift.Observation), a *ask) {
	a.ctx, a.halt = context.WithCancelCause(ctx)
	defer a.halt(nil)
	a.batches, a.open, a.known, a.wake = map[*batch]bool{}, map[string]bool{}, map[string]instance{}, make(chan struct{}, 1)
	p.enter(a, a.expect(ids))
	a.deliver(each)
	p.leave(a)
	a.giveUp(a.left(), ending(a.ctx))
	a.deliver(each)
}

// enter puts a caller's instances where the inventory is asked from.
func (p *Pool) enter(a *ask, ids []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asks[a] = true
	switch {
	case p.closed:
		a.halt(halted(interrupted))
		return
	case a.ctx.Err() != nil:
		return
	}
	a.upstream = len(ids)
	if a.campaign != nil {
		a.campaign.upstream += len(ids)
	}
	p.inventory[a.cmd.Urgent].add(a, ids)
}

// leave takes a caller out of all that is shared, and waits for the end of what
// was under way for nobody else.
func (p *Pool) leave(a *ask) {
	p.mu.Lock()
	delete(p.asks, a)
	p.inventory[a.cmd.Urgent].queue.forget(a)
	var alone []*batch
	for b := range a.batches {
		if b.forget(a) {
			alone = append(alone, b)
		}
	}
	if a.campaign != nil {
		a.campaign.leave(a)
	}
	p.mu.Unlock()
	for _, b := range alone {
		<-b.done
	}
}

// halt ends the questions that would meet an error too.
func (p *Pool) halt(why string, meets func(*ask) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for a := range p.asks {
		if meets(a) {
			a.halt(halted(why))
		}
	}
}

// Whom an error of the inventory, and of reading answers, would meet too.
func everybody(*ask) bool       { return true }
func sendsCommands(a *ask) bool { return a.campaign != nil }

// start does something beside; Close waits for it. The caller holds the lock.
func (p *Pool) start(do func()) { p.work.Go(do) }

// Close ends all questions, as if their callers had given up, and waits until
// nothing is under way any more, which takes a few seconds at most. Whoever
// asks afterwards is told that nobody was asked.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	for a := range p.asks {
		a.halt(halted(interrupted))
	}
	p.mu.Unlock()
	p.work.Wait()
}
