package tcpfault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Line carries connections to one address. Safe for concurrent use.
type Line struct {
	to       string
	listener net.Listener
	work     sync.WaitGroup

	mu      sync.Mutex
	calls   map[*call]struct{}
	count   int // of connections so far
	refuse  bool
	delay   time.Duration
	flowing chan struct{} // closed while bytes flow
	rule    Rule
	closed  bool
}

// Rule decides about what a client is about to say on one of the connections,
// which are numbered from 1. It is called in the order of what is said on each,
// and may wait: that connection's client is silent for so long.
type Rule func(connection int, said []byte) Fate

// Fate is what becomes of something said, and of the connection.
type Fate int

// The fates.
const (
	Carried Fate = iota // it arrives
	Lost                // it never arrives: both sides find the connection cut
	Unheard             // it arrives, and the answer does not: the client cannot know
)

// Open makes a line to an address, host:port. Nothing is connected to before a
// client is.
func Open(ctx context.Context, to string) (*Line, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open a line to %s: %w", to, err)
	}
	l := &Line{to: to, listener: listener, calls: map[*call]struct{}{}, flowing: make(chan struct{})}
	close(l.flowing)
	l.work.Go(l.accept)
	return l, nil
}

// Addr is where clients connect, host:port.
func (l *Line) Addr() string { return l.listener.Addr().String() }

// Close ends the line and every connection on it, and waits for them.
func (l *Line) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	err := l.listener.Close()
	l.Cut()
	l.work.Wait()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close the line to %s: %w", l.to, err)
	}
	return nil
}

// Cut breaks off every connection that there is. New ones are taken.
func (l *Line) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.calls {
		c.end()
	}
}

// Refuse breaks off every connection at once when it is made, or no longer
// does. Those that there are go on.
func (l *Line) Refuse(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = on
}

// Stall lets nothing through in either direction, on no connection, until it is
// turned off; then all arrives that was said meanwhile.
func (l *Line) Stall(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.flowing:
		if on {
			l.flowing = make(chan struct{})
		}
	default:
		if !on {
			close(l.flowing)
		}
	}
}

// Delay makes everything that is said, in either direction, arrive that much
// later.
func (l *Line) Delay(by time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay = by
}

// Obey puts a rule in force from now on; nil: everything is carried.
func (l *Line) Obey(r Rule) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rule = r
}

// Connections is how many there are now.
func (l *Line) Connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.calls)
}

func (l *Line) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		if c := l.admit(client); c != nil {
			l.work.Go(c.run)
		} else {
			_ = client.Close()
		}
	}
}

// admit notes a connection; nil: it is refused.
func (l *Line) admit(client net.Conn) *call {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse || l.closed {
		return nil
	}
	l.count++
	c := &call{line: l, number: l.count, client: client, over: make(chan struct{})}
	l.calls[c] = struct{}{}
	return c
}

func (l *Line) leave(c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.calls, c)
}

// weather gives what applies to something that is said now.
func (l *Line) weather() (delay time.Duration, flowing <-chan struct{}, rule Rule) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.delay, l.flowing, l.rule
}
