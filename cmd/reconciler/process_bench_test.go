package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Benchmarks measure the reconciler in processes of their own, so that neither
// the simulated world's memory nor the benchmark's is counted. Such a process
// is this test binary again: a variable says what it is to be.
const (
	simulate  = "RECONCILER_SIMULATE"    // the fleet that a staging says, as JSON
	daemonise = "RECONCILER_BENCHMARKED" // `reconciler run` with that configuration file
)

// child is a process that answers a line of JSON with a line of JSON.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
}

// answerMark is before what is an answer; the testing package prints too.
const answerMark = "@ "

func answerWith(v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	fmt.Println(answerMark + string(text))
}

// apart starts a child that runs one test, and reads its first answer. It ends
// when its input does.
func apart(b *testing.B, test, variable, value string, first any) *child {
	b.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
	p := &child{cmd: exec.CommandContext(ctx, os.Args[0], "-test.run=^"+test+"$", "-test.timeout=0")}
	p.cmd.Env = append(os.Environ(), variable+"="+value)
	p.cmd.Stderr = os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		b.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		p.end()
		cancel()
	})
	p.lines = bufio.NewScanner(out)
	p.lines.Buffer(nil, 16<<20)
	if err := p.read(first); err != nil {
		b.Fatalf("%s: %v", test, err)
	}
	return p
}

// end lets the child go and waits for it. How it ended is no matter: some are
// killed.
func (p *child) end() {
	_ = p.in.Close()
	for p.lines.Scan() {
		if strings.HasPrefix(p.lines.Text(), "---") || strings.HasPrefix(p.lines.Text(), "    ") {
			fmt.Fprintln(os.Stderr, p.lines.Text())
		}
	}
	_ = p.cmd.Wait()
}

func (p *child) read(answer any) error {
	said := ""
	for p.lines.Scan() {
		if text, found := strings.CutPrefix(p.lines.Text(), answerMark); found {
			return json.Unmarshal([]byte(text), answer)
		}
		said += p.lines.Text() + "\n"
	}
	return fmt.Errorf("ended without an answer:\n%s", said)
}

func (p *child) ask(b *testing.B, question, answer any) {
	b.Helper()
	if err := json.NewEncoder(p.in).Encode(question); err != nil {
		b.Fatal(err)
	}
	if err := p.read(answer); err != nil {
		b.Fatal(err)
	}
}

// freeAddress is one that nobody listens on, for a moment at least.
func freeAddress(b *testing.B) string {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// reconfigured writes a copy of a configuration with texts replaced, each of
// which must be there.
func reconfigured(b *testing.B, path string, edits ...string) string {
	b.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(string(text), edits[i]) {
			b.Fatalf("the configuration lacks %q", edits[i])
		}
	}
	copied := filepath.Join(b.TempDir(), "reconciler.yaml")
	if err := os.WriteFile(copied, []byte(strings.NewReplacer(edits...).Replace(string(text))), 0o600); err != nil {
		b.Fatal(err)
	}
	return copied
}

// await waits for a condition, and fails where it does not come.
func await(b *testing.B, what string, atMost time.Duration, holds func() bool) time.Duration {
	b.Helper()
	began := time.Now()
	for !holds() {
		if time.Since(began) > atMost {
			b.Fatalf("%s: not within %s", what, atMost)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(began)
}
