package tcpfault

import (
	"net"
	"sync"
	"time"
)

// call is one connection over the line.
type call struct {
	line   *Line
	number int
	client net.Conn
	over   chan struct{} // closed when it is to end
	once   sync.Once
}

func (c *call) end() { c.once.Do(func() { close(c.over) }) }

func (c *call) run() {
	defer c.line.leave(c)
	defer func() { _ = c.client.Close() }()
	server, err := net.Dial("tcp", c.line.to)
	if err != nil {
		return // the client finds its connection cut, as where nobody listens
	}
	defer func() { _ = server.Close() }()
	var ways sync.WaitGroup
	ways.Go(func() { c.carry(c.client, server, c.ask) })
	ways.Go(func() { c.carry(server, c.client, nil) })
	<-c.over
	_ = c.client.Close() // ends what is being read
	_ = server.Close()
	ways.Wait()
}

// ask lets the line's rule decide about what the client says.
func (c *call) ask(rule Rule, said []byte) Fate {
	if rule == nil {
		return Carried
	}
	return rule(c.number, said)
}

const chunk = 64 << 10 // more than most say at once

// carry takes what one side says to the other, until either ends or the call
// does.
func (c *call) carry(from, to net.Conn, decide func(Rule, []byte) Fate) {
	defer c.end()
	buffer := make([]byte, chunk)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !c.pass(to, buffer[:n], decide) {
			return
		}
		if err != nil {
			return
		}
	}
}

// pass takes one thing said to the other side; false: the call ends.
func (c *call) pass(to net.Conn, said []byte, decide func(Rule, []byte) Fate) bool {
	delay, flowing, rule := c.line.weather()
	if !c.wait(delay, flowing) {
		return false
	}
	fate := Carried
	if decide != nil {
		fate = decide(rule, said)
	}
	switch fate {
	case Lost:
		return false
	case Unheard:
		_ = c.client.Close() // before the answer can come
		_, err := to.Write(said)
		if err == nil {
			c.wait(unheardFor, nil)
		}
		return false
	}
	_, err := to.Write(said)
	return err == nil
}

// unheardFor is what the server is given to do what it was told, before it finds
// its client gone.
const unheardFor = 200 * time.Millisecond

// wait lets the delay pass and the line flow; false: the call is to end.
func (c *call) wait(delay time.Duration, flowing <-chan struct{}) bool {
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.over:
			return false
		}
	}
	if flowing == nil {
		return true
	}
	select {
	case <-flowing:
		return true
	case <-c.over:
		return false
	}
}
