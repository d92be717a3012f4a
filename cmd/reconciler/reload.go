package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/config"
	"github.com/molecule-ai/billing-reconciler/internal/sdnotify"
	"github.com/molecule-ai/billing-reconciler/reconcile"
	"github.com/molecule-ai/billing-reconciler/store"
	"github.com/molecule-ai/billing-reconciler/traffic"
)

// reloads reads everything again on SIGHUP, and when a file of it changes.
func (s *service) reloads(ctx context.Context, hup <-chan os.Signal) {
	changed := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		config.Watch(ctx, s.files, func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
	}()
	defer func() { <-done }()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			s.reload(ctx, "SIGHUP")
		case <-changed:
			s.reload(ctx, "a file has changed")
		}
	}
}

// files lists what the configuration rests on, and what one that was refused
// would.
func (s *service) files() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	files := s.cfg.Files()
	if s.refused != nil {
		files = slices.Concat(files, s.refused.Files())
	}
	return files
}

// reload puts what the files say now in force, as a whole or not at all.
func (s *service) reload(ctx context.Context, why string) {
	s.notify(sdnotify.Reloading())
	defer func() { s.notify(sdnotify.Ready("walking the sources")) }()
	cfg, err := s.take(ctx)
	now := time.Now()
	s.metrics.Reloaded(err == nil, now)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.refused, s.loaded.Error = cfg, err.Error()
		s.app.log.Error("configuration refused; the old one stays in force", "why", why, "error", err)
		return
	}
	s.loaded.LoadedAt, s.loaded.Error = now, ""
	s.loaded.Restart = config.Restart(s.cfg, cfg)
	// What takes a restart stays what it was until there is one.
	s.refused, s.cfg = nil, cfg
	s.app.setLevel(cfg, s.level)
	s.app.log.Info("configuration reloaded", "why", why, "sources", len(cfg.Sources), "restart_needed_for", s.loaded.Restart)
}

// take validates first: nothing is changed by a configuration that does not
// hold.
func (s *service) take(ctx context.Context) (*config.Config, error) {
	cfg, err := s.app.load()
	if err != nil {
		return cfg, err
	}
	if err := cfg.Validate(config.NeedAWS | config.NeedState); err != nil {
		return cfg, err
	}
	readers, err := s.inputs.prepare(cfg)
	if err != nil {
		return cfg, err
	}
	world, err := s.openWorld(ctx, cfg)
	if err != nil {
		return cfg, err
	}
	if err := s.admin.SetTokens(tokensOf(cfg)); err != nil {
		world.Close()
		return cfg, err
	}
	s.daemon.Use(world)
	s.inputs.use(readers)
	return cfg, nil
}

// openWorld opens what the configuration names, for the daemon to walk through.
func (s *service) openWorld(ctx context.Context, cfg *config.Config) (*reconcile.World, error) {
	w, err := s.app.openConfig(ctx, cfg, opening{need: forDaemon, metrics: s.metrics})
	if err != nil {
		return nil, err
	}
	told, err := openSinks(cfg)
	if err != nil {
		w.close()
		return nil, err
	}
	id := resolverID(w)
	world := &reconcile.World{Sources: w.sources, Resolver: w.resolver, ResolverID: id, Observer: w.observer, Policy: w.policy,
		Credentials: w.credentials, Limits: limitsOf(cfg), Sinks: told.list, Close: func() { told.close(); w.close() }}
	if len(cfg.Observe.Logs) > 0 {
		world.Witness = &traffic.Witness{Store: s.store.Store, Grace: cfg.Observe.TrafficGrace.Duration}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.world != nil && s.resolver != id {
		world.Previous = s.world.resolver
	}
	s.world, s.resolver = w, id
	return world, nil
}

// resolverID names the registry and the policy that modes are derived by.
func resolverID(w *world) string {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%s\x00%s\x00%s", w.resolver.Registry.Digest(), w.cfg.Policy.Deployment, w.cfg.Policy.GlobalSecrets)
	return hex.EncodeToString(h.Sum(nil))[:16]
}

func limitsOf(cfg *config.Config) reconcile.Limits {
	return reconcile.Limits{Interval: cfg.Observe.Interval.Duration, PassTimeout: cfg.Observe.PassTimeout.Duration, SourcesAtOnce: cfg.Observe.SourcesAtOnce,
		Alerting: drift.Alerting{Settle: cfg.Alerting.Settle.Duration, RemindAfter: cfg.Alerting.RemindAfter.Duration, RemindAtMost: cfg.Alerting.RemindAtMost.Duration},
		Surge:    drift.Surge{Percent: cfg.Policy.Surge.Percent, AtLeast: cfg.Policy.Surge.AtLeast},
		Retention: reconcile.Retention{Events: cfg.State.Retention.Events.Duration, Drifts: cfg.State.Retention.Drifts.Duration,
			Addresses: cfg.State.Retention.Addresses.Duration, Traffic: cfg.State.Retention.Traffic.Duration},
		Strays: store.StrayAlarm{Above: int64(cfg.Observe.Unattributed.Above), Within: cfg.Observe.Unattributed.Within.Duration}}
}
