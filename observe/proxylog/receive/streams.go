package receive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"slices"
	"strings"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// lokiPush is a body of streams.
//
// Senders such as winston-loki and Serilog put a batch that got no answer back
// before the lines that have come meanwhile, and send all of it: the push is
// another, but each of its streams begins as the one that was counted. So a
// stream has a position, named by its labels and first entry: how many of the
// entries from there on were counted, and what they were.
type lokiPush struct {
	*push
	text    []byte
	walk    func() error // reads text
	byLabel map[[sha256.Size]byte]*stream
	order   []*stream
	fresh   *stream // one that is not among them, for it has no entry yet
	entries int
	entry   lokiEntry
}

// stream is all entries of a push that have the same labels, in their order.
type stream struct {
	labels [sha256.Size]byte
	key    string    // of its position; "": no entry has come
	sum    hash.Hash // of the entries so far
	n      int64     // entries so far

	stored  int64  // entries that were counted from the first on; NoPosition: none, as far as is known
	counted string // their sum
	skip    int64  // how many of those are not to be counted again
	forked  bool   // the ones that are skipped are others
}

const (
	// mostStreams is of how many streams of a push the positions are kept: those
	// who merge batches have few. A push with more is recognised as a whole.
	mostStreams = 256
	// streamRoom is what a stream takes.
	streamRoom = 640
	// StreamPrefix begins the keys of streams' positions: they are not needed
	// any more when nobody will send the same again.
	StreamPrefix = "stream/"
)

// read reads the push, from the beginning.
func (l *lokiPush) read() error {
	l.restart()
	l.room.give(int64(len(l.order)) * streamRoom)
	for _, s := range l.order {
		*s = stream{labels: s.labels, sum: sha256.New(), stored: s.stored, counted: s.counted, skip: s.skip}
	}
	if l.byLabel == nil {
		l.byLabel = map[[sha256.Size]byte]*stream{}
	}
	l.order, l.entries = l.order[:0], 0
	if err := l.walk(); err != nil {
		return err
	}
	return l.reader.settle()
}

// stream is the one with these labels.
func (l *lokiPush) stream(labels []byte) *stream {
	sum := sha256.Sum256(labels)
	if s := l.byLabel[sum]; s != nil {
		return s
	}
	if l.fresh == nil {
		l.fresh = &stream{}
	}
	*l.fresh = stream{labels: sum, stored: proxylog.NoPosition}
	return l.fresh
}

// keep takes a stream up among the push's, with its first entry.
func (l *lokiPush) keep(s *stream) error {
	if err := l.room.take(streamRoom); err != nil {
		return err
	}
	if s == l.fresh {
		l.byLabel[s.labels] = s
		s.sum, l.fresh = sha256.New(), nil
	}
	l.order = append(l.order, s)
	return nil
}

// add reads an entry of a stream, unless it was counted before.
func (l *lokiPush) add(s *stream, line []byte) error {
	if l.entries++; l.entries > l.limits.MaxLines {
		return tooLarge("the body has more than %d lines; send fewer at once", l.limits.MaxLines)
	}
	if s.n++; s.n == 1 {
		if err := l.keep(s); err != nil {
			return err
		}
	}
	writeNumber(s.sum, l.entry.when)
	writeBytes(s.sum, line)
	writeBytes(s.sum, l.entry.meta)
	if s.n == 1 {
		s.name()
	}
	if s.n <= s.skip {
		s.forked = s.n == s.skip && s.state() != s.counted
		return nil
	}
	return l.reader.read(line, &l.entry)
}

// name names the stream's position, after its first entry.
func (s *stream) name() {
	name := sha256.New()
	_, _ = name.Write(s.labels[:])
	_, _ = name.Write(s.sum.Sum(nil))
	s.key = StreamPrefix + hex.EncodeToString(name.Sum(nil))
}

func (s *stream) state() string { return hex.EncodeToString(s.sum.Sum(nil)) }

// recognise decides how the push is known when it comes again: by its streams,
// or as a whole, where there are many or its sender gave it a name. Senders keep
// streams in maps, so their order says nothing.
func (l *lokiPush) recognise() {
	if len(l.order) <= mostStreams && l.given() == "" {
		l.push.streams = l
		return
	}
	l.identify(l.given())
	slices.SortFunc(l.order, func(a, b *stream) int { return strings.Compare(a.key, b.key) })
	for _, s := range l.order {
		writeString(l.content, s.key)
		writeString(l.content, s.state())
	}
}

// remembered is what a stream's position has beside it.
type remembered struct {
	Sum string `json:"sum"`
}

// moves are how far the push takes its streams.
func (l *lokiPush) moves() []proxylog.Move {
	var out []proxylog.Move
	for _, s := range l.order {
		sum := s.state()
		if s.stored == s.n && s.counted == sum {
			continue
		}
		detail, _ := json.Marshal(remembered{sum}) // a string always can be
		out = append(out, proxylog.Move{Key: s.key, From: s.stored, To: s.n, Detail: detail})
	}
	return out
}

// again looks up what was counted of the streams, and reads what was not.
func (l *lokiPush) again(ctx context.Context, counter proxylog.Counter) error {
	for _, s := range l.order {
		if err := s.lookUp(ctx, counter, l.limits.Input); err != nil {
			return err
		}
	}
	return l.readOn()
}

func (s *stream) lookUp(ctx context.Context, counter proxylog.Counter, input string) error {
	positions, err := counter.Positions(ctx, input, s.key)
	if err != nil {
		return err
	}
	s.stored, s.counted, s.skip = proxylog.NoPosition, "", 0
	if len(positions) == 0 {
		return nil
	}
	var detail remembered
	if err := json.Unmarshal(positions[0].Detail, &detail); err != nil {
		return fmt.Errorf("position %s: %w", s.key, err)
	}
	s.stored, s.counted, s.skip = positions[0].Offset, detail.Sum, positions[0].Offset
	return nil
}

// readOn reads the push without the entries that were counted. Where those are
// not the ones that a stream begins with, it has only its first entry in common
// with what was counted, and none is skipped.
func (l *lokiPush) readOn() error {
	if err := l.read(); err != nil {
		return err
	}
	forked := false
	for _, s := range l.order {
		if s.skip > 0 && (s.forked || s.n < s.skip) {
			s.skip, forked = 0, true
		}
	}
	if forked {
		return l.read()
	}
	return nil
}
