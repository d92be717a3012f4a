package follow

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// findLost looks beside the place where a life without a file was read from,
// for names that no pattern matches: a pattern that names the live file alone
// must not lose the lines that were written just before it was rotated.
func (f *Follower) findLost(now time.Time) {
	stems := map[string]bool{}
	for _, l := range f.lives {
		if l.file != nil || l.complete || l.born == "" || f.copied(l) || (!l.gone.IsZero() && now.Sub(l.gone) > time.Hour) {
			continue
		}
		stems[strings.TrimSuffix(l.born, filepath.Ext(l.born))] = true
	}
	for stem := range stems {
		entries, err := os.ReadDir(filepath.Dir(stem))
		if err != nil {
			continue // look has told of it
		}
		for _, e := range entries {
			path := filepath.Join(filepath.Dir(stem), e.Name())
			if strings.HasPrefix(path, stem) && e.Type().IsRegular() {
				f.find(path, false, now)
			}
		}
	}
}

func (f *Follower) copied(l *life) bool {
	for _, x := range f.files {
		if x.copyOf == l {
			return true
		}
	}
	return false
}

// shrink decides about files that are smaller than what was read of them.
func (f *Follower) shrink(now time.Time) {
	for _, x := range f.files {
		l := x.life
		if l == nil || x.form != plain {
			continue
		}
		if x.facts.size >= l.offset {
			x.small = time.Time{}
			continue
		}
		f.shrunk(x, l, now)
	}
}

// shrunk: on a network file system the size may be an old one, for a while.
// Otherwise the file was truncated. If a copy has the text, that is read on; if
// what is left is still the beginning of the text, the rest was cut off and what
// is written now comes behind it; else it is another text.
func (f *Follower) shrunk(x *file, l *life, now time.Time) {
	if x.small.IsZero() {
		// A copy was there before the truncation: the next scan will have seen it.
		x.small, x.least, f.rescan = now, x.facts.size, true
		return
	}
	x.least = min(x.least, x.facts.size)
	old := x.head
	l.seal()
	if f.open(x) != nil {
		return // the next scan finds out why
	}
	if x.lagging && now.Sub(x.small) < f.Settle {
		b := make([]byte, len(old))
		n, _ := x.handle.ReadAt(b, 0)
		if string(b[:n]) == string(old[:n]) {
			return
		}
	}
	least := x.least
	f.lose(l)
	for _, y := range f.files {
		if y.copyOf == l {
			f.tryAssign(y, now)
		}
	}
	if l.file != nil || l.dead || least == 0 || f.loadHead(x) != nil || len(x.head) == 0 {
		return
	}
	left := x.head
	if (len(left) >= l.head.N && l.head.of(left)) || (len(old) > len(left) && string(old[:len(left)]) == string(left)) {
		f.rewind(x, l, least)
	}
}

// rewind goes on behind the first bytes of a text whose rest was cut off. Where
// it was cut is not known if it was written to before we looked: then the lines
// written until now are taken for those that were counted.
func (f *Follower) rewind(x *file, l *life, size int64) {
	tail := make([]byte, min(size, tailSize))
	if n, _ := x.handle.ReadAt(tail, size-int64(len(tail))); n < len(tail) {
		return
	}
	f.Log.Warn("a log file was cut; lines written to it before that was noticed are not counted", "input", f.Input, "file", x.path, "size", size)
	x.fresh = false
	f.bind(x, l)
	l.offset, l.looked, l.recent, l.head = size, size, tail, mark{}
	l.skipping, l.touched, l.seen = false, true, nil
	l.notice(x)
}

// finishDeleted lets go of files that have no name any more, when nothing has
// been written to them for a while. Nothing can come behind that.
func (f *Follower) finishDeleted(now time.Time) {
	for _, x := range f.files {
		l := x.life
		switch {
		case !x.facts.deleted:
		case l == nil:
			f.drop(x)
		case x.facts.size <= l.offset+l.ahead && (l.offset == l.stored || l.offset == 0) && f.retired(x, l, now):
			l.seal()
			l.complete, l.touched = l.offset > 0, l.offset > 0
			f.drop(x)
		}
	}
}

// closeIdle closes files that nothing more is expected of; they are opened
// again when they change.
func (f *Follower) closeIdle(now time.Time) {
	open := 0
	for _, x := range f.files {
		if x.handle == nil {
			continue
		}
		open++
		if x.facts.deleted || now.Sub(x.moved) < f.Quiet {
			continue
		}
		l := x.life
		done := l == nil || l.complete || (l.offset+l.ahead >= x.facts.size && l.offset == l.stored)
		if done && (l == nil || l.complete || open > mostOpen || f.rotated(x, l)) {
			x.close()
			if x.away {
				f.drop(x)
			}
			open--
		}
	}
}

// retired tells whether x was rotated or deleted, and nobody has written to it
// for a while after that: who has it open still may well end a line of which the
// half stood there for long.
func (f *Follower) retired(x *file, l *life, now time.Time) bool {
	if !f.rotated(x, l) {
		x.turned = time.Time{}
		return false
	}
	if x.turned.IsZero() {
		x.turned = now
	}
	return now.Sub(later(x.moved, x.turned)) >= f.Quiet
}

// rotated tells whether x is not what is written to by its name any more.
func (f *Follower) rotated(x *file, l *life) bool {
	if x.away || x.facts.deleted || x.path != l.born {
		return true
	}
	for _, y := range f.files { // access.log.1 beside access.log
		if len(y.path) < len(x.path) && strings.HasPrefix(x.path, y.path) {
			return true
		}
	}
	return false
}

// lookForGone notes since when no file has a life's text. It counts only where
// other files are found in the directory: one that is not mounted is not gone.
func (f *Follower) lookForGone(now time.Time) {
	copies, dirs := map[*life]bool{}, map[string]bool{}
	for _, x := range f.files {
		copies[x.copyOf] = true
		dirs[filepath.Dir(x.path)] = true
	}
	for _, l := range f.lives {
		here := l.file != nil || copies[l] || !dirs[filepath.Dir(l.path)]
		if here != l.gone.IsZero() {
			l.touched = true
			if l.gone = now; here {
				l.gone = time.Time{}
			}
		}
	}
}

// directories are those to be watched. Where one is not there yet, the one
// above tells when it comes.
func (f *Follower) directories() map[string]fileID {
	dirs := map[string]fileID{}
	for _, pattern := range f.Patterns {
		dir := filepath.Dir(pattern)
		paths, _ := expand(dir) // look has told of a pattern that is none
		for strings.ContainsAny(dir, `*?[`) {
			dir = filepath.Dir(dir)
		}
		for _, path := range append(paths, dir) {
			for {
				if st, err := f.disk.stat(path); err == nil {
					dirs[path] = st.id
					break
				}
				if path == filepath.Dir(path) {
					break
				}
				path = filepath.Dir(path)
			}
		}
	}
	return dirs
}
