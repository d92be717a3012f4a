package follow

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"
)

// file is one file of the disk. Whose text it has, its life says.
type file struct {
	id     fileID
	path   string // where it was found last
	wanted bool   // a pattern matches it
	facts  facts
	moved  time.Time // when we last saw its size or time change
	turned time.Time // when it was first found to be rotated
	scan   int64     // the last one that saw it

	handle  handle // nil: closed
	lagging bool
	form    form
	head    []byte // the text's first bytes, headSize at most
	text    *unpacker

	life   *life // whose lines are read from it
	copyOf *life // whose text it has too, read from elsewhere
	part   *life // whose text it was found to have only the beginning of, as long as it does not change
	not    map[*life]bool
	fresh  bool      // what it is has to be found out
	later  bool      // and that cannot be done before the next scan
	away   bool      // it is not where it was found last
	small  time.Time // since when it has been smaller than what was read
	least  int64     // the smallest size seen since small
	err    error     // why it cannot be read
	failed time.Time // when that was found
}

// update takes over what the system says of x; changed tells whether that is
// something new.
func (x *file) update(st facts, now time.Time) (changed bool) {
	if st.size == x.facts.size && st.written.Equal(x.facts.written) {
		x.facts.deleted = st.deleted
		return false
	}
	x.facts, x.moved = st, now
	if x.life == nil || x.form == packed {
		x.fresh = true
	}
	x.part, x.err = nil, nil
	return true
}

// reset forgets what the text is; it has turned out to be another one.
func (x *file) reset() {
	x.head, x.form, x.fresh, x.part, x.not, x.small = nil, unknown, true, nil, nil, time.Time{}
	x.closeText()
}

func (x *file) closeText() {
	if x.text != nil {
		x.text.close()
		x.text = nil
	}
}

func (x *file) close() {
	x.closeText()
	if x.handle != nil {
		_ = x.handle.Close() // it was only read
		x.handle = nil
	}
}

// open opens x where it is not open.
func (f *Follower) open(x *file) error {
	if x.handle != nil {
		return nil
	}
	h, err := f.disk.open(x.path)
	if err != nil {
		return err
	}
	st, err := h.facts()
	if err == nil && st.id != x.id {
		err = errReplaced
	}
	if err != nil {
		_ = h.Close() // it was only read
		return err
	}
	x.handle, x.lagging = h, h.lagging()
	return nil
}

// errReplaced: another file has got the name; the next scan finds out.
var errReplaced = errors.New("another file has taken its name")

// ReadAt implements io.ReaderAt with the text.
func (x *file) ReadAt(b []byte, off int64) (int, error) {
	if x.form == packed {
		return x.text.ReadAt(b, off)
	}
	return x.handle.ReadAt(b, off)
}

// loadHead reads the beginning of x's text, which may be empty. A file whose
// beginning cannot be read yet is looked at again when it has changed.
func (f *Follower) loadHead(x *file) error {
	if err := f.open(x); err != nil {
		return err
	}
	b := make([]byte, headSize)
	n, err := x.handle.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if x.form = formOf(b[:n]); x.form != packed {
		x.head = b[:n]
		return nil
	}
	u := newUnpacker(x.handle)
	defer u.close()
	n, err = u.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("unpack: %w", err)
	}
	x.head = b[:n]
	return nil
}

// begins tells whether the text that x has now is the one that it had, and
// takes over what it has more of.
func (x *file) begins() (bool, error) {
	b := make([]byte, headSize)
	n, err := x.handle.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if n < len(x.head) || !bytes.HasPrefix(b[:n], x.head) {
		return false, nil
	}
	x.head = b[:n]
	return true, nil
}

// same tells whether x and y have the same text as far as both go: whether the
// beginnings agree, and the last bytes before the end of the shorter.
func (x *file) same(y *file) (bool, error) {
	n := min(len(x.head), len(y.head))
	if !bytes.Equal(x.head[:n], y.head[:n]) {
		return false, nil
	}
	if x.form == packed || y.form == packed {
		return true, nil
	}
	upto := min(x.facts.size, y.facts.size)
	from := max(upto-compared, 0)
	a, b := make([]byte, upto-from), make([]byte, upto-from)
	for _, r := range []struct {
		x *file
		b []byte
	}{{x, a}, {y, b}} {
		if n, err := r.x.handle.ReadAt(r.b, from); n < len(r.b) {
			if errors.Is(err, io.EOF) {
				err = errAgain
			}
			return false, fmt.Errorf("compare %s with %s: %w", x.path, y.path, err)
		}
	}
	return bytes.Equal(a, b), nil
}

// compared is how much of the ends of two files is compared, in bytes.
const compared = 4 << 10
