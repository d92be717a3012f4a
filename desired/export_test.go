package desired

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Read lets tests use a reader's connection as the reader does.
func (r *Reader) Read(ctx context.Context, fn func(pgx.Tx) error) error {
	return r.read(ctx, "test", fn)
}

// Exec lets tests use a reader's connection outside of a transaction.
func (r *Reader) Exec(ctx context.Context, sql string) error {
	_, err := r.pool.Exec(ctx, sql)
	return err
}

// Pooled tells whether the reader has found itself behind a pooler.
func (r *Reader) Pooled() bool { return r.pooled.Load() }

// OpenSealed decrypts as the reader does: emptiness by length first.
func OpenSealed(key string, version int, stored []byte) (value []byte, empty bool, err error) {
	raw, err := newOpener(drift.Secret(key))
	if err != nil {
		return nil, false, err
	}
	if empty, err = isEmpty(version, len(stored)); err != nil || empty {
		return nil, empty, err
	}
	value, err = raw.open(nil, version, stored)
	return value, false, err
}

// Look reads a plain credential as a pass does, and gives what is left of it in
// the scratch space.
func Look(value string) (fingerprint drift.Fingerprint, left []byte) {
	l := newLedger(&Query{Fingerprint: "k", Credentials: []string{"A_KEY"}}, &opener{}, interner{})
	saw := l.look("A_KEY", versionPlain, []byte(value))
	return saw.fingerprint, l.scratch[:len(value)]
}
