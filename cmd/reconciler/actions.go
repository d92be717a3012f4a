package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/molecule-ai/billing-reconciler/admin"
	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// actionStates are the words of --state.
var actionStates = []store.ActionState{store.ActionRequested, store.ActionQueued, store.ActionCalling, store.ActionProving, store.ActionEnded}

// actionFlags say which actions are asked for.
type actionFlags struct {
	state, outcome, workspace string
	inFlight                  bool
	limit                     int
}

func (a *app) actionsCommand() *cobra.Command {
	var f actionFlags
	cmd := &cobra.Command{
		Use:   "actions [N]",
		Short: "reprovisions that are wanted, under way, or over; or one of them in full",
		Long: `Lists the newest reprovisions: those that somebody wants, those under way and those
that are over, with how they ended. With the number of one it says all of it.`,
		Args: cobra.MaximumNArgs(1),
	}
	r := a.remote(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.state, "state", "", "only those in this `state`: requested, queued, calling, proving, ended")
	flags.StringVar(&f.outcome, "outcome", "", "only those that `ended` so, such as cured or ineffective")
	flags.StringVar(&f.workspace, "workspace", "", "only those of this workspace: `id`, the start of one, or name")
	flags.BoolVar(&f.inFlight, "in-flight", false, "only those under way")
	flags.IntVar(&f.limit, "limit", 50, "the most that are listed")
	completeWords(cmd, "state", words(actionStates)...)
	completeWords(cmd, "outcome", words(drift.Outcomes)...)
	r.completeFlag(cmd, "workspace", r.workspaces)
	cmd.ValidArgsFunction = r.complete(r.actions)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := a.oneOf("table", "json", "yaml"); err != nil {
			return err
		}
		return r.do(cmd.Context(), func(ctx context.Context, c *admin.Client) error {
			if len(args) == 1 {
				return a.action(ctx, c, args[0])
			}
			return a.actions(ctx, c, r, &f)
		})
	}
	return cmd
}

// actions offers the numbers of actions, with their workspaces.
func (r *remote) actions(ctx context.Context, c *admin.Client, begun string) (offers []string, err error) {
	page, err := c.Actions(ctx, admin.ActionQuery{Source: r.app.source})
	if err != nil {
		return nil, err
	}
	for i := range page.Actions {
		one := &page.Actions[i]
		if id := strconv.FormatInt(one.ID, 10); strings.HasPrefix(id, begun) {
			offers = append(offers, id+"\t"+printable(one.Name)+", "+actionState(one))
		}
	}
	return offers, nil
}

func (a *app) actions(ctx context.Context, c *admin.Client, r *remote, f *actionFlags) error {
	q := admin.ActionQuery{Source: a.source, State: store.ActionState(f.state), Outcome: drift.Outcome(f.outcome), InFlight: f.inFlight}
	if f.limit < 1 {
		return fmt.Errorf("--limit %d: must be at least 1", f.limit)
	}
	if f.workspace != "" {
		w, err := r.find(ctx, c, f.workspace)
		if err != nil {
			return err
		}
		q.Workspace = w.ID
	}
	all := []admin.Reprovision{}
	more := true
	for more && len(all) < f.limit {
		q.Limit = min(f.limit-len(all), 1000)
		page, err := c.Actions(ctx, q)
		if err != nil {
			return err
		}
		all = append(all, page.Actions...)
		if more = page.Next != nil; more {
			q.Cursor = *page.Next
		}
	}
	return a.writeActions(all, more)
}

func (a *app) writeActions(all []admin.Reprovision, more bool) error {
	if a.output != "table" {
		return a.write(map[string]any{"actions": all})
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(a.stdout, "no action")
		return err
	}
	var rows [][]cell
	now := time.Now()
	for i := range all {
		rows = append(rows, actionRow(&all[i], now))
	}
	a.term.table([]string{"ID", "STATE", "SOURCE", "WORKSPACE", "NAME", "CREATED", "BY", "CAUSE", "WORDS"}, rows)
	if more && !a.quiet {
		_, _ = fmt.Fprintln(a.stderr, "there are more; raise --limit")
	}
	return nil
}

func actionRow(one *admin.Reprovision, now time.Time) []cell {
	color := ""
	switch {
	case one.Outcome != nil && one.Outcome.Stops():
		color = red
	case one.Outcome != nil && good(one.Outcome):
		color = green
	}
	return []cell{{fmt.Sprint(one.ID), ""}, {actionState(one), color}, {one.Source, ""}, {shortID(one.Workspace), ""}, {clip(one.Name, 28), ""},
		{ago(&one.CreatedAt, now), ""}, {or(deref(one.By), "daemon"), ""}, {or(one.Cause, "-"), ""}, {one.Words, ""}}
}

// actionState is how it ended, or how far it has come.
func actionState(one *admin.Reprovision) string {
	if one.Outcome != nil {
		return string(*one.Outcome)
	}
	return string(one.State)
}

func (a *app) action(ctx context.Context, c *admin.Client, term string) error {
	id, err := strconv.ParseInt(term, 10, 64)
	if err != nil {
		return fmt.Errorf("%q: the number of an action is wanted; reconciler actions lists them, --workspace those of one workspace", term)
	}
	one, err := c.Action(ctx, id)
	if err != nil {
		return err
	}
	if a.output != "table" {
		return a.write(one)
	}
	a.showAction(&one.Reprovision)
	return nil
}

func (a *app) showAction(one *admin.Reprovision) {
	out := func(format string, args ...any) {
		_, _ = fmt.Fprintln(a.stdout, printable(fmt.Sprintf(format, args...)))
	}
	out("action %d, %s: workspace %s %q of %s", one.ID, actionState(one), one.Workspace, one.Name, one.Source)
	out("  %s", one.Words)
	if one.By != nil {
		out("  wanted by %s: %s%s%s", *one.By, deref(one.Reason), pick(one.Forced, " (forced)", ""), pick(one.Mode == drift.RemediateDryRun, " (dry run)", ""))
	}
	if one.Cause != "" {
		out("  for cause %s", one.Cause)
	}
	if one.Drift != nil {
		out("  of drift %d: reconciler drifts %d", *one.Drift, *one.Drift)
	}
	for _, at := range []struct {
		what string
		when *time.Time
	}{{"created", &one.CreatedAt}, {"begun", one.OpenedAt}, {"called", one.CalledAt}, {"ended", one.EndedAt}, {"next looked at", one.NextAt}} {
		if at.when != nil {
			out("  %s %s", at.what, at.when.UTC().Format(time.RFC3339))
		}
	}
	if one.Answer != nil {
		out("  the platform answered %s: %s (call %d)", one.Answer.Result, one.Answer.Words, one.Calls)
	}
}
