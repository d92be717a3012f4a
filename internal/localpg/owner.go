package localpg

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ErrInUse says that another living process owns the directory.
var ErrInUse = errors.New("another process uses it")

func ownerFile(home string) string { return filepath.Join(home, "owner") }

// lockOwner locks home for this process. The kernel gives the lock back when
// the process ends, however it ends; so unlike a written process id it can't
// go stale. In a fresh directory the file appears already locked: a sweep
// never sees it otherwise.
func lockOwner(home string) (*os.File, error) {
	f, err := lockFile(ownerFile(home), os.O_RDWR)
	if !errors.Is(err, os.ErrNotExist) {
		return f, err
	}
	fresh := ownerFile(home) + "." + rand.Text()
	if f, err = lockFile(fresh, os.O_RDWR|os.O_CREATE|os.O_EXCL); err != nil {
		return nil, err
	}
	err = os.Link(fresh, ownerFile(home)) // unlike a rename it never replaces another's
	if err = errors.Join(err, os.Remove(fresh)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func lockFile(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags|syscall.O_NOFOLLOW, 0o600) // #nosec G304 -- our own directory
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil { // #nosec G115 -- a file descriptor
		return nil, fmt.Errorf("%s: %w", filepath.Dir(path), errors.Join(ErrInUse, f.Close()))
	}
	return f, nil
}

// sweep ends the servers and removes the temporary directories of owners that
// were killed. It is thrifty with its rights: only what this user has made,
// and only servers that are seen to run in the directory. What it can't clean
// it leaves, for it is no reason not to start.
func sweep() {
	for _, parent := range tempParents() {
		homes, _ := filepath.Glob(filepath.Join(parent, tempPrefix+"*"))
		for _, home := range homes {
			sweepOne(home)
		}
	}
}

func sweepOne(home string) {
	if !ours(home) {
		return
	}
	f, err := lockFile(ownerFile(home), os.O_RDWR)
	if errors.Is(err, os.ErrNotExist) && olderThan(home, time.Minute) {
		_ = os.RemoveAll(home) // killed before it had locked
		return
	}
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	data := filepath.Join(home, "data")
	deadline := time.Now().Add(5 * time.Second)
	for pid := serverOf(data); pid != 0; pid = serverOf(data) {
		if time.Now().After(deadline) {
			return
		}
		quit(pid)
		time.Sleep(20 * time.Millisecond)
	}
	_ = remove(home)
}

func ours(path string) bool {
	fi, err := os.Lstat(path)
	if err != nil || !fi.IsDir() {
		return false
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

func olderThan(path string, d time.Duration) bool {
	fi, err := os.Lstat(path)
	return err == nil && time.Since(fi.ModTime()) > d
}

// serverOf gives the process id of the server that runs in a data directory; 0
// where none does. Its pid file may be old and the id given to another, so the
// process is looked at.
func serverOf(data string) int {
	file, err := os.ReadFile(filepath.Join(data, "postmaster.pid")) // #nosec G304 -- our own directory
	if err != nil {
		return 0
	}
	var pid int
	if _, err := fmt.Sscan(string(file), &pid); err != nil || pid <= 1 {
		return 0
	}
	if !strings.HasPrefix(runsIn(pid), data) {
		return 0
	}
	return pid
}

func interrupt(pid int) { _ = syscall.Kill(pid, syscall.SIGINT) }
func quit(pid int)      { _ = syscall.Kill(pid, syscall.SIGQUIT) }
