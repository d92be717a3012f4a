package config

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// digest is what a name stands for: a file, or all files of a glob.
type digest struct {
	files int               // 0: there is none
	sum   [sha256.Size]byte // of their names and contents
}

// look reads everything. It is done every few seconds, and configurations are
// small; times and sizes would be cheaper and lie on network file systems.
func (w *watch) look() map[string]digest {
	seen := map[string]digest{}
	for _, name := range w.files() {
		seen[name] = digestOf(name)
	}
	return seen
}

// differs tells whether a name has other content than it had. A new name has:
// what it held when it was first read is not known.
func (w *watch) differs(now map[string]digest) bool {
	for name, d := range now {
		if before, known := w.seen[name]; !known || before != d {
			return true
		}
	}
	return false
}

// lacks tells whether a file is not there that was before.
func (w *watch) lacks(now map[string]digest) bool {
	for name, d := range now {
		if d.files < w.seen[name].files {
			return true
		}
	}
	return false
}

func digestOf(name string) (d digest) {
	sum := sha256.New()
	for _, file := range expandGlob(name) {
		content, err := os.ReadFile(file) // #nosec G304 -- the user's own
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		d.files++
		write(sum, []byte(file))
		if err == nil { // what can't be read is there, and unlike all that can
			write(sum, content)
		}
	}
	sum.Sum(d.sum[:0])
	return d
}

// write adds a part with its length, so that no two lists of parts are alike.
func write(sum hash.Hash, part []byte) {
	_, _ = sum.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
	_, _ = sum.Write(part)
}

// expandGlob gives the files of a glob. A name stands for itself too: there are
// files whose names look like globs.
func expandGlob(name string) []string {
	files := []string{name}
	if isGlob(name) {
		if more, err := filepath.Glob(name); err == nil {
			files = append(files, more...)
		}
	}
	slices.Sort(files)
	return slices.Compact(files)
}

func isGlob(name string) bool { return strings.ContainsAny(name, `*?[\`) }
