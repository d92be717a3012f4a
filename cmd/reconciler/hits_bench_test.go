package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// The goals: 1.0 GB/s of combined lines and 0.6 GB/s of JSON lines, on one core
// and a warm cache. Half of the lines are calls, 5,000 addresses, as long as
// those of a real proxy.
func BenchmarkHitsCombined(b *testing.B) { benchHits(b, combinedLine) }
func BenchmarkHitsJSON(b *testing.B)     { benchHits(b, jsonLine) }

// benchHits runs the whole command on a log of 1 GiB, or 64 MiB with -short.
// cpu-MB/s goes by processor time: the figure to compare where other programs
// use the machine too.
func benchHits(b *testing.B, write func(*bytes.Buffer, call)) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	name, size := benchLog(b, write)
	b.SetBytes(size)
	before := processorTime(b)
	for b.Loop() {
		var said bytes.Buffer
		if code := run(context.Background(), []string{"hits", "--by", "ip", name}, none, io.Discard, &said); code != exitOK {
			b.Fatalf("exit status %d: %s", code, said.String())
		}
	}
	used := processorTime(b) - before
	b.ReportMetric(float64(size)*float64(b.N)/used.Seconds()/1e6, "cpu-MB/s")
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchLog writes a log by repeating 16 MiB of lines, and leaves it in the
// cache.
func benchLog(b *testing.B, write func(*bytes.Buffer, call)) (name string, size int64) {
	b.Helper()
	goal := int64(1 << 30)
	if testing.Short() {
		goal = 64 << 20
	}
	tile := benchCalls(write)
	name = filepath.Join(b.TempDir(), "access.log")
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	for size < goal {
		n, err := f.Write(tile)
		if err != nil {
			b.Fatal(err)
		}
		size += int64(n)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	return name, size
}

// call is what a line tells, in whatever form.
type call struct {
	at                   time.Time
	ip, method, path, ua string
	status, size         int
}

var benchPaths = []string{"/messages", "/messages?beta=true", "/messages?beta=true", "/messages/count_tokens?beta=true"}

func benchCalls(write func(*bytes.Buffer, call)) []byte {
	r := rand.New(rand.NewPCG(1, 2)) // #nosec G404 -- the same lines every time
	at := time.Date(2026, 5, 28, 0, 0, 0, 0, time.UTC)
	var out bytes.Buffer
	for out.Len() < 16<<20 {
		n := r.IntN(5000)
		c := call{at: at, ip: fmt.Sprintf("10.%d.%d.%d", n>>10, n>>5&31, 100+n&31), method: "GET", size: r.IntN(100_000), status: 200,
			path: fmt.Sprintf("/workspaces/%d/files?limit=50", r.IntN(1e6)), ua: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0"}
		if r.IntN(2) == 0 {
			c.method, c.path, c.ua = "POST", "/api/v1/internal/llm/anthropic/v1"+benchPaths[r.IntN(len(benchPaths))], "claude-cli/2.0.14 (external, sdk-ts)"
			c.status = []int{200, 200, 200, 200, 429, 499}[r.IntN(6)]
		}
		write(&out, c)
		at = at.Add(time.Duration(r.IntN(20)) * time.Millisecond)
	}
	return out.Bytes()
}

func combinedLine(out *bytes.Buffer, c call) {
	_, _ = fmt.Fprintf(out, "%s - - [%s] \"%s %s HTTP/1.1\" %d %d \"-\" \"%s\" \"-\"\n",
		c.ip, c.at.Format("02/Jan/2006:15:04:05 -0700"), c.method, c.path, c.status, c.size, c.ua)
}

func jsonLine(out *bytes.Buffer, c call) {
	_, _ = fmt.Fprintf(out, `{"time":"%s","remote_ip":"%s","method":"%s","path":"%s","proto":"HTTP/1.1","status":%d,"bytes":%d,"user_agent":"%s","request_id":"%032x"}`+"\n",
		c.at.Format("2006-01-02T15:04:05.000Z07:00"), c.ip, c.method, c.path, c.status, c.size, c.ua, c.size)
}
