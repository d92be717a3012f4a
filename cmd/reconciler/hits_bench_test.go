package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// The goals: 1.5 GB/s of combined lines and 0.75 GB/s of JSON lines, on one core
// and a warm cache; no more than 4 and 8 times the time of a loop that only
// finds newlines in the same file; at most 32 MB resident. Half of the lines are
// calls, 5,000 addresses, as long as those of a real proxy.
//
// The program, a loop of newlines and mawk take turns over a log of 1 GiB (64 MiB
// with -short), and the best time of each counts: on a machine that others use
// too, that is the one that can be compared. GoAccess, which is slow, has one
// turn, over 64 MiB. It reads all that a line holds and mawk hardly anything: they show what
// people have at hand, not who is better.
func BenchmarkHitsCombined(b *testing.B) { benchHits(b, combinedLine, mawkCombined, goaccess) }
func BenchmarkHitsJSON(b *testing.B)     { benchHits(b, jsonLine, mawkJSON, nil) }

// Counting by hand, as people do it: without statuses, spellings and times.
const (
	mawkCombined = `/POST [^ ]*\/internal\/llm\/anthropic\/v1\/messages[? ]/ { n[$1]++ } END { for (a in n) print a, n[a] }`
	mawkJSON     = `/"POST".*\/internal\/llm\/anthropic\/v1\/messages["?]/ { match($0, /"remote_ip":"[^"]*/); n[substr($0, RSTART, RLENGTH)]++ } END { for (a in n) print a, n[a] }`
)

// goaccess are its arguments. The last field of our lines is none of its own.
var goaccess = []string{"--no-global-config", "--no-progress", "--log-format", `%h %^[%d:%t %^] "%r" %s %b "%R" "%u" %^`, "--date-format", "%d/%b/%Y", "--time-format", "%T", "-o", "json"}

func benchHits(b *testing.B, write func(*bytes.Buffer, call), mawk string, others []string) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	program := built(b)
	goal := int64(1 << 30)
	if testing.Short() {
		goal = 64 << 20
	}
	name, size := benchLog(b, write, goal)
	b.SetBytes(size)
	var hits, cpu, newlines, byMawk time.Duration
	peak := 0.0
	for b.Loop() {
		used := measured(b, program, "hits", "--by", "ip", name)
		shorter(&hits, used.wall)
		shorter(&cpu, used.cpu)
		peak = max(peak, used.peakMB)
		shorter(&newlines, timed(func() { findNewlines(b, name) }))
		if path, err := exec.LookPath("mawk"); err == nil {
			shorter(&byMawk, measured(b, path, mawk, name).wall)
		}
	}
	speed := func(d time.Duration) float64 { return float64(size) / d.Seconds() / 1e9 }
	b.ReportMetric(speed(hits), "hits-GB/s")
	b.ReportMetric(speed(cpu), "cpu-GB/s")
	b.ReportMetric(speed(newlines), "newlines-GB/s")
	b.ReportMetric(hits.Seconds()/newlines.Seconds(), "ratio")
	b.ReportMetric(peak, "peak-MB")
	if byMawk > 0 {
		b.ReportMetric(speed(byMawk), "mawk-GB/s")
	} else {
		b.Log("without mawk, which is not installed here")
	}
	if others == nil {
		return
	}
	if path, err := exec.LookPath("goaccess"); err != nil {
		b.Logf("without goaccess: %v", err)
	} else {
		name, size = benchLog(b, write, 64<<20)
		b.ReportMetric(speed(measured(b, path, append([]string{name}, others...)...).wall), "goaccess-GB/s")
	}
}

// built builds the program: a test's own binary is bigger.
func built(b *testing.B) string {
	b.Helper()
	name := filepath.Join(b.TempDir(), "reconciler")
	out, err := exec.CommandContext(b.Context(), "go", "build", "-o", name, ".").CombinedOutput() // #nosec G204 -- a benchmark's own
	if err != nil {
		b.Skipf("no program to measure: %v\n%s", err, out)
	}
	return name
}

type usage struct {
	wall, cpu time.Duration
	peakMB    float64
}

// measured runs a program on one core's worth of threads. Its peak is looked at
// while it runs: what the kernel tells afterwards has its parent's in it.
func measured(b *testing.B, program string, args ...string) (used usage) {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), program, args...) // #nosec G204 -- a benchmark's own
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	var said bytes.Buffer
	cmd.Stderr = &said
	began := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			used.peakMB = max(used.peakMB, peakOf(cmd.Process.Pid))
		case err := <-ended:
			if err != nil {
				b.Fatalf("%s: %v: %s", program, err, said.String())
			}
			used.wall = time.Since(began)
			used.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
			return used
		}
	}
}

// peakOf is the most that was resident of a process, in MB; 0: it has ended.
func peakOf(pid int) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(status, []byte("VmHWM:"))
	var kilobytes float64
	if _, err := fmt.Sscanf(string(rest), "%f kB", &kilobytes); err != nil {
		return 0
	}
	return kilobytes * 1024 / 1e6
}

func findNewlines(b *testing.B, name string) {
	b.Helper()
	f, err := os.Open(name) // #nosec G304 -- the benchmark's own log
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	buf := make([]byte, 256<<10)
	for lines := 0; ; {
		n, err := f.Read(buf)
		for rest := buf[:n]; ; lines++ {
			i := bytes.IndexByte(rest, '\n')
			if i < 0 {
				break
			}
			rest = rest[i+1:]
		}
		if err == io.EOF && lines > 0 {
			return
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func timed(do func()) time.Duration {
	began := time.Now()
	do()
	return time.Since(began)
}

func shorter(so *time.Duration, d time.Duration) {
	if *so == 0 || d < *so {
		*so = d
	}
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
func benchLog(b *testing.B, write func(*bytes.Buffer, call), goal int64) (name string, size int64) {
	b.Helper()
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
