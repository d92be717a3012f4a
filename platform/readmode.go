package platform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/molecule-ai/billing-reconciler/drift"
)

// readAnswer is the read endpoint's body. Older platforms also send org_default.
type readAnswer struct {
	WorkspaceID       string  `json:"workspace_id"`
	ResolvedMode      string  `json:"resolved_mode"`
	Source            string  `json:"source"`
	ProviderSelection *string `json:"provider_selection"`
}

// ReadMode asks the platform's read endpoint for a workspace's billing mode. A
// failure stands in the answer's Err, in words that say what to do; a missing
// answer is never a mode. The platform answers unknown ids with its default.
func (c *Client) ReadMode(ctx context.Context, id string) drift.ReadEndpoint {
	body, err := c.get(ctx, "/admin/workspaces/"+url.PathEscape(id)+"/llm-billing-mode")
	if err != nil {
		return drift.ReadEndpoint{Err: "read endpoint: " + err.Error()}
	}
	answer, err := parseMode(id, body)
	if err != nil {
		return drift.ReadEndpoint{Err: "read endpoint: " + err.Error()}
	}
	return answer
}

func parseMode(id string, body []byte) (drift.ReadEndpoint, error) {
	var a readAnswer
	if err := json.Unmarshal(body, &a); err != nil {
		// The decoder's words may quote the body, and a body that is not the
		// platform's may be anything.
		return drift.ReadEndpoint{}, errors.New("the answer is not the expected JSON")
	}
	answer := drift.ReadEndpoint{Mode: drift.Mode(a.ResolvedMode), Source: drift.ResolveSource(a.Source)}
	switch {
	case a.WorkspaceID != "" && !strings.EqualFold(a.WorkspaceID, id):
		return drift.ReadEndpoint{}, errors.New("the answer is of another workspace")
	case !answer.Mode.Recognised():
		return drift.ReadEndpoint{}, fmt.Errorf("unknown mode %.40q", a.ResolvedMode)
	case answer.Source != drift.FromProvider:
		return answer, nil // provider_selection is the raw model id then
	case a.ProviderSelection == nil || *a.ProviderSelection == "":
		return drift.ReadEndpoint{}, errors.New("the answer says derived_provider and names none")
	}
	answer.Provider = *a.ProviderSelection
	return answer, nil
}
