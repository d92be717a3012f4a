package admin_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molecule-ai/billing-reconciler/admin"
	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// reader is an event stream that is being read.
type reader struct {
	t      *testing.T
	answer *http.Response
	lines  *bufio.Scanner
}

// patient bounds what a test waits for.
const patient = time.Minute

func (w *served) stream(t *testing.T, query string, headers ...string) *reader {
	t.Helper()
	r := w.request("GET /events/stream"+query, headers...)
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	answer, err := w.client.Do(r.WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); answer.Body.Close() })
	if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("got %d %s", answer.StatusCode, answer.Header.Get("Content-Type"))
	}
	return &reader{t, answer, bufio.NewScanner(answer.Body)}
}

// next gives the lines of the next event or sign of life.
func (r *reader) next() (lines []string) {
	r.t.Helper()
	for r.lines.Scan() {
		if r.lines.Text() == "" {
			return lines
		}
		lines = append(lines, r.lines.Text())
	}
	r.t.Fatalf("the stream ended: %v", r.lines.Err())
	return nil
}

// ids reads the next n events' ids.
func (r *reader) ids(n int) (ids []int64) {
	r.t.Helper()
	for len(ids) < n {
		lines := r.next()
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "data: ") }) {
			continue
		}
		for _, l := range lines {
			if id, ok := strings.CutPrefix(l, "id: "); ok {
				n, err := strconv.ParseInt(id, 10, 64)
				if err != nil {
					r.t.Fatal(err)
				}
				ids = append(ids, n)
			}
		}
	}
	return ids
}

func pauseN(t testing.TB, s *store.Store, n int) {
	t.Helper()
	if _, err := s.Pause(t.Context(), store.Pause{Scope: store.Scope{Kind: store.ScopeAll}, Reason: fmt.Sprint("n", n), By: "test"}); err != nil {
		t.Error(err)
	}
}

func TestStreamShape(t *testing.T) {
	w := serve(t)
	r := w.as(viewerToken).stream(t, "")
	if diff := cmp.Diff([]string{": alive", "id: 0"}, r.next()); diff != "" {
		t.Error(diff)
	}
	w.ask(`POST /pause {"scope":"all","reason":"r"}`).want(t, 200)
	got := r.next()
	if len(got) != 3 || got[0] != "id: 1" || got[1] != "event: paused" || !strings.HasPrefix(got[2], `data: {"id":1,"at":"`) || !strings.Contains(got[2], `"by":"ops"`) {
		t.Errorf("got %q", got)
	}
}

func TestStreamBeginsWhereItIsTold(t *testing.T) {
	w := serve(t)
	for n := range 5 {
		pauseN(t, w.store, n)
	}
	for rule, c := range map[string]struct {
		query   string
		headers []string
		want    []int64
	}{
		"after":                  {"?after=2", nil, []int64{3, 4, 5, 6}},
		"from the beginning":     {"?after=0", nil, []int64{1, 2, 3, 4, 5, 6}},
		"Last-Event-ID":          {"", []string{"Last-Event-ID: 4"}, []int64{5, 6}},
		"Last-Event-ID wins":     {"?after=1", []string{"Last-Event-ID: 4"}, []int64{5, 6}},
		"now":                    {"", nil, []int64{6}},
		"of a database no more":  {"?after=1000000", nil, []int64{6}},
		"only what is asked for": {"?after=0&kinds=resumed", nil, []int64{6}},
	} {
		r := w.stream(t, c.query, c.headers...)
		r.next() // it is open
		if _, err := w.store.Resume(t.Context(), store.Scope{Kind: store.ScopeAll}, "test", ""); err != nil {
			t.Fatal(err)
		}
		if len(c.want) > 0 && c.want[len(c.want)-1] == 6 { // numbers go on from one row to the next
			last := decode[admin.Events](t, w.ask("GET /events?order=desc&limit=1")).Events[0].ID
			for i := range c.want {
				if c.want[i] == 6 {
					c.want[i] = last
				}
			}
		}
		var got []int64
		for len(got) == 0 || got[len(got)-1] < c.want[len(c.want)-1] {
			got = append(got, r.ids(1)...)
		}
		got = slices.DeleteFunc(got, func(id int64) bool { return id > 5 && id < c.want[len(c.want)-1] })
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", rule, diff)
		}
		pauseN(t, w.store, 9)
	}
}

