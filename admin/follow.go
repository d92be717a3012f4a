package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	firstReturn = time.Second      // to the first try to come back to a stream that was lost
	lastReturn  = 30 * time.Second // the longest between two
	silence     = 3 * heartbeat    // after which a stream is taken for dead
	longestLine = 1 << 20
)

// Follow gives events as they happen, until ctx ends or got fails, which is
// then the error. It begins after the event of an id, or with what happens from
// now on where that is nil. A stream that is lost is taken up again where it
// was, so that nothing is missed and nothing comes twice; lost, where it is not
// nil, is told why and when the next try is. A refusal that trying again does not
// mend ends it.
func (c *Client) Follow(ctx context.Context, filter EventFilter, after *int64, got func(*Event) error, lost func(error, time.Duration)) error {
	r := &request{method: http.MethodGet, path: "/events/stream", query: values(filter)}
	if after != nil {
		r.after = strconv.FormatInt(*after, 10)
	}
	pause := firstReturn
	for {
		seen := r.after
		err := c.stream(ctx, r, got)
		var stop *stopError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &stop):
			return stop.error
		case final(err):
			return err
		}
		if r.after != seen {
			pause = firstReturn
		}
		wait := pause/2 + rand.N(pause/2+1) //nolint:gosec // spreads readers that were all lost at once
		if lost != nil {
			lost(err, wait)
		}
		if !sleep(ctx, wait) {
			return ctx.Err()
		}
		pause = min(2*pause, lastReturn)
	}
}

// stopError is the receiver's wish to end.
type stopError struct{ error }

// final tells whether a refusal stands whenever it is asked again.
func final(err error) bool {
	var refused *ProblemError
	if !errors.As(err, &refused) {
		return false
	}
	return refused.Status/100 == 4 && refused.Status != http.StatusTooManyRequests && refused.Status != http.StatusRequestTimeout
}

// stream reads one stream until it breaks off, and notes in r how far it came.
func (c *Client) stream(ctx context.Context, r *request, got func(*Event) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dead := time.AfterFunc(silence, func() { cancel(fmt.Errorf("nothing came for %s", silence)) })
	defer dead.Stop()
	answer, err := c.do(ctx, r)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, longestLine)
	var next frame
	for lines.Scan() {
		dead.Reset(silence)
		if !next.take(lines.Text()) {
			continue
		}
		if err := next.deliver(got); err != nil {
			return err
		}
		if next.id != "" {
			r.after = next.id
		}
		next = frame{}
	}
	if err := lines.Err(); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	return io.EOF
}

// frame is a server-sent event as its lines come.
type frame struct{ id, data string }

// take reads a line; true: the event is whole.
func (f *frame) take(line string) bool {
	name, value, _ := strings.Cut(line, ":")
	value = strings.TrimPrefix(value, " ")
	switch {
	case line == "":
		return true
	case name == "id":
		f.id = value
	case name == "data":
		f.data += value
	}
	return false
}

func (f *frame) deliver(got func(*Event) error) error {
	if f.data == "" {
		return nil
	}
	var e Event
	if err := json.Unmarshal([]byte(f.data), &e); err != nil {
		return fmt.Errorf("read event %s: %w", f.id, err)
	}
	if err := got(&e); err != nil {
		return &stopError{err}
	}
	return nil
}
