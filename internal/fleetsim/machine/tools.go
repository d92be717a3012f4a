package machine

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

//go:embed docker.sh
var docker []byte

//go:embed curl.sh
var curl []byte

// programs are all that a machine has, besides docker and curl. Where one is
// missing on this computer the machine goes without.
var programs = []string{"sh", "cat", "od", "awk", "tr", "sha256sum", "shasum", "openssl", "timeout", "sleep", "dash", "bash", "busybox"}

// kit is one kind of machine's programs.
type kit struct {
	busybox, docker, timeout, hasher bool
}

func (k kit) name() string {
	name := ".tools"
	for _, part := range []struct {
		have bool
		word string
	}{{k.busybox, "-busybox"}, {!k.docker, "-no-docker"}, {!k.timeout, "-no-timeout"}, {!k.hasher, "-no-hasher"}} {
		if part.have {
			name += part.word
		}
	}
	return name
}

// leaves tells whether the machine goes without a program.
func (k kit) leaves(program string) bool {
	switch program {
	case "docker":
		return !k.docker
	case "timeout":
		return !k.timeout
	case "sha256sum":
		return !k.hasher
	case "shasum", "openssl":
		return !k.hasher || k.busybox
	}
	return false
}

// tools gives the directory of a kit's programs, below parent, and makes it
// where it is not there yet.
func tools(parent string, k kit) (string, error) {
	dir := filepath.Join(parent, k.name())
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	made, err := os.MkdirTemp(parent, k.name()+"-")
	if err != nil {
		return "", fmt.Errorf("make tools: %w", err)
	}
	if err := k.fill(made); err != nil {
		return "", fmt.Errorf("make tools: %w", err)
	}
	if err := os.Rename(made, dir); err != nil {
		// Somebody else was first: theirs is as good.
		_ = os.RemoveAll(made)
		if _, missing := os.Stat(dir); missing != nil {
			return "", fmt.Errorf("make tools: %w", err)
		}
	}
	return dir, nil
}

func (k kit) fill(dir string) error {
	if err := os.Chmod(dir, 0o755); err != nil { // #nosec G302 -- programs are for everybody
		return err
	}
	box, err := exec.LookPath("busybox")
	if k.busybox && err != nil {
		return err
	}
	for _, name := range programs {
		target := box
		if !k.busybox {
			target, err = exec.LookPath(name)
		}
		if k.leaves(name) || err != nil {
			continue
		}
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	for name, text := range map[string][]byte{"curl": curl, "docker": docker} {
		if k.leaves(name) {
			continue
		}
		if err := writeProgram(filepath.Join(dir, name), text); err != nil {
			return err
		}
	}
	return nil
}

// writeProgram keeps others from forking meanwhile: their child would hold the
// file open for writing, and who runs it then is told "text file busy".
func writeProgram(path string, text []byte) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, text, 0o755) // #nosec G306 -- a program
}
