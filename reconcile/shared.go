package reconcile

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Shared lets many passes ask one witness: whoever comes while the log is being
// read waits, and all that wait are answered by the next reading, so that a
// thousand small sources cost as many readings as a few. After a long reading it
// rests, so that passes which end one after another do not keep a machine busy
// with a log that has hardly grown. It is a Witness.
type Shared struct {
	Witness Witness

	mu      sync.Mutex
	waiting []*question
	reading bool
	rested  time.Time     // the next reading begins no earlier
	alone   chan struct{} // somebody has gone away; made by the first who asks
}

// A reading takes at most a fifth of the time, and is waited for no longer than
// a person would wait.
const (
	restTimes = 4
	restMost  = 5 * time.Second
)

// question is what one pass asks.
type question struct {
	lives  []Life // that it wants to know of
	others []Life // that calls may be of besides; one list for many
	answer chan Calls
	within *reading // guarded by Shared.mu; nil: not begun
}

// reading answers many questions. It is given up when nobody waits for it any
// more: one who goes away takes the answer from no other.
type reading struct {
	ctx   context.Context
	stop  context.CancelFunc
	left  int // of those who asked; guarded by Shared.mu
	ended chan struct{}
}

// among asks a witness about lives, where calls may be others' too. Lives that
// are among the others are counted once.
func among(ctx context.Context, w Witness, lives, others []Life) Calls {
	if len(others) == 0 {
		return w.Traffic(ctx, lives)
	}
	if s, ok := w.(*Shared); ok {
		return s.ask(ctx, &question{lives: lives, others: others})
	}
	all, _ := union([]*question{{lives: lives, others: others}})
	return w.Traffic(ctx, all)
}

// Traffic implements Witness. What is unattributed is so for all that asked
// together.
func (s *Shared) Traffic(ctx context.Context, lives []Life) Calls {
	return s.ask(ctx, &question{lives: lives})
}

func (s *Shared) ask(ctx context.Context, q *question) Calls {
	q.answer = make(chan Calls, 1)
	s.mu.Lock()
	if s.alone == nil {
		s.alone = make(chan struct{}, 1)
	}
	s.waiting = append(s.waiting, q)
	lead := !s.reading
	s.reading = true
	s.mu.Unlock()
	if lead {
		go s.lead(context.WithoutCancel(ctx))
	}
	select {
	case calls := <-q.answer:
		return calls
	case <-ctx.Done():
		s.withdraw(q)
		return Calls{ByLife: make([]drift.Traffic, len(q.lives)), Err: context.Cause(ctx)}
	}
}

// lead reads for everybody who waits, and again for those who came meanwhile.
func (s *Shared) lead(ctx context.Context) {
	for {
		s.rest()
		s.mu.Lock()
		asked := s.waiting
		s.waiting = nil
		if s.reading = len(asked) > 0; !s.reading {
			s.mu.Unlock()
			return
		}
		r := &reading{left: len(asked), ended: make(chan struct{})}
		r.ctx, r.stop = context.WithCancel(ctx)
		for _, q := range asked {
			q.within = r
		}
		s.mu.Unlock()
		begun := time.Now()
		s.read(r.ctx, asked)
		s.rested = time.Now().Add(min(restTimes*time.Since(begun), restMost))
		r.stop()
		close(r.ended)
	}
}

// rest waits until the next reading may begin, or nobody waits for one. Only
// one leads at a time, and it alone sets the time.
func (s *Shared) rest() {
	timer := time.NewTimer(time.Until(s.rested))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return
		case <-s.alone:
		}
		s.mu.Lock()
		nobody := len(s.waiting) == 0
		s.mu.Unlock()
		if nobody {
			return
		}
	}
}

// withdraw is for one who does not wait any longer. The last one sees the
// reading end, so that nobody reads a log behind the back of who closes it.
func (s *Shared) withdraw(q *question) {
	s.mu.Lock()
	r := q.within
	if r == nil {
		s.waiting = slices.DeleteFunc(s.waiting, func(w *question) bool { return w == q })
		s.mu.Unlock()
		signal(s.alone)
		return
	}
	r.left--
	last := r.left == 0
	s.mu.Unlock()
	if last {
		r.stop()
		<-r.ended
	}
}

func (s *Shared) read(ctx context.Context, asked []*question) {
	lives, places := union(asked)
	calls := s.Witness.Traffic(ctx, lives)
	for i, q := range asked {
		own := calls
		own.ByLife = make([]drift.Traffic, len(q.lives))
		for j, place := range places[i] {
			own.ByLife[j] = calls.of(place) // one that was not given acquits no one
		}
		q.answer <- own
	}
}

// union lists every life once: as the pass that walks it sees it, rather than
// as others remember it. The lives of the first question come first, in order.
// Places says where the lives that were asked about are.
func union(asked []*question) (lives []Life, places [][]int) {
	u := &gathering{at: map[[2]string]int{}}
	places = make([][]int, len(asked))
	for i, q := range asked {
		for _, l := range q.lives {
			places[i] = append(places[i], u.add(l))
		}
	}
	seen := map[*Life]bool{}
	for _, q := range asked {
		if len(q.others) == 0 || seen[&q.others[0]] {
			continue
		}
		seen[&q.others[0]] = true
		for _, l := range q.others {
			u.add(l)
		}
	}
	return u.lives, places
}

// gathering collects lives, by source and id.
type gathering struct {
	lives []Life
	at    map[[2]string]int
}

func (u *gathering) add(l Life) int {
	key := [2]string{l.Source, l.ID}
	place, known := u.at[key]
	switch {
	case l.ID == "" || !known:
		place = len(u.lives)
		u.lives = append(u.lives, l)
		if l.ID != "" {
			u.at[key] = place
		}
	case u.lives[place].Remembered && !l.Remembered:
		u.lives[place] = l
	}
	return place
}
