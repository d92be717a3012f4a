package ssm

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// The operations, as IAM and the metrics name them.
const (
	opInventory   = "DescribeInstanceInformation"
	opSend        = "SendCommand"
	opList        = "ListCommands"
	opInvocations = "ListCommandInvocations"
	opCancel      = "CancelCommand"
)

// limiter keeps one operation below what AWS allows: halved when AWS throttles,
// slowly restored while it does not. One call at a time waits for its turn at
// the rate, so that an urgent one is next.
type limiter struct {
	*rate.Limiter
	turn   *line
	under  *line // a place for each call under way
	mu     sync.Mutex
	full   rate.Limit
	burst  int
	halved time.Time // when it was last
	went   time.Time // the last call that was not throttled
}

const (
	slowest = rate.Limit(0.2) // one call in five seconds
	restore = 1.05            // at each call that was not throttled
	// patience bounds a wait in which AWS throttles every single call of an
	// operation: somebody else uses up the account's limit, and a pass that
	// never ends would hide it.
	patience = 10 * time.Minute
)

func newLimiter(perSecond float64) *limiter {
	// Not a whole second's worth: calls arrive closer together than they were
	// sent, and who uses the limit up to the last is throttled for it.
	burst := max(1, int(perSecond*0.8))
	return &limiter{Limiter: rate.NewLimiter(rate.Limit(perSecond), burst), turn: newLine(1, 0), under: newLine(callers, spare),
		full: rate.Limit(perSecond), burst: burst}
}

// slow halves the limit, once for all calls that were under way together, and
// tells when a call last got through. What was saved up is gone: spent at once,
// it would be throttled again.
func (l *limiter) slow(begun time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if begun.After(l.halved) {
		l.halved = time.Now()
		l.SetLimit(max(min(slowest, l.full), l.Limit()/2))
		l.SetBurst(1)
		l.Allow()
	}
	return l.went
}

func (l *limiter) passed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.went = time.Now()
	if now := l.Limit(); now < l.full {
		l.SetLimit(min(l.full, now*restore))
	} else {
		l.SetBurst(l.burst)
	}
}

// call makes a call when the limiter allows it, and again while it is
// throttled. What else may pass by itself the SDK has repeated already.
func call[T any](ctx context.Context, p *Pool, urgent bool, operation string, do func(context.Context) (T, error)) (T, error) {
	var none T
	var since time.Time // when the call was first throttled
	l := p.limiters[operation]
	for {
		if err := l.begin(ctx, urgent); err != nil {
			return none, err
		}
		begun := time.Now()
		out, err := do(ctx)
		l.under.leave()
		switch {
		case err == nil:
			l.passed()
			return out, nil
		case !isThrottle(err):
			return none, err
		}
		if since.IsZero() {
			since = begun
		}
		if went := l.slow(begun); time.Since(since) > patience && time.Since(went) > patience {
			return none, err
		}
	}
}

// begin waits for a place and a turn. A turn that would come too late for ctx
// is not waited for. Without an error the place is held.
func (l *limiter) begin(ctx context.Context, urgent bool) error {
	if l.under.take(ctx, urgent) {
		if l.turn.take(ctx, urgent) {
			err := l.Wait(ctx)
			l.turn.leave()
			if err == nil {
				return nil
			}
		}
		l.under.leave()
	}
	err := ctx.Err()
	if err == nil {
		err = context.DeadlineExceeded
	}
	return fmt.Errorf("wait for the rate limit: %w", err)
}

// lingering gives a context that ends a little after ctx does.
func lingering(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	return longer, func() {
		stop()
		cancel()
	}
}
