package desired

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Workspaces reads the queried workspaces, all of one moment, ordered by id,
// and gives each to yield, which may keep it but must not change Globals. A
// transaction is open meanwhile: yield should be quick. An id that the
// database does not have is left out.
//
// An error of yield ends the reading and is returned as it is. Any other
// error names the source and, where it can, what to do.
func (r *Reader) Workspaces(ctx context.Context, q Query, yield func(*drift.Workspace) error) error {
	ids, err := canonical(q.IDs)
	if err != nil {
		return r.wrap("read workspaces", err)
	}
	q.IDs = ids
	return r.read(ctx, "read workspaces", func(tx pgx.Tx) error {
		there, err := findColumns(ctx, tx)
		if err != nil {
			return err
		}
		texts := interner{}
		secrets := newLedger(&q, r.sealed, texts)
		globals, err := secrets.readGlobals(ctx, tx)
		if err != nil {
			return err
		}
		if err := secrets.readWorkspaces(ctx, tx); err != nil {
			return err
		}
		s := &stream{source: r.source, secrets: secrets, globals: globals, texts: texts}
		return s.run(ctx, tx, there, yield)
	})
}

// workspacesQuery reads every column in a type that wire.go knows.
func workspacesQuery(there columns, some bool) string {
	statement := `SELECT id::uuid, name::text, status::text, runtime::text, instance_id::text, active_tasks::int4,
	left(last_sample_error::text, 1000), ` + strings.Join([]string{
		there.or("llm_billing_mode", "llm_billing_mode::text"),
		there.or("update_tier", "update_tier::text"),
		there.or("kind", "kind::text"),
		there.or("compute", "compute->>'provider'"),
	}, ", ") + ` FROM workspaces`
	if some {
		statement += ` WHERE id = ANY($1::text[]::uuid[])`
	}
	return statement + ` ORDER BY id`
}

// stream turns rows of workspaces into what they stand for.
type stream struct {
	source  string
	secrets *ledger
	globals []drift.StoredSecret
	texts   interner
}

func (s *stream) run(ctx context.Context, tx pgx.Tx, there columns, yield func(*drift.Workspace) error) error {
	var params [][]string
	if ids := s.secrets.query.IDs; len(ids) > 0 {
		params = [][]string{ids}
	}
	return eachRow(ctx, tx, workspacesQuery(there, params != nil), params, func(values [][]byte) error {
		if err := yield(s.decode(values)); err != nil {
			return stopped{err}
		}
		return nil
	})
}

// decode reads a row in the order of workspacesQuery.
func (s *stream) decode(v [][]byte) *drift.Workspace {
	id := wireUUID(v[0])
	return &drift.Workspace{
		Source: s.source, ID: id.String(), Name: string(v[1]),
		Status: s.texts.text(v[2]), Runtime: s.nullable(v[3]), InstanceID: string(v[4]),
		ActiveTasks: wireInt(v[5]), LastSampleError: string(v[6]),
		Override: s.nullable(v[7]), UpdateTier: s.texts.text(v[8]),
		Kind: s.texts.text(v[9]), ComputeProvider: s.texts.text(v[10]),
		Secrets: s.secrets.of(id), Globals: s.globals,
	}
}

func (s *stream) nullable(b []byte) *string {
	if b == nil {
		return nil
	}
	text := s.texts.text(b)
	return &text
}

// canonical gives ids in lower case; an error for one that is no uuid.
func canonical(ids []string) ([]string, error) {
	lower := make([]string, len(ids))
	for i, id := range ids {
		if len(id) != 36 || !isUUIDPrefix(id) {
			return nil, userError{fmt.Sprintf("%q is not the full id of a workspace", id)}
		}
		lower[i] = strings.ToLower(id)
	}
	return lower, nil
}

// isUUIDPrefix tells whether term could be the start of an id.
func isUUIDPrefix(term string) bool {
	if term == "" || len(term) > 36 {
		return false
	}
	for i, c := range []byte(term) {
		if hyphen := i == 8 || i == 13 || i == 18 || i == 23; hyphen != (c == '-') {
			return false
		}
	}
	digits := strings.ReplaceAll(term, "-", "")
	_, err := hex.DecodeString(digits + strings.Repeat("0", len(digits)%2))
	return err == nil
}
