package follow_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
	"github.com/molecule-ai/billing-reconciler/observe/proxylog/follow"
)

func TestWhateverTheDatabaseDoesEveryLineCountsOnce(t *testing.T) {
	for kind, name := range map[fault]string{before: "fails before", after: "counts and fails", moved: "says moved", busy: "is busy", slow: "is slow"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			var n atomic.Int32
			p.ledger.fault = func() fault {
				if n.Add(1)%3 == 0 {
					return kind
				}
				return none
			}
			p.start()
			for i := range 6 {
				p.append("access.log", text(10*i+1, 10*i+10))
				p.counted(10*i + 10)
			}
			if n.Load() < 6 {
				t.Errorf("the database was asked %d times only", n.Load())
			}
		})
	}
}

func TestTwoWhoReadTheSameFilesCountThemOnce(t *testing.T) {
	p := newPlace(t)
	p.append("access.log", text(1, 500))
	p.start()
	first := p.stop
	p.start() // beside the first
	second := p.stop
	for i := range 5 {
		p.append("access.log", text(500+100*i+1, 500+100*i+100))
		p.counted(500 + 100*i + 100)
	}
	first()
	second()
}

func TestTheFirstStart(t *testing.T) {
	t.Run("at the end: only what comes counts", func(t *testing.T) {
		p := newPlace(t)
		p.options.From = follow.End
		old := line(5000)
		p.append("access.log", text(6000, 6010)+old[:40])
		p.append("access.log.1.gz", string(packed([]byte(text(7000, 7010)), ".gz")))
		p.start()
		p.started()
		p.append("access.log", old[40:]) // it becomes whole now
		p.append("access.log", text(5001, 5010))
		p.until("lines", func() bool { return p.ledger.wrong(5000, 5010) == "" })
		p.looked()
		p.stop()
		p.append("access.log", text(5011, 5020))
		p.append("access.log.2", text(5021, 5030)) // new, and read from its beginning
		p.rename("access.log.1.gz", "access.log.3.gz")
		p.start()
		p.until("lines", func() bool { return p.ledger.wrong(5000, 5030) == "" })
		p.looked()
		if wrong := p.ledger.wrong(5000, 5030); wrong != "" {
			t.Error(wrong)
		}
	})
	t.Run("at the end, and there is no file: it is decided all the same", func(t *testing.T) {
		p := newPlace(t)
		p.options.From = follow.End
		p.start()
		p.started()
		p.stop()
		p.append("access.log", text(1, 10))
		p.start()
		p.counted(10)
	})
	t.Run("it is decided even if the database fails at first", func(t *testing.T) {
		p := newPlace(t)
		p.options.From = follow.End
		var n atomic.Int32
		p.ledger.fault = func() fault { return [...]fault{before, none, before, none, after, none}[min(n.Add(1), 6)-1] }
		p.append("access.log", text(6000, 6010))
		p.start()
		p.started()
		p.append("access.log", text(1, 10))
		p.counted(10)
	})
}

// started waits until the first start is stored.
func (p *place) started() {
	p.t.Helper()
	p.until("the first start is stored", func() bool {
		p.ledger.Lock()
		defer p.ledger.Unlock()
		_, ok := p.ledger.positions[host+"/started"]
		return ok
	})
}

func (p *place) told(what string, ok func(error) bool) {
	p.t.Helper()
	p.until(what, func() bool {
		p.ledger.Lock()
		defer p.ledger.Unlock()
		return p.ledger.states > 0 && ok(p.ledger.state)
	})
}

