package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
	"github.com/molecule-ai/billing-reconciler/report"
)

func (a *app) desiredCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "desired [ID...]",
		Short: "say what each workspace should be, asking nothing but the tenants' databases",
		Long: `Derives the billing mode of every workspace, on the provision path and on the read
path. Needs the tenants' databases and the registry; no AWS, no log, no platform.

Exit status: 0; 1 where a source could not be read.`,
		ValidArgsFunction: a.completeIDs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.desired(cmd.Context(), args)
		},
	}
}

func (a *app) desired(ctx context.Context, terms []string) error {
	if err := a.oneOf("table", "json", "yaml"); err != nil {
		return err
	}
	w, err := a.open(ctx, forDesired)
	if err != nil {
		return err
	}
	defer w.close()
	result, err := w.desiredPass(ctx, terms)
	a.term.settle()
	if err != nil {
		return err
	}
	if a.output == "table" {
		a.showDesired(result)
	} else if err := a.write(report.New(result, report.Options{Policy: w.policy, DesiredOnly: true})); err != nil {
		return err
	}
	a.complain(result)
	return sourcesStatus(result)
}

// sourcesStatus fails where a source could not be read.
func sourcesStatus(result *reconcile.Result) error {
	for _, s := range result.Sources {
		if s.Err != nil {
			return exitError(exitFailed)
		}
	}
	return nil
}

func (a *app) showDesired(result *reconcile.Result) {
	rows := make([][]cell, 0, len(result.Workspaces))
	counts := map[drift.Mode]int{}
	for i := range result.Workspaces {
		j := &result.Workspaces[i]
		d := &j.Desired
		counts[d.Mode]++
		paper := "agrees"
		if d.ReadPath.Mode != d.Mode || d.ReadPath.Provider != d.Provider {
			paper = d.ReadPath.Words()
		}
		rows = append(rows, []cell{{j.Workspace.Source, ""}, {shortID(j.Workspace.ID), ""}, {clip(j.Workspace.Name, 28), ""},
			{j.Workspace.RuntimeOrDefault(), ""}, {d.Words(), ""}, {string(d.Source), pick(d.Err != "", yellow, "")}, {clip(d.Model, 32), ""},
			{string(d.Supply), pick(d.Supply == drift.SupplyNone, red, "")}, {paper, pick(paper != "agrees", red, "")}})
	}
	a.term.table([]string{"SOURCE", "ID", "NAME", "RUNTIME", "DESIRED", "FROM", "MODEL", "CREDENTIAL", "READ PATH"}, rows)
	_, _ = fmt.Fprintf(a.stdout, "\n%d workspaces: %d byok, %d platform_managed, %d disabled\n", len(result.Workspaces),
		counts[drift.ModeBYOK], counts[drift.ModePlatformManaged], counts[drift.ModeDisabled])
}
