package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/molecule-ai/billing-reconciler/admin"
	"github.com/molecule-ai/billing-reconciler/drift"
)

func (a *app) approveCommand() *cobra.Command {
	var cause string
	var want admin.ApproveRequest
	cmd := &cobra.Command{
		Use:   "approve ID --reason R [--for D] | --cause CODE --reason R",
		Short: "let the daemon act where that takes a person's word",
		Long: `Lets the daemon reprovision a workspace where remediate.approval asks for a person's
word, for --for; and lets the cause of its drift go on: one that was stopped begins
with a canary again, and what no log could prove counts as proven. Attempts made
before count no more. With --cause that alone, for every workspace.`,
		Example: `  reconciler approve 6b66de8d --reason "the customer agreed" --for 8h
  reconciler approve --cause model_empty --reason "the platform is mended, ticket 812"`,
		Args: cobra.MaximumNArgs(1),
	}
	r := a.remote(cmd)
	flags := cmd.Flags()
	flags.StringVar(&cause, "cause", "", "a cause's `code`; reconciler causes lists them")
	flags.StringVar(&want.Reason, "reason", "", "`why`")
	flags.StringVar(&want.For, "for", "", "how `long` a workspace may be acted on, such as 8h or 7d (default 24h)")
	cmd.MarkFlagsMutuallyExclusive("cause", "for")
	mustHave(cmd, "reason")
	cmd.ValidArgsFunction = r.complete(r.workspaces)
	r.completeFlag(cmd, "cause", r.causes)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := a.oneOf("table", "json", "yaml"); err != nil {
			return err
		}
		if (len(args) == 1) == (cause != "") {
			return errors.New("approve: name a workspace, or a cause with --cause")
		}
		return r.do(cmd.Context(), func(ctx context.Context, c *admin.Client) error {
			if cause != "" {
				return a.approveCause(ctx, c, cause, want.Reason)
			}
			return a.approve(ctx, c, r, args[0], want)
		})
	}
	return cmd
}

func (a *app) approve(ctx context.Context, c *admin.Client, r *remote, term string, want admin.ApproveRequest) error {
	w, err := r.find(ctx, c, term)
	if err != nil {
		return err
	}
	done, err := c.Approve(ctx, w.ID, w.Source, want)
	if err != nil {
		return err
	}
	words := fmt.Sprintf("approved: workspace %s of %s until %s", done.Workspace, done.Source, done.ExpiresAt.UTC().Format(time.RFC3339))
	if done.Cause != nil {
		words += "; cause " + *done.Cause + " may go on"
	}
	return a.tell(done, words)
}

func (a *app) approveCause(ctx context.Context, c *admin.Client, cause, reason string) error {
	done, err := c.ApproveCause(ctx, cause, reason)
	if err != nil {
		return err
	}
	return a.tell(done, "approved: cause "+cause+" may go on")
}

// causes offers the causes that can be approved.
func (r *remote) causes(ctx context.Context, c *admin.Client, begun string) (offers []string, err error) {
	all, err := c.Causes(ctx)
	if err != nil {
		return nil, err
	}
	for i := range all.Causes {
		if cause := &all.Causes[i]; cause.Mode == drift.RemediateEnforce && strings.HasPrefix(cause.Cause, begun) {
			offers = append(offers, cause.Cause+"\t"+printable(causeState(cause)))
		}
	}
	return offers, nil
}

func (a *app) causesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "causes",
		Short: "how far the reprovisions of each cause have proven themselves",
		Long: `Lists the causes about which something was ever done. The first reprovision of a
cause is alone; once it is proven two follow, then four, and so on. A cause whose
reprovision changed nothing, or made it worse, is stopped everywhere until its inputs
change or "reconciler approve --cause" lets it begin again.`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	r := a.remote(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := a.oneOf("table", "json", "yaml"); err != nil {
			return err
		}
		return r.do(cmd.Context(), a.listCauses)
	}
	return cmd
}

func (a *app) listCauses(ctx context.Context, c *admin.Client) error {
	all, err := c.Causes(ctx)
	if err != nil {
		return err
	}
	if a.output != "table" {
		return a.write(all)
	}
	if len(all.Causes) == 0 {
		_, err := fmt.Fprintln(a.stdout, "nothing was done about any cause yet")
		return err
	}
	var rows [][]cell
	now := time.Now()
	for i := range all.Causes {
		cause := &all.Causes[i]
		row := plain(cause.Cause, string(cause.Mode), fmt.Sprint(cause.Wave), fmt.Sprintf("%d of %d", cause.Opened, cause.Size), fmt.Sprint(cause.Proven), ago(cause.ApprovedAt, now))
		rows = append(rows, append(row, cell{causeState(cause), pick(cause.Stopped != nil, red, "")}))
	}
	a.term.table([]string{"CAUSE", "MODE", "WAVE", "BEGUN", "PROVEN", "APPROVED", ""}, rows)
	return nil
}

func causeState(c *admin.Ramp) string {
	switch {
	case c.Stopped != nil:
		return "stopped: " + *c.Stopped
	case c.Waits != nil:
		return "waits: " + *c.Waits
	}
	return "goes on"
}
