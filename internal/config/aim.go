package config

import (
	"maps"
	"path/filepath"
)

// aim has the kernel tell of all directories in which a change can show. The
// files themselves are no use to it: whoever replaces one leaves the watch with
// the old. It is done again and again, since a directory that comes back is
// another one. What can't be watched is polled.
func (w *watch) aim() {
	if w.notes == nil {
		return
	}
	watched := map[string]bool{}
	for dir := range w.directories() {
		if nearest, ok := w.watchNearest(dir); ok {
			watched[nearest] = true
		}
	}
	for _, dir := range w.notes.WatchList() {
		if !watched[dir] {
			_ = w.notes.Remove(dir) // gone already, which is as good
		}
	}
}

// watchNearest watches a directory, or the one in which it would appear.
func (w *watch) watchNearest(dir string) (nearest string, ok bool) {
	for {
		if w.notes.Add(dir) == nil {
			return dir, true
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", false
		}
		dir = parent
	}
}

// directories gives where names change (an editor's rename, the swap of a
// Kubernetes volume's ..data), and where content does: behind the links.
func (w *watch) directories() map[string]bool {
	dirs := map[string]bool{}
	for _, name := range w.files() {
		for _, file := range expandGlob(name) {
			dirs[filepath.Dir(file)] = true
			if real, err := filepath.EvalSymlinks(file); err == nil {
				dirs[filepath.Dir(real)] = true
			}
		}
	}
	for dir := range maps.Clone(dirs) {
		if isGlob(dir) { // of a pattern with directories in it: new ones appear above
			dirs[aboveGlob(dir)] = true
		}
	}
	return dirs
}

func aboveGlob(dir string) string {
	for isGlob(dir) && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
	}
	return dir
}
