package reconcile

import (
	"context"
	"sync"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Shared lets many passes ask one witness: whoever comes while the log is being
// read waits, and all that wait are answered by the next reading, so that a
// thousand small sources cost as many readings as a few. It is a Witness.
type Shared struct {
	Witness Witness

	mu      sync.Mutex
	waiting []*question
	reading bool
}

type question struct {
	lives  []Life
	answer chan Calls
}

// Traffic implements Witness. What is unattributed is so for all that asked
// together.
func (s *Shared) Traffic(ctx context.Context, lives []Life) Calls {
	q := &question{lives: lives, answer: make(chan Calls, 1)}
	s.mu.Lock()
	s.waiting = append(s.waiting, q)
	lead := !s.reading
	s.reading = true
	s.mu.Unlock()
	if lead {
		s.lead(ctx)
	}
	select {
	case calls := <-q.answer:
		return calls
	case <-ctx.Done():
		return Calls{ByLife: make([]drift.Traffic, len(lives)), Err: context.Cause(ctx)}
	}
}

// lead reads for everybody who waits, and hands on to one of those who came
// meanwhile. Its own context bounds the reading: a reader that is stopped gives
// an error to those who waited with it, never silence.
func (s *Shared) lead(ctx context.Context) {
	s.mu.Lock()
	asked := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	s.read(ctx, asked)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reading = len(s.waiting) > 0; s.reading {
		go s.lead(context.WithoutCancel(ctx))
	}
}

func (s *Shared) read(ctx context.Context, asked []*question) {
	lives, places := union(asked)
	calls := s.Witness.Traffic(ctx, lives)
	for i, q := range asked {
		own := calls
		own.ByLife = make([]drift.Traffic, len(q.lives))
		for j, place := range places[i] {
			if place < len(calls.ByLife) {
				own.ByLife[j] = calls.ByLife[place]
			}
		}
		q.answer <- own
	}
}

// union lists every life once: as the pass that walks it sees it, rather than
// as others remember it.
func union(asked []*question) (lives []Life, places [][]int) {
	type name struct{ source, id string }
	at := map[name]int{}
	places = make([][]int, len(asked))
	for i, q := range asked {
		for _, l := range q.lives {
			key := name{l.Source, l.ID}
			place, known := at[key]
			switch {
			case l.ID == "" || !known:
				place = len(lives)
				lives = append(lives, l)
				if l.ID != "" {
					at[key] = place
				}
			case lives[place].Remembered && !l.Remembered:
				lives[place] = l
			}
			places[i] = append(places[i], place)
		}
	}
	return lives, places
}
