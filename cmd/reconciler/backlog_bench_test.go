package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/metrics"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog/follow"
	"github.com/molecule-ai/billing-reconciler/store/storetest"
	"github.com/molecule-ai/billing-reconciler/traffic"
)

const (
	backlogBytes = 1 << 30
	addresses    = 1000 // in each minute; 743 minutes make 743,000 address-minutes
	minutes      = 743
)

// writeBacklog writes a gibibyte of combined log: half LLM calls, half ordinary
// requests, every address in every minute.
func writeBacklog(b *testing.B, path string) (calls int) {
	b.Helper()
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	w := bufio.NewWriterSize(f, 1<<20)
	begin := time.Now().UTC().Truncate(time.Minute).Add(-minutes * time.Minute)
	written := 0
	line := func(at time.Time, a int, request string) {
		n, _ := fmt.Fprintf(w, "198.18.%d.%d - - [%s] \"%s HTTP/1.1\" 200 %d \"-\" \"claude-cli/2.1.4 (external, cli) node/22.11.0 linux x86_64\" rt=1.372 uct=0.001 urt=1.371\n",
			a/256, a%256, at.Format("02/Jan/2006:15:04:05 -0700"), request, 1200+a)
		written += n
	}
	rounds := 0
	for m := range minutes {
		for k := 0; int64(written) < int64(backlogBytes)/minutes*int64(m+1) || k == 0; k++ {
			at := begin.Add(time.Duration(m)*time.Minute + time.Duration(k*7%60)*time.Second)
			for a := range addresses {
				line(at, a, "POST /api/v1/internal/llm/anthropic/v1/messages?beta=true")
				line(at, a, "GET /api/v1/workspaces/status?since=1748458931&verbose=true")
			}
			rounds++
		}
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	return rounds * addresses
}

// BenchmarkBacklogIntoPostgreSQL is a gibibyte of log that nobody has read, from the file into
// PostgreSQL: followed, parsed, tallied, attributed and written.
func BenchmarkBacklogIntoPostgreSQL(b *testing.B) {
	if testing.Short() {
		b.Skip("writes a gibibyte")
	}
	path := filepath.Join(b.TempDir(), "access.log")
	calls := writeBacklog(b, path)
	for b.Loop() {
		b.StopTimer()
		s := storetest.Open(b, storetest.Database(b), b.Name())
		c := traffic.NewCounter(traffic.Options{Store: s, Metrics: metrics.New("test")})
		f := follow.New(follow.Options{Input: "file", Host: "here", Patterns: []string{path}, Format: proxylog.Auto, From: follow.Beginning, Counter: c})
		ctx, stop := context.WithCancel(b.Context())
		done := make(chan error, 1)
		b.StartTimer()
		go func() { done <- f.Run(ctx) }()
		var billed int64
		took := await(b, "every call to be counted", 2*time.Minute, func() bool {
			time.Sleep(20 * time.Millisecond)
			inputs, err := s.Inputs(b.Context())
			if err != nil || len(inputs) == 0 {
				return false
			}
			return inputs[0].Lines == int64(2*calls)
		})
		b.StopTimer()
		all, _, err := s.Strays(b.Context(), 24*time.Hour, 1)
		if billed = all.Billed; err != nil || billed != int64(calls) {
			b.Errorf("%d billed, want %d (%v)", billed, calls, err)
		}
		stop()
		if err := <-done; err != nil {
			b.Error(err)
		}
		b.ReportMetric(took.Seconds(), "s/GiB")
		b.StartTimer()
	}
	b.ReportMetric(addresses*minutes, "address-minutes")
}
