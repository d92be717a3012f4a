package main

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/molecule-ai/billing-reconciler/internal/config"
	"github.com/molecule-ai/billing-reconciler/store"
)

// examineState tries the reconciler's own database. A private one is not
// started: that a daemon may be running it is no fault.
func (a *app) examineState(ctx context.Context, x *examination, cfg *config.Config) {
	const check = "state"
	switch {
	case cfg.State.Embedded != "":
		x.ok(check, string(cfg.State.Embedded), "a private PostgreSQL, started by `reconciler run`")
		return
	case cfg.State.Database == "":
		x.warn(check, "", "not configured: `reconciler run` needs it (state.database or state.embedded)", "")
		return
	}
	ctx, stop := context.WithTimeout(ctx, 15*time.Second)
	defer stop()
	db, err := a.openStore(ctx, cfg)
	if err != nil {
		x.fail(check, "", err, "see state.database")
		return
	}
	defer db.close()
	err = db.Check(ctx)
	have, _, versionErr := db.SchemaVersion(ctx)
	switch {
	case err == nil && versionErr == nil:
		x.ok(check, "", "schema version %d", have)
	case errors.Is(err, store.ErrOlderSchema):
		x.warn(check, "", "the schema is older than this version's; `reconciler run` and `reconciler migrate` bring it up", "")
	case errors.Is(err, store.ErrNewerSchema):
		x.fail(check, "", err, "run the version that migrated it, or a newer one")
	default:
		x.fail(check, "", cmp.Or(err, versionErr), "check state.database, and that the server runs")
	}
}
