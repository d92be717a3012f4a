package machine_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/molecule-ai/billing-reconciler/internal/fleetsim/machine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func run(t *testing.T, m *machine.Machine, script string) (string, string, int) {
	t.Helper()
	stdout, stderr, exit, err := m.Run(t.Context(), "", script)
	if err != nil {
		t.Fatal(err)
	}
	return stdout, stderr, exit
}

func newMachine(t *testing.T, host machine.Host) *machine.Machine {
	t.Helper()
	m, err := machine.New(t.TempDir(), "i-1", host)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The stand-in says what docker says, where docker says it.
func TestDockerAnswersAsTheRealOne(t *testing.T) {
	const name = "molecule-workspace"
	for _, row := range []struct {
		name, script   string
		host           machine.Host
		stdout, stderr string
		exit           int
	}{
		{"inspect", "docker inspect -f '{{.Name}} {{.State.Status}} {{.RestartCount}}.' " + name,
			machine.Host{RestartCount: 3}, "/molecule-workspace running 3.\n", "", 0},
		{"inspect what is not there", "docker inspect -f '{{.Name}}' other", machine.Host{},
			"\n", "Error response from daemon: No such container: other\n", 1},
		{"a field that there is not", "docker inspect -f '{{.Nome}}' " + name, machine.Host{},
			"", "template parsing error: template: :1: unexpected <.Nome>\n", 1},
		{"env -0", "docker exec " + name + " env -0 | tr '\\000' '|'", machine.Host{Env: map[string]string{"A": "1\n2", "PATH": "/bin"}},
			"A=1\n2|HOME=/home/agent|PATH=/bin|", "", 0},
		{"a program that there is not, on stdout", "docker exec " + name + " env", machine.Host{Faults: machine.NoEnv},
			`OCI runtime exec failed: exec failed: unable to start container process: exec: "env": executable file not found in $PATH: unknown` + "\n", "", 127},
		{"a stopped container", "docker exec " + name + " env; docker inspect -f '{{.State.Status}}' " + name, machine.Host{State: machine.Exited},
			"exited\n", "is not running", 0},
		{"docker's daemon is down", "docker inspect x", machine.Host{State: machine.DaemonDown}, "", "Cannot connect to the Docker daemon", 1},
		{"secrets.d", "docker exec " + name + " sh -c 'cd \"$1\" && cat A_KEY' sh /configs/secrets.d",
			machine.Host{Secrets: map[string]string{"A_KEY": "a"}}, "a", "", 0},
		{"no docker", "docker", machine.Host{State: machine.NoDocker}, "", "not found", 127},
		{"no metadata without a token", "printf 'url = \"http://169.254.169.254/latest/meta-data/local-ipv4\"\n' | curl -q -f -K -",
			machine.Host{}, "\n", "", 22},
	} {
		t.Run(row.name, func(t *testing.T) {
			stdout, stderr, exit := run(t, newMachine(t, row.host), row.script)
			if stdout != row.stdout || !strings.Contains(stderr, row.stderr) || row.stderr == "" && stderr != "" || exit != row.exit {
				t.Errorf("got %q, %q, %d\nwant %q, %q, %d", stdout, stderr, exit, row.stdout, row.stderr, row.exit)
			}
		})
	}
}

// A change is seen by the next look, whole.
func TestSetChangesTheMachine(t *testing.T) {
	m := newMachine(t, machine.Host{Secrets: map[string]string{"A_KEY": "a"}})
	if err := m.Set(machine.Host{State: machine.Exited}); err != nil {
		t.Fatal(err)
	}
	const script = "docker inspect -f '{{.State.Status}}' molecule-workspace"
	if got, _, _ := run(t, m, script); got != "exited\n" {
		t.Errorf("got %q", got)
	}
	if err := m.Set(machine.Host{}); err != nil {
		t.Fatal(err)
	}
	got, _, exit := run(t, m, "docker exec molecule-workspace sh -c '[ -e \"$1\" ]' sh /configs/secrets.d")
	if got != "" || exit != 1 {
		t.Errorf("the secrets of before are still there: %q, %d", got, exit)
	}
	if h := m.Host(); h.State != "" || h.Secrets != nil {
		t.Errorf("got %+v", h)
	}
}

// A look that is given up takes all its processes along, docker's as well,
// though timeout has moved them to a group of their own.
func TestCancelLeavesNoProcess(t *testing.T) {
	m := newMachine(t, machine.Host{State: machine.Hung})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, _, exit, err := m.Run(ctx, "dash", "timeout 60 docker inspect x | cat")
	if err == nil || exit == 0 {
		t.Fatalf("exit status %d, error %v", exit, err)
	}
	dir := t.TempDir() // the parent of all machines of this test is beside it
	mark := []byte("MACHINE=" + filepath.Dir(dir))
	deadline := time.Now().Add(5 * time.Second)
	for {
		left := processesWith(t, mark)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still there: %v", left)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// processesWith lists the processes with such an environment.
func processesWith(t *testing.T, mark []byte) (found []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil || len(files) == 0 {
		t.Skip("no /proc here to find processes in")
	}
	for _, file := range files {
		if env, err := os.ReadFile(file); err == nil && strings.Contains(string(env), string(mark)) {
			found = append(found, filepath.Dir(file))
		}
	}
	return found
}

// Machines of one parent make their shared programs at the same time, and
// looks at one machine do not meet.
func TestSideBySide(t *testing.T) {
	parent := t.TempDir()
	var wg sync.WaitGroup
	for _, id := range []string{"i-1", "i-2", "i-3", "i-4"} {
		m, err := machine.New(parent, id, machine.Host{Image: id, Faults: machine.RestartsInLook})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			wg.Go(func() {
				out, _, _, err := m.Run(t.Context(), "dash", "docker inspect -f '{{.Config.Image}} {{.State.StartedAt}}' molecule-workspace; docker exec molecule-workspace env >&2")
				if err != nil || out != id+" 0001-01-01T00:00:00Z\n" {
					t.Errorf("%s: %q, %v", id, out, err)
				}
			})
		}
	}
	wg.Wait()
	left, err := filepath.Glob(filepath.Join(parent, "*", "look-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestWhatCannotBeRun(t *testing.T) {
	m := newMachine(t, machine.Host{})
	if _, _, _, err := m.Run(t.Context(), "no-such-shell", ":"); err == nil {
		t.Error("a shell that there is not")
	}
	if _, err := machine.New("/dev/null", "i-1", machine.Host{}); err == nil {
		t.Error("a parent that is no directory")
	}
}
