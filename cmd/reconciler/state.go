package main

import (
	"context"
	"fmt"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/config"
	"github.com/molecule-ai/billing-reconciler/internal/localpg"
	"github.com/molecule-ai/billing-reconciler/store"
)

// stateDatabase is the name of the private database.
const stateDatabase = "reconciler"

// state is the reconciler's own database.
type state struct {
	*store.Store
	exited <-chan struct{} // closed when a private server has ended; nil: it is somebody else's
	close  func()
}

// openStore opens the reconciler's own database, starting a private one where
// the configuration says so.
func (a *app) openStore(ctx context.Context, cfg *config.Config) (s state, err error) {
	url := cfg.State.Database
	s.close = func() {}
	if cfg.State.Embedded != "" {
		server, err := localpg.Start(ctx, localpg.Options{Dir: string(cfg.State.Embedded)})
		if err != nil {
			return s, fmt.Errorf("state.embedded: %w", err)
		}
		s.exited, s.close = server.Exited(), func() {
			if err := server.Stop(); err != nil {
				a.log.Warn("private PostgreSQL not stopped", "error", err)
			}
		}
		made, err := server.EnsureDatabase(ctx, stateDatabase)
		if err != nil {
			s.close()
			return s, fmt.Errorf("state.embedded: %w", err)
		}
		url = drift.Secret(made)
	}
	stop := s.close
	s.Store, err = store.Open(ctx, store.Options{URL: url, MaxConns: int32(min(cfg.State.MaxConnections, 1000)), Log: a.log}) // #nosec G115 -- bounded
	if err != nil {
		stop()
		return s, err
	}
	s.close = func() {
		s.Close()
		stop()
	}
	return s, nil
}
