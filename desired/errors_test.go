package desired_test

import (
	"context"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/molecule-ai/billing-reconciler/desired"
	"github.com/molecule-ai/billing-reconciler/desired/tenantschema"
	"github.com/molecule-ai/billing-reconciler/drift"
)

func TestOpenRefusesABadConfigurationWithoutRepeatingIt(t *testing.T) {
	const secret = "hunter2hunter2"
	for _, row := range []struct {
		rule string
		src  desired.Source
		want string
	}{
		{"a key that is too short", desired.Source{EncryptionKey: secret}, "source acme: encryption key: neither 32 bytes nor base64 of 32 bytes: give SECRETS_ENCRYPTION_KEY as the platform has it"},
		{"a key that is base64 of too little", desired.Source{EncryptionKey: "aHVudGVyMmh1bnRlcjI="}, "source acme: encryption key: neither 32"},
		{"no connection string", desired.Source{Database: "postgres://u:" + secret + "@[::1/x"}, "source acme: database: not a connection string: write postgres://"},
		{"a connection string of words", desired.Source{Database: "host=x password='" + secret + " port=y"}, "source acme: database: not a connection string"},
	} {
		row.src.Name = "acme"
		_, err := desired.Open(t.Context(), row.src)
		if err == nil || !strings.HasPrefix(err.Error(), row.want) || strings.Contains(err.Error(), secret[:7]) {
			t.Errorf("%s: %v", row.rule, err)
		}
	}
}

// fail gives the error of reading a source.
func fail(t *testing.T, ctx context.Context, r *desired.Reader) string { //nolint:revive // t comes first in tests
	t.Helper()
	err := r.Workspaces(ctx, desired.Query{}, func(*drift.Workspace) error { return nil })
	if err == nil {
		t.Fatal("read without an error")
	}
	return err.Error()
}

func TestErrorsNameTheSourceAndARemedy(t *testing.T) {
	db := newTenant(t, tenantschema.Options{})
	at := func(edit func(*url.URL)) string {
		u, err := url.Parse(db.url)
		db.must(err)
		edit(u)
		r := db.reader(func(s *desired.Source) { s.Database = drift.Secret(u.String()) })
		return fail(t, t.Context(), r)
	}
	full, _ := url.Parse(db.url)
	for _, row := range []struct {
		rule, got string
		want      []string
	}{
		{"nobody listens", at(func(u *url.URL) { u.Host = net.JoinHostPort("127.0.0.1", "1") }), []string{"connect to 127.0.0.1:1/", "check host, port"}},
		{"no such host", at(func(u *url.URL) { u.Host = "no-such-host.invalid" }), []string{"connect to no-such-host.invalid:5432/", "check the host's name"}},
		{"no such database", at(func(u *url.URL) { u.Path = "/nowhere" }), []string{"3D000", "check the database's name"}},
		{"another password", at(func(u *url.URL) { u.User = url.UserPassword(full.User.Username(), "wrong-secret") }), []string{"28P01", "check the password"}},
		{"a database that is no tenant's", at(func(u *url.URL) { u.Path = "/postgres" }), []string{"read workspaces: there is no table workspaces: check that this is the tenant's database"}},
	} {
		for _, want := range append(row.want, "source acme: ") {
			if !strings.Contains(row.got, want) || strings.Contains(row.got, "wrong-secret") {
				t.Errorf("%s: got %q, want %q", row.rule, row.got, want)
			}
		}
	}
}

func TestMissingColumnIsSaid(t *testing.T) {
	db := newTenant(t, tenantschema.Options{})
	db.exec("ALTER TABLE global_secrets RENAME key TO name")
	if got, want := fail(t, t.Context(), db.reader()), "source acme: read workspaces: table global_secrets has no column key: the platform has changed, upgrade the reconciler"; got != want {
		t.Errorf("got %s", got)
	}
}

func TestSlowStatementIsGivenUp(t *testing.T) {
	db := newTenant(t, tenantschema.Options{})
	tx, err := db.conn.Begin(t.Context())
	db.must(err)
	defer tx.Rollback(context.Background()) //nolint:errcheck // nothing to lose
	_, err = tx.Exec(t.Context(), "LOCK TABLE workspace_secrets IN ACCESS EXCLUSIVE MODE")
	db.must(err)
	got := fail(t, t.Context(), db.reader(func(s *desired.Source) { s.StatementTimeout = 50 * time.Millisecond }))
	if !strings.Contains(got, "57014") || !strings.Contains(got, "raise the source's statement time-out") {
		t.Errorf("got %s", got)
	}
}

func TestSilentServerIsGivenUp(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // nothing to lose
	r, err := desired.Open(t.Context(), desired.Source{Name: "mute", Database: drift.Secret("postgres://u@" + listener.Addr().String() + "/x?sslmode=disable")})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if got := fail(t, ctx, r); !strings.HasPrefix(got, "source mute: ") {
		t.Errorf("got %s", got)
	}
}

// deploy/sql/reader.sql, run by psql as an operator does, twice, must make a
// role that reads what is needed and nothing else; and a column that a later
// platform adds is asked for instead of being gone without.
func TestReaderRole(t *testing.T) {
	db := newTenant(t, tenantschema.Options{Old: true})
	db.workspace(tenantschema.Workspace{ID: id(1)})
	db.secret(id(1), "MODEL", "opus")
	role := "reader_" + strings.ToLower(t.Name())
	db.psql("../deploy/sql/reader.sql", "role="+role, "password=it's a 'secret'")
	db.psql("../deploy/sql/reader.sql", "role="+role, "password=it's a 'secret'")
	t.Cleanup(func() {
		_, err := db.conn.Exec(context.Background(), "DROP OWNED BY "+role+"; DROP ROLE "+role)
		if err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(db.url)
	db.must(err)
	u.User = url.UserPassword(role, "it's a 'secret'")
	r := db.reader(func(s *desired.Source) { s.Database = drift.Secret(u.String()) })
	if got := read(t, r, desired.Query{}); len(got) != 1 || got[id(1)].Secrets[0].Value != "opus" {
		t.Errorf("got %v", got)
	}

	plain := connect(t, u.String())
	for _, sql := range []string{"UPDATE workspaces SET name = 'x'", "DELETE FROM workspace_secrets", "CREATE TABLE t ()",
		"SET default_transaction_read_only = off; DELETE FROM global_secrets", "SELECT parent_id FROM workspaces"} {
		if _, err := plain.Exec(t.Context(), sql); code(err) != "42501" && code(err) != "25006" {
			t.Errorf("%s: %v", sql, err)
		}
	}

	db.exec("ALTER TABLE workspaces ADD llm_billing_mode text")
	want := "source acme: read workspaces: table workspaces: column llm_billing_mode may not be read: run deploy/sql/reader.sql for this role again"
	if got := fail(t, t.Context(), r); got != want {
		t.Errorf("got %s", got)
	}
	db.psql("../deploy/sql/reader.sql", "role="+role, "password=other")
	u.User = url.UserPassword(role, "other")
	r = db.reader(func(s *desired.Source) { s.Database = drift.Secret(u.String()) })
	if got := read(t, r, desired.Query{}); len(got) != 1 {
		t.Errorf("after the script has been run again: %v", got)
	}
}
