package reconcile

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/molecule-ai/billing-reconciler/store"
)

// strangers remembers who of the whole fleet holds which address, so that a
// pass over one source takes no call for its own that a workspace of another
// source made.
type strangers struct {
	mu   sync.Mutex
	at   time.Time
	all  []Life
	full bool // every configured source has been walked at least once
}

const strangersFor = 5 * time.Second // that a reading is good for

// strangersOf gives what Pass.Strangers needs, for as long as ctx lives.
func (d *Daemon) strangersOf(ctx context.Context, w *World) func([]Judged) Strangers {
	return func(walked []Judged) (s Strangers) {
		var full bool
		s.Known, full = d.strangers.read(ctx, d, w)
		if !full { // some have never been seen: any of them may hold an address
			s.Unknown = stranger(walked)
		}
		return s
	}
}

// read gives who is known, and whether that is everybody. A database that does
// not answer is asked again as seldom as one that does: many passes wait here.
func (s *strangers) read(ctx context.Context, d *Daemon, w *World) (all []Life, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.at) < strangersFor {
		return s.all, s.full
	}
	ctx, stop := context.WithTimeout(ctx, writeFor)
	defer stop()
	sources, err := d.store.Sources(ctx) // first: whoever has been walked by now is among the lives
	var lives []store.Life
	if err == nil {
		lives, err = d.store.Lives(ctx)
	}
	if err == nil {
		s.all = remembered(lives)
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return s.all, false // this pass ends; the next asks again
	}
	s.full, s.at = err == nil && walkedAll(w.names(), sources), time.Now() // what is not known makes calls doubtful
	return s.all, s.full
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

// remembered gathers holdings, sorted by workspace, into lives.
func remembered(holdings []store.Life) (lives []Life) {
	for i := range holdings {
		h := &holdings[i]
		last := len(lives) - 1
		if last < 0 || lives[last].ID != h.Workspace || lives[last].Source != h.Source {
			lives = append(lives, Life{Source: h.Source, ID: h.Workspace, Since: h.Since, Remembered: true})
			last++
		}
		l := &lives[last]
		l.Addresses = append(l.Addresses, netip.Addr(h.Address))
		if h.Since.After(l.Since) {
			l.Since = h.Since
		}
	}
	return lives
}
