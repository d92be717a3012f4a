package follow_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog/follow"
)

const input, host = "proxy", "host-1"

// address is that of the n-th line, by which it is known.
func address(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}

// line is the n-th line.
func line(n int) string {
	return fmt.Sprintf("%s - - [28/May/2026:18:%02d:%02d +0000] \"POST /internal/llm/anthropic/v1/messages HTTP/1.1\" 200 512 \"-\" \"x\"\n", address(n), n/60%60, n%60)
}

func text(from, to int) string {
	var b strings.Builder
	for n := from; n <= to; n++ {
		b.WriteString(line(n))
	}
	return b.String()
}

// ledger is a Counter in memory that does all that a database may do to one.
type ledger struct {
	sync.Mutex
	positions map[string]proxylog.Position
	counts    map[netip.Addr]int64
	lines     int64
	unread    int64
	batches   int
	state     error
	states    int
	fault     func() fault // nil: none
}

type fault int

const (
	none fault = iota
	before
	after
	moved
	busy
	slow
)

var errBroken = errors.New("the connection is broken")

func newLedger() *ledger {
	return &ledger{positions: map[string]proxylog.Position{}, counts: map[netip.Addr]int64{}}
}

func (l *ledger) next() fault {
	l.Lock()
	defer l.Unlock()
	if l.fault == nil {
		return none
	}
	return l.fault()
}

func (l *ledger) Positions(_ context.Context, in, prefix string) ([]proxylog.Position, error) {
	if l.next() == before {
		return nil, errBroken
	}
	l.Lock()
	defer l.Unlock()
	var list []proxylog.Position
	for key, p := range l.positions {
		if in == input && strings.HasPrefix(key, prefix) {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b proxylog.Position) int { return strings.Compare(a.Key, b.Key) })
	return list, nil
}

