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

// openStore opens the reconciler's own database, starting a private one where
// the configuration says so.
func (a *app) openStore(ctx context.Context, cfg *config.Config) (*store.Store, func(), error) {
	url, stop := cfg.State.Database, func() {}
	if cfg.State.Embedded != "" {
		server, err := localpg.Start(ctx, localpg.Options{Dir: string(cfg.State.Embedded)})
		if err != nil {
			return nil, nil, fmt.Errorf("state.embedded: %w", err)
		}
		stop = func() {
			if err := server.Stop(); err != nil {
				a.log.Warn("private PostgreSQL not stopped", "error", err)
			}
		}
		made, err := server.EnsureDatabase(ctx, stateDatabase)
		if err != nil {
			stop()
			return nil, nil, fmt.Errorf("state.embedded: %w", err)
		}
		url = drift.Secret(made)
	}
	db, err := store.Open(ctx, store.Options{URL: url, MaxConns: int32(min(cfg.State.MaxConnections, 1000)), Log: a.log}) // #nosec G115 -- bounded
	if err != nil {
		stop()
		return nil, nil, err
	}
	return db, func() {
		db.Close()
		stop()
	}, nil
}
