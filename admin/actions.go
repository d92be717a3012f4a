package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// Reprovision is an action: one reprovision, wanted, under way, or over.
type Reprovision struct {
	ID        int64               `json:"id"`
	Source    string              `json:"source"`
	Workspace string              `json:"workspace" doc:"Its id."`
	Name      string              `json:"name" doc:"Of the workspace."`
	Drift     *int64              `json:"drift" doc:"Number of the drift; null: there was none."`
	Cause     string              `json:"cause" doc:"What it proves something about; empty until it is judged."`
	State     store.ActionState   `json:"state" enum:"requested,queued,calling,proving,ended"`
	InFlight  bool                `json:"in_flight" doc:"The workspace may not have another one."`
	Mode      drift.RemediateMode `json:"mode" enum:"dry_run,enforce" doc:"dry_run: nothing is called."`
	By        *string             `json:"by" doc:"Name of the token of whoever wanted it; null: nobody but the daemon."`
	Reason    *string             `json:"reason" doc:"Why they did."`
	Forced    bool                `json:"forced" doc:"Cool-down and windows were skipped."`
	CreatedAt time.Time           `json:"created_at"`
	OpenedAt  *time.Time          `json:"opened_at" doc:"When its budget was spent; null: it was not."`
	CalledAt  *time.Time          `json:"called_at" doc:"When the platform was last called; null: it was not."`
	EndedAt   *time.Time          `json:"ended_at"`
	NextAt    *time.Time          `json:"next_at" doc:"When it is next looked at; null: that is not known."`
	Calls     int                 `json:"calls" doc:"How often the platform was called. More than once only where it had surely done nothing."`
	Answer    *Answer             `json:"answer" doc:"What the platform answered last; null: nothing yet, or it is not known."`
	Outcome   *drift.Outcome      `json:"outcome" doc:"How it ended; null: it has not. Such as cured, ineffective, blocked."`
	Words     string              `json:"words" doc:"What it waits for, or how it ended, for people."`
}

// Answer is what the platform answered.
type Answer struct {
	Result drift.CallResult `json:"result" doc:"Such as accepted, refused, uncertain."`
	Words  string           `json:"words"`
}

// ReprovisionDetail is an action, and how its workspace stood.
type ReprovisionDetail struct {
	Reprovision
	Kinds     []drift.Kind `json:"kinds" doc:"What was found before, of what a reprovision mends."`
	Instance  *string      `json:"instance" doc:"Before."`
	StartedAt *time.Time   `json:"container_started_at" doc:"Of the container before."`
	Before    *Workspace   `json:"before" doc:"The workspace when it was decided."`
	After     *Workspace   `json:"after" doc:"The workspace when it ended."`
}

// Actions is a page of actions, the newest first.
type Actions struct {
	Actions []Reprovision `json:"actions"`
	Next    *string       `json:"next" doc:"The cursor of the next page; null: this is the last."`
}

// ActionQuery says which actions are asked for.
type ActionQuery struct {
	Source    string            `query:"source" maxLength:"100" doc:"Only those of this source."`
	Workspace string            `query:"workspace" format:"uuid" doc:"Only those of this workspace."`
	Drift     int64             `query:"drift" minimum:"1" doc:"Only those for this drift."`
	State     store.ActionState `query:"state" enum:"requested,queued,calling,proving,ended" doc:"Only those that have come so far."`
	InFlight  bool              `query:"in_flight" doc:"Only those under way."`
	Outcome   drift.Outcome     `query:"outcome" maxLength:"100" doc:"Only those that ended so."`
	Cursor    string            `query:"cursor" maxLength:"1000" doc:"next of the page before."`
	Limit     int               `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"The most that a page has."`
}

type actionInput struct {
	ID int64 `path:"id" minimum:"1"`
}

func (s *Server) actionRoutes(api huma.API) {
	read(api, "/actions", "list-actions", "Reprovisions that are wanted, under way, or over, the newest first", s.listActions)
	read(api, "/actions/{id}", "get-action", "One of them, and how its workspace stood", s.getAction)
	accepted(api, "/workspaces/{id}/reprovision", "reprovision-workspace",
		"Ask for a reprovision: it is judged after a fresh look, by the same rules as the daemon's own", s.reprovision)
	change(api, http.MethodPost, "/workspaces/{id}/approve", "approve-workspace",
		"Let a workspace be reprovisioned where that takes a person's word, and the cause of its drift go on", s.approve)
	read(api, "/causes", "list-causes", "How far the reprovisions of each cause have proven themselves", s.listCauses)
	change(api, http.MethodPost, "/causes/{cause}/approve", "approve-cause",
		"Let a cause go on that has stopped, or that nothing could prove", s.approveCause)
}

func (s *Server) listActions(ctx context.Context, q *ActionQuery) (*body[Actions], error) {
	if q.Outcome != "" && !slices.Contains(drift.Outcomes, q.Outcome) {
		return nil, invalid("query.outcome", "must be one of "+fmt.Sprint(drift.Outcomes))
	}
	rows, next, err := s.opts.Store.Actions(ctx, store.ActionFilter{Source: q.Source, Workspace: q.Workspace, Episode: q.Drift, State: q.State,
		InFlight: q.InFlight, Outcome: q.Outcome, After: q.Cursor, Limit: q.Limit})
	if err != nil {
		return nil, s.unpaged(ctx, "list actions", err)
	}
	out := Actions{Actions: make([]Reprovision, 0, len(rows)), Next: optional(next)}
	for i := range rows {
		out.Actions = append(out.Actions, toAction(&rows[i]))
	}
	return answerWith(out), nil
}

func (s *Server) getAction(ctx context.Context, in *actionInput) (*body[ReprovisionDetail], error) {
	row, err := s.opts.Store.Action(ctx, in.ID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, huma.Error404NotFound(fmt.Sprintf("there is no action %d; those that are long over are deleted (state.retention.drifts)", in.ID))
	}
	if err != nil {
		return nil, s.failed(ctx, "read action", err)
	}
	return answerWith(ReprovisionDetail{Reprovision: toAction(row), Kinds: append([]drift.Kind{}, row.Attempt.Kinds...), Instance: optional(row.Attempt.Instance),
		StartedAt: moment(row.Attempt.StartedAt), Before: snapshot(row.Before), After: snapshot(row.After)}), nil
}

func toAction(a *store.Action) Reprovision {
	out := Reprovision{ID: a.ID, Source: a.Source, Workspace: a.Workspace, Name: a.Name, Drift: optional(a.Episode), Cause: a.Cause, State: a.State, InFlight: a.InFlight(),
		Mode: a.Mode, By: optional(a.By), Reason: optional(a.Reason), Forced: a.Forced, CreatedAt: a.CreatedAt.UTC(), OpenedAt: moment(a.OpenedAt), CalledAt: moment(a.CalledAt),
		EndedAt: moment(a.EndedAt), NextAt: moment(a.NextAt), Calls: a.Calls, Outcome: optional(a.Outcome), Words: a.Words}
	if call := &a.Attempt.Call; call.Result != "" {
		out.Answer = &Answer{call.Result, call.Words}
	}
	return out
}
