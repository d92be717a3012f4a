package fleetsim

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"time"
)

// AccessLog is the log of the LLM proxy as nginx writes it (combined).
type AccessLog struct {
	mu     sync.Mutex
	file   *os.File
	random *rand.Rand
}

// OpenAccessLog appends to a log, which is made where there is none.
func OpenAccessLog(path string, seed uint64) (*AccessLog, error) {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600) // #nosec G304 -- the caller's own path
	if err != nil {
		return nil, fmt.Errorf("open the proxy log: %w", err)
	}
	return &AccessLog{file: file, random: rand.New(rand.NewPCG(seed, 1))}, nil // #nosec G404 -- traffic, not secrets
}

// Close closes the file.
func (l *AccessLog) Close() error { return l.file.Close() }

// Paths that clients call at the proxy.
const (
	pathMessages  = "/api/v1/internal/llm/anthropic/v1/messages"
	pathTokens    = "/api/v1/internal/llm/anthropic/v1/messages/count_tokens"
	pathResponses = "/api/v1/internal/llm/openai/v1/responses"
)

// Call writes a billable call of an address: the anthropic operation, or the
// openai one.
func (l *AccessLog) Call(at time.Time, from netip.Addr, anthropic bool, status int) error {
	path := pathResponses
	if anthropic {
		path = pathMessages + "?beta=true"
	}
	return l.line(at, from, "POST "+path, status)
}

// Noise writes what stands between the calls: health checks, free counts,
// pages, and a caller whose name looks like a call.
func (l *AccessLog) Noise(at time.Time, from netip.Addr) error {
	l.mu.Lock()
	n := l.random.IntN(4)
	l.mu.Unlock()
	switch n {
	case 0:
		return l.line(at, from, "POST "+pathTokens, 200)
	case 1:
		return l.line(at, from, "GET "+pathMessages, 405)
	case 2:
		return l.line(at, from, "GET /healthz", 200)
	}
	return l.line(at, from, "GET /?next=POST+"+pathMessages, 200)
}

func (l *AccessLog) line(at time.Time, from netip.Addr, request string, status int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := fmt.Fprintf(l.file, "%s - - [%s] \"%s HTTP/1.1\" %d %d \"-\" \"agent/1.0 (POST %s)\"\n",
		from, at.UTC().Format("02/Jan/2006:15:04:05 -0700"), request, status, 200+l.random.IntN(9000), pathMessages)
	if err != nil {
		return fmt.Errorf("write the proxy log: %w", err)
	}
	return nil
}
