package follow

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/molecule-ai/billing-reconciler/observe/proxylog"
)

// relation is what a file has to do with a life.
type relation uint8

const (
	other   relation = iota // it has another text
	part                    // it has the beginning of the text, and nothing that was not read
	carries                 // it has all that was read of the text, and maybe more
)

// assign finds out what x is: the file of a life that has none, a copy of
// another file, or the beginning of a new life. Of several files with the same
// text the longest is read. x keeps no life where it cannot be told yet.
func (f *Follower) assign(x *file) error {
	x.fresh, x.copyOf = false, nil
	if err := f.loadHead(x); err != nil {
		x.later = true
		return err
	}
	if len(x.head) == 0 || x.form == unknown {
		return nil // update makes it fresh again
	}
	best, has, err := f.closest(x)
	switch {
	case err != nil:
		x.later = true
		return err
	case best == nil && x.wanted:
		f.bind(x, f.newLife())
	case best == nil:
	case best.file == nil && (has == carries || x.id == best.id) && x.part != best:
		f.bind(x, best) // where it has only a part, it has shrunk, or seems so: see shrunk
	case has == carries && best.file != nil && longer(x, best.file):
		old := best.file
		best.seal()
		old.life, old.copyOf, old.fresh = nil, best, true
		old.closeText()
		f.bind(x, best)
	default:
		x.copyOf = best
		// Short beginnings say little, and those of a compressed file are all that is compared.
		x.later = x.form == packed && best.file != nil && len(best.file.head) < len(x.head)
	}
	return nil
}

func longer(x, y *file) bool {
	if x.form == packed {
		return false
	}
	return y.form == packed || x.facts.size > y.facts.size
}

// closest finds the life whose text x has.
func (f *Follower) closest(x *file) (best *life, has relation, err error) {
	for _, own := range []bool{true, false} { // a file is mostly what it was
		for _, l := range f.lives {
			if l.dead || (l.id == x.id) != own {
				continue
			}
			r, err := f.relate(x, l)
			if err != nil {
				return nil, other, err
			}
			if r > has || (r == has && r != other && better(l, best)) {
				best, has = l, r
			}
		}
		if has == carries {
			break
		}
	}
	return best, has, nil
}

// better prefers the life of which more is known.
func better(a, b *life) bool {
	if a.head.N != b.head.N {
		return a.head.N > b.head.N
	}
	return a.offset > b.offset
}

// relate compares x with l's text.
func (f *Follower) relate(x *file, l *life) (relation, error) {
	l.seal()
	switch {
	case x.part == l:
		return part, nil
	case x.not[l] || !f.alike(x, l):
		return other, nil
	}
	if c := l.file; c != nil && c.form == plain {
		if held, err := f.holds(c, l); err != nil {
			return other, f.lookAgain(c, err)
		} else if !held {
			f.lose(l)
			if l.dead || !f.alike(x, l) {
				return other, nil
			}
		}
	}
	if x.form == packed {
		if l.file != nil {
			return part, nil // that one is read as long as it is there
		}
		return carries, nil // to be proven when it is unpacked that far
	}
	return f.relatePlain(x, l)
}

// alike compares the beginnings alone.
func (f *Follower) alike(x *file, l *life) bool {
	if len(x.head) >= l.head.N && l.head.N > 0 {
		return l.head.of(x.head)
	}
	if c := l.file; c != nil {
		n := min(len(x.head), len(c.head))
		return n > 0 && bytes.Equal(x.head[:n], c.head[:n])
	}
	// Too little to tell: an old size, or another text under the same inode.
	return x.lagging && x.id == l.id && x.form == plain
}

