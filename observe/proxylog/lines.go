package proxylog

import (
	"bytes"
	"context"
	"errors"
	"io"
)

const (
	bufferSize  = 256 << 10
	longestLine = 2 << 20 // a longer line is skipped and counted as not understood
)

// lines cuts a stream into lines. Its buffer is reused from file to file.
type lines struct {
	buf  []byte
	from int // what is not yet handed out: buf[from:to]
	to   int
	skip bool // inside a line that is too long
	read int64
}

// each calls line for every line, without newline and carriage return; nil
// stands for one that was too long. Blank lines are left out; a last line
// needs no newline. The bytes are good until line returns.
func (l *lines) each(ctx context.Context, r io.Reader, line func([]byte)) error {
	if l.buf == nil {
		l.buf = make([]byte, bufferSize)
	}
	l.from, l.to, l.skip, l.read = 0, 0, false, 0
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(l.buf[l.to:])
		l.read += int64(n)
		fresh := l.to
		l.to += n
		l.cut(fresh, line)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				return err
			}
			l.last(line)
			return nil
		}
		l.room(line)
	}
}

// cut hands out the whole lines; no newline is before fresh.
func (l *lines) cut(fresh int, line func([]byte)) {
	for {
		i := bytes.IndexByte(l.buf[fresh:l.to], '\n')
		if i < 0 {
			return
		}
		end := fresh + i
		if l.skip {
			l.skip = false
		} else {
			give(l.buf[l.from:end], line)
		}
		l.from, fresh = end+1, end+1
	}
}

// last hands out a line that ends with the stream.
func (l *lines) last(line func([]byte)) {
	if !l.skip {
		give(l.buf[l.from:l.to], line)
	}
}

// room makes some for the next read, which is never empty.
func (l *lines) room(line func([]byte)) {
	// A hole of NULs, as copytruncate leaves it, may be longer than any line.
	for l.from < l.to && l.buf[l.from] == 0 {
		l.from++
	}
	if l.skip {
		l.from = l.to
	}
	copy(l.buf, l.buf[l.from:l.to])
	l.to -= l.from
	l.from = 0
	switch {
	case l.to < len(l.buf):
	case len(l.buf) < longestLine:
		l.buf = append(l.buf, make([]byte, len(l.buf))...)
	default:
		line(nil)
		l.skip, l.to = true, 0
	}
}

func give(b []byte, line func([]byte)) {
	if b = trimLine(b); !blank(b) {
		line(b)
	}
}

// trimLine takes off the carriage return that a line may end in.
func trimLine(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\r' {
		return b[:n-1]
	}
	return b
}

// blank tells whether b has nothing but blanks and NULs.
func blank(b []byte) bool {
	for _, c := range b {
		if c != ' ' && c != '\t' && c != 0 {
			return false
		}
	}
	return true
}
