package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/molecule-ai/billing-reconciler/admin"
)

func (a *app) acceptCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "accept --source S --reason R",
		Short: "accept that much changed at once in a source: the next pass believes it",
		Long: `Where too many desired modes flip, or too many workspaces vanish, at once, the
inputs are the suspect: nothing is opened, closed or done in that source
(desired_surge). When the change is meant, this says so, and the next pass believes
it. --source '*' accepts what changed in the whole fleet, as with a new registry.`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	r := a.remote(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "`why` it is meant to be so")
	mustHave(cmd, "reason")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := a.oneOf("table", "json", "yaml"); err != nil {
			return err
		}
		if a.source == "" {
			return errors.New("accept: --source must say where")
		}
		return r.do(cmd.Context(), func(ctx context.Context, c *admin.Client) error {
			if err := c.Accept(ctx, a.source, reason); err != nil {
				return err
			}
			return a.tell(admin.Accepted{Source: a.source}, "accepted: the next pass over "+a.source+" believes what it reads")
		})
	}
	return cmd
}
