package reconcile

import (
	"sync"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// World is everything outside that a daemon walks through, as one configuration
// gives it. It is never changed: a reload makes another one.
type World struct {
	Sources     []Source
	Resolver    Resolver
	ResolverID  string           // digest of the registry and of the policy that it derives by
	Previous    drift.Derivation // the one before a reload; nil: none
	Observer    Observer
	Witness     Witness // nil: no log is configured
	Policy      *drift.Policy
	Credentials []string
	Limits      Limits
	Sinks       []Sink // who is told
	Close       func() // called once, when nobody walks through it any more; nil: nothing to close
}

// Limits bound and pace the daemon.
type Limits struct {
	Interval      time.Duration // from one pass over a source to the next, jittered by a tenth
	PassTimeout   time.Duration // of one pass; what was not seen by then is not known
	SourcesAtOnce int           // tenants' databases read at the same time
	Alerting      drift.Alerting
	Surge         drift.Surge
	Retention     Retention
	Strays        store.StrayAlarm // when calls that are nobody's are told of
}

// Retention says how long what is over is kept; 0: for ever.
type Retention struct {
	Events, Drifts, Addresses, Traffic time.Duration
}

// source gives the world's source of a name; false: it has none.
func (w *World) source(name string) (Source, bool) {
	for i := range w.Sources {
		if w.Sources[i].Name == name {
			return w.Sources[i], true
		}
	}
	return Source{}, false
}

// names lists the sources.
func (w *World) names() []string {
	names := make([]string, len(w.Sources))
	for i := range w.Sources {
		names[i] = w.Sources[i].Name
	}
	return names
}

// atlas holds the world in force, and closes an earlier one when the last walk
// through it has ended.
type atlas struct {
	mu     sync.Mutex
	now    *counted
	closed bool
}

type counted struct {
	*World
	users int // walks, and one for being in force
}

// use puts another world in force; after close, nobody walks through it and it
// is closed at once.
func (a *atlas) use(w *World) {
	a.mu.Lock()
	old, closed := a.now, a.closed
	a.now = &counted{World: w, users: 1}
	fresh := a.now
	a.mu.Unlock()
	switch {
	case closed:
		a.leave(fresh)
	case old != nil:
		a.leave(old)
	}
}

// enter gives the world in force; leave must be called on it.
func (a *atlas) enter() *counted {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now.users++
	return a.now
}

func (a *atlas) leave(c *counted) {
	a.mu.Lock()
	c.users--
	last := c.users == 0
	a.mu.Unlock()
	if last && c.Close != nil {
		c.Close()
	}
}

// limits gives those of the world in force.
func (a *atlas) limits() Limits {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.now.Limits
}

// close lets go of the world in force.
func (a *atlas) close() {
	a.mu.Lock()
	c := a.now
	a.closed = true
	a.mu.Unlock()
	a.leave(c)
}