func (l *ledger) Count(ctx context.Context, b *proxylog.Batch) error {
	f := l.next()
	switch f {
	case before:
		return errBroken
	case busy:
		return proxylog.ErrBusy
	case moved:
		return fmt.Errorf("%w (for a test)", proxylog.ErrMoved)
	case slow:
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	l.Lock()
	defer l.Unlock()
	if err := l.move(b.Moves); err != nil {
		return err
	}
	for _, g := range b.Tally.Groups() {
		l.counts[g.Address] += g.Billed
	}
	l.lines += b.Tally.Lines
	l.unread += b.Tally.NotUnderstood
	l.batches++
	if f == after {
		return errBroken
	}
	return nil
}

func (l *ledger) move(moves []proxylog.Move) error {
	for _, m := range moves {
		p, ok := l.positions[m.Key]
		if !strings.HasPrefix(m.Key, host+"/") || ok != (m.From != proxylog.NoPosition) || (ok && p.Offset != m.From) {
			return fmt.Errorf("%w: %s", proxylog.ErrMoved, m.Key)
		}
	}
	for _, m := range moves {
		if m.To == proxylog.NoPosition {
			delete(l.positions, m.Key)
		} else {
			l.positions[m.Key] = proxylog.Position{Key: m.Key, Offset: m.To, Detail: m.Detail}
		}
	}
	return nil
}

func (l *ledger) State(_ context.Context, _ string, err error) error {
	l.Lock()
	defer l.Unlock()
	l.state = err
	l.states++
	return nil
}

// wrong tells what is not as if each of the lines from..to were counted once
// and nothing else.
func (l *ledger) wrong(from, to int) string {
	l.Lock()
	defer l.Unlock()
	if len(l.counts) < to-from+1 {
		return fmt.Sprintf("%d different lines are counted, want %d", len(l.counts), to-from+1)
	}
	for n := from; n <= to; n++ {
		if got := l.counts[address(n)]; got != 1 {
			return fmt.Sprintf("line %d was counted %d times (%d lines of %d)", n, got, l.lines, to-from+1)
		}
	}
	if len(l.counts) != to-from+1 {
		return fmt.Sprintf("%d different lines were counted, want %d", len(l.counts), to-from+1)
	}
	return ""
}

// place is a directory of logs, with somebody who follows them.
type place struct {
	t       *testing.T
	dir     string
	ledger  *ledger
	options follow.Options
	prepare func(*follow.Follower)

	running *follow.Follower
	stop    func()
}

func newPlace(t *testing.T) *place {
	dir := t.TempDir()
	p := &place{t: t, dir: dir, ledger: newLedger()}
	p.options = follow.Options{
		Input: input, Host: host, Patterns: []string{filepath.Join(dir, "access.log*")}, Counter: p.ledger, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Poll: 10 * time.Millisecond, Flush: time.Millisecond, Quiet: 60 * time.Millisecond, Settle: 200 * time.Millisecond,
	}
	t.Cleanup(func() {
		if p.stop != nil {
			p.stop()
		}
	})
	return p
}

func (p *place) start() {
	p.t.Helper()
	f := follow.New(p.options)
	if p.prepare != nil {
		p.prepare(f)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	p.running = f
	p.stop = func() {
		p.stop = nil
		cancel()
		if err := <-done; err != nil {
			p.t.Errorf("Run: %v, want nil when the context ends", err)
		}
	}
}

func (p *place) restart() { p.stop(); p.start() }

func (p *place) path(name string) string { return filepath.Join(p.dir, name) }

func (p *place) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) append(name, s string) {
	p.t.Helper()
	f, err := os.OpenFile(p.path(name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	p.must(err)
	_, err = f.WriteString(s)
	p.must(errors.Join(err, f.Close()))
}

func (p *place) rename(from, to string) { p.t.Helper(); p.must(os.Rename(p.path(from), p.path(to))) }
func (p *place) remove(name string)     { p.t.Helper(); p.must(os.Remove(p.path(name))) }

func (p *place) truncate(name string, size int64) {
	p.t.Helper()
	p.must(os.Truncate(p.path(name), size))
}

func (p *place) copy(from, to string) {
	p.t.Helper()
	b, err := os.ReadFile(p.path(from))
	p.must(err)
	p.must(os.WriteFile(p.path(to), b, 0o644))
}

func (p *place) copyTruncate(from, to string) {
	p.t.Helper()
	p.copy(from, to)
	p.truncate(from, 0)
}

// pack compresses a file and removes it, as logrotate does.
func (p *place) pack(name, ending string) {
	p.t.Helper()
	b, err := os.ReadFile(p.path(name))
	p.must(err)
	p.must(os.WriteFile(p.path(name+ending), packed(b, ending), 0o644))
	p.remove(name)
}

func packed(b []byte, ending string) []byte {
	var out bytes.Buffer
	if ending == ".zst" {
		z, _ := zstd.NewWriter(&out)
		z.Write(b)
		z.Close()
	} else {
		z := gzip.NewWriter(&out)
		z.Write(b)
		z.Close()
	}
	return out.Bytes()
}

const patience = 30 * time.Second

func (p *place) until(what string, ok func() bool) {
	p.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("not within %v: %s\n%s", patience, what, p.describe())
		}
	}
}

func (p *place) describe() string {
	dump := ""
	if p.stop != nil {
		p.stop()
		dump = p.running.Dump()
	}
	p.ledger.Lock()
	defer p.ledger.Unlock()
	out := fmt.Sprintf("state: %v\n", p.ledger.state)
	for k, pos := range p.ledger.positions {
		out += fmt.Sprintf("%s %d %s\n", k, pos.Offset, pos.Detail)
	}
	return out + dump
}

// counted waits until exactly the lines 1..n are counted.
func (p *place) counted(n int) {
	p.t.Helper()
	last := ""
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if last = p.ledger.wrong(1, n); last == "" {
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("not within %v: %s\n%s", patience, last, p.describe())
		}
	}
}

// looked waits until the files have been looked at several times more.
func (p *place) looked() {
	p.t.Helper()
	time.Sleep(12 * p.options.Poll) // nothing is told of a look that finds nothing
}
