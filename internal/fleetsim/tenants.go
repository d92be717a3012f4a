package fleetsim

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/desired/tenantschema"
	"github.com/molecule-ai/billing-reconciler/internal/localpg"
)

// tenantNames are the demo's customers; the first is the incident's.
var tenantNames = []string{"reno-stars", "blue-harbor", "north-mill", "kite-works"}

// newTenants makes n tenants: every second one stores its secrets plain, every
// third runs an older platform.
func newTenants(n int) []*Tenant {
	tenants := make([]*Tenant, n)
	for i := range tenants {
		name := fmt.Sprintf("tenant-%03d", i)
		if i < len(tenantNames) {
			name = tenantNames[i]
		}
		t := &Tenant{Name: name, Old: i%3 == 2, Globals: map[string]string{"SENTRY_DSN": "https://sentry.example/1"}}
		if i == 1 {
			// One that the platform strips, and one that it leaves.
			t.Globals["OPENROUTER_API_KEY"], t.Globals["NVIDIA_API_KEY"] = "global-openrouter", "global-nvidia"
		}
		if i%2 == 0 {
			t.Key = tenantschema.NewKey()
		}
		tenants[i] = t
	}
	return tenants
}

// fill makes a tenant's database and writes its members into it.
func (t *Tenant) fill(ctx context.Context, pg *localpg.Server, database string, members []*Member) error {
	url, err := pg.CreateDatabase(ctx, database, "")
	if err != nil {
		return err
	}
	t.URL = url
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("tenant %s: %w", t.Name, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := tenantschema.Create(ctx, conn, tenantschema.Options{Old: t.Old}); err != nil {
		return err
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return fmt.Errorf("tenant %s: %w", t.Name, err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	for key, value := range t.Globals {
		if err := tenantschema.PutSecret(ctx, tx, tenantschema.Secret{Key: key, Value: []byte(value), EncryptionKey: t.Key, UpdatedAt: long}); err != nil {
			return err
		}
	}
	for _, m := range members {
		if m.Tenant != t {
			continue
		}
		if err := m.insert(ctx, tx); err != nil {
			return fmt.Errorf("tenant %s: %s: %w", t.Name, m.Row.ID, err)
		}
	}
	return tx.Commit(ctx)
}

// long is when what stands in the stores was written: before every container.
var long = time.Now().Add(-30 * 24 * time.Hour)

func (m *Member) insert(ctx context.Context, conn tenantschema.Conn) error {
	row := m.Row
	if m.Tenant.Old {
		row.Override, row.UpdateTier, row.Kind, row.ComputeProvider = nil, "", "", ""
	}
	if err := tenantschema.InsertWorkspace(ctx, conn, row); err != nil {
		return err
	}
	for key, value := range m.Secrets {
		s := tenantschema.Secret{Workspace: m.Row.ID, Key: key, Value: []byte(value), EncryptionKey: m.Tenant.Key, UpdatedAt: long}
		if key == m.Spoilt {
			if err := tenantschema.PutRaw(ctx, conn, s, []byte("no key of this world opens what is in here"), 1); err != nil {
				return err
			}
			continue
		}
		if err := tenantschema.PutSecret(ctx, conn, s); err != nil {
			return err
		}
	}
	return nil
}
