package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/admin"
)

// A daemon of the tests ends with the test process, however that ends: it has a
// pipe whose other end nobody else holds.
const leash = "RECONCILER_TEST_LEASH"

func init() {
	if os.Getenv(leash) == "" {
		return
	}
	pipe := os.NewFile(3, "leash")
	go func() {
		_, _ = pipe.Read(make([]byte, 1))
		os.Exit(exitFailed)
	}()
}

// replica is one daemon, a process of its own.
type replica struct {
	*watched
	cmd    *exec.Cmd
	config string        // its file
	log    string        // the file that its stderr is
	over   chan struct{} // closed when it has ended
	held   *os.File      // the end of its leash
	at     string        // where it serves; "": its log says so
}

// start runs a daemon, and does not wait for it.
func (w *watched) start() *replica {
	w.t.Helper()
	return w.startWith(nil)
}

// startWith runs a daemon whose stderr is a given file; nil: one of its own.
func (w *watched) startWith(stderr *os.File) *replica {
	w.t.Helper()
	w.runs++
	dir := w.t.TempDir()
	p := &replica{watched: w, config: filepath.Join(dir, "reconciler.yaml"), log: filepath.Join(dir, "stderr"), over: make(chan struct{})}
	p.rewrite(w.text)
	if stderr == nil {
		var err error
		if stderr, err = os.Create(p.log); err != nil {
			w.t.Fatal(err)
		}
		defer stderr.Close()
	}
	near, far, err := os.Pipe()
	if err != nil {
		w.t.Fatal(err)
	}
	defer near.Close()
	p.held = far
	p.cmd = exec.Command(w.program, "run", "--config", p.config)
	p.cmd.Stderr, p.cmd.ExtraFiles = stderr, []*os.File{near}
	p.cmd.Env = append(os.Environ(), leash+"=1", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "GORACE=halt_on_error=1")
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		defer close(p.over)
		_ = p.cmd.Wait()
	}()
	w.t.Cleanup(p.end)
	return p
}

// end makes sure that the process is gone, and that it was not a race that
// ended it.
func (p *replica) end() {
	_ = p.cmd.Process.Kill()
	<-p.over
	_ = p.held.Close()
	log := p.said()
	if strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic:") {
		p.t.Errorf("the daemon broke:\n%.4000s", log)
	}
	if p.t.Failed() {
		p.t.Logf("the log of daemon %d ends:\n%s", p.pid(), log[max(0, len(log)-3000):])
	}
}

// rewrite replaces the configuration at once, as an editor does.
func (p *replica) rewrite(text string) {
	p.t.Helper()
	replaceFile(p.t, p.config, text)
}

func replaceFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func (p *replica) pid() int { return p.cmd.Process.Pid }

func (p *replica) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// kill ends it at once, as the kernel does when memory is short.
func (p *replica) kill() {
	_ = p.cmd.Process.Kill() // it may have been killed already
	<-p.over
}

// stop ends it in good order.
func (p *replica) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.over:
	case <-time.After(patience):
		p.t.Fatal("the daemon does not end at SIGTERM")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != exitOK {
		p.t.Errorf("exit %d at SIGTERM, want %d", code, exitOK)
	}
}

func (p *replica) said() string {
	text, _ := os.ReadFile(p.log) // none: its stderr is another
	return string(text)
}

// says waits for words in the log.
func (p *replica) says(words string) {
	p.t.Helper()
	if !awaits(patience, func() bool { return strings.Contains(p.said(), words) }) {
		p.t.Fatalf("the log does not say %q", words)
	}
}

var listening = regexp.MustCompile(`msg=starting .*listen=(\S+)`)

// url is where it serves, once it does.
func (p *replica) url() string {
	p.t.Helper()
	if p.at != "" {
		return p.at
	}
	if !awaits(patience, func() bool {
		if found := listening.FindStringSubmatch(p.said()); found != nil {
			p.at = "http://" + found[1]
		}
		return p.at != ""
	}) {
		p.t.Fatal("the daemon does not start")
	}
	return p.at
}

var probing = &http.Client{Timeout: 10 * time.Second}

// get asks the daemon; status 0: no answer.
func (p *replica) get(path string) (status int, body string) {
	p.t.Helper()
	answer, err := probing.Get(p.url() + path)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, string(text)
}

// ready waits until it has its database and nothing else is wrong than that
// its passes may be late: on a busy machine those of one second are.
func (p *replica) ready() *replica {
	p.t.Helper()
	var body string
	if !awaits(patience, func() bool {
		var status int
		status, body = p.get("/readyz")
		return status == http.StatusOK || status == http.StatusServiceUnavailable && onlyLate(body)
	}) {
		p.t.Fatalf("not ready: %s", body)
	}
	return p
}

func onlyLate(body string) bool {
	var health struct{ Problems []string }
	if json.Unmarshal([]byte(body), &health) != nil || len(health.Problems) == 0 {
		return false
	}
	return !slices.ContainsFunc(health.Problems, func(problem string) bool { return !strings.HasPrefix(problem, "source ") })
}

// metric gives the value of a series, written as /metrics writes it, and the
// sum of all whose name and labels begin so; false: there is none.
func (p *replica) metric(series string) (sum float64, found bool) {
	p.t.Helper()
	_, body := p.get("/metrics")
	for line := range strings.Lines(body) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || !strings.HasPrefix(name, series) {
			continue
		}
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			sum, found = sum+n, true
		}
	}
	return sum, found
}

// shows waits until a metric has a value.
func (p *replica) shows(series string, want float64) {
	p.t.Helper()
	var got float64
	if !awaits(patience, func() bool {
		var found bool
		got, found = p.metric(series)
		return found && got == want
	}) {
		p.t.Fatalf("%s is %v, want %v", series, got, want)
	}
}

func (p *replica) status() *admin.Status {
	p.t.Helper()
	code, body := p.get("/api/v1/status")
	var s admin.Status
	if err := json.Unmarshal([]byte(body), &s); err != nil || code != http.StatusOK {
		p.t.Fatalf("status: %d %v %.500s", code, err, body)
	}
	return &s
}

// types runs the program against the daemon, as somebody types it.
func (p *replica) types(args ...string) string {
	p.t.Helper()
	var out, talk bytes.Buffer
	code := run(p.t.Context(), append(args, "--server", p.url()), os.LookupEnv, &out, &talk)
	if code != exitOK {
		p.t.Fatalf("%v: exit %d: %s", args, code, talk.String())
	}
	return out.String()
}

// leases gives the names that it holds the lease of, the fleet's among them.
func (p *replica) leases() []string {
	return p.strings("SELECT l.source FROM leases l JOIN replicas r ON r.id = l.holder WHERE r.name LIKE '%/' || $1 ORDER BY 1", fmt.Sprint(p.pid()))
}
