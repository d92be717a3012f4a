package follow

import (
	"bytes"
	"errors"
	"io"
	"math"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// The first bytes of compressed files. A name says little: rotated files are
// called .1 as well as .gz.
var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// form is what a file's first bytes say that it is.
type form uint8

const (
	unknown form = iota // too few bytes to tell
	plain
	packed
)

func formOf(head []byte) form {
	switch {
	case bytes.HasPrefix(head, gzipMagic), bytes.HasPrefix(head, zstdMagic):
		return packed
	case bytes.HasPrefix(gzipMagic, head), bytes.HasPrefix(zstdMagic, head):
		return unknown
	}
	return plain
}

// unpacker reads a compressed file's text. It goes forwards; what it gave last
// is remembered, since the next read begins within it. For one further back the
// file is begun again.
type unpacker struct {
	raw  io.ReaderAt
	text io.ReadCloser
	at   int64  // in the text, of last
	last []byte // what was given last
	err  error  // behind last
}

func newUnpacker(raw io.ReaderAt) *unpacker { return &unpacker{raw: raw} }

func (u *unpacker) close() {
	if u.text != nil {
		_ = u.text.Close() // it was only read
		u.text = nil
	}
}

func (u *unpacker) begin() error {
	u.close()
	u.at, u.last, u.err = 0, u.last[:0], nil
	r := io.NewSectionReader(u.raw, 0, math.MaxInt64)
	head := make([]byte, len(zstdMagic))
	n, _ := r.ReadAt(head, 0)
	if !bytes.HasPrefix(head[:n], zstdMagic) {
		z, err := gzip.NewReader(r)
		if err != nil {
			return cutOff(err)
		}
		u.text = z
		return nil
	}
	// One core, and a window no bigger than zstd's own default limit.
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(128<<20))
	if err != nil {
		return err
	}
	u.text = z.IOReadCloser()
	return nil
}

// cutOff tells a file that ends in the middle from one that ends.
func cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// reachStep bounds how long one call takes, for the sake of other files.
const reachStep = 4 << 20

// reach goes forward to off, a step at a time; done tells that it is there.
// io.EOF is that the text is shorter.
func (u *unpacker) reach(off int64) (done bool, err error) {
	if u.text == nil || off < u.at {
		if err := u.begin(); err != nil {
			return false, err
		}
	}
	end := u.at + int64(len(u.last))
	if off <= end {
		return true, nil
	}
	if u.err != nil {
		return false, u.err
	}
	n, err := io.CopyN(io.Discard, u.text, min(off-end, reachStep))
	u.at, u.last = end+n, u.last[:0]
	if err != nil {
		u.err = err
		return false, err
	}
	return u.at == off, nil
}

// ReadAt implements io.ReaderAt.
func (u *unpacker) ReadAt(b []byte, off int64) (int, error) {
	for {
		done, err := u.reach(off)
		if err != nil {
			return 0, err
		}
		if done {
			break
		}
	}
	n := copy(b, u.last[off-u.at:])
	within := n == len(b)
	for n < len(b) && u.err == nil {
		var more int
		more, u.err = u.text.Read(b[n:])
		n += more
	}
	if !within {
		u.at, u.last = off, append(u.last[:0], b[:n]...)
	}
	if n < len(b) {
		return n, u.err
	}
	return n, nil
}
