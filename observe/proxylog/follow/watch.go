package follow

import (
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/fsnotify/fsnotify"
)

// watch is woken by the system when something happens in a directory. It is
// there for speed alone: what it misses (network file systems, a queue that
// overflows) is found by polling.
type watch struct {
	wake    chan struct{}
	names   atomic.Bool // files have come, gone or been renamed
	watcher *fsnotify.Watcher
	dirs    map[string]fileID
	done    sync.WaitGroup
}

func newWatch(log *slog.Logger) *watch {
	w := &watch{wake: make(chan struct{}, 1), dirs: map[string]fileID{}}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		log.Info("log files are polled: the system does not tell when they change", "error", err)
		return w
	}
	w.watcher = watcher
	w.done.Go(w.listen)
	return w
}

func (w *watch) close() {
	if w.watcher != nil {
		_ = w.watcher.Close() // listen ends by it
	}
	w.done.Wait()
}

func (w *watch) listen() {
	for {
		select {
		case e, ok := <-w.watcher.Events:
			if !ok {
				return
			}
			if !e.Has(fsnotify.Write) {
				w.names.Store(true)
			}
		case _, ok := <-w.watcher.Errors: // an overflow: anything may have happened
			if !ok {
				return
			}
			w.names.Store(true)
		}
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// moved tells, once, that names have changed.
func (w *watch) moved() bool { return w.names.Swap(false) }

// follow watches exactly these directories. One that was removed and made anew
// is another one under the same name.
func (w *watch) follow(dirs map[string]fileID) {
	if w.watcher == nil {
		return
	}
	for dir, id := range w.dirs {
		if dirs[dir] != id {
			_ = w.watcher.Remove(dir) // it may be gone, and its watch with it
			delete(w.dirs, dir)
		}
	}
	for dir, id := range dirs {
		if _, ok := w.dirs[dir]; ok {
			continue
		}
		if err := w.watcher.Add(dir); err == nil {
			w.dirs[dir] = id
			w.names.Store(true) // what came before the watch is not told
			select {
			case w.wake <- struct{}{}:
			default:
			}
		}
	}
}
