package desired

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Match is a workspace that a term may mean.
type Match struct {
	ID     string
	Name   string
	Status string
}

// maxMatches is how many a person is shown to choose from.
const maxMatches = 20

// An id is compared as a range, so that the index serves it and nothing in a
// term has a meaning of its own.
const findQuery = `SELECT id::text, coalesce(name::text, ''), coalesce(status::text, '') FROM workspaces
WHERE name = $1 OR id BETWEEN $2::text::uuid AND $3::text::uuid
ORDER BY coalesce(status::text, '') = 'removed', id LIMIT $4::int`

const zeroID, lastID = "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"

// Find lists the workspaces that a person may mean by term: the start of an id,
// in any case and with its hyphens, or a whole name. Removed ones count only
// where nothing else matches. At most 20, ordered by id; none is no error.
func (r *Reader) Find(ctx context.Context, term string) ([]Match, error) {
	first, last := lastID, zeroID // an empty range
	if isUUIDPrefix(term) {
		first, last = term+zeroID[len(term):], term+lastID[len(term):]
	}
	var found []Match
	err := r.read(ctx, "find "+quoted(term), func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, findQuery, strings.ToValidUTF8(strings.ReplaceAll(term, "\x00", ""), "\uFFFD"), first, last, maxMatches)
		if err != nil {
			return err
		}
		found, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Match])
		return err
	})
	if err != nil {
		return nil, err
	}
	for i, m := range found {
		if i > 0 && m.Status == "removed" && found[0].Status != "removed" {
			return found[:i], nil
		}
	}
	return found, nil
}
