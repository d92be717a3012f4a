package follow_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// writer does at random what writers and rotators do, and never what loses
// lines by itself.
type writer struct {
	*place
	r       *rand.Rand
	n       int    // lines that are written
	half    string // the rest of the line that is being written
	current string // where it is written
	rotated []string
	names   int
	last    map[string]int // the last line of each file
}

func (w *writer) step() {
	switch k := w.r.IntN(20); {
	case w.half != "":
		if k < 5 && w.current == "access.log" {
			w.byRename() // the writer goes on in the renamed file
			return
		}
		cut := w.r.IntN(len(w.half)) + 1
		w.append(w.current, w.half[:cut])
		w.half = w.half[cut:]
		if w.half == "" {
			w.last[w.current], w.current = w.n, "access.log"
		}
	case k < 9:
		w.lines(1 + w.r.IntN(40))
	case k < 11:
		w.n++
		w.half = line(w.n)
	case k < 13:
		w.byRename()
	case k < 15:
		w.byCopy()
	case k < 17:
		w.compress()
	case k < 18:
		w.shift()
	case k < 19:
		w.removeRead()
	default:
		w.lines(3000) // more than a chunk
	}
}

func (w *writer) lines(n int) {
	if _, err := os.Stat(w.path("access.log")); err != nil && w.r.IntN(2) == 0 {
		w.append("access.log", "started\n")
	}
	w.append("access.log", text(w.n+1, w.n+n))
	w.n += n
	w.last["access.log"] = w.n
}

func (w *writer) newName() string {
	w.names++
	return fmt.Sprintf("access.log.%d", w.names)
}

func (w *writer) byRename() {
	if _, err := os.Stat(w.path("access.log")); err != nil {
		return
	}
	name := w.newName()
	w.rename("access.log", name)
	w.last[name] = w.last["access.log"]
	if w.half != "" {
		w.current = name
	}
	w.rotated = append(w.rotated, name)
}

func (w *writer) byCopy() {
	b, err := os.ReadFile(w.path("access.log"))
	if err != nil {
		return
	}
	name := w.newName()
	cut := w.r.IntN(len(b) + 1)
	w.append(name, string(b[:cut]))
	w.breathe()
	w.append(name, string(b[cut:]))
	w.breathe()
	w.truncate("access.log", 0)
	w.last[name] = w.last["access.log"]
	w.rotated = append(w.rotated, name)
}

func (w *writer) compress() {
	if len(w.rotated) == 0 {
		return
	}
	i := w.r.IntN(len(w.rotated))
	name := w.rotated[i]
	if strings.HasSuffix(name, "z") || strings.HasSuffix(name, "t") || name == w.current {
		return
	}
	ending := []string{".gz", ".zst"}[w.r.IntN(2)]
	b, err := os.ReadFile(w.path(name))
	w.must(err)
	b = packed(b, ending)
	cut := w.r.IntN(len(b))
	w.append(name+ending, string(b[:cut]))
	w.breathe()
	w.append(name+ending, string(b[cut:]))
	w.breathe()
	w.remove(name)
	w.rotated[i], w.last[name+ending] = name+ending, w.last[name]
}

// shift renames all rotated files, as logrotate does with .1, .2, ...
func (w *writer) shift() {
	for i, name := range w.rotated {
		w.names++
		to := fmt.Sprintf("access.log.%d%s", w.names, strings.TrimLeft(filepath.Ext(name), ".0123456789"))
		if ext := filepath.Ext(name); ext == ".gz" || ext == ".zst" {
			to = fmt.Sprintf("access.log.%d%s", w.names, ext)
		}
		w.rename(name, to)
		w.last[to] = w.last[name]
		if w.current == name {
			w.current = to
		}
		w.rotated[i] = to
	}
}

// removeRead removes the oldest file once all that it has is counted.
func (w *writer) removeRead() {
	if len(w.rotated) == 0 || w.rotated[0] == w.current {
		return
	}
	w.ledger.Lock()
	read := true
	for n := 1; n <= w.last[w.rotated[0]] && read; n++ {
		read = w.ledger.counts[address(n)] == 1
	}
	w.ledger.Unlock()
	if read {
		w.remove(w.rotated[0])
		w.rotated = w.rotated[1:]
	}
}

func (w *writer) breathe() {
	if w.r.IntN(2) == 0 {
		time.Sleep(time.Duration(w.r.IntN(4000)) * time.Microsecond)
	}
}

// Every line is counted once, whatever writers and rotators do, however often
// the follower ends at any moment and whatever the database does.
func TestEveryLineOnce(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 3
	}
	if s, err := strconv.ParseUint(os.Getenv("FOLLOW_SEED"), 10, 64); err == nil {
		for i := range 16 {
			t.Run(fmt.Sprint(i), func(t *testing.T) { t.Parallel(); everyLineOnce(t, s) })
		}
		return
	}
	if n, err := time.ParseDuration(os.Getenv("FOLLOW_RANDOM_FOR")); err == nil {
		first := uint64(time.Now().UnixNano())
		for end, seed := time.Now().Add(n), first; time.Now().Before(end) && !t.Failed(); seed += 4 {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				for s := seed; s < seed+4; s++ {
					t.Run(fmt.Sprint(s), func(t *testing.T) { t.Parallel(); everyLineOnce(t, s) })
				}
			})
		}
		return
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { t.Parallel(); everyLineOnce(t, seed) })
	}
}

func everyLineOnce(t *testing.T, seed uint64) {
	p := newPlace(t)
	p.options.Quiet = 5 * time.Second // the writer may be held up for longer than the usual of tests
	r := rand.New(rand.NewPCG(seed, 1))
	faults := rand.New(rand.NewPCG(seed, 2))
	p.ledger.fault = func() fault {
		if faults.IntN(6) > 0 {
			return none
		}
		return fault(faults.IntN(int(slow) + 1))
	}
	w := &writer{place: p, r: r, current: "access.log", last: map[string]int{}}
	p.start()
	for range 150 {
		w.step()
		w.breathe()
		if r.IntN(12) == 0 {
			p.restart()
		}
	}
	for w.half != "" {
		w.step()
	}
	p.ledger.Lock()
	p.ledger.fault = nil
	p.ledger.Unlock()
	p.counted(w.n)
	p.looked()
	p.restart()
	p.append("access.log", line(w.n+1))
	p.counted(w.n + 1)
}
