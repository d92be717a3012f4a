package proxylog_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// The mix of lines: half are LLM calls (80% messages, the rest spread over the
// other operations and count_tokens), half ordinary GETs; 5,000 addresses,
// about 100 lines a second. Lines have the lengths of real ones (a Node SDK's
// user agent, nginx' "main" fields).
const (
	benchAddresses = 5000
	benchTile      = 16 << 20 // generated; repeated up to the file's size
)

var benchTargets = []struct{ method, target, status string }{
	{"POST", "/api/v1/internal/llm/anthropic/v1/messages?beta=true", "200"},
	{"POST", "/api/v1/internal/llm/anthropic/v1/messages", "200"},
	{"POST", "/api/v1/internal/llm/anthropic/v1/messages", "429"},
	{"POST", "/api/v1/internal/llm/anthropic/v1/messages?beta=true", "200"},
	{"POST", "/api/v1/internal/llm/anthropic/v1/messages?beta=true", "200"},
	{"POST", "/api/v1/internal/llm/anthropic/v1/messages?beta=true", "200"},
	{"POST", "/api/v1/internal/llm/anthropic/v1/messages?beta=true", "499"},
	{"POST", "/api/v1/internal/llm/openai/v1/chat/completions", "200"},
	{"POST", "/api/v1/internal/llm/openai/v1/responses", "200"},
	{"POST", "/api/v1/internal/llm/anthropic/v1/messages/count_tokens?beta=true", "200"},
}

// benchLine is what both generators write in their own form.
type benchLine struct {
	at                     time.Time
	ip, method, target, ua string
	status                 string
	size                   int
}

func benchLines(write func(*bytes.Buffer, benchLine)) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	at := time.Date(2026, 5, 28, 0, 0, 0, 0, time.UTC)
	var buf bytes.Buffer
	for buf.Len() < benchTile {
		n := r.IntN(benchAddresses)
		l := benchLine{
			at: at, ip: fmt.Sprintf("10.%d.%d.%d", n>>10&3, n>>5&31+1, n&31+100), size: r.IntN(100_000),
			method: "GET", target: "/workspaces/" + strconv.Itoa(r.IntN(1e6)) + "/files?limit=50", status: "200",
			ua: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0 Safari/537.36",
		}
		if r.IntN(2) == 0 {
			t := benchTargets[r.IntN(len(benchTargets))]
			l.method, l.target, l.status = t.method, t.target, t.status
			l.ua = "claude-cli/2.0.14 (external, sdk-ts)"
		}
		write(&buf, l)
		at = at.Add(time.Duration(r.IntN(20)) * time.Millisecond)
	}
	return buf.Bytes()
}

func writeCombined(b *bytes.Buffer, l benchLine) {
	fmt.Fprintf(b, "%s - - [%s] \"%s %s HTTP/1.1\" %s %d \"-\" \"%s\" \"-\"\n",
		l.ip, l.at.Format("02/Jan/2006:15:04:05 -0700"), l.method, l.target, l.status, l.size, l.ua)
}

func writeJSON(b *bytes.Buffer, l benchLine) {
	fmt.Fprintf(b, `{"time":"%s","remote_ip":"%s","method":"%s","path":"%s","proto":"HTTP/1.1","status":%s,"bytes":%d,"duration_ms":%d.5,"user_agent":"%s","request_id":"%032x"}`+"\n",
		l.at.Format("2006-01-02T15:04:05.000Z07:00"), l.ip, l.method, l.target, l.status, l.size, l.size%9000, l.ua, l.size)
}

