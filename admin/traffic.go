package admin

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/molecule-ai/billing-reconciler/evidence"
	"github.com/molecule-ai/billing-reconciler/store"
)

// InputStatus is how one input of the proxy's log is, on one host.
type InputStatus struct {
	Input         string     `json:"input"`
	Host          string     `json:"host" doc:"Whose files it reads; empty: it is all replicas'."`
	SeenAt        time.Time  `json:"seen_at" doc:"Its reader's last sign of life."`
	LineAt        *time.Time `json:"line_at" doc:"When the last line came; null: none has."`
	NewestAt      *time.Time `json:"newest_at" doc:"The latest time that a line tells."`
	Lines         int64      `json:"lines"`
	NotUnderstood int64      `json:"not_understood"`
	Error         *string    `json:"error" doc:"Why it is not read; null: it is."`
	BlindSince    *time.Time `json:"blind_since" doc:"Since when it shows nothing, though it should; null: it does."`
}

func (s *Server) statusInputs(ctx context.Context, out *Status) error {
	inputs, err := s.opts.Store.Inputs(ctx)
	for i := range inputs {
		in := &inputs[i]
		out.Inputs = append(out.Inputs, InputStatus{Input: in.Name, Host: in.Host, SeenAt: in.SeenAt, LineAt: moment(in.LineAt), NewestAt: moment(in.NewestAt),
			Lines: in.Lines, NotUnderstood: in.Unread, Error: optional(in.Err), BlindSince: moment(in.BlindSince)})
	}
	return err
}

// Call is what was counted of one workspace, from one address, together.
type Call struct {
	store.CallRow
	Operation   string `json:"operation" enum:"messages,batches,chat_completions,responses"`
	Attribution string `json:"attribution" enum:"address,name" doc:"How it is known whose they are: nobody else held the address, or the lines name the workspace."`
}

// CallList is a workspace's counted calls.
type CallList struct {
	Calls []Call `json:"calls" doc:"The oldest first; at most 10,000."`
	More  bool   `json:"more" doc:"There are more: ask again, since the last bucket."`
}

type trafficInput struct {
	ID     string    `path:"id" format:"uuid"`
	Source string    `query:"source" maxLength:"100" doc:"Where the id is known in several sources: this one."`
	Since  time.Time `query:"since" doc:"From the bucket that begins then on. Default: a day ago."`
	Until  time.Time `query:"until" doc:"Before the bucket that begins then. Default: now."`
}

const mostCalls = 10_000

func (s *Server) trafficRoutes(api huma.API) {
	read(api, "/workspaces/{id}/traffic", "get-workspace-traffic", "Calls of a workspace through the proxy, five minutes together; older ones by the hour or the day", s.traffic)
}

func (s *Server) traffic(ctx context.Context, in *trafficInput) (*body[CallList], error) {
	row, err := s.workspace(ctx, in.ID, in.Source)
	if err != nil {
		return nil, s.failed(ctx, "read traffic", err)
	}
	if in.Until.IsZero() {
		in.Until = time.Now().Add(time.Hour) // clocks of others may be ahead of ours
	}
	if in.Since.IsZero() {
		in.Since = time.Now().Add(-24 * time.Hour)
	}
	rows, err := s.opts.Store.CallRows(ctx, row.Source, row.ID, in.Since, in.Until, mostCalls+1)
	if err != nil {
		return nil, s.failed(ctx, "read traffic", err)
	}
	out := CallList{Calls: make([]Call, 0, len(rows)), More: len(rows) > mostCalls}
	for _, r := range rows[:min(len(rows), mostCalls)] {
		out.Calls = append(out.Calls, Call{r, evidence.Operation(r.Operation), evidence.Attribution(int16(r.Attribution))})
	}
	return answerWith(out), nil
}
