package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/molecule-ai/billing-reconciler/admin"
	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/store"
)

func (a *app) statusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "how the daemon and everything it watches stand",
		Long: `Asks a running daemon: its sources with who holds them and how their last pass
went, the drifts that are open, what is paused, by whom, why and until when, and what
keeps it from its work. With -q it prints nothing: a health check for images without
a shell.

Exit status: 0 it does its work; 1 something keeps it from that, or nobody answers.`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	r := a.remote(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := a.oneOf("table", "json", "yaml"); err != nil {
			return err
		}
		return r.do(cmd.Context(), a.status)
	}
	return cmd
}

func (a *app) status(ctx context.Context, c *admin.Client) error {
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	if a.source != "" {
		if err := onlySource(s, a.source); err != nil {
			return err
		}
	}
	switch {
	case a.output != "table":
		err = a.write(s)
	case !a.quiet:
		a.showStatus(s, c.URL())
	}
	if err == nil && len(s.Problems) > 0 {
		return exitError(exitFailed)
	}
	return err
}

// onlySource leaves one source in a status.
func onlySource(s *admin.Status, name string) error {
	var names []string
	for i := range s.Sources {
		if s.Sources[i].Name == name {
			s.Sources = s.Sources[i : i+1]
			return nil
		}
		names = append(names, s.Sources[i].Name)
	}
	return fmt.Errorf("--source %q: the daemon knows no such source; there are: %s", name, strings.Join(names, ", "))
}

func (a *app) showStatus(s *admin.Status, url string) {
	out := func(format string, args ...any) {
		_, _ = fmt.Fprintln(a.stdout, printable(fmt.Sprintf(format, args...)))
	}
	out("reconciler %s at %s, %s", or(s.Process.Version, "of unknown version"), url, replicas(s))
	if s.Process.Config.Error != "" {
		out("configuration refused, the older one is in force: %s", s.Process.Config.Error)
	}
	if keys := s.Process.Config.Restart; len(keys) > 0 {
		out("changed, and in force after a restart: %s", strings.Join(keys, ", "))
	}
	var rows [][]cell
	for i := range s.Sources {
		rows = append(rows, sourceRow(&s.Sources[i], s.GeneratedAt))
	}
	if len(rows) > 0 {
		_, _ = fmt.Fprintln(a.stdout)
		a.term.table([]string{"SOURCE", "HOLDER", "LAST PASS", "TOOK", "DRIFTED", "UNKNOWN", "IN SYNC", "SKIPPED", ""}, rows)
		_, _ = fmt.Fprintln(a.stdout)
	}
	a.showInputs(s)
	a.showSinks(s)
	if f := s.FleetSurge; f != nil {
		out("inputs suspect in the whole fleet: %s%s", f.Summary, pick(f.Accepted, " (accepted)", "; reconciler accept --source '*' believes it"))
	}
	_, _ = fmt.Fprintln(a.stdout, a.openDrifts(s))
	a.showPauses(s.Pauses, s.GeneratedAt)
	if s.Suppressions > 0 {
		out("%d suppressions in force: reconciler suppress --list", s.Suppressions)
	}
	a.showRemediation(&s.Remediation)
	for _, p := range s.Problems {
		_, _ = fmt.Fprintln(a.stdout, a.term.paint(red, "problem: "+printable(p)))
	}
}

func (a *app) showInputs(s *admin.Status) {
	var rows [][]cell
	for i := range s.Inputs {
		in := &s.Inputs[i]
		state, color := "", ""
		switch {
		case in.Error != nil:
			state, color = *in.Error, red
		case in.BlindSince != nil:
			state, color = "blind since "+in.BlindSince.UTC().Format(time.RFC3339), red
		}
		row := plain(in.Input, in.Host, ago(in.LineAt, s.GeneratedAt), fmt.Sprint(in.Lines), fmt.Sprint(in.NotUnderstood))
		rows = append(rows, append(row, cell{clip(state, 160), color}))
	}
	if len(rows) > 0 {
		a.term.table([]string{"INPUT", "HOST", "LAST LINE", "LINES", "NOT UNDERSTOOD", ""}, rows)
		_, _ = fmt.Fprintln(a.stdout)
	}
}

func replicas(s *admin.Status) string {
	words := fmt.Sprintf("%d replicas", len(s.Replicas))
	if len(s.Replicas) == 1 {
		words = "1 replica"
	}
	if !s.Process.StartedAt.IsZero() {
		words += ", this one up for " + span(s.GeneratedAt.Sub(s.Process.StartedAt))
	}
	return words
}

func sourceRow(s *admin.SourceStatus, now time.Time) []cell {
	state, color := "", ""
	switch {
	case s.Error != nil:
		state, color = *s.Error, red
	case s.Surge != nil && s.Surge.Accepted:
		state, color = "accepted: "+s.Surge.Summary, yellow
	case s.Surge != nil:
		state, color = fmt.Sprintf("inputs suspect: %s; reconciler accept --source %s believes it", s.Surge.Summary, s.Name), red
	}
	took := ""
	if s.LastPassAt != nil {
		took = time.Duration(s.Took * float64(time.Second)).Round(10 * time.Millisecond).String()
	}
	row := plain(s.Name, or(deref(s.Holder), "nobody"), ago(s.LastPassAt, now), took)
	for _, v := range []drift.Verdict{drift.Drifted, drift.Unknown, drift.InSync, drift.Skipped} {
		row = append(row, cell{fmt.Sprint(s.Counts[v]), pick(s.Counts[v] > 0 && v != drift.InSync, verdictColor(v), "")})
	}
	return append(row, cell{clip(state, 160), color})
}

// openDrifts counts what is open, the worst first.
func (a *app) openDrifts(s *admin.Status) string {
	var parts []string
	for _, severity := range drift.Severities {
		if n := s.Drifts[severity]; n > 0 {
			parts = append(parts, a.term.paint(pick(severity == drift.Critical, red, ""), fmt.Sprintf("%d %s", n, severity)))
		}
	}
	if len(parts) == 0 {
		return "no open drift"
	}
	line := "open drifts: " + strings.Join(parts, ", ")
	if s.OldestDrift != nil {
		line += "; the oldest for " + span(s.GeneratedAt.Sub(*s.OldestDrift))
	}
	return line
}

func (a *app) showPauses(pauses []store.Pause, now time.Time) {
	for i := range pauses {
		_, _ = fmt.Fprintln(a.stdout, a.term.paint(yellow, printable("paused: "+pauseWords(&pauses[i], now))))
	}
}

// pauseWords says what is paused, by whom, why and until when.
func pauseWords(p *store.Pause, now time.Time) string {
	what := "acting"
	if p.Observing {
		what = "acting and looking"
	}
	until := "until resumed"
	if p.ExpiresAt != nil {
		until = fmt.Sprintf("until %s (%s left)", p.ExpiresAt.UTC().Format(time.RFC3339), span(p.ExpiresAt.Sub(now)))
	}
	return fmt.Sprintf("%s for %s, by %s %s, %s: %s", what, scopeWords(p.Scope), p.By, ago(&p.At, now), until, p.Reason)
}

func scopeWords(s store.Scope) string {
	switch s.Kind {
	case store.ScopeSource:
		return "source " + s.Source
	case store.ScopeWorkspace:
		return fmt.Sprintf("workspace %s of %s", s.Workspace, s.Source)
	}
	return "everything"
}

func or(s, otherwise string) string { return pick(s != "", s, otherwise) }
