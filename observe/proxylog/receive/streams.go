package receive

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"math/bits"
	"strconv"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// lokiPush is a body of streams.
//
// Senders such as winston-loki and Serilog put a batch that got no answer back
// among the lines that have come meanwhile, and send all of it: the push is
// another, but its streams begin as those did that were counted. So what was
// counted of a stream has a position, named by the stream's labels and the first
// entry: how many entries from there on it was, and what they were. What is
// behind them begins anew.
type lokiPush struct {
	*push
	text    []byte
	walk    func() error // reads text
	entries int
	entry   lokiEntry

	tags   []byte            // the labels of the stream that is being read
	begun  bool              // it has an entry
	labels [sha256.Size]byte // its labels, hashed
	stream hash.Hash         // of its entries
	run    *run              // the one that is being read; nil: the next entry begins one
	runs   []*run            // to be counted
	many   bool              // too many of them
	named  map[string]int    // how often a key came
	all    [4]uint64         // of all streams, in any order

	lookUp func(key string) (*position, error) // nil: nothing is known to have been counted
}

// run is entries of a stream that are counted, or were, in one go.
type run struct {
	key     string
	sum     hash.Hash // of the entries so far
	n       int64
	stored  int64  // the position; NoPosition: there is none, as far as is known
	counted string // what it says was counted
	skip    bool   // they are not to be counted again
}

// position is what is stored of a run.
type position struct {
	n      int64
	sum    string
	forked bool // this push has other entries behind the first: none was counted
}

const (
	// mostRuns is how many runs of a push have positions: those who put batches
	// back have few streams. A push with more is recognised as a whole.
	mostRuns = 256
	// prefix begins the keys of positions. The store forgets those of that kind
	// when nobody will send the same again.
	prefix = "stream/"
)

// errForked ends a walk that skipped what was not counted.
var errForked = errors.New("a stream is not the one that was counted")

// read reads the push, from the beginning.
func (l *lokiPush) read() error {
	l.restart()
	l.entries, l.run, l.runs, l.many, l.all = 0, nil, nil, false, [4]uint64{}
	l.named = map[string]int{}
	if err := l.walk(); err != nil {
		return err
	}
	return l.reader.settle()
}

// begin begins a stream, whose labels are good until its end.
func (l *lokiPush) begin(labels []byte) { l.tags, l.begun, l.run = labels, false, nil }

// first is done with a stream's first entry: streams without any are free.
func (l *lokiPush) first() {
	l.begun = true
	l.labels = sha256.Sum256(l.tags)
	if l.stream == nil {
		l.stream = sha256.New()
	}
	l.stream.Reset()
	_, _ = l.stream.Write(l.labels[:])
}

// add reads an entry of the stream, unless it was counted before.
func (l *lokiPush) add(line []byte) error {
	if l.entries++; l.entries > l.limits.MaxLines {
		return tooLarge("the body has more than %d lines; send fewer at once", l.limits.MaxLines)
	}
	if !l.begun {
		l.first()
	}
	l.write(l.stream, line)
	if l.many {
		return l.reader.read(line, &l.entry)
	}
	if l.run == nil {
		if err := l.beginRun(line); err != nil {
			return err
		}
	}
	r := l.run
	l.write(r.sum, line)
	r.n++
	if !r.skip {
		return l.reader.read(line, &l.entry)
	}
	if r.n == r.stored {
		l.run = nil
		if r.state() != r.counted {
			return l.fork(r)
		}
	}
	return nil
}

func (l *lokiPush) write(to hash.Hash, line []byte) {
	writeNumber(to, l.entry.when)
	writeBytes(to, line)
	writeBytes(to, l.entry.meta)
}

// beginRun begins a run with an entry.
func (l *lokiPush) beginRun(line []byte) error {
	first := sha256.New()
	_, _ = first.Write(l.labels[:])
	l.write(first, line)
	r := &run{key: prefix + hex.EncodeToString(first.Sum(nil)), sum: sha256.New(), stored: proxylog.NoPosition}
	// One push may well have the same first entry twice.
	if l.named[r.key]++; l.named[r.key] > 1 {
		r.key += "/" + strconv.Itoa(l.named[r.key])
	}
	if l.lookUp != nil {
		at, err := l.lookUp(r.key)
		if err != nil {
			return err
		}
		if at != nil {
			r.stored, r.counted, r.skip = at.n, at.sum, !at.forked && at.n > 0
		}
	}
	if !r.skip {
		l.runs = append(l.runs, r)
		l.many = l.lookUp == nil && len(l.runs) > mostRuns
	}
	l.run = r
	return nil
}

func (r *run) state() string { return hex.EncodeToString(r.sum.Sum(nil)) }

// end ends a stream. Senders keep streams in maps, so their order says nothing.
func (l *lokiPush) end() error {
	if !l.begun {
		return nil
	}
	sum := l.stream.Sum(nil)
	var carry uint64
	for i := range l.all {
		l.all[i], carry = bits.Add64(l.all[i], binary.BigEndian.Uint64(sum[8*i:]), carry)
	}
	if r := l.run; r != nil && r.skip {
		return l.fork(r) // it ends before what was counted does
	}
	return nil
}

func (l *lokiPush) fork(r *run) error {
	at, err := l.lookUp(r.key)
	if err != nil {
		return err
	}
	at.forked = true
	return errForked
}

// recognise decides how the push is known when it comes again: by its runs, or
// as a whole, where there are many or its sender gave it a name.
func (l *lokiPush) recognise() {
	if !l.many && l.given() == "" {
		l.streams = l
		return
	}
	l.identify(l.given())
	for _, part := range l.all {
		writeNumber(l.content, int64(part)) // #nosec G115 -- the bits alone matter
	}
}

// beside is what stands beside a position.
type beside struct {
	Sum string `json:"sum"`
}

// moves are the positions of what is to be counted.
func (l *lokiPush) moves() []proxylog.Move {
	out := make([]proxylog.Move, len(l.runs))
	for i, r := range l.runs {
		detail, _ := json.Marshal(beside{r.state()}) // a string always can be
		out[i] = proxylog.Move{Key: r.key, From: r.stored, To: r.n, Detail: detail}
	}
	return out
}

// again looks up what was counted, and reads what was not.
func (l *lokiPush) again(ctx context.Context, counter proxylog.Counter) error {
	known := map[string]*position{}
	l.lookUp = func(key string) (*position, error) {
		if at, ok := known[key]; ok {
			return at, nil
		}
		at, err := stored(ctx, counter, l.limits.Input, key)
		if err == nil {
			known[key] = at
		}
		return at, err
	}
	// Each time one more is known to be another; never all of many.
	for range mostRuns {
		if err := l.read(); !errors.Is(err, errForked) {
			return err
		}
	}
	return errForked
}

// stored gives the position of a run; nil: there is none.
func stored(ctx context.Context, counter proxylog.Counter, input, key string) (*position, error) {
	positions, err := counter.Positions(ctx, input, key)
	if err != nil {
		return nil, err
	}
	for _, p := range positions {
		if p.Key != key {
			continue
		}
		var detail beside
		if err := json.Unmarshal(p.Detail, &detail); err != nil {
			return nil, fmt.Errorf("position %s: %w", key, err)
		}
		return &position{n: p.Offset, sum: detail.Sum}, nil
	}
	return nil, nil
}
