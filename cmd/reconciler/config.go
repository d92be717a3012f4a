package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/molecule-ai/billing-reconciler/internal/config"
)

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "begin a configuration, see what is in force, get its schema",
	}
	cmd.AddCommand(a.configInitCommand(), a.configShowCommand(), a.configSchemaCommand())
	return cmd
}

// configFile is the configuration file that the flags or the environment name.
func (a *app) configFile() string {
	if a.configPath != "" {
		return a.configPath
	}
	if path, _ := a.env("RECONCILER_CONFIG"); path != "" {
		return path
	}
	return "reconciler.yaml"
}

func (a *app) configInitCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "init [FILE]",
		Short: "write a commented configuration to start from",
		Long: `Writes a commented configuration to FILE, or where the configuration is read from
(--config, $RECONCILER_CONFIG, reconciler.yaml). - is standard output. A file that
is there already is left alone without --force.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file := a.configFile()
			if len(args) > 0 {
				file = args[0]
			}
			return a.initConfig(file, force)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "write over a file that is there")
	return cmd
}

func (a *app) initConfig(file string, force bool) error {
	if file == "-" {
		_, err := io.WriteString(a.stdout, config.Init())
		return err
	}
	how := os.O_WRONLY | os.O_CREATE
	if force {
		how |= os.O_TRUNC
	} else {
		how |= os.O_EXCL
	}
	if err := writeFile(file, how, config.Init()); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("config init: %s is there already: move it away, or write over it with --force", file)
		}
		return fmt.Errorf("config init: %w", err)
	}
	if !a.quiet {
		_, _ = fmt.Fprintf(a.stderr, "wrote %s; fill it in, then try it with: reconciler doctor\n", file)
	}
	return nil
}

// writeFile writes text to a file that only its owner may read: secrets may be
// put in it one day.
func writeFile(name string, how int, text string) error {
	f, err := os.OpenFile(name, how, 0o600) // #nosec G304 -- the user's own choice
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, text)
	return errors.Join(err, f.Close())
}

func (a *app) configShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "print every value in force and where it comes from, secrets redacted",
		Long: `Prints every value that is in force with its origin: a file's line, an environment
variable, a default. Secrets are shown as ***. With -o yaml it is a configuration
again, with the origins as comments.

What is wrong with the configuration is said on stderr, after what was understood;
the exit status is then 1.`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			return a.showConfig()
		},
	}
}

func (a *app) showConfig() error {
	if err := a.oneOf("table", "json", "yaml"); err != nil {
		return err
	}
	cfg, wrong := config.Load(a.configFile(), a.env)
	if cfg == nil {
		return wrong
	}
	return errors.Join(a.writeConfig(cfg), wrong)
}

func (a *app) writeConfig(cfg *config.Config) error {
	switch a.output {
	case "json":
		return a.write(cfg.Show())
	case "yaml":
		text, err := cfg.Render()
		if err != nil {
			return err
		}
		_, err = a.stdout.Write(text)
		return err
	}
	var rows [][]cell
	for _, e := range cfg.Show() {
		rows = append(rows, []cell{{e.Path, ""}, {clip(e.Value, 72), ""}, {e.Origin, dim}})
	}
	a.term.table([]string{"KEY", "VALUE", "FROM"}, rows)
	return nil
}

func (a *app) configSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "print the JSON schema of the configuration, for editors",
		Example: `  reconciler config schema > reconciler.schema.json
  # and as the first line of reconciler.yaml:
  # yaml-language-server: $schema=reconciler.schema.json`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			text, err := config.Schema()
			if err != nil {
				return err
			}
			_, err = a.stdout.Write(text)
			return err
		},
	}
}
