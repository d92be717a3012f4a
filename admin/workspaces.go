package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/report"
	"github.com/molecule-ai/billing-reconciler/store"
)

// Workspace is the document of one workspace, the same that `reconciler check`
// prints; report.Workspace is its shape.
type Workspace json.RawMessage

// MarshalJSON implements json.Marshaler.
func (w Workspace) MarshalJSON() ([]byte, error) { return json.RawMessage(w).MarshalJSON() }

// UnmarshalJSON implements json.Unmarshaler.
func (w *Workspace) UnmarshalJSON(text []byte) error {
	return (*json.RawMessage)(w).UnmarshalJSON(text)
}

// Schema implements huma.SchemaProvider: the shape is report's. A part of it may
// be null, or say why it could not be had.
func (Workspace) Schema(r huma.Registry) *huma.Schema {
	ref := r.Schema(reflect.TypeFor[report.Workspace](), true, "Workspace")
	s := r.SchemaFromRef(ref.Ref)
	s.Properties["read_endpoint"] = part(r, reflect.TypeFor[report.ReadEndpoint]())
	s.Properties["traffic"] = part(r, reflect.TypeFor[report.Traffic]())
	s.PrecomputeMessages()
	return ref
}

func part(r huma.Registry, of reflect.Type) *huma.Schema {
	failed := &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{"error": {Type: huma.TypeString}}, Required: []string{"error"}}
	return &huma.Schema{OneOf: []*huma.Schema{r.Schema(of, true, of.Name()), failed, {Type: "null"}}}
}

// Workspaces is a page of workspaces.
type Workspaces struct {
	Workspaces []Workspace `json:"workspaces"`
	Next       *string     `json:"next" doc:"The cursor of the next page; null: this is the last."`
}

// WorkspaceQuery says which workspaces are asked for.
type WorkspaceQuery struct {
	Source  string        `query:"source" maxLength:"100" doc:"Only those of this source."`
	Verdict drift.Verdict `query:"verdict" enum:"drifted,unknown,in_sync,skipped" doc:"Only those that stand so."`
	Kind    drift.Kind    `query:"kind" maxLength:"100" doc:"Only those with a finding of this kind."`
	Q       string        `query:"q" maxLength:"200" doc:"Only those with a name, in upper or lower case, or an id that begins so."`
	Cursor  string        `query:"cursor" maxLength:"1000" doc:"next of the page before."`
	Limit   int           `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"The most that a page has."`
}

type workspaceInput struct {
	ID     string `path:"id" format:"uuid"`
	Source string `query:"source" maxLength:"100" doc:"Where the id is known in several sources: this one."`
}

type lookInput struct {
	Sent
	ID     string `path:"id" format:"uuid"`
	Source string `query:"source" maxLength:"100" doc:"Where the id is known in several sources: this one."`
	Body   struct {
		Reason string `json:"reason,omitempty" maxLength:"500"`
	}
}

func (s *Server) workspaceRoutes(api huma.API) {
	read(api, "/workspaces", "list-workspaces", "Workspaces, as they stood at their last look", s.listWorkspaces)
	read(api, "/workspaces/{id}", "get-workspace", "One workspace, as it stood at its last look", s.getWorkspace)
	change(api, http.MethodPost, "/workspaces/{id}/look", "look-at-workspace", "Ask for a fresh look at a workspace", s.look)
	change(api, http.MethodPost, "/sources/{name}/accept", "accept-surge", "Accept that much changed at once: the next pass believes it", s.accept)
}

func (s *Server) listWorkspaces(ctx context.Context, q *WorkspaceQuery) (*body[Workspaces], error) {
	rows, next, err := s.opts.Store.Workspaces(ctx, store.WorkspaceFilter{Source: q.Source, Verdict: q.Verdict, Kind: q.Kind, Query: q.Q, After: q.Cursor, Limit: q.Limit})
	if err != nil {
		return nil, s.unpaged(ctx, "list workspaces", err)
	}
	docs, err := s.documents(ctx, rows)
	if err != nil {
		return nil, s.failed(ctx, "list workspaces", err)
	}
	return answerWith(Workspaces{Workspaces: docs, Next: optional(next)}), nil
}

func (s *Server) getWorkspace(ctx context.Context, in *workspaceInput) (*body[Workspace], error) {
	row, err := s.workspace(ctx, in.ID, in.Source)
	if err != nil {
		return nil, s.failed(ctx, "read workspace", err)
	}
	docs, err := s.documents(ctx, []store.WorkspaceRow{*row})
	if err != nil {
		return nil, s.failed(ctx, "read workspace", err)
	}
	return answerWith(docs[0]), nil
}

func (s *Server) look(ctx context.Context, in *lookInput) (*changed[store.Look], error) {
	row, unknown := s.workspace(ctx, in.ID, in.Source)
	return once(ctx, s, in, "ask for a look", func(c changes) (store.Look, error) {
		if unknown != nil {
			return store.Look{}, unknown
		}
		return c.RequestLook(ctx, store.Look{Source: row.Source, Workspace: row.ID, Reason: in.Body.Reason, By: principal(ctx).Name})
	})
}

// documents are those of workspaces, with what is held of them.
func (s *Server) documents(ctx context.Context, rows []store.WorkspaceRow) ([]Workspace, error) {
	refs := make([]store.Ref, len(rows))
	for i := range rows {
		refs[i] = store.Ref{Source: rows[i].Source, ID: rows[i].ID}
	}
	held, err := s.opts.Store.Held(ctx, refs)
	if err != nil {
		return nil, err
	}
	docs := make([]Workspace, 0, len(rows))
	for i := range rows {
		doc, err := document(&rows[i])
		if err == nil {
			doc, err = withHeld(doc, held[refs[i]])
		}
		if err != nil {
			return nil, err
		}
		docs = append(docs, doc)
	}
	return docs, nil
}

// document is a workspace's stored document with what every look changes put
// into it: when its container was last seen.
func document(row *store.WorkspaceRow) (Workspace, error) {
	seen := row.ObservedAt
	if row.Observed && row.LastPassAt.After(seen) {
		seen = row.LastPassAt
	}
	return withObservedAt(row.Document, seen.Truncate(time.Second))
}
