package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/molecule-ai/billing-reconciler/admin"
	"github.com/molecule-ai/billing-reconciler/drift"
)

// eventFlags say which events are asked for.
type eventFlags struct {
	follow    bool
	since     string
	after     int64
	kinds     []string
	severity  string
	workspace string
	limit     int
}

func (a *app) eventsCommand() *cobra.Command {
	var f eventFlags
	cmd := &cobra.Command{
		Use:   "events",
		Short: "what happened, and what happens",
		Long: `Lists the newest events of a running daemon, the oldest of them first. With
--follow it goes on with what happens, until it is interrupted; where the daemon is
restarted meanwhile, nothing is missed and nothing comes twice. -o json is then one
document a line.`,
		Example: `  reconciler events --since 1d --severity high
  reconciler events --follow -o json`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	r := a.remote(cmd)
	flags := cmd.Flags()
	flags.BoolVarP(&f.follow, "follow", "f", false, "go on with what happens")
	flags.StringVar(&f.since, "since", "", "only events at or after this `time`, or how long ago, such as 1h")
	flags.Int64Var(&f.after, "after", 0, "only events after the one of this `id`")
	flags.StringSliceVar(&f.kinds, "kind", nil, "only events of these `kinds`")
	flags.StringVar(&f.severity, "severity", "", "only events at least this `severe`: critical, high, medium, low")
	flags.StringVar(&f.workspace, "workspace", "", "only events of this workspace: `id`, the start of one, or name")
	flags.IntVar(&f.limit, "limit", 50, "the most that are listed")
	cmd.MarkFlagsMutuallyExclusive("since", "after")
	completeWords(cmd, "kind", words(drift.EventKinds)...)
	completeWords(cmd, "severity", words(drift.Severities)...)
	r.completeFlag(cmd, "workspace", r.workspaces)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := a.oneOf("table", "json", "yaml"); err != nil {
			return err
		}
		return r.do(cmd.Context(), func(ctx context.Context, c *admin.Client) error { return a.events(ctx, c, r, &f) })
	}
	return cmd
}

func (a *app) events(ctx context.Context, c *admin.Client, r *remote, f *eventFlags) error {
	since, err := moment(f.since, time.Now())
	if err != nil {
		return fmt.Errorf("--since: %w", err)
	}
	if f.limit < 1 {
		return errors.New("--limit: must be at least 1")
	}
	filter := admin.EventFilter{Kinds: f.kinds, Source: a.source, Severity: drift.Severity(f.severity)}
	if f.workspace != "" {
		w, err := r.find(ctx, c, f.workspace)
		if err != nil {
			return err
		}
		filter.Workspace = w.ID
	}
	newest, err := c.Events(ctx, admin.EventQuery{Order: "desc", Limit: 1})
	if err != nil {
		return err
	}
	events, err := collect(ctx, c, filter, f, since)
	if err != nil {
		return err
	}
	if !f.follow {
		return a.writeEvents(events)
	}
	last := f.after
	for _, e := range slices.Concat(newest.Events, events) {
		last = max(last, e.ID)
	}
	return a.follow(ctx, c, filter, events, last)
}

// collect gives the events asked for, the oldest first: from --after on, or the
// newest.
func collect(ctx context.Context, c *admin.Client, filter admin.EventFilter, f *eventFlags, since time.Time) (events []admin.Event, err error) {
	q := admin.EventQuery{EventFilter: filter, After: f.after, Order: pick(f.after > 0, "asc", "desc")}
	for len(events) < f.limit {
		q.Limit = min(f.limit-len(events), 1000)
		page, err := c.Events(ctx, q)
		if err != nil {
			return nil, err
		}
		old := slices.IndexFunc(page.Events, func(e admin.Event) bool { return e.At.Before(since) })
		if old >= 0 {
			page.Events, page.Next = page.Events[:old], nil
		}
		events = append(events, page.Events...)
		if page.Next == nil {
			break
		}
		if q.Order == "asc" {
			q.After = *page.Next
		} else {
			q.Before = *page.Next
		}
	}
	if q.Order == "desc" {
		slices.Reverse(events)
	}
	return events, nil
}

func (a *app) writeEvents(events []admin.Event) error {
	if a.output != "table" {
		return a.write(map[string]any{"events": append([]admin.Event{}, events...)})
	}
	rows := make([][]cell, len(events))
	for i := range events {
		rows[i] = eventRow(&events[i])
	}
	if len(rows) > 0 {
		a.term.table([]string{"ID", "AT", "KIND", "SEVERITY", "SOURCE", "WORKSPACE", "BY", "WHAT"}, rows)
	}
	return nil
}

func eventRow(e *admin.Event) []cell {
	workspace := shortID(deref(e.Workspace))
	if name := deref(e.Name); name != "" {
		workspace += " " + clip(name, 28)
	}
	severity := deref(e.Severity)
	return []cell{{fmt.Sprint(e.ID), dim}, {e.At.UTC().Format(time.RFC3339), ""}, {string(e.Kind), ""}, {string(severity), pick(severity == drift.Critical, red, "")},
		{deref(e.Source), ""}, {workspace, ""}, {deref(e.By), ""}, {e.Summary, ""}}
}

// follow writes events one by one as they come: those listed, then what happens.
func (a *app) follow(ctx context.Context, c *admin.Client, filter admin.EventFilter, listed []admin.Event, last int64) error {
	for i := range listed {
		if err := a.writeEvent(&listed[i]); err != nil {
			return err
		}
	}
	lost := func(err error, wait time.Duration) {
		if !a.quiet {
			_, _ = fmt.Fprintf(a.stderr, "reconciler: event stream lost (%s); again in %s\n", printable(err.Error()), wait.Round(100*time.Millisecond))
		}
	}
	return c.Follow(ctx, filter, &last, a.writeEvent, lost)
}

// writeEvent writes one event as a document of its own, or as a line with the
// columns at usual widths: those of what is still to come are not known.
func (a *app) writeEvent(e *admin.Event) error {
	switch a.output {
	case "json":
		text, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("write json: %w", err)
		}
		_, err = fmt.Fprintf(a.stdout, "%s\n", text)
		return err
	case "yaml":
		if _, err := fmt.Fprintln(a.stdout, "---"); err != nil {
			return err
		}
		return a.write(e)
	}
	row := eventRow(e)
	widths := []int{6, 20, 22, 8, 16, 24, 8, 0}
	line := ""
	for i, c := range row {
		line += a.term.paint(c.color, fmt.Sprintf("%-*s", widths[i], printable(c.text))) + "  "
	}
	_, err := fmt.Fprintln(a.stdout, line)
	return err
}
