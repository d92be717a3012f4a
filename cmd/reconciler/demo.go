package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
	"github.com/molecule-ai/billing-reconciler/reconcile"
)

// demoFlags say what the demo shows.
type demoFlags struct {
	workspaces int
	listen     string
	remediate  bool
	every      time.Duration
	passes     int
}

func (a *app) demoCommand() *cobra.Command {
	var flags demoFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "see it work on this machine, with nothing configured",
		Long: `Starts a private PostgreSQL, a simulated fleet behind an SSM endpoint that speaks
the real protocol and runs the probe in a real shell, a platform API, and live proxy
traffic; then looks at all of it every few seconds, by the same code as check.

The first workspace is the incident of 2026-05-28. Others break and are mended
as you watch. Ctrl-C ends it and leaves nothing behind.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.demo(cmd.Context(), flags, cmd.Flags().Changed("listen"))
		},
	}
	cmd.Flags().IntVar(&flags.workspaces, "workspaces", 200, "how many workspaces the fleet has")
	cmd.Flags().StringVar(&flags.listen, "listen", "127.0.0.1:8080", "`address` on which /metrics is served")
	cmd.Flags().BoolVar(&flags.remediate, "remediate", false, "say of each drift what would be done, or what keeps from it (nothing is reprovisioned yet)")
	cmd.Flags().DurationVar(&flags.every, "every", 5*time.Second, "pause between passes")
	cmd.Flags().IntVar(&flags.passes, "passes", 0, "end after so many passes; 0: at Ctrl-C")
	return cmd
}

func (a *app) demo(ctx context.Context, flags demoFlags, chosen bool) (err error) {
	if flags.workspaces < 1 || flags.workspaces > fleetsim.MaxWorkspaces {
		return fmt.Errorf("--workspaces %d: from 1 to %d", flags.workspaces, fleetsim.MaxWorkspaces)
	}
	listener, err := listen(ctx, flags.listen, chosen)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	a.say("starting PostgreSQL, the platform and %d workspaces ...", flags.workspaces)
	sim, err := fleetsim.Start(ctx, fleetsim.Options{Workspaces: flags.workspaces, Faults: true})
	if err != nil {
		return interrupted(ctx, err)
	}
	defer func() { err = errors.Join(err, sim.Close()) }()
	a.configPath = sim.ConfigPath
	w, err := a.open(ctx, forCheck)
	if err != nil {
		return err
	}
	defer w.close()
	stop := serveMetrics(listener, w)
	defer stop()
	a.say("metrics: http://%s/metrics", listener.Addr())
	a.say("configuration: %s", sim.ConfigPath)
	a.say("  from another terminal: reconciler explain %s --config %s", shortID(fleetsim.IncidentID), sim.ConfigPath)
	stopLive := sim.Live(ctx)
	defer stopLive()
	return interrupted(ctx, (&demonstration{app: a, world: w, flags: flags, begun: time.Now(), open: map[string]string{}}).run(ctx))
}

// interrupted: a demo that was ended from outside has done what it should.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (a *app) say(format string, args ...any) {
	if !a.quiet {
		_, _ = fmt.Fprintf(a.stdout, format+"\n", args...)
	}
}

// listen takes another port where the usual one is taken and nobody asked for it.
func listen(ctx context.Context, address string, chosen bool) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil && !chosen {
		listener, err = config.Listen(ctx, "tcp", "127.0.0.1:0")
	}
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	return listener, nil
}

func serveMetrics(listener net.Listener, w *world) (stop func()) {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(w.metrics.Registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	return func() {
		_ = server.Close()
		<-done
	}
}

// demonstration shows pass after pass what opened and what closed.
type demonstration struct {
	*app
	world *world
	flags demoFlags
	begun time.Time
	open  map[string]string // name of what is drifted, by id
}

func (d *demonstration) run(ctx context.Context) error {
	// One workspace is looked at within seconds; the whole fleet's probes keep
	// a small machine's shells busy for longer.
	first, err := d.world.pass(ctx, []string{fleetsim.IncidentID})
	if err != nil {
		return err
	}
	d.show(first, time.Since(d.begun))
	for n := 1; ; n++ {
		begun := time.Now()
		result, err := d.world.pass(ctx, nil)
		d.term.settle()
		if err != nil {
			return err
		}
		reconcile.Record(d.world.metrics, result)
		d.show(result, time.Since(begun))
		if n == d.flags.passes {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(d.flags.every):
		}
	}
}

func (d *demonstration) show(result *reconcile.Result, took time.Duration) {
	d.say("%s  %s", d.term.paint(dim, result.At.Format(time.TimeOnly)), d.term.summary(result, took))
	for i := range result.Workspaces {
		j := &result.Workspaces[i]
		id := j.Workspace.ID
		name, was := d.open[id]
		switch drifted := j.Verdict == drift.Drifted; {
		case drifted && !was:
			d.open[id] = j.Workspace.Name
			d.opened(j)
		case !drifted && was:
			delete(d.open, id)
			d.say("  %s %s  %s: now %s", d.term.paint(green, "closed"), shortID(id), printable(name), j.Verdict)
		}
	}
	d.complain(result)
}

func (d *demonstration) opened(j *reconcile.Judged) {
	d.say("  %s  %s  %s (%s): should be %s, is %s", d.term.paint(red, "DRIFT"), shortID(j.Workspace.ID), printable(j.Workspace.Name), j.Workspace.Source,
		j.Desired.Words(), checkRow(j)[5].text)
	d.say("         %s", what(j))
	if t := j.Traffic; t != nil && t.Billed > 0 && j.Desired.Mode != drift.ModePlatformManaged {
		d.say("         %d calls billed to the platform since %s", t.Billed, t.Since.UTC().Format(time.RFC3339))
	}
	if d.flags.remediate {
		d.say("         %s: %s", j.Judgement.Rule, printable(j.Judgement.Words))
	}
}
