package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// look is something to be written about a source.
type look struct {
	result *Result
	key    drift.Key // that fingerprints were made under
	full   bool
	asked  []int64 // requests that it answers
	// hearsay: the containers were not looked at, but remembered.
	hearsay bool
	settled *settling // how it was settled, once it is written
}

// tries bounds how often a look is written before the next one takes its place.
const tries = 4

// write settles a look against what is known and writes the outcome. Where it
// is not known whether it was written (the connection broke at the commit, say)
// everything is read again and settled again: what had been written then
// changes nothing, and nobody is told twice.
func (h *holder) write(ctx context.Context, w *World, l *look) {
	h.settle.Lock() // before a place at the desk, everywhere: nobody waits in a circle
	defer h.settle.Unlock()
	leave, ok := h.daemon.desk.enterWith(ctx, l, writeFor)
	if !ok {
		return // ended; what it saw is found again
	}
	// What has been seen is written though the daemon is ending: it is short.
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), writeFor)
	defer stop()
	for try := 1; ; try++ {
		out, applied, err := h.apply(ctx, w, l)
		leave()
		if err == nil {
			if !l.hearsay {
				h.plan(ctx, w, l)
			}
			h.written(l, out, applied)
			return
		}
		h.forget()
		h.fail("look not written", err)
		if errors.Is(err, store.ErrFenced) {
			return
		}
		if try == tries || !sleep(ctx, time.Duration(try)*time.Second) {
			h.postpone(err)
			return
		}
		if leave, ok = h.daemon.desk.enterWith(ctx, l, 0); !ok {
			h.postpone(err)
			return
		}
	}
}

func (h *holder) apply(ctx context.Context, w *World, l *look) (*store.Outcome, *store.Applied, error) {
	d := h.daemon
	if h.known == nil {
		known, err := d.store.Load(ctx, h.lease)
		if err != nil {
			return nil, nil, err
		}
		h.memory.Lock()
		h.known = known
		h.memory.Unlock()
	}
	quiet, err := d.suppressed(ctx, h.lease.Source, l.result.At)
	if err != nil {
		return nil, nil, err
	}
	source, _ := w.source(h.lease.Source)
	s := &settling{Source: h.lease.Source, Result: l.result, Full: l.full, Known: h.known, Resolver: w.ResolverID, Alerting: w.Limits.Alerting,
		Surge: w.Limits.Surge, Asks: source.Platform != nil && source.Asks > 0, Skip: h.skips(l), Quiet: quiet, Hearsay: l.hearsay,
		Document: func(j *Judged) json.RawMessage { return d.opts.Document(w.Policy, j) }}
	if l.result.Sources[0].Err == nil {
		if s.Doubt, err = h.doubt(ctx, w, s); err != nil {
			return nil, nil, err
		}
	}
	out := s.settle()
	out.Lease, out.Looks = h.lease, l.asked
	applied, err := d.store.Apply(ctx, out)
	if err != nil {
		return nil, nil, err
	}
	h.memory.Lock()
	absorb(h.known, out, &applied)
	h.memory.Unlock()
	l.settled = s
	l.result = s.Result // with what is not believed as unknown
	return out, &applied, nil
}

// The fleet believes another registry or policy once four fifths of it have
// been read with it, and no more flipped than may at once.
const (
	quorum      = 80 // percent
	recentTurns = 3  // intervals
)

// recent is how old the last pass over a source may be for it to be waited for.
// A pass is as old as its begin, and may take as long as it may.
func (l *Limits) recent() time.Duration { return recentTurns*l.Interval + l.PassTimeout }

// doubt asks how the rest of the fleet fares with the resolver, where modes of
// this source flipped; and whether somebody has accepted what changed.
func (h *holder) doubt(ctx context.Context, w *World, s *settling) (string, error) {
	accepted, err := h.daemon.accepted(ctx, h.lease.Source)
	if err != nil {
		return "", err
	}
	h.memory.Lock()
	h.known.Source.Accepted = accepted
	h.memory.Unlock()
	flipped := 0
	for i := range s.Result.Workspaces {
		if s.flips(&s.Result.Workspaces[i]) {
			flipped++
		}
	}
	if flipped == 0 {
		return "", nil
	}
	a, err := h.daemon.store.Agreement(ctx, w.ResolverID, h.lease.Source, w.Limits.recent())
	if err != nil {
		return "", err
	}
	own := len(h.known.States)
	a.Workspaces, a.Flipped = a.Workspaces+own, a.Flipped+flipped
	if s.Full || h.known.Source.Resolver == w.ResolverID {
		a.Read += own
	}
	switch {
	case a.Read*100 < a.Workspaces*quorum:
		return "registry or policy changed, and the rest of the fleet has not been read with it yet", nil
	case s.Surge.Exceeded(a.Flipped, a.Workspaces):
		return s.Surge.Words(drift.Census{Known: a.Workspaces, Flipped: a.Flipped}) + " over the whole fleet", nil
	}
	return "", nil
}

// skips tells which workspaces a look leaves alone: those that were looked at
// again since it began, and those whose observing is paused. A pass that began
// after a look has asked what the look asked, later.
func (h *holder) skips(l *look) func(string) bool {
	if !l.full && h.known.Source.LastPassAt.After(l.result.At) {
		return func(string) bool { return true }
	}
	h.mu.Lock()
	newer := map[string]bool{}
	for id, at := range h.looked {
		if l.full && at.After(l.result.At) {
			newer[id] = true
		} else if l.full {
			delete(h.looked, id)
		}
	}
	h.mu.Unlock()
	return func(id string) bool { return newer[id] || h.daemon.pauses.observingWorkspace(h.lease.Source, id) }
}

// accepted tells when an operator accepted what changed in a source, or in the
// fleet; zero: nobody did.
func (d *Daemon) accepted(ctx context.Context, source string) (time.Time, error) {
	at, err := d.store.Accepted(ctx, source)
	if err == nil && at.IsZero() {
		at, err = d.store.Accepted(ctx, store.Fleet)
	}
	return at, err
}

// suppressed tells of which workspaces all that is wrong has been accepted.
func (d *Daemon) suppressed(ctx context.Context, source string, now time.Time) (func(*Judged) bool, error) {
	list, err := d.store.Suppressions(ctx, source)
	if err != nil {
		return nil, err
	}
	covers := func(id string, kind drift.Kind) bool {
		for _, s := range list {
			if now.Before(s.ExpiresAt) && (s.Workspace == "" || s.Workspace == id) && (s.Kind == "" || s.Kind == kind) {
				return true
			}
		}
		return false
	}
	return func(j *Judged) bool {
		for _, f := range j.Findings {
			if f.Kind.Accuses() && !covers(j.Workspace.ID, f.Kind) {
				return false
			}
		}
		return len(list) > 0
	}, nil
}
