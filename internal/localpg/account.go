package localpg

import (
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
)

// account is a user that the server runs as in root's place: PostgreSQL
// refuses to run as root. A nil account is ourselves.
type account struct {
	name     string
	uid, gid uint32
}

// unprivileged gives whom to run as: nil unless we are root.
func unprivileged() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
		if errUID == nil && errGID == nil && uid != 0 {
			return &account{name: name, uid: uint32(uid), gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("postgres does not run as root, and there is no user postgres or nobody to run it as")
}

// own hands files over to the account.
func (a *account) own(paths ...string) error {
	if a == nil {
		return nil
	}
	for _, p := range paths {
		if err := os.Lchown(p, int(a.uid), int(a.gid)); err != nil {
			return err
		}
	}
	return nil
}

// credential is what a child process needs to become the account.
func (a *account) credential() *syscall.Credential {
	if a == nil {
		return nil
	}
	return &syscall.Credential{Uid: a.uid, Gid: a.gid}
}

// closedParent gives the directory on the way to path that keeps the account
// out; "" where the way is free.
func closedParent(path string, a *account) string {
	if a == nil {
		return ""
	}
	for p := path; ; p = filepath.Dir(p) {
		fi, err := os.Stat(p)
		if err != nil {
			return p
		}
		st, ok := fi.Sys().(*syscall.Stat_t)
		mine := ok && (st.Uid == a.uid && fi.Mode()&0o100 != 0 || st.Gid == a.gid && fi.Mode()&0o010 != 0)
		if !mine && fi.Mode()&0o001 == 0 {
			if p != path {
				return p
			}
			if err := os.Chmod(p, fi.Mode()|0o011); err != nil {
				return p
			}
		}
		if p == filepath.Dir(p) {
			return ""
		}
	}
}

// locale is the one that sorts by code point and knows letters; only glibc and
// musl have it by this name.
func locale() string {
	if runtime.GOOS == "linux" {
		return "C.UTF-8"
	}
	return "C"
}
