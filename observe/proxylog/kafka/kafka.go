package kafka

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// From says where reading begins when a topic is read for the first time.
type From uint8

// Where reading begins. A partition that is added to a topic later is read from
// its beginning in either case: nothing of it was there before.
const (
	Beginning From = iota // with all that the topic has
	End                   // with what is written from now on
)

// Options are what a Consumer is made of.
type Options struct {
	Input   string   // the input's name; its positions are stored under it
	Brokers []string // to start from, each host:port
	Topic   string   // with one line a message, or several
	Group   string
	Format  proxylog.Format
	From    From
	Tally   *proxylog.TallyOptions // nil: the zero value
	Counter proxylog.Counter
	Log     *slog.Logger // nil: none

	TLS      bool
	User     string        // of SASL SCRAM-SHA-512; "": none is told
	Password func() string // asked for at every connection; nil: the empty one

	Flush     time.Duration // how long lines are gathered before they are counted; 0: 50 ms
	MaxGroups int           // a batch is counted when it has so many groups; 0: 100,000

	roots  *x509.CertPool // nil: the system's
	timing timing
}

// timing is what tests make shorter.
type timing struct {
	session, heartbeat, rebalance time.Duration // of the group; 0: the client's own: 45 s, 3 s, 60 s
	state                         time.Duration // how often the Counter is told how the input is
	retry                         time.Duration // the longest pause after something failed
	answer                        time.Duration // how long brokers are waited for when they are asked for the topic
}

func (o *Options) complete() error {
	switch {
	case len(o.Brokers) == 0:
		return errors.New("kafka: no brokers: name at least one, host:port")
	case o.Topic == "":
		return errors.New("kafka: no topic")
	case o.Group == "":
		return errors.New("kafka: no consumer group")
	}
	o.Flush = cmp.Or(o.Flush, 50*time.Millisecond)
	o.MaxGroups = cmp.Or(o.MaxGroups, 100_000)
	o.timing.state = cmp.Or(o.timing.state, 20*time.Second)
	o.timing.retry = cmp.Or(o.timing.retry, 10*time.Second)
	o.timing.answer = cmp.Or(o.timing.answer, 10*time.Second)
	if o.Tally == nil {
		o.Tally = &proxylog.TallyOptions{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Password == nil {
		o.Password = func() string { return "" }
	}
	return nil
}

// Consumer reads one topic.
type Consumer struct {
	Options
	lag lag
}

// New makes a Consumer. Nothing happens before Run.
func New(o Options) *Consumer { return &Consumer{Options: o} }

// Run reads until ctx ends, and returns nil then. What goes wrong meanwhile is
// told to the Counter and tried again; an error is one of the options. It may be
// called again when it has returned.
func (c *Consumer) Run(ctx context.Context) error {
	if err := c.complete(); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := c.session(ctx); err != nil {
			return err
		}
	}
	return nil
}

// session reads until ctx ends or another client is needed.
func (c *Consumer) session(ctx context.Context) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	r := &reading{Consumer: c, ctx: ctx, parser: proxylog.NewParser(c.Format), held: map[int32]*partition{}, gathered: map[int32]*gathering{}, woken: make(chan struct{}, 1)}
	if err := r.join(); err != nil {
		return err
	}
	var work sync.WaitGroup
	work.Go(func() { r.watch(ctx) })
	for ctx.Err() == nil && !r.outdated {
		r.turn(ctx)
	}
	end()
	r.close()
	work.Wait()
	return nil
}

// close leaves the group, so that others go on at once, where brokers answer.
func (r *reading) close() {
	ctx, end := context.WithTimeout(context.WithoutCancel(r.ctx), leftWithin)
	defer end()
	_ = r.client.LeaveGroupContext(ctx) // else the group finds out by itself
	r.client.CloseAllowingRebalance()
	r.lag.set(0, time.Time{})
}

const leftWithin = 3 * time.Second
