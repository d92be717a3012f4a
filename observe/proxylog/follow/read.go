package follow

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"
)

const (
	chunkSize   = 256 << 10 // bytes that are read at once
	longestLine = 2 << 20   // a longer line is skipped and counted as not understood
)

// read reads what there is to be read, a chunk of each file in turn, until the
// batch is full or has been gathered for long enough; more tells that there is
// more.
func (f *Follower) read(ctx context.Context, until time.Time) (more bool) {
	for {
		busy := false
		for _, l := range f.lives {
			if ctx.Err() != nil || f.full() {
				return true
			}
			busy = f.advance(l) || busy
		}
		if !busy {
			return false
		}
		if time.Now().After(until) {
			return true
		}
	}
}

func (f *Follower) full() bool {
	return f.tally.Len() >= f.MaxGroups || f.bytes >= f.MaxBytes
}

// advance reads one chunk of l, if there is one.
func (f *Follower) advance(l *life) bool {
	x := l.file
	if x == nil || l.dead || l.complete || x.err != nil {
		return false
	}
	var err error
	busy := false
	switch half := x.facts.size - l.offset - l.ahead; {
	case x.form == packed:
		busy, err = f.unpack(x, l)
	case x.facts.size > l.looked:
		busy, err = f.chunk(x, l)
	case half > 0 && half < longestLine && f.retired(x, l, time.Now()):
		busy, err = f.lastLine(x, l)
	}
	switch {
	case err == nil:
	case vanished(err), errors.Is(err, errReplaced):
		f.drop(x)
		f.rescan = true
	default:
		x.err, x.failed = err, time.Now()
	}
	return busy
}

// chunk reads one from a plain file. What was read is counted only if the file
// had the same text all the while.
func (f *Follower) chunk(x *file, l *life) (bool, error) {
	if err := f.open(x); err != nil {
		return false, err
	}
	from := l.offset + l.ahead
	b := f.buffer(l)
	n, err := x.handle.ReadAt(b, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if ok, err := f.unchanged(x, l, b[:n], from); err != nil || !ok {
		return true, err
	}
	if n == 0 {
		l.looked = x.facts.size // it told of more than there is
		return false, nil
	}
	f.take(l, b[:n], n == len(b))
	return true, nil
}

// unchanged tells whether x still has l's text, b included; if not, it is
// taken away from it.
func (f *Follower) unchanged(x *file, l *life, b []byte, from int64) (bool, error) {
	held, err := f.holds(x, l)
	if err != nil {
		return false, err
	}
	if held && from < int64(len(x.head)) {
		n := min(len(b), len(x.head)-int(from))
		held = bytes.Equal(b[:n], x.head[from:int(from)+n])
	}
	if !held || x.facts.size < l.offset {
		if f.rescan = true; !held {
			f.lose(l)
		}
		return false, nil
	}
	return true, nil
}

func (f *Follower) buffer(l *life) []byte {
	want := max(l.want, chunkSize)
	if len(f.buf) < want {
		f.buf = make([]byte, want)
	}
	return f.buf[:want]
}

// take counts the whole lines of text, which stands at l's offset+ahead; full
// tells that more of the same could have been read.
func (f *Follower) take(l *life, text []byte, full bool) {
	end := l.offset + l.ahead + int64(len(text))
	f.bytes += int64(len(text))
	f.newest = later(f.newest, l.file.moved)
	if l.skipping {
		i := bytes.IndexByte(text, '\n')
		if i < 0 {
			l.consume(text)
			return
		}
		l.consume(text[:i+1])
		l.skipping, text = false, text[i+1:]
	}
	// A hole of NULs, as copytruncate leaves it, may be longer than any line;
	// on a network file system they may become text. So they are passed over,
	// and done with when a line has come behind them.
	nuls := 0
	for nuls < len(text) && text[nuls] == 0 {
		nuls++
	}
	n := f.tally.Feed(f.parser, text[nuls:])
	switch rest := len(text) - nuls; {
	case n > 0:
		l.consume(text[:nuls+n])
	case rest >= longestLine:
		f.tally.Skip()
		l.consume(text)
		l.skipping = true
	default:
		l.ahead += int64(nuls)
		if full && rest > 0 {
			l.want = min(2*max(l.want, chunkSize), longestLine)
			l.looked = l.offset + l.ahead
			return
		}
	}
	l.looked = end
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// lastLine counts what stands behind the last newline of a file that nobody
// writes to any more.
func (f *Follower) lastLine(x *file, l *life) (bool, error) {
	if err := f.open(x); err != nil {
		return false, err
	}
	from := l.offset + l.ahead
	b := make([]byte, x.facts.size-from)
	if n, err := x.handle.ReadAt(b, from); n < len(b) {
		if errors.Is(err, io.EOF) {
			err = nil // it has become shorter: the next scan decides
		}
		f.rescan = true
		return false, err
	}
	if ok, err := f.unchanged(x, l, b, from); err != nil || !ok {
		return true, err
	}
	f.endWith(l, b)
	return true, nil
}

func (f *Follower) endWith(l *life, b []byte) {
	if !l.skipping {
		f.tally.Line(f.parser, b)
	}
	l.consume(b)
	l.skipping = false
}

// unpack reads a chunk of a compressed file, one such file at a time: each needs
// memory of its own.
func (f *Follower) unpack(x *file, l *life) (bool, error) {
	if u := f.unpacking; u != nil && u != x && u.text != nil && u.life != nil && u.err == nil {
		return false, nil
	}
	if time.Since(x.moved) < f.Poll && time.Since(x.facts.written) < 2*f.Poll {
		return false, nil // it is being written
	}
	if err := f.open(x); err != nil {
		return false, err
	}
	if x.text == nil {
		x.text, f.unpacking = newUnpacker(x.handle), x
		l.want, l.ahead = 0, 0
	}
	if !l.proven {
		return true, f.prove(x, l)
	}
	from := l.offset + l.ahead
	b := f.buffer(l)
	n, err := x.ReadAt(b, from)
	f.take(l, b[:n], n == len(b))
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		if rest := b[:n][min(l.offset+l.ahead-from, int64(n)):]; len(rest) > 0 {
			f.endWith(l, rest)
		}
		l.seal()
		l.complete, l.touched = true, true
		x.closeText()
	default:
		x.closeText()
		return false, err
	}
	return true, nil
}

// prove goes to where l was read to, and looks whether x has the text before it.
func (f *Follower) prove(x *file, l *life) error {
	from := l.offset - int64(l.tail.N)
	done, err := x.text.reach(from)
	if err == nil && !done {
		return nil
	}
	var ends bool
	if err == nil {
		ends, err = endsAt(x, l)
	}
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		x.closeText()
		return err
	case ends:
		l.proven = true
		return nil
	case x.text.err != nil: // it ends before: nothing in it is new
		f.unbind(l)
		x.part, x.copyOf = l, l
	default:
		f.unbind(l)
		if x.not == nil {
			x.not = map[*life]bool{}
		}
		x.not[l], x.fresh = true, true
	}
	f.rescan = true
	return nil
}
