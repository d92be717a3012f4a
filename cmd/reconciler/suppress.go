package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/molecule-ai/billing-reconciler/admin"
	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

func (a *app) suppressCommand() *cobra.Command {
	var list bool
	var kind string
	var want admin.SuppressRequest
	cmd := &cobra.Command{
		Use:   "suppress [ID] --reason R --for D",
		Short: "keep quiet about findings that somebody has accepted, for a time",
		Long: `Keeps quiet about findings of a workspace, or with --source and no ID about those
of all its workspaces: of one --kind, or of every kind. They are still found and
shown; nobody is told of them. It ends by itself after --for.`,
		Example: `  reconciler suppress 6b66de8d --kind model_mismatch --reason "canary, ticket 812" --for 7d
  reconciler suppress --list`,
		Args: cobra.MaximumNArgs(1),
	}
	r := a.remote(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&list, "list", false, "list the suppressions in force")
	flags.StringVar(&kind, "kind", "", "only findings of this `kind` (default every kind)")
	flags.StringVar(&want.Reason, "reason", "", "`why`")
	flags.StringVar(&want.For, "for", "", "how `long`, such as 2h or 7d")
	cmd.MarkFlagsRequiredTogether("reason", "for")
	cmd.MarkFlagsOneRequired("list", "reason")
	cmd.MarkFlagsMutuallyExclusive("list", "reason")
	completeWords(cmd, "kind", words(drift.Kinds)...)
	cmd.ValidArgsFunction = r.complete(r.workspaces)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := a.oneOf("table", "json", "yaml"); err != nil {
			return err
		}
		want.Kind = drift.Kind(kind)
		return r.do(cmd.Context(), func(ctx context.Context, c *admin.Client) error {
			if list {
				return a.listSuppressions(ctx, c)
			}
			return a.suppress(ctx, c, r, args, want)
		})
	}
	return cmd
}

func (a *app) suppress(ctx context.Context, c *admin.Client, r *remote, args []string, want admin.SuppressRequest) error {
	want.Source = a.source
	switch {
	case len(args) == 1:
		w, err := r.find(ctx, c, args[0])
		if err != nil {
			return err
		}
		want.Source, want.Workspace = w.Source, w.ID
	case a.source == "":
		return errors.New("suppress: name a workspace, or with --source every workspace of a source")
	}
	s, err := c.Suppress(ctx, want)
	if err != nil {
		return err
	}
	return a.tell(s, fmt.Sprintf("suppressed: %s until %s; reconciler unsuppress %d ends it", suppressionWords(s), s.ExpiresAt.UTC().Format(time.RFC3339), s.ID))
}

func suppressionWords(s *store.Suppression) string {
	of := "every workspace of " + s.Source
	if s.Workspace != "" {
		of = fmt.Sprintf("workspace %s of %s", s.Workspace, s.Source)
	}
	return or(string(s.Kind), "every kind of finding") + " of " + of
}

func (a *app) listSuppressions(ctx context.Context, c *admin.Client) error {
	all, err := c.Suppressions(ctx, a.source)
	if err != nil {
		return err
	}
	if a.output != "table" {
		return a.write(all)
	}
	if len(all.Suppressions) == 0 {
		_, err := fmt.Fprintln(a.stdout, "nothing is suppressed")
		return err
	}
	var rows [][]cell
	now := time.Now()
	for i := range all.Suppressions {
		s := &all.Suppressions[i]
		rows = append(rows, plain(fmt.Sprint(s.ID), s.Source, or(s.Workspace, "all"), or(string(s.Kind), "all"), span(s.ExpiresAt.Sub(now)), priceWords(s), s.By, s.Reason))
	}
	a.term.table([]string{"ID", "SOURCE", "WORKSPACE", "KIND", "LEFT", "PRICE", "BY", "REASON"}, rows)
	return nil
}

// priceWords says what was kept quiet about has cost.
func priceWords(s *admin.PricedSuppression) string {
	switch {
	case s.Billed == 0:
		return "no call"
	case s.CostUSD == nil:
		return fmt.Sprintf("%d calls", s.Billed)
	}
	return fmt.Sprintf("%d calls, $%.2f", s.Billed, *s.CostUSD)
}

func (a *app) unsuppressCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unsuppress N",
		Short: "end a suppression",
		Args:  cobra.ExactArgs(1),
	}
	r := a.remote(cmd)
	cmd.ValidArgsFunction = r.complete(r.suppressions)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := a.oneOf("table", "json", "yaml"); err != nil {
			return err
		}
		id, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil {
			return fmt.Errorf("%q: the number of a suppression is wanted; reconciler suppress --list shows them", args[0])
		}
		return r.do(cmd.Context(), func(ctx context.Context, c *admin.Client) error {
			if err := c.Unsuppress(ctx, id); err != nil {
				return err
			}
			return a.tell(admin.Unsuppressed{ID: id}, fmt.Sprintf("suppression %d ended", id))
		})
	}
	return cmd
}

// suppressions offers the numbers of suppressions, with what they are for.
func (r *remote) suppressions(ctx context.Context, c *admin.Client, _ string) (offers []string, err error) {
	all, err := c.Suppressions(ctx, r.app.source)
	if err != nil {
		return nil, err
	}
	for i := range all.Suppressions {
		s := &all.Suppressions[i]
		offers = append(offers, fmt.Sprintf("%d\t%s", s.ID, printable(suppressionWords(&s.Suppression))))
	}
	return offers, nil
}
