package desired_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os/exec"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/desired"
	"github.com/molecule-ai/billing-reconciler/desired/tenantschema"
	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/localpg/pgtest"
)

func TestMain(m *testing.M) { pgtest.MainNoLeaks(m) }

// tenant is a tenant's database with a connection that may write.
type tenant struct {
	testing.TB
	url  string
	conn *pgx.Conn
	key  drift.Secret
}

func newTenant(t testing.TB, o tenantschema.Options) *tenant {
	t.Helper()
	db := &tenant{TB: t, url: pgtest.NewDatabase(t), key: tenantschema.NewKey()}
	db.conn = connect(t, db.url)
	db.must(tenantschema.Create(t.Context(), db.conn, o))
	return db
}

func connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (db *tenant) must(err error) {
	db.Helper()
	if err != nil {
		db.Fatal(err)
	}
}

func (db *tenant) exec(sql string, args ...any) {
	db.Helper()
	_, err := db.conn.Exec(db.Context(), sql, args...)
	db.must(err)
}

func (db *tenant) workspace(w tenantschema.Workspace) {
	db.Helper()
	db.must(tenantschema.InsertWorkspace(db.Context(), db.conn, w))
}

// secret stores a value sealed with the tenant's key.
func (db *tenant) secret(workspace, key, value string) {
	db.Helper()
	db.must(tenantschema.PutSecret(db.Context(), db.conn, tenantschema.Secret{Workspace: workspace, Key: key, Value: []byte(value), EncryptionKey: db.key}))
}

func (db *tenant) raw(workspace, key string, stored []byte, version int) {
	db.Helper()
	db.must(tenantschema.PutRaw(db.Context(), db.conn, tenantschema.Secret{Workspace: workspace, Key: key}, stored, version))
}

// reader opens the tenant as the product does; edit may change the source.
func (db *tenant) reader(edit ...func(*desired.Source)) *desired.Reader {
	db.Helper()
	src := desired.Source{Name: "acme", Database: drift.Secret(db.url), EncryptionKey: db.key}
	for _, e := range edit {
		e(&src)
	}
	r, err := desired.Open(db.Context(), src)
	db.must(err)
	db.Cleanup(r.Close)
	return r
}

// read reads the queried workspaces by id.
func read(t testing.TB, r *desired.Reader, q desired.Query) map[string]*drift.Workspace {
	t.Helper()
	found := map[string]*drift.Workspace{}
	err := r.Workspaces(t.Context(), q, func(w *drift.Workspace) error {
		found[w.ID] = w
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func id(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", n) }

func ptr[T any](v T) *T { return &v }

// wiretap stands before a server and keeps what passes in each direction.
type wiretap struct {
	sync.Mutex
	sent, received []byte
}

// tap gives the URL of a wiretap before the database of that URL.
func tap(t testing.TB, database string) (*wiretap, string) {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w, target := &wiretap{}, u.Host
	var group sync.WaitGroup
	group.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			group.Go(func() { w.serve(client, target) })
		}
	})
	t.Cleanup(func() { _ = listener.Close(); group.Wait() })
	u.Host = listener.Addr().String()
	u.RawQuery = "sslmode=disable"
	return w, u.String()
}

func (w *wiretap) serve(client net.Conn, target string) {
	defer client.Close() //nolint:errcheck // nothing to do about it
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	var group sync.WaitGroup
	group.Go(func() { w.copy(server, client, &w.sent); _ = server.Close() })
	group.Go(func() { w.copy(client, server, &w.received); _ = client.Close() })
	group.Wait()
}

func (w *wiretap) copy(to, from net.Conn, kept *[]byte) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		w.Lock()
		*kept = append(*kept, buffer[:n]...)
		w.Unlock()
		if err != nil {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// take gives what has passed since the last take.
func (w *wiretap) take() (sent, received []byte) {
	w.Lock()
	defer w.Unlock()
	sent, received = w.sent, w.received
	w.sent, w.received = nil, nil
	return sent, received
}

// psql runs a script as an operator does.
func (db *tenant) psql(script string, variables ...string) {
	db.Helper()
	args := []string{"-X", "-q", "-d", db.url, "-f", script}
	for _, v := range variables {
		args = append(args, "-v", v)
	}
	out, err := exec.CommandContext(db.Context(), "psql", args...).CombinedOutput() // #nosec G204 -- a test's own
	if err != nil {
		db.Fatalf("psql %s: %v\n%s", script, err, out)
	}
}
