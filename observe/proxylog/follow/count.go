package follow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// started is the key of the position that says that the input was started
// once. Files that come later are read from their beginning.
const started = "started"

// load takes the positions that are stored for the truth, and forgets what was
// read beyond them. Files stay open: some may have no name any more.
func (f *Follower) load(ctx context.Context) error {
	positions, err := f.Counter.Positions(ctx, f.Input, f.prefix())
	if err != nil {
		return fmt.Errorf("read the positions of %s: %w", f.Input, err)
	}
	f.lives, f.first, f.unpacking, f.rescan = nil, len(positions) == 0, nil, true
	f.forget()
	for _, x := range f.files {
		x.life, x.copyOf = nil, nil
		x.reset()
	}
	for _, p := range positions {
		if p.Key == f.prefix()+started {
			continue
		}
		l, err := lifeOf(p)
		if err != nil {
			f.Log.Error("a position of a log file cannot be understood; its file will be read anew", "input", f.Input, "key", p.Key, "error", err)
		}
		f.lives = append(f.lives, l)
	}
	return nil
}

// forget drops what was tallied.
func (f *Follower) forget() {
	f.tally, f.bytes = proxylog.NewTally(f.Tally), 0
}

// start is done once in an input's life: it decides where the files that are
// there are begun.
func (f *Follower) start(ctx context.Context) error {
	if f.From == End {
		for _, l := range f.lives {
			if err := f.toEnd(l); err != nil {
				return err
			}
		}
	}
	marker := proxylog.Move{Key: f.prefix() + started, From: proxylog.NoPosition}
	if err := f.give(ctx, marker); err != nil {
		return err
	}
	f.first = false
	return nil
}

// toEnd takes what l's file has for read.
func (f *Follower) toEnd(l *life) error {
	x := l.file
	if x == nil {
		return nil
	}
	if x.form == packed {
		l.complete, l.touched = true, true
		return nil
	}
	// A line that is being written is counted when it is whole.
	b := make([]byte, min(x.facts.size, 64<<10))
	if n, err := x.handle.ReadAt(b, x.facts.size-int64(len(b))); n < len(b) {
		return fmt.Errorf("find the end of %s: %w", x.path, err)
	}
	if i := bytes.LastIndexByte(b, '\n'); i >= 0 {
		b = b[:i+1]
	}
	l.offset = x.facts.size - min(x.facts.size, 64<<10) + int64(len(b))
	l.looked, l.recent = l.offset, slices.Clone(b[max(0, len(b)-tailSize):])
	return nil
}

// moves are those of all lives that were read, or are known better than what
// is stored.
func (f *Follower) moves(now time.Time) (moves []proxylog.Move, moved []*life) {
	for _, l := range f.lives {
		switch {
		case l.key != "" && !l.gone.IsZero() && now.Sub(l.gone) > f.Forget:
			moves = append(moves, proxylog.Move{Key: l.key, From: l.stored, To: proxylog.NoPosition})
		case l.dead, l.offset == l.stored && !l.touched, l.key == "" && l.offset == 0 && !l.complete:
			continue
		default:
			if l.key == "" {
				l.key = f.newKey(l)
			}
			moves = append(moves, proxylog.Move{Key: l.key, From: l.stored, To: l.offset, Detail: l.detail()})
		}
		moved = append(moved, l)
	}
	return moves, moved
}

// count has the tally counted, with the positions behind it.
func (f *Follower) count(ctx context.Context) error { return f.give(ctx) }

func (f *Follower) give(ctx context.Context, more ...proxylog.Move) error {
	moves, moved := f.moves(time.Now())
	moves = append(moves, more...)
	if len(moves) == 0 {
		return nil // and nothing was read
	}
	b := &proxylog.Batch{Input: f.Input, Tally: f.tally, Moves: moves, Read: f.newest}
	pause := retries{}
	err := f.Counter.Count(ctx, b)
	for errors.Is(err, proxylog.ErrBusy) && ctx.Err() == nil {
		pause.wait(ctx)
		err = f.Counter.Count(ctx, b)
	}
	if err != nil {
		return fmt.Errorf("count lines of %s: %w", f.Input, err)
	}
	for i, l := range moved {
		if moves[i].To == proxylog.NoPosition {
			f.remove(l)
			continue
		}
		l.stored, l.touched = moves[i].To, false
	}
	f.forget()
	return nil
}

func (f *Follower) remove(l *life) {
	if l.file != nil {
		f.unbind(l)
	}
	l.dead = true
	f.lives = slices.DeleteFunc(f.lives, func(o *life) bool { return o == l })
}

func (f *Follower) closeAll() {
	for _, x := range f.files {
		x.close()
	}
}
