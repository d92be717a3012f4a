package localpg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// process is a running postmaster.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed once it has been waited for
}

// command prepares a program of PostgreSQL: as the account, in an environment
// that holds nothing of ours (no PG*, no secrets).
func command(ctx context.Context, path string, as *account, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...) // #nosec G204 -- PostgreSQL's own programs
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + filepath.Dir(path) + ":/usr/bin:/bin", "LC_ALL=" + locale(), "TZ=UTC"}
	if lib := os.Getenv("LD_LIBRARY_PATH"); lib != "" {
		cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+lib)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: as.credential(),
		Setpgid:    true, // Ctrl-C on the terminal is for us; we end the server when we are done with it
	}
	return cmd
}

// run starts the postmaster. It is started and waited for on a thread that
// lives as long as it does, because Linux ties the death signal to the thread.
func (d *directory) run(bin string, settings []string) (*process, error) {
	log, err := os.OpenFile(d.log(), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd := command(context.Background(), filepath.Join(bin, "postgres"), d.user, append([]string{"-D", d.data()}, settings...)...)
	cmd.Stdout, cmd.Stderr = log, log
	dieWithParent(cmd.SysProcAttr)
	p := &process{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended stands in its log
		}
		close(p.exited)
	}()
	return p, <-started
}

// end asks for a fast shutdown, insists after a while, and waits.
func (p *process) end() error {
	for _, step := range []struct {
		signal   syscall.Signal
		patience time.Duration
	}{
		{syscall.SIGINT, 15 * time.Second},
		{syscall.SIGQUIT, 5 * time.Second},
		{syscall.SIGKILL, 5 * time.Second},
	} {
		if err := p.cmd.Process.Signal(step.signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("end the server: %w", err)
		}
		select {
		case <-p.exited:
			return nil
		case <-time.After(step.patience):
		}
	}
	return fmt.Errorf("process %d does not end", p.cmd.Process.Pid)
}

func (p *process) ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// ready waits until the server takes connections, at most a minute.
func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	go func() { // whoever else holds the port may never answer
		select {
		case <-s.process.exited:
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		conn, err := s.connect(ctx)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			if s.process.ended() {
				return errors.New("the server ended at once")
			}
			return fmt.Errorf("the server does not take connections: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// connect logs in to the database postgres, whatever PG* the environment has.
func (s *Server) connect(ctx context.Context) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(s.URL(""))
	if err != nil {
		return nil, err
	}
	if s.process != nil {
		config.RuntimeParams = nil // PGOPTIONS and its like
	}
	return pgx.ConnectConfig(ctx, config)
}

// choosePort gives want, or a port that is free now.
func choosePort(want int) (int, error) {
	if want != 0 {
		return want, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}
