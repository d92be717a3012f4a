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
)

// driftFlags say which drifts are asked for.
type driftFlags struct {
	all             bool
	severity, kind  string
	workspace, from string
	limit           int
}

func (a *app) driftsCommand() *cobra.Command {
	var f driftFlags
	cmd := &cobra.Command{
		Use:   "drifts [ID]",
		Short: "the drifts that are open, or one of them in full",
		Long: `Lists the drifts that are open, the newest first; with --all those that are over
too. With the number of a drift it says all of it: findings with their evidence, the
cause, and how the workspace stood.`,
		Args: cobra.MaximumNArgs(1),
	}
	r := a.remote(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.all, "all", false, "those that are over too")
	flags.StringVar(&f.severity, "severity", "", "only those of this `severity`: critical, high, medium, low")
	flags.StringVar(&f.kind, "kind", "", "only those with a finding of this `kind`")
	flags.StringVar(&f.workspace, "workspace", "", "only those of this workspace: `id`, the start of one, or name")
	flags.StringVar(&f.from, "since", "", "only those that were open at or after this `time`, or how long ago, such as 1d")
	flags.IntVar(&f.limit, "limit", 100, "the most that are listed")
	completeWords(cmd, "severity", words(drift.Severities)...)
	completeWords(cmd, "kind", words(drift.Kinds)...)
	r.completeFlag(cmd, "workspace", r.workspaces)
	cmd.ValidArgsFunction = r.complete(r.openDrifts)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := a.oneOf("table", "json", "yaml"); err != nil {
			return err
		}
		return r.do(cmd.Context(), func(ctx context.Context, c *admin.Client) error {
			if len(args) == 1 {
				return a.drift(ctx, c, args[0])
			}
			return a.drifts(ctx, c, r, &f)
		})
	}
	return cmd
}

// openDrifts offers the numbers of drifts, with their workspaces.
func (r *remote) openDrifts(ctx context.Context, c *admin.Client, begun string) (offers []string, err error) {
	page, err := c.Drifts(ctx, admin.DriftQuery{Open: "true", Source: r.app.source})
	if err != nil {
		return nil, err
	}
	for i := range page.Drifts {
		if id := strconv.FormatInt(page.Drifts[i].ID, 10); strings.HasPrefix(id, begun) {
			offers = append(offers, id+"\t"+printable(page.Drifts[i].Name)+", "+string(page.Drifts[i].Severity))
		}
	}
	return offers, nil
}

func (a *app) drifts(ctx context.Context, c *admin.Client, r *remote, f *driftFlags) error {
	since, err := moment(f.from, time.Now())
	if err != nil {
		return fmt.Errorf("--since: %w", err)
	}
	q := admin.DriftQuery{Source: a.source, Severity: drift.Severity(f.severity), Kind: drift.Kind(f.kind), Since: since}
	if !f.all {
		q.Open = "true"
	}
	if f.workspace != "" {
		w, err := r.find(ctx, c, f.workspace)
		if err != nil {
			return err
		}
		q.Workspace = w.ID
	}
	all := []admin.Drift{}
	more := false
	for len(all) < f.limit {
		q.Limit = min(f.limit-len(all), 1000)
		page, err := c.Drifts(ctx, q)
		if err != nil {
			return err
		}
		all = append(all, page.Drifts...)
		if more = page.Next != nil; !more {
			break
		}
		q.Cursor = *page.Next
	}
	return a.writeDrifts(all, more)
}

func (a *app) writeDrifts(all []admin.Drift, more bool) error {
	if a.output != "table" {
		return a.write(map[string]any{"drifts": all})
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(a.stdout, "no drift")
		return err
	}
	var rows [][]cell
	now := time.Now()
	for i := range all {
		rows = append(rows, driftRow(&all[i], now))
	}
	a.term.table([]string{"ID", "SEVERITY", "SOURCE", "WORKSPACE", "NAME", "OPENED", "STATE", "WHAT"}, rows)
	if more && !a.quiet {
		_, _ = fmt.Fprintln(a.stderr, "there are more; raise --limit")
	}
	return nil
}

func driftRow(d *admin.Drift, now time.Time) []cell {
	var kinds []string
	for _, f := range d.Findings {
		kinds = append(kinds, string(f.Kind))
	}
	what := strings.Join(kinds, ", ")
	if len(d.Causes) > 0 {
		what += "; cause " + string(d.Causes[0].Code)
	}
	return []cell{{fmt.Sprint(d.ID), ""}, {string(d.Severity), pick(d.Severity == drift.Critical, red, "")}, {d.Source, ""}, {shortID(d.Workspace), ""},
		{clip(d.Name, 28), ""}, {ago(&d.OpenedAt, now), ""}, {driftState(d), ""}, {what, ""}}
}

func driftState(d *admin.Drift) string {
	switch {
	case d.Result != nil:
		return string(*d.Result)
	case d.Suppressed:
		return "suppressed"
	case d.ClearSince != nil:
		return "clearing"
	}
	return "open"
}

func (a *app) drift(ctx context.Context, c *admin.Client, term string) error {
	id, err := strconv.ParseInt(term, 10, 64)
	if err != nil {
		return fmt.Errorf("%q: the number of a drift is wanted; reconciler drifts lists them, --workspace those of one workspace", term)
	}
	d, err := c.Drift(ctx, id)
	if err != nil {
		return err
	}
	if a.output != "table" {
		return a.write(d)
	}
	a.showDrift(&d.Drift)
	return nil
}

func (a *app) showDrift(d *admin.Drift) {
	out := func(format string, args ...any) {
		_, _ = fmt.Fprintln(a.stdout, printable(fmt.Sprintf(format, args...)))
	}
	stamp := func(t *time.Time) string { return t.UTC().Format(time.RFC3339) }
	out("drift %d, %s, %s: workspace %s %q of %s", d.ID, driftState(d), d.Severity, d.Workspace, d.Name, d.Source)
	out("  opened %s, first evidence %s", stamp(&d.OpenedAt), stamp(&d.FirstEvidence))
	if d.LastSeenAt != nil {
		out("  last seen %s", stamp(d.LastSeenAt))
	}
	if d.ClearSince != nil {
		out("  in sync since %s", stamp(d.ClearSince))
	}
	if d.ClosedAt != nil {
		out("  over %s", stamp(d.ClosedAt))
	}
	for _, f := range d.Findings {
		_, _ = fmt.Fprintln(a.stdout, a.term.paint(pick(f.Severity == drift.Critical, red, ""), printable(fmt.Sprintf("%s (%s): %s", f.Kind, f.Severity, f.Summary))))
		for _, line := range f.Evidence {
			out("  %s", line)
		}
	}
	for i, c := range d.Causes {
		out("%s %s: %s", pick(i == 0, "cause", "also fits"), c.Code, c.Summary)
	}
	if d.Open {
		out("reconciler explain %s   looks again and says why", shortID(d.Workspace))
	}
}
