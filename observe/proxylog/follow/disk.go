package follow

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// disk is where the files are. Network file systems do what the one under a
// test does not, so tests put another one in its place.
type disk interface {
	stat(path string) (facts, error)
	open(path string) (handle, error)
}

// handle is an open file.
type handle interface {
	io.ReaderAt
	io.Closer
	facts() (facts, error)
	// lagging tells whether its size may be an old one, as on NFS, where
	// attributes are cached for up to a minute.
	lagging() bool
}

// fileID names a file as long as it exists; afterwards another one may get it.
type fileID struct{ device, inode uint64 }

// facts are what the system says of a file.
type facts struct {
	id      fileID
	size    int64
	written time.Time
	deleted bool // it has no name any more
	regular bool
}

type osDisk struct{}

func (osDisk) stat(path string) (facts, error) {
	info, err := os.Stat(path)
	if err != nil {
		return facts{}, err
	}
	return factsOf(info), nil
}

func (osDisk) open(path string) (handle, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

type osFile struct{ *os.File }

func (f osFile) facts() (facts, error) {
	info, err := f.Stat()
	if err != nil {
		return facts{}, err
	}
	return factsOf(info), nil
}

func (f osFile) lagging() bool { return onNetwork(f.File) }

func factsOf(info fs.FileInfo) facts {
	out := facts{size: info.Size(), written: info.ModTime(), regular: info.Mode().IsRegular()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		out.id = fileID{uint64(st.Dev), uint64(st.Ino)} //nolint:unconvert // other systems have other types
		out.deleted = st.Nlink == 0
	}
	return out
}

// vanished tells of an error that a file is not there any more, or not where
// the system has just seen it.
func vanished(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESTALE) || errors.Is(err, syscall.ENOTDIR)
}
