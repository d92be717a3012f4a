package platform_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/platform"
)

// wire is a server below HTTP: what it does with a request is the script's to
// say. It counts what arrives, by method and by connection.
type wire struct {
	listener net.Listener
	work     sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	posts []int // of every POST: the how manieth request on its connection it was
}

// answer says what to write after the nth request of a connection; close ends
// the connection then.
func startWire(t *testing.T, answer func(method string, nth int) (text string, close bool)) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: listener, conns: map[net.Conn]bool{}}
	w.work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			w.mu.Lock()
			w.conns[conn] = true
			w.mu.Unlock()
			w.work.Go(func() { w.serve(conn, answer) })
		}
	})
	t.Cleanup(w.stop)
	return w
}

func (w *wire) stop() {
	_ = w.listener.Close()
	w.mu.Lock()
	for conn := range w.conns {
		_ = conn.Close()
	}
	w.mu.Unlock()
	w.work.Wait()
}

func (w *wire) serve(conn net.Conn, answer func(string, int) (string, bool)) {
	defer func() { _ = conn.Close() }()
	reader := bufio.NewReader(conn)
	for nth := 1; ; nth++ {
		r, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Method == http.MethodPost {
			w.mu.Lock()
			w.posts = append(w.posts, nth)
			w.mu.Unlock()
		}
		text, end := answer(r.Method, nth)
		_, _ = io.WriteString(conn, text)
		if end {
			return
		}
	}
}

func (w *wire) client(t *testing.T, given *http.Client) *platform.Client {
	t.Helper()
	c, err := platform.New(platform.Options{Source: "reno", URL: "http://" + w.listener.Addr().String(), AdminToken: token, OrgID: org, HTTP: given})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (w *wire) arrived() []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.posts
}

func text(status int, body string) string {
	return fmt.Sprintf("HTTP/1.1 %d Word\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
}

// However a call is lost, it arrives once at most, and where the platform may
// have acted the result says so.
func TestALostCallIsUncertainAndNotRepeated(t *testing.T) {
	accepted := `{"status":"provisioning"}`
	for name, row := range map[string]struct {
		answer string
		words  string
	}{
		"cut without an answer":        {"", "no answer: EOF"},
		"cut in the status line":       {"HTTP/1.1 20", "no answer: what came is no HTTP, or was cut short"},
		"cut in the header":            {"HTTP/1.1 200 OK\r\nContent-Len", "no answer: what came is no HTTP, or was cut short"},
		"cut in the body":              {"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n" + accepted, "200, and the answer broke off: unexpected EOF"},
		"a refusal cut in its body":    {"HTTP/1.1 404 Not Found\r\nContent-Length: 90\r\n\r\n", "404, and the answer broke off: unexpected EOF"},
		"no HTTP, and the token in it": {"Bearer " + token + "\r\n\r\n", "no answer: what came is no HTTP, or was cut short"},
	} {
		t.Run(name, func(t *testing.T) {
			w := startWire(t, func(string, int) (string, bool) { return row.answer, true })
			got := platform.NewActor(w.client(t, nil)).Restart(t.Context(), id)
			if got != unknown(row.words) {
				t.Errorf("got %+v, want %+v", got, unknown(row.words))
			}
			if n := len(w.arrived()); n != 1 {
				t.Errorf("arrived %d times", n)
			}
		})
	}
}

// A peer that sends back what it was sent gets the token into no read's error.
func TestAnEchoOfTheTokenIsNotRepeated(t *testing.T) {
	w := startWire(t, func(string, int) (string, bool) { return "Bearer " + token + "\r\n\r\n", true })
	ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond) // less than the pause before another attempt
	defer cancel()
	if got, want := w.client(t, nil).ReadMode(ctx, id), failure("the answer is not HTTP, and holds the admin token"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A connection that a read has left idle may be dead. The call is made on one of
// its own, so that net/http has nothing to repeat and a cut is no riddle.
func TestACallHasAConnectionOfItsOwn(t *testing.T) {
	for name, given := range map[string]*http.Client{
		"ours": nil, "the caller's": {Transport: &http.Transport{}}, "the default": {},
	} {
		t.Run(name, func(t *testing.T) {
			w := startWire(t, func(method string, nth int) (string, bool) {
				if method == http.MethodGet {
					return text(200, good.body), false
				}
				// Whoever comes on a connection that was in use is hung up on.
				if nth > 1 {
					return "", true
				}
				return text(200, `{"status":"provisioning"}`), false
			})
			c := w.client(t, given)
			actor := platform.NewActor(c)
			const rounds = 5
			for range rounds {
				if read := c.ReadMode(t.Context(), id); read != goodMode {
					t.Fatalf("%+v", read)
				}
				if got := actor.Restart(t.Context(), id); got.Result != drift.CallAccepted {
					t.Errorf("%+v", got)
				}
			}
			posts := w.arrived()
			for _, nth := range posts {
				if nth != 1 {
					t.Errorf("a call came as request %d of its connection", nth)
				}
			}
			if len(posts) != rounds {
				t.Errorf("%d calls arrived, want %d", len(posts), rounds)
			}
			if given != nil && given.Transport == nil {
				http.DefaultClient.CloseIdleConnections()
			}
		})
	}
}

// A server that hangs up idle connections at every moment gets each call once.
func TestAServerThatClosesIdleConnections(t *testing.T) {
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			calls.Add(1)
			reply(200, `{"status":"provisioning"}`)(w, r)
			return
		}
		reply(200, good.body)(w, r)
	}))
	defer server.Close()
	c, err := platform.New(platform.Options{URL: server.URL, AdminToken: token, OrgID: org, RequestsPerMinute: 60_000})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	actor := platform.NewActor(c)
	const rounds = 200
	var hangups sync.WaitGroup
	for range rounds {
		c.ReadMode(t.Context(), id)
		hangups.Go(func() { server.Config.SetKeepAlivesEnabled(false); server.Config.SetKeepAlivesEnabled(true) })
		if got := actor.Restart(t.Context(), id); got.Result != drift.CallAccepted {
			t.Fatalf("%+v", got)
		}
	}
	hangups.Wait()
	if n := calls.Load(); n != rounds {
		t.Errorf("%d calls arrived, want %d", n, rounds)
	}
}

