package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
	"github.com/molecule-ai/billing-reconciler/report"
)

func (a *app) explainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain ID",
		Short: "say why: the derivation step by step, what was seen, each finding, the cause",
		Long: `Says of one workspace how its billing mode is derived, each input with where it
came from; what was seen of its container and in the proxy's log; each finding with
its evidence; the cause; and what the reconciler would do, or what keeps it from it.

That is by this look alone. History is the daemon's: how many looks agree, what was
tried, budgets, canaries and approvals. Where a daemon answers, what it last judged
is said too.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeIDs,
	}
	r := a.remote(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.explain(cmd.Context(), r, args[0]) }
	return cmd
}

// explanation is the JSON of explain.
type explanation struct {
	GeneratedAt time.Time        `json:"generated_at"`
	Workspace   report.Workspace `json:"workspace"`
	Trace       []step           `json:"trace"`
	Refusals    []drift.Refusal  `json:"refusals"`
	Judgement   drift.Judgement  `json:"judgement"` // by this look alone
	Daemon      *report.Action   `json:"daemon"`    // what the daemon last judged; null: none answered, or it has judged nothing
}

type step struct {
	What string `json:"what"`
	Got  string `json:"got"`
	From string `json:"from"`
}

func (a *app) explain(ctx context.Context, r *remote, term string) error {
	if err := a.oneOf("table", "json", "yaml"); err != nil {
		return err
	}
	w, err := a.open(ctx, forCheck)
	if err != nil {
		return err
	}
	defer w.close()
	asked := r.askDaemon(ctx, term)
	result, err := w.pass(ctx, []string{term})
	a.term.settle()
	daemon := <-asked
	if err != nil {
		return err
	}
	a.complain(result)
	if len(result.Workspaces) != 1 {
		return exitError(exitFailed) // its source could not be read, which was just said
	}
	j := &result.Workspaces[0]
	j.Desired = w.resolver.Explain(j.Workspace)
	refusals := drift.Refusals(w.policy, j.Workspace, &j.Desired)
	daemon = daemon.of(j.Workspace.ID)
	if a.output == "table" {
		x := &explainer{terminal: a.term, j: j, policy: w.policy}
		x.show(refusals, result.Traffic)
		x.daemon(daemon)
		return nil
	}
	out := explanation{GeneratedAt: result.At.UTC(), Workspace: report.New(result, report.Options{Policy: w.policy}).Workspaces[0],
		Trace: []step{}, Refusals: append([]drift.Refusal{}, refusals...), Judgement: j.Judgement, Daemon: daemon.Action}
	for _, s := range j.Desired.Trace {
		out.Trace = append(out.Trace, step(s))
	}
	return a.write(out)
}

// explainer writes one workspace for a person.
type explainer struct {
	*terminal
	j      *reconcile.Judged
	policy *drift.Policy
}

func (x *explainer) show(refusals []drift.Refusal, calls *reconcile.Calls) {
	w := x.j.Workspace
	x.line("%s", x.paint(bold, w.Name))
	x.fact("workspace", w.Source+" / "+w.ID)
	x.fact("runtime", w.RuntimeOrDefault()+pick(w.Runtime == nil, "  (NULL: the default)", ""))
	x.fact("status", w.Status)
	x.fact("instance", pick(w.InstanceID == "", "none", w.InstanceID))
	x.fact("verdict", x.paint(verdictColor(x.j.Verdict), string(x.j.Verdict))+pick(x.j.Reason == "", "", ": "+x.j.Reason))
	x.desired()
	x.observed()
	x.traffic(calls)
	x.findings()
	x.action(refusals)
}

func (x *explainer) line(format string, args ...any) {
	_, _ = fmt.Fprintln(x.stdout, strings.TrimRight(fmt.Sprintf(format, args...), " "))
}

func (x *explainer) head(title, words string) {
	x.line("\n%s  %s", x.paint(bold, title), words)
}

const factWidth = 16

func (x *explainer) fact(name, value string) {
	x.line("  %-*s  %s", factWidth, printable(name), value)
}

func (x *explainer) desired() {
	d := &x.j.Desired
	x.head("DESIRED", d.Words()+", "+string(d.Source))
	for _, s := range d.Trace {
		words := printable(s.Got)
		if s.From != "" {
			words += x.paint(dim, "  ← "+printable(s.From))
		}
		x.fact(s.What, words)
	}
	x.fact("credential", supplyWords(d))
	if d.Err != "" {
		x.fact("error", printable(d.Err))
	}
	x.fact("read path", d.ReadPath.Words()+", "+string(d.ReadPath.Source)+pick(d.ReadPath.Err == "", "", ": "+d.ReadPath.Err))
	if r := x.j.ReadEndpoint; r != nil {
		answer := drift.Path{Mode: r.Mode, Provider: r.Provider}
		x.fact("read endpoint", pick(r.Err == "", answer.Words()+", "+string(r.Source), printable(r.Err)))
	}
}

func supplyWords(d *drift.Desired) string {
	switch d.Supply {
	case drift.SupplyWorkspace:
		return "stored by the customer for this workspace"
	case drift.SupplyGlobal:
		return "stored in the tenant's global_secrets"
	case drift.SupplyNone:
		return "none that " + d.Provider + " takes (" + strings.Join(d.AuthEnv, ", ") + ")"
	}
	return "not needed"
}

func (x *explainer) observed() {
	o := &x.j.Observation
	x.head("OBSERVED", o.State.String()+pick(o.Reason == "", "", ": "+printable(o.Reason)))
	if !o.StartedAt.IsZero() {
		x.fact("container start", fmt.Sprintf("%s, %d restarts, image %s", o.StartedAt.UTC().Format(time.RFC3339), o.RestartCount, printable(o.Image)))
	}
	if len(o.Addresses) > 0 {
		x.fact("addresses", strings.Trim(fmt.Sprint(o.Addresses), "[]"))
	}
	if o.State != drift.Observed {
		return
	}
	if o.EnvUnsafe {
		x.fact("caution", x.paint(yellow, "read from plain printenv: a value may imitate a variable, so nothing is done on it"))
	}
	for _, name := range slices.Sorted(maps.Keys(o.Variables)) {
		v := o.Variables[name]
		words := printable(v.Value) + pick(v.Cut, "…", "")
		if strings.HasSuffix(name, "_BASE_URL") && x.policy.AtProxy(v) == drift.Yes {
			words += x.paint(dim, "  (the platform's proxy)")
		}
		x.line("  %s=%s", printable(name), words)
	}
	for _, c := range o.Credentials {
		words := x.policy.Owner(&x.j.Facts, c)
		x.line("  %s  %s", printable(c.Name), x.paint(dim, fmt.Sprintf("%s, %s", c.Where, pick(c.Empty, "empty", "the "+string(words)+"'s"))))
	}
	if len(o.Credentials) == 0 {
		x.line("  no credential in environment or secrets.d")
	}
}

func (x *explainer) traffic(calls *reconcile.Calls) {
	t := x.j.Traffic
	switch {
	case calls == nil:
		x.head("TRAFFIC", "no proxy log is configured")
		return
	case t == nil:
		return
	case t.Err != "":
		x.head("TRAFFIC", "not known: "+printable(t.Err))
		return
	}
	since := "the container's start"
	if t.Since.IsZero() {
		since = "an unknown time: the container's start is not known"
	}
	x.head("TRAFFIC", fmt.Sprintf("%d billed and %d rejected calls through the proxy since %s", t.Billed, t.Rejected, since))
	if t.Billed+t.Rejected > 0 {
		x.fact("first, last", t.First.UTC().Format(time.RFC3339)+", "+t.Last.UTC().Format(time.RFC3339))
	}
	if words := drift.Witnesses(x.policy, &x.j.Facts); words != "" {
		x.line("  %s", printable(words))
	}
	if t.Ambiguous > 0 {
		x.fact("ambiguous", fmt.Sprintf("%d calls from an address that others share; they accuse no one", t.Ambiguous))
	}
}

func (x *explainer) findings() {
	x.head("FINDINGS", pick(len(x.j.Findings) == 0, "none", ""))
	for _, f := range x.j.Findings {
		x.line("  %s  %s", x.paint(findingColor(f.Severity), fmt.Sprintf("%-8s", f.Severity)), string(f.Kind))
		x.line("            %s", printable(f.Summary))
		for _, e := range f.Evidence {
			x.line("            %s", x.paint(dim, "· "+printable(e)))
		}
	}
	if len(x.j.Causes) == 0 {
		return
	}
	x.head("CAUSE", string(x.j.Causes[0].Code))
	for i, c := range x.j.Causes {
		x.line("  %s", pick(i == 0, "", "also fits: "+string(c.Code)+": ")+printable(c.Summary))
	}
}

func (x *explainer) action(refusals []drift.Refusal) {
	x.head("ACTION", pick(x.j.Judgement.Rule == drift.RuleGo, "reprovision", "none: "+string(x.j.Judgement.Rule)))
	x.line("  %s", printable(x.j.Judgement.Words))
	if x.j.Judgement.Rule == drift.RuleKnownRefusal {
		return
	}
	for _, r := range refusals {
		x.line("  a reprovision would be refused: %s: %s", r.Code, printable(r.Words))
	}
}

func findingColor(s drift.Severity) string {
	switch s {
	case drift.Critical:
		return red
	case drift.High:
		return yellow
	}
	return dim
}
