package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/molecule-ai/billing-reconciler/evidence"
	"github.com/molecule-ai/billing-reconciler/store"
)

// Evidence is the document of one drift that package evidence makes: whoever
// passes it on changes nothing of it.
type Evidence json.RawMessage

// MarshalJSON implements json.Marshaler.
func (e Evidence) MarshalJSON() ([]byte, error) { return json.RawMessage(e).MarshalJSON() }

// UnmarshalJSON implements json.Unmarshaler.
func (e *Evidence) UnmarshalJSON(text []byte) error { return (*json.RawMessage)(e).UnmarshalJSON(text) }

// Schema implements huma.SchemaProvider. The body of an entry is by its kind.
func (Evidence) Schema(r huma.Registry) *huma.Schema {
	ref := r.Schema(reflect.TypeFor[evidence.Document](), true, "Evidence")
	entry := r.SchemaFromRef("#/components/schemas/Entry")
	entry.Properties["body"] = &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Description: "By kind; docs/output.md has them."}
	entry.PrecomputeMessages()
	return ref
}

func (s *Server) evidenceRoutes(api huma.API) {
	read(api, "/drifts/{id}/evidence", "get-drift-evidence", "All that is known of a drift, as one document with a chain of hashes", s.driftEvidence)
	read(api, "/workspaces/{id}/evidence", "get-workspace-evidence", "The same of a workspace's last drift, which may be open", s.workspaceEvidence)
}

func (s *Server) driftEvidence(ctx context.Context, in *driftInput) (*body[Evidence], error) {
	return s.evidence(ctx, in.ID)
}

func (s *Server) workspaceEvidence(ctx context.Context, in *workspaceInput) (*body[Evidence], error) {
	row, err := s.workspace(ctx, in.ID, in.Source)
	if err != nil {
		return nil, s.failed(ctx, "read evidence", err)
	}
	drifts, _, err := s.opts.Store.Drifts(ctx, store.DriftFilter{Source: row.Source, Workspace: row.ID, Limit: 1})
	if err != nil {
		return nil, s.failed(ctx, "read evidence", err)
	}
	if len(drifts) == 0 {
		return nil, huma.Error404NotFound(fmt.Sprintf("workspace %s has no drift; those that are long over are deleted (state.retention.drifts)", in.ID))
	}
	return s.evidence(ctx, drifts[0].ID)
}

func (s *Server) evidence(ctx context.Context, drift int64) (*body[Evidence], error) {
	found, err := s.opts.Store.Evidence(ctx, drift)
	if errors.Is(err, store.ErrNotFound) {
		return nil, huma.Error404NotFound(fmt.Sprintf("there is no drift %d; those that are long over are deleted (state.retention.drifts)", drift))
	}
	if err != nil {
		return nil, s.failed(ctx, "read evidence", err)
	}
	doc, err := evidence.Of(found, time.Now())
	if err != nil {
		return nil, s.failed(ctx, "make evidence", err)
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return nil, s.failed(ctx, "write evidence", err)
	}
	return answerWith(Evidence(text)), nil
}