func writeCaddy(b *bytes.Buffer, l benchLine) {
	fmt.Fprintf(b, `{"level":"info","ts":%.6f,"logger":"http.log.access","msg":"handled request","request":{"remote_ip":"%s","remote_port":"51512","client_ip":"%s","proto":"HTTP/2.0","method":"%s","host":"api.example.com","uri":"%s","headers":{"User-Agent":["%s"],"Content-Type":["application/json"]}},"bytes_read":811,"user_id":"","duration":1.25,"size":%d,"status":%s,"resp_headers":{"Server":["Caddy"]}}`+"\n",
		float64(l.at.UnixMicro())/1e6, l.ip, l.ip, l.method, l.target, l.ua, l.size, l.status)
}

// benchFile writes a file of BENCH_MIB (256 unless told) of repeated lines.
func benchFile(b *testing.B, write func(*bytes.Buffer, benchLine)) (name string, size int64) {
	b.Helper()
	mib := 256
	if s := os.Getenv("BENCH_MIB"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			b.Fatal(err)
		}
		mib = n
	}
	tile := benchLines(write)
	name = filepath.Join(b.TempDir(), "access.log")
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	for size < int64(mib)<<20 {
		n, err := f.Write(tile)
		if err != nil {
			b.Fatal(err)
		}
		size += int64(n)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	b.Logf("%d MiB, %d bytes a line", size>>20, len(tile)/bytes.Count(tile, []byte("\n")))
	return name, size
}

// benchCount counts a file's calls, in turn with a loop that reads the file and
// finds its newlines. Best are the best times of each: other work on the machine
// comes and goes.
func benchCount(b *testing.B, format proxylog.Format, write func(*bytes.Buffer, benchLine)) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	name, size := benchFile(b, write)
	b.Run("hits", func(b *testing.B) {
		b.SetBytes(size)
		var counting, finding time.Duration
		for b.Loop() {
			began := time.Now()
			report, err := proxylog.Count(context.Background(), []string{name}, proxylog.CountOptions{
				ReadOptions: proxylog.ReadOptions{Format: format},
			})
			counted := time.Now()
			if err != nil || report.Stats.NotUnderstood > 0 || report.Stats.Calls == 0 {
				b.Fatalf("%+v, %v", report.Stats, err)
			}
			newlines(b, name)
			keepLeast(&counting, counted.Sub(began))
			keepLeast(&finding, time.Since(counted))
		}
		b.ReportMetric(float64(size)/counting.Seconds()/1e9, "hits-GB/s")
		b.ReportMetric(float64(size)/finding.Seconds()/1e9, "newlines-GB/s")
		b.ReportMetric(counting.Seconds()/finding.Seconds(), "ratio")
	})
	b.Run("mawk", func(b *testing.B) { benchMawk(b, name, size) })
}

// newlines reads a file and finds its newlines: what reading costs at least.
func newlines(b *testing.B, name string) {
	b.Helper()
	f, err := os.Open(name)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	buf := make([]byte, 256<<10)
	lines := 0
	for {
		n, err := f.Read(buf)
		for rest := buf[:n]; ; lines++ {
			i := bytes.IndexByte(rest, '\n')
			if i < 0 {
				break
			}
			rest = rest[i+1:]
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// benchMawk does the same job, without its exactness, as people do it by hand.
func benchMawk(b *testing.B, name string, size int64) {
	mawk, err := exec.LookPath("mawk")
	if err != nil {
		b.Logf("no mawk here: %v", err)
		return
	}
	program := `/POST [^ ]*\/internal\/llm\/anthropic\/v1\/messages[? ]/ { n[$1]++ } END { for (a in n) print a, n[a] }`
	b.SetBytes(size)
	for b.Loop() {
		if err := exec.Command(mawk, program, name).Run(); err != nil { // #nosec G204 -- a benchmark's own program
			b.Fatal(err)
		}
	}
}

func BenchmarkCombined(b *testing.B) { benchCount(b, proxylog.Auto, writeCombined) }
func BenchmarkJSON(b *testing.B)     { benchCount(b, proxylog.Auto, writeJSON) }
func BenchmarkCaddy(b *testing.B)    { benchCount(b, proxylog.Auto, writeCaddy) }
