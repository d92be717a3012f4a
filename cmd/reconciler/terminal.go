package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// terminal knows what may be shown where: colours on stdout, a progress line
// on stderr.
type terminal struct {
	stdout, stderr io.Writer
	color          bool
	live           bool // stderr is a terminal

	mu      sync.Mutex
	begun   time.Time
	written int // width of the progress line that stands
}

func newTerminal(stdout, stderr io.Writer, noColor bool, env func(string) (string, bool)) *terminal {
	value, set := env("NO_COLOR")
	dumb, _ := env("TERM")
	return &terminal{stdout: stdout, stderr: stderr, begun: time.Now(), live: isTerminal(stderr) && dumb != "dumb",
		color: isTerminal(stdout) && !noColor && (!set || value == "") && dumb != "dumb"}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// The colours of severities and verdicts.
const (
	red    = "31"
	yellow = "33"
	green  = "32"
	bold   = "1"
	dim    = "2"
)

func (t *terminal) paint(code, s string) string {
	if !t.color || code == "" || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// progress shows how far a stage is, on a terminal, once a second has gone by.
func (t *terminal) progress(stage string, done, total int) {
	if !t.live || time.Since(t.begun) < time.Second {
		return
	}
	line := stage
	switch {
	case total > 0:
		line = fmt.Sprintf("%s  %d of %d", stage, done, total)
	case done > 0:
		line = fmt.Sprintf("%s  %d", stage, done)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = fmt.Fprintf(t.stderr, "\r\x1b[K%s", printable(line))
	t.written = len(line)
}

// settle takes the progress line away.
func (t *terminal) settle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.written > 0 {
		_, _ = io.WriteString(t.stderr, "\r\x1b[K")
		t.written = 0
	}
}

// printable keeps what tenants and errors say from steering a terminal: every
// character that is not for reading is replaced; newlines stay.
func printable(s string) string {
	clean := func(r rune) bool { return r == '\n' || r == '\t' || unicode.IsPrint(r) }
	if strings.IndexFunc(s, func(r rune) bool { return r == utf8.RuneError || !clean(r) }) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if clean(r) {
			return r
		}
		return utf8.RuneError
	}, s)
}

// cell is one cell of a table: text, and the colour it is shown in.
type cell struct {
	text, color string
}

func plain(texts ...string) []cell {
	cells := make([]cell, len(texts))
	for i, s := range texts {
		cells[i].text = s
	}
	return cells
}

// table writes rows under a header, columns two spaces apart; the last column
// runs on.
func (t *terminal) table(header []string, rows [][]cell) {
	widths := make([]int, len(header))
	all := append([][]cell{plain(header...)}, rows...)
	for _, row := range all {
		for i := range row {
			row[i].text = strings.ReplaceAll(printable(row[i].text), "\n", " ")
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i].text))
		}
	}
	for n, row := range all {
		var line strings.Builder
		for i, c := range row {
			if n == 0 {
				c.color = bold
			}
			line.WriteString(t.paint(c.color, c.text))
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text)+2))
			}
		}
		_, _ = fmt.Fprintln(t.stdout, strings.TrimRight(line.String(), " "))
	}
}
