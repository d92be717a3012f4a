package store

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// WorkspaceFilter says which workspaces. Its zero value is the first page of
// all.
type WorkspaceFilter struct {
	Source  string
	Verdict drift.Verdict
	Kind    drift.Kind // of a finding that stands
	Query   string     // a name begins so, in upper or lower case, or an id does
	IDs     []string
	After   string // a cursor that a page ended with
	Limit   int    // 0: 100; at most 1,000
}

// WorkspaceRow is a workspace's state beside what belongs to it.
type WorkspaceRow struct {
	Source string
	State
	Episode    *int64    // the open drift; nil: none
	LastPassAt time.Time // over its source. Where the workspace is Observed, it was seen then
}

// Workspaces gives a page of workspaces, by source and id, and the cursor of
// the next page, "" after the last.
func (s *Store) Workspaces(ctx context.Context, f WorkspaceFilter) (rows []WorkspaceRow, next string, err error) {
	where, err := f.where()
	if err != nil {
		return nil, "", s.wrap("read workspaces", err)
	}
	limit := bounded(f.Limit)
	err = s.read(ctx, "read workspaces", func(ctx context.Context, tx pgx.Tx) error {
		rows, err = collect(ctx, tx, scanWorkspace, workspaceSelect+where.sql()+" ORDER BY s.source, s.id LIMIT "+strconv.Itoa(limit+1), where.args...)
		return err
	})
	if len(rows) > limit {
		rows = rows[:limit]
		last := &rows[limit-1]
		next = cursor(last.Source, last.ID)
	}
	return rows, next, err
}

func (f *WorkspaceFilter) where() (w conditions, err error) {
	if f.Source != "" {
		w.add("s.source = $", f.Source)
	}
	if f.Verdict == drift.Drifted {
		w.plain("s.verdict = 'drifted'") // a word and no argument: there is an index of these
	} else if f.Verdict != "" {
		w.add("s.verdict = $", string(f.Verdict))
	}
	if f.Kind != "" {
		w.add("$ = ANY(s.kinds)", string(f.Kind))
	}
	if f.IDs != nil {
		w.add("s.id = ANY($::uuid[])", onlyUUIDs(f.IDs))
	}
	if f.Query != "" {
		w.begins(f.Query)
	}
	if f.After != "" {
		parts, err := uncursor(f.After, 2)
		if err != nil {
			return w, err
		}
		w.args = append(w.args, parts[0], parts[1])
		n := len(w.args)
		w.plain("(s.source, s.id) > ($" + strconv.Itoa(n-1) + "::text, $" + strconv.Itoa(n) + "::uuid)")
	}
	return w, nil
}

// begins takes what begins with a term, by name or by id.
func (c *conditions) begins(term string) {
	name := "lower(s.name) LIKE $"
	low, high, ok := prefixRange(term)
	if !ok {
		c.add(name, likePrefix(strings.ToLower(term)))
		return
	}
	c.args = append(c.args, likePrefix(strings.ToLower(term)), low, high)
	n := len(c.args)
	c.plain("(lower(s.name) LIKE $" + strconv.Itoa(n-2) + " OR s.id BETWEEN $" + strconv.Itoa(n-1) + "::uuid AND $" + strconv.Itoa(n) + "::uuid)")
}

func onlyUUIDs(ids []string) []string {
	kept := []string{}
	for _, id := range ids {
		if isUUID(id) {
			kept = append(kept, id)
		}
	}
	return kept
}

// Workspace gives one workspace; ErrNotFound where nothing is known of it.
func (s *Store) Workspace(ctx context.Context, source, id string) (*WorkspaceRow, error) {
	rows, _, err := s.Workspaces(ctx, WorkspaceFilter{Source: source, IDs: []string{id}, Limit: 1})
	switch {
	case err != nil:
		return nil, err
	case len(rows) == 0:
		return nil, s.wrap("read workspace "+id, ErrNotFound)
	}
	return &rows[0], nil
}

const workspaceSelect = `SELECT s.source, s.id::text, s.name, s.status, s.verdict, s.kinds, s.desired_mode, s.overrides, s.observed, s.observed_at, s.digest, s.document,
	(SELECT d.id FROM drifts d WHERE d.source = s.source AND d.workspace = s.id AND d.closed_at IS NULL),
	(SELECT so.last_pass_at FROM sources so WHERE so.name = s.source)
	FROM states s`

func scanWorkspace(row pgx.CollectableRow) (w WorkspaceRow, err error) {
	var observed, pass *time.Time
	var digest []byte
	err = row.Scan(&w.Source, &w.ID, &w.Name, &w.Status, &w.Verdict, &w.Kinds, &w.DesiredMode, &w.Overrides, &w.Observed, &observed, &digest, &w.Document,
		&w.Episode, &pass)
	w.ObservedAt, w.LastPassAt = orZero(observed), orZero(pass)
	copy(w.Digest[:], digest)
	return w, err
}

// Ref names a workspace.
type Ref struct {
	Source string
	ID     string
	Name   string
}

// refsAtMost bounds what Find gives: a term that fits more is no name.
const refsAtMost = 50

// Find gives the workspaces that a term means: by their exact name, or by the
// beginning of their id; at most 50.
func (s *Store) Find(ctx context.Context, term string) (refs []Ref, err error) {
	low, high, ok := prefixRange(term)
	if !ok {
		low, high = strings.Repeat("f", 32), strings.Repeat("0", 32) // an empty range
	}
	err = s.read(ctx, "find a workspace", func(ctx context.Context, tx pgx.Tx) error {
		refs, err = collect(ctx, tx, pgx.RowToStructByPos[Ref], `SELECT source, id::text, name FROM states
			WHERE lower(name) = lower($1) AND name = $1 OR id BETWEEN $2::uuid AND $3::uuid ORDER BY source, id LIMIT `+strconv.Itoa(refsAtMost), clean(term), low, high)
		return err
	})
	return refs, err
}
