package desired_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/molecule-ai/billing-reconciler/desired"
	"github.com/molecule-ai/billing-reconciler/desired/tenantschema"
	"github.com/molecule-ai/billing-reconciler/drift"
)

func TestReadsAWorkspaceWhole(t *testing.T) {
	db := newTenant(t, tenantschema.Options{})
	at := time.Date(2026, 5, 28, 18, 31, 0, 123456000, time.UTC)
	db.workspace(tenantschema.Workspace{ID: id(1), Name: "Marketing Agent", Status: "hibernated", Runtime: ptr("claude-code"),
		InstanceID: "i-0ad447e8433902973", ActiveTasks: 3, LastSampleError: "boom", Override: ptr("byok"),
		UpdateTier: "canary", Kind: "platform", ComputeProvider: "hetzner"})
	db.must(tenantschema.PutSecret(t.Context(), db.conn, tenantschema.Secret{Workspace: id(1), Key: "MODEL", Value: []byte(" opus\n"), EncryptionKey: db.key, UpdatedAt: at}))
	db.must(tenantschema.PutSecret(t.Context(), db.conn, tenantschema.Secret{Workspace: id(1), Key: "A_KEY", Value: []byte("s3cret"), UpdatedAt: at}))
	db.must(tenantschema.PutSecret(t.Context(), db.conn, tenantschema.Secret{Workspace: id(1), Key: "B_KEY", EncryptionKey: db.key, UpdatedAt: at}))
	db.must(tenantschema.PutSecret(t.Context(), db.conn, tenantschema.Secret{Key: "MOLECULE_MODEL", Value: []byte("sonnet"), UpdatedAt: at}))
	db.must(tenantschema.PutSecret(t.Context(), db.conn, tenantschema.Secret{Key: "EMPTY", UpdatedAt: at}))

	key := drift.Key(strings.Repeat("0f", 16))
	got := read(t, db.reader(), desired.Query{Fingerprint: key, Credentials: []string{"A_KEY", "B_KEY"}})[id(1)]
	want := &drift.Workspace{Source: "acme", ID: id(1), Name: "Marketing Agent", Status: "hibernated", Runtime: ptr("claude-code"),
		InstanceID: "i-0ad447e8433902973", ActiveTasks: 3, LastSampleError: "boom", Override: ptr("byok"),
		UpdateTier: "canary", Kind: "platform", ComputeProvider: "hetzner",
		Secrets: []drift.StoredSecret{
			{Key: "A_KEY", Fingerprint: key.Fingerprint([]byte("s3cret")), CreatedAt: at, UpdatedAt: at},
			{Key: "B_KEY", Empty: true, CreatedAt: at, UpdatedAt: at},
			{Key: "MODEL", Value: " opus\n", CreatedAt: at, UpdatedAt: at},
		},
		Globals: []drift.StoredSecret{
			{Key: "EMPTY", Empty: true, CreatedAt: at, UpdatedAt: at},
			{Key: "MOLECULE_MODEL", Value: "sonnet", CreatedAt: at, UpdatedAt: at},
		}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestOldPlatformIsReadWithoutTheNewerColumns(t *testing.T) {
	db := newTenant(t, tenantschema.Options{Old: true})
	db.workspace(tenantschema.Workspace{ID: id(1), Status: "NULL"})
	r := db.reader()
	got := read(t, r, desired.Query{})[id(1)]
	if diff := cmp.Diff(&drift.Workspace{Source: "acme", ID: id(1), Name: id(1)}, got); diff != "" {
		t.Error(diff)
	}

	// The platform is upgraded while the reader lives.
	db.exec("ALTER TABLE workspaces ADD llm_billing_mode text DEFAULT 'disabled'")
	if got := read(t, r, desired.Query{})[id(1)].Override; got == nil || *got != "disabled" {
		t.Errorf("the override of the upgraded platform: %v", got)
	}
}

func TestHostileRows(t *testing.T) {
	db := newTenant(t, tenantschema.Options{})
	db.workspace(tenantschema.Workspace{ID: strings.ToUpper(id(0xabc)), Status: "NULL", Runtime: ptr("")})
	db.exec("ALTER TABLE workspaces ALTER name DROP NOT NULL, ALTER active_tasks DROP NOT NULL, ALTER update_tier DROP NOT NULL, ALTER kind DROP NOT NULL")
	db.exec("UPDATE workspaces SET name = NULL, active_tasks = NULL, update_tier = NULL, kind = NULL, compute = '[1]', last_sample_error = repeat('x', 100000)")
	db.exec("ALTER TABLE workspace_secrets ALTER encrypted_value DROP NOT NULL, ALTER encryption_version DROP NOT NULL, ALTER created_at DROP NOT NULL")
	good, err := tenantschema.Encrypt(db.key, []byte("opus"))
	db.must(err)
	foreign, err := tenantschema.Encrypt(tenantschema.NewKey(), []byte("opus"))
	db.must(err)
	damaged := bytes.Clone(good)
	damaged[15] ^= 1
	w := id(0xabc)
	db.raw(w, "MODEL", foreign, 1)
	db.raw(w, "MOLECULE_MODEL", []byte("a\x00b"), 0)
	db.raw(w, "C_DAMAGED", damaged, 1)
	db.raw(w, "C_LONG", bytes.Repeat([]byte("x"), 1<<20+1), 0)
	db.raw(w, "C_NEWER", good, 2)
	db.raw(w, "C_NULL", nil, 0)
	db.raw(w, "C_OTHER", damaged, 1)
	db.raw(w, "C_SHORT", good[:27], 1)
	db.raw("", "MODEL", []byte("\xff"), 0)
	db.exec("UPDATE workspace_secrets SET encrypted_value = NULL, created_at = 'infinity' WHERE key = 'C_NULL'")
	db.raw(id(99), "MODEL", []byte("of nobody"), 0)

	key := drift.Key("k")
	got := read(t, db.reader(), desired.Query{Fingerprint: key, Credentials: []string{"C_DAMAGED", "C_LONG", "C_NEWER", "C_NULL", "C_SHORT"}})
	if len(got) != 1 {
		t.Fatalf("%d workspaces", len(got))
	}
	ws := got[w]
	if ws.Name != "" || ws.Status != "" || ws.Runtime == nil || *ws.Runtime != "" || len(ws.LastSampleError) != 1000 || ws.ComputeProvider != "" || ws.UpdateTier != "" {
		t.Errorf("got %+v", ws)
	}
	errs := map[string]string{}
	for _, s := range append(ws.Secrets, ws.Globals...) {
		errs[s.Key+"/"+s.Value] = s.Err
		if s.Empty != (s.Key == "C_NULL") || s.Fingerprint != "" {
			t.Errorf("%s: empty %v, fingerprint %q", s.Key, s.Empty, s.Fingerprint)
		}
	}
	opening := "does not decrypt: another encryption key, or damaged"
	notText := "not text: it has a NUL byte or is not UTF-8"
	want := map[string]string{"MODEL/": notText, "MOLECULE_MODEL/": notText, "C_DAMAGED/": opening, "C_LONG/": "longer than 1048576 bytes",
		"C_NEWER/": "encryption version 2 is not known", "C_NULL/": "", "C_OTHER/": "", "C_SHORT/": "encrypted, but only 27 bytes long"}
	if diff := cmp.Diff(want, errs); diff != "" {
		t.Error(diff)
	}
	if got := find(ws.Secrets, "MODEL").Err; got != opening {
		t.Errorf("a model under another key: %q", got)
	}
}

func find(rows []drift.StoredSecret, key string) drift.StoredSecret {
	for _, s := range rows {
		if s.Key == key {
			return s
		}
	}
	return drift.StoredSecret{}
}

func TestWithoutEncryptionKeyPlainRowsAreReadStill(t *testing.T) {
	db := newTenant(t, tenantschema.Options{})
	db.workspace(tenantschema.Workspace{ID: id(1)})
	db.secret(id(1), "MODEL", "opus")
	db.raw(id(1), "MOLECULE_MODEL", []byte("sonnet"), 0)
	got := read(t, db.reader(func(s *desired.Source) { s.EncryptionKey = "" }), desired.Query{})[id(1)]
	if err := find(got.Secrets, "MODEL").Err; err != "encrypted, and the source has no encryption_key" {
		t.Errorf("MODEL: %q", err)
	}
	if s := find(got.Secrets, "MOLECULE_MODEL"); s.Value != "sonnet" || s.Err != "" {
		t.Errorf("MOLECULE_MODEL: %+v", s)
	}
}

func TestOnlyTheQueriedWorkspacesAreRead(t *testing.T) {
	db := newTenant(t, tenantschema.Options{})
	for n := 1; n <= 3; n++ {
		db.workspace(tenantschema.Workspace{ID: id(0xa0 + n)})
		db.secret(id(0xa0+n), "MODEL", "opus")
	}
	r := db.reader()
	got := read(t, r, desired.Query{IDs: []string{strings.ToUpper(id(0xa1)), id(0xa3), id(77)}})
	if len(got) != 2 || got[id(0xa1)] == nil || got[id(0xa3)] == nil || len(got[id(0xa3)].Secrets) != 1 {
		t.Errorf("got %v", got)
	}
	err := r.Workspaces(t.Context(), desired.Query{IDs: []string{"6b66"}}, func(*drift.Workspace) error { return nil })
	if err == nil || err.Error() != `source acme: read workspaces: "6b66" is not the full id of a workspace` {
		t.Errorf("a short id: %v", err)
	}
}

func TestErrorOfYieldComesBackAsItIs(t *testing.T) {
	db := newTenant(t, tenantschema.Options{})
	for n := range 5 {
		db.workspace(tenantschema.Workspace{ID: id(n)})
	}
	r, enough, calls := db.reader(), errors.New("enough"), 0
	err := r.Workspaces(t.Context(), desired.Query{}, func(*drift.Workspace) error { calls++; return enough })
	if err != enough || calls != 1 { //nolint:errorlint // the very error
		t.Errorf("got %v after %d calls", err, calls)
	}
	if got := read(t, r, desired.Query{}); len(got) != 5 {
		t.Errorf("the reader is of no more use: %d workspaces", len(got))
	}
}

// Law 10: the tenant's database is only read.
func TestWritingThroughTheReaderIsRefused(t *testing.T) {
	db := newTenant(t, tenantschema.Options{})
	db.workspace(tenantschema.Workspace{ID: id(1)})
	r := db.reader()
	for _, sql := range []string{
		"UPDATE workspaces SET name = 'x'", "DELETE FROM workspaces", "INSERT INTO global_secrets (key, encrypted_value) VALUES ('X', '')",
		"CREATE TABLE x ()", "TRUNCATE workspaces", "SELECT 1 FROM workspaces FOR UPDATE", "SELECT nextval('global_secrets_id_seq')",
		"DO $$ BEGIN DELETE FROM workspaces; END $$",
	} {
		err := r.Read(t.Context(), func(tx pgx.Tx) error { _, err := tx.Exec(t.Context(), sql); return err })
		if code(err) != "25006" {
			t.Errorf("in a transaction, %s: %v", sql, err)
		}
		if err := r.Exec(t.Context(), sql); code(err) != "25006" {
			t.Errorf("outside of one, %s: %v", sql, err)
		}
	}
	err := r.Read(t.Context(), func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), "TABLE workspaces; SET TRANSACTION READ WRITE")
		return err
	})
	if code(err) != "25001" {
		t.Errorf("leaving read-only: %v", err)
	}
}

