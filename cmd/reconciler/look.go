package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/molecule-ai/billing-reconciler/admin"
)

func (a *app) lookCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "look ID",
		Short: "ask the daemon for a fresh look at a workspace, before its next pass",
		Long: `Asks the replica that holds the workspace's source to look at it now. It does not
wait for the answer: "reconciler events --follow --workspace ID" shows what comes of
it.`,
		Args: cobra.ExactArgs(1),
	}
	r := a.remote(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "`why`")
	cmd.ValidArgsFunction = r.complete(r.workspaces)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := a.oneOf("table", "json", "yaml"); err != nil {
			return err
		}
		return r.do(cmd.Context(), func(ctx context.Context, c *admin.Client) error {
			w, err := r.find(ctx, c, args[0])
			if err != nil {
				return err
			}
			look, err := c.Look(ctx, w.ID, w.Source, reason)
			if err != nil {
				return err
			}
			return a.tell(look, fmt.Sprintf("asked for a look at workspace %s of %s", look.Workspace, look.Source))
		})
	}
	return cmd
}
