package config

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// How changes are noticed. A change is told about twice the calm after it was
// made: once for the burst of events to end, once to see that it lasts.
const (
	calm     = 150 * time.Millisecond // without an event, before files are read
	patience = 3 * time.Second        // for that calm, and for a file that is gone to come back
	pollTime = 10 * time.Second       // for what the kernel does not tell: NFS, FUSE, a limit of watches that is used up
)

// Watch calls changed when the content of one of the files has changed, until
// ctx ends; then it returns, with nothing left behind. Calls never overlap.
//
// files gives Files of the configuration in force, and of one that was refused,
// which a secret's file may mend. It is asked again and again, by Watch alone;
// when it gives new names, changed is called once for them, since they may have
// changed before they were watched. A name may be a glob: a file that is new
// under it is a change. Content decides: a file that is touched, or replaced by
// its like, is none; one that stays away is.
//
// What changed between Load and the beginning of Watch is not told, so begin it
// right after Load.
func Watch(ctx context.Context, files func() []string, changed func()) {
	w := &watch{files: files, changed: changed, calm: calm, patience: patience, poll: pollTime, wake: make(chan struct{}, 1)}
	if notes, err := fsnotify.NewWatcher(); err == nil { // else no watch is left for us, and asking now and then must do
		defer w.listen(notes)()
	}
	w.begin()
	w.run(ctx)
}

// watch is one Watch going on.
type watch struct {
	files                func() []string
	changed              func()
	calm, patience, poll time.Duration

	notes *fsnotify.Watcher // nil: polling alone
	wake  chan struct{}     // something has happened, whatever it was

	seen map[string]digest // by the names that files gave
}

// listen takes the kernel's word besides polling, until stop. It never waits
// for run, which may be in fsnotify at the time, or in changed. An error, such
// as too many events, is one more reason to look.
func (w *watch) listen(notes *fsnotify.Watcher) (stop func()) {
	w.notes = notes
	var listening sync.WaitGroup
	listening.Go(func() {
		for open := true; open; {
			select {
			case _, open = <-notes.Events:
			case _, open = <-notes.Errors:
			}
			w.nudge()
		}
	})
	return func() {
		_ = notes.Close() // it closes its channels, and has nothing else to say
		listening.Wait()
	}
}

// begin sees what there is: watched first, so that no change falls between.
func (w *watch) begin() {
	w.aim()
	w.seen = w.look()
}

func (w *watch) run(ctx context.Context) {
	poll := time.NewTicker(w.poll)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		case <-w.wake:
			if !w.rest(ctx) {
				return
			}
		}
		w.aim()
		w.compare(ctx)
	}
}

// rest waits until there has been no event for a while, or for as long as
// patience lasts where there is no end of them. Not ok: ctx has ended.
func (w *watch) rest(ctx context.Context) (ok bool) {
	longest := time.NewTimer(w.patience)
	defer longest.Stop()
	quiet := time.NewTimer(w.calm)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-quiet.C:
			return true
		case <-longest.C:
			return true
		case <-w.wake:
			quiet.Reset(w.calm)
		}
	}
}

// compare tells a change that lasts: two looks that agree with each other and
// not with what was seen before. A file that has gone may be about to be
// replaced, and is waited for.
func (w *watch) compare(ctx context.Context) {
	now := w.look()
	for until := time.Now().Add(w.patience); w.differs(now); {
		if !w.rest(ctx) {
			return
		}
		w.aim()
		before := now
		now = w.look()
		lasts := maps.Equal(before, now) && !w.lacks(now) || time.Now().After(until)
		if lasts && w.differs(now) {
			w.tell(now)
			return
		}
	}
	w.seen = now // less the names that nobody asks for any more
}

// tell calls changed. What was seen is settled before: a change that is made
// while changed reads the files is then a change again, not lost. After it
// there may be names that are new.
func (w *watch) tell(now map[string]digest) {
	w.seen = now
	w.changed()
	w.nudge()
}

// nudge has run look again, as it may be going to anyway.
func (w *watch) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}