func (f *Follower) relatePlain(x *file, l *life) (relation, error) {
	if replaces(x, l) {
		return other, nil
	}
	reaches := x.facts.size >= l.offset
	if reaches && l.head.N > 0 {
		if ends, err := endsAt(x, l); err != nil || !ends {
			return other, err
		}
	}
	c := l.file
	if c == nil || c.form == packed || c.facts.size < l.offset {
		if reaches {
			return carries, nil
		}
		return part, nil
	}
	same, err := x.same(c)
	if err != nil {
		return other, err
	}
	if !same {
		// The other one may have been truncated while we compared.
		if held, err := f.holds(c, l); err != nil || held {
			return other, err
		}
		f.lose(l)
		return other, errAgain
	}
	if reaches && (l.offset > 0 || x.facts.size > c.facts.size) {
		return carries, nil
	}
	return part, nil
}

var errAgain = errors.New("a file has changed while it was looked at")

// lookAgain says that x cannot be told while y is not understood.
func (f *Follower) lookAgain(y *file, err error) error {
	if vanished(err) || errors.Is(err, errReplaced) {
		f.drop(y)
		return errAgain
	}
	return fmt.Errorf("look at %s again: %w", y.path, err)
}

// replaces tells that x has taken the name of l's file when that was renamed:
// then it is no copy, however it begins. A copy never gets the name of what it
// is a copy of.
func replaces(x *file, l *life) bool {
	c := l.file
	if c == nil || x.path != l.born || (c.path == l.born && !c.away) {
		return false
	}
	return l.byName || (!x.lagging && x.facts.size < l.offset)
}

// endsAt tells whether what is before l's offset in x is what was read there.
func endsAt(x *file, l *life) (bool, error) {
	n := l.tail.N
	if l.recent != nil {
		n = len(l.recent)
	}
	if n == 0 {
		return true, nil
	}
	b := make([]byte, n)
	if n, err := x.ReadAt(b, l.offset-int64(n)); n < len(b) {
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		return false, nil
	}
	if l.recent != nil {
		return bytes.Equal(b, l.recent), nil
	}
	if !l.tail.of(b) {
		return false, nil
	}
	if x == l.file {
		l.recent = b
	}
	return true, nil
}

// holds tells whether x, l's file, still has the text. It is asked after every
// read and before what was read is counted: a file may be truncated at any time.
func (f *Follower) holds(x *file, l *life) (bool, error) {
	if err := f.open(x); err != nil {
		return false, err
	}
	st, err := x.handle.facts()
	if err != nil {
		return false, err
	}
	if x.update(st, time.Now()) {
		l.notice(x)
	}
	begins, err := x.begins()
	if err != nil || !begins {
		return false, err
	}
	if st.size < l.offset {
		return true, nil // as far as can be seen; see shrunk
	}
	if l.recent == nil && l.head.N > 0 && !l.head.of(x.head) {
		return false, nil
	}
	return endsAt(x, l)
}

func (f *Follower) newLife() *life {
	l := &life{stored: proxylog.NoPosition}
	f.lives = append(f.lives, l)
	return l
}

// bind makes x the file that l is read from.
func (f *Follower) bind(x *file, l *life) {
	l.byName = l.id == x.id
	l.file, x.life, x.copyOf = x, l, nil
	l.id, l.path = x.id, x.path
	if l.born == "" {
		l.born, l.byName = x.path, true
	}
	if !l.gone.IsZero() {
		l.gone, l.touched = time.Time{}, true
	}
	l.ahead, l.looked, l.want = 0, l.offset, 0
	l.proven = x.form == plain
	if l.complete && x.form == plain && l.offset > 0 && x.facts.size > l.offset {
		l.complete, l.touched = false, true // it goes on after all
	}
	l.notice(x)
}

// lose takes l's file away from it: it has another text now, or none.
func (f *Follower) lose(l *life) {
	x := l.file
	f.unbind(l)
	x.reset()
	f.rescan = true
}

// unbind leaves l without a file; its copies may take over.
func (f *Follower) unbind(l *life) {
	l.seal()
	if x := l.file; x != nil {
		x.life = nil
		x.closeText()
	}
	l.file, l.byName, l.proven = nil, false, false
	l.ahead, l.looked, l.want = 0, l.offset, 0
	l.dead = l.key == "" && l.offset == 0 && !l.complete
	for _, y := range f.files {
		if y.copyOf == l {
			y.fresh = true
		}
	}
}
