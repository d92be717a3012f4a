package localpg_test

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/internal/localpg"
)

// A server that is killed leaves processes that have not noticed yet, and hold
// its memory. The next one waits for them.
func TestAKilledServerIsStartedAgain(t *testing.T) {
	opts := localpg.Options{Dir: filepath.Join(shared(t), "state")}
	first := start(t, opts)
	conn, err := pgx.Connect(t.Context(), first.URL(""))
	if err != nil {
		t.Fatal(err)
	}
	var backend int
	if err := conn.QueryRow(t.Context(), "SELECT pg_backend_pid()").Scan(&backend); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		pid    int
		signal syscall.Signal
	}{{backend, syscall.SIGSTOP}, {first.PID(), syscall.SIGKILL}} {
		if err := syscall.Kill(step.pid, step.signal); err != nil {
			t.Fatal(err)
		}
	}
	<-first.Exited()
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	notices := time.AfterFunc(2*time.Second, func() { _ = syscall.Kill(backend, syscall.SIGKILL) })
	defer notices.Stop()
	second := start(t, opts)
	if got := ask(t, second.URL(""), "SELECT 'serves'"); got != "serves" {
		t.Errorf("got %q", got)
	}
	_ = conn.Close(t.Context())
}
