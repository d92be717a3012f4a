package main

import (
	"bytes"
	"io"
	"sync/atomic"
	"time"
)

// detached hands lines on to a writer that may be slow, asleep or broken: the
// daemon must not stop for want of somebody who reads its log. Lines that
// nobody takes in time are lost, and counted.
type detached struct {
	out   io.Writer
	lines chan []byte
	lost  atomic.Int64
	ended chan struct{} // closed: no more lines come
	empty chan struct{} // closed: all that came have been written
}

const (
	linesKept = 4096                   // about a megabyte
	farewell  = 500 * time.Millisecond // for what is still to be written at the end
)

// detach begins to hand on. missed is told, between two lines, how many are
// lost.
func detach(out io.Writer, missed func(lines int64)) *detached {
	d := &detached{out: out, lines: make(chan []byte, linesKept), ended: make(chan struct{}), empty: make(chan struct{})}
	go d.run(missed)
	return d
}

// Write implements io.Writer. It never waits and never fails.
func (d *detached) Write(line []byte) (int, error) {
	select {
	case d.lines <- bytes.Clone(line):
	default:
		d.lost.Add(1)
	}
	return len(line), nil
}

// end lets what was said be written, but waits only a moment for it.
func (d *detached) end() {
	close(d.ended)
	select {
	case <-d.empty:
	case <-time.After(farewell):
	}
}

func (d *detached) run(missed func(int64)) {
	defer close(d.empty)
	for {
		select {
		case line := <-d.lines:
			d.write(line, missed)
		case <-d.ended:
			for len(d.lines) > 0 {
				d.write(<-d.lines, missed)
			}
			return
		}
	}
}

func (d *detached) write(line []byte, missed func(int64)) {
	_, _ = d.out.Write(line) // there is nowhere to say that it failed
	if lost := d.lost.Swap(0); lost > 0 {
		missed(lost)
	}
}
