package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/config"
	"github.com/molecule-ai/billing-reconciler/internal/fleetsim"
	"github.com/molecule-ai/billing-reconciler/store"
)

// demoFlags say what the demo shows.
type demoFlags struct {
	workspaces int
	listen     string
	remediate  bool
	every      time.Duration
	length     time.Duration
}

func (a *app) demoCommand() *cobra.Command {
	var flags demoFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "see it work on this machine, with nothing configured",
		Long: `Starts a private PostgreSQL, a simulated fleet behind an SSM endpoint that speaks
the real protocol and runs the probe in a real shell, a platform API, and live proxy
traffic; and on all of it the daemon itself, as "reconciler run" does.

The first workspace is the incident of 2026-05-28. Others break and are mended
as you watch. Ctrl-C ends it and leaves nothing behind.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.demo(cmd.Context(), flags, cmd.Flags().Changed("listen"))
		},
	}
	cmd.Flags().IntVar(&flags.workspaces, "workspaces", 200, "how many workspaces the fleet has")
	cmd.Flags().StringVar(&flags.listen, "listen", "127.0.0.1:8080", "`address` on which the daemon serves")
	cmd.Flags().BoolVar(&flags.remediate, "remediate", false, "mend what has drifted, too: the simulated platform has the incident's bug at first, and is mended once that is found out")
	cmd.Flags().DurationVar(&flags.every, "every", 5*time.Second, "time between passes")
	cmd.Flags().DurationVar(&flags.length, "for", 0, "end after so long; 0: at Ctrl-C")
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
	if flags.length > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, flags.length)
		defer stop()
	}
	a.say("starting PostgreSQL, the platform and %d workspaces ...", flags.workspaces)
	sim, err := fleetsim.Start(ctx, fleetsim.Options{Workspaces: flags.workspaces, Faults: true, Recorded: flags.workspaces > recordedAbove,
		Listen: listener.Addr().String(), Interval: flags.every, Remediate: flags.remediate})
	if err != nil {
		return interrupted(ctx, err)
	}
	defer func() { err = errors.Join(err, sim.Close()) }()
	a.configPath = sim.ConfigPath
	return interrupted(ctx, a.demonstrate(ctx, sim, listener, flags))
}

// recordedAbove is the size from which on the simulated machines repeat what
// the probe printed once, in place of running a shell each time.
const recordedAbove = 1000

// demonstrate runs the daemon on the fleet and shows what happens.
func (a *app) demonstrate(ctx context.Context, sim *fleetsim.Sim, listener net.Listener, flags demoFlags) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	if err := cfg.Validate(config.NeedAWS | config.NeedState); err != nil {
		return err
	}
	level := &slog.LevelVar{}
	if level.Set(slog.LevelError); a.verbose { // what happens is shown, not logged
		level.Set(slog.LevelDebug)
	}
	a.log = slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level}))
	s, err := a.openService(ctx, cfg, level)
	if err != nil {
		return err
	}
	defer s.close()
	a.say("daemon:        http://%s   (/metrics, /readyz, /api/v1/openapi.json)", listener.Addr())
	a.say("configuration: %s", sim.ConfigPath)
	a.say("  from another terminal, with --config %s:", sim.ConfigPath)
	a.say("  reconciler status | drifts | events --follow | explain %s | pause --reason lunch --for 5m", shortID(fleetsim.IncidentID))
	stopLive := sim.Live(ctx)
	defer stopLive()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.run(ctx, listener, nil) })
	show := &demonstration{app: a, service: s, flags: flags, sim: sim}
	group.Go(func() error {
		show.run(ctx)
		return nil
	})
	return group.Wait()
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

// demonstration shows what the daemon tells.
type demonstration struct {
	*app
	service *service
	flags   demoFlags
	sim     *fleetsim.Sim
	mended  bool                  // the platform
	last    int64                 // event
	counts  map[drift.Verdict]int // as last shown
}

const lookEvery = 300 * time.Millisecond

func (d *demonstration) run(ctx context.Context) {
	asked := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(lookEvery):
		}
		if !asked {
			asked = d.askForTheIncident(ctx)
			continue
		}
		d.events(ctx)
		d.summary(ctx)
	}
}

// askForTheIncident has it looked at within seconds; the whole fleet's probes
// keep a small machine's shells busy for longer.
func (d *demonstration) askForTheIncident(ctx context.Context) bool {
	if d.service.store.Check(ctx) != nil {
		return false
	}
	sources := d.service.sourceNames()
	_, err := d.service.store.RequestLook(ctx, store.Look{Source: sources[0], Workspace: fleetsim.IncidentID, Reason: "the incident", By: "demo"})
	return err == nil
}

func (d *demonstration) events(ctx context.Context) {
	events, err := d.service.store.Events(ctx, store.EventFilter{After: d.last, Limit: 100})
	if err != nil {
		return // it is told by the next look
	}
	for i := range events {
		e := &events[i]
		d.last = e.ID
		color := pick(e.Kind == drift.EventDriftClosed, green, pick(e.Severity == drift.Critical || e.Severity == drift.High, red, yellow))
		d.say("%s  %s  %s  %s (%s)", d.term.paint(dim, e.At.Format(time.TimeOnly)), d.term.paint(color, string(e.Kind)), shortID(e.Workspace), printable(e.Name), e.Source)
		d.say("          %s", printable(e.Summary))
		if d.flags.remediate && e.Kind == drift.EventIneffective && !d.mended {
			d.mend(ctx, e)
		}
	}
}

// mend is what people do once they are told that reprovisioning changes
// nothing: they mend the platform, and let the reconciler go on.
func (d *demonstration) mend(ctx context.Context, e *drift.Event) {
	d.say("          %s", d.term.paint(yellow, "the platform's people mend the bug, and an operator approves: one, then two, then four are reprovisioned"))
	d.sim.FixPlatform()
	d.mended = true
	approval := store.Approval{Source: e.Source, Workspace: e.Workspace, Reason: "the platform is mended", By: "demo", ExpiresAt: time.Now().Add(time.Hour)}
	if _, err := d.service.store.Approve(ctx, approval); err != nil && ctx.Err() == nil {
		d.say("          not approved: %v", err)
	}
}

// summary shows the verdicts when a source was walked and they changed.
func (d *demonstration) summary(ctx context.Context) {
	sources, err := d.service.store.Sources(ctx)
	if err != nil {
		return
	}
	counts, total := map[drift.Verdict]int{}, 0
	for i := range sources {
		if sources[i].LastPassAt.IsZero() {
			return
		}
		for v, n := range sources[i].Counts {
			counts[v] += n
			total += n
		}
	}
	if total == 0 || maps.Equal(counts, d.counts) {
		return
	}
	d.counts = counts
	d.say("%s  %d workspaces: %s, %s, %s, %d skipped", d.term.paint(dim, time.Now().Format(time.TimeOnly)), total,
		d.term.paint(green, fmt.Sprintf("%d in sync", counts[drift.InSync])), d.term.paint(red, fmt.Sprintf("%d drifted", counts[drift.Drifted])),
		d.term.paint(yellow, fmt.Sprintf("%d unknown", counts[drift.Unknown])), counts[drift.Skipped])
}
