package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/report"
	"github.com/molecule-ai/billing-reconciler/store"
)

// Drift is one drift of one workspace, from when it was found to when it was
// found gone.
type Drift struct {
	ID            int64              `json:"id"`
	Source        string             `json:"source"`
	Workspace     string             `json:"workspace" doc:"Its id."`
	Name          string             `json:"name" doc:"Of the workspace."`
	Open          bool               `json:"open"`
	Severity      drift.Severity     `json:"severity" doc:"The worst of its findings'."`
	OpenedAt      time.Time          `json:"opened_at"`
	FirstEvidence time.Time          `json:"first_evidence_at" doc:"When the first wrong evidence came about, where that is known."`
	LastSeenAt    *time.Time         `json:"last_seen_at"`
	ClearSince    *time.Time         `json:"clear_since" doc:"In sync since then, and not yet long enough for it to be over."`
	ClosedAt      *time.Time         `json:"closed_at"`
	Result        *drift.CloseResult `json:"result" doc:"Why it is over."`
	AnnouncedAt   *time.Time         `json:"announced_at" doc:"When its event was written; null: nobody has been told."`
	Reminders     int                `json:"reminders"`
	Suppressed    bool               `json:"suppressed"`
	Findings      []report.Finding   `json:"findings"`
	Causes        []report.Fit       `json:"causes" doc:"All that fit, the deciding one first."`
}

// DriftDetail is a drift and how its workspace stood.
type DriftDetail struct {
	Drift
	Opened *Workspace `json:"at_opening" doc:"The workspace when the drift was found."`
	Latest *Workspace `json:"latest" doc:"The workspace when the findings last changed."`
}

// Drifts is a page of drifts, the newest first.
type Drifts struct {
	Drifts []Drift `json:"drifts"`
	Next   *string `json:"next" doc:"The cursor of the next page; null: this is the last."`
}

// DriftQuery says which drifts are asked for.
type DriftQuery struct {
	Open      string         `query:"open" enum:"true,false" doc:"Only those that are open, or that are over; neither: all."`
	Source    string         `query:"source" maxLength:"100" doc:"Only those of this source."`
	Workspace string         `query:"workspace" format:"uuid" doc:"Only those of this workspace."`
	Severity  drift.Severity `query:"severity" enum:"critical,high,medium,low" doc:"Only those that are this severe."`
	Kind      drift.Kind     `query:"kind" maxLength:"100" doc:"Only those with a finding of this kind."`
	Since     time.Time      `query:"since" doc:"Only those that were open at or after this time."`
	Cursor    string         `query:"cursor" maxLength:"1000" doc:"next of the page before."`
	Limit     int            `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"The most that a page has."`
}

type driftInput struct {
	ID int64 `path:"id" minimum:"1"`
}

func (s *Server) driftRoutes(api huma.API) {
	read(api, "/drifts", "list-drifts", "Drifts, the newest first", s.listDrifts)
	read(api, "/drifts/{id}", "get-drift", "One drift, and how its workspace stood", s.getDrift)
}

func (s *Server) listDrifts(ctx context.Context, q *DriftQuery) (*body[Drifts], error) {
	rows, next, err := s.opts.Store.Drifts(ctx, q.filter())
	if err != nil {
		return nil, s.unpaged(ctx, "list drifts", err)
	}
	out := Drifts{Drifts: make([]Drift, 0, len(rows)), Next: optional(next)}
	for i := range rows {
		out.Drifts = append(out.Drifts, toDrift(&rows[i]))
	}
	return answerWith(out), nil
}

func (q *DriftQuery) filter() store.DriftFilter {
	f := store.DriftFilter{Source: q.Source, Workspace: q.Workspace, Severity: q.Severity, Kind: q.Kind, Since: q.Since, After: q.Cursor, Limit: q.Limit}
	if q.Open != "" {
		open := q.Open == "true"
		f.Open = &open
	}
	return f
}

func (s *Server) getDrift(ctx context.Context, in *driftInput) (*body[DriftDetail], error) {
	row, err := s.opts.Store.Drift(ctx, in.ID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, huma.Error404NotFound(fmt.Sprintf("there is no drift %d; those that are long over are deleted (state.retention.drifts)", in.ID))
	}
	if err != nil {
		return nil, s.failed(ctx, "read drift", err)
	}
	return answerWith(DriftDetail{Drift: toDrift(row), Opened: snapshot(row.Opened), Latest: snapshot(row.Latest)}), nil
}

func snapshot(doc json.RawMessage) *Workspace {
	if len(doc) == 0 {
		return nil
	}
	return (*Workspace)(&doc)
}

func toDrift(row *store.Drift) Drift {
	e := &row.Episode
	d := Drift{ID: e.ID, Source: e.Source, Workspace: e.Workspace, Name: e.Name, Open: e.Open(), Severity: e.Severity, OpenedAt: e.OpenedAt.UTC(),
		FirstEvidence: e.FirstEvidence.UTC(), LastSeenAt: moment(e.LastSeenAt), ClearSince: moment(e.ClearSince), ClosedAt: moment(e.ClosedAt),
		Result: optional(e.Result), AnnouncedAt: moment(e.AnnouncedAt), Reminders: e.Reminders, Suppressed: row.Suppressed,
		Findings: []report.Finding{}, Causes: []report.Fit{}}
	for _, f := range e.Findings {
		d.Findings = append(d.Findings, report.Finding{Kind: f.Kind, Severity: f.Severity, Summary: f.Summary, Remediable: f.Remediable, Evidence: append([]string{}, f.Evidence...)})
	}
	for _, c := range e.Causes {
		d.Causes = append(d.Causes, report.Fit{Code: c.Code, Summary: c.Summary})
	}
	return d
}
