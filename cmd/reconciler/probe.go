package main

import (
	"github.com/spf13/cobra"

	"github.com/molecule-ai/billing-reconciler/desired"
	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/observe/probe"
)

// probeFlags are what a probe is rendered for. Each that is given wins over the
// configuration; with a registry given, none is read.
type probeFlags struct {
	document   bool
	registry   string
	strip      []string
	secretsDir string
}

func (a *app) probeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "probe",
		Short: "the shell script that looks into containers",
	}
	cmd.AddCommand(a.probeRenderCommand())
	return cmd
}

func (a *app) probeRenderCommand() *cobra.Command {
	var f probeFlags
	cmd := &cobra.Command{
		Use:   "render",
		Short: "print the probe for a registry: the script, or the SSM document",
		Long: `Prints the probe that knows the credentials of a registry and a strip list, those of
the configuration unless --registry names another: then no configuration is read.

The script is what AWS-RunShellScript is sent, with {{ Key }} and {{ Container }}
where a pass puts its own. The document is the same script with these two as its
only parameters: a role that may send this document alone can run nothing else.
Render and update the document whenever the registry or the strip list changes;
a probe of another registry is recognised, and its answers are not used.`,
		Example: `  reconciler probe render --document > probe.json
  aws ssm create-document --name reconciler-probe --document-type Command --content file://probe.json`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			return a.renderProbe(f)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.document, "document", false, "the SSM document in place of the script")
	flags.StringVar(&f.registry, "registry", "", "provider registry `file` (default the configuration's)")
	flags.StringSliceVar(&f.strip, "strip-list", nil, "`names` that the platform strips (default the configuration's, else the platform's own list)")
	flags.StringVar(&f.secretsDir, "secrets-dir", "", "`directory` of secrets in the container (default the configuration's, else "+probe.DefaultSecretsDir+")")
	return cmd
}

func (a *app) renderProbe(f probeFlags) error {
	spec, err := a.probeSpec(f)
	if err != nil {
		return err
	}
	p, err := probe.New(spec)
	if err != nil {
		return err
	}
	text := []byte(p.Script())
	if f.document {
		if text, err = p.Document(); err != nil {
			return err
		}
	}
	_, err = a.stdout.Write(text)
	return err
}

// probeSpec joins flags, configuration and defaults, in this order.
func (a *app) probeSpec(f probeFlags) (probe.Spec, error) {
	if f.registry == "" {
		cfg, err := a.load()
		if err != nil {
			return probe.Spec{}, err
		}
		f.registry = string(cfg.Registry)
		if len(f.strip) == 0 {
			f.strip = cfg.Policy.StripList
		}
		if f.secretsDir == "" {
			f.secretsDir = cfg.Observe.SSM.SecretsDir
		}
	}
	if len(f.strip) == 0 {
		f.strip = drift.DefaultStripList
	}
	registry, err := desired.LoadRegistry(f.registry)
	if err != nil {
		return probe.Spec{}, err
	}
	return probe.Spec{Credentials: desired.CredentialNames(registry, f.strip), SecretsDir: f.secretsDir}, nil
}
