package ssm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/smithy-go"
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
// slowly restored while it does not.
type limiter struct {
	*rate.Limiter
	mu   sync.Mutex
	full rate.Limit
}

const (
	slowest = rate.Limit(0.2) // one call in five seconds
	restore = 1.05            // at each call that was not throttled
)

func newLimiter(perSecond float64) *limiter {
	return &limiter{Limiter: rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond))), full: rate.Limit(perSecond)}
}

func (l *limiter) throttled() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.SetLimit(max(slowest, l.Limit()/2))
}

func (l *limiter) went() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.Limit(); now < l.full {
		l.SetLimit(min(l.full, now*restore))
	}
}

// call makes a call when the limiter allows it, and again for as long as it is
// throttled. What else may pass by itself the SDK has repeated already.
func call[T any](ctx context.Context, p *Pool, operation string, do func(context.Context) (T, error)) (T, error) {
	l := p.limiters[operation]
	for {
		var none T
		if err := l.Wait(ctx); err != nil {
			return none, fmt.Errorf("waiting for the rate limit: %w", err)
		}
		out, err := do(ctx)
		switch {
		case err == nil:
			l.went()
			return out, nil
		case !isThrottle(err):
			return none, err
		}
		l.throttled()
	}
}

var throttles = []string{"ThrottlingException", "Throttling", "RateExceeded", "RequestLimitExceeded", "TooManyRequestsException", "TooManyUpdates"}

func isThrottle(err error) bool { return slices.Contains(throttles, code(err)) }

// code gives AWS's word for an error; "" where it is not AWS's.
func code(err error) string {
	var answered smithy.APIError
	if errors.As(err, &answered) {
		return answered.ErrorCode()
	}
	return ""
}

// isFinal tells whether an error will not pass by itself: the role or its
// credentials must be mended.
func isFinal(err error) bool {
	c := code(err)
	return slices.Contains(denials, c) || slices.Contains(strangers, c)
}

var (
	denials   = []string{"AccessDeniedException", "AccessDenied", "UnauthorizedOperation"}
	strangers = []string{"ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "IncompleteSignature"}
)

// explain says of a failed call what it means and what to do.
func explain(operation, document string, err error) string {
	action, c := "ssm:"+operation, code(err)
	switch {
	case slices.Contains(denials, c) && operation == opSend:
		return fmt.Sprintf("not allowed to call %s with the document %s: add both to the role's policy (deploy/ssm)", action, document)
	case slices.Contains(denials, c):
		return fmt.Sprintf("not allowed to call %s: add it to the role's policy (deploy/ssm)", action)
	case slices.Contains(strangers, c):
		return fmt.Sprintf("AWS does not accept the credentials (%s)", c)
	case c == "InvalidDocument" || c == "InvalidDocumentVersion":
		return fmt.Sprintf("there is no document %s in this account and region: create it from deploy/ssm, or correct observe.ssm.document", document)
	case c == "InvalidParameters":
		return fmt.Sprintf("the document %s takes other parameters: render and update it (reconciler probe render --document)", document)
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return "interrupted before an answer came"
	case c == "":
		return fmt.Sprintf("%s: %v", action, err)
	}
	return action + ": " + c
}

// pause waits; false: ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
