package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// Event is one fact that somebody may want to be told.
type Event struct {
	ID        int64           `json:"id" doc:"Grows in the order in which events were written."`
	At        time.Time       `json:"at"`
	Kind      drift.EventKind `json:"kind"`
	Severity  *drift.Severity `json:"severity" doc:"null: it concerns no drift."`
	Source    *string         `json:"source" doc:"null: it concerns the whole fleet."`
	Workspace *string         `json:"workspace" doc:"Its id; null: it concerns the whole source."`
	Name      *string         `json:"name" doc:"Of the workspace."`
	Drift     *int64          `json:"drift" doc:"The drift's id; null: it concerns none."`
	Summary   string          `json:"summary"`
	By        *string         `json:"by" doc:"Who did it; null: the reconciler."`
}

func toEvent(e *drift.Event) Event {
	return Event{ID: e.ID, At: e.At.UTC(), Kind: e.Kind, Severity: optional(e.Severity), Source: optional(e.Source), Workspace: optional(e.Workspace),
		Name: optional(e.Name), Drift: optional(e.Episode), Summary: e.Summary, By: optional(e.By)}
}

// Events is a page of events.
type Events struct {
	Events []Event `json:"events"`
	Next   *int64  `json:"next" doc:"What to give as after (or as before, where order is desc) for the next page; null: this is the last for now."`
}

// EventFilter says which events are asked for, wherever they are asked for.
type EventFilter struct {
	Kinds     []string       `query:"kinds" maxItems:"50" doc:"Only events of these kinds, separated by commas."`
	Source    string         `query:"source" maxLength:"100" doc:"Only those of this source."`
	Workspace string         `query:"workspace" format:"uuid" doc:"Only those of this workspace."`
	Severity  drift.Severity `query:"severity" enum:"critical,high,medium,low" doc:"Only those at least this severe; events of no drift have no severity and are left out."`
}

// EventQuery says which page of events is asked for.
type EventQuery struct {
	EventFilter
	After  int64  `query:"after" minimum:"0" doc:"Only events with a greater id."`
	Before int64  `query:"before" minimum:"0" doc:"Only events with a smaller id."`
	Order  string `query:"order" enum:"asc,desc" default:"asc" doc:"asc: the oldest first."`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"The most that a page has."`
}

func (s *Server) eventRoutes(api huma.API) {
	read(api, "/events", "list-events", "Events, a page at a time", s.listEvents)
}

// Resolve implements huma.Resolver: it refuses words that are no kind.
func (f *EventFilter) Resolve(huma.Context) (errs []error) {
	for i, kind := range f.Kinds {
		if !slices.Contains(drift.EventKinds, drift.EventKind(kind)) {
			errs = append(errs, &huma.ErrorDetail{Location: fmt.Sprintf("query.kinds[%d]", i), Message: "must be of " + strings.Join(kindNames(), ", ")})
		}
	}
	return errs
}

func kindNames() (names []string) {
	for _, k := range drift.EventKinds {
		names = append(names, string(k))
	}
	return names
}

// store gives the filter as the store knows it.
func (f *EventFilter) store() store.EventFilter {
	out := store.EventFilter{Source: f.Source, Workspace: strings.ToLower(f.Workspace), Severity: f.Severity}
	for _, kind := range f.Kinds {
		out.Kinds = append(out.Kinds, drift.EventKind(kind))
	}
	return out
}

// fits tells whether an event is asked for; the same that the store's query
// tells.
func (f *EventFilter) fits(e *drift.Event) bool {
	switch {
	case len(f.Kinds) > 0 && !slices.Contains(f.Kinds, string(e.Kind)),
		f.Source != "" && f.Source != e.Source,
		f.Workspace != "" && !strings.EqualFold(f.Workspace, e.Workspace),
		f.Severity != "" && (e.Severity == "" || slices.Index(drift.Severities, e.Severity) > slices.Index(drift.Severities, f.Severity)):
		return false
	}
	return true
}

func (s *Server) listEvents(ctx context.Context, q *EventQuery) (*body[Events], error) {
	filter := q.store()
	filter.After, filter.Before, filter.Descending, filter.Limit = q.After, q.Before, q.Order == "desc", q.Limit
	rows, err := s.opts.Store.Events(ctx, filter)
	if err != nil {
		return nil, s.failed(ctx, "list events", err)
	}
	out := Events{Events: make([]Event, 0, len(rows))}
	for i := range rows {
		out.Events = append(out.Events, toEvent(&rows[i]))
	}
	if len(rows) == q.Limit {
		out.Next = optional(rows[len(rows)-1].ID)
	}
	return answerWith(out), nil
}
