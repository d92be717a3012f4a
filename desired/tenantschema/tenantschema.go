// Package tenantschema makes a tenant's database for tests and for the demo:
// the tables that the reconciler reads, and rows in them.
// The product itself never writes to a tenant and never imports this package.
package tenantschema

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

//go:embed schema.sql
var schema string

//go:embed newer.sql
var newer string

// Conn is what writes: a pgx.Conn, a pgxpool.Pool or a pgx.Tx.
type Conn interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Options choose the platform's version.
type Options struct {
	// Old leaves out the columns that only newer versions have:
	// llm_billing_mode, update_tier, kind and compute.
	Old bool
}

// Create makes the tables in an empty database.
func Create(ctx context.Context, conn Conn, o Options) error {
	script := schema
	if !o.Old {
		script += newer
	}
	if _, err := conn.Exec(ctx, script); err != nil {
		return fmt.Errorf("create tenant schema: %w", err)
	}
	return nil
}

// Workspace is a row of workspaces. The zero value of a field is the column's
// usual value; see the comments for those where that is not what it says.
type Workspace struct {
	ID              string // required
	Name            string // "": the id
	Status          string // "": online. "NULL": NULL
	Runtime         *string
	InstanceID      string // "": NULL
	ActiveTasks     int
	LastSampleError string // "": NULL

	// Newer versions only; setting one on an old schema is an error.
	Override        *string // llm_billing_mode
	UpdateTier      string
	Kind            string
	ComputeProvider string // compute->>'provider'
}

// InsertWorkspace adds a row, naming only the columns that are set, so that it
// works on an old schema too.
func InsertWorkspace(ctx context.Context, conn Conn, w Workspace) error {
	row := columns{}
	row.set("id", w.ID)
	row.set("name", orElse(w.Name, w.ID))
	row.set("active_tasks", w.ActiveTasks)
	if status := orElse(w.Status, "online"); status != "NULL" {
		row.set("status", status)
	}
	if w.Runtime != nil {
		row.set("runtime", *w.Runtime)
	}
	row.setText("instance_id", w.InstanceID)
	row.setText("last_sample_error", w.LastSampleError)
	if w.Override != nil {
		row.set("llm_billing_mode", *w.Override)
	}
	row.setText("update_tier", w.UpdateTier)
	row.setText("kind", w.Kind)
	if w.ComputeProvider != "" {
		row.set("compute", map[string]string{"provider": w.ComputeProvider})
	}
	if _, err := conn.Exec(ctx, row.insert("workspaces"), row.values...); err != nil {
		return fmt.Errorf("insert workspace %s: %w", w.ID, err)
	}
	return nil
}

// columns collects a row to insert.
type columns struct {
	names  []string
	values []any
}

func (c *columns) set(name string, value any) {
	c.names, c.values = append(c.names, name), append(c.values, value)
}

func (c *columns) setText(name, value string) {
	if value != "" {
		c.set(name, value)
	}
}

// insert gives the statement. The names are constants of this package.
func (c *columns) insert(table string) string {
	holders := make([]string, len(c.names))
	for i := range holders {
		holders[i] = fmt.Sprintf("$%d", i+1)
	}
	return fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", table, strings.Join(c.names, ", "), strings.Join(holders, ", "))
}

func orElse(value, other string) string {
	if value == "" {
		return other
	}
	return value
}
