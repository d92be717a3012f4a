package desired

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// table says what is read of a table.
type table struct {
	name     string
	columns  []string // every version of the platform has them
	optional []string // some versions only
}

// tables are all that is ever read. deploy/sql/reader.sql grants the same.
var tables = []table{
	{"workspaces", []string{"id", "name", "status", "runtime", "instance_id", "active_tasks", "last_sample_error"},
		[]string{"llm_billing_mode", "update_tier", "kind", "compute"}},
	{"workspace_secrets", []string{"workspace_id", "key", "encrypted_value", "encryption_version", "created_at", "updated_at"}, nil},
	{"global_secrets", []string{"key", "encrypted_value", "encryption_version", "created_at", "updated_at"}, nil},
}

// columns are the optional columns that are there.
type columns map[string]bool

const columnsQuery = `SELECT t.name, a.attname::text, has_column_privilege(a.attrelid, a.attnum, 'SELECT')
FROM unnest($1::text[]) AS t(name)
JOIN pg_catalog.pg_attribute a ON a.attrelid = to_regclass(t.name) AND a.attnum > 0 AND NOT a.attisdropped`

// findColumns finds out what this version of the platform has. It is asked in
// every transaction, since a tenant is upgraded while we run: an override that
// is newly there must count from the next pass on. A column that is there and
// may not be read is an error, for leaving out an override would accuse.
func findColumns(ctx context.Context, tx pgx.Tx) (columns, error) {
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = t.name
	}
	rows, err := tx.Query(ctx, columnsQuery, names)
	if err != nil {
		return nil, err
	}
	readable := map[string]map[string]bool{}
	var of, column string
	var granted bool
	_, err = pgx.ForEachRow(rows, []any{&of, &column, &granted}, func() error {
		if readable[of] == nil {
			readable[of] = map[string]bool{}
		}
		readable[of][column] = granted
		return nil
	})
	if err != nil {
		return nil, err
	}
	there := columns{}
	for _, t := range tables {
		if err := t.check(readable[t.name], there); err != nil {
			return nil, err
		}
	}
	return there, nil
}

// check says what keeps t from being read, and notes its optional columns.
func (t table) check(readable map[string]bool, there columns) error {
	if readable == nil {
		return userError{fmt.Sprintf("there is no table %s: check that this is the tenant's database, the search_path of the role, and its USAGE of the schema (deploy/sql/reader.sql)", t.name)}
	}
	var missing, forbidden []string
	for _, column := range slices.Concat(t.columns, t.optional) {
		granted, is := readable[column]
		optional := slices.Contains(t.optional, column)
		switch {
		case is && !granted:
			forbidden = append(forbidden, column)
		case !is && !optional:
			missing = append(missing, column)
		case is && optional:
			there[column] = true
		}
	}
	switch {
	case missing != nil:
		return userError{fmt.Sprintf("table %s has no column %s: the platform has changed, upgrade the reconciler", t.name, strings.Join(missing, ", "))}
	case forbidden != nil:
		return userError{fmt.Sprintf("table %s: column %s may not be read: run deploy/sql/reader.sql for this role again", t.name, strings.Join(forbidden, ", "))}
	}
	return nil
}

// or gives the expression where the column is there, else NULL as text.
func (c columns) or(column, expression string) string {
	if c[column] {
		return expression
	}
	return "NULL::text"
}
