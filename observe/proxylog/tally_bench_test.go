package proxylog_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// BenchmarkTally feeds 1 GiB of combined log, 64 KiB at a time, which comes to
// 743,000 groups of an address and a minute, and lists them in their order. The
// text is made as it goes (outside of the time), so that it takes no memory.
func BenchmarkTally(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	options := &proxylog.TallyOptions{}
	var least, listing time.Duration
	var fed, groups, lines int64
	for b.Loop() {
		tally, p, text := proxylog.NewTally(options), proxylog.NewParser(proxylog.Auto), newGibibyte()
		var took time.Duration
		fed = 0
		for fed < 1<<30 {
			chunk := text.next()
			began := time.Now()
			if n := tally.Feed(p, chunk); n != len(chunk) {
				b.Fatalf("%d of %d bytes fed", n, len(chunk))
			}
			took += time.Since(began)
			fed += int64(len(chunk))
		}
		began := time.Now()
		list := tally.Groups()
		keepLeast(&listing, time.Since(began))
		keepLeast(&least, took+time.Since(began))
		if groups, lines = int64(len(list)), tally.Lines; tally.NotUnderstood > 0 {
			b.Fatalf("%d lines not understood", tally.NotUnderstood)
		}
	}
	b.ReportMetric(least.Seconds(), "s/GiB")
	b.ReportMetric(listing.Seconds(), "s/listing")
	b.ReportMetric(float64(groups), "groups")
	b.ReportMetric(float64(fed)/float64(lines), "B/line")
}

// gibibyte makes text of which a gibibyte holds some 743,000 address-minutes:
// half of the lines are calls, of 2,160 addresses, each of one kind of call.
type gibibyte struct {
	r      *rand.Rand
	minute time.Time
	buf    bytes.Buffer
	parts  [][]byte // of the minute, a second each, the first one last
}

const (
	minuteAddresses = 2160
	minuteLines     = 14_400
)

func newGibibyte() *gibibyte {
	return &gibibyte{r: rand.New(rand.NewPCG(17, 18)), minute: time.Date(2026, 5, 28, 0, 0, 0, 0, time.UTC)}
}

// next gives whole lines, some 64 KiB of them, valid until the next call.
func (g *gibibyte) next() []byte {
	g.buf.Reset()
	for g.buf.Len() < 64<<10 {
		if len(g.parts) == 0 {
			g.fill()
		}
		part := g.parts[len(g.parts)-1]
		g.parts = g.parts[:len(g.parts)-1]
		g.buf.Write(part)
	}
	return g.buf.Bytes()
}

// fill makes a minute's lines.
func (g *gibibyte) fill() {
	g.minute = g.minute.Add(time.Minute)
	for second := 59; second >= 0; second-- {
		var out bytes.Buffer
		at := g.minute.Add(time.Duration(second) * time.Second)
		for range minuteLines / 60 {
			n := g.r.IntN(minuteAddresses)
			l := benchLine{
				at: at, ip: fmt.Sprintf("10.%d.%d.%d", n>>10&3, n>>5&31+1, n&31+100), size: g.r.IntN(100_000),
				method: "GET", target: fmt.Sprintf("/workspaces/%d/files?limit=50", g.r.IntN(1e6)), status: "200",
				ua: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0 Safari/537.36",
			}
			if g.r.IntN(2) == 0 {
				t := benchTargets[n%len(benchTargets)] // what an address calls, it goes on calling
				l.method, l.target, l.status, l.ua = t.method, t.target, t.status, "claude-cli/2.0.14 (external, sdk-ts)"
			}
			writeCombined(&out, l)
		}
		g.parts = append(g.parts, out.Bytes())
	}
}

// BenchmarkGzip reads a packed log as a backfill does: unpacked, cut, parsed and
// tallied on one core.
func BenchmarkGzip(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	text := benchLines(writeCombined)
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(text); err != nil {
		b.Fatal(err)
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	var least, unpacking time.Duration
	for b.Loop() {
		tally := proxylog.NewTally(&proxylog.TallyOptions{})
		began := time.Now()
		if _, err := proxylog.ReadStream(b.Context(), "packed", bytes.NewReader(packed.Bytes()), proxylog.ReadOptions{}, tally.Add); err != nil {
			b.Fatal(err)
		}
		read := time.Now()
		keepLeast(&least, read.Sub(began))
		r, err := gzip.NewReader(bytes.NewReader(packed.Bytes()))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			b.Fatal(err)
		}
		keepLeast(&unpacking, time.Since(read))
		if tally.Len() == 0 {
			b.Fatal("nothing tallied")
		}
	}
	b.ReportMetric(float64(len(text))/least.Seconds()/1e6, "text-MB/s")
	b.ReportMetric(float64(len(text))/unpacking.Seconds()/1e6, "unpacking-MB/s")
	b.ReportMetric(float64(len(text))/float64(packed.Len()), "packed")
}
