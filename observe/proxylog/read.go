package proxylog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// ReadOptions says how logs are read. The zero value reads files of any format
// and believes no proxy.
type ReadOptions struct {
	Format   Format
	Proxies  Proxies           // whose X-Forwarded-For is believed
	Stdin    io.Reader         // what "-" reads; nil: "-" is an error
	Progress func(bytes int64) // called now and then with the bytes of text read since the last call; nil: not called
}

// Stats is what was read.
type Stats struct {
	Files         int
	Bytes         int64 // of text, unpacked
	Lines         int64 // blank ones left out
	Calls         int64
	NotUnderstood int64
}

// add adds t to s.
func (s *Stats) add(t Stats) {
	s.Files += t.Files
	s.Bytes += t.Bytes
	s.Lines += t.Lines
	s.Calls += t.Calls
	s.NotUnderstood += t.NotUnderstood
}

// Read reads inputs (files, globs, or Stdin; packed by gzip or zstd or not) from
// beginning to end and calls hit for every call in them, in the order of the
// lines. The Hit is reused: keep copies only, without Forwarded and Model.
//
// A file that cannot be read to its end does not keep the others from being
// read: the errors come joined, each naming its file and the lines read before,
// and the stats tell what was read all the same. A done ctx ends it at once.
func Read(ctx context.Context, inputs []string, o ReadOptions, hit func(*Hit)) (Stats, error) {
	names, err := expand(inputs)
	if err != nil {
		return Stats{}, err
	}
	var total Stats
	var errs []error
	var buffer lines
	for _, name := range names {
		s := scan{parser: NewParser(o.Format), options: o, hit: hit, lines: &buffer}
		err := s.file(ctx, name)
		total.add(s.stats)
		if err != nil && ctx.Err() != nil {
			return total, ctx.Err()
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return total, errors.Join(errs...)
}

// ReadStream is Read of one stream, called name in errors.
func ReadStream(ctx context.Context, name string, r io.Reader, o ReadOptions, hit func(*Hit)) (Stats, error) {
	s := scan{parser: NewParser(o.Format), options: o, hit: hit, lines: &lines{}}
	err := s.stream(ctx, name, r)
	return s.stats, err
}

// scan reads one input.
type scan struct {
	parser  *Parser
	options ReadOptions
	hit     func(*Hit)
	lines   *lines
	stats   Stats
	now     Hit
}

func (s *scan) file(ctx context.Context, name string) error {
	if name == Stdin {
		if s.options.Stdin == nil {
			return errors.New("read log: no standard input here")
		}
		return s.stream(ctx, "standard input", s.options.Stdin)
	}
	f, err := os.Open(name) // #nosec G304 -- the operator's own choice of logs
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	err = s.stream(ctx, name, f)
	_ = f.Close() // it was only read
	return err
}

func (s *scan) stream(ctx context.Context, name string, r io.Reader) error {
	s.stats.Files++
	text, err := decompress(r)
	if err != nil {
		return fmt.Errorf("read log: %s: %w", name, err)
	}
	defer func() { _ = text.Close() }()
	if s.options.Progress != nil {
		text = &meter{ReadCloser: text, report: s.options.Progress}
	}
	err = s.lines.each(ctx, text, s.line)
	s.stats.Bytes += s.lines.read
	if err != nil {
		return fmt.Errorf("read log: %s: after line %d: %w", name, s.stats.Lines, err)
	}
	return nil
}

func (s *scan) line(b []byte) {
	s.stats.Lines++
	outcome := NotUnderstood
	if b != nil {
		outcome = s.parser.Parse(b, &s.now)
	}
	switch outcome {
	case NotUnderstood:
		s.stats.NotUnderstood++
	case Call:
		s.stats.Calls++
		h := &s.now
		if len(h.Forwarded) > 0 && len(s.options.Proxies) > 0 {
			h.Client = s.options.Proxies.Client(h.Peer, h.Forwarded)
		}
		s.hit(h)
	}
}

// meter reports what is read through it.
type meter struct {
	io.ReadCloser
	report func(int64)
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	m.report(int64(n))
	return n, err
}