// Whatever is written while streams replay and go over to live, and whoever
// writes it: each stream gets every event after its beginning once, in order.
func TestNothingIsLostOrDoubledBetweenReplayAndLive(t *testing.T) {
	w := serve(t)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	ln := listen(t, "127.0.0.1:0")
	w.url = "http://" + ln.Addr().String()
	w.run(ln, func(s *admin.Server) { s.SetKept(5) }) // so that streams fall behind what is in memory again and again
	const writers, each, before = 6, 40, 700          // more than a page before, so that the replay takes several
	newHolder(t, w.store, "acme").pass(time.Now(), "acme", nil, func(o *store.Outcome) {
		for range before {
			o.Events = append(o.Events, drift.Event{At: o.At, Kind: drift.EventSurge, Source: "acme", Summary: "much at once"})
		}
	})
	var writing sync.WaitGroup
	begin := make(chan struct{})
	for k := range writers {
		writing.Go(func() {
			<-begin
			for n := range each {
				pauseN(t, w.store, k*each+n)
			}
		})
	}
	const total = before + writers*each
	var readers []*reader
	for k := range 6 {
		readers = append(readers, w.stream(t, fmt.Sprintf("?after=%d", k*100)))
		if k == 2 {
			close(begin) // half of them open while it is written
		}
	}
	for k, r := range readers {
		var want []int64
		for id := int64(k*100 + 1); id <= total; id++ {
			want = append(want, id)
		}
		if diff := cmp.Diff(want, r.ids(len(want))); diff != "" {
			t.Errorf("stream %d: %s", k, diff)
		}
	}
	writing.Wait()
}

func TestStreamShowsThatItLives(t *testing.T) {
	w := serve(t, func(o *admin.Options) { o.Heartbeat = 20 * time.Millisecond })
	pauseN(t, w.store, 1)
	r := w.stream(t, "?after=0&kinds=resumed") // nothing that it may see
	r.next()
	for {
		if beat := r.next(); slices.Equal(beat, []string{": alive", "id: 1"}) {
			return // how far it is, though it saw nothing
		}
	}
}

func TestStreamsAreBounded(t *testing.T) {
	w := serve(t, func(o *admin.Options) { o.MaxStreams = 2 })
	first := w.stream(t, "")
	w.stream(t, "")
	got := w.ask("GET /events/stream").want(t, 503).says(t, "2 event streams")
	if got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	first.answer.Body.Close()
	waitFor(t, "a place to be free", func() bool {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		answer, err := w.client.Do(w.request("GET /events/stream").WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		return answer.StatusCode == 200
	})
}

// waitFor polls for a condition.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patient); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}

// pipes is a listener without buffers: what is written waits for a reader.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func TestASlowReaderIsCut(t *testing.T) {
	w := serve(t)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	w.opts = admin.Options{Store: w.store, MaxStreams: 1}
	ln := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	w.run(ln, func(s *admin.Server) { s.SetPatience(50 * time.Millisecond) })
	near, far := net.Pipe()
	defer near.Close()
	ln.conns <- far
	if _, err := io.WriteString(near, "GET /api/v1/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 1)
	if _, err := near.Read(first); err != nil { // it has begun; now nothing is read
		t.Fatal(err)
	}
	for n := range 200 {
		pauseN(t, w.store, n)
	}
	waitFor(t, "the reader to be cut", func() bool {
		other, end := net.Pipe()
		defer other.Close()
		ln.conns <- end
		if _, err := io.WriteString(other, "GET /api/v1/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		status, err := bufio.NewReader(other).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(status, "200") // its place is free
	})
}

func TestFollowComesBackWhereItWas(t *testing.T) {
	w := serve(t)
	c := w.api(t)
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	enough := errors.New("enough")
	var got []int64
	addr := strings.TrimPrefix(w.url, "http://")
	pauseN(t, w.store, 0)
	err := c.Follow(ctx, admin.EventFilter{}, new(int64), func(e *admin.Event) error {
		got = append(got, e.ID)
		switch e.ID {
		case 2: // the server goes away, more happens, and it comes back
			if err := w.stop(); err != nil {
				t.Error(err)
			}
			for n := range 3 {
				pauseN(t, w.store, n)
			}
			w.run(listen(t, addr))
		case 5:
			return enough
		}
		if e.ID == 1 {
			pauseN(t, w.store, 1)
		}
		return nil
	}, nil)
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int64{1, 2, 3, 4, 5}, got); diff != "" {
		t.Error(diff)
	}
}

func TestFollowEndsWhereItIsRefused(t *testing.T) {
	w := serve(t).as(ingestToken)
	err := w.api(t).Follow(t.Context(), admin.EventFilter{}, nil, func(*admin.Event) error { return nil }, nil)
	var refused *admin.ProblemError
	if !errors.As(err, &refused) || refused.Status != 403 {
		t.Errorf("got %v, want a 403", err)
	}
}
