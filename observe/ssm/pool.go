package ssm

import (
	"context"
	"regexp"
	"slices"
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

// Command is what is run on instances, and how its output is read.
type Command struct {
	Document   string
	Parameters map[string][]string
	// Decode reads what the command printed. It must recognise an output that
	// was cut: AWS keeps 2,500 characters.
	Decode func(stdout string) drift.Observation
}

// Options tune a Pool. The zero value suits an account with AWS's defaults.
type Options struct {
	Tag      string        // "Name=value": address instances by this tag where more than 50 are asked about; "": by their ids
	Rate     float64       // calls a second of each operation, while AWS does not throttle; default 5
	InFlight int           // commands that may be under way at once, of 50 instances each; default 20
	Timeout  time.Duration // from sending a command to giving up on its answers; default 2 minutes
	Poll     time.Duration // first pause before asking for results; grows to eight times; default 1 s
	Now      func() time.Time
}

// Pool is one account, region and role: the limits of AWS hold for these, so
// all sources that share them share a Pool. Safe for concurrent use.
type Pool struct {
	api      API
	opts     Options
	metrics  *metrics.Metrics
	limiters map[string]*limiter
	flights  chan struct{} // a place for every command that may be under way
}

// What AWS allows in one call.
const (
	batchSize   = 50
	pageSize    = 50
	callers     = 8 // calls of one kind under way at once
	deliverFor  = 60
	maxInFlight = 20
)

// NewPool makes a pool over an API; see Connect for AWS's own.
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
	p := &Pool{api: api, opts: opts, metrics: m, limiters: map[string]*limiter{}, flights: make(chan struct{}, opts.InFlight)}
	for _, operation := range []string{opInventory, opSend, opList, opInvocations, opCancel} {
		p.limiters[operation] = newLimiter(opts.Rate)
	}
	return p
}

// board takes a place among the commands under way; false: ctx has ended.
func (p *Pool) board(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false // or a free place might be preferred
	}
	select {
	case p.flights <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// leave gives a place back.
func (p *Pool) leave() { <-p.flights }

// Observe runs the command on the instances and calls each once for every
// distinct id, in any order but never at the same time. It returns when all
// are answered. Where ctx ends before, the rest is answered as not seen, and
// commands still under way are cancelled.
func (p *Pool) Observe(ctx context.Context, cmd Command, ids []string, each func(id string, o drift.Observation)) {
	ctx, halt := context.WithCancelCause(ctx)
	defer halt(nil)
	a := &answers{each: each, pool: p, open: map[string]bool{}}
	a.known = p.inventory(ctx, a, a.expect(ids), halt)
	var online []string
	for _, id := range a.left() {
		if known := a.known[id]; known.online {
			online = append(online, id)
		} else {
			a.give(id, known.offline())
		}
	}
	slices.Sort(online) // the same fleet gives the same batches
	c := &campaign{pool: p, cmd: cmd, answers: a, halt: halt, flights: map[string]*flight{}, launched: make(chan struct{}, 1)}
	c.run(ctx, online)
	a.giveUp(a.left(), ending(ctx))
}

// Addresses asks the inventory alone: what is known of instances without
// running anything on them. Observations are NotAsked where one is online.
func (p *Pool) Addresses(ctx context.Context, ids []string, each func(id string, o drift.Observation)) {
	ctx, halt := context.WithCancelCause(ctx)
	defer halt(nil)
	a := &answers{each: each, pool: p, open: map[string]bool{}, silent: true}
	known := p.inventory(ctx, a, a.expect(ids), halt)
	for _, id := range a.left() {
		o := known[id].offline()
		if known[id].online {
			o = known[id].fill(drift.Observation{Reason: "inventory only"})
		}
		a.give(id, o)
	}
}

// answers makes sure that everybody is answered, and once.
type answers struct {
	mu     sync.Mutex
	pool   *Pool
	each   func(string, drift.Observation)
	open   map[string]bool
	known  map[string]instance
	silent bool // counts no observation
}

// instanceID is AWS's pattern: one other id would fail the call of 50.
var instanceID = regexp.MustCompile(`^(i-([0-9a-f]{8}|[0-9a-f]{17})|mi-[0-9a-f]{17})$`)

// expect notes the ids and answers those that are none; it gives the others.
func (a *answers) expect(ids []string) []string {
	var good []string
	for _, id := range ids {
		if a.open[id] {
			continue
		}
		a.open[id] = true
		if instanceID.MatchString(id) {
			good = append(good, id)
		}
	}
	for _, id := range ids {
		if !instanceID.MatchString(id) {
			a.give(id, unreachable("not an instance id"))
		}
	}
	return good
}

func (a *answers) give(id string, o drift.Observation) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.open[id] {
		return
	}
	delete(a.open, id)
	if o.At.IsZero() {
		o.At = a.pool.opts.Now()
	}
	if i, ok := a.known[id]; ok {
		o = i.fill(o)
	}
	if !a.silent {
		a.pool.metrics.Observations.WithLabelValues("container", o.State.String()).Inc()
	}
	a.each(id, o)
}

func (a *answers) giveUp(ids []string, reason string) {
	for _, id := range ids {
		a.give(id, unreachable(reason))
	}
}

func (a *answers) left() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	ids := make([]string, 0, len(a.open))
	for id := range a.open {
		ids = append(ids, id)
	}
	return ids
}

func unreachable(reason string) drift.Observation {
	return drift.Observation{State: drift.Unreachable, Reason: reason}
}
