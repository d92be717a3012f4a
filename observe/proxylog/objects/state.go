package objects

import (
	"context"
	"sync"
	"time"
)

// state is how the input is.
type state struct {
	*sync.Mutex
	queue  error // why nothing can be received; nil: it can
	object error // why an object could not be counted
	at     time.Time
	woken  chan struct{}
}

func newState() state { return state{Mutex: &sync.Mutex{}, woken: make(chan struct{}, 1)} }

// lately is how long an object that could not be counted is a problem, if no
// other one is.
const lately = time.Minute

func (s *state) received(err error) {
	s.Lock()
	defer s.Unlock()
	if (err == nil) != (s.queue == nil) {
		s.wake()
	}
	s.queue = err
}

func (s *state) failed(err error) {
	s.Lock()
	defer s.Unlock()
	if s.object == nil {
		s.wake()
	}
	s.object, s.at = err, time.Now()
}

func (s *state) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

func (s *state) problem() error {
	s.Lock()
	defer s.Unlock()
	if time.Since(s.at) > lately {
		s.object = nil
	}
	if s.queue != nil {
		return s.queue
	}
	return s.object
}

// watch tells the Counter how the input is, until ctx ends.
func (r *Reader) watch(ctx context.Context) {
	ticker := time.NewTicker(r.timing.state)
	defer ticker.Stop()
	for ctx.Err() == nil {
		if err := r.Counter.State(ctx, r.Input, r.state.problem()); err != nil && ctx.Err() == nil {
			r.Log.Warn("the input's state is not told", "input", r.Input, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		case <-r.state.woken:
		}
	}
}
