package proxylog_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// call is a whole line of one call.
var call = combinedLine("28/May/2026:18:31:54 +0000")

func read(t *testing.T, r io.Reader) (proxylog.Stats, error) {
	t.Helper()
	return proxylog.ReadStream(context.Background(), "test", r, proxylog.ReadOptions{}, func(*proxylog.Hit) {})
}

func TestLines(t *testing.T) {
	mega := strings.Replace(call, `"x"`, `"`+strings.Repeat("x", 1<<20)+`"`, 1)
	for _, tc := range []struct {
		rule, text              string
		lines, calls, notUnders int64
	}{
		{"nothing", "", 0, 0, 0},
		{"one", call + "\n", 1, 1, 0},
		{"no newline at the end", call + "\n" + call, 2, 2, 0},
		{"half a line at the end", call + "\n" + call[:len(call)-1], 2, 1, 1},
		{"CRLF", call + "\r\n" + call + "\r\n", 2, 2, 0},
		{"blank lines are none", "\n\n \t\n\r\n" + call + "\n\n\x00\x00\n", 1, 1, 0},
		{"a hole", strings.Repeat("\x00", 5000) + call + "\n", 1, 1, 0},
		{"a hole bigger than any line", call + "\n" + strings.Repeat("\x00", 5<<20) + call + "\n", 2, 2, 0},
		{"a line of 1 MB", call + "\n" + mega + "\n" + call + "\n", 3, 3, 0},
		{"a line too long", call + "\n" + strings.Repeat("x", 5<<20) + "\n" + call + "\n", 3, 2, 1},
		{"a line too long at the end", call + "\n" + strings.Repeat(call, 5<<20/len(call)), 2, 1, 1},
		{"two lines too long", strings.Repeat(strings.Repeat("y", 3<<20)+"\n", 2) + call, 3, 1, 2},
	} {
		for name, r := range map[string]io.Reader{
			"at once": strings.NewReader(tc.text), "in halves": iotest.HalfReader(strings.NewReader(tc.text)),
			"end with the last bytes": iotest.DataErrReader(strings.NewReader(tc.text)),
		} {
			got, err := read(t, r)
			want := proxylog.Stats{Files: 1, Bytes: int64(len(tc.text)), Lines: tc.lines, Calls: tc.calls, NotUnderstood: tc.notUnders}
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("%s, %s: %v (-want +got):\n%s", tc.rule, name, err, diff)
			}
		}
	}
}

func TestLinesByteByByte(t *testing.T) {
	text, err := os.ReadFile("testdata/golden/combined.log")
	if err != nil {
		t.Fatal(err)
	}
	want, _ := read(t, bytes.NewReader(text))
	got, err := read(t, iotest.OneByteReader(bytes.NewReader(text)))
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func pack(t *testing.T, w io.WriteCloser, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func packed(t *testing.T, text string) (gz, zst []byte) {
	t.Helper()
	var g, z bytes.Buffer
	pack(t, gzip.NewWriter(&g), text)
	w, err := zstd.NewWriter(&z)
	if err != nil {
		t.Fatal(err)
	}
	pack(t, w, text)
	return g.Bytes(), z.Bytes()
}

func TestReadFiles(t *testing.T) {
	dir := t.TempDir()
	gz, zst := packed(t, call+"\n"+call+"\n")
	write(t, filepath.Join(dir, "access.log"), []byte(call+"\n"))
	write(t, filepath.Join(dir, "access.log.1"), gz) // packed, whatever its name says
	write(t, filepath.Join(dir, "access.log.2.gz"), append(append([]byte{}, gz...), gz...))
	write(t, filepath.Join(dir, "access.log.3.zst"), zst)
	write(t, filepath.Join(dir, "access.log.4.gz"), []byte(call+"\n"))
	write(t, filepath.Join(dir, "access[1].log"), []byte(call+"\n"))
	write(t, filepath.Join(dir, "empty"), nil)
	if err := os.Symlink("access.log", filepath.Join(dir, "current.log")); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		rule   string
		inputs []string
		files  int
		calls  int64
	}{
		{"a file", []string{"access.log"}, 1, 1},
		{"by its bytes, not its name", []string{"access.log.1", "access.log.4.gz"}, 2, 3},
		{"several members", []string{"access.log.2.gz"}, 1, 4},
		{"zstd", []string{"access.log.3.zst"}, 1, 2},
		{"a glob", []string{"access.log*"}, 5, 10},
		{"a file once, however it is reached", []string{"access.log", "access.log*", "current.log", "./access.log"}, 5, 10},
		{"a name that looks like a glob", []string{"access[1].log"}, 1, 1},
		{"empty", []string{"empty"}, 1, 0},
		{"standard input once", []string{"-", "-"}, 1, 1},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			for i, in := range tc.inputs {
				if in != proxylog.Stdin {
					tc.inputs[i] = filepath.Join(dir, in)
				}
			}
			var metered int64
			o := proxylog.ReadOptions{Stdin: strings.NewReader(call), Progress: func(n int64) { metered += n }}
			got, err := proxylog.Read(context.Background(), tc.inputs, o, func(*proxylog.Hit) {})
			if err != nil || got.Files != tc.files || got.Calls != tc.calls || got.NotUnderstood != 0 {
				t.Errorf("got %+v, %v, want %d files and %d calls", got, err, tc.files, tc.calls)
			}
			if metered != got.Bytes {
				t.Errorf("progress: got %d bytes, want %d", metered, got.Bytes)
			}
		})
	}
}

func TestReadErrors(t *testing.T) {
	dir := t.TempDir()
	gz, _ := packed(t, strings.Repeat(call+"\n", 1000))
	good := write(t, filepath.Join(dir, "good.log"), []byte(call+"\n"))
	cut := write(t, filepath.Join(dir, "cut.gz"), gz[:len(gz)-5])
	for _, tc := range []struct {
		rule, input, want string
		calls             int64
	}{
		{"missing", filepath.Join(dir, "missing.log"), "missing.log", 0},
		{"no match", filepath.Join(dir, "*.txt"), "*.txt", 0},
		{"bad pattern", filepath.Join(dir, "[a-"), "[a-", 0},
		{"a directory", dir, "directory", 0},
		{"a cut archive, and what it held", cut, "cut.gz: after line 1000", 1001},
		{"no standard input", "-", "standard input", 1},
	} {
		got, err := proxylog.Read(context.Background(), []string{tc.input, good}, proxylog.ReadOptions{}, func(*proxylog.Hit) {})
		if err == nil || !strings.Contains(err.Error(), tc.want) || got.Calls != tc.calls {
			t.Errorf("%s: got %+v, %v, want %q and %d calls", tc.rule, got, err, tc.want, tc.calls)
		}
	}
}

func TestReadStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	endless := io.MultiReader(strings.NewReader(call+"\n"), neverEnding(call+"\n"))
	_, err := proxylog.ReadStream(ctx, "endless", endless, proxylog.ReadOptions{}, func(*proxylog.Hit) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
	broken := iotest.ErrReader(io.ErrClosedPipe)
	if _, err := read(t, io.MultiReader(strings.NewReader(call+"\n"), broken)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v, want the reader's error", err)
	}
}

type neverEnding string

func (s neverEnding) Read(p []byte) (int, error) { return copy(p, s), nil }
