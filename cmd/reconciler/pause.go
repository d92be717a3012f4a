package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/molecule-ai/billing-reconciler/admin"
	"github.com/molecule-ai/billing-reconciler/store"
)

func (a *app) pauseCommand() *cobra.Command {
	var workspace string
	var want admin.PauseRequest
	cmd := &cobra.Command{
		Use:   "pause",
		Short: "stop acting: everywhere, for a source, or for a workspace",
		Long: `Stops the daemon, every replica of it, from acting: everywhere, or for --source or
--workspace alone. It goes on looking and telling, unless --observing stops that too.
The pause is kept in the database: it survives restarts, and lasts until
"reconciler resume" with the same scope, or for the time of --for. Pausing the same
scope again replaces its reason and its time.`,
		Example: `  reconciler pause --reason "vendor migration" --for 2h
  reconciler pause --workspace 6b66de8d --reason "customer is debugging"`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	r := a.remote(cmd)
	flags := cmd.Flags()
	flags.StringVar(&workspace, "workspace", "", "for this workspace alone: `id`, the start of one, or name")
	flags.StringVar(&want.Reason, "reason", "", "`why`, for whoever finds it paused")
	flags.StringVar(&want.For, "for", "", "how `long`, such as 30m, 2h or 7d (default until resumed)")
	flags.BoolVar(&want.Observing, "observing", false, "stop looking too")
	mustHave(cmd, "reason")
	r.completeFlag(cmd, "workspace", r.workspaces)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := a.oneOf("table", "json", "yaml"); err != nil {
			return err
		}
		return r.do(cmd.Context(), func(ctx context.Context, c *admin.Client) (err error) {
			if want.ScopeRequest, err = r.scope(ctx, c, workspace); err != nil {
				return err
			}
			p, err := c.Pause(ctx, want)
			if err != nil {
				return err
			}
			return a.tell(p, "paused: "+pauseWords(p, time.Now()))
		})
	}
	return cmd
}

func (a *app) resumeCommand() *cobra.Command {
	var workspace string
	var want admin.ResumeRequest
	cmd := &cobra.Command{
		Use:   "resume",
		Short: "end a pause",
		Long: `Ends the pause of the same scope: that of everything, of --source, or of
--workspace. A pause of another scope stays, and may still cover it; "reconciler
status" lists them.`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	r := a.remote(cmd)
	cmd.Flags().StringVar(&workspace, "workspace", "", "the pause of this workspace: `id`, the start of one, or name")
	cmd.Flags().StringVar(&want.Reason, "reason", "", "`why`")
	r.completeFlag(cmd, "workspace", r.pausedWorkspaces)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := a.oneOf("table", "json", "yaml"); err != nil {
			return err
		}
		return r.do(cmd.Context(), func(ctx context.Context, c *admin.Client) (err error) {
			if want.ScopeRequest, err = r.scope(ctx, c, workspace); err != nil {
				return err
			}
			done, err := c.Resume(ctx, want)
			if err != nil {
				return err
			}
			return a.tell(done, pick(done.Resumed, "resumed: ", "nothing to resume, there is no pause of: ")+scopeWords(done.Scope))
		})
	}
	return cmd
}

// scope is what the flags choose: a workspace, a source, or everything.
func (r *remote) scope(ctx context.Context, c *admin.Client, workspace string) (admin.ScopeRequest, error) {
	switch {
	case workspace != "":
		w, err := r.find(ctx, c, workspace)
		if err != nil {
			return admin.ScopeRequest{}, err
		}
		return admin.ScopeRequest{Scope: store.ScopeWorkspace, Source: w.Source, Workspace: w.ID}, nil
	case r.app.source != "":
		return admin.ScopeRequest{Scope: store.ScopeSource, Source: r.app.source}, nil
	}
	return admin.ScopeRequest{Scope: store.ScopeAll}, nil
}

// pausedWorkspaces offers the workspaces that can be resumed.
func (r *remote) pausedWorkspaces(ctx context.Context, c *admin.Client, _ string) (offers []string, err error) {
	all, err := c.Pauses(ctx)
	if err != nil {
		return nil, err
	}
	for i := range all.Pauses {
		if p := &all.Pauses[i]; p.Kind == store.ScopeWorkspace {
			offers = append(offers, p.Workspace+"\t"+printable(p.Reason))
		}
	}
	return offers, nil
}

// tell answers a change: the document, or a sentence.
func (a *app) tell(doc any, sentence string) error {
	if a.output != "table" {
		return a.write(doc)
	}
	_, err := fmt.Fprintln(a.stdout, printable(sentence))
	return err
}

// mustHave makes a flag required.
func mustHave(cmd *cobra.Command, flag string) {
	if err := cmd.MarkFlagRequired(flag); err != nil {
		panic(err) // no such flag: a slip in this program
	}
}
