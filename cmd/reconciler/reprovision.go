package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/molecule-ai/billing-reconciler/admin"
	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

// reprovisionFlags say how the end of a reprovision is waited for.
type reprovisionFlags struct {
	admin.ReprovisionRequest
	wait    bool
	timeout time.Duration
}

func (a *app) reprovisionCommand() *cobra.Command {
	var f reprovisionFlags
	cmd := &cobra.Command{
		Use:   "reprovision ID --reason R",
		Short: "have a workspace provisioned again, through the same checks as the daemon's own",
		Long: `Asks the daemon to have the platform stop and start a workspace. The daemon looks at
it afresh and judges it by its rules; where one of them keeps it from acting, the
request ends as blocked and says why, and nothing is called. It interrupts the
customer's agent. --force skips cool-downs and windows; never the pause, the budgets,
the ramp or a known refusal. --dry-run says what would be done.

Without --wait it says that the request was taken down; with it, how it ended.

Exit status: 0 taken down, or with --wait cured (or, with --dry-run, would have been
reprovisioned); 1 anything else.`,
		Example: `  reconciler reprovision 6b66de8d --reason "ticket 812" --wait
  reconciler reprovision 6b66de8d --reason "may I?" --dry-run --wait`,
		Args: cobra.ExactArgs(1),
	}
	r := a.remote(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.Reason, "reason", "", "`why`")
	flags.BoolVar(&f.DryRun, "dry-run", false, "only say what would be done")
	flags.BoolVar(&f.Force, "force", false, "skip cool-downs and windows")
	flags.BoolVar(&f.wait, "wait", false, "until it has ended, and say how")
	flags.DurationVar(&f.timeout, "timeout", 0, "with --wait: how `long` at most, such as 30m (default until it has ended); it goes on all the same")
	mustHave(cmd, "reason")
	cmd.ValidArgsFunction = r.complete(r.workspaces)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := a.oneOf("table", "json", "yaml"); err != nil {
			return err
		}
		if f.timeout != 0 && !f.wait {
			return errors.New("--timeout is for --wait")
		}
		return r.do(cmd.Context(), func(ctx context.Context, c *admin.Client) error { return a.reprovision(ctx, c, r, args[0], &f) })
	}
	return cmd
}

func (a *app) reprovision(ctx context.Context, c *admin.Client, r *remote, term string, f *reprovisionFlags) error {
	w, err := r.find(ctx, c, term)
	if err != nil {
		return err
	}
	action, err := c.Reprovision(ctx, w.ID, w.Source, f.ReprovisionRequest)
	if err != nil {
		return err
	}
	if !f.wait {
		return a.tell(action, fmt.Sprintf("action %d: a reprovision of workspace %s of %s was asked for; reconciler actions %d shows what comes of it", action.ID, action.Workspace, action.Source, action.ID))
	}
	if f.timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, f.timeout)
		defer stop()
	}
	action, err = a.await(ctx, c, action)
	if err != nil {
		return err
	}
	if err := a.tell(action, actionSentence(action)); err != nil || good(action.Outcome) {
		return err
	}
	return exitError(exitFailed)
}

// pollEvery is how often an action is asked after.
const pollEvery = time.Second

// await asks after an action until it has ended, or ctx has: then it gives how it
// stood last.
func (a *app) await(ctx context.Context, c *admin.Client, action *admin.Reprovision) (*admin.Reprovision, error) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	defer a.term.settle()
	for action.State != store.ActionEnded {
		a.term.progress(fmt.Sprintf("action %d, %s: %s", action.ID, action.State, action.Words), 0, 0)
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return action, nil
			}
			return nil, ctx.Err()
		case <-tick.C:
		}
		now, err := c.Action(ctx, action.ID)
		switch {
		case err == nil:
			action = &now.Reprovision
		case ctx.Err() == nil:
			return nil, err
		}
	}
	return action, nil
}

// actionSentence says how an action stands.
func actionSentence(a *admin.Reprovision) string {
	if a.Outcome == nil {
		return fmt.Sprintf("action %d is %s yet, and goes on: %s", a.ID, a.State, a.Words)
	}
	return fmt.Sprintf("action %d: %s: %s", a.ID, *a.Outcome, a.Words)
}

// good tells whether an action ended as it was meant to.
func good(o *drift.Outcome) bool {
	return o != nil && slices.Contains([]drift.Outcome{drift.Cured, drift.CuredUnproven, drift.WouldHave}, *o)
}
