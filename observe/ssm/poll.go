package ssm

import (
	"context"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

const (
	slowestPoll = 8 // times Options.Poll: the longest pause after looks that found nothing
	steadyPoll  = 3 // the pause while commands are being sent and others end
	latestPoll  = 3 // the longest pause before the last of them is expected to have ended
	stallPoll   = 5 // so long a count of ended instances stands still before they are fetched without the rest
)

// pace is when the poller looks. The pool's lock holds it.
type pace struct {
	going    bool
	looked   time.Time       // last
	pause    time.Duration   // before the next look, where the last found nothing
	fruitful bool            // the last look found what had ended
	typical  time.Duration   // how long a command took that the last fruitful look found
	ctx      context.Context // ends when no command is under way
	stop     context.CancelFunc
}

// stall is for how long nothing has ended of a command.
type stall struct {
	since    time.Time
	patience time.Duration
	fetched  int // the count when it was last fetched in part
}

// track takes a flight up, and lets it go when it has landed; both wake the
// poller, which runs while there are any. The caller holds the lock.
func (p *Pool) track(f *flight) {
	p.flights[f] = true
	if p.pace.ctx == nil || p.pace.ctx.Err() != nil {
		p.pace.ctx, p.pace.stop = context.WithCancel(context.Background())
	}
	if !p.pace.going {
		p.pace.going, p.pace.looked, p.pace.pause, p.pace.fruitful = true, f.launched, p.opts.Poll, false
		p.start(p.poll)
	}
	if f.batch.urgent {
		p.pace.pause = p.opts.Poll
	}
	p.awaken()
}

func (p *Pool) untrack(f *flight) {
	delete(p.flights, f)
	if len(p.flights) == 0 {
		p.pace.stop()
	}
	p.awaken()
}

// poll asks, for all commands under way at once, which are finished, and wakes
// those. It ends when none is left.
func (p *Pool) poll() {
	for p.rest() {
		p.look()
	}
}

// rest waits until it is time to look; false: no command is under way.
func (p *Pool) rest() bool {
	for {
		p.mu.Lock()
		if p.pace.going = len(p.flights) > 0; !p.pace.going {
			p.mu.Unlock()
			return false
		}
		left := time.Until(p.when())
		p.mu.Unlock()
		if left <= 0 {
			return true
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-p.nudge:
		}
		timer.Stop()
	}
}

// when gives the time of the next look. While a pass goes on it is steady; at
// its end it is when the command sent last should be over; else the distance
// grows. What was sent since is not left waiting for long.
func (p *Pool) when() time.Time {
	poll, next := p.opts.Poll, p.pace.looked.Add(p.pace.pause)
	var newest time.Time
	for f := range p.flights {
		if f.launched.After(newest) {
			newest = f.launched
		}
	}
	switch {
	case p.pace.fruitful && p.expects():
		next = p.pace.looked.Add(steadyPoll * poll)
	case p.pace.fruitful:
		next = newest.Add(p.pace.typical)
		next = earlier(next, p.pace.looked.Add(latestPoll*poll))
		if soonest := p.pace.looked.Add(poll / 2); next.Before(soonest) {
			next = soonest
		}
	}
	for f := range p.flights {
		age := p.pace.looked.Sub(f.launched) // below zero: sent since
		switch {
		case f.batch.urgent && !f.finished: // again, at a growing distance
			next = earlier(next, p.pace.looked.Add(max(0, -age)+max(poll, age/2)))
		case age < 0:
			next = earlier(next, f.launched.Add(steadyPoll*poll))
		}
	}
	return next
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// expects tells whether more commands are about to be sent.
func (p *Pool) expects() bool {
	for _, c := range p.campaigns {
		if c.upstream > 0 || c.sending > 0 || len(c.queue.order) > 0 {
			return true
		}
	}
	return false
}

// awaken has the poller think again about when to look.
func (p *Pool) awaken() {
	select {
	case p.nudge <- struct{}{}:
	default:
	}
}

// look lists what is finished and wakes it, also what was finished before and
// has not been seen whole yet.
func (p *Pool) look() {
	ctx, under, urgent := p.underWay()
	found := 0
	for document, flights := range under {
		n, err := p.list(ctx, document, flights, urgent)
		found += n
		// Without the list, answers are to be had at the deadlines.
		if err != nil && isFinal(err) && !isThrottle(err) {
			p.halt(explain(opList, document, err), sendsCommands)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.pace.looked, p.pace.fruitful = now, found > 0
	if p.pace.pause = min(p.pace.pause*3/2, slowestPoll*p.opts.Poll); found > 0 {
		p.pace.pause = p.opts.Poll
	}
	for f := range p.flights {
		if f.finished || f.standsStill(now) {
			select {
			case f.news <- struct{}{}:
			default:
			}
		}
	}
}

// underWay gives the unfinished flights by document, for which AWS can be
// asked, the oldest first.
func (p *Pool) underWay() (ctx context.Context, under map[string][]*flight, urgent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	under = map[string][]*flight{}
	for f := range p.flights {
		urgent = urgent || f.batch.urgent
		if !f.finished {
			under[f.campaign.cmd.Document] = append(under[f.campaign.cmd.Document], f)
		}
	}
	for _, flights := range under {
		slices.SortFunc(flights, func(a, b *flight) int { return a.sent.Compare(b.sent) })
	}
	return p.pace.ctx, under, urgent
}

// listFor bounds one look: AWS may throttle it for longer than the commands
// last that it is about.
const listFor = 30 * time.Second

// list notes which of the flights have ended on every instance. Commands of
// others are in the list too; it is read until all of ours were seen or it
// ends. One that is not visible yet is not finished.
func (p *Pool) list(ctx context.Context, document string, flights []*flight, urgent bool) (found int, err error) {
	ctx, done := context.WithTimeout(ctx, listFor)
	defer done()
	mine := map[string]*flight{}
	for _, f := range flights {
		mine[f.id] = f
	}
	after := flights[0].sent.Add(-time.Minute)
	in := &ssm.ListCommandsInput{MaxResults: aws.Int32(pageSize), Filters: []types.CommandFilter{
		{Key: types.CommandFilterKeyInvokedAfter, Value: aws.String(after.UTC().Format("2006-01-02T15:04:05Z"))},
		{Key: types.CommandFilterKeyDocumentName, Value: aws.String(document)}}}
	for len(mine) > 0 {
		out, err := call(ctx, p, urgent, opList, func(ctx context.Context) (*ssm.ListCommandsOutput, error) { return p.api.ListCommands(ctx, in) })
		if err != nil {
			return found, err
		}
		found += p.seen(mine, out.Commands)
		if in.NextToken = out.NextToken; aws.ToString(in.NextToken) == "" {
			break
		}
	}
	return found, nil
}

// seen notes what a page says of flights, and takes them off the list.
func (p *Pool) seen(mine map[string]*flight, page []types.Command) (found int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for i := range page {
		command := &page[i]
		f := mine[aws.ToString(command.CommandId)]
		if f == nil {
			continue
		}
		delete(mine, f.id)
		if n := int(command.CompletedCount); n != f.counted || f.stalled.since.IsZero() {
			f.counted, f.stalled.since = n, now
		}
		f.targets = int(command.TargetCount)
		// How many a tag has is not known before the end.
		f.finished = ended(string(command.Status)) || !f.batch.byTag && f.counted >= f.asked
		if f.finished {
			if took := now.Sub(f.launched); found == 0 || took < p.pace.typical {
				p.pace.typical = took
			}
			found++
		}
	}
	return found
}

// standsStill tells, at a growing distance, that some of a command's instances
// have ended while nothing is heard of the others. It matters where several
// callers wait: the slow one of one must not hold up the others. By tag it
// would cost a call for every 50 instances.
func (f *flight) standsStill(now time.Time) bool {
	s := &f.stalled
	if s.patience == 0 {
		s.patience = stallPoll * f.campaign.pool.opts.Poll
	}
	if f.batch.byTag || len(f.batch.counts) < 2 || f.counted <= s.fetched || now.Sub(s.since) < s.patience {
		return false
	}
	s.fetched, s.patience = f.counted, 2*s.patience
	return true
}

// ended tells whether a command or invocation will not change any more.
func ended(status string) bool {
	switch status {
	case "Pending", "InProgress", "Delayed", "Cancelling", "":
		return false
	}
	return true
}
