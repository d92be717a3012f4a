package receive_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/internal/tcpfault"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog/receive"
)

// house is a server that is killed and begun anew, behind a line that is cut.
type house struct {
	t       testing.TB
	handler func() http.Handler
	addr    string
	mu      sync.Mutex
	server  *http.Server
	ended   chan struct{}
}

func newHouse(t testing.TB, handler func() http.Handler) *house {
	h := &house{t: t, handler: handler, addr: "127.0.0.1:0"}
	h.begin()
	t.Cleanup(h.kill)
	return h
}

func (h *house) begin() {
	var ln net.Listener
	for {
		var err error
		if ln, err = net.Listen("tcp", h.addr); err == nil {
			break
		}
		if h.addr == "127.0.0.1:0" {
			h.t.Error(err)
			return
		}
		time.Sleep(time.Millisecond) // until the kernel has let go of the port
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.addr = ln.Addr().String()
	server, ended := &http.Server{Handler: h.handler()}, make(chan struct{})
	h.server, h.ended = server, ended
	go func() {
		defer close(ended)
		_ = server.Serve(ln)
	}()
}

// kill cuts every connection, whatever is being said on it.
func (h *house) kill() {
	h.mu.Lock()
	server, ended := h.server, h.ended
	h.mu.Unlock()
	_ = server.Close()
	<-ended
}

// nasty is the fate of batches by chance.
func nasty(chance *rand.Rand) func(int) fate {
	var mu sync.Mutex
	return func(int) fate {
		mu.Lock()
		defer mu.Unlock()
		switch chance.IntN(8) {
		case 0, 1:
			return failsBefore
		case 2, 3:
			return failsAfter
		case 4:
			return isBusy
		}
		return counts
	}
}

// deliver sends batches until each was accepted; whatever goes wrong, it sends
// again. It gives how often it had to.
func deliver(t testing.TB, url string, batches []sent, senders int) (again int64) {
	t.Helper()
	var retries atomic.Int64
	work := make(chan sent)
	var running sync.WaitGroup
	for range senders {
		running.Go(func() {
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
			for push := range work {
				for !accepted(t, client, push.request(url)) {
					retries.Add(1)
					time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond) // as senders do, in small
				}
			}
		})
	}
	for _, b := range batches {
		work <- b
	}
	close(work)
	running.Wait()
	return retries.Load()
}

func accepted(t testing.TB, client *http.Client, r *http.Request) bool {
	response, err := client.Do(r)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if response.StatusCode/100 == 4 && response.StatusCode != 429 {
		t.Errorf("%s: got %d %s", r.URL.Path, response.StatusCode, body)
		return true
	}
	return err == nil && response.StatusCode/100 == 2
}

// exact fails where any of n numbered lines was not counted exactly once.
func exact(t testing.TB, by map[netip.Addr]int64, n int) {
	t.Helper()
	wrong := 0
	for i := range n {
		if got := by[address(i)]; got != 1 {
			if wrong++; wrong < 5 {
				t.Errorf("line %d was counted %d times", i, got)
			}
		}
	}
	if len(by) != n || wrong > 0 {
		t.Errorf("%d lines of %d are wrong; %d addresses", wrong, n, len(by))
	}
}

// TestTorture: lines are sent by each form through a server that is killed, a
// line that is cut, and a counter that fails before and after counting.
func TestTorture(t *testing.T) {
	lines, per := 20_000, 100
	if testing.Short() {
		lines = 4_000
	}
	for i, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			l := newLedger(nasty(rand.New(rand.NewPCG(7, uint64(i)))))
			h := newHouse(t, func() http.Handler {
				return routes(receiver(l, func(o *receive.Options) { o.MaxWait = 5 * time.Second }))
			})
			line, err := tcpfault.Open(t.Context(), h.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer line.Close()
			ctx, cancel := context.WithCancel(t.Context())
			kills := make(chan int)
			go func() { kills <- kill(ctx, h, line) }()
			var batches []sent
			for no := range lines / per {
				b := f.make(t, numberedLines(no*per, (no+1)*per), no)
				if no%3 > 0 {
					b = b.maybePacked(t, []string{"gzip", "zstd"}[no%3-1])
				}
				batches = append(batches, b)
			}
			again := deliver(t, "http://"+line.Addr(), batches, 4)
			cancel()
			t.Logf("%d batches, sent again %d times, the counter asked %d times, the server killed %d times", len(batches), again, l.asked, <-kills)
			exact(t, l.by, lines)
			if again == 0 {
				t.Error("nothing went wrong")
			}
		})
	}
}

// kill kills the server and cuts the line in turns, until ctx ends.
func kill(ctx context.Context, h *house, line *tcpfault.Line) (kills int) {
	for ; ; kills++ {
		select {
		case <-ctx.Done():
			return kills
		case <-time.After(time.Duration(10+rand.IntN(30)) * time.Millisecond):
		}
		line.Cut()
		if kills%3 == 0 {
			h.kill()
			h.begin()
		}
	}
}

var _ proxylog.Counter = (*ledger)(nil)
