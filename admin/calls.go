package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/molecule-ai/billing-reconciler/store"
)

// Status tells how everything stands.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	return get[*Status](ctx, c, "/status", nil)
}

// Workspaces gives a page of workspaces.
func (c *Client) Workspaces(ctx context.Context, q WorkspaceQuery) (*Workspaces, error) {
	return get[*Workspaces](ctx, c, "/workspaces", q)
}

// Workspace gives one workspace, by its whole id. The source may be empty.
func (c *Client) Workspace(ctx context.Context, id, source string) (Workspace, error) {
	return get[Workspace](ctx, c, "/workspaces/"+url.PathEscape(id), sourceOf(source))
}

// Look asks for a fresh look at a workspace, by its whole id. The source may be
// empty.
func (c *Client) Look(ctx context.Context, id, source, reason string) (*store.Look, error) {
	body := map[string]string{"reason": reason}
	return send[*store.Look](ctx, c, http.MethodPost, "/workspaces/"+url.PathEscape(id)+"/look", sourceOf(source), body)
}

// Drifts gives a page of drifts.
func (c *Client) Drifts(ctx context.Context, q DriftQuery) (*Drifts, error) {
	return get[*Drifts](ctx, c, "/drifts", q)
}

// Drift gives one drift.
func (c *Client) Drift(ctx context.Context, id int64) (*DriftDetail, error) {
	return get[*DriftDetail](ctx, c, fmt.Sprintf("/drifts/%d", id), nil)
}

// Evidence gives the evidence of a drift.
func (c *Client) Evidence(ctx context.Context, drift int64) (Evidence, error) {
	return get[Evidence](ctx, c, fmt.Sprintf("/drifts/%d/evidence", drift), nil)
}

// WorkspaceEvidence gives the evidence of a workspace's last drift, by its whole
// id. The source may be empty.
func (c *Client) WorkspaceEvidence(ctx context.Context, id, source string) (Evidence, error) {
	return get[Evidence](ctx, c, "/workspaces/"+url.PathEscape(id)+"/evidence", sourceOf(source))
}

// Events gives a page of events. Follow gives them as they happen.
func (c *Client) Events(ctx context.Context, q EventQuery) (*Events, error) {
	return get[*Events](ctx, c, "/events", q)
}

// Pauses gives the pauses in force.
func (c *Client) Pauses(ctx context.Context) (*Pauses, error) {
	return get[*Pauses](ctx, c, "/pauses", nil)
}

// Pause pauses.
func (c *Client) Pause(ctx context.Context, r PauseRequest) (*store.Pause, error) {
	return send[*store.Pause](ctx, c, http.MethodPost, "/pause", nil, r)
}

// Resume ends a pause.
func (c *Client) Resume(ctx context.Context, r ResumeRequest) (*Resumed, error) {
	return send[*Resumed](ctx, c, http.MethodPost, "/resume", nil, r)
}

// Suppressions gives the suppressions in force; of every source where it is
// empty.
func (c *Client) Suppressions(ctx context.Context, source string) (*Suppressions, error) {
	return get[*Suppressions](ctx, c, "/suppressions", sourceOf(source))
}

// Suppress keeps quiet about findings for a time.
func (c *Client) Suppress(ctx context.Context, r SuppressRequest) (*store.Suppression, error) {
	return send[*store.Suppression](ctx, c, http.MethodPost, "/suppressions", nil, r)
}

// Unsuppress ends a suppression.
func (c *Client) Unsuppress(ctx context.Context, id int64) error {
	_, err := send[Unsuppressed](ctx, c, http.MethodDelete, fmt.Sprintf("/suppressions/%d", id), nil, nil)
	return err
}

// Actions gives a page of actions.
func (c *Client) Actions(ctx context.Context, q ActionQuery) (*Actions, error) {
	return get[*Actions](ctx, c, "/actions", q)
}

// Action gives one action.
func (c *Client) Action(ctx context.Context, id int64) (*ReprovisionDetail, error) {
	return get[*ReprovisionDetail](ctx, c, fmt.Sprintf("/actions/%d", id), nil)
}

// Reprovision asks for a reprovision of a workspace, by its whole id. The source
// may be empty.
func (c *Client) Reprovision(ctx context.Context, id, source string, r ReprovisionRequest) (*Reprovision, error) {
	return send[*Reprovision](ctx, c, http.MethodPost, "/workspaces/"+url.PathEscape(id)+"/reprovision", sourceOf(source), r)
}

// Approve lets a workspace be reprovisioned, by its whole id. The source may be
// empty.
func (c *Client) Approve(ctx context.Context, id, source string, r ApproveRequest) (*Approved, error) {
	return send[*Approved](ctx, c, http.MethodPost, "/workspaces/"+url.PathEscape(id)+"/approve", sourceOf(source), r)
}

// Causes gives how far each cause has proven itself.
func (c *Client) Causes(ctx context.Context) (*Causes, error) {
	return get[*Causes](ctx, c, "/causes", nil)
}

// ApproveCause lets a cause go on.
func (c *Client) ApproveCause(ctx context.Context, cause, reason string) (*Approved, error) {
	return send[*Approved](ctx, c, http.MethodPost, "/causes/"+url.PathEscape(cause)+"/approve", nil, map[string]string{"reason": reason})
}

// Accept accepts that much changed at once in a source, or in the whole fleet
// where it is *.
func (c *Client) Accept(ctx context.Context, source, reason string) error {
	body := map[string]string{"reason": reason}
	_, err := send[Accepted](ctx, c, http.MethodPost, "/sources/"+url.PathEscape(source)+"/accept", nil, body)
	return err
}

// sourceOf is the query of what may be asked for one source.
func sourceOf(name string) any {
	return struct {
		Source string `query:"source"`
	}{name}
}

// values makes a query of a struct, by the tags that the server reads it by.
func values(query any) url.Values {
	out := url.Values{}
	if query != nil {
		addValues(out, reflect.ValueOf(query))
	}
	return out
}

func addValues(out url.Values, v reflect.Value) {
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Tag.Get("query")
		switch {
		case v.Type().Field(i).Anonymous:
			addValues(out, f)
		case name == "" || f.IsZero():
		default:
			out.Set(name, text(f.Interface()))
		}
	}
}

func text(v any) string {
	switch v := v.(type) {
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case []string:
		return strings.Join(v, ",")
	}
	return fmt.Sprint(v)
}
