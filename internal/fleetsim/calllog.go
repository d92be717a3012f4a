package fleetsim

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

// RestartCall is one restart that somebody called for, as the platform saw it.
// It is in flight from At to Ended where it acted.
type RestartCall struct {
	Number  int       `json:"number"` // from 1, in the order of arrival
	At      time.Time `json:"at"`
	Tenant  string    `json:"tenant"`
	ID      string    `json:"id"`
	Status  int       `json:"status"` // of the answer; 0: there was none
	Answer  string    `json:"answer"` // provisioning, noop, or what went wrong
	Acted   bool      `json:"acted"`
	Ended   time.Time `json:"ended,omitzero"`    // zero: it has not
	Outcome string    `json:"outcome,omitempty"` // online or failed
}

// callLog is kept by the platform, so that whoever calls it cannot mend it. A
// line is written before the call acts, and another one when it has ended.
type callLog struct {
	mu    sync.Mutex
	calls []RestartCall
	file  *os.File      // nil: in memory alone
	ended chan struct{} // closed, and replaced, when a restart ends
}

func openCallLog(path string) (*callLog, error) {
	l := &callLog{ended: make(chan struct{})}
	if path == "" {
		return l, nil
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of restarts: %w", err)
	}
	l.file = file
	return l, nil
}

func (l *callLog) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	file := l.file
	l.file = nil
	return file.Close()
}

// add notes a call with its answer, and gives its number.
func (l *callLog) add(c RestartCall, a *answer, acted bool) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.Number, c.Status, c.Answer, c.Acted = len(l.calls)+1, a.status, a.word(), acted
	l.calls = append(l.calls, c)
	l.write(&c)
	return c.Number
}

// end notes what became of a call that acted.
func (l *callLog) end(number int, outcome string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &l.calls[number-1]
	c.Ended, c.Outcome = time.Now(), outcome
	l.write(c)
	close(l.ended)
	l.ended = make(chan struct{})
}

// next is closed when another restart ends.
func (l *callLog) next() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended
}

func (l *callLog) write(c *RestartCall) {
	if l.file == nil {
		return
	}
	line, err := json.Marshal(c)
	if err == nil {
		_, err = l.file.Write(append(line, '\n'))
	}
	if err != nil {
		panic("the log of restarts: " + err.Error()) // it is what budgets are held against
	}
}

// RestartCalls lists the calls so far, in the order of arrival.
func (s *Sim) RestartCalls() []RestartCall {
	s.restarts.log.mu.Lock()
	defer s.restarts.log.mu.Unlock()
	return slices.Clone(s.restarts.log.calls)
}

// ReadRestartCalls reads a log that PlatformOptions.LogPath named, which may be
// written meanwhile, and may be of several fleets one after another. A line
// that is cut is an error, unless it is the last.
func ReadRestartCalls(path string) ([]RestartCall, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the log of restarts: %w", err)
	}
	var calls []RestartCall
	first := 0 // of this fleet
	lines := bufio.NewScanner(bytes.NewReader(text[:bytes.LastIndexByte(text, '\n')+1]))
	for lines.Scan() {
		var c RestartCall
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return nil, fmt.Errorf("read the log of restarts: %w", err)
		}
		if c.Ended.IsZero() {
			if c.Number == 1 {
				first = len(calls)
			}
			calls = append(calls, c)
		} else if i := first + c.Number - 1; i < len(calls) {
			calls[i] = c
		}
	}
	return calls, lines.Err()
}

// MostInFlight tells how many restarts were under way at once, at most. Those
// that have not ended are still.
func MostInFlight(calls []RestartCall) int {
	type step struct {
		at time.Time
		by int
	}
	var steps []step
	for _, c := range calls {
		if c.Acted {
			steps = append(steps, step{c.At, 1})
			if !c.Ended.IsZero() {
				steps = append(steps, step{c.Ended, -1})
			}
		}
	}
	slices.SortStableFunc(steps, func(a, b step) int {
		if d := a.at.Compare(b.at); d != 0 {
			return d
		}
		return a.by - b.by // one that ends makes room for another
	})
	most, now := 0, 0
	for _, s := range steps {
		now += s.by
		most = max(most, now)
	}
	return most
}
