package receive_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// senders gives a directory with the senders of testdata/npm and what they
// need, from npm, kept from run to run.
func senders(t *testing.T) string {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	lock := read(t, "package-lock.json")
	dir := filepath.Join(cache, "billing-reconciler", "senders")
	kept, _ := os.ReadFile(filepath.Join(dir, "installed"))
	if !bytes.Equal(kept, lock) {
		install(t, dir, lock)
	}
	for _, script := range []string{"winston.js", "pino.js"} {
		write(t, filepath.Join(dir, script), read(t, script))
	}
	return dir
}

func install(t *testing.T, dir string, lock []byte) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Skip(err)
	}
	write(t, filepath.Join(dir, "package.json"), read(t, "package.json"))
	write(t, filepath.Join(dir, "package-lock.json"), lock)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=0")
	npm.Dir = dir
	if out, err := npm.CombinedOutput(); err != nil {
		t.Skipf("npm cannot install the senders here: %v\n%s", err, out)
	}
	write(t, filepath.Join(dir, "installed"), lock)
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "npm", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func node(t *testing.T, dir, stdin string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	run := exec.CommandContext(ctx, "node", args...)
	run.Dir, run.Stdin = dir, strings.NewReader(stdin)
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("node %s: %v\n%s", args[0], err, out)
	}
}

// TestNodeSenders: winston-loki, whose batches grow while their answers are
// lost, and pino-loki, which sends once.
func TestNodeSenders(t *testing.T) {
	dir := senders(t)
	t.Run("winston-loki", func(t *testing.T) {
		const total = 4000
		l := newLedger(nil)
		handler, failed := flaky(routes(receiver(l)), 3)
		server := httptest.NewServer(handler)
		defer server.Close()
		node(t, dir, strings.Join(numberedLines(0, total), "\n"), "winston.js", server.URL)
		exact(t, l.by, total)
		t.Logf("%d answers were lost", failed.Load())
		if failed.Load() < 5 {
			t.Errorf("only %d answers failed", failed.Load())
		}
	})
	t.Run("pino-loki", func(t *testing.T) {
		const total = 2000
		l := newLedger(nil)
		server := httptest.NewServer(routes(receiver(l)))
		defer server.Close()
		node(t, dir, "", "pino.js", server.URL, callPath, fmt.Sprint(total))
		exact(t, l.by, total)
	})
}