func TestWhatIsToldOfTheInput(t *testing.T) {
	p := newPlace(t)
	var refused atomic.Bool
	p.prepare = func(f *follow.Follower) {
		f.Distort(follow.Distorted{Open: func(path string) error {
			if refused.Load() && strings.HasSuffix(path, ".2") {
				return &os.PathError{Op: "open", Path: path, Err: syscall.EACCES}
			}
			return nil
		}})
	}
	p.start()
	fine := func(err error) bool { return err == nil }
	p.told("no file", func(err error) bool { return err != nil && strings.Contains(err.Error(), p.options.Patterns[0]) })
	p.append("access.log", text(1, 10))
	p.told("all is well", fine)
	refused.Store(true)
	p.append("access.log.2", text(11, 20))
	p.told("a file cannot be opened", func(err error) bool {
		return errors.Is(err, syscall.EACCES) && strings.Contains(err.Error(), "access.log.2")
	})
	p.append("access.log", text(21, 30)) // the others go on
	p.until("the others go on", func() bool { p.ledger.Lock(); defer p.ledger.Unlock(); return p.ledger.lines == 20 })
	refused.Store(false)
	p.told("all is well again", fine)
	p.counted(30)
	p.must(os.RemoveAll(p.dir))
	p.told("the directory is gone", func(err error) bool { return err != nil && strings.Contains(err.Error(), "no file matches") })
	p.must(os.Mkdir(p.dir, 0o755))
	p.append("access.log", text(31, 40))
	p.told("all is well at last", fine)
	p.counted(40)
	p.append("access.log.3.gz", string(packed([]byte(text(50, 99)), ".gz")[:100]))
	p.told("a compressed file is cut off", func(err error) bool { return err != nil && strings.Contains(err.Error(), ".3.gz") })
}

// On a network file system sizes are old ones, and names lead to nothing.
func TestANetworkFileSystemThatLags(t *testing.T) {
	p := newPlace(t)
	r := rand.New(rand.NewPCG(7, 7))
	var mu sync.Mutex
	maybe := func(n int) bool {
		mu.Lock()
		defer mu.Unlock()
		return r.IntN(n) == 0
	}
	var calm atomic.Bool
	p.options.Settle = 3 * time.Second
	p.prepare = func(f *follow.Follower) {
		f.Distort(follow.Distorted{
			Size: func(_ string, size int64) int64 {
				switch {
				case calm.Load() || !maybe(3):
					return size
				case maybe(3):
					return 0
				}
				mu.Lock()
				defer mu.Unlock()
				return r.Int64N(size + 1)
			},
			Open: func(path string) error {
				if !calm.Load() && maybe(4) {
					return &os.PathError{Op: "open", Path: path, Err: []error{syscall.ENOENT, syscall.ESTALE}[r.IntN(2)]}
				}
				return nil
			},
			Read: func(path string) error {
				if !calm.Load() && maybe(20) {
					return &os.PathError{Op: "read", Path: path, Err: syscall.ESTALE}
				}
				return nil
			},
		})
	}
	p.start()
	n := 0
	for i := range 12 {
		p.append("access.log", text(n+1, n+50))
		n += 50
		p.looked()
		switch i % 4 {
		case 1:
			p.rename("access.log", fmt.Sprintf("access.log.%d", i))
		case 3:
			p.copyTruncate("access.log", fmt.Sprintf("access.log.%d", i))
		}
		if i%5 == 4 {
			p.restart()
		}
	}
	calm.Store(true)
	p.finish(n)
}

func TestPositionsOfFilesThatAreGoneAreRemoved(t *testing.T) {
	p := newPlace(t)
	p.options.Forget = 50 * time.Millisecond
	p.start()
	p.append("access.log", text(1, 10))
	p.append("access.log.1", text(11, 20))
	p.counted(20)
	positions := func() int {
		p.ledger.Lock()
		defer p.ledger.Unlock()
		return len(p.ledger.positions)
	}
	p.until("two files and the start", func() bool { return positions() == 3 })
	p.remove("access.log.1")
	p.until("one file and the start", func() bool { return positions() == 2 })
	p.must(os.Rename(p.dir, p.dir+".away")) // not gone: not there
	p.told("no file", func(err error) bool { return err != nil })
	p.looked()
	if got, want := positions(), 2; got != want {
		t.Errorf("%d positions where a directory is away, want %d", got, want)
	}
	p.must(os.Rename(p.dir+".away", p.dir))
	p.finish(20)
}

