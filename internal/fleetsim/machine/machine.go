// Package machine simulates an instance with docker on it, to run the real
// probe on in a real shell.
//
// Stand-ins for docker and curl come first on the PATH and answer, from files
// prepared when the machine was described, as the real ones do, their noise
// and exit codes included. All else that a script calls is this computer's
// own. A look costs a shell and the probe's few programs.
//
// Nothing is left behind but the directory, which is the caller's to remove,
// and no process outlives Run.
package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Machine is a simulated instance. Looks at it may run side by side.
type Machine struct {
	parent string
	dir    string
	mu     sync.RWMutex // held shared by Run, so that no look sees half a change
	host   Host
}

// New makes a machine in a directory of its own, parent/id. parent must exist;
// machines with one parent share their programs.
func New(parent, id string, host Host) (*Machine, error) {
	parent, err := filepath.Abs(parent)
	if err != nil {
		return nil, fmt.Errorf("make machine %s: %w", id, err)
	}
	m := &Machine{parent: parent, dir: filepath.Join(parent, id)}
	if err := os.MkdirAll(m.dir, 0o755); err != nil { // #nosec G301 -- nothing in it is real
		return nil, fmt.Errorf("make machine %s: %w", id, err)
	}
	return m, m.Set(host)
}

// Set makes the machine into what host says, once the looks under way are over.
func (m *Machine) Set(host Host) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := host.write(m.dir); err != nil {
		return fmt.Errorf("set machine %s: %w", filepath.Base(m.dir), err)
	}
	m.host = host.clone()
	return nil
}

// Remove takes the machine away, once the looks under way are over. Whoever
// looks afterwards finds none.
func (m *Machine) Remove() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return os.RemoveAll(m.dir)
}

// Host gives what the machine is at present.
func (m *Machine) Host() Host {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.host.clone()
}

// Run runs a script as root's shell on the machine would, from a file, as the
// SSM agent does. shell is a command ("dash", "busybox sh", "bash"; "": sh);
// with busybox all programs are busybox's. exit is -1 where the script was
// killed; err says only that it could not be run, or that ctx ended.
func (m *Machine) Run(ctx context.Context, shell, script string) (stdout, stderr string, exit int, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	cmd, file, err := m.command(ctx, shell, script)
	if err != nil {
		return "", "", -1, fmt.Errorf("run on machine %s: %w", filepath.Base(m.dir), err)
	}
	defer forget(file)
	release, err := m.hold()
	if err != nil {
		return "", "", -1, fmt.Errorf("run on machine %s: %w", filepath.Base(m.dir), err)
	}
	defer release()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	var failed *exec.ExitError
	if errors.As(err, &failed) && ctx.Err() == nil {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("run on machine %s: %w", filepath.Base(m.dir), err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode(), err
}

func (m *Machine) command(ctx context.Context, shell, script string) (*exec.Cmd, string, error) {
	if shell == "" {
		shell = "sh"
	}
	path, err := tools(m.parent, kit{
		busybox: strings.HasPrefix(shell, "busybox"), docker: m.host.State != NoDocker,
		timeout: !m.host.has(NoTimeout), hasher: !m.host.has(NoHasher),
	})
	if err != nil {
		return nil, "", err
	}
	file, err := os.CreateTemp(m.dir, "look-*.sh")
	if err != nil {
		return nil, "", err
	}
	_, err = file.WriteString(script)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, "", err
	}
	words := append(strings.Fields(shell), file.Name())
	cmd := exec.CommandContext(ctx, words[0], words[1:]...) // #nosec G204 -- running scripts is the purpose
	if m.host.Path != "" {
		path = m.host.Path + ":" + path
	}
	cmd.Env = []string{"PATH=" + path, "HOME=/nonexistent", "MACHINE=" + m.dir, "LOOK=" + strings.TrimSuffix(file.Name(), ".sh")}
	cmd.Dir = m.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd, file.Name(), nil
}

// hold keeps a hanging docker hanging: it reads from a pipe that we hold open.
// Once we let go, or are killed, it ends, wherever it has been moved to.
func (m *Machine) hold() (release func(), err error) {
	if !m.host.hangs() {
		return func() {}, nil
	}
	pipe, err := os.OpenFile(filepath.Join(m.dir, "hang"), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return func() { _ = pipe.Close() }, nil
}

// forget removes what one look has left: its script, and what the stand-ins
// remember of it.
func forget(script string) {
	_ = os.Remove(script)
	_ = os.Remove(strings.TrimSuffix(script, ".sh") + ".seen")
}
