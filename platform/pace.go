package platform

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// pace holds calls back to what our own share and the server allow. It is
// shared by all callers of one platform.
type pace struct {
	limiter *rate.Limiter

	mu     sync.Mutex
	resume time.Time // no call before
	broken error     // why no call before spared; nil: none failed
	spared time.Time
}

const (
	maxPause   = time.Minute      // whoever would have to wait longer gets an error
	maxSilence = 15 * time.Minute // the longest that a server may ask for
	spareFor   = 30 * time.Second // after a failure that is not one workspace's own
)

// newPace lets no more than perMinute calls start in any minute, the first few
// of them at once.
func newPace(perMinute int) *pace {
	burst := max(1, perMinute/10)
	refill := rate.Limit(float64(perMinute-burst+1) / 60)
	return &pace{limiter: rate.NewLimiter(refill, burst)}
}

// held is why a call may not start in the time that its caller has: it would
// be one too many.
type held struct {
	error
	again time.Duration // when it may; 0: not known
}

// errShare: the limit is ours, not the platform's.
var errShare = errors.New("no time left: our own share of requests is spent (sources[].platform.requests_per_minute)")

// wait returns when a call may start. It fails where ctx ends before that, or
// would, and while the platform is spared, unless for the reason except.
func (p *pace) wait(ctx context.Context, except error) error {
	for admitted := false; ; {
		pause, err := p.pause(except)
		switch deadline, ok := ctx.Deadline(); {
		case err != nil:
			return err
		case pause > maxPause, pause > 0 && ok && time.Until(deadline) < pause:
			return held{fmt.Errorf("the platform asked for silence for another %s", pause.Round(time.Second)), pause}
		case pause > 0:
			err = sleep(ctx, pause)
		case admitted:
			return nil
		default:
			// Another answer may ask for silence meanwhile: look again after it.
			err, admitted = p.admit(ctx), true
		}
		if err != nil {
			return err
		}
	}
}

func (p *pace) admit(ctx context.Context) error {
	switch err := p.limiter.Wait(ctx); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return held{error: errShare}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

func (p *pace) pause(except error) (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.broken != nil && now.Before(p.spared) && !errors.Is(p.broken, except) {
		return 0, p.broken
	}
	return p.resume.Sub(now), nil
}

// silence holds every call back for d, or longer where that was asked for.
func (p *pace) silence(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := time.Now().Add(min(d, maxSilence)); until.After(p.resume) {
		p.resume = until
	}
}

// give gives every caller the same refusal for a while: a platform that hangs
// or turns us away is not asked again for each workspace.
func (p *pace) give(refused *refusal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken, p.spared = refused, time.Now().Add(spareFor)
}

// heed keeps us above a quarter of the bucket that we share with the
// customer's own page.
func (p *pace) heed(resp *http.Response) {
	limit, remaining := number(resp, "X-Ratelimit-Limit"), number(resp, "X-Ratelimit-Remaining")
	if limit > 0 && remaining >= 0 && remaining <= limit/4 {
		p.silence(seconds(number(resp, "X-Ratelimit-Reset")))
	}
	if resp.StatusCode == http.StatusTooManyRequests {
		p.silence(retryAfter(resp))
	}
}

// retryAfter is at least a second.
func retryAfter(resp *http.Response) time.Duration {
	if at, err := http.ParseTime(resp.Header.Get("Retry-After")); err == nil {
		return max(time.Second, time.Until(at))
	}
	return max(time.Second, seconds(number(resp, "Retry-After")))
}

// number is a header's number; -1 where there is none.
func number(resp *http.Response, header string) int {
	n, err := strconv.Atoi(resp.Header.Get(header))
	if err != nil || n < 0 {
		return -1
	}
	return n
}

func seconds(n int) time.Duration {
	return time.Duration(min(n, int(maxSilence/time.Second))) * time.Second
}