// A pattern that names the live file alone does not lose what was written just
// before it was rotated.
func TestLinesBeforeARotationThatThePatternDoesNotFollow(t *testing.T) {
	for name, rotate := range map[string]func(p *place){
		"renamed":              func(p *place) { p.rename("access.log", "access.log.1") },
		"renamed otherwise":    func(p *place) { p.rename("access.log", "access-20260528.log") },
		"copied and truncated": func(p *place) { p.copyTruncate("access.log", "access.log.1") },
		"compressed": func(p *place) {
			p.rename("access.log", "access.log.1")
			p.pack("access.log.1", ".gz")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			p.options.Patterns = []string{filepath.Join(p.dir, "access.log")}
			p.append("access.log.0", text(100, 110)) // never asked for
			p.start()
			p.append("access.log", text(1, 10))
			p.counted(10)
			p.stop()
			p.append("access.log", text(11, 20))
			rotate(p)
			p.append("access.log", text(21, 30))
			p.start()
			p.finish(30)
		})
	}
}

func TestAFileThatIsFarBehindDoesNotStarveTheOthers(t *testing.T) {
	p := newPlace(t)
	const many = 100_000
	p.options.MaxBytes = 2 << 20
	p.append("access.log.1", text(1, many))
	p.ledger.fault = func() fault { return slow }
	p.start()
	p.until("it has begun", func() bool { p.ledger.Lock(); defer p.ledger.Unlock(); return p.ledger.lines > 0 })
	p.append("access.log", line(many+1))
	p.until("the live line", func() bool { p.ledger.Lock(); defer p.ledger.Unlock(); return p.ledger.counts[address(many+1)] == 1 })
	p.ledger.Lock()
	if got := p.ledger.lines; got > many {
		t.Errorf("the live line came after all %d of the other file", got)
	}
	p.ledger.fault = nil
	p.ledger.Unlock()
	p.counted(many + 1)
}

func TestLagTellsHowFarBehind(t *testing.T) {
	p := newPlace(t)
	var held atomic.Bool
	p.ledger.fault = func() fault {
		if held.Load() {
			return busy
		}
		return none
	}
	p.start()
	p.append("access.log", text(1, 10)+line(11)[:20]) // half a line is not behind
	p.counted(10)
	lag := func() (int64, time.Duration) { return p.running.Lag() }
	p.until("nothing behind", func() bool { b, age := lag(); return b == 0 && age == 0 })
	held.Store(true)
	more := line(11)[20:] + text(12, 20)
	p.append("access.log", more)
	p.until("behind", func() bool {
		b, age := lag()
		return b >= int64(len(more)) && age > 50*time.Millisecond
	})
	held.Store(false)
	p.counted(20)
	p.until("nothing behind again", func() bool { b, age := lag(); return b == 0 && age == 0 })
}

// A proxy that gathers lines leaves half a one for longer than it takes a
// rotated file to be finished, and writes the rest between the renaming and the
// opening of the next file.
func TestTheRestOfALineComesAfterTheRotation(t *testing.T) {
	p := newPlace(t)
	p.options.Quiet = 2 * time.Second
	p.append("access.log", text(1, 10)+line(11)[:30])
	p.start()
	p.counted(10)
	time.Sleep(p.options.Quiet + 100*time.Millisecond) // nothing tells that it is over
	p.rename("access.log", "access.log.1")
	p.looked()
	p.append("access.log.1", line(11)[30:])
	p.append("access.log", line(12))
	p.finish(12)
}

// A batch is given when it is as big as it may be.
func TestBatchesAreBounded(t *testing.T) {
	p := newPlace(t)
	p.options.MaxGroups, p.options.Flush = 3000, time.Minute
	big := 0
	counter := p.ledger
	p.options.Counter = watching{counter, func(b *proxylog.Batch) { big = max(big, b.Tally.Len()) }}
	p.append("access.log", text(1, 40_000))
	p.start()
	p.until("all lines", func() bool { return counter.wrong(1, 40_000) == "" })
	p.stop()
	// The chunk that fills it is counted to its end.
	if limit := 3000 + (256<<10)/len(line(1)) + 1; big > limit || big < 3000 {
		t.Errorf("the biggest batch had %d groups, want 3000 to %d", big, limit)
	}
}

type watching struct {
	*ledger
	see func(*proxylog.Batch)
}

func (w watching) Count(ctx context.Context, b *proxylog.Batch) error {
	w.see(b)
	return w.ledger.Count(ctx, b)
}
