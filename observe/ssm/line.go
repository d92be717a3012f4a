package ssm

import (
	"context"
	"slices"
	"sync"
)

// line hands out places in the order in which they were asked for, but to the
// urgent first: what a person waits for goes before a pass. Some places are
// spared for the urgent, so that calls that hang don't hold them up either.
type line struct {
	mu      sync.Mutex
	free    int // below zero where the urgent have taken spare ones
	spare   int
	waiting map[bool][]chan struct{} // by urgency
}

func newLine(places, spare int) *line {
	return &line{free: places, spare: spare, waiting: map[bool][]chan struct{}{}}
}

// take waits for a place; false: ctx has ended, and none is held.
func (l *line) take(ctx context.Context, urgent bool) bool {
	if ctx.Err() != nil {
		return false // or a free place might be preferred
	}
	turn := l.enter(urgent)
	if turn == nil {
		return true
	}
	select {
	case <-turn:
		return true
	case <-ctx.Done():
	}
	l.mu.Lock()
	i := slices.Index(l.waiting[urgent], turn)
	if i >= 0 {
		l.waiting[urgent] = slices.Delete(l.waiting[urgent], i, i+1)
	}
	l.mu.Unlock()
	if i < 0 {
		l.leave() // it was given meanwhile
	}
	return false
}

// enter gives nil where there is a place at once.
func (l *line) enter(urgent bool) chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.has(urgent) {
		l.free--
		return nil
	}
	turn := make(chan struct{})
	l.waiting[urgent] = append(l.waiting[urgent], turn)
	return turn
}

func (l *line) has(urgent bool) bool { return l.free > 0 || urgent && l.free > -l.spare }

// leave gives a place back.
func (l *line) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free++
	for _, urgent := range []bool{true, false} {
		for len(l.waiting[urgent]) > 0 && l.has(urgent) {
			l.free--
			close(l.waiting[urgent][0])
			l.waiting[urgent] = l.waiting[urgent][1:]
		}
	}
}
