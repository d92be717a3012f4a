package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// none is an environment without a variable.
func none(string) (string, bool) { return "", false }

// runHits runs the command and gives what it printed.
func runHits(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, said bytes.Buffer
	code = run(t.Context(), append([]string{"hits"}, args...), none, &out, &said)
	return code, out.String(), said.String()
}

const billedLine = `10.0.0.7 - - [28/May/2026:18:31:00 +0000] "POST /api/v1/internal/llm/anthropic/v1/messages HTTP/1.1" 200 5 "-" "x"` + "\n"

func TestHitsUnpacks(t *testing.T) {
	dir := t.TempDir()
	for name, pack := range map[string]func(io.Writer) io.WriteCloser{
		"access.log.gz": func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"access.log.1": func(w io.Writer) io.WriteCloser { // packed, though its name does not say so
			z, err := zstd.NewWriter(w)
			if err != nil {
				t.Fatal(err)
			}
			return z
		},
	} {
		var text bytes.Buffer
		w := pack(&text)
		if _, err := io.WriteString(w, strings.Repeat(billedLine, 1000)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, got, _ := runHits(t, "-o", "csv", filepath.Join(dir, "*"))
	if want := "ip,billed,rejected\n10.0.0.7,2000,0\n"; code != exitOK || got != want {
		t.Errorf("exit status %d, %q, want 0, %q", code, got, want)
	}
}

// TestHitsKeepsCutFile: a packed file that ends too early is counted as far as
// it goes, and fails the exit status.
func TestHitsKeepsCutFile(t *testing.T) {
	var text bytes.Buffer
	w := gzip.NewWriter(&text)
	for range 2 {
		if _, err := io.WriteString(w, strings.Repeat(billedLine, 1000)); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(t.TempDir(), "cut.gz")
	if err := os.WriteFile(name, text.Bytes(), 0o600); err != nil { // without the end that Close writes
		t.Fatal(err)
	}
	code, got, said := runHits(t, "-o", "csv", name)
	if want := "ip,billed,rejected\n10.0.0.7,2000,0\n"; code != exitFailed || got != want || !strings.Contains(said, name) {
		t.Errorf("exit status %d, %q, %q, want 1, %q and the file's name", code, got, said, want)
	}
}

func TestMoment(t *testing.T) {
	now := time.Date(2026, 5, 28, 18, 31, 54, 0, time.UTC)
	for _, row := range []struct{ name, text, want string }{
		{"nothing is no limit", "", "0001-01-01T00:00:00Z"},
		{"a time", "2026-05-28T10:00:00Z", "2026-05-28T10:00:00Z"},
		{"a time in another zone", "2026-05-28T10:00:00+02:00", "2026-05-28T08:00:00Z"},
		{"a time with a fraction", "2026-05-28T10:00:00.25Z", "2026-05-28T10:00:00.25Z"},
		{"a date is its first moment", "2026-05-28", "2026-05-28T00:00:00Z"},
		{"how long ago", "2h", "2026-05-28T16:31:54Z"},
		{"days ago", "1d12h", "2026-05-27T06:31:54Z"},
		{"a time without a zone is nobody's", "2026-05-28T10:00:00", "refused"},
		{"the future is not so long ago", "-2h", "refused"},
		{"a number without a unit", "5", "refused"},
		{"a day that is not in the calendar", "2026-02-30", "refused"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := "refused"
			if at, err := moment(row.text, now); err == nil {
				got = at.UTC().Format(time.RFC3339Nano)
			}
			if got != row.want {
				t.Errorf("moment(%q) = %s, want %s", row.text, got, row.want)
			}
		})
	}
}

// TestInterruptible: whoever waits for lines that never come can leave.
func TestInterruptible(t *testing.T) {
	silent, writer := io.Pipe()
	defer func() { _ = writer.Close() }() // ends the read that is left behind
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := interruptible(ctx, silent).Read(make([]byte, 1))
		done <- err
	}()
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("still waiting for lines")
	}
}

func TestHitsInterrupted(t *testing.T) {
	name := filepath.Join(t.TempDir(), "access.log")
	if err := os.WriteFile(name, []byte(billedLine), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, said bytes.Buffer
	if got := run(ctx, []string{"hits", name}, none, &out, &said); got != exitCanceled || out.Len() > 0 {
		t.Errorf("exit status %d, %q, want %d and nothing printed", got, out.String(), exitCanceled)
	}
}

// full is a disk without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestHitsTellsThatItCouldNotWrite(t *testing.T) {
	name := filepath.Join(t.TempDir(), "access.log")
	if err := os.WriteFile(name, []byte(billedLine), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"table", "json", "csv", "yaml"} {
		var said bytes.Buffer
		code := run(t.Context(), []string{"hits", "-o", format, name}, none, full{}, &said)
		if code != exitFailed || !strings.Contains(said.String(), "write hits: short write") {
			t.Errorf("-o %s: exit status %d, %q, want 1 and why", format, code, said.String())
		}
	}
}

// TestHitsWritesMuch: every form of a large result has every row, and few
// writes.
func TestHitsWritesMuch(t *testing.T) {
	var log bytes.Buffer
	for i := range 3_000 {
		at := time.Date(2026, 5, 28, 0, i, 0, 0, time.UTC).Format("02/Jan/2006:15:04:05 -0700")
		log.WriteString(strings.Replace(billedLine, "28/May/2026:18:31:00 +0000", at, 1))
	}
	name := filepath.Join(t.TempDir(), "access.log")
	if err := os.WriteFile(name, log.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for format, each := range map[string]string{"table": "Z  1 ", "json": `Z", "billed": 1`, "csv": "Z,1,0", "yaml": "billed: 1"} {
		var out tallyWriter
		if code := run(t.Context(), []string{"hits", "-q", "--by", "minute", "-o", format, name}, none, &out, io.Discard); code != exitOK {
			t.Fatalf("-o %s: exit status %d", format, code)
		}
		if got := strings.Count(out.String(), each); got != 3_000 {
			t.Errorf("-o %s: %d rows, want 3,000", format, got)
		}
		if out.writes > 20 {
			t.Errorf("-o %s: %d writes", format, out.writes)
		}
	}
}

type tallyWriter struct {
	bytes.Buffer
	writes int
}

func (w *tallyWriter) Write(p []byte) (int, error) {
	w.writes++
	return w.Buffer.Write(p)
}

func TestPresent(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"a.log", "b.log", "[c].log"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		name   string
		inputs []string
		want   []string
		errors int
	}{
		{"names as they are", []string{"b.log", "a.log"}, []string{"b.log", "a.log"}, 0},
		{"a glob's matches, sorted", []string{"?.log"}, []string{"a.log", "b.log"}, 0},
		{"a name that looks like a glob", []string{"[c].log"}, []string{"[c].log"}, 0},
		{"standard input is no file", []string{"-"}, []string{"-"}, 0},
		{"what is missing, and the rest", []string{"x.log", "a.log", "*.gz", "."}, []string{"a.log"}, 3},
		{"a glob that is none", []string{"[", "a.log"}, []string{"a.log"}, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, errs := present(row.inputs)
			if diff := cmp.Diff(row.want, got); diff != "" || len(errs) != row.errors {
				t.Errorf("names (-want +got):\n%s%d errors %v, want %d", diff, len(errs), errs, row.errors)
			}
		})
	}
}
