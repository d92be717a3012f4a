package follow_test

import (
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog/follow"
)

// seen marks what cannot be told afterwards, when nobody has looked.
const seen = " (seen)"

// cases are what happens to logs. Each leaves the lines 1..want in them; the
// rest is the follower's: once watching, and once started again after each pause,
// so that it sees nothing but what is left.
var cases = []struct {
	name string
	want int
	does func(p *place, pause func(int)) // pause(n) waits until 1..n are counted
}{
	{"what was there and what comes", 20, func(p *place, pause func(int)) {
		p.append("access.log", text(1, 10))
		pause(10)
		p.append("access.log", text(11, 20))
	}},
	{"a file that comes later", 10, func(p *place, pause func(int)) {
		pause(0)
		p.append("access.log", text(1, 10))
	}},
	{"renamed", 30, func(p *place, pause func(int)) {
		p.append("access.log", text(1, 10))
		pause(10)
		p.append("access.log", text(11, 20))
		p.rename("access.log", "access.log.1")
		p.append("access.log", text(21, 30))
	}},
	{"renamed twice, and one written to after", 40, func(p *place, pause func(int)) {
		p.append("access.log", text(1, 10))
		pause(10)
		p.rename("access.log", "access.log.1")
		p.append("access.log", text(11, 20))
		p.rename("access.log.1", "access.log.2")
		p.rename("access.log", "access.log.1")
		p.append("access.log", text(21, 30))
		p.append("access.log.1", text(31, 40))
	}},
	{"copied and truncated", 30, func(p *place, pause func(int)) {
		p.append("access.log", text(1, 10))
		pause(10)
		p.append("access.log", text(11, 20))
		p.copyTruncate("access.log", "access.log.1")
		p.append("access.log", text(21, 30))
	}},
	{"copied and truncated, and longer than before at once", 100, func(p *place, pause func(int)) {
		p.append("access.log", text(1, 10))
		pause(10)
		p.append("access.log", text(11, 20))
		p.copyTruncate("access.log", "access.log.1")
		p.append("access.log", text(21, 100))
	}},
	{"copied, and truncated later", 40, func(p *place, pause func(int)) {
		p.append("access.log", text(1, 30))
		p.copy("access.log", "access.log.1")
		pause(30)
		p.truncate("access.log", 0)
		p.append("access.log", text(31, 40))
	}},
	{"a copy that grows while it is made", 50, func(p *place, pause func(int)) {
		p.append("access.log", text(1, 40))
		p.append("access.log.1", text(1, 13))
		pause(40)
		p.append("access.log.1", text(14, 40))
		p.truncate("access.log", 0)
		p.append("access.log", text(41, 50))
	}},
	{"truncated by a writer that keeps its place: a hole", 30, func(p *place, pause func(int)) {
		p.append("access.log", text(1, 20))
		pause(20)
		p.copyTruncate("access.log", "access.log.1")
		p.must(os.WriteFile(p.path("access.log"), append(make([]byte, 700_000), text(21, 30)...), 0o644))
	}},
	{"compressed when read", 20, func(p *place, pause func(int)) {
		p.append("access.log.1", text(1, 20))
		pause(20)
		p.pack("access.log.1", ".gz")
	}},
	{"compressed when read in part", 30, func(p *place, pause func(int)) {
		p.append("access.log", text(1, 10))
		pause(10)
		p.append("access.log", text(11, 20))
		p.rename("access.log", "access.log.1")
		p.append("access.log", text(21, 30))
		p.pack("access.log.1", ".gz")
	}},
	{"compressed by zstd when copied, and read in part", 3030, func(p *place, pause func(int)) {
		p.append("access.log", text(1, 1000))
		pause(1000)
		p.append("access.log", text(1001, 3000))
		p.copyTruncate("access.log", "access.log.1")
		p.append("access.log", text(3001, 3030))
		p.pack("access.log.1", ".zst")
	}},
	{"compressed before it was ever seen", 4000, func(p *place, pause func(int)) {
		pause(0)
		p.append("access.log.1", text(1, 4000))
		p.pack("access.log.1", ".gz")
	}},
	{"unpacked again", 30, func(p *place, pause func(int)) {
		p.must(os.WriteFile(p.path("access.log.1.gz"), packed([]byte(text(1, 30)), ".gz"), 0o644))
		pause(30)
		p.append("access.log.1", text(1, 30))
		p.remove("access.log.1.gz")
	}},
	{"removed when read", 20, func(p *place, pause func(int)) {
		p.append("access.log", text(1, 10))
		pause(10)
		p.remove("access.log")
		p.append("access.log", text(11, 20))
	}},
	{"replaced by a shorter one of the same beginning", 30, func(p *place, pause func(int)) {
		p.append("access.log", "started\n"+text(1, 20))
		pause(20)
		p.rename("access.log", "access.log.1")
		p.append("access.log", "started\n"+text(21, 30))
	}},
	{"half a line, and the rest later", 11, func(p *place, pause func(int)) {
		l := line(11)
		p.append("access.log", text(1, 10)+l[:30])
		pause(10)
		p.append("access.log", l[30:70])
		pause(10)
		p.append("access.log", l[70:])
	}},
	{"half a line, renamed, and the rest later", 12, func(p *place, pause func(int)) {
		l := line(11)
		p.append("access.log", text(1, 10)+l[:30])
		pause(10)
		p.rename("access.log", "access.log.1")
		p.append("access.log.1", l[30:])
		p.append("access.log", line(12))
	}},
	{"a last line without a newline, renamed", 12, func(p *place, pause func(int)) {
		p.append("access.log", text(1, 10)+strings.TrimSuffix(line(11), "\n"))
		pause(10)
		p.rename("access.log", "access.log.1")
		p.append("access.log", line(12))
	}},
	{"a last line without a newline, compressed", 11, func(p *place, pause func(int)) {
		p.append("access.log", text(1, 10)+strings.TrimSuffix(line(11), "\n"))
		pause(10)
		p.rename("access.log", "access.log.1")
		p.pack("access.log.1", ".gz")
	}},
	{"NULs and bytes that are no UTF-8", 22, func(p *place, pause func(int)) {
		p.append("access.log", text(1, 10)+strings.Repeat("\x00", 5000)+line(11)+"\xff\xfe\x80 \xc3\n\x00\x00\n")
		pause(11)
		p.append("access.log", strings.Repeat("\x00", 600_000))
		p.append("access.log", text(12, 22))
	}},
	{"a line of a megabyte", 12, func(p *place, pause func(int)) {
		long := strings.Replace(line(11), `"x"`, `"`+strings.Repeat("x", 1<<20)+`"`, 1)
		p.append("access.log", text(1, 10)+long[:700_000])
		pause(10)
		p.append("access.log", long[700_000:]+line(12))
	}},
	{"a line of five megabytes is skipped", 21, func(p *place, pause func(int)) {
		p.append("access.log", text(1, 10)+strings.Repeat("x", 3<<20))
		pause(10)
		p.append("access.log", strings.Repeat("y", 2<<20)+"\n"+text(11, 21))
	}},
	{"cut in the middle, and written on" + seen, 24, func(p *place, pause func(int)) {
		p.append("access.log", text(1, 20))
		pause(20)
		p.truncate("access.log", int64(len(text(1, 12))))
		pause(20)
		p.append("access.log", text(21, 24))
	}},
	{"emptied without a copy", 24, func(p *place, pause func(int)) {
		p.append("access.log", text(1, 20))
		pause(20)
		p.truncate("access.log", 0)
		p.append("access.log", text(21, 24))
	}},
	{"two of the same beginning, both live", 30, func(p *place, pause func(int)) {
		p.append("access.log.a", "started\n")
		p.append("access.log.b", "started\n")
		pause(0)
		p.append("access.log.a", text(1, 10))
		p.append("access.log.b", text(11, 20))
		pause(20)
		p.append("access.log.a", text(21, 30))
	}},
	{"copied to another device, as it were", 20, func(p *place, pause func(int)) {
		p.append("access.log", text(1, 10))
		pause(10)
		p.append("access.log", text(11, 20))
		p.copy("access.log", "access.log.1")
		p.remove("access.log")
	}},
	{"the directory vanishes and comes back", 30, func(p *place, pause func(int)) {
		p.append("access.log", text(1, 10))
		pause(10)
		p.must(os.Rename(p.dir, p.dir+".away"))
		pause(10)
		p.must(os.Rename(p.dir+".away", p.dir))
		p.append("access.log", text(11, 30))
	}},
	{"the directory is removed and made anew", 30, func(p *place, pause func(int)) {
		p.append("access.log", text(1, 10))
		pause(10)
		p.must(os.RemoveAll(p.dir))
		pause(10)
		p.must(os.Mkdir(p.dir, 0o755))
		p.append("access.log", text(11, 30))
	}},
	{"another text behind a long beginning that is the same", 40, func(p *place, pause func(int)) {
		long := strings.Repeat("# written by a proxy that says so\n", 60)
		p.append("access.log", long+text(1, 10))
		pause(10)
		p.copyTruncate("access.log", "access.log.1")
		p.append("access.log", long+text(11, 40))
	}},
	{"the inode is used again", 30, func(p *place, pause func(int)) {
		p.append("access.log", text(1, 10))
		pause(10)
		// The same inode with another text is what a reuse looks like.
		p.must(os.WriteFile(p.path("access.log"), []byte(text(11, 30)), 0o644))
	}},
	{"the inode is used again, for a text of the same length", 21, func(p *place, pause func(int)) {
		p.append("access.log", text(1, 10))
		pause(10)
		p.must(os.WriteFile(p.path("access.log"), []byte(text(11, 20)), 0o644))
		pause(20)
		p.append("access.log", line(21))
	}},
}

