package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/molecule-ai/billing-reconciler/admin"
	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/config"
	"github.com/molecule-ai/billing-reconciler/internal/sdnotify"
	"github.com/molecule-ai/billing-reconciler/metrics"
	"github.com/molecule-ai/billing-reconciler/reconcile"
	"github.com/molecule-ai/billing-reconciler/report"
	"github.com/molecule-ai/billing-reconciler/store"
	"github.com/molecule-ai/billing-reconciler/traffic"
)

// service is the daemon with everything around it: its database, its listener,
// its configuration that may change.
type service struct {
	app     *app
	level   *slog.LevelVar
	store   state
	replica store.Replica
	metrics *metrics.Metrics
	inputs  *inputs
	daemon  *reconcile.Daemon
	admin   *admin.Server
	closers []func()
	ctx     context.Context // of run

	mu       sync.Mutex
	cfg      *config.Config // in force
	refused  *config.Config // the last that was not taken; nil: none
	loaded   admin.Configuration
	world    *world // the last that was opened
	resolver string // the digest of what it derives by
}

// openService prepares all of it. Only a private database is started; nothing
// is connected to.
func (a *app) openService(ctx context.Context, cfg *config.Config, level *slog.LevelVar) (s *service, err error) {
	s = &service{app: a, level: level, cfg: cfg, loaded: admin.Configuration{LoadedAt: time.Now()}}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	s.metrics = metrics.New(version, metrics.WithPerSource(cfg.Metrics.PerSource), metrics.WithPerWorkspace(cfg.Metrics.PerWorkspace))
	s.metrics.Reloaded(true, time.Now())
	host, _ := os.Hostname() // only a name for people
	s.replica = store.Replica{ID: uuid.NewString(), Name: fmt.Sprintf("%s/%d", host, os.Getpid()), Version: version, StartedAt: time.Now()}
	if s.store, err = a.openStore(ctx, cfg); err != nil {
		return s, err
	}
	s.closers = append(s.closers, s.store.close)
	s.inputs = newInputs(s)
	readers, err := s.inputs.prepare(cfg)
	if err != nil {
		return s, err
	}
	world, err := s.openWorld(ctx, cfg)
	if err != nil {
		return s, err
	}
	s.inputs.use(readers)
	s.daemon = reconcile.New(reconcile.Options{Store: s.store.Store, Replica: s.replica, Metrics: s.metrics, Log: a.log, World: world,
		Document: func(p *drift.Policy, j *reconcile.Judged) json.RawMessage { return report.State(j, p) }, Attribute: traffic.Attribute, OnReady: s.ready,
		Acting: reconcile.Acting{Workers: min(max(fewWorkers, cfg.Remediate.MaxInFlight), manyWorkers)}})
	return s, s.openAdmin(cfg)
}

// A replica takes so many turns at actions at once: as many as may be under way,
// within these bounds.
const (
	fewWorkers  = 4
	manyWorkers = 16
)

func (s *service) openAdmin(cfg *config.Config) (err error) {
	options := admin.Options{Store: s.store.Store, Tokens: tokensOf(cfg), Metrics: promhttp.HandlerFor(s.metrics.Registry, promhttp.HandlerOpts{}),
		Health: func(context.Context) admin.Health { return admin.Health{Problems: s.daemon.Problems()} }, Status: s.process,
		SourceNames: s.sourceNames, Remediation: s.remediation, Pushes: s.inputs.pushes(cfg), Log: s.app.log, FailedAuthPerMinute: cfg.Admin.FailedAuthPerMinute, Version: version}
	if t := cfg.Admin.TLS; t != nil {
		options.TLS = &admin.TLS{Cert: string(t.Cert), Key: string(t.Key), ClientCA: string(t.ClientCA)}
	}
	s.admin, err = admin.New(options)
	return err
}

func tokensOf(cfg *config.Config) []admin.Token {
	var tokens []admin.Token
	for _, t := range cfg.Admin.Hashed() {
		tokens = append(tokens, admin.Token{Name: t.Name, Role: admin.Role(t.Role), Hash: t.Hash})
	}
	return tokens
}

func (s *service) process() admin.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return admin.Process{Version: version, Replica: s.replica.ID, StartedAt: s.replica.StartedAt, Config: s.loaded}
}

func (s *service) sourceNames() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]string, len(s.cfg.Sources))
	for i := range s.cfg.Sources {
		names[i] = s.cfg.Sources[i].Name
	}
	return names
}

// ready tells systemd that the database has answered.
func (s *service) ready() {
	s.notify(sdnotify.Ready("walking the sources"))
	s.app.log.Info("ready")
	s.inputs.begin(s.ctx)
}

func (s *service) notify(err error) {
	if err != nil {
		s.app.log.Warn("systemd not told", "error", err)
	}
}

// run serves and walks until ctx ends, and then ends both within the grace that
// the configuration gives.
func (s *service) run(ctx context.Context, listener net.Listener, hup <-chan os.Signal) error {
	group, ctx := errgroup.WithContext(ctx)
	s.ctx = ctx
	group.Go(func() error {
		<-ctx.Done()
		s.inputs.stop()
		return nil
	})
	group.Go(func() error { return s.admin.Serve(ctx, listener) })
	group.Go(func() error { return s.daemon.Run(ctx) })
	group.Go(func() error {
		s.reloads(ctx, hup)
		return nil
	})
	group.Go(func() error {
		s.notify(sdnotify.Watchdog(ctx, s.alive))
		return nil
	})
	group.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-s.store.exited: // of no private server: never
			return errPostgresEnded
		}
	})
	done := make(chan error, 1)
	go func() { done <- group.Wait() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	s.notify(sdnotify.Stopping())
	s.mu.Lock()
	grace := s.cfg.ShutdownGrace.Duration
	s.mu.Unlock()
	select {
	case err := <-done:
		return err
	case <-time.After(grace):
		return fmt.Errorf("not everything ended within %s (shutdown_grace); what was not written is found again", grace)
	}
}

var errPostgresEnded = errors.New("state.embedded: the private PostgreSQL has ended; its log is postgres.log in the directory")

var errStuck = errors.New("the daemon's own loops have stopped")

func (s *service) alive(context.Context) error {
	if !s.daemon.Alive() {
		return errStuck
	}
	return nil
}

func (s *service) close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
}
