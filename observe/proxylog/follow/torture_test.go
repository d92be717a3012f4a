package follow_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/localpg"
	"github.com/molecule-ai/billing-reconciler/metrics"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog/follow"
	"github.com/molecule-ai/billing-reconciler/store"
	"github.com/molecule-ai/billing-reconciler/traffic"
)

// The environment that makes this test's program the reader that is killed.
const (
	readerLogs     = "FOLLOW_TEST_READER_LOGS"
	readerDatabase = "FOLLOW_TEST_READER_DATABASE"
)

func TestMain(m *testing.M) {
	if os.Getenv(readerLogs) != "" {
		reader(os.Getenv(readerLogs), os.Getenv(readerDatabase))
		return
	}
	goleak.VerifyTestMain(m)
}

// reader is a daemon of nothing but a follower. It ends with whoever started
// it, at the latest.
func reader(logs, database string) {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	for {
		s, err := store.Open(context.Background(), store.Options{URL: drift.Secret(database)})
		if err == nil {
			_ = follow.New(follow.Options{
				Input: input, Host: host, Patterns: []string{logs}, Log: log,
				Counter: traffic.NewCounter(traffic.Options{Store: s, Metrics: metrics.New("test"), Log: log}),
			}).Run(context.Background())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// torture is how much of it.
type torture struct {
	lines    int
	kills    int
	restarts int
	rotate   time.Duration
	alive    time.Duration // how long a reader lives, on average
}

func TestTorture(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	torture{lines: 100_000, kills: 10, restarts: 1, rotate: 100 * time.Millisecond, alive: 500 * time.Millisecond}.run(t)
}

// BenchmarkTorture is the whole of it, once.
func BenchmarkTorture(b *testing.B) {
	for b.Loop() {
		torture{lines: 2_000_000, kills: 100, restarts: 5, rotate: 100 * time.Millisecond, alive: time.Second}.run(b)
	}
}

// run has a writer write numbered lines into files that are rotated, half by
// renaming and half by copying and truncating, and a reader read them that is
// killed and whose database is restarted: every line is counted once.
func (o torture) run(t testing.TB) {
	home, err := os.MkdirTemp("", "torture-") // the database's user may go there
	check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	check(t, os.Chmod(home, 0o755))
	logs := t.TempDir()
	db := &restartable{t: t, options: localpg.Options{Dir: filepath.Join(home, "pg"), Port: freePort(t)}}
	db.start()
	defer db.stop()
	s, err := store.Open(t.Context(), store.Options{URL: drift.Secret(db.url())})
	check(t, err)
	_, err = s.Migrate(t.Context())
	check(t, err)
	s.Close()

	begin := time.Now()
	w := &rotatingWriter{dir: logs, lines: o.lines, rotate: o.rotate, pace: time.Duration(o.kills) * o.alive * 9 / 10}
	written := make(chan error, 1)
	go func() { written <- w.run() }()
	kills, restarts := o.abuse(t, filepath.Join(logs, "access.log*"), db)
	check(t, <-written)
	wrote := time.Since(begin)

	last := startReader(t, filepath.Join(logs, "access.log*"), db.url())
	defer last.kill()
	o.await(t, db.url(), last)
	t.Logf("%d lines (%d MB) in %d rotations, %d kills, %d restarts of the database: written in %.1f s, counted once each in %.1f s, %d MB resident at the end", o.lines, w.bytes>>20, w.rotations, kills, restarts, wrote.Seconds(), time.Since(begin).Seconds(), last.resident(t)>>20)
	if b, ok := t.(*testing.B); ok {
		b.ReportMetric(float64(w.rotations), "rotations")
		b.ReportMetric(float64(o.lines), "lines")
		b.ReportMetric(float64(last.resident(t)>>20), "resident-MB")
	}
}

// abuse kills readers and restarts the database.
func (o torture) abuse(t testing.TB, pattern string, db *restartable) (kills, restarts int) {
	r := rand.New(rand.NewPCG(1, 2))
	for ; kills < o.kills; kills++ {
		rd := startReader(t, pattern, db.url())
		life := time.Duration(float64(o.alive) * (0.3 + 1.4*r.Float64()))
		if kills*(o.restarts+1)/o.kills > restarts {
			time.Sleep(life / 2)
			db.stop()
			db.start()
			restarts++
		}
		time.Sleep(life)
		rd.kill()
	}
	for ; restarts < o.restarts; restarts++ {
		db.stop()
		db.start()
	}
	return kills, restarts
}

// await waits until every line is counted, and holds that each was once.
func (o torture) await(t testing.TB, url string, rd *process) {
	t.Helper()
	var c *pgx.Conn
	var lines, rows, billed, most, unread int64
	var first, final netip.Addr
	for end := time.Now().Add(5 * time.Minute); lines < int64(o.lines); {
		if time.Now().After(end) {
			t.Fatalf("%d lines of %d are counted after five minutes; the reader says:\n%s", lines, o.lines, rd.out.tail())
		}
		time.Sleep(50 * time.Millisecond)
		var err error
		if c == nil {
			if c, err = pgx.Connect(t.Context(), url); err != nil {
				c = nil
				continue
			}
		}
		if err := c.QueryRow(t.Context(), "SELECT coalesce(sum(lines), 0)::bigint, coalesce(sum(unread), 0)::bigint FROM inputs").Scan(&lines, &unread); err != nil {
			t.Fatal(err)
		}
	}
	defer c.Close(context.Background())
	check(t, c.QueryRow(t.Context(), "SELECT count(*), sum(billed)::bigint, max(billed), host(min(address))::inet, host(max(address))::inet FROM traffic").Scan(&rows, &billed, &most, &first, &final))
	type result struct {
		lines, unread, rows, billed, most int64
		first, final                      netip.Addr
	}
	n := int64(o.lines)
	got, want := result{lines, unread, rows, billed, most, first, final}, result{n, 0, n, n, 1, address(1), address(o.lines)}
	if got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

// rotatingWriter writes lines over pace, with cuts in the middle of lines, and
// rotates in between.
type rotatingWriter struct {
	dir       string
	lines     int
	rotate    time.Duration
	pace      time.Duration
	rotations int
	bytes     int64
}

func (w *rotatingWriter) path() string { return filepath.Join(w.dir, "access.log") }

func (w *rotatingWriter) run() error {
	f, err := w.open()
	if err != nil {
		return err
	}
	b := bufio.NewWriterSize(f, 4096)
	begin, next := time.Now(), time.Now().Add(w.rotate)
	at := begin.UTC().Format("02/Jan/2006:15:04:05 +0000")
	for n := 1; n <= w.lines; n++ {
		k, err := fmt.Fprintf(b, "%s - - [%s] \"POST /internal/llm/anthropic/v1/messages HTTP/1.1\" 200 512 \"-\" \"x\"\n", address(n), at)
		if err != nil {
			return err
		}
		w.bytes += int64(k)
		if n%64 != 0 {
			continue
		}
		if due := begin.Add(w.pace * time.Duration(n) / time.Duration(w.lines)); time.Until(due) > 0 {
			time.Sleep(time.Until(due))
		}
		if time.Now().Before(next) {
			continue
		}
		next = time.Now().Add(w.rotate)
		if f, err = w.rotateNow(f, b); err != nil {
			return err
		}
	}
	return errors.Join(b.Flush(), f.Close())
}

func (w *rotatingWriter) open() (*os.File, error) {
	return os.OpenFile(w.path(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
}

func (w *rotatingWriter) rotateNow(f *os.File, b *bufio.Writer) (*os.File, error) {
	w.rotations++
	to := fmt.Sprintf("%s.%06d", w.path(), w.rotations)
	if w.rotations%2 == 0 { // between lines: else that style loses some by itself
		if err := b.Flush(); err != nil {
			return nil, err
		}
		text, err := os.ReadFile(w.path())
		if err != nil {
			return nil, err
		}
		return f, errors.Join(os.WriteFile(to, text, 0o644), f.Truncate(0))
	}
	if err := os.Rename(w.path(), to); err != nil {
		return nil, err
	}
	if err := errors.Join(b.Flush(), f.Close()); err != nil { // into the renamed one
		return nil, err
	}
	f, err := w.open()
	b.Reset(f)
	return f, err
}

// process is a reader.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	out   *tail
}

func startReader(t testing.TB, pattern, url string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0]), out: &tail{}}
	p.cmd.Env = append(os.Environ(), readerLogs+"="+pattern, readerDatabase+"="+url)
	p.cmd.Stderr = p.out
	var err error
	p.stdin, err = p.cmd.StdinPipe()
	check(t, err)
	check(t, p.cmd.Start())
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	_ = p.stdin.Close()
}

// resident is the memory that the process takes, in bytes; 0: it is not told.
func (p *process) resident(t testing.TB) int64 {
	t.Helper()
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	var size, resident int64
	_, _ = fmt.Sscan(string(b), &size, &resident)
	return resident * int64(os.Getpagesize())
}

// tail keeps the end of what is written.
type tail struct{ b atomic.Pointer[[]byte] }

func (o *tail) Write(p []byte) (int, error) {
	var b []byte
	if old := o.b.Load(); old != nil {
		b = *old
	}
	b = append(bytes.Clone(b[max(0, len(b)-4000):]), p...)
	o.b.Store(&b)
	return len(p), nil
}

func (o *tail) tail() string {
	if b := o.b.Load(); b != nil {
		return string(*b)
	}
	return ""
}

// restartable is a database that is stopped and started.
type restartable struct {
	t       testing.TB
	options localpg.Options
	server  *localpg.Server
}

func (d *restartable) start() {
	d.t.Helper()
	var err error
	d.server, err = localpg.Start(d.t.Context(), d.options)
	check(d.t, err)
}

func (d *restartable) stop() {
	d.t.Helper()
	check(d.t, d.server.Stop())
}

func (d *restartable) url() string { return d.server.URL("") }

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