func TestWhatHappensToLogs(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			t.Run("watched", func(t *testing.T) {
				t.Parallel()
				p := unhurried(t)
				p.start()
				c.does(p, func(n int) {
					p.counted(n)
					p.looked()
				})
				p.finish(c.want)
			})
			if strings.HasSuffix(c.name, seen) {
				return
			}
			t.Run("missed", func(t *testing.T) {
				t.Parallel()
				p := unhurried(t)
				p.start()
				c.does(p, func(n int) {
					if p.stop == nil {
						p.start()
					}
					p.counted(n)
					p.stop()
				})
				if p.stop == nil {
					p.start()
				}
				p.finish(c.want)
			})
		})
	}
}

// unhurried gives a place where the writer may be held up between two steps
// that belong together, and is not taken for one that has ended.
func unhurried(t *testing.T) *place {
	p := newPlace(t)
	p.options.Quiet = time.Second
	return p
}

// finish waits for the lines, and holds that nothing is counted again: not when
// it is looked for a while longer, not after a restart, not with another line.
func (p *place) finish(n int) {
	p.t.Helper()
	p.counted(n)
	p.looked()
	p.restart()
	p.append("access.log", line(n+1))
	p.counted(n + 1)
	p.looked()
	p.counted(n + 1)
	p.until("nothing behind", func() bool { b, age := p.running.Lag(); return b == 0 && age == 0 })
}

