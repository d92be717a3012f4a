package admin

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// Suppressions lists the suppressions in force.
type Suppressions struct {
	Suppressions []PricedSuppression `json:"suppressions"`
}

// PricedSuppression is a suppression in force, and what was kept quiet about has
// cost since it began.
type PricedSuppression struct {
	store.Suppression
	Billed   int64    `json:"billed" doc:"Calls since it began that the platform pays for and should not, of workspaces with a drift that it covers."`
	Unpriced int64    `json:"unpriced" doc:"Of them, whose cost is not known."`
	CostUSD  *float64 `json:"cost_usd" doc:"Of all of them; null: it is not known of all."`
}

// SuppressRequest asks for quiet about findings that somebody has accepted.
type SuppressRequest struct {
	Source    string     `json:"source,omitempty" maxLength:"100" doc:"Of every workspace of this source, where no workspace is given."`
	Workspace string     `json:"workspace,omitempty" format:"uuid" doc:"Of this workspace: its id."`
	Kind      drift.Kind `json:"kind,omitempty" doc:"Findings of this kind; without it of every kind."`
	Reason    string     `json:"reason" minLength:"1" maxLength:"500"`
	For       string     `json:"for" minLength:"2" maxLength:"50" example:"7d" doc:"How long, such as 2h or 7d."`
}

// Unsuppressed says which suppression was ended.
type Unsuppressed struct {
	ID int64 `json:"id"`
}

type suppressInput struct {
	Sent
	Body SuppressRequest
}

type unsuppressInput struct {
	Retryable
	ID int64 `path:"id" minimum:"1"`
}

type suppressionsInput struct {
	Source string `query:"source" maxLength:"100" doc:"Only those of this source."`
}

func (s *Server) suppressionRoutes(api huma.API) {
	read(api, "/suppressions", "list-suppressions", "Suppressions in force", s.listSuppressions)
	change(api, http.MethodPost, "/suppressions", "suppress", "Keep quiet about findings for a time", s.suppress)
	change(api, http.MethodDelete, "/suppressions/{id}", "unsuppress", "End a suppression", s.unsuppress)
}

func (s *Server) listSuppressions(ctx context.Context, in *suppressionsInput) (*body[Suppressions], error) {
	all, err := s.opts.Store.Suppressions(ctx, in.Source)
	if err != nil {
		return nil, s.failed(ctx, "list suppressions", err)
	}
	prices, err := s.opts.Store.Prices(ctx)
	if err != nil {
		return nil, s.failed(ctx, "price suppressions", err)
	}
	out := Suppressions{make([]PricedSuppression, 0, len(all))}
	for _, one := range all {
		priced := PricedSuppression{Suppression: one, Billed: prices[one.ID].Billed, Unpriced: prices[one.ID].Unpriced}
		if cost := prices[one.ID].CostUSD; priced.Unpriced == 0 {
			priced.CostUSD = &cost
		}
		out.Suppressions = append(out.Suppressions, priced)
	}
	return answerWith(out), nil
}

func (s *Server) suppress(ctx context.Context, in *suppressInput) (*changed[store.Suppression], error) {
	span, err := parseFor(in.Body.For)
	if err != nil {
		return nil, err
	}
	want := store.Suppression{Kind: in.Body.Kind, Reason: strings.TrimSpace(in.Body.Reason), By: principal(ctx).Name, ExpiresAt: time.Now().Add(span).UTC()}
	switch {
	case want.Reason == "":
		return nil, invalid("body.reason", "must say why")
	case want.Kind != "" && !slices.Contains(drift.Kinds, want.Kind):
		return nil, invalid("body.kind", "must be a kind of finding, such as "+string(drift.ModeMismatch))
	case want.Kind != "" && !want.Kind.Accuses():
		return nil, invalid("body.kind", fmt.Sprintf("%s accuses nobody, so that nobody is told of it", want.Kind))
	case in.Body.Source == "" && in.Body.Workspace == "":
		return nil, invalid("body.source", "is required where no workspace is given")
	}
	scope, unknown := s.suppressed(ctx, &in.Body)
	return once(ctx, s, in, "suppress", func(c changes) (store.Suppression, error) {
		if unknown != nil {
			return want, unknown
		}
		want.Source, want.Workspace = scope.Source, scope.Workspace
		return c.Suppress(ctx, want)
	})
}

// suppressed is the scope of a suppression: a workspace, or a source.
func (s *Server) suppressed(ctx context.Context, in *SuppressRequest) (store.Scope, error) {
	kind := store.ScopeSource
	if in.Workspace != "" {
		kind = store.ScopeWorkspace
	}
	return s.scope(ctx, &ScopeRequest{Scope: kind, Source: in.Source, Workspace: in.Workspace})
}

func (s *Server) unsuppress(ctx context.Context, in *unsuppressInput) (*changed[Unsuppressed], error) {
	return once(ctx, s, in, "unsuppress", func(c changes) (Unsuppressed, error) {
		was, err := c.Unsuppress(ctx, in.ID, principal(ctx).Name)
		if err == nil && !was {
			err = huma.Error404NotFound(fmt.Sprintf("there is no suppression %d in force; GET %s/suppressions lists those that are", in.ID, base))
		}
		return Unsuppressed{in.ID}, err
	})
}
