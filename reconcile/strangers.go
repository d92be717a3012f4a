package reconcile

import (
	"context"
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

// strangersOf gives what Pass.Strangers needs.
func (d *Daemon) strangersOf(w *World) func([]Judged) []Life {
	return func(walked []Judged) []Life {
		all, full := d.strangers.read(d, w)
		own := make(map[string]bool, len(walked))
		for i := range walked {
			own[walked[i].Workspace.Source+"/"+walked[i].Workspace.ID] = true
		}
		var lives []Life
		for _, l := range all {
			if !own[l.Source+"/"+l.ID] {
				lives = append(lives, l)
			}
		}
		if !full { // some have never been seen: any of them may hold an address
			lives = append(lives, stranger(walked)...)
		}
		return lives
	}
}

func (s *strangers) read(d *Daemon, w *World) (all []Life, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.at) < strangersFor {
		return s.all, s.full
	}
	ctx, stop := context.WithTimeout(context.Background(), writeFor)
	defer stop()
	lives, err := d.store.Lives(ctx)
	if err != nil {
		return s.all, false // what is not known makes calls doubtful
	}
	sources, err := d.store.Sources(ctx)
	s.all, s.full, s.at = remembered(lives), err == nil && walkedAll(w.names(), sources), time.Now()
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
