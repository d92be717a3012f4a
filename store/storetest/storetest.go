// Package storetest gives tests a state database: a real one, migrated, of their
// own.
package storetest

import (
	"context"
	"testing"

	"github.com/molecule-ai/billing-reconciler/drift"
	"github.com/molecule-ai/billing-reconciler/internal/localpg/pgtest"
	"github.com/molecule-ai/billing-reconciler/store"
)

// Database gives the URL of a fresh one. The package's TestMain must be
// pgtest's.
func Database(t testing.TB) string {
	t.Helper()
	return pgtest.NewDatabaseFrom(t, "state", func(ctx context.Context, url string) error {
		s, err := store.Open(ctx, store.Options{URL: drift.Secret(url)})
		if err != nil {
			return err
		}
		defer s.Close()
		_, err = s.Migrate(ctx)
		return err
	})
}

// Open opens a state database by its URL until the test ends. Name is shown in
// pg_stat_activity.
func Open(t testing.TB, url, name string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: drift.Secret(url), Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}
