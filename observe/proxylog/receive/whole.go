package receive

import (
	"errors"
	"io"

	"github.com/klauspost/compress/s2"
)

// whole reads all of the body, unpacked. The room for it is taken as it grows.
func (p *push) whole() ([]byte, error) {
	r, err := p.open()
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // it was only read
	var hint int64
	if e := p.encoding(); e == "" || e == "identity" {
		hint = p.r.ContentLength
	}
	text, err := p.fill(nil, r, hint)
	if err != nil {
		return nil, err
	}
	p.arrived()
	return text, nil
}

// firstPiece is how much is allocated for a body before any of it came: a length
// that is only announced costs its sender nothing.
const firstPiece = 64 << 10

// fill reads r to its end, behind text. hint is how long it may be; 0 or less:
// not known.
func (p *push) fill(text []byte, r io.Reader, hint int64) ([]byte, error) {
	for {
		if len(text) == cap(text) {
			larger, err := p.grow(text, hint)
			if err != nil {
				return text, err
			}
			text = larger
		}
		n, err := r.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		if errors.Is(err, io.EOF) {
			return text, nil
		}
		if err != nil {
			return text, err
		}
	}
}

// grow doubles a text's room, and goes past hint by one byte only, where the end
// shows.
func (p *push) grow(text []byte, hint int64) ([]byte, error) {
	was := int64(cap(text))
	size := max(2*was, firstPiece)
	if hint >= was && hint < size {
		size = hint + 1
	}
	if err := p.room.take(size); err != nil {
		return nil, err
	}
	larger := make([]byte, len(text), size)
	copy(larger, text)
	p.room.give(was)
	return larger, nil
}

// unsnap reads a body that is one snappy block, whose length is looked at before
// it is allocated.
func (p *push) unsnap() ([]byte, error) {
	block, err := p.fill(nil, p.body(), p.r.ContentLength)
	if err != nil {
		return nil, err
	}
	p.arrived()
	size, err := s2.DecodedLen(block)
	if err != nil {
		return nil, garbage("unpack snappy: %v", err)
	}
	if int64(size) > p.limits.MaxText || size > freeOfRatio && size/largestRatio > len(block) {
		return nil, tooLarge("the body has %d bytes unpacked, and at most %d are taken, and at most %d times what was sent; send fewer lines at once",
			size, p.limits.MaxText, largestRatio)
	}
	if err := p.room.take(int64(size)); err != nil {
		return nil, err
	}
	text, err := s2.Decode(make([]byte, size), block)
	if err != nil {
		return nil, garbage("unpack snappy: %v", err)
	}
	p.text += int64(len(text))
	p.room.give(int64(cap(block)))
	return text, nil
}
