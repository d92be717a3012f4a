package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"
)

// Exit statuses of the contract.
const (
	exitOK       = 0 // nothing differs
	exitFailed   = 1
	exitDrift    = 2 // drift, or flips, found
	exitUnseen   = 3 // no drift seen, but not everything could be observed
	exitCanceled = 130
)

// exitError ends the program with a status that is no failure of it: everything
// worth saying has been said.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// app is what every command shares.
type app struct {
	env    func(string) (string, bool)
	stdout io.Writer
	stderr io.Writer

	configPath string
	output     string
	source     string
	quiet      bool
	verbose    bool
	noColor    bool

	term *terminal
	log  *slog.Logger
}

// run is the whole program: main is only its caller.
func run(ctx context.Context, args []string, env func(string) (string, bool), stdout, stderr io.Writer) int {
	a := &app{env: env, stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var exit exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		return int(exit)
	case ctx.Err() != nil:
		_, _ = fmt.Fprintln(stderr, "reconciler: interrupted")
		return exitCanceled
	}
	_, _ = fmt.Fprintln(stderr, "reconciler:", printable(err.Error()))
	return exitFailed
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "reconciler",
		Short: "find workspaces whose LLM calls are billed to the wrong party",
		Long: `reconciler computes what the billing mode of every workspace should be, looks at
what its container is and at what the proxy's log says, and names what differs
and why.

Start with "reconciler demo": it needs nothing. Then "reconciler config init"
writes a configuration to begin with, and "reconciler doctor" tries it.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return a.setUp()
		},
	}
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	flags := root.PersistentFlags()
	flags.StringVar(&a.configPath, "config", "", "configuration `file` (default reconciler.yaml, or $RECONCILER_CONFIG)")
	flags.StringVarP(&a.output, "output", "o", "table", "output `format`: table, json or yaml")
	flags.StringVar(&a.source, "source", "", "only the source of this `name`")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "say nothing on stderr but errors")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "say more on stderr")
	flags.BoolVar(&a.noColor, "no-color", false, "no colours (also by $NO_COLOR)")
	root.AddCommand(a.runCommand(), a.migrateCommand(), a.checkCommand(), a.desiredCommand(), a.explainCommand(), a.hitsCommand(), a.planCommand(),
		a.statusCommand(), a.eventsCommand(), a.driftsCommand(), a.pauseCommand(), a.resumeCommand(), a.suppressCommand(), a.unsuppressCommand(),
		a.lookCommand(), a.acceptCommand(), a.notifyCommand(),
		a.reprovisionCommand(), a.approveCommand(), a.actionsCommand(), a.causesCommand(), a.evidenceCommand(),
		a.doctorCommand(), a.demoCommand(), a.probeCommand(), a.configCommand(), a.versionCommand())
	return root
}

// setUp finishes what the flags decide.
func (a *app) setUp() error {
	a.term = newTerminal(a.stdout, a.stderr, a.noColor, a.env)
	level := slog.LevelWarn
	switch {
	case a.quiet:
		level = slog.LevelError
	case a.verbose:
		level = slog.LevelDebug
	}
	a.log = slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level}))
	return nil
}

// oneOf refuses an output format that a command does not have.
func (a *app) oneOf(formats ...string) error {
	for _, f := range formats {
		if a.output == f {
			return nil
		}
	}
	return fmt.Errorf("--output %q: choose one of %q", a.output, formats)
}
