package desired_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/desired"
	"github.com/molecule-ai/billing-reconciler/desired/tenantschema"
	"github.com/molecule-ai/billing-reconciler/drift"
)

// pooler starts a PgBouncer in transaction mode, with a single connection to
// the server, before the database of that URL, and gives its own URL.
func pooler(t *testing.T, database string) string {
	t.Helper()
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/pgbouncer"); err != nil {
			t.Fatal("the tests need PgBouncer: apt-get install pgbouncer")
		}
	}
	server, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	password, _ := server.User.Password()
	config := filepath.Join(t.TempDir(), "pgbouncer.ini")
	text := fmt.Sprintf(`[databases]
* = host=%s port=%s user=%s password=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 1
`, server.Hostname(), server.Port(), server.User.Username(), password, port)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-q", config}
	if os.Getuid() == 0 { // it refuses to run as root
		args = []string{"-q", "-u", "nobody", config}
	}
	cmd := exec.Command(path, args...) // #nosec G204 -- a test's own
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGQUIT) // at once, whoever is connected
		_ = cmd.Wait()
	})
	server.Host = fmt.Sprintf("127.0.0.1:%d", port)
	server.RawQuery = "sslmode=disable"
	awaitListener(t, server.Host)
	return server.String()
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // nothing to lose
	return listener.Addr().(*net.TCPAddr).Port
}

func awaitListener(t *testing.T, address string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			return
		}
	}
	t.Fatalf("nothing listens at %s", address)
}

// The pooler's one connection is shared by everybody, as in life: what a reader
// leaves behind on it, the tenant's own writes would meet.
func TestThroughPgBouncer(t *testing.T) {
	db := newTenant(t, tenantschema.Options{})
	for n := range 20 {
		db.workspace(tenantschema.Workspace{ID: id(n)})
		db.secret(id(n), "MODEL", "opus")
	}
	pooled := pooler(t, db.url)
	r := db.reader(func(s *desired.Source) { s.Database = drift.Secret(pooled) })
	readConcurrently(t, r)
	if !r.Pooled() {
		t.Error("the reader does not know that it is behind a pooler")
	}

	err := r.Read(t.Context(), func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE workspaces SET name = 'x'")
		return err
	})
	if code(err) != "25006" {
		t.Errorf("writing through the reader: %v", err)
	}
	other, err := pgx.Connect(t.Context(), pooled+"&default_query_exec_mode=simple_protocol")
	db.must(err)
	defer other.Close(context.Background()) //nolint:errcheck // the test is over
	if _, err := other.Exec(t.Context(), "UPDATE workspaces SET name = 'y'"); err != nil {
		t.Errorf("the tenant's own write, after the reader's: %v", err)
	}
	var left string
	db.must(other.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM pg_prepared_statements)::text || ' ' ||
		current_setting('statement_timeout') || ' ' || current_setting('default_transaction_read_only')`).Scan(&left))
	if left != "0 0 off" {
		t.Errorf("left behind on the shared connection: %s", left)
	}
}

func readConcurrently(t *testing.T, r *desired.Reader) {
	t.Helper()
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 5 {
				n := 0
				err := r.Workspaces(t.Context(), desired.Query{}, func(*drift.Workspace) error { n++; return nil })
				if err != nil || n != 20 {
					t.Errorf("%d workspaces: %v", n, err)
				}
				if found, err := r.Find(t.Context(), id(7)); err != nil || len(found) != 1 {
					t.Errorf("find: %v, %v", found, err)
				}
			}
		})
	}
	group.Wait()
}
