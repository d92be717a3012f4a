package localpg_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/molecule-ai/billing-reconciler/internal/localpg"
)

// asOwner makes the test's own binary a process that owns a server: it prints
// the server's id, directory and user, and ends when its input does.
const asOwner = "LOCALPG_TEST_OWNER"

func TestMain(m *testing.M) {
	if os.Getenv(asOwner) != "" {
		os.Exit(own())
	}
	goleak.VerifyTestMain(m)
}

func own() int {
	s, err := localpg.Start(context.Background(), localpg.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(s.PID(), s.Dir(), os.Geteuid())
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := s.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func start(t *testing.T, opts localpg.Options) *localpg.Server {
	t.Helper()
	s, err := localpg.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// startDespite starts a server while the environment holds what must not
// matter to it.
func startDespite(t *testing.T, env ...string) *localpg.Server {
	t.Helper()
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
		defer func() { _ = os.Unsetenv(name) }() // for the test's own connections
	}
	return start(t, localpg.Options{})
}

// ask runs a query for one text on the server.
func ask(t *testing.T, url, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	var got string
	if err := conn.QueryRow(t.Context(), sql).Scan(&got); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return got
}

func TestStopLeavesNoProcessAndNoDirectory(t *testing.T) {
	s := startDespite(t, "PGOPTIONS=-c port=1", "PGDATA=/nowhere", "PGPORT=1")
	pid, dir := s.PID(), s.Dir()
	for setting, want := range map[string]string{
		"fsync": "off", "listen_addresses": "127.0.0.1", "unix_socket_directories": "",
		"server_encoding": "UTF8", "TimeZone": "UTC", "max_connections": "200",
	} {
		if got := ask(t, s.URL(""), "SELECT current_setting('"+setting+"')"); got != want {
			t.Errorf("%s = %q, want %q", setting, got, want)
		}
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if alive(pid) {
		t.Errorf("process %d is still there", pid)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", dir, err)
	}
	if err := s.Stop(); err != nil {
		t.Errorf("second Stop: %v", err)
	}
}

func TestStopBreaksOffConnections(t *testing.T) {
	s := start(t, localpg.Options{})
	conn, err := pgx.Connect(t.Context(), s.URL(""))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	began := time.Now()
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
	<-s.Exited()
}

func TestNobodyEntersWithoutThePassword(t *testing.T) {
	s := start(t, localpg.Options{})
	for _, password := range []string{"", "postgres"} {
		config, err := pgx.ParseConfig(s.URL(""))
		if err != nil {
			t.Fatal(err)
		}
		config.Password = password
		conn, err := pgx.ConnectConfig(t.Context(), config)
		if err == nil {
			_ = conn.Close(t.Context())
			t.Errorf("logged in with the password %q", password)
		}
	}
}

func TestAKeptDirectoryKeepsItsDatabasesAndItsOwner(t *testing.T) {
	dir := filepath.Join(shared(t), strings.Repeat("a-long-name/", 12)) // longer than a socket's path may be
	first := start(t, localpg.Options{Dir: dir})
	url, err := first.CreateDatabase(t.Context(), "kept", "")
	if err != nil {
		t.Fatal(err)
	}
	ask(t, url, "WITH x AS (SELECT 1) SELECT set_config('a.b', 'c', false)")
	if got := ask(t, url, "SHOW fsync"); got != "on" {
		t.Errorf("fsync = %q: what is kept must be durable", got)
	}
	if _, err := localpg.Start(t.Context(), localpg.Options{Dir: dir}); !errors.Is(err, localpg.ErrInUse) {
		t.Errorf("second Start in the same directory: %v, want ErrInUse", err)
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	second := start(t, localpg.Options{Dir: dir})
	if got := ask(t, second.URL("kept"), "SELECT current_database()::text"); got != "kept" {
		t.Errorf("got %q", got)
	}
}

// Root's own places are often closed to the user that the server runs as.
func TestAPlaceThatTheServerCannotEnter(t *testing.T) {
	closed := t.TempDir()
	t.Setenv("TMPDIR", closed)
	s := start(t, localpg.Options{})
	_, err := localpg.Start(t.Context(), localpg.Options{Dir: filepath.Join(closed, "kept"), Settings: map[string]string{"work_mem": "much"}})
	switch {
	case os.Geteuid() != 0:
		if !strings.HasPrefix(s.Dir(), closed) {
			t.Errorf("runs in %s, though %s is ours", s.Dir(), closed)
		}
	case strings.HasPrefix(s.Dir(), closed):
		t.Errorf("runs in %s, which it can't enter", s.Dir())
	case err == nil || !strings.Contains(err.Error(), "chmod o+x"):
		t.Errorf("got %v, want what to do about it", err)
	}
}

func TestATakenPortIsSaidWithTheLog(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, err = localpg.Start(t.Context(), localpg.Options{Port: l.Addr().(*net.TCPAddr).Port})
	if err == nil || !strings.Contains(err.Error(), "could not bind") {
		t.Errorf("got %v, want the server's own words", err)
	}
}

func TestABadSettingIsSaidWithTheLogAndLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", shared(t))
	_, err := localpg.Start(t.Context(), localpg.Options{Settings: map[string]string{"work_mem": "much"}})
	if err == nil || !strings.Contains(err.Error(), "work_mem") {
		t.Errorf("got %v, want the server's own words", err)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestACopyOfATemplateHasItsTables(t *testing.T) {
	s := start(t, localpg.Options{})
	ctx := t.Context()
	url, err := s.CreateDatabase(ctx, "tmpl", "")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	_, err = conn.Exec(ctx, "CREATE TABLE t (x text); INSERT INTO t VALUES ('there')")
	if err = errors.Join(err, conn.Close(ctx)); err != nil {
		t.Fatal(err)
	}
	clone, err := s.CreateDatabase(ctx, `odd "name"`, "tmpl")
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(t, clone, "SELECT x FROM t"); got != "there" {
		t.Errorf("got %q", got)
	}
	for range 2 {
		if err := s.DropDatabase(ctx, `odd "name"`); err != nil {
			t.Error(err)
		}
	}
}

func TestConnectRefusesWhatIsNoURLWithoutRepeatingIt(t *testing.T) {
	for _, url := range []string{"", "host=localhost password=hunter2", "mysql://u:hunter2@h/", "postgres://u:hunter2%zz@h/"} {
		_, err := localpg.Connect(url)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Connect(%q) = %v", url, err)
		}
	}
}

// shared gives a directory that other users can reach, removed after the test.
func shared(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "localpg-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil { // #nosec G302 -- other users are the point
		t.Fatal(err)
	}
	return dir
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// owner is another process that owns a server.
type owner struct {
	cmd   *exec.Cmd
	stdin io.Closer
	pid   int // the server's
	dir   string
	user  string
}

// startOwner runs this test binary as the owner of a server, as another user
// where as is not 0.
func startOwner(t *testing.T, tmp string, as uint32) *owner {
	t.Helper()
	o := &owner{cmd: exec.Command(copyOfMyself(t, tmp))} // #nosec G204 -- ourselves
	o.cmd.Env = []string{asOwner + "=1", "TMPDIR=" + tmp, "PATH=" + os.Getenv("PATH")}
	o.cmd.Stderr = os.Stderr
	if as != 0 {
		o.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: as, Gid: as}}
	}
	stdin, err := o.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	o.stdin = stdin
	stdout, err := o.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := o.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the owner did not start its server: %v, %v", err, o.cmd.Wait())
	}
	if _, err := fmt.Sscan(line, &o.pid, &o.dir, &o.user); err != nil {
		t.Fatal(err)
	}
	return o
}

// copyOfMyself puts the test binary where other users may run it.
func copyOfMyself(t *testing.T, dir string) string {
	t.Helper()
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(me)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "owner.test")
	if err := os.WriteFile(path, binary, 0o755); err != nil { // #nosec G306 -- to be run by other users
		t.Fatal(err)
	}
	return path
}

