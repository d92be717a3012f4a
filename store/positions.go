package store

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"
)

// Position is how far an input was read.
type Position struct {
	Key    string
	Offset int64
	Detail json.RawMessage // nil: none
}

// Positions gives those of an input whose keys begin with prefix, by key.
func (s *Store) Positions(ctx context.Context, input, prefix string) (positions []Position, err error) {
	err = s.read(ctx, "read the positions of "+input, func(ctx context.Context, tx pgx.Tx) error {
		positions, err = collect(ctx, tx, func(row pgx.CollectableRow) (p Position, err error) {
			var detail *string
			err = row.Scan(&p.Key, &p.Offset, &detail)
			if detail != nil {
				p.Detail = json.RawMessage(*detail)
			}
			return p, err
		}, `SELECT key, "offset", detail::text FROM positions WHERE input = $1 AND key LIKE $2 ORDER BY key`, input, likePrefix(prefix))
		return err
	})
	return positions, err
}
