package objects

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// SQS is what is asked of the queue: an *sqs.Client.
type SQS interface {
	ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, o ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error)
	DeleteMessage(ctx context.Context, in *sqs.DeleteMessageInput, o ...func(*sqs.Options)) (*sqs.DeleteMessageOutput, error)
	ChangeMessageVisibility(ctx context.Context, in *sqs.ChangeMessageVisibilityInput, o ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityOutput, error)
}

// S3 is what is asked of the bucket: an *s3.Client.
type S3 interface {
	GetObject(ctx context.Context, in *s3.GetObjectInput, o ...func(*s3.Options)) (*s3.GetObjectOutput, error)
}

// Options are what a Reader is made of.
type Options struct {
	Input   string // the input's name; objects are counted once under it
	SQS     SQS
	S3      S3
	Queue   string // its URL
	Format  proxylog.Format
	Tally   *proxylog.TallyOptions // nil: the zero value
	Counter proxylog.Counter
	Log     *slog.Logger // nil: none

	Concurrency int           // messages at once; 0: 4
	MaxGroups   int           // an object with more groups of calls is refused: it is counted as a whole; 0: 500,000, about 100 MB
	Visibility  time.Duration // how long a message is hidden from others at a time, whole seconds; prolonged while it is being worked on. 0: 5 min
	Receives    int           // a message that was received so often is left to the queue's redrive policy; 0: 5
	Stalled     time.Duration // an object of which nothing comes for so long is given up for now; 0: 1 min

	timing timing
}

// timing is what tests make shorter.
type timing struct {
	state time.Duration // how often the Counter is told how the input is
	retry time.Duration // the shortest pause after something failed; it doubles
	poll  time.Duration // how long a receive waits for a message, whole seconds
}

func (o *Options) complete() error {
	if o.Queue == "" {
		return errors.New("objects: no queue: name its URL")
	}
	o.Concurrency = cmp.Or(o.Concurrency, 4)
	o.MaxGroups = cmp.Or(o.MaxGroups, 500_000)
	o.Visibility = cmp.Or(o.Visibility, 5*time.Minute)
	o.Receives = cmp.Or(o.Receives, 5)
	o.Stalled = cmp.Or(o.Stalled, time.Minute)
	o.timing.state = cmp.Or(o.timing.state, 20*time.Second)
	o.timing.retry = cmp.Or(o.timing.retry, time.Second)
	o.timing.poll = cmp.Or(o.timing.poll, 20*time.Second) // SQS's longest
	if o.Tally == nil {
		o.Tally = &proxylog.TallyOptions{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Reader reads the objects that one queue tells of.
type Reader struct {
	Options
	state state
	lag   lag
}

// New makes a Reader. Nothing happens before Run.
func New(o Options) *Reader { return &Reader{Options: o, state: newState()} }

// Run receives until ctx ends, and returns nil then. What goes wrong meanwhile
// is told to the Counter and tried again; an error is one of the options. It may
// be called again when it has returned.
func (r *Reader) Run(ctx context.Context) error {
	if err := r.complete(); err != nil {
		return err
	}
	var work sync.WaitGroup
	work.Go(func() { r.watch(ctx) })
	for range r.Concurrency {
		work.Go(func() { r.receive(ctx) })
	}
	work.Wait()
	return nil
}

// lag is what is being worked on.
type lag struct {
	sync.Mutex
	sent map[*message]struct{}
}

func (l *lag) begin(m *message) {
	l.Lock()
	defer l.Unlock()
	if l.sent == nil {
		l.sent = map[*message]struct{}{}
	}
	l.sent[m] = struct{}{}
}

func (l *lag) end(m *message) {
	l.Lock()
	defer l.Unlock()
	delete(l.sent, m)
}

// Lag tells how many messages are being worked on here, and how long ago the
// oldest of them was sent. What waits in the queue shows in SQS's own metrics,
// and here when its turn comes.
func (r *Reader) Lag() (messages int64, oldest time.Duration) {
	r.lag.Lock()
	defer r.lag.Unlock()
	for m := range r.lag.sent {
		oldest = max(oldest, time.Since(m.sent))
	}
	return int64(len(r.lag.sent)), oldest
}
