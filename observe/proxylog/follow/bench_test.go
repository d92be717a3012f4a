package follow_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog/follow"
)

// adder is a Counter that counts nothing but lines.
type adder struct {
	sync.Mutex
	lines, batches int64
	wanted         int64
	done           chan struct{}
	arrived        func(*proxylog.Batch)
}

func (a *adder) Positions(context.Context, string, string) ([]proxylog.Position, error) {
	return nil, nil
}
func (a *adder) State(context.Context, string, error) error { return nil }
func (a *adder) Count(_ context.Context, b *proxylog.Batch) error {
	a.Lock()
	defer a.Unlock()
	a.lines += b.Tally.Lines
	a.batches++
	if a.arrived != nil {
		a.arrived(b)
	}
	if a.lines == a.wanted {
		close(a.done)
	}
	return nil
}

// bigLog writes a log of about size bytes of 1,000 addresses, and tells its
// bytes and lines.
func bigLog(b *testing.B, path string, size int64, zip bool) (bytesWritten, lines int64) {
	b.Helper()
	var block bytes.Buffer
	for n := range 10_000 {
		fmt.Fprintf(&block, "10.0.%d.%d - - [28/May/2026:18:%02d:%02d +0000] \"POST /internal/llm/anthropic/v1/messages HTTP/1.1\" 200 512 \"-\" \"anthropic-sdk/1.2.3\"\n", n%1000>>8, n%1000&255, n/60%60, n%60)
	}
	f, err := os.Create(path)
	check(b, err)
	w := bufio.NewWriterSize(f, 1<<20)
	write := w.Write
	z := gzip.NewWriter(w)
	if zip {
		write = z.Write
	}
	for bytesWritten < size {
		n, err := write(block.Bytes())
		check(b, err)
		bytesWritten, lines = bytesWritten+int64(n), lines+10_000
	}
	if zip {
		check(b, z.Close())
	}
	check(b, w.Flush())
	check(b, f.Close())
	return bytesWritten, lines
}

// BenchmarkBacklog reads a log that was there before, with a Counter that takes
// no time: 1 GiB, or its compressed form.
func BenchmarkBacklog(b *testing.B) {
	for name, zip := range map[string]bool{"plain": false, "gzip": true} {
		b.Run(name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "access.log")
			size, lines := bigLog(b, path, 1<<30, zip)
			old := time.Now().Add(-time.Hour)
			check(b, os.Chtimes(path, old, old))
			runtime.GC()
			b.SetBytes(size)
			for b.Loop() {
				a := &adder{wanted: lines, done: make(chan struct{})}
				ctx, cancel := context.WithCancel(b.Context())
				ended := make(chan error, 1)
				go func() {
					ended <- follow.New(follow.Options{Input: input, Host: host, Patterns: []string{path}, Counter: a}).Run(ctx)
				}()
				<-a.done
				cancel()
				check(b, <-ended)
			}
			b.ReportMetric(float64(peak())/(1<<20), "peak-resident-MB")
		})
	}
}

// peak is the most memory that this process has had, in bytes; 0: not told.
func peak() int64 {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range bytes.Lines(status) {
		if after, ok := bytes.CutPrefix(line, []byte("VmHWM:")); ok {
			kb, _ := strconv.ParseInt(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(after), []byte("kB")))), 10, 64)
			return kb << 10
		}
	}
	return 0
}

// BenchmarkALiveLine takes the time from writing a line to having it given to
// be counted, where nothing else is written: most of it is Flush.
func BenchmarkALiveLine(b *testing.B) {
	dir := b.TempDir()
	arrived := make(chan struct{}, 1)
	a := &adder{arrived: func(batch *proxylog.Batch) {
		if batch.Tally.Lines > 0 {
			arrived <- struct{}{}
		}
	}, wanted: -1}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- follow.New(follow.Options{Input: input, Host: host, Patterns: []string{filepath.Join(dir, "access.log*")}, Counter: a}).Run(ctx)
	}()
	f, err := os.OpenFile(filepath.Join(dir, "access.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	check(b, err)
	defer f.Close()
	n := 0
	for b.Loop() {
		n++
		_, err := f.WriteString(line(n))
		check(b, err)
		<-arrived
	}
	cancel()
	check(b, <-ended)
}
