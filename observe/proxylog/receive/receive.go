package receive

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// Options say what a Receiver counts into, and how much it takes.
type Options struct {
	Input   string          // its name, for positions and metrics
	Format  proxylog.Format // of the lines
	Tally   *proxylog.TallyOptions
	Counter proxylog.Counter
	Log     *slog.Logger // nil: none

	MaxBody  int64         // bytes of a body as it is sent; 0: 8 MiB
	MaxText  int64         // bytes of a body unpacked; 0: 64 MiB
	MaxLines int           // in a body; 0: 500,000
	MaxWait  time.Duration // for a body to arrive, and again for it to be counted; 0: 10 s
	// InFlight is how many bytes all pushes that are being worked on may take
	// in memory; beyond, a push is told to come again, unless it is the only
	// one. 0: 64 MiB.
	InFlight int64
}

const (
	maxBody  = 8 << 20
	maxText  = 64 << 20
	maxLines = 500_000
	maxWait  = 10 * time.Second
	inFlight = 64 << 20

	stateEvery = 20 * time.Second

	// largestPush is how many times MaxText a push may take in memory, with what
	// is made of its lines until they are counted.
	largestPush = 4
)

// Receiver is an input that others push to. Its handlers may be used whether Run
// runs or not, and all at once.
type Receiver struct {
	Options
	budget budget
}

// New makes a Receiver.
func New(o Options) *Receiver {
	o.MaxBody = cmp.Or(o.MaxBody, maxBody)
	o.MaxText = cmp.Or(o.MaxText, maxText)
	o.MaxLines = cmp.Or(o.MaxLines, maxLines)
	o.MaxWait = cmp.Or(o.MaxWait, maxWait)
	o.InFlight = cmp.Or(o.InFlight, inFlight)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Tally == nil {
		o.Tally = &proxylog.TallyOptions{}
	}
	return &Receiver{Options: o, budget: budget{total: o.InFlight, most: max(o.InFlight, largestPush*o.MaxText)}}
}

// Run tells now and then that the input is ready, until ctx ends.
func (rc *Receiver) Run(ctx context.Context) error {
	ticker := time.NewTicker(stateEvery)
	defer ticker.Stop()
	for {
		if err := rc.Counter.State(ctx, rc.Input, nil); err != nil && ctx.Err() == nil {
			rc.Log.WarnContext(ctx, "state of an input not stored", "input", rc.Input, "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// protocol is one way to push.
type protocol struct {
	name string // begins the ids of its batches
	// read feeds a body's lines to the push.
	read func(*push) error
	// accept answers a push that is counted, refuse one that is not.
	accept func(http.ResponseWriter, *push)
	refuse func(http.ResponseWriter, *push, *fault)
}

// handler answers by a protocol.
func (rc *Receiver) handler(by *protocol) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := rc.begin(w, r)
		defer p.room.free()
		if err := rc.take(p, by); err != nil {
			no := faultOf(err)
			if no.retry > 0 {
				w.Header().Set("Retry-After", seconds(no.retry))
			}
			by.refuse(w, p, no)
			return
		}
		by.accept(w, p)
	})
}

// begin makes a push of a request.
func (rc *Receiver) begin(w http.ResponseWriter, r *http.Request) *push {
	p := &push{w: w, r: r, limits: &rc.Options, room: lease{of: &rc.budget}}
	p.restart()
	return p
}

// leastRoom is what a push takes at least: its parser, its buffers, its
// connection's.
const leastRoom = 64 << 10

func (rc *Receiver) take(p *push, by *protocol) error {
	if p.r.Method != http.MethodPost {
		p.w.Header().Set("Allow", http.MethodPost)
		return &fault{status: http.StatusMethodNotAllowed, detail: "this path takes POST"}
	}
	if err := p.room.take(leastRoom); err != nil {
		return err
	}
	if err := p.await(rc.MaxWait); err != nil {
		return err
	}
	if err := by.read(p); err != nil {
		return err
	}
	if err := p.reader.settle(); err != nil {
		return err
	}
	return rc.count(p, by)
}

// tries is how often a batch is given to the counter within one push: a
// connection to the database that broke is mended by the next try.
const tries = 3

// count has a push counted for good.
func (rc *Receiver) count(p *push, by *protocol) error {
	// A sender who hangs up comes again: what is counted nevertheless, while the
	// same is counted beside it, would be work for nothing.
	ctx, cancel := context.WithTimeout(p.r.Context(), rc.MaxWait)
	defer cancel()
	id := p.batchID(by.name)
	for try := 1; ; try++ {
		if p.reader.tally.Lines == 0 {
			return nil
		}
		err := rc.Counter.Count(ctx, &proxylog.Batch{Input: rc.Input, ID: id, Tally: p.reader.tally, Moves: p.moves(), Read: time.Now()})
		switch {
		case err == nil:
			return nil
		case errors.Is(err, proxylog.ErrCounted):
			// Either an earlier push or an earlier try of this one.
			p.before = try == 1
			return nil
		case errors.Is(err, proxylog.ErrBusy):
			return busy("more lines are waiting to be counted than fit")
		}
		if try == tries || !errors.Is(err, proxylog.ErrMoved) && !pause(ctx, time.Duration(try)*100*time.Millisecond) {
			return rc.uncounted(ctx, p, by, err)
		}
		if p.streams != nil {
			if err := p.streams.again(ctx, rc.Counter); err != nil {
				return rc.uncounted(ctx, p, by, err)
			}
		}
	}
}

// uncounted is what a sender is told where it is not known whether its push was
// counted, or known that it was not.
func (rc *Receiver) uncounted(ctx context.Context, p *push, by *protocol, err error) error {
	var f *fault
	if errors.As(err, &f) {
		return f
	}
	level := slog.LevelWarn
	if p.r.Context().Err() != nil {
		level = slog.LevelDebug // the sender has hung up
	}
	rc.Log.Log(ctx, level, "pushed lines not counted", "input", rc.Input, "protocol", by.name, "lines", p.reader.tally.Lines, "error", err)
	return &fault{status: http.StatusServiceUnavailable, detail: "the lines could not be counted now; send them again, as they are", retry: 2 * time.Second}
}

// pause waits; false: ctx ended first.
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
