package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/molecule-ai/billing-reconciler/internal/config"
)

func (a *app) runCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "the daemon: looks at everything again and again, and keeps what it finds",
		Long: `Walks every source once an interval, writes drifts and events into its own
database (state), and serves the API, /metrics, /healthz and /readyz (admin.listen).
Any number of replicas may run on one database: they share the sources.

SIGHUP, or a change of the configuration, the registry or a secret's file, reads
everything again; what does not hold is refused and the old stays in force.
SIGTERM ends it: nothing new is begun, what is being written is finished.`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.runDaemon(cmd.Context())
		},
	}
}

func (a *app) runDaemon(ctx context.Context) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	if err := cfg.Validate(config.NeedAWS | config.NeedState); err != nil {
		return err
	}
	level := &slog.LevelVar{}
	log, endLog := a.daemonLog(cfg, level)
	defer endLog()
	a.log = log
	signal.Ignore(syscall.SIGPIPE) // a log whose reader has gone must not end us
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", string(cfg.Admin.Listen))
	if err != nil {
		return fmt.Errorf("admin.listen: %w", err)
	}
	s, err := a.openService(ctx, cfg, level)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer s.close()
	a.log.Info("starting", "version", version, "replica", s.replica.ID, "listen", listener.Addr().String(), "sources", len(cfg.Sources))
	err = s.run(ctx, listener, hup)
	a.log.Info("ended")
	return err
}

// daemonLog writes to stderr as the configuration says, and waits for no one
// who reads it; -v and -q win over its level. end must be called last.
func (a *app) daemonLog(cfg *config.Config, level *slog.LevelVar) (log *slog.Logger, end func()) {
	a.setLevel(cfg, level)
	options := &slog.HandlerOptions{Level: level}
	to := func(w io.Writer) *slog.Logger {
		if cfg.Log.Format == config.LogJSON {
			return slog.New(slog.NewJSONHandler(w, options))
		}
		return slog.New(slog.NewTextHandler(w, options))
	}
	direct := to(a.stderr)
	lines := detach(a.stderr, func(lost int64) { direct.Warn("log lines lost: nobody read them in time", "lines", lost) })
	return to(lines), lines.end
}

func (a *app) setLevel(cfg *config.Config, level *slog.LevelVar) {
	switch {
	case a.quiet:
		level.Set(slog.LevelError)
	case a.verbose:
		level.Set(slog.LevelDebug)
	default:
		level.Set(cfg.Log.Level.Level())
	}
}

func (a *app) migrateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "migrate",
		Short: "bring the state database's schema up to this version",
		Long: `The daemon does this by itself when it starts; the command is for those who want it
done before, or by another role. Schemas only grow within a version: replicas of
the version before go on working.`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.migrate(cmd.Context())
		},
	}
}

func (a *app) migrate(ctx context.Context) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	if err := cfg.Validate(config.NeedState); err != nil {
		return err
	}
	db, err := a.openStore(ctx, cfg)
	if err != nil {
		return err
	}
	defer db.close()
	applied, err := db.Migrate(ctx)
	if err != nil {
		return err
	}
	for _, name := range applied {
		_, _ = fmt.Fprintln(a.stdout, "applied", name)
	}
	_, want, err := db.SchemaVersion(ctx)
	if err == nil {
		a.say("schema version %d", want)
	}
	return err
}
