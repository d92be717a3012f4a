package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
	"github.com/molecule-ai/billing-reconciler/report"
)

func (a *app) checkCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "check [ID...]",
		Short: "look once at every workspace, and say what differs and why",
		Long: `One pass: what each workspace should be (tenant database, registry), what its
container is (AWS SSM), what the proxy's log says. Writes nothing, changes nothing.

Exit status: 0 nothing differs; 1 it failed; 2 drift found; 3 no drift seen, but
not everything could be observed.`,
		ValidArgsFunction: a.completeIDs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.check(cmd.Context(), args, all)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "list workspaces that are in sync or skipped too")
	return cmd
}

func (a *app) check(ctx context.Context, terms []string, all bool) error {
	if err := a.oneOf("table", "json", "yaml"); err != nil {
		return err
	}
	w, err := a.open(ctx, forCheck)
	if err != nil {
		return err
	}
	defer w.close()
	begun := time.Now()
	result, err := w.pass(ctx, terms)
	a.term.settle()
	if err != nil {
		return err
	}
	if a.output == "table" {
		a.showCheck(result, all || len(terms) > 0, time.Since(begun))
	} else if err := a.write(report.New(result, report.Options{Policy: w.policy})); err != nil {
		return err
	}
	a.complain(result)
	return checkStatus(result)
}

// checkStatus gives the exit status that a pass deserves: what failed first,
// then drift, then what could not be seen.
func checkStatus(result *reconcile.Result) error {
	unseen := result.Traffic != nil && result.Traffic.Err != nil
	drifted := false
	for i := range result.Workspaces {
		j := &result.Workspaces[i]
		drifted = drifted || j.Verdict == drift.Drifted
		notSeen := j.Observation.State != drift.Observed && j.Workspace.ShouldRun()
		unread := j.Verdict == drift.Unknown && j.Observation.State == drift.Observed
		unasked := j.ReadEndpoint != nil && j.ReadEndpoint.Err != ""
		unseen = unseen || notSeen || unread || unasked
	}
	for _, s := range result.Sources {
		if s.Err != nil {
			return exitError(exitFailed)
		}
	}
	switch {
	case drifted:
		return exitError(exitDrift)
	case unseen:
		return exitError(exitUnseen)
	}
	return nil
}

// complain says on stderr what kept the pass from seeing everything.
func (a *app) complain(result *reconcile.Result) {
	for _, s := range result.Sources {
		if s.Err != nil {
			_, _ = fmt.Fprintf(a.stderr, "reconciler: %s\n", printable(s.Err.Error()))
		}
	}
	if a.quiet {
		return
	}
	if result.Traffic != nil && result.Traffic.Err != nil {
		_, _ = fmt.Fprintf(a.stderr, "reconciler: %s\n", printable(result.Traffic.Err.Error()))
	}
	for _, f := range result.Fleet {
		_, _ = fmt.Fprintf(a.stderr, "reconciler: %s (%s): %s\n", f.Kind, f.Severity, f.Summary)
	}
	seen := map[string]int{}
	for i := range result.Workspaces {
		if r := result.Workspaces[i].ReadEndpoint; r != nil && r.Err != "" {
			seen[result.Workspaces[i].Workspace.Source+": "+r.Err]++
		}
	}
	for words, n := range seen {
		_, _ = fmt.Fprintf(a.stderr, "reconciler: %s (%d workspaces)\n", printable(words), n)
	}
}

func (a *app) showCheck(result *reconcile.Result, all bool, took time.Duration) {
	var rows [][]cell
	for _, verdict := range drift.Verdicts {
		for i := range result.Workspaces {
			j := &result.Workspaces[i]
			if j.Verdict == verdict && (all || verdict == drift.Drifted || verdict == drift.Unknown) {
				rows = append(rows, checkRow(j))
			}
		}
	}
	if len(rows) > 0 {
		a.term.table([]string{"VERDICT", "SOURCE", "ID", "NAME", "DESIRED", "OBSERVED", "WHAT"}, rows)
		_, _ = fmt.Fprintln(a.stdout)
	}
	_, _ = fmt.Fprintln(a.stdout, a.term.summary(result, took))
	if first := firstDrifted(result); first != nil {
		_, _ = fmt.Fprintf(a.stdout, "reconciler explain %s   says why\n", shortID(first.Workspace.ID))
	}
}

func checkRow(j *reconcile.Judged) []cell {
	observed := string(j.Observation.Mode())
	if j.Observation.State != drift.Observed {
		observed = j.Observation.State.String()
	} else if observed == "" {
		observed = "does not say"
	}
	return []cell{{string(j.Verdict), verdictColor(j.Verdict)}, {j.Workspace.Source, ""}, {shortID(j.Workspace.ID), ""},
		{clip(j.Workspace.Name, 28), ""}, {j.Desired.Words(), ""}, {observed, ""}, {what(j), severityColor(j.Findings)}}
}

// what says in a line what is wrong: the findings, worst first, and the cause.
func what(j *reconcile.Judged) string {
	if len(j.Findings) == 0 {
		return j.Reason
	}
	var kinds []string
	for _, severity := range drift.Severities {
		for _, f := range j.Findings {
			if f.Severity == severity {
				kinds = append(kinds, string(f.Kind))
			}
		}
	}
	words := strings.Join(kinds, ", ")
	if len(j.Causes) > 0 {
		words += "; cause " + string(j.Causes[0].Code)
	}
	if j.Reason != "" {
		words += "; " + j.Reason
	}
	return words
}

func (t *terminal) summary(result *reconcile.Result, took time.Duration) string {
	s := report.Summarise(result.Workspaces)
	parts := []string{
		t.paint(green, fmt.Sprintf("%d in sync", s.InSync)),
		t.paint(pick(s.Drifted > 0, red, ""), fmt.Sprintf("%d drifted", s.Drifted)),
		t.paint(pick(s.Unknown > 0, yellow, ""), fmt.Sprintf("%d unknown", s.Unknown)),
		fmt.Sprintf("%d skipped", s.Skipped),
	}
	line := fmt.Sprintf("%d workspaces in %s: %s", s.Workspaces, took.Round(100*time.Millisecond), strings.Join(parts, ", "))
	if c := result.Traffic; c != nil && !result.Partial {
		line += fmt.Sprintf("; %d log lines read, %d not understood, %d billed calls from addresses of no workspace", c.Lines, c.Skipped, c.Unattributed.Billed)
	}
	return line
}

func firstDrifted(result *reconcile.Result) *reconcile.Judged {
	for i := range result.Workspaces {
		if result.Workspaces[i].Verdict == drift.Drifted {
			return &result.Workspaces[i]
		}
	}
	return nil
}

func verdictColor(v drift.Verdict) string {
	switch v {
	case drift.Drifted:
		return red
	case drift.Unknown:
		return yellow
	case drift.InSync:
		return green
	}
	return dim
}

func severityColor(findings []drift.Finding) string {
	for _, f := range findings {
		if f.Severity == drift.Critical {
			return red
		}
	}
	return ""
}

func pick(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

// shortID is enough of a uuid to name a workspace among some thousands.
func shortID(id string) string { return id[:min(8, len(id))] }

func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
