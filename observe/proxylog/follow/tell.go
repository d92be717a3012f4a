package follow

import (
	"context"
	"math"
	"time"
)

// state is what was told about the input.
type state struct {
	problem    error // to be told
	missing    map[string]absence
	unreadable []error

	words string
	at    time.Time
}

// absence is that of any file that a pattern matches.
type absence struct {
	since time.Time
	err   error
}

const tellEvery = 15 * time.Second

// tell says how the input is, when that has changed and every now and then.
func (f *Follower) tell(ctx context.Context) {
	words := ""
	if f.told.problem != nil {
		words = f.told.problem.Error()
	}
	now := time.Now()
	if words == f.told.words && now.Sub(f.told.at) < tellEvery {
		return
	}
	if words != f.told.words && words != "" {
		f.Log.Warn("log files cannot be read", "input", f.Input, "error", words)
	}
	f.told.words, f.told.at = words, now
	if err := f.Counter.State(ctx, f.Input, f.told.problem); err != nil && ctx.Err() == nil {
		f.Log.Warn("cannot store how an input is", "input", f.Input, "error", err)
		f.told.at = now.Add(-tellEvery + time.Second)
	}
}

// noticed is that a file was seen to be so long, at that time.
type noticed struct {
	size int64
	at   time.Time
}

const mostNoticed = 32

// notice remembers when bytes came. Where that is a lot, the older time stands
// for several.
func (l *life) notice(x *file) {
	size := x.facts.size
	if x.form == packed {
		size = math.MaxInt64
	}
	last := l.looked
	if n := len(l.seen); n > 0 {
		last = l.seen[n-1].size
	}
	if size <= last || l.complete {
		return
	}
	if len(l.seen) == mostNoticed {
		for i := range mostNoticed / 2 {
			l.seen[i] = noticed{l.seen[2*i+1].size, l.seen[2*i].at}
		}
		l.seen = l.seen[:mostNoticed/2]
	}
	l.seen = append(l.seen, noticed{size, x.moved})
}

// measure finds out how far behind the reading is.
func (f *Follower) measure() {
	var behind int64
	var oldest time.Time
	for _, l := range f.lives {
		x := l.file
		if x == nil || l.complete {
			l.seen = nil
			continue
		}
		done := l.stored
		if l.stored == l.offset || (l.key == "" && l.offset == 0) {
			done = l.looked // but for a line that is not whole
		}
		for len(l.seen) > 0 && l.seen[0].size <= done {
			l.seen = l.seen[1:]
		}
		if x.form == packed {
			behind += x.facts.size
		} else {
			behind += max(x.facts.size-max(done, 0), 0)
		}
		if len(l.seen) > 0 && (oldest.IsZero() || l.seen[0].at.Before(oldest)) {
			oldest = l.seen[0].at
		}
	}
	f.lag.Lock()
	defer f.lag.Unlock()
	f.lag.bytes, f.lag.oldest = behind, oldest
}

// Lag tells how many bytes are not counted yet, compressed ones as they are,
// and how long ago the oldest of them was noticed: 0 at the end of all files.
// Half a line at the end of a file does not count. Safe for concurrent use.
func (f *Follower) Lag() (behindBytes int64, oldest time.Duration) {
	f.lag.Lock()
	defer f.lag.Unlock()
	if !f.lag.oldest.IsZero() {
		oldest = time.Since(f.lag.oldest)
	}
	return f.lag.bytes, oldest
}