func TestALineThatIsTooLongCountsAsNotUnderstood(t *testing.T) {
	p := newPlace(t)
	p.start()
	p.append("access.log", text(1, 2)+strings.Repeat("x", 7<<20)+"\n"+text(3, 4)+"nonsense\n")
	p.counted(4)
	p.until("the line behind is read", func() bool { p.ledger.Lock(); defer p.ledger.Unlock(); return p.ledger.lines == 6 })
	if got, want := p.ledger.unread, int64(2); got != want {
		t.Errorf("%d lines were not understood, want %d", got, want)
	}
}

// What was read must be of the text that the file had before: a truncation may
// come at any moment around the read.
func TestATruncationAroundARead(t *testing.T) {
	for name, hook := range map[string]func(*follow.Follower, func(string)){
		"just before": (*follow.Follower).BeforeRead,
		"just after":  (*follow.Follower).AfterRead,
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			p.append("access.log", text(1, 10))
			var armed atomic.Bool
			p.prepare = func(f *follow.Follower) {
				hook(f, func(path string) {
					if strings.HasSuffix(path, "access.log") && armed.CompareAndSwap(true, false) {
						p.copyTruncate("access.log", "access.log.1")
						p.append("access.log", text(21, 60)) // longer than it was
					}
				})
			}
			p.start()
			p.counted(10)
			armed.Store(true)
			p.append("access.log", text(11, 20))
			p.finish(60)
			if armed.Load() {
				t.Error("nothing was truncated")
			}
		})
	}
}
