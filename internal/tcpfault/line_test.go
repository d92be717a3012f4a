package tcpfault_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/molecule-ai/billing-reconciler/internal/tcpfault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers each line with itself, and notes what it heard.
type echo struct {
	listener net.Listener
	mu       sync.Mutex
	heard    []string
}

func newEcho(t *testing.T) *echo {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{listener: listener}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			work.Go(func() { e.serve(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		work.Wait()
	})
	return e
}

func (e *echo) serve(conn net.Conn) {
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		e.mu.Lock()
		e.heard = append(e.heard, lines.Text())
		e.mu.Unlock()
		if _, err := fmt.Fprintln(conn, lines.Text()); err != nil {
			return
		}
	}
}

func (e *echo) hears(t *testing.T, words string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		e.mu.Lock()
		heard := strings.Contains(strings.Join(e.heard, "\n"), words)
		e.mu.Unlock()
		if heard {
			return
		}
	}
	t.Errorf("the server never heard %q", words)
}

func open(t *testing.T, to string) *tcpfault.Line {
	t.Helper()
	line, err := tcpfault.Open(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := line.Close(); err != nil {
			t.Error(err)
		}
	})
	return line
}

// client is somebody at the near end.
type client struct {
	net.Conn
	answers *bufio.Reader
}

func connect(t *testing.T, line *tcpfault.Line) *client {
	t.Helper()
	conn, err := net.Dial("tcp", line.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{conn, bufio.NewReader(conn)}
}

// says gives the answer; "": the connection is broken, or silent for patience.
func (c *client) says(words string, patience time.Duration) string {
	if _, err := fmt.Fprintln(c, words); err != nil {
		return ""
	}
	return c.hears(patience)
}

func (c *client) hears(patience time.Duration) string {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	answer, _ := c.answers.ReadString('\n')
	return strings.TrimSuffix(answer, "\n")
}

const (
	long  = 10 * time.Second
	short = 50 * time.Millisecond
)

func TestCarriesBothWays(t *testing.T) {
	line := open(t, newEcho(t).listener.Addr().String())
	c := connect(t, line)
	words := strings.Repeat("x", 50_000)
	if got := c.says(words, long); got != words {
		t.Errorf("%d bytes came back, want %d", len(got), len(words))
	}
	if got := line.Connections(); got != 1 {
		t.Errorf("connections %d, want 1", got)
	}
}

func TestCutBreaksOffWhatThereIsAndTakesNew(t *testing.T) {
	line := open(t, newEcho(t).listener.Addr().String())
	c := connect(t, line)
	c.says("hello", long)
	line.Cut()
	if got := c.hears(long); got != "" {
		t.Errorf("heard %q over a line that was cut", got)
	}
	if got := connect(t, line).says("again", long); got != "again" {
		t.Errorf("a new connection answers %q", got)
	}
}

func TestRefusedConnectionsEndAtOnceAndOthersGoOn(t *testing.T) {
	line := open(t, newEcho(t).listener.Addr().String())
	before := connect(t, line)
	before.says("hello", long)
	line.Refuse(true)
	if got := connect(t, line).says("hello", long); got != "" {
		t.Errorf("a refused connection answers %q", got)
	}
	if got := before.says("still", long); got != "still" {
		t.Errorf("the older connection answers %q", got)
	}
	line.Refuse(false)
	if got := connect(t, line).says("hello", long); got != "hello" {
		t.Errorf("after refusing: %q", got)
	}
}

func TestStalledWordsArriveLater(t *testing.T) {
	line := open(t, newEcho(t).listener.Addr().String())
	c := connect(t, line)
	line.Stall(true)
	if got := c.says("late", short); got != "" {
		t.Errorf("%q came through a stalled line", got)
	}
	line.Stall(false)
	if got := c.hears(long); got != "late" {
		t.Errorf("heard %q once the line flows, want late", got)
	}
}

func TestClosingEndsAStalledLine(t *testing.T) {
	line := open(t, newEcho(t).listener.Addr().String())
	line.Stall(true)
	connect(t, line).says("never", short)
	if err := line.Close(); err != nil { // waits; goleak sees what is left
		t.Error(err)
	}
}

func TestLateWordsTakeTheDelayBothWays(t *testing.T) {
	line := open(t, newEcho(t).listener.Addr().String())
	c := connect(t, line)
	line.Delay(30 * time.Millisecond)
	begun := time.Now()
	if got := c.says("slow", long); got != "slow" || time.Since(begun) < 60*time.Millisecond {
		t.Errorf("%q after %s, want it after 60ms", got, time.Since(begun))
	}
}

func TestRuleBreaksOffAtAWord(t *testing.T) {
	for name, row := range map[string]struct {
		fate  tcpfault.Fate
		heard bool
	}{"lost before it arrives": {tcpfault.Lost, false}, "arrived, but unheard": {tcpfault.Unheard, true}} {
		t.Run(name, func(t *testing.T) {
			server := newEcho(t)
			line := open(t, server.listener.Addr().String())
			line.Obey(func(connection int, said []byte) tcpfault.Fate {
				if connection == 1 && bytes.Contains(said, []byte("commit")) {
					return row.fate
				}
				return tcpfault.Carried
			})
			c := connect(t, line)
			if got := c.says("begin", long); got != "begin" {
				t.Errorf("before the word: %q", got)
			}
			if got := c.says("commit", long); got != "" {
				t.Errorf("the word is answered with %q", got)
			}
			if row.heard {
				server.hears(t, "commit")
			}
			if got := connect(t, line).says("commit", long); got != "commit" {
				t.Errorf("another connection, which the rule leaves alone: %q", got)
			}
			server.mu.Lock()
			defer server.mu.Unlock()
			if got := strings.Count(strings.Join(server.heard, "\n"), "commit"); got != 1+map[bool]int{true: 1}[row.heard] {
				t.Errorf("the server heard commit %d times", got)
			}
		})
	}
}

func TestNobodyBehindTheLineIsACutConnection(t *testing.T) {
	server := newEcho(t)
	line := open(t, server.listener.Addr().String())
	server.listener.Close()
	if got := connect(t, line).says("hello", long); got != "" {
		t.Errorf("heard %q from nobody", got)
	}
}
