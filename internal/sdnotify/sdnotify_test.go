package sdnotify_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/molecule-ai/billing-reconciler/internal/sdnotify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// systemd is the socket on which it listens.
type systemd struct{ *net.UnixConn }

func listen(t *testing.T, name string) systemd {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return systemd{conn}
}

func (s systemd) heard(t *testing.T) []string {
	t.Helper()
	message := make([]byte, 4096)
	if err := s.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, err := s.Read(message)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(message[:n]), "\n")
}

func TestSystemdHearsHowTheDaemonIs(t *testing.T) {
	for where, name := range map[string]string{
		"a socket in the file system": filepath.Join(t.TempDir(), "notify"),
		"an abstract socket":          fmt.Sprintf("@reconciler-test-%d", os.Getpid()),
	} {
		t.Run(where, func(t *testing.T) {
			s := listen(t, name)
			for _, tc := range []struct {
				tell func() error
				want []string
			}{
				{func() error { return sdnotify.Ready("watching 3 sources") }, []string{"READY=1", "STATUS=watching 3 sources"}},
				{sdnotify.Reloading, []string{"RELOADING=1", "MONOTONIC_USEC=N"}},
				{func() error { return sdnotify.Status("two\nSTOPPING=1\r\nlines") }, []string{"STATUS=two STOPPING=1 lines"}},
				{sdnotify.Stopping, []string{"STOPPING=1", "STATUS=ending what is in flight"}},
			} {
				if err := tc.tell(); err != nil {
					t.Fatal(err)
				}
				got := s.heard(t)
				for i := range got {
					got[i] = regexp.MustCompile(`USEC=[1-9][0-9]*$`).ReplaceAllString(got[i], "USEC=N")
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			}
		})
	}
}

func TestNobodyToTellIsNoError(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	never := func(context.Context) error { t.Error("asked without a watchdog"); return nil }
	if err := errors.Join(sdnotify.Ready(""), sdnotify.Reloading(), sdnotify.Stopping(), sdnotify.Status("x"), sdnotify.Watchdog(t.Context(), never)); err != nil {
		t.Error(err)
	}
}

func TestASocketThatIsGoneIsAnError(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "none"))
	if err := sdnotify.Ready("x"); err == nil || !strings.HasPrefix(err.Error(), "tell systemd ready: ") {
		t.Errorf("got %v", err)
	}
}

// The watchdog is systemd's only way to learn that a daemon which runs does no
// work, so it must starve exactly while the daemon does not say that it lives.
func TestTheWatchdogIsFedOnlyWhileTheDaemonLives(t *testing.T) {
	s := listen(t, filepath.Join(t.TempDir(), "notify"))
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	var dead atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- sdnotify.Watchdog(ctx, func(ctx context.Context) error {
			if _, limited := ctx.Deadline(); !limited {
				t.Error("the question has no end")
			}
			if dead.Load() != 0 {
				return errors.New("no pass\nfor an hour")
			}
			return nil
		})
	}()
	for _, state := range []struct {
		dead int64
		want string
	}{{0, "WATCHDOG=1"}, {1, "STATUS=watchdog not fed: no pass for an hour"}, {0, "WATCHDOG=1"}} {
		dead.Store(state.dead)
		for s.heard(t)[0] != state.want { // what was on its way already
		}
		for range 3 {
			if got := s.heard(t)[0]; got != state.want {
				t.Errorf("got %q, want %q", got, state.want)
			}
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAnotherProcessesWatchdogIsNotFed(t *testing.T) {
	listen(t, filepath.Join(t.TempDir(), "notify"))
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", "1")
	if err := sdnotify.Watchdog(t.Context(), func(context.Context) error { t.Error("asked"); return nil }); err != nil {
		t.Error(err)
	}
}

func TestAWatchdogThatMakesNoSenseIsAnError(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "soon")
	if err := sdnotify.Watchdog(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "WATCHDOG_USEC") {
		t.Errorf("got %v", err)
	}
}
