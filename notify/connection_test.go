package notify_test

import (
	"context"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
)

// hole is a line to a server whose connections can be made to swallow all that
// comes, as one whose other end is gone without a word.
type hole struct {
	net.Listener
	mu    sync.Mutex
	conns []*swallower
	all   sync.WaitGroup
}

type swallower struct {
	net.Conn // to the server
	mu       sync.Mutex
	dead     bool
}

func (s *swallower) Write(said []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return len(said), nil
	}
	return s.Conn.Write(said)
}

func newHole(t *testing.T, to string) *hole {
	t.Helper()
	h := &hole{Listener: must(net.Listen("tcp", "127.0.0.1:0"))(t)}
	t.Cleanup(h.all.Wait)
	t.Cleanup(func() { _ = h.Close() })
	h.all.Go(func() {
		for {
			near, err := h.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				return
			}
			s := &swallower{Conn: far}
			h.mu.Lock()
			h.conns = append(h.conns, s)
			h.mu.Unlock()
			h.all.Go(func() { h.carry(s, near); _ = far.Close() })
			h.all.Go(func() { h.carry(near, far); _ = near.Close() })
		}
	})
	return h
}

func (h *hole) carry(to, from net.Conn) {
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// swallow makes all connections that there are dead.
func (h *hole) swallow() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.conns {
		s.mu.Lock()
		s.dead = true
		s.mu.Unlock()
	}
}

// A connection of HTTP/2 is dead without a word: once a message has had no answer
// the next ones go over another.
func TestADeadConnectionIsNotUsedAgain(t *testing.T) {
	if runtime.GOOS == "darwin" || runtime.GOOS == "windows" {
		t.Skip("the system's certificates cannot be others for a test")
	}
	var mu sync.Mutex
	var spoken []string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		spoken = append(spoken, q.Proto)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	trusted := filepath.Join(t.TempDir(), "certificate")
	if err := os.WriteFile(trusted, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", trusted)
	h := newHole(t, server.Listener.Addr().String())
	w := webhook(t, to("https://"+h.Addr().String()), "")
	post := func(within time.Duration) error {
		ctx, stop := context.WithTimeout(t.Context(), within)
		defer stop()
		return w.Post(ctx, origin, one)
	}
	if err := post(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	h.swallow()
	if err := post(200 * time.Millisecond); err == nil {
		t.Fatal("the connection is not dead")
	}
	var err error
	for range 10 { // the end of a request is noticed a moment later
		if err = post(500 * time.Millisecond); err == nil {
			break
		}
	}
	if err != nil {
		t.Errorf("over the dead one again and again: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(spoken) == 0 || spoken[0] != "HTTP/2.0" {
		t.Errorf("spoken was %v", spoken)
	}
}
