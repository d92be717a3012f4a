package admin

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/molecule-ai/billing-reconciler/store"
)

// Pauses lists the pauses in force.
type Pauses struct {
	Pauses []store.Pause `json:"pauses"`
}

// ScopeRequest says what a pause is for.
type ScopeRequest struct {
	Scope     store.ScopeKind `json:"scope" enum:"all,source,workspace"`
	Source    string          `json:"source,omitempty" maxLength:"100" doc:"With scope source, or with scope workspace where its id is known in several sources."`
	Workspace string          `json:"workspace,omitempty" format:"uuid" doc:"With scope workspace: its id."`
}

// PauseRequest asks for a pause.
type PauseRequest struct {
	ScopeRequest
	Reason    string `json:"reason" minLength:"1" maxLength:"500"`
	For       string `json:"for,omitempty" maxLength:"50" example:"2h" doc:"How long, such as 30m, 2h or 7d; without it until resumed."`
	Observing bool   `json:"observing,omitempty" doc:"Stop passes too, not acting alone."`
}

// ResumeRequest asks for the end of a pause.
type ResumeRequest struct {
	ScopeRequest
	Reason string `json:"reason,omitempty" maxLength:"500"`
}

// Resumed says whether there was a pause to end.
type Resumed struct {
	Scope   store.Scope `json:"scope"`
	Resumed bool        `json:"resumed" doc:"false: nothing of this scope was paused."`
}

type pauseInput struct {
	Sent
	Body PauseRequest
}

type resumeInput struct {
	Sent
	Body ResumeRequest
}

func (s *Server) pauseRoutes(api huma.API) {
	read(api, "/pauses", "list-pauses", "Pauses in force", s.listPauses)
	change(api, http.MethodPost, "/pause", "pause", "Stop acting, and on demand looking; again on the same scope replaces the pause", s.pause)
	change(api, http.MethodPost, "/resume", "resume", "End a pause", s.resume)
}

func (s *Server) listPauses(ctx context.Context, _ *struct{}) (*body[Pauses], error) {
	pauses, err := s.opts.Store.Pauses(ctx)
	if err != nil {
		return nil, s.failed(ctx, "list pauses", err)
	}
	return answerWith(Pauses{append([]store.Pause{}, pauses...)}), nil
}

func (s *Server) pause(ctx context.Context, in *pauseInput) (*changed[store.Pause], error) {
	p := store.Pause{Observing: in.Body.Observing, Reason: strings.TrimSpace(in.Body.Reason), By: principal(ctx).Name}
	if p.Reason == "" {
		return nil, invalid("body.reason", "must say why")
	}
	if in.Body.For != "" {
		span, err := parseFor(in.Body.For)
		if err != nil {
			return nil, err
		}
		end := time.Now().Add(span).UTC()
		p.ExpiresAt = &end
	}
	var unknown error
	p.Scope, unknown = s.scope(ctx, &in.Body.ScopeRequest)
	return once(ctx, s, in, "pause", func(c changes) (store.Pause, error) {
		if unknown != nil {
			return p, unknown
		}
		return c.Pause(ctx, p)
	})
}

func (s *Server) resume(ctx context.Context, in *resumeInput) (*changed[Resumed], error) {
	scope, unknown := s.pausedScope(ctx, &in.Body.ScopeRequest)
	return once(ctx, s, in, "resume", func(c changes) (Resumed, error) {
		if unknown != nil {
			return Resumed{}, unknown
		}
		was, err := c.Resume(ctx, scope, principal(ctx).Name, in.Body.Reason)
		return Resumed{scope, was}, err
	})
}

// scope checks a scope, and fills in the source of a workspace.
func (s *Server) scope(ctx context.Context, in *ScopeRequest) (store.Scope, error) {
	out := store.Scope{Kind: in.Scope}
	switch {
	case in.Scope != store.ScopeWorkspace && in.Workspace != "":
		return out, invalid("body.workspace", "is for the scope workspace alone")
	case in.Scope == store.ScopeAll && in.Source != "":
		return out, invalid("body.source", "is not for the scope all; choose the scope source")
	case in.Scope == store.ScopeAll:
		return out, nil
	case in.Scope == store.ScopeSource && in.Source == "":
		return out, invalid("body.source", "is required with the scope source")
	case in.Scope == store.ScopeSource:
		out.Source = in.Source
		return out, s.known(ctx, in.Source)
	case in.Workspace == "":
		return out, invalid("body.workspace", "is required with the scope workspace")
	}
	row, err := s.workspace(ctx, in.Workspace, in.Source)
	if err != nil {
		return out, err
	}
	out.Source, out.Workspace = row.Source, row.ID
	return out, nil
}

// pausedScope checks the scope of a resume. What is paused can be resumed,
// though its source or workspace may be gone by now.
func (s *Server) pausedScope(ctx context.Context, in *ScopeRequest) (store.Scope, error) {
	pauses, err := s.opts.Store.Pauses(ctx)
	if err != nil {
		return store.Scope{}, err
	}
	for _, p := range pauses {
		if p.Kind == in.Scope && (p.Source == in.Source || in.Source == "" && in.Workspace != "") && strings.EqualFold(p.Workspace, in.Workspace) {
			return p.Scope, nil
		}
	}
	return s.scope(ctx, in)
}
