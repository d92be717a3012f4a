package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/molecule-ai/billing-reconciler/store"
)

// ReprovisionRequest asks for a reprovision.
type ReprovisionRequest struct {
	Reason string `json:"reason" minLength:"1" maxLength:"500"`
	DryRun bool   `json:"dry_run,omitempty" doc:"Only say what would be done."`
	Force  bool   `json:"force,omitempty" doc:"Skip cool-down and windows; never the pause, the budgets, the ramp or a known refusal."`
}

// ApproveRequest gives a person's word about a workspace.
type ApproveRequest struct {
	Reason string `json:"reason" minLength:"1" maxLength:"500"`
	For    string `json:"for,omitempty" maxLength:"50" example:"24h" doc:"How long it holds, such as 2h or 7d; without it 24h."`
}

// Approved says what was approved.
type Approved struct {
	Source    string     `json:"source,omitempty"`
	Workspace string     `json:"workspace,omitempty" doc:"Its id; not there where a cause was approved."`
	Cause     *string    `json:"cause" doc:"The cause that may go on; null: the workspace has no open drift."`
	Reason    string     `json:"reason"`
	By        string     `json:"by"`
	ExpiresAt *time.Time `json:"expires_at" doc:"Until when the workspace may be reprovisioned; null of a cause."`
}

type reprovisionInput struct {
	Sent
	ID     string `path:"id" format:"uuid"`
	Source string `query:"source" maxLength:"100" doc:"Where the id is known in several sources: this one."`
	Body   ReprovisionRequest
}

type approveInput struct {
	Sent
	ID     string `path:"id" format:"uuid"`
	Source string `query:"source" maxLength:"100" doc:"Where the id is known in several sources: this one."`
	Body   ApproveRequest
}

type approveCauseInput struct {
	Sent
	Cause string `path:"cause" maxLength:"500" pattern:"^[a-z_+]+$" patternDescription:"a cause, as /causes lists them"`
	Body  struct {
		Reason string `json:"reason" minLength:"1" maxLength:"500"`
	}
}

// accepted registers a change of which the answer says no more than that it was
// taken down.
func accepted[I, O any](api huma.API, path, id, summary string, handler func(context.Context, *I) (*O, error)) {
	op := operation(http.MethodPost, path, id, summary)
	op.DefaultStatus = http.StatusAccepted
	op.Errors = append(op.Errors, http.StatusConflict, http.StatusRequestEntityTooLarge)
	huma.Register(api, op, handler)
}

func (s *Server) reprovision(ctx context.Context, in *reprovisionInput) (*changed[Reprovision], error) {
	reason := strings.TrimSpace(strings.ReplaceAll(in.Body.Reason, "\x00", "")) // which no row can hold
	if reason == "" {
		return nil, invalid("body.reason", "must say why")
	}
	row, refused := s.workspace(ctx, in.ID, in.Source)
	if refused == nil {
		refused = s.mayRequest(ctx, row)
	}
	return once(ctx, s, in, "ask for a reprovision", func(c changes) (Reprovision, error) {
		if refused != nil {
			return Reprovision{}, refused
		}
		a, err := c.Request(ctx, store.Request{Source: row.Source, Workspace: row.ID, Reason: reason, By: principal(ctx).Name, DryRun: in.Body.DryRun, Force: in.Body.Force})
		if errors.Is(err, store.ErrInvalid) { // somebody else was faster
			err = huma.Error409Conflict(err.Error())
		}
		if err != nil {
			return Reprovision{}, err
		}
		return toAction(a), nil
	})
}

// mayRequest refuses a second action of a workspace beside one that is wanted or
// under way.
func (s *Server) mayRequest(ctx context.Context, row *store.WorkspaceRow) error {
	for _, f := range []store.ActionFilter{{State: store.ActionRequested}, {InFlight: true}} {
		f.Source, f.Workspace, f.Limit = row.Source, row.ID, 1
		there, _, err := s.opts.Store.Actions(ctx, f)
		if err != nil {
			return err
		}
		if len(there) > 0 {
			a := &there[0]
			state := string(a.State)
			if a.Words != "" {
				state += " (" + a.Words + ")"
			}
			return huma.Error409Conflict(fmt.Sprintf("action %d of this workspace is %s; GET %s/actions/%d shows it", a.ID, state, base, a.ID))
		}
	}
	return nil
}

// approvedFor is how long an approval holds that does not say.
const approvedFor = "24h"

func (s *Server) approve(ctx context.Context, in *approveInput) (*changed[Approved], error) {
	want := store.Approval{Reason: strings.TrimSpace(in.Body.Reason), By: principal(ctx).Name}
	if want.Reason == "" {
		return nil, invalid("body.reason", "must say why")
	}
	span, err := parseFor(or(in.Body.For, approvedFor))
	if err != nil {
		return nil, err
	}
	want.ExpiresAt = time.Now().Add(span).UTC()
	row, unknown := s.workspace(ctx, in.ID, in.Source)
	return once(ctx, s, in, "approve", func(c changes) (Approved, error) {
		if unknown != nil {
			return Approved{}, unknown
		}
		want.Source, want.Workspace = row.Source, row.ID
		a, err := c.Approve(ctx, want)
		return Approved{Source: a.Source, Workspace: a.Workspace, Cause: optional(a.Cause), Reason: a.Reason, By: a.By, ExpiresAt: moment(a.ExpiresAt)}, err
	})
}

func (s *Server) approveCause(ctx context.Context, in *approveCauseInput) (*changed[Approved], error) {
	out := Approved{Cause: &in.Cause, Reason: strings.TrimSpace(in.Body.Reason), By: principal(ctx).Name}
	if out.Reason == "" {
		return nil, invalid("body.reason", "must say why")
	}
	return once(ctx, s, in, "approve a cause", func(c changes) (Approved, error) {
		err := c.ApproveCause(ctx, in.Cause, out.Reason, out.By)
		if errors.Is(err, store.ErrNotFound) {
			err = huma.Error404NotFound(fmt.Sprintf("nothing was ever done about a cause %s; GET %s/causes lists those about which something was", in.Cause, base))
		}
		return out, err
	})
}