func code(err error) string {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return server.Code
	}
	return ""
}

func TestNumberOfQueriesDoesNotGrow(t *testing.T) {
	db := newTenant(t, tenantschema.Options{})
	wire, url := tap(t, db.url)
	r := db.reader(func(s *desired.Source) { s.Database = drift.Secret(url) })
	var counts []int
	for n := range 300 {
		db.workspace(tenantschema.Workspace{ID: id(n)})
		db.secret(id(n), "MODEL", "opus")
		if n == 0 || n == 299 {
			wire.take()
			read(t, r, desired.Query{})
			sent, _ := wire.take()
			counts = append(counts, queries(sent))
		}
	}
	// The pool tries a connection that was idle for a second with one query more.
	if grown := counts[1] - counts[0]; grown < 0 || grown > 1 || counts[0] < 4 || counts[0] > 10 {
		t.Errorf("queries for 1 and for 300 workspaces: %v", counts)
	}
}

// queries counts the Query and Execute messages of a client.
func queries(sent []byte) (n int) {
	if len(sent) > 8 && sent[0] == 0 { // the start-up message has no type
		sent = sent[binary.BigEndian.Uint32(sent):]
	}
	for len(sent) >= 5 {
		if sent[0] == 'Q' || sent[0] == 'E' {
			n++
		}
		sent = sent[1+binary.BigEndian.Uint32(sent[1:]):]
	}
	return n
}

