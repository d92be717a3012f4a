package store

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Request is Change.Request in a transaction of its own.
func (s *Store) Request(ctx context.Context, r Request) (a *Action, err error) {
	err = s.change(ctx, "request a reprovision", func(ctx context.Context, c *Change) error {
		a, err = c.Request(ctx, r)
		return err
	})
	return a, err
}

// ApproveCause is Change.ApproveCause in a transaction of its own.
func (s *Store) ApproveCause(ctx context.Context, cause, reason, by string) error {
	return s.change(ctx, "approve a cause", func(ctx context.Context, c *Change) error { return c.ApproveCause(ctx, cause, reason, by) })
}

// Of tells whose ramp it is: the cause, and whether it is the one that dry runs
// keep.
func (r *Ramp) Of() (cause string, dry bool) { return strings.CutPrefix(r.Cause, dryRamp) }

// Held is what is done about a workspace, or keeps from it.
type Held struct {
	Judgement *StoredJudgement // nil: nothing was judged of it
	InFlight  int64            // number of the action that is under way; 0: none
}

// Held gives what is held of some workspaces, each named by its source and id;
// of which there is nothing to tell is left out.
func (s *Store) Held(ctx context.Context, of []Ref) (held map[Ref]Held, err error) {
	sources, ids := column(of, func(r Ref) string { return r.Source }), column(of, func(r Ref) string { return r.ID })
	const these = " WHERE (source, workspace) IN (SELECT * FROM unnest($1::text[], $2::uuid[]))"
	err = s.read(ctx, "read what is held of workspaces", func(ctx context.Context, tx pgx.Tx) error {
		held = map[Ref]Held{}
		judged, err := collect(ctx, tx, scanJudgement, judgementSelect+these, sources, ids)
		if err != nil {
			return err
		}
		for i := range judged {
			held[Ref{Source: judged[i].Source, ID: judged[i].Workspace}] = Held{Judgement: &judged[i]}
		}
		rows, err := tx.Query(ctx, "SELECT source, workspace::text, id FROM actions"+these+" AND "+underWay, sources, ids)
		if err != nil {
			return err
		}
		var ref Ref
		var id int64
		_, err = pgx.ForEachRow(rows, []any{&ref.Source, &ref.ID, &id}, func() error {
			h := held[ref]
			h.InFlight = id
			held[ref] = h
			return nil
		})
		return err
	})
	return held, err
}
