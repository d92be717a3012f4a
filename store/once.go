package store

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// OnceKey tells requests apart that ask for the same change.
type OnceKey struct {
	Principal string   // who asks, by the name of a token: keys of others are others
	Key       string   // the Idempotency-Key
	Digest    [32]byte // of the request: a key belongs to one
}

// answerKept is how long a key is remembered.
const answerKept = 24 * time.Hour

// Once makes a change and keeps its answer, both in one transaction. Where the
// key has been used for this very request in the last 24 hours nothing is
// changed, and the same answer is given, byte for byte. A key that was used for
// another request is ErrKeyReused. Of two at once, one makes the change and the
// other waits for its answer. A change that gives an error is none, and can be
// asked for again.
//
// change may be run more than once; only what it does by its Change is undone
// in between. Where it makes several changes, looks are requested last: others
// that pause first and request then would wait in a circle.
func (s *Store) Once(ctx context.Context, key OnceKey, change func(*Change) (any, error)) (answer json.RawMessage, replayed bool, err error) {
	err = s.change(ctx, "change once", func(ctx context.Context, c *Change) error {
		answer, replayed = nil, false
		if answer, replayed, err = key.claim(ctx, c.tx); err != nil || replayed {
			return err
		}
		given, err := change(c)
		if err != nil {
			return err
		}
		text, err := asText(given)
		if err != nil {
			return err
		}
		answer = json.RawMessage(text)
		_, err = c.tx.Exec(ctx, "UPDATE answers SET answer = $3::json WHERE principal = $1 AND key = $2", key.Principal, key.Key, text)
		return err
	})
	if err != nil {
		return nil, false, err
	}
	return answer, replayed, nil
}

// claim takes the key, or gives the answer that is stored under it. It waits
// for whoever else is just using it.
func (k *OnceKey) claim(ctx context.Context, tx pgx.Tx) (answer json.RawMessage, replayed bool, err error) {
	if _, err := tx.Exec(ctx, "DELETE FROM answers WHERE principal = $1 AND key = $2 AND at < clock_timestamp() - make_interval(secs => $3)",
		k.Principal, k.Key, seconds(answerKept)); err != nil {
		return nil, false, err
	}
	tag, err := tx.Exec(ctx, "INSERT INTO answers (principal, key, digest) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", k.Principal, k.Key, k.Digest[:])
	if err != nil || tag.RowsAffected() == 1 {
		return nil, false, err
	}
	var digest, stored []byte
	err = tx.QueryRow(ctx, "SELECT digest, answer FROM answers WHERE principal = $1 AND key = $2", k.Principal, k.Key).Scan(&digest, &stored)
	switch {
	case err != nil:
		return nil, false, err
	case !bytes.Equal(digest, k.Digest[:]):
		return nil, false, ErrKeyReused
	}
	return stored, true, nil
}