// HTTP/2 sends again what a server says it has not looked at; a call does not
// speak it, whatever the reads do.
func TestACallSpeaksHTTP1(t *testing.T) {
	var mu sync.Mutex
	protocols := map[string]string{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		protocols[r.Method] = r.Proto
		mu.Unlock()
		if r.Method == http.MethodPost {
			reply(200, `{"status":"provisioning"}`)(w, r)
			return
		}
		reply(200, good.body)(w, r)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	c, err := platform.New(platform.Options{URL: server.URL, AdminToken: token, OrgID: org, HTTP: server.Client()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if read := c.ReadMode(t.Context(), id); read != goodMode {
		t.Fatalf("%+v", read)
	}
	if got := platform.NewActor(c).Restart(t.Context(), id); got.Result != drift.CallAccepted {
		t.Errorf("%+v", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if protocols["GET"] != "HTTP/2.0" || protocols["POST"] != "HTTP/1.1" {
		t.Errorf("%v", protocols)
	}
}

// Where there was no connection, nothing was done, and that is certain.
func TestACallWithoutAConnectionWasNotMade(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	untrusted := httptest.NewUnstartedServer(reply(200, `{"status":"provisioning"}`))
	untrusted.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	untrusted.StartTLS()
	defer untrusted.Close()
	for name, url := range map[string]string{
		"nobody listens":              "http://" + closed.Addr().String(),
		"a name that nobody has":      "http://platform.invalid",
		"a certificate of nobody's":   untrusted.URL,
		"a server that speaks no TLS": "https" + strings.TrimPrefix(startWire(t, func(string, int) (string, bool) { return "", true }).url(), "http"),
	} {
		c, err := platform.New(platform.Options{URL: url, AdminToken: token, OrgID: org})
		if err != nil {
			t.Fatal(err)
		}
		got := platform.NewActor(c).Restart(t.Context(), id)
		c.Close()
		if got.Result != drift.CallUnavailable || !strings.HasPrefix(got.Words, "not sent: ") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func (w *wire) url() string { return "http://" + w.listener.Addr().String() }

// A transport that is not net/http's own tells nothing of what it sent.
func TestAnErrorOfAnUnknownTransportIsUncertain(t *testing.T) {
	c := memory(t, 0, func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })
	if got := platform.NewActor(c).Restart(t.Context(), id); got != unknown("no answer: unexpected EOF") {
		t.Errorf("%+v", got)
	}
}

// A platform that hangs may be acting: whoever stops waiting does not know.
func TestAHangingCallIsUncertain(t *testing.T) {
	for name, row := range map[string]struct {
		timeout time.Duration // of the http.Client
		cancel  bool          // the caller gives up
		words   string
	}{
		"the caller gives up":  {0, true, "no answer: context canceled"},
		"the time-out is over": {50 * time.Millisecond, false, "no answer: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"},
	} {
		t.Run(name, func(t *testing.T) {
			reached, over := make(chan struct{}), make(chan struct{})
			w := startWire(t, func(string, int) (string, bool) {
				close(reached)
				<-over
				return text(200, `{"status":"provisioning"}`), true
			})
			defer close(over)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if row.cancel {
				go func() {
					<-reached
					cancel()
				}()
			}
			got := platform.NewActor(w.client(t, &http.Client{Timeout: row.timeout, Transport: &http.Transport{}})).Restart(ctx, id)
			if got != unknown(row.words) {
				t.Errorf("got %+v, want %+v", got, unknown(row.words))
			}
		})
	}
}

// A redirect is refused, and neither the token nor the call goes elsewhere.
func TestARestartIsNotRedirected(t *testing.T) {
	var carried atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { carried.Add(1) }))
	defer elsewhere.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		c := client(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, status) })
		got := platform.NewActor(c).Restart(t.Context(), id)
		if want := refused(fmt.Sprintf("%d: redirects are not followed, the token stays here; correct platform.url", status)); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if n := carried.Load(); n != 0 {
		t.Errorf("%d requests were carried on", n)
	}
}

// Each way that a side effect can fail: it was not applied, or it was and the
// answer says otherwise. Both are uncertain, and looking tells them apart.
func TestASideEffectFailsBothWays(t *testing.T) {
	for name, applied := range map[string]bool{"not applied": false, "applied, and reported failed": true} {
		for way, fail := range map[string]http.HandlerFunc{"500": reply(500, ""), "cut": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }} {
			t.Run(name+", "+way, func(t *testing.T) {
				var acted atomic.Int32
				c := client(t, func(w http.ResponseWriter, r *http.Request) {
					if applied {
						acted.Add(1)
					}
					fail(w, r)
				})
				got := platform.NewActor(c).Restart(t.Context(), id)
				if got.Result != drift.CallUncertain || !got.MayHaveActed() {
					t.Errorf("%+v", got)
				}
				if n := acted.Load(); n > 1 {
					t.Errorf("acted %d times", n)
				}
			})
		}
	}
}
