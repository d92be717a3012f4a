package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// WorkspaceName says which workspace is meant.
type WorkspaceName struct {
	Source string `json:"source"`
	ID     string `json:"id"`
	Name   string `json:"name"`
}

// mostNames is how many workspaces are looked through for the one that a term
// names: names that merely begin so come with it.
const mostNames = 200

// Names gives the workspaces with a name or an id that begins with a term, some
// of them where they are many.
func (c *Client) Names(ctx context.Context, term, source string) ([]WorkspaceName, error) {
	page, err := c.Workspaces(ctx, WorkspaceQuery{Q: term, Source: source, Limit: mostNames})
	if err != nil {
		return nil, err
	}
	names := make([]WorkspaceName, len(page.Workspaces))
	for i, doc := range page.Workspaces {
		if err := json.Unmarshal(doc, &names[i]); err != nil {
			return nil, fmt.Errorf("read a workspace: %w", err)
		}
	}
	return names, nil
}

// Find gives the one workspace that a term names: an id, the start of one, or a
// whole name. What is none or several is an error that says which there are.
func (c *Client) Find(ctx context.Context, term, source string) (*WorkspaceName, error) {
	near, err := c.Names(ctx, term, source)
	if err != nil {
		return nil, err
	}
	var found []WorkspaceName
	for _, w := range near {
		if w.Name == term || strings.HasPrefix(w.ID, strings.ToLower(term)) {
			found = append(found, w)
		}
	}
	switch {
	case len(found) == 1:
		return &found[0], nil
	case len(found) > 1:
		return nil, fmt.Errorf("%q may be any of %d workspaces; give more of the id, or --source:%s", term, len(found), listNames(found))
	case len(near) > 0:
		return nil, fmt.Errorf("%q: no workspace has this whole name, or an id that begins so; there are:%s", term, listNames(near))
	}
	return nil, fmt.Errorf("%q: no workspace has this name, or an id that begins so", term)
}

// listNames is a line each, of the first ones.
func listNames(all []WorkspaceName) string {
	const most = 20
	var lines strings.Builder
	for _, w := range all[:min(len(all), most)] {
		fmt.Fprintf(&lines, "\n  %s  %s  %s", w.ID, w.Source, w.Name)
	}
	if len(all) > most {
		fmt.Fprintf(&lines, "\n  and %d more", len(all)-most)
	}
	return lines.String()
}
