package proxylog

import (
	"bytes"
	"fmt"
	"strings"
)

// Format is a form of log lines.
type Format uint8

// The formats.
const (
	// Auto takes each line for what it looks like, trying first what the one
	// before was: so a file needs no telling, and may even be mixed.
	Auto     Format = iota
	Combined        // nginx and Apache: common log format, combined, and with more fields after
	JSON            // one object a line
	ALB             // AWS Application Load Balancer access logs
)

var formatNames = [...]string{"auto", "combined", "json", "alb"}

// String is the format's name as users type it.
func (f Format) String() string {
	if int(f) < len(formatNames) {
		return formatNames[f]
	}
	return ""
}

// ParseFormat reads a format's name; "" is Auto.
func ParseFormat(s string) (Format, error) {
	for i, name := range formatNames {
		if name == s || (s == "" && i == 0) {
			return Format(i), nil // #nosec G115 -- an index of four
		}
	}
	return Auto, fmt.Errorf("log format %q: not one of %s", s, strings.Join(formatNames[:], ", "))
}

// Outcome is what a line turned out to be. The zero value is that it was not
// understood.
type Outcome uint8

// The outcomes.
const (
	NotUnderstood Outcome = iota
	Other                 // a whole line about something else than a billable call
	Call                  // a billable operation: the Hit is filled
)

// Parser turns lines into hits. It holds what lets the next line be read
// faster; the outcome of a line never depends on the lines before, but for the
// format that Auto tries first. Not for concurrent use.
type Parser struct {
	format   Format
	plain    Format // Combined or ALB: what Auto tries first
	clock    clock
	more     extras
	requests requests
	object   object
}

// NewParser returns a Parser of one format.
func NewParser(f Format) *Parser {
	return &Parser{format: f, plain: Combined}
}

// Parse reads one line, without its newline, into h, which is overwritten
// where the outcome is Call and undefined otherwise. A line is understood when
// it is whole: request, status and time can be read and nothing is cut off. An
// address that cannot be read does not make a call unread.
func (p *Parser) Parse(line []byte, h *Hit) Outcome {
	// A file cut short under its writer (copytruncate) goes on behind a hole.
	for len(line) > 0 && line[0] == 0 {
		line = line[1:]
	}
	switch p.format {
	case Combined:
		return p.combined(line, h)
	case ALB:
		return p.alb(line, h)
	case JSON:
		return p.json(line, h)
	}
	return p.auto(line, h)
}

func (p *Parser) auto(line []byte, h *Hit) Outcome {
	if len(line) > 0 && looksLikeJSON(line) {
		return p.json(line, h)
	}
	if p.plain == ALB {
		if out := p.alb(line, h); out != NotUnderstood {
			return out
		}
	}
	if out := p.combined(line, h); out != NotUnderstood {
		p.plain = Combined
		return out
	}
	out := p.alb(line, h)
	if out != NotUnderstood {
		p.plain = ALB
	}
	return out
}

func looksLikeJSON(line []byte) bool {
	if line[0] != ' ' && line[0] != '\t' {
		return line[0] == '{'
	}
	line = bytes.TrimLeft(line, " \t")
	return len(line) > 0 && line[0] == '{'
}
