package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// gauge is what is asked of a daemon's process.
type gauge struct {
	Collect bool // the garbage first
	Reset   bool // count the peak anew
}

// gauged is how it stands.
type gauged struct {
	HeapMB, PeakMB float64 // allocated; most that was resident
	Goroutines     int
	CPU            float64 // seconds
}

// TestBenchmarkedDaemon is no test: it is `reconciler run`, in a process that
// tells of itself what the program does not.
func TestBenchmarkedDaemon(t *testing.T) {
	path, asked := os.LookupEnv(daemonise)
	if !asked {
		t.Skip("run by benchmarks")
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	log, err := os.Create(path + ".log")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	go func() { ended <- run(ctx, []string{"run"}, simulated(path), io.Discard, log) }()
	answerWith(struct{}{})
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var g gauge
		if err := json.Unmarshal(lines.Bytes(), &g); err != nil {
			t.Fatal(err)
		}
		answerWith(g.take())
	}
	stop()
	if code := <-ended; code != exitOK {
		t.Errorf("exit %d", code)
	}
}

func (g *gauge) take() gauged {
	if g.Collect {
		runtime.GC()
		runtime.GC() // what has a finalizer goes with the second
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	now := gauged{HeapMB: float64(m.HeapAlloc) / 1e6, PeakMB: peak(), Goroutines: runtime.NumGoroutine(),
		CPU: time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()}
	if g.Reset {
		_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o600) // where Linux lets us
	}
	return now
}

// launch starts a daemon in a process of its own.
func launch(b *testing.B, config string) *child {
	b.Helper()
	b.Cleanup(func() {
		if log, err := os.ReadFile(config + ".log"); err == nil && b.Failed() {
			b.Logf("the end of the daemon's log:\n%s", log[max(0, len(log)-4000):])
		}
	})
	var ready struct{}
	return apart(b, "TestBenchmarkedDaemon", daemonise, config, &ready)
}

func measure(b *testing.B, daemon *child, g gauge) (now gauged) {
	b.Helper()
	daemon.ask(b, g, &now)
	return now
}

// onlooker is the name of the benchmark's own connections to the state database,
// which are not counted as the daemon's.
const onlooker = "benchmark"

func look(b *testing.B, url string) *pgx.Conn {
	b.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		b.Fatal(err)
	}
	config.RuntimeParams["application_name"] = onlooker
	conn, err := pgx.ConnectConfig(b.Context(), config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// value asks the database for one value.
func value[T any](b *testing.B, conn *pgx.Conn, sql string, args ...any) (v T) {
	b.Helper()
	if err := conn.QueryRow(b.Context(), sql, args...).Scan(&v); err != nil {
		b.Fatalf("%s: %v", sql, err)
	}
	return v
}

// series is one of the daemon's metrics, with its labels as `name=value`.
type series struct {
	metric string
	labels []string
	value  float64
}

// scraped is all of them.
type scraped []series

// scrape reads the daemon's metrics; nil: it does not answer.
func scrape(b *testing.B, listen string) (all scraped) {
	b.Helper()
	answer, err := http.Get("http://" + listen + "/metrics")
	if err != nil {
		return nil
	}
	defer func() { _ = answer.Body.Close() }()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	if err != nil {
		b.Fatal(err)
	}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			s := series{metric: name, value: m.GetCounter().GetValue() + m.GetGauge().GetValue()}
			for _, l := range m.GetLabel() {
				s.labels = append(s.labels, l.GetName()+"="+l.GetValue())
			}
			all = append(all, s)
		}
	}
	return all
}

// sum adds the series of a metric that have all of the labels.
func (all scraped) sum(metric string, labels ...string) (total float64) {
	for _, s := range all {
		if s.metric == metric && !slices.ContainsFunc(labels, func(l string) bool { return !slices.Contains(s.labels, l) }) {
			total += s.value
		}
	}
	return total
}

// daemonConfig is the fleet's configuration with another listener and, where
// SSM is not paced, as little waiting as there may be.
func daemonConfig(b *testing.B, fleet *staged, listen string, edits ...string) string {
	b.Helper()
	at := strings.Index(read(b, fleet.Config), "admin: {listen: ")
	old := strings.SplitAfter(read(b, fleet.Config)[at:], "}")[0]
	return reconfigured(b, fleet.Config, append([]string{old, `admin: {listen: "` + listen + `"}`}, edits...)...)
}

func read(b *testing.B, path string) string {
	b.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	return string(text)
}

// Waiting that only AWS's limits call for.
var unhurried = []string{"ssm: {endpoint", "ssm: {rate: 1000, gather: 0s, endpoint"}
