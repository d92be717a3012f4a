package desired_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/molecule-ai/billing-reconciler/desired"
	"github.com/molecule-ai/billing-reconciler/desired/tenantschema"
)

func TestExamine(t *testing.T) {
	db := newTenant(t, tenantschema.Options{Old: true})
	db.exec("ALTER TABLE workspaces ADD kind text")
	db.workspace(tenantschema.Workspace{ID: id(1)})
	db.workspace(tenantschema.Workspace{ID: id(2)})
	db.secret(id(1), "MODEL", "opus")
	db.secret("", "A_KEY", "x")
	db.secret(id(2), "A_KEY", "x")
	db.raw(id(2), "MODEL", []byte("plain"), 0)
	for _, row := range []struct {
		rule             string
		edit             func(*desired.Source)
		opened, unopened int
	}{
		{"with the key", func(*desired.Source) {}, 1, 0},
		{"with another key", func(s *desired.Source) { s.EncryptionKey = tenantschema.NewKey() }, 0, 1},
		{"without one", func(s *desired.Source) { s.EncryptionKey = "" }, 0, 1},
	} {
		got, err := db.reader(row.edit).Examine(t.Context())
		db.must(err)
		want := &desired.Examination{Missing: []string{"workspaces.llm_billing_mode", "workspaces.update_tier", "workspaces.compute"},
			Workspaces: 2, Sealed: 3, Opened: row.opened, Unopened: row.unopened, MayWrite: true} // the tests' own role is a superuser
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(desired.Examination{}, "Version", "Ahead")); diff != "" {
			t.Errorf("%s: %s", row.rule, diff)
		}
		if got.Version == "" || got.Ahead.Abs() > time.Minute {
			t.Errorf("%s: %+v", row.rule, got)
		}
	}
	db.exec("DROP TABLE global_secrets")
	if _, err := db.reader().Examine(t.Context()); err == nil {
		t.Error("a missing table was not noticed")
	}
}
