package admin

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/molecule-ai/billing-reconciler/store"
)

func pathURL(path string) *url.URL { return &url.URL{Path: path} }

// known refuses a source that is not configured and never was.
func (s *Server) known(ctx context.Context, name string) error {
	if name == store.Fleet || s.opts.SourceNames != nil && slices.Contains(s.opts.SourceNames(), name) {
		return nil
	}
	sources, err := s.opts.Store.Sources(ctx)
	if err != nil {
		return err
	}
	var names []string
	for i := range sources {
		if sources[i].Name == name {
			return nil
		}
		names = append(names, sources[i].Name)
	}
	if s.opts.SourceNames != nil {
		names = append(names, s.opts.SourceNames()...)
	}
	slices.Sort(names)
	return huma.Error404NotFound(fmt.Sprintf("there is no source %s; there are: %s", name, strings.Join(slices.Compact(names), ", ")))
}

// workspace finds a workspace by its id, in one source or in all.
func (s *Server) workspace(ctx context.Context, id, source string) (*store.WorkspaceRow, error) {
	rows, _, err := s.opts.Store.Workspaces(ctx, store.WorkspaceFilter{Source: source, IDs: []string{strings.ToLower(id)}, Limit: 2})
	switch {
	case err != nil:
		return nil, err
	case len(rows) == 0:
		return nil, huma.Error404NotFound(fmt.Sprintf("no workspace %s is known; GET %s/workspaces?q=NAME finds one by its name, and a new one is known after the next pass", id, base))
	case len(rows) > 1:
		return nil, huma.Error409Conflict(fmt.Sprintf("workspace %s is known in several sources; say which by source", id))
	}
	return &rows[0], nil
}

var days = regexp.MustCompile(`\d+d`)

// longest is how long something may be paused or suppressed: a reminder that
// never comes is forgotten.
const longest = 366 * 24 * time.Hour

// parseFor reads a time span in Go's way, with whole days besides.
func parseFor(text string) (time.Duration, error) {
	hours := days.ReplaceAllStringFunc(text, func(d string) string {
		n, err := strconv.Atoi(strings.TrimSuffix(d, "d"))
		if err != nil || n > 1000 {
			return d // which time.ParseDuration refuses
		}
		return strconv.Itoa(24*n) + "h"
	})
	d, err := time.ParseDuration(hours)
	if err != nil || d <= 0 || d > longest {
		return 0, invalid("body.for", "must be a time such as 30m, 2h or 7d, at most 366d")
	}
	return d, nil
}

// invalid is the problem of a request whose schema holds and which means
// nothing all the same.
func invalid(where, what string) error {
	return huma.Error422UnprocessableEntity(where+": "+what, &huma.ErrorDetail{Location: where, Message: what})
}

// optional is nil for what is not there, so that it is null in JSON.
func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// moment is nil for a time that never was; others are in UTC.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
