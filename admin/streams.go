package admin

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// streams reads new events once and hands them to every event stream. A stream
// is nothing but the id of the last event it has seen: what the newest events
// here do not reach back to, it reads from the store. Since ids grow in the
// order of the commits, nothing can be lost or doubled where one source of
// events ends and the other begins, and a slow stream holds no memory.
type streams struct {
	store *store.Store
	log   *slog.Logger
	most  int           // streams
	kept  int           // events
	wake  chan struct{} // something may be new
	done  chan struct{} // closed when no more will come

	mu     sync.Mutex
	open   int           // streams that are open
	floor  int64         // every event after this one, and up to last, is in newest
	last   int64         // the newest id that is known; 0 before the first reading
	newest []drift.Event // ascending; bounded by kept
	moved  chan struct{} // closed when last grows
}

const (
	kept       = 2048            // events in memory, some hundred bytes each
	pollEvery  = 2 * time.Second // where a notification gets lost
	replayPage = 500
)

func newStreams(from *store.Store, log *slog.Logger, most int) *streams {
	return &streams{store: from, log: log, most: most, kept: kept, wake: make(chan struct{}, 1), done: make(chan struct{}), moved: make(chan struct{})}
}

// enter counts a stream in; false: there are too many.
func (s *streams) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open >= s.most {
		return false
	}
	s.open++
	s.kick()
	return true
}

func (s *streams) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
}

func (s *streams) kick() {
	select {
	case s.wake <- struct{}{}:
	default: // it will wake already
	}
}

// run reads new events while there is a stream, until ctx ends.
func (s *streams) run(ctx context.Context) {
	var listening sync.WaitGroup
	defer listening.Wait()
	defer close(s.done)
	listening.Go(func() {
		if err := s.store.Listen(ctx, func(store.Notice) { s.kick() }); err != nil && ctx.Err() == nil {
			s.log.Warn("event notifications ended; events are polled", "error", err)
		}
	})
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-poll.C:
		}
		if err := s.advance(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("read new events", "error", err) // they are read at the next poll
		}
	}
}

// advance reads what is new. Where that is more than a page, as after a time
// without streams, it goes to the end instead: the streams read the gap.
func (s *streams) advance(ctx context.Context) error {
	s.mu.Lock()
	open, last := s.open, s.last
	s.mu.Unlock()
	if open == 0 {
		return nil
	}
	if last > 0 {
		events, err := s.store.Events(ctx, store.EventFilter{After: last, Limit: replayPage})
		if err != nil || len(events) < replayPage {
			s.grow(events)
			return err
		}
	}
	end, err := s.store.LastEvent(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if end != s.last {
		s.newest, s.floor, s.last = nil, end, end
		s.tell()
	}
	return nil
}

func (s *streams) grow(events []drift.Event) {
	if len(events) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newest = append(s.newest, events...)
	if over := len(s.newest) - s.kept; over > 0 {
		s.floor = s.newest[over-1].ID
		s.newest = append([]drift.Event(nil), s.newest[over:]...)
	}
	s.last = events[len(events)-1].ID
	s.tell()
}

// tell wakes every stream that waits; the lock is held.
func (s *streams) tell() {
	close(s.moved)
	s.moved = make(chan struct{})
}

// next gives what comes after an event that a stream has seen: events, or
// replay where they must be read from the store, up to last at the least; and
// what tells that there is more.
func (s *streams) next(after int64) (events []drift.Event, replay bool, last int64, more <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if after < s.floor {
		return nil, true, s.last, s.moved
	}
	for i := range s.newest {
		if s.newest[i].ID > after {
			return s.newest[i:len(s.newest):len(s.newest)], false, s.last, s.moved
		}
	}
	return nil, false, s.last, s.moved
}
