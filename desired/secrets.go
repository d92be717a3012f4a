package desired

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// Query says what to read.
type Query struct {
	// IDs are full uuids, in any case; empty: all workspaces.
	IDs []string
	// Fingerprint is the pass's key; "": credentials are not decrypted.
	Fingerprint drift.Key
	// Credentials are the names to fingerprint; see CredentialNames.
	Credentials []string
}

// wanted lists the keys whose bytes are fetched at all.
func (q *Query) wanted() []string {
	keys := []string{drift.KeyModel, drift.KeyMoleculeModel}
	if q.Fingerprint != "" {
		keys = append(keys, q.Credentials...)
	}
	return keys
}

// The bytes of a secret are selected only for the keys in $1. The order of the
// rows does not matter: sorting them would be the tenant's server's work.
const (
	secretColumns = `key::text, coalesce(encryption_version, -1)::int4, coalesce(octet_length(encrypted_value), 0)::int4,
	CASE WHEN key = ANY($1::text[]) AND octet_length(encrypted_value) <= 1048576 THEN encrypted_value END,
	created_at::timestamptz, updated_at::timestamptz`
	globalsQuery  = `SELECT ` + secretColumns + ` FROM global_secrets`
	secretsQuery  = `SELECT ` + secretColumns + `, workspace_id::uuid FROM workspace_secrets`
	secretsOfSome = secretsQuery + ` WHERE workspace_id = ANY($2::text[]::uuid[])`
)

// secretRow is a StoredSecret in a quarter of the space and without pointers: a
// source's rows are all held while its workspaces are streamed past them.
type secretRow struct {
	created, updated int64 // microseconds, or never
	key              int32 // in ledger.keys
	next             int32 // the workspace's next row; -1: none
	seen             int32 // in ledger.seen; -1: not decrypted, nothing wrong
	empty            bool
}

// seen is what only some rows have.
type seen struct {
	value       string
	fingerprint drift.Fingerprint
	err         string
}

// secretKey is a key that occurs, with what it means to the query.
type secretKey struct {
	name   string
	wanted bool // its bytes were fetched
}

// ledger holds the rows of workspace_secrets of one read, by workspace.
type ledger struct {
	query   *Query
	sealed  *opener
	texts   interner
	scratch []byte // a decrypted value, for a moment

	ids    map[string]int32 // of keys
	keys   []secretKey
	owners map[uuid]int32 // place in heads
	heads  chunks[int32]  // each workspace's last row
	last   uuid           // the owner of the row before, for rows often come in runs
	head   *int32         // its head; nil: none yet
	rows   chunks[secretRow]
	seen   chunks[seen]
}

func newLedger(q *Query, sealed *opener, texts interner) *ledger {
	l := &ledger{query: q, sealed: sealed, texts: texts, ids: map[string]int32{}, owners: map[uuid]int32{}}
	for _, key := range q.wanted() {
		l.keys[l.key([]byte(key))].wanted = true
	}
	return l
}

// key gives a key's place in keys.
func (l *ledger) key(name []byte) int32 {
	id, ok := l.ids[string(name)]
	if !ok {
		id = int32(len(l.keys)) // #nosec G115 -- two milliard keys do not fit in memory
		l.keys = append(l.keys, secretKey{name: string(name)})
		l.ids[l.keys[id].name] = id
	}
	return id
}

// readGlobals reads the tenant's own rows, sorted by key.
func (l *ledger) readGlobals(ctx context.Context, tx pgx.Tx) ([]drift.StoredSecret, error) {
	var globals []drift.StoredSecret
	err := eachRow(ctx, tx, globalsQuery, [][]string{l.query.wanted()}, func(values [][]byte) error {
		row := l.decode(values)
		globals = append(globals, l.stored(&row))
		return nil
	})
	sortByKey(globals)
	return globals, err
}

// readWorkspaces reads the rows of the queried workspaces.
func (l *ledger) readWorkspaces(ctx context.Context, tx pgx.Tx) error {
	statement, params := secretsQuery, [][]string{l.query.wanted()}
	if len(l.query.IDs) > 0 {
		statement, params = secretsOfSome, append(params, l.query.IDs)
	}
	return eachRow(ctx, tx, statement, params, func(values [][]byte) error {
		l.add(wireUUID(values[6]), l.decode(values))
		return nil
	})
}

func (l *ledger) add(owner uuid, row secretRow) {
	if l.head == nil || owner != l.last {
		l.last, l.head = owner, l.headOf(owner)
	}
	row.next = *l.head
	*l.head = l.rows.add(row)
}

// headOf gives the place of a workspace's last row, a new one if need be.
func (l *ledger) headOf(owner uuid) *int32 {
	i, ok := l.owners[owner]
	if !ok {
		i = l.heads.add(-1)
		l.owners[owner] = i
	}
	return l.heads.at(i)
}

// of gives a workspace's rows, sorted by key.
func (l *ledger) of(id uuid) []drift.StoredSecret {
	owner, ok := l.owners[id]
	if !ok {
		return nil
	}
	head, n := *l.heads.at(owner), 0
	for i := head; i >= 0; i = l.rows.at(i).next {
		n++
	}
	secrets := make([]drift.StoredSecret, 0, n)
	for i := head; i >= 0; i = l.rows.at(i).next {
		secrets = append(secrets, l.stored(l.rows.at(i)))
	}
	sortByKey(secrets)
	return secrets
}

func (l *ledger) stored(row *secretRow) drift.StoredSecret {
	s := drift.StoredSecret{Key: l.keys[row.key].name, Empty: row.empty, CreatedAt: asTime(row.created), UpdatedAt: asTime(row.updated)}
	if row.seen >= 0 {
		more := l.seen.at(row.seen)
		s.Value, s.Fingerprint, s.Err = more.value, more.fingerprint, more.err
	}
	return s
}

// decode reads a row in the order of secretColumns.
func (l *ledger) decode(values [][]byte) secretRow {
	row := secretRow{key: l.key(values[0]), created: wireTime(values[4]), updated: wireTime(values[5]), seen: -1}
	version, length := wireInt(values[1]), wireInt(values[2])
	var more seen
	var err error
	if row.empty, err = isEmpty(version, length); err != nil {
		more.err = err.Error()
	} else if key := l.keys[row.key]; key.wanted && !row.empty {
		more = l.look(key.name, version, values[3])
	}
	if more != (seen{}) {
		row.seen = l.seen.add(more)
	}
	return row
}

// look decrypts a value: a model is kept, of anything else only the
// fingerprint. A nil value was too long to be fetched.
func (l *ledger) look(key string, version int, value []byte) seen {
	if value == nil {
		return seen{err: errTooLong.Error()}
	}
	plain, err := l.sealed.open(l.scratch[:0], version, value)
	l.scratch = plain
	defer clear(plain)
	isModel := key == drift.KeyModel || key == drift.KeyMoleculeModel
	if err == nil && isModel {
		err = modelText(plain)
	}
	switch {
	case err != nil:
		return seen{err: err.Error()}
	case isModel:
		return seen{value: l.texts.text(plain)}
	}
	return seen{fingerprint: l.query.Fingerprint.Fingerprint(plain)}
}

func sortByKey(rows []drift.StoredSecret) {
	slices.SortFunc(rows, func(a, b drift.StoredSecret) int { return strings.Compare(a.Key, b.Key) })
}
