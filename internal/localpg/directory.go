package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// tempPrefix starts the name of every temporary directory, for the sweep.
const tempPrefix = "reconciler-pg-"

// directory is a server's home:
//
//	owner          held locked as long as the owning process lives
//	data/          the cluster; its owner is the user that the server runs as
//	password       of the superuser
//	postgres.log   what the server says
type directory struct {
	path      string
	temporary bool
	user      *account // whom to run as; nil: ourselves
	lock      *os.File
}

func (d *directory) data() string     { return filepath.Join(d.path, "data") }
func (d *directory) log() string      { return filepath.Join(d.path, "postgres.log") }
func (d *directory) password() string { return filepath.Join(d.path, "password") }

// openDirectory makes and locks the directory at path, or a temporary one.
func openDirectory(path string) (*directory, error) {
	user, err := unprivileged()
	if err != nil {
		return nil, err
	}
	d := &directory{temporary: path == "", user: user}
	if d.path, err = makeHome(path, user); err != nil {
		return nil, err
	}
	if d.lock, err = lockOwner(d.path); err != nil {
		return nil, err
	}
	return d, nil
}

func makeHome(path string, user *account) (string, error) {
	if path == "" {
		return makeTemp(user)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(path, homeMode(user)); err != nil {
		return "", err
	}
	if closed := closedParent(path, user); closed != "" {
		return "", fmt.Errorf("%s: the server runs as %s, who may not enter %s: chmod o+x it, or take another directory", path, user.name, closed)
	}
	return path, nil
}

// makeTemp takes the first place for temporary files that the server's user
// can reach: root's own TMPDIR often can't be.
func makeTemp(user *account) (string, error) {
	for _, parent := range tempParents() {
		path, err := os.MkdirTemp(parent, tempPrefix)
		if err != nil {
			continue
		}
		if closedParent(path, user) == "" {
			return path, os.Chmod(path, homeMode(user))
		}
		_ = os.Remove(path)
	}
	return "", fmt.Errorf("no place for temporary files among %s", strings.Join(tempParents(), ", "))
}

func tempParents() []string { return []string{os.TempDir(), "/tmp", "/var/tmp"} }

// homeMode lets the server's user walk through to its data, where that is
// somebody else, and no one read anything.
func homeMode(user *account) os.FileMode {
	if user == nil {
		return 0o700
	}
	return 0o711
}

// initialise makes the cluster where there is none yet and gives the
// superuser's password.
func (d *directory) initialise(ctx context.Context, bin string) (string, error) {
	if _, err := os.Stat(filepath.Join(d.data(), "PG_VERSION")); err == nil {
		password, err := os.ReadFile(d.password())
		if err != nil {
			return "", err
		}
		return string(password), d.awaitOldServer(ctx)
	}
	password := newPassword()
	if err := os.WriteFile(d.password(), []byte(password), 0o600); err != nil {
		return "", err
	}
	return password, d.initdb(ctx, bin, password)
}

// initdb creates the cluster beside its final place, so that one half made is
// never taken for a cluster.
func (d *directory) initdb(ctx context.Context, bin, password string) error {
	work := filepath.Join(d.path, "new")
	if err := os.RemoveAll(work); err != nil {
		return err
	}
	if err := os.Mkdir(work, 0o700); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	pwfile := filepath.Join(work, "password")
	if err := os.WriteFile(pwfile, []byte(password), 0o600); err != nil {
		return err
	}
	if err := d.user.own(work, pwfile); err != nil {
		return err
	}
	args := []string{
		"-D", filepath.Join(work, "data"), "-U", superuser, "--pwfile", pwfile, "-E", "UTF8", "--locale", locale(),
		"--auth-host", "scram-sha-256", "--auth-local", "reject", "--no-instructions",
	}
	if d.temporary {
		args = append(args, "--no-sync")
	}
	cmd := command(ctx, filepath.Join(bin, "initdb"), d.user, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, lastLines(string(out)))
	}
	return os.Rename(filepath.Join(work, "data"), d.data())
}

// awaitOldServer gives the server of an owner that has just died the time to
// end. The directory's lock is ours, so no living owner has one there.
func (d *directory) awaitOldServer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for {
		pid := serverOf(d.data())
		if pid == 0 {
			return nil
		}
		interrupt(pid)
		select {
		case <-ctx.Done():
			return fmt.Errorf("an old server, process %d, still runs in %s", pid, d.path)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// close gives the lock back and removes what is temporary.
func (d *directory) close() error {
	var err error
	if d.temporary {
		err = remove(d.path)
	}
	return errors.Join(err, d.lock.Close())
}

// remove removes a home, patiently: the last processes of a server that was
// killed may still be writing into it.
func remove(home string) (err error) {
	const tries = 100
	for range tries {
		if err = os.RemoveAll(home); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

// logTail gives the last lines of the server's log.
func (d *directory) logTail() string {
	log, err := os.ReadFile(d.log())
	if err != nil {
		return err.Error()
	}
	return lastLines(string(log))
}

func lastLines(text string) string {
	const most = 12
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}