func TestBytesOfOtherSecretsNeverLeaveTheDatabase(t *testing.T) {
	db := newTenant(t, tenantschema.Options{})
	db.workspace(tenantschema.Workspace{ID: id(1)})
	db.raw(id(1), "GITHUB_TOKEN", []byte("planted-github"), 0)
	db.raw(id(1), "A_KEY", []byte("planted-credential"), 0)
	db.raw("", "SLACK", []byte("planted-slack"), 0)
	db.raw(id(1), "MODEL", []byte("planted-model"), 0)
	wire, url := tap(t, db.url)
	r := db.reader(func(s *desired.Source) { s.Database = drift.Secret(url) })
	for _, row := range []struct {
		rule string
		key  drift.Key
		want []string
	}{
		{"without a fingerprint key only models", "", []string{"model"}},
		{"with one the credentials too", "k", []string{"credential", "model"}},
	} {
		read(t, r, desired.Query{Fingerprint: row.key, Credentials: []string{"A_KEY"}})
		_, received := wire.take()
		var got []string
		for _, name := range []string{"credential", "github", "model", "slack"} {
			if bytes.Contains(received, []byte("planted-"+name)) {
				got = append(got, name)
			}
		}
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%s: %s", row.rule, diff)
		}
	}
}

func TestFind(t *testing.T) {
	db := newTenant(t, tenantschema.Options{})
	const incident, sibling = "6b66de8d-9337-4fb4-be8d-6d49dca0d809", "6b66de8d-9400-4fb4-be8d-6d49dca0d809"
	db.workspace(tenantschema.Workspace{ID: incident, Name: "Marketing Agent"})
	db.workspace(tenantschema.Workspace{ID: sibling, Name: "50%_off"})
	db.workspace(tenantschema.Workspace{ID: id(1), Name: "Marketing Agent", Status: "removed"})
	db.workspace(tenantschema.Workspace{ID: id(2), Name: "gone", Status: "removed"})
	for _, row := range []struct {
		rule, term string
		want       []string
	}{
		{"a full id", incident, []string{incident}},
		{"a prefix in capitals", "6B66DE8D-93", []string{incident}},
		{"an odd number of digits", "6b66de8d-933", []string{incident}},
		{"an ambiguous prefix", "6b66", []string{incident, sibling}},
		{"a prefix that ends at a hyphen", "6b66de8d-", []string{incident, sibling}},
		{"hyphens in other places are no id", "6b66de8d9337", nil},
		{"a name, where a removed one has it too", "Marketing Agent", []string{incident}},
		{"a name that only a removed one has", "gone", []string{id(2)}},
		{"names are whole", "Marketing", nil},
		{"wildcards mean nothing", "%", nil},
		{"wildcards in a name are letters", "50%_off", []string{sibling}},
		{"nothing", "", nil},
		{"what no database holds", "a\x00\xff", nil},
	} {
		found, err := db.reader().Find(t.Context(), row.term)
		if err != nil {
			t.Errorf("%s: %v", row.rule, err)
		}
		var got []string
		for _, m := range found {
			got = append(got, m.ID)
		}
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%s: %s", row.rule, diff)
		}
	}
}

func TestReadingEndsWithItsContext(t *testing.T) {
	db := newTenant(t, tenantschema.Options{})
	for n := range 3 {
		db.workspace(tenantschema.Workspace{ID: id(n)})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := db.reader().Workspaces(ctx, desired.Query{}, func(*drift.Workspace) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
