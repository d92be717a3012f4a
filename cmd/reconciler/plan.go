package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/molecule-ai/billing-reconciler/desired"
	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/reconcile"
)

// planFlags are what another world would be like.
type planFlags struct {
	registry   string
	globals    string
	deployment string
}

func (a *app) planCommand() *cobra.Command {
	var flags planFlags
	cmd := &cobra.Command{
		Use:   "plan --registry NEW [ID...]",
		Short: "say who would flip mode under another registry or policy, before anyone ships it",
		Long: `Derives every workspace twice, with what is configured and with what is given here,
and lists those whose mode would flip. It asks the tenants' databases alone.

Exit status: 0 nobody would flip; 1 it failed; 2 somebody would; 3 nobody seen to,
but the inputs of some could not be read.`,
		ValidArgsFunction: a.completeIDs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.plan(cmd.Context(), args, flags)
		},
	}
	cmd.Flags().StringVar(&flags.registry, "registry", "", "the other registry `file`")
	cmd.Flags().StringVar(&flags.globals, "global-secrets", "", "the other policy.global_secrets: platform or tenant")
	cmd.Flags().StringVar(&flags.deployment, "deployment", "", "the other policy.deployment: saas or self_hosted")
	return cmd
}

// flip is one workspace that would change.
type flip struct {
	Source    string  `json:"source"`
	ID        string  `json:"id"`
	Name      string  `json:"name"`
	Runtime   *string `json:"runtime"`
	Model     string  `json:"model"`
	From      side    `json:"from"`
	To        side    `json:"to"`
	ModeFlips bool    `json:"mode_flips"`
}

type side struct {
	Mode       drift.Mode          `json:"mode"`
	Source     drift.ResolveSource `json:"source"`
	Provider   *string             `json:"provider"`
	Credential drift.Supply        `json:"credential"`
}

// planDocument is the JSON of plan.
type planDocument struct {
	GeneratedAt time.Time   `json:"generated_at"`
	Changes     []flip      `json:"changes"`
	Summary     planSummary `json:"summary"`
}

type planSummary struct {
	Workspaces int            `json:"workspaces"`
	Flips      int            `json:"flips"`
	Changes    int            `json:"changes"` // flips, and the same mode from another provider, source or credential
	Unread     int            `json:"unread"`
	ByFlip     map[string]int `json:"by_flip"`
}

func (a *app) plan(ctx context.Context, terms []string, flags planFlags) error {
	if err := a.oneOf("table", "json", "yaml"); err != nil {
		return err
	}
	if flags == (planFlags{}) {
		return errors.New("plan: nothing would be other than it is: give --registry, --global-secrets or --deployment")
	}
	w, err := a.open(ctx, forDesired)
	if err != nil {
		return err
	}
	defer w.close()
	other, err := flags.resolver(w.resolver)
	if err != nil {
		return err
	}
	result, err := w.desiredPass(ctx, terms)
	a.term.settle()
	if err != nil {
		return err
	}
	doc := compareWorlds(result, other)
	if a.output == "table" {
		a.showPlan(doc)
	} else if err := a.write(doc); err != nil {
		return err
	}
	a.complain(result)
	if err := sourcesStatus(result); err != nil {
		return err
	}
	switch {
	case doc.Summary.Flips > 0:
		return exitError(exitDrift)
	case doc.Summary.Unread > 0:
		return exitError(exitUnseen)
	}
	return nil
}

// resolver is the configured one with what the flags change.
func (f planFlags) resolver(now *desired.Resolver) (*desired.Resolver, error) {
	registry, policy := now.Registry, now.Policy
	if f.registry != "" {
		var err error
		if registry, err = desired.LoadRegistry(f.registry); err != nil {
			return nil, err
		}
	}
	switch f.globals {
	case "":
	case "platform":
		policy.GlobalSecrets = drift.OwnerPlatform
	case "tenant":
		policy.GlobalSecrets = drift.OwnerCustomer
	default:
		return nil, fmt.Errorf("--global-secrets %q: choose platform or tenant", f.globals)
	}
	switch f.deployment {
	case "":
	case drift.SaaS, drift.SelfHosted:
		policy.Deployment = f.deployment
	default:
		return nil, fmt.Errorf("--deployment %q: choose saas or self_hosted", f.deployment)
	}
	return desired.NewResolver(registry, policy), nil
}

func compareWorlds(result *reconcile.Result, other *desired.Resolver) *planDocument {
	doc := &planDocument{GeneratedAt: result.At.UTC(), Changes: []flip{}, Summary: planSummary{ByFlip: map[string]int{}}}
	for i := range result.Workspaces {
		j := &result.Workspaces[i]
		if j.Workspace.Scope() != drift.InScope {
			continue
		}
		doc.Summary.Workspaces++
		next := other.Desired(j.Workspace)
		if next.Err != "" || j.Desired.Err != "" {
			doc.Summary.Unread++
		}
		from, to := sideOf(&j.Desired), sideOf(&next)
		if from.same(to) {
			continue
		}
		flips := from.Mode != to.Mode
		doc.Changes = append(doc.Changes, flip{Source: j.Workspace.Source, ID: j.Workspace.ID, Name: j.Workspace.Name, Runtime: j.Workspace.Runtime,
			Model: j.Desired.Model, From: from, To: to, ModeFlips: flips})
		doc.Summary.Changes++
		if flips {
			doc.Summary.Flips++
			doc.Summary.ByFlip[fmt.Sprintf("%s to %s", from.Mode, to.Mode)]++
		}
	}
	return doc
}

func sideOf(d *drift.Desired) side {
	s := side{Mode: d.Mode, Source: d.Source, Credential: d.Supply}
	if d.Provider != "" {
		s.Provider = &d.Provider
	}
	return s
}

func (s side) same(o side) bool {
	return s.Mode == o.Mode && s.Source == o.Source && s.provider() == o.provider() && s.Credential == o.Credential
}

func (s side) provider() string {
	if s.Provider == nil {
		return ""
	}
	return *s.Provider
}

func (s side) words() string {
	words := drift.Path{Mode: s.Mode, Provider: s.provider()}.Words()
	if s.Provider == nil {
		words += " (" + string(s.Source) + ")"
	}
	if s.Credential == drift.SupplyNone {
		words += ", no credential"
	}
	return words
}

func (a *app) showPlan(doc *planDocument) {
	var rows [][]cell
	for _, flipped := range []bool{true, false} {
		for _, f := range doc.Changes {
			if f.ModeFlips == flipped {
				rows = append(rows, []cell{{pick(flipped, "flips", "changes"), pick(flipped, red, dim)}, {f.Source, ""}, {shortID(f.ID), ""},
					{clip(f.Name, 28), ""}, {clip(f.Model, 32), ""}, {f.From.words(), ""}, {f.To.words(), ""}})
			}
		}
	}
	if len(rows) > 0 {
		a.term.table([]string{"", "SOURCE", "ID", "NAME", "MODEL", "NOW", "THEN"}, rows)
		_, _ = fmt.Fprintln(a.stdout)
	}
	_, _ = fmt.Fprintf(a.stdout, "%d workspaces: %d would flip mode, %d more would change, the inputs of %d could not be read\n",
		doc.Summary.Workspaces, doc.Summary.Flips, doc.Summary.Changes-doc.Summary.Flips, doc.Summary.Unread)
}
