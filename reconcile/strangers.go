package reconcile

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/molecule-ai/billing-reconciler/store"
)

// strangers remembers whether the whole fleet has been seen, so that a pass over
// one source takes no call for its own that a workspace of a source which
// nobody has walked yet may have made.
type strangers struct {
	mu   sync.Mutex
	at   time.Time
	full bool // every configured source has been walked at least once
}

const strangersFor = 5 * time.Second // that a reading is good for

// strangersOf gives what Pass.Strangers needs, for as long as ctx lives.
func (d *Daemon) strangersOf(ctx context.Context, w *World) func([]Judged) []Life {
	return func(walked []Judged) []Life {
		if d.strangers.allSeen(ctx, d, w) {
			return nil
		}
		return stranger(walked)
	}
}

// allSeen tells whether everybody who may hold an address is known. A database
// that does not answer is asked again as seldom as one that does: many passes
// wait here.
func (s *strangers) allSeen(ctx context.Context, d *Daemon, w *World) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.at) < strangersFor {
		return s.full
	}
	ctx, stop := context.WithTimeout(ctx, writeFor)
	defer stop()
	sources, err := d.store.Sources(ctx)
	if errors.Is(ctx.Err(), context.Canceled) {
		return s.full // this pass ends; the next asks again
	}
	s.full, s.at = err == nil && walkedAll(w.names(), sources), time.Now() // what is not known makes calls doubtful
	return s.full
}

// walkedAll tells whether every source has had a pass.
func walkedAll(names []string, sources []store.SourceState) bool {
	walked := map[string]bool{}
	for i := range sources {
		walked[sources[i].Name] = !sources[i].LastPassAt.IsZero()
	}
	for _, name := range names {
		if !walked[name] {
			return false
		}
	}
	return true
}
