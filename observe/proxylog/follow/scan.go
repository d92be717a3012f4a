package follow

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const mostOpen = 512 // files that are kept open though nothing is to be read

// scan looks for files, finds out what the new and the changed ones are, and
// lets go of those that are done with.
func (f *Follower) scan(now time.Time) {
	f.scans++
	f.rescan, f.nextScan = false, now.Add(f.Poll)
	for _, x := range f.files {
		x.fresh, x.later = x.fresh || x.later, false
		if x.err != nil && x.life != nil && (x.form == plain || now.Sub(x.failed) > time.Minute) {
			f.told.unreadable = append(f.told.unreadable, fmt.Errorf("read log: %s: %w", x.path, x.err))
			x.err = nil // it is tried again
		}
	}
	f.look(now)
	f.findLost(now)
	for _, x := range f.files {
		if x.scan != f.scans {
			f.unseen(x, now)
		}
	}
	f.settle(now)
	f.shrink(now)
	f.settle(now)
	f.finishDeleted(now)
	f.closeIdle(now)
	f.lookForGone(now)
	f.lives = slices.DeleteFunc(f.lives, func(l *life) bool { return l.dead })
	f.told.problem = f.problem(now)
}

// look finds the files that the patterns match.
func (f *Follower) look(now time.Time) {
	for _, pattern := range f.Patterns {
		found := false
		paths, err := expand(pattern)
		for _, path := range paths {
			found = f.find(path, true, now) || found
		}
		if found {
			delete(f.told.missing, pattern)
			continue
		}
		if f.told.missing == nil {
			f.told.missing = map[string]absence{}
		}
		a := f.told.missing[pattern]
		if a.since.IsZero() {
			a.since = now
		}
		if a.err = err; err == nil {
			a.err = fmt.Errorf("no file matches %s", pattern)
		}
		f.told.missing[pattern] = a
	}
}

// expand gives the paths that a pattern matches.
func expand(pattern string) ([]string, error) {
	if !strings.ContainsAny(pattern, `*?[`) {
		return []string{pattern}, nil
	}
	if _, err := os.Lstat(pattern); err == nil {
		return []string{pattern}, nil // a file that is really called so
	}
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("pattern %s: %w", pattern, err)
	}
	return paths, nil
}

// find takes note of the file at path, and opens it if it is new.
func (f *Follower) find(path string, wanted bool, now time.Time) bool {
	st, err := f.disk.stat(path)
	if err == nil && !st.regular {
		return false
	}
	var x *file
	if err == nil {
		if x = f.files[st.id]; x == nil {
			x, err = f.newFile(path, now)
		}
	}
	switch {
	case err == nil:
	case vanished(err):
		return false
	default:
		f.told.unreadable = append(f.told.unreadable, fmt.Errorf("read log: %w", err))
		return true
	}
	if x.scan == f.scans {
		return true // another name of the same file
	}
	if wanted && !x.wanted {
		x.wanted, x.fresh = true, true // it may have been taken for nobody's
	}
	x.scan, x.path, x.away = f.scans, path, false
	if x.id == st.id {
		f.changed(x, st, now)
	}
	if l := x.life; l != nil {
		l.path = path
	}
	return true
}

func (f *Follower) newFile(path string, now time.Time) (*file, error) {
	h, err := f.disk.open(path)
	if err != nil {
		return nil, err
	}
	st, err := h.facts()
	if err != nil || f.files[st.id] != nil {
		_ = h.Close() // it was only read
		return f.files[st.id], err
	}
	x := &file{id: st.id, path: path, facts: st, moved: now, fresh: true, handle: h, lagging: h.lagging()}
	f.files[st.id] = x
	return x, nil
}

// changed takes over what the system says of x.
func (f *Follower) changed(x *file, st facts, now time.Time) {
	if !x.update(st, now) {
		return
	}
	l := x.life
	if l == nil {
		return
	}
	if st.size < l.offset {
		f.rescan = true
	}
	l.notice(x)
	if x.form == packed {
		l.complete = l.complete && l.offset == 0 // where it was passed over, it still is
		f.unbind(l)
		x.reset()
		f.rescan = true
	} else if st.size == l.looked && st.size > 0 {
		// As long as before, but written: it may be another text.
		if held, err := f.holds(x, l); err == nil && !held {
			f.lose(l)
		}
	}
}

// refresh looks at the files that are open and being read.
func (f *Follower) refresh(now time.Time) {
	for _, x := range f.files {
		if x.handle == nil || x.life == nil {
			continue
		}
		st, err := x.handle.facts()
		if err != nil {
			f.unseen(x, now)
			continue
		}
		f.changed(x, st, now)
	}
}

// unseen looks after a file that no name has led to.
func (f *Follower) unseen(x *file, now time.Time) {
	var st facts
	var err error
	if x.handle != nil {
		st, err = x.handle.facts()
		x.away = true
	} else if st, err = f.disk.stat(x.path); err == nil && st.id != x.id {
		err = errReplaced
	}
	if err != nil {
		f.drop(x)
		return
	}
	f.changed(x, st, now)
}

// drop forgets a file that is not there any more.
func (f *Follower) drop(x *file) {
	if x.life != nil {
		f.unbind(x.life)
	}
	x.close()
	delete(f.files, x.id)
}

// settle finds out what the fresh files are. What is found of one may make
// others fresh.
func (f *Follower) settle(now time.Time) {
	const rounds = 5
	for range rounds {
		var fresh []*file
		for _, x := range f.files {
			if x.fresh && x.life == nil {
				fresh = append(fresh, x)
			}
		}
		if len(fresh) == 0 {
			return
		}
		slices.SortFunc(fresh, func(a, b *file) int {
			return cmp.Or(cmp.Compare(a.rank(), b.rank()), a.facts.written.Compare(b.facts.written), cmp.Compare(a.path, b.path))
		})
		for _, x := range fresh {
			if x.life == nil && f.files[x.id] == x {
				f.tryAssign(x, now)
			}
		}
	}
}

// rank puts copies first, which may take over a life before the file that lost
// it is looked at, and compressed files last, whose originals may be there.
func (x *file) rank() int {
	switch {
	case x.copyOf != nil && x.form != packed:
		return 0
	case x.form != packed:
		return 1
	}
	return 2
}

func (f *Follower) tryAssign(x *file, now time.Time) {
	x.err = nil
	err := f.assign(x)
	switch {
	case err == nil, errors.Is(err, errAgain):
		x.fresh = x.fresh || err != nil
	case vanished(err), errors.Is(err, errReplaced):
		f.drop(x)
	case x.form == packed && now.Sub(x.moved) < f.Settle:
		// It is being written.
	default:
		x.err = err
	}
}

// problem is what keeps the input from being read.
func (f *Follower) problem(now time.Time) error {
	errs := f.told.unreadable
	f.told.unreadable = nil
	for _, pattern := range f.Patterns {
		// At a rotation there may be no file for a moment.
		if a, ok := f.told.missing[pattern]; ok && (f.scans == 1 || now.Sub(a.since) >= 2*f.Poll) {
			errs = append(errs, a.err)
		}
	}
	for _, x := range f.files {
		if x.err != nil {
			errs = append(errs, fmt.Errorf("read log: %s: %w", x.path, x.err))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}
