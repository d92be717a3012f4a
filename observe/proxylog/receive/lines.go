package receive

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
)

// Lines takes plain lines in any format, NDJSON, and a JSON array of objects or
// of lines. A push that is sent again is recognised by its X-Batch-Id (or
// Idempotency-Key) together with what is in it; one without is counted again.
func (rc *Receiver) Lines() http.Handler {
	return rc.handler(&protocol{name: "lines", read: readLines, accept: acceptLines, refuse: refuseProblem})
}

func readLines(p *push) error {
	kind := p.contentType()
	switch {
	case kind == "application/json":
	case kind == "", kind == "application/octet-stream", strings.HasPrefix(kind, "text/"), kind == "application/x-www-form-urlencoded", // curl's own
		strings.HasPrefix(kind, "application/") && (strings.HasSuffix(kind, "ndjson") || strings.HasSuffix(kind, "jsonl") || strings.HasSuffix(kind, "json-lines") ||
			strings.HasSuffix(kind, "jsonlines") || strings.HasSuffix(kind, "stream+json")):
		return p.stream()
	default:
		return wrongType("Content-Type %.60q is not taken here: send lines as text/plain or application/x-ndjson", kind)
	}
	text, err := p.whole()
	if err != nil {
		return err
	}
	if id := p.given(); id != "" {
		p.identify(id)
		_, _ = p.content.Write(text)
	}
	if first := bytes.TrimSpace(text); len(first) > 0 && first[0] == '[' {
		return p.array(first)
	}
	for line := range bytes.SplitSeq(text, []byte{'\n'}) {
		if err := p.reader.line(line); err != nil {
			return err
		}
	}
	return nil
}

// array reads objects, or lines as strings.
func (p *push) array(text []byte) error {
	c, ok := parseJSON(text)
	if !ok {
		return garbage("the body begins as a JSON array and is none; lines need Content-Type: text/plain")
	}
	_, err := c.array(func() error {
		if c.kind() == '"' {
			return p.reader.line(c.string())
		}
		return p.reader.line(c.raw())
	})
	return err
}

// stream reads lines as they arrive, and holds no more than one.
func (p *push) stream() error {
	r, err := p.open()
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // it was only read
	source := io.Reader(r)
	if id := p.given(); id != "" {
		p.identify(id)
		source = io.TeeReader(r, p.content)
	}
	if err := p.cut(source); err != nil {
		return err
	}
	p.arrived()
	return nil
}

// cut reads lines until r ends.
func (p *push) cut(r io.Reader) error {
	buf, err := p.grow(nil, 0)
	if err != nil {
		return err
	}
	skipping := false
	for {
		n, end := r.Read(buf[len(buf):cap(buf)])
		fresh := len(buf)
		buf = buf[:len(buf)+n]
		if end != nil && !errors.Is(end, io.EOF) {
			return end
		}
		from, err := p.whatIsWhole(buf, fresh, &skipping)
		if err != nil {
			return err
		}
		if end != nil {
			if skipping {
				return nil
			}
			return p.reader.line(buf[from:])
		}
		buf = buf[:copy(buf, buf[from:])]
		if skipping {
			buf = buf[:0]
		}
		if len(buf) < cap(buf) {
			continue
		}
		if len(buf) > longestLine {
			if err := p.reader.tooLong(); err != nil {
				return err
			}
			skipping, buf = true, buf[:0]
		} else if buf, err = p.grow(buf, 0); err != nil {
			return err
		}
	}
}

// whatIsWhole reads the whole lines in buf, of which what is before fresh holds
// no newline, and gives where they end.
func (p *push) whatIsWhole(buf []byte, fresh int, skipping *bool) (from int, err error) {
	for {
		i := bytes.IndexByte(buf[fresh:], '\n')
		if i < 0 {
			return from, nil
		}
		end := fresh + i
		if *skipping {
			*skipping = false
		} else if err := p.reader.line(buf[from:end]); err != nil {
			return from, err
		}
		from, fresh = end+1, end+1
	}
}

// taken is what a sender of lines is told.
type taken struct {
	Lines         int64 `json:"lines"`
	Calls         int64 `json:"calls"` // of billable operations
	NotUnderstood int64 `json:"not_understood"`
	CountedBefore bool  `json:"counted_before"` // by an earlier push with the same id
}

func acceptLines(w http.ResponseWriter, p *push) {
	rd := &p.reader
	writeJSON(w, http.StatusOK, "application/json", taken{rd.tally.Lines, rd.calls, rd.tally.NotUnderstood, p.before})
}

// problem is an RFC 9457 problem document.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

func refuseProblem(w http.ResponseWriter, _ *push, no *fault) {
	writeJSON(w, no.status, "application/problem+json", problem{http.StatusText(no.status), no.status, no.detail})
}

func writeJSON(w http.ResponseWriter, status int, kind string, v any) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // whoever is gone needs no answer
}
