package follow

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// From says where reading begins when an input is started for the first time.
type From uint8

// Where reading begins.
const (
	Beginning From = iota // with all that the files have
	End                   // with what is written from now on
)

// Options are what a Follower is made of.
type Options struct {
	Input    string   // the input's name; its positions are stored under it
	Host     string   // whose files these are: keys of positions begin with it and a slash
	Patterns []string // files or globs; those of rotated files belong here too (access.log*)
	Format   proxylog.Format
	From     From
	Tally    *proxylog.TallyOptions // nil: the zero value
	Counter  proxylog.Counter
	Log      *slog.Logger // nil: none

	Poll      time.Duration // how often files are looked for and looked at, whatever the system tells; 0: 1 s
	Flush     time.Duration // how long lines are gathered before they are counted; 0: 50 ms
	MaxGroups int           // a batch is counted when it has so many groups; 0: 100,000
	MaxBytes  int64         // or was read from so many bytes; 0: 64 MiB
	Quiet     time.Duration // a rotated file that nobody has written to for so long is finished; 0: 5 s
	Settle    time.Duration // for so long a size that a network file system tells may be an old one; 0: 10 s
	Forget    time.Duration // positions of files that are gone are kept for so long; 0: 24 h
}

func (o *Options) complete() {
	o.Poll = cmp.Or(o.Poll, time.Second)
	o.Flush = cmp.Or(o.Flush, 50*time.Millisecond)
	o.MaxGroups = cmp.Or(o.MaxGroups, 100_000)
	o.MaxBytes = cmp.Or(o.MaxBytes, 64<<20)
	o.Quiet = cmp.Or(o.Quiet, 5*time.Second)
	o.Settle = cmp.Or(o.Settle, 10*time.Second)
	o.Forget = cmp.Or(o.Forget, 24*time.Hour)
	if o.Tally == nil {
		o.Tally = &proxylog.TallyOptions{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Follower follows the files of one input.
type Follower struct {
	Options
	disk   disk
	parser *proxylog.Parser

	files map[fileID]*file
	lives []*life
	first bool  // the input has never been started
	scans int64 // how many there were

	buf       []byte
	tally     *proxylog.Tally
	bytes     int64     // read into the tally
	newest    time.Time // when the newest of it was noticed
	unpacking *file     // the one compressed file that is being read

	rescan   bool // files are to be looked for now
	nextScan time.Time
	told     state

	lag struct {
		sync.Mutex
		bytes  int64
		oldest time.Time
	}
}

// New makes a Follower. Nothing happens before Run.
func New(o Options) *Follower {
	o.complete()
	return &Follower{Options: o, disk: osDisk{}, parser: proxylog.NewParser(o.Format), files: map[fileID]*file{}, tally: proxylog.NewTally(o.Tally)}
}

// Run follows until ctx ends, and returns nil then. It is called once. What
// goes wrong is told to the Counter and tried again.
func (f *Follower) Run(ctx context.Context) error {
	w := newWatch(f.Log)
	defer w.close()
	defer f.closeAll()
	pause := retries{}
	loaded := false
	for ctx.Err() == nil {
		var err error
		if !loaded {
			if err = f.load(ctx); err == nil {
				loaded = true
			}
		}
		more := false
		if loaded {
			more, err = f.turn(ctx, w)
		}
		switch {
		case ctx.Err() != nil:
		case err != nil:
			// What the database has is the truth; what was read beyond it is read again.
			loaded = false
			f.Log.Warn("log lines are not counted yet", "input", f.Input, "error", err)
			pause.wait(ctx)
		case more:
			pause.reset()
		default:
			pause.reset()
			f.idle(ctx, w)
		}
	}
	return nil
}

// turn looks, reads and counts once; more tells whether there is more to read.
func (f *Follower) turn(ctx context.Context, w *watch) (more bool, err error) {
	now := time.Now()
	if w.moved() || f.rescan || !now.Before(f.nextScan) {
		f.scan(now)
		w.follow(f.directories())
		if f.first {
			if err := f.start(ctx); err != nil {
				return false, err
			}
		}
	} else {
		f.refresh(now)
	}
	more = f.read(ctx, now.Add(f.Flush))
	f.measure()
	if err := f.count(ctx); err != nil {
		return false, err
	}
	f.measure()
	f.tell(ctx)
	return more || f.rescan, nil
}

// idle waits until something may have happened, and then for what else comes at
// the same time.
func (f *Follower) idle(ctx context.Context, w *watch) {
	timer := time.NewTimer(time.Until(f.nextScan))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return
	case <-timer.C:
		return
	case <-w.wake:
	}
	if w.moved() {
		f.scan(time.Now()) // opens what may be renamed or removed in a moment
	}
	timer.Reset(f.Flush)
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// retries waits longer and longer.
type retries struct{ next time.Duration }

const (
	firstRetry   = 200 * time.Millisecond
	longestRetry = 5 * time.Second
)

func (r *retries) reset() { r.next = 0 }

func (r *retries) wait(ctx context.Context) {
	r.next = min(max(2*r.next, firstRetry), longestRetry)
	timer := time.NewTimer(r.next)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
