package desired

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Examination is what can be told of a tenant's database before it is relied
// on.
type Examination struct {
	Version    string        // of the server
	Missing    []string      // optional columns that this version of the platform does not have
	Ahead      time.Duration // the database's clock minus ours, as far as the network lets it be told
	Workspaces int
	Sealed     int  // rows of secrets that are encrypted
	Opened     int  // models that were tried with the source's key and opened
	Unopened   int  // models that were tried and did not
	MayWrite   bool // the role could write, were its transactions not read-only
}

const examineQuery = `SELECT current_setting('server_version'), clock_timestamp(),
	(SELECT count(*) FROM workspaces)::int4,
	(SELECT count(*) FROM workspace_secrets WHERE encryption_version <> 0)::int4 + (SELECT count(*) FROM global_secrets WHERE encryption_version <> 0)::int4,
	has_table_privilege('workspaces', 'INSERT') OR has_table_privilege('workspaces', 'UPDATE') OR has_table_privilege('workspaces', 'DELETE')`

const sampleQuery = `SELECT encryption_version::int4, encrypted_value FROM workspace_secrets
	WHERE key = ANY($1::text[]) AND encryption_version <> 0 AND octet_length(encrypted_value) <= 1048576 ORDER BY updated_at DESC LIMIT 20`

// Examine tries all that reading needs, the key on the newest models among it.
func (r *Reader) Examine(ctx context.Context) (*Examination, error) {
	e := &Examination{}
	err := r.read(ctx, "examine", func(tx pgx.Tx) error {
		there, err := findColumns(ctx, tx)
		if err != nil {
			return err
		}
		for _, t := range tables {
			for _, column := range t.optional {
				if !there[column] {
					e.Missing = append(e.Missing, t.name+"."+column)
				}
			}
		}
		asked := time.Now()
		var clock time.Time
		if err := tx.QueryRow(ctx, examineQuery).Scan(&e.Version, &clock, &e.Workspaces, &e.Sealed, &e.MayWrite); err != nil {
			return err
		}
		answered := time.Now()
		e.Ahead = clock.Sub(asked.Add(answered.Sub(asked) / 2))
		return r.tryKey(ctx, tx, e)
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

func (r *Reader) tryKey(ctx context.Context, tx pgx.Tx, e *Examination) error {
	rows, err := tx.Query(ctx, sampleQuery, []string{drift.KeyModel, drift.KeyMoleculeModel})
	if err != nil {
		return err
	}
	var version int
	var sealed []byte
	_, err = pgx.ForEachRow(rows, []any{&version, &sealed}, func() error {
		if _, err := isEmpty(version, len(sealed)); err != nil {
			e.Unopened++
			return nil
		}
		if _, err := r.sealed.open(nil, version, sealed); err != nil {
			e.Unopened++
			return nil
		}
		e.Opened++
		return nil
	})
	return err
}