func TestAKilledOwnerTakesItsServerWithItAndIsSweptUp(t *testing.T) {
	tmp := shared(t)
	t.Setenv("TMPDIR", tmp)
	o := startOwner(t, tmp, 0)
	if err := o.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = o.cmd.Wait()
	for deadline := time.Now().Add(20 * time.Second); alive(o.pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("server %d outlives its owner", o.pid)
		}
	}
	if _, err := os.Stat(o.dir); err != nil {
		t.Fatalf("the kill should have left the directory, or this test shows nothing: %v", err)
	}
	start(t, localpg.Options{})
	if _, err := os.Stat(o.dir); !errors.Is(err, os.ErrNotExist) {
		left, _ := filepath.Glob(filepath.Join(o.dir, "*"))
		t.Errorf("%s was not swept up: %v; left: %v", o.dir, err, left)
	}
}

func TestTheDirectoryOfALivingOwnerIsNotSwept(t *testing.T) {
	tmp := shared(t)
	t.Setenv("TMPDIR", tmp)
	o := startOwner(t, tmp, 0)
	start(t, localpg.Options{})
	if !alive(o.pid) {
		t.Error("the other owner's server is gone")
	}
	finish(t, o)
}

func TestAPlainUserNeedsNoRoot(t *testing.T) {
	plain := uint32(65534)
	if os.Geteuid() != 0 {
		plain = 0 // we are one ourselves, as all other tests here show
	}
	tmp := shared(t)
	o := startOwner(t, tmp, plain)
	if plain != 0 && o.user != strconv.Itoa(int(plain)) {
		t.Errorf("ran as %s, want %d", o.user, plain)
	}
	finish(t, o)
	if _, err := os.Stat(o.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", o.dir, err)
	}
}

func finish(t *testing.T, o *owner) {
	t.Helper()
	if err := o.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := o.cmd.Wait(); err != nil {
		t.Errorf("owner: %v", err)
	}
	if alive(o.pid) {
		t.Errorf("server %d is still there", o.pid)
	}
}
