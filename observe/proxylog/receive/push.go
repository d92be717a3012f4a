package receive

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// push is one request while it is read, counted and answered.
type push struct {
	w      http.ResponseWriter
	r      *http.Request
	limits *Options
	room   lease
	reader reader

	packed  int64     // bytes read of the body
	text    int64     // bytes unpacked
	content hash.Hash // of what makes two pushes the same; nil: nothing does
	streams *lokiPush // Loki's; nil: it has none whose lines are known one by one
	before  bool      // it was counted before

	request   string // Firehose's name for it
	timestamp int64  // Firehose's, in milliseconds
}

// batchID tells this push from others. It is made of what the sender calls it
// and of what is in it: a careless name, such as 1, loses nothing. A push that
// nothing tells apart gets one that is good for our own tries.
func (p *push) batchID(protocol string) string {
	switch {
	case p.streams != nil:
		return "" // its moves tell
	case p.content == nil:
		return protocol + ":" + strings.ToLower(rand.Text())
	}
	return protocol + ":" + hex.EncodeToString(p.content.Sum(nil))
}

// moves are how far the push takes its streams, where it has any.
func (p *push) moves() []proxylog.Move {
	if p.streams == nil {
		return nil
	}
	return p.streams.moves()
}

// restart begins to read lines, anew where some were read before.
func (p *push) restart() {
	p.room.give(int64(p.reader.groups) * groupRoom)
	p.reader = reader{parser: proxylog.NewParser(p.limits.Format), tally: proxylog.NewTally(p.limits.Tally), room: &p.room, most: p.limits.MaxLines}
}

// given is what the sender calls the push; "": nothing.
func (p *push) given() string {
	if id := p.r.Header.Get("X-Batch-Id"); id != "" {
		return id
	}
	return p.r.Header.Get("Idempotency-Key")
}

// identify lets the push be recognised by name, if there is one, and by what is
// written to content from then on.
func (p *push) identify(name string) {
	p.content = sha256.New()
	writeString(p.content, name)
}

// contentType is the media type in lower case, without parameters.
func (p *push) contentType() string {
	header := p.r.Header.Get("Content-Type")
	if header == "" {
		return ""
	}
	name, _, err := mime.ParseMediaType(header)
	if err != nil {
		name, _, _ = strings.Cut(strings.ToLower(header), ";")
	}
	return strings.TrimSpace(name)
}

// await bounds how long the body may take, and leaves time for the answer.
func (p *push) await(wait time.Duration) error {
	if n := p.r.ContentLength; n > p.limits.MaxBody {
		return tooLarge("the body has %d bytes, and at most %d are taken; send fewer lines at once", n, p.limits.MaxBody)
	}
	control := http.NewResponseController(p.w)
	now := time.Now()
	_ = control.SetReadDeadline(now.Add(wait)) // who cannot do that has limits of its own
	_ = control.SetWriteDeadline(now.Add(2*wait + answerWithin))
	return nil
}

// answerWithin is how long an answer may take to be written.
const answerWithin = 10 * time.Second

// arrived lets the connection live on once the body is here. Before, the time
// must go on: net/http reads what is left of a body that was refused.
func (p *push) arrived() { _ = http.NewResponseController(p.w).SetReadDeadline(time.Time{}) }

// body is the request's as it was sent, bounded.
func (p *push) body() io.Reader {
	return &meter{r: http.MaxBytesReader(p.w, p.r.Body, p.limits.MaxBody), n: &p.packed}
}

// meter counts what is read through it.
type meter struct {
	r io.Reader
	n *int64
}

func (m *meter) Read(b []byte) (int, error) {
	n, err := m.r.Read(b)
	*m.n += int64(n)
	return n, err
}
