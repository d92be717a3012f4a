package kafka

import (
	"sync"
	"time"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// lag is how far the partitions held are behind.
type lag struct {
	sync.Mutex
	behind int64
	oldest time.Time // zero: nothing waits
}

func (l *lag) set(behind int64, oldest time.Time) {
	l.Lock()
	defer l.Unlock()
	l.behind, l.oldest = behind, oldest
}

// Lag tells how many messages of the partitions that are read here are not
// counted yet, as far as the brokers have told, and how old the oldest is.
func (c *Consumer) Lag() (behind int64, oldest time.Duration) {
	c.lag.Lock()
	defer c.lag.Unlock()
	if c.lag.oldest.IsZero() {
		return c.lag.behind, 0
	}
	return c.lag.behind, max(time.Since(c.lag.oldest), 0)
}

// note notes how far behind this member is.
func (r *reading) note() {
	var behind int64
	var oldest time.Time
	earlier := func(t time.Time) {
		if oldest.IsZero() || t.Before(oldest) {
			oldest = t
		}
	}
	for _, p := range r.held {
		if p.stored != proxylog.NoPosition {
			behind += max(p.end-p.stored, 0)
		} else {
			behind += max(p.end-p.next, 0)
		}
		switch {
		case !p.waits.IsZero():
			earlier(p.waits)
		case p.end > p.next:
			earlier(p.seen)
		}
	}
	r.lag.set(behind, oldest)
}
