package receive

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// encoding is how the body is packed.
func (p *push) encoding() string {
	return strings.ToLower(strings.TrimSpace(strings.Join(p.r.Header.Values("Content-Encoding"), ",")))
}

// open gives the body unpacked, bounded in its length and in how many times
// longer than what was sent it is.
func (p *push) open() (io.ReadCloser, error) {
	body := p.body()
	switch name := p.encoding(); name {
	case "", "identity":
		return io.NopCloser(&unpacked{r: body, p: p}), nil
	case "gzip", "x-gzip":
		return p.gunzip(body)
	case "zstd":
		return p.unzstd(body)
	default:
		return nil, wrongType("Content-Encoding %.40q is not known here: use gzip, zstd or none", name)
	}
}

// gzipRoom is what a gzip reader takes: 32 KiB of window, and tables.
const gzipRoom = 48 << 10

func (p *push) gunzip(r io.Reader) (io.ReadCloser, error) {
	if err := p.room.take(gzipRoom); err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, unpacking("gzip", err)
	}
	return &closing{&unpacked{r: z, p: p, form: "gzip"}, z.Close}, nil
}

const (
	// largestWindow is what RFC 9659 allows in HTTP.
	largestWindow = 8 << 20
	leastWindow   = 1 << 20
)

// unzstd looks at the window that a frame wants before it is allocated.
func (p *push) unzstd(r io.Reader) (io.ReadCloser, error) {
	head := make([]byte, zstd.HeaderMaxSize)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	head = head[:n]
	var frame zstd.Header
	if err := frame.Decode(head); err != nil {
		return nil, unpacking("zstd", err)
	}
	window := max(frame.WindowSize, leastWindow)
	if frame.SingleSegment {
		window = max(frame.FrameContentSize, leastWindow)
	}
	if window > largestWindow {
		return nil, tooLarge("the zstd frame wants a window of %d bytes, and at most %d are taken (RFC 9659); pack it with a lower level", window, largestWindow)
	}
	if err := p.room.take(2 * int64(window)); err != nil { // #nosec G115 -- at most largestWindow
		return nil, err
	}
	z, err := zstd.NewReader(io.MultiReader(strings.NewReader(string(head)), r), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(window), zstd.WithDecoderMaxMemory(max(window, uint64(p.limits.MaxText)))) // #nosec G115 -- a limit, positive
	if err != nil {
		return nil, unpacking("zstd", err)
	}
	return &closing{&unpacked{r: z, p: p, form: "zstd"}, func() error { z.Close(); return nil }}, nil
}

func unpacking(form string, err error) error {
	var f *fault
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &f), errors.As(err, &long), isTimeout(err):
		return err
	case errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return tooLarge("unpack %s: more than fits; send fewer lines at once", form)
	}
	return garbage("unpack %s: %v", form, err)
}

// closing ends what a reader holds.
type closing struct {
	io.Reader
	end func() error
}

func (c *closing) Close() error { return c.end() }

// unpacked bounds a text that is unpacked as it is read.
type unpacked struct {
	r    io.Reader
	p    *push
	form string // "": as it was sent
}

// A text that is mostly air: log lines shrink to a tenth or a fiftieth.
const (
	largestRatio = 250
	freeOfRatio  = 1 << 20
)

func (u *unpacked) Read(b []byte) (int, error) {
	n, err := u.r.Read(b)
	p := u.p
	p.text += int64(n)
	if p.text > p.limits.MaxText {
		return n, tooLarge("the body is longer than %d bytes unpacked; send fewer lines at once", p.limits.MaxText)
	}
	if u.form != "" && p.text > freeOfRatio && p.text/largestRatio > p.packed {
		return n, tooLarge("the body is more than %d times longer unpacked", largestRatio)
	}
	if err != nil && !errors.Is(err, io.EOF) && u.form != "" {
		err = unpacking(u.form, err)
	}
	return n, err
}
